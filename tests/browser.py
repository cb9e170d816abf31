"""A page as Chromium shows it: opened over the DevTools protocol, through pipes, without a port."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["CHROMIUM", "Browser", "Seen", "browser"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Chromium reads commands from descriptor 3 and answers on 4, whatever the two pipes have here.
_START = """
import fcntl, os, sys
high = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Seen(msgspec.Struct):
    """What a page did: the width it takes, lines on the console, and addresses that it asked for."""

    width: int
    console: list[str]
    requests: list[str]
    picture: bytes


class Browser:
    def __init__(self, into: int, out: int) -> None:
        self._into, self._out = into, os.fdopen(out, "rb", buffering=0)
        self._number, self._rest = 0, b""
        self._events: list[dict[str, Any]] = []

    def close(self) -> None:
        self._out.close()

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = self._out.read(1 << 16)
            assert piece, "chromium has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        os.write(self._into, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _until(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._receive())

    def look(
        self, page: Path, width: int, *, scheme: str = "light", opened: bool = True, all_of_it: bool = False
    ) -> Seen:
        """Show ``page`` in a window ``width`` CSS pixels wide, with every fold ``opened``."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call(
            "Emulation.setDeviceMetricsOverride", session, width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", session, features=media)
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable", session)
        self._events.clear()
        self.call("Page.navigate", session, url=page.resolve().as_uri())
        self._until("Page.loadEventFired")
        if opened:
            self._evaluate(session, "document.querySelectorAll('details').forEach(one => one.open = true)")
        found = self._evaluate(session, "document.documentElement.scrollWidth")
        shot = self.call("Page.captureScreenshot", session, captureBeyondViewport=all_of_it)
        names = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        console = [json.dumps(event["params"]) for event in self._events if event.get("method") in names]
        sent = (event["params"] for event in self._events if event.get("method") == "Network.requestWillBeSent")
        self.call("Target.closeTarget", targetId=target)
        return Seen(
            width=found,
            console=console,
            requests=[one["request"]["url"] for one in sent],
            picture=base64.b64decode(shot["data"]),
        )

    def _evaluate(self, session: str, expression: str) -> Any:
        return self.call("Runtime.evaluate", session, expression=expression)["result"].get("value")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A Chromium with its profile in ``folder``, ended with the block."""
    assert CHROMIUM
    theirs_in, into = os.pipe()
    out, theirs_out = os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--disable-dev-shm-usage"]
    options += [f"--user-data-dir={folder}", "--no-first-run", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), CHROMIUM, *options],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    one = Browser(into, out)
    try:
        yield one
        one.call("Browser.close")
    finally:
        os.close(into)
        one.close()
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
