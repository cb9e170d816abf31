"""The sandbox as a running server: in the foreground for the command, in a thread for tests and the demo.

It listens on the loopback interface and nowhere else: whatever key it is shown, it lets in. ``guard`` keeps web pages
out, ``connections`` requests that don't end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from holdall.sandbox.behaviour import Behaviour, Fault, FaultRule
from holdall.sandbox.sandbox_errors import CannotStart, MachineTooSmall, PackageMissing, SandboxError, exhausted
from holdall.sandbox.service.switches import Switches

# What the sandbox needs besides: its modules, and the packages that have them.
_PACKAGES = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "pypdf": "pypdf",
}

try:
    import uvicorn
    from starlette.types import ASGIApp, Receive, Scope, Send

    from holdall.sandbox.app import application
    from holdall.sandbox.connections import Connection, Connections
    from holdall.sandbox.faults.fault_rules import Faults
    from holdall.sandbox.service import serve_files, serve_templates
    from holdall.sandbox.service.service import Logged, Service

    if importlib.util.find_spec("pypdf") is None:
        raise ModuleNotFoundError(name="pypdf")
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package == "holdall":
        raise
    missing = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None] or [package]
    raise PackageMissing(
        f"the sandbox needs packages that are not installed: {', '.join(missing)}",
        hint=f"pip install {' '.join(missing)}",
    ) from None

__all__ = ["Behaviour", "Running", "serve"]

HOST = "127.0.0.1"

# Files that a handful of clients and the state behind their requests keep open at once.
_FILES = 64

# Seconds that an idle connection is kept open: longer than clients keep theirs, so that they are the ones to close.
_KEEP_ALIVE = 75


class _Server(uvicorn.Server):
    """uvicorn, ending quietly on Ctrl-C or termination instead of raising the signal once more."""

    def __init__(self, service: Service, faults: Faults, ready: Callable[[], None], *, controlled: bool) -> None:
        self._connections = Connections()
        app = application(service, faults, self._connections, controlled=controlled)
        super().__init__(_config(self._noticing(app), self._connections))
        self._ready = ready
        self.short: MachineTooSmall | None = None
        """What this machine had too little of to go on serving."""
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unhandled)
        await super().startup(sockets)
        self._ready()

    def _noticing(self, app: ASGIApp) -> ASGIApp:
        """``app``; where this machine is too small for it the server ends, or clients would try again and again."""

        async def noticing(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            except Exception as error:
                if not self._gives_up(error):
                    raise

        return noticing

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._gives_up(context.get("exception")):
            loop.default_exception_handler(context)

    def _gives_up(self, error: BaseException | None) -> bool:
        short = exhausted(error) if error else None
        if short:
            self.short = self.short or short
            self.stop()
        return short is not None

    async def main_loop(self) -> None:
        # As uvicorn's own, but woken by stop() instead of by the next tick.
        tick = 0
        while not await self.on_tick(tick):
            tick = (tick + 1) % 10
            if tick == 0:
                self._connections.look(1.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # As uvicorn's own, which takes a tenth of a second at the least; tests start and stop hundreds of these.
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while state.connections or state.tasks:
                    await asyncio.sleep(0.002)
        for task in state.tasks:
            task.cancel()

    def stop(self) -> None:
        """End, from another thread; requests that have begun are answered first."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def age(self, seconds: float) -> None:
        """Let so much time pass for the connections, from another thread, while the server runs."""

        async def look() -> None:
            self._connections.look(seconds)

        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(look(), self._loop).result()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def _config(app: ASGIApp, connections: Connections) -> uvicorn.Config:
    class Protocol(Connection):
        opened = connections

    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=2,
    )


def _require_files() -> None:
    """Raise MachineTooSmall where this process may not open as many files as connections and the state take: the server
    could only say so in its log, again and again."""
    opened: list[int] = []
    try:
        for _ in range(_FILES):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if short := exhausted(error):
            raise short from error
        raise
    finally:
        for number in opened:
            os.close(number)


def _listen(port: int) -> socket.socket:
    # The protocol has to be named: asyncio turns Nagle's delay off only where it reads TCP, and forty milliseconds
    # are added to every answer where it doesn't.
    _require_files()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # On Windows the option would let two servers share the port.
    if hasattr(signal, "SIGHUP"):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        raise CannotStart(
            f"the sandbox can't listen on port {port}: {getattr(error, 'strerror', None) or error}",
            hint="choose another port with --port; --port 0 takes a free one",
        ) from None
    return listening


def _base_url(listening: socket.socket, behaviour: Behaviour) -> str:
    host = f"http://{HOST}:{listening.getsockname()[1]}"
    if not behaviour.foundry:
        return f"{host}/v1"
    # A project that has both doors has no version that is good for all of its paths.
    return f"{host}/api/projects/sandbox" + ("" if behaviour.agents_api else "?api-version=v1")


