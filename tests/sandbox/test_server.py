"""The server as a process: how it starts, what it refuses to start on, and that a kill loses nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from holdall.sandbox import server
from holdall.sandbox.sandbox_errors import CannotStart, SandboxError
from holdall.sandbox.server import Running
from tests.sandbox.wire import KEY, ask, form, upload
from tests.sweep import sweep
from tests.waiting import Child

# Without lingering a close is a reset. The structure's fields are half as long on Windows.
LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


@contextmanager
def process(*arguments: str, stderr: IO[str] | int = subprocess.DEVNULL) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``holdall sandbox`` in a process of its own, and the URL that it printed."""
    command = [sys.executable, "-m", "holdall", "sandbox", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, encoding="utf-8") as running:
        try:
            assert running.stdout is not None
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    arguments = ("--data", str(tmp_path), "--serve-assistants-files")
    with process(*arguments) as (running, url):
        file = upload(url, "a.txt", b"text").json()
        store = ask(url, "POST", "/vector_stores", {"file_ids": [file["id"]]}).json()
        assistant = ask(url, "POST", "/assistants", {"model": "gpt-4o"}).json()
        running.kill()
    with process(*arguments) as (_, url):
        assert ask(url, "GET", f"/files/{file['id']}").json() == file
        assert ask(url, "GET", f"/files/{file['id']}/content").body == b"text"
        assert ask(url, "GET", f"/vector_stores/{store['id']}").json() == store
        assert ask(url, "GET", "/assistants").json()["data"] == [assistant]


def test_what_a_killed_process_was_receiving_is_swept_away(tmp_path: Path) -> None:
    with Running(tmp_path):
        pass
    (tmp_path / "incoming" / "half").write_bytes(b"half a file")
    with Running(tmp_path) as box:
        assert list((tmp_path / "incoming").iterdir()) == []
        assert ask(box.url, "GET", "/files").json()["data"] == []


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send to another process")
def test_ctrl_c_stops_it_cleanly(tmp_path: Path) -> None:
    with process("--data", str(tmp_path)) as (running, url):
        assert ask(url, "GET", "/files").status == 200
        running.send_signal(signal.SIGINT)
        assert running.wait() == 0


def gone_away(url: str, request: bytes, *, read: int = 0) -> None:
    """Send a request or a part of one, read so much of the answer, and reset the connection."""
    where = urlsplit(url)
    with socket.create_connection((str(where.hostname), where.port or 0)) as connection:
        connection.sendall(request)
        if read:
            connection.recv(read)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)


def test_clients_that_go_away_are_nothing_to_speak_of(tmp_path: Path) -> None:
    said = (tmp_path / "stderr").open("w+", encoding="utf-8")
    arguments = ("--data", str(tmp_path / "data"), "--serve-assistants-files")
    with said, process(*arguments, stderr=said) as (running, url):
        large = upload(url, "large.txt", b"x" * 8_000_000).json()["id"]
        head = f"Host: {urlsplit(url).netloc}\r\nAuthorization: Bearer {KEY}\r\nOpenAI-Beta: assistants=v2\r\n"
        body, headers = form("a.txt", b"x" * 1000, purpose="assistants")
        typed = f"Content-Type: {headers['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
        for path in ("/files", "/containers/cntr_x/files"):
            gone_away(url, f"POST /v1{path} HTTP/1.1\r\n{head}{typed}".encode() + body[:-300])
        for path in ("/assistants", "/vector_stores", "/containers"):
            gone_away(url, f'POST /v1{path} HTTP/1.1\r\n{head}Content-Length: 90\r\n\r\n{{"na'.encode())
        gone_away(url, f"GET /v1/files/{large}/content HTTP/1.1\r\n{head}\r\n".encode(), read=1000)
        gone_away(url, f"GET /v1/files HTTP/1.1\r\n{head}\r\n".encode())
        assert len(ask(url, "GET", "/files").json()["data"]) == 1
        running.terminate()
        running.wait()
        said.seek(0)
        assert [line for line in said.read().splitlines() if "rror" in line or "Traceback" in line] == []


def test_a_second_sandbox_on_the_same_folder(tmp_path: Path) -> None:
    with Running(tmp_path), pytest.raises(CannotStart, match="another sandbox is running there"):
        Running(tmp_path)
    with Running(tmp_path) as again:
        assert ask(again.url, "GET", "/files").status == 200


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"can't listen on port {port}") as caught:
            Running(tmp_path, port=port)
    assert "--port" in caught.value.hint


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError, match="can't use the sandbox's data folder"):
        Running(tmp_path / "file")


def test_it_listens_on_the_loopback_interface_only(box: Running) -> None:
    assert box._listening.getsockname()[0] == "127.0.0.1"


@sweep("package", ["uvicorn", "starlette", "python_multipart", "pypdf"])
def test_a_missing_extra_says_what_to_install(package: str, tmp_path: Path) -> None:
    program = (
        f"import importlib.util, sys; sys.modules[{package!r}] = None; find = importlib.util.find_spec; "
        f"importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest); "
        f"from holdall.cli.main import main; sys.argv = ['holdall', 'sandbox', '--data', {str(tmp_path)!r}]; main()"
    )
    with Child([sys.executable, "-c", program]) as child:
        done = child.end()
    assert done.code == 2
    name = package.replace("_", "-")
    assert f"packages that are not installed: {name}\n" in done.err
    assert f"pip install {name}\n" in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_hint_knows_every_package_of_the_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {re.split("[<>=!~ ]", line)[0] for line in project["optional-dependencies"]["sandbox"]}
    assert set(server._PACKAGES.values()) == wanted


def test_no_hint_names_a_distribution_that_may_be_somebody_elses() -> None:
    for path in (Path(server.__file__).parents[1]).rglob("*.py"):
        assert not re.search(r"(pip|pipx|uv) install[^\n]*holdall", path.read_text("utf-8")), path


def test_closing_twice_and_closing_what_never_started(tmp_path: Path) -> None:
    never = Running(tmp_path / "never")
    never.close()
    with Running(tmp_path / "never") as box:
        pass
    box.close()