def serve(
    data: Path,
    *,
    port: int,
    behaviour: Behaviour,
    ready: Callable[[str], None],
    control: bool = False,
    fault: Fault | None = None,
    clock: Callable[[], float] = time.time,
    randomness: random.Random | None = None,
) -> None:
    """Serve until Ctrl-C or termination. ``ready`` is told the base URL once requests are answered. Raises
    MachineTooSmall where this machine can't go on.

    ``fault`` is what requests suffer from the beginning.
    """
    listening = _listen(port)
    try:
        service = Service(data, behaviour=behaviour, clock=clock, randomness=randomness or random.SystemRandom())
        try:
            url = _base_url(listening, behaviour)
            faults = Faults()
            if fault is not None:
                faults.add(FaultRule(fault=fault))
            server = _Server(service, faults, lambda: ready(url), controlled=control)
            server.run(sockets=[listening])
            if server.short:
                raise server.short
        finally:
            service.close()
    finally:
        listening.close()


# Seconds to stop in. With too little memory Python may wait for ever for a thread that never began.
_TO_END = 60.0


class Running:
    """A sandbox in a thread of this process, from ``with`` to its end.

    Everything that the control endpoint does can be done by a method, from any thread.
    """

    def __init__(
        self,
        data: Path,
        *,
        behaviour: Behaviour | None = None,
        faults: Faults | None = None,
        port: int = 0,
        control: bool = False,
        clock: Callable[[], float] = time.time,
        randomness: random.Random | None = None,
    ) -> None:
        self.data = data
        self._listening = _listen(port)
        self.url = _base_url(self._listening, behaviour or Behaviour())
        """The base URL for clients; with Foundry's path and query where the sandbox was started as that."""
        try:
            self._service = Service(
                data,
                behaviour=behaviour or Behaviour(),
                clock=clock,
                randomness=randomness or random.SystemRandom(),
            )
        except BaseException:
            self._listening.close()
            raise
        self.faults = faults or Faults()
        self._started = threading.Event()
        self._failure: SandboxError | None = None
        self._failed: Callable[[], None] = lambda: None
        self._server = _Server(self._service, self.faults, self._started.set, controlled=control)
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listening])
        except Exception as error:
            self._failure = exhausted(error) or SandboxError(f"the sandbox stopped: {error!r}")
        finally:
            self._started.set()
            if self.failure:
                self._failed()

    @property
    def failure(self) -> SandboxError | None:
        """Why it ended by itself, if it did."""
        return self._failure or self._server.short

    def when_it_fails(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, in another thread, where it ends by itself; at once where it has."""
        self._failed = call
        if self.failure:
            call()

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except RuntimeError:
            self._service.close()
            raise
        self._started.wait()
        if not self._server.started:
            self.close()
            raise self.failure or SandboxError("the sandbox did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and let go of the port and the folder. A second call does nothing."""
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join(_TO_END)
        if self._thread.is_alive():
            return  # what it has open ends with the process
        self._listening.close()
        self._service.close()

    @property
    def behaviour(self) -> Switches:
        return self._service.behaviour

    def behave(self, **changes: Any) -> None:
        """Change switches of ``Behaviour``, from the next request on."""
        self._service.behaviour = msgspec.structs.replace(self._service.behaviour, **changes)

    def fault(self, fault: Fault, method: str = "*", path: str = "*", *, times: int = 1, skip: int = 0) -> None:
        """Let the next requests that match suffer a fault; ``path`` is a glob below ``/v1``."""
        self.faults.add(FaultRule(fault=fault, method=method, path=path, times=times, skip=skip))

    def clear_faults(self) -> None:
        self.faults.clear()

    def requests(self) -> list[Logged]:
        """The requests so far, in the order in which they were answered."""
        return list(self._service.log)

    def forget_requests(self) -> None:
        self._service.log.clear()

    def writes(self) -> int:
        """How many requests so far changed something."""
        return sum(entry.is_write for entry in self._service.log)

    def age(self, seconds: float) -> None:
        """Let so much time pass for the connections: those on which nothing moves for too long are given up."""
        self._server.age(seconds)

    def revoke(self, key: str) -> None:
        self._service.identity.revoke(key)

    def give_purpose(self, file_id: str, purpose: str) -> None:
        """Give a file a purpose that only the service gives, such as ``assistants_output``."""
        if not serve_files.give_purpose(self._service, file_id, purpose):
            raise KeyError(file_id)

    def stored_template(self, template_id: str) -> dict[str, Any]:
        """All that was sent for an environment template, also what the API never returns, such as ``env``."""
        found = serve_templates.stored(self._service, template_id)
        if found is None:
            raise KeyError(template_id)
        return found
