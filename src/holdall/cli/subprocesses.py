"""Runs holdall in child processes: their environment, the command line to show, and how they end.

A child ends with its parent, however that ends: its stdin is a pipe from the parent, and it terminates when the pipe
closes. ``python -m holdall.cli.subprocesses ARGUMENTS`` is ``holdall ARGUMENTS`` with such a stdin.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from holdall.cli.console import on_signal
from holdall.errors import CannotWrite, HoldallError, RemoteError, pasteable
from holdall.variables import VARIABLES

# In a session of its own a child gets no Ctrl-C, which a terminal sends to all: its end is for this process to choose.
_APART: dict[str, Any] = {
    "start_new_session": True,
    "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
}

# Seconds that a process has to end by itself.
_GRACE = 5.0


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without keys, settings and proxies."""
    # A proxy would get what is meant for the sandbox of this machine.
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith("OPENAI_")
        and name.upper() not in VARIABLES
        and not name.upper().endswith("_PROXY")
    }
    return kept | {"PYTHONIOENCODING": "utf-8"}


def program(called_as: str) -> str:
    """How the user would call holdall again: ``called_as`` is this process's ``sys.argv[0]``."""
    path = Path(called_as)
    if path.name == "__main__.py":
        # Not by what the paths lead to: a virtual environment's python is often a link to another's.
        name = Path(sys.executable).name
        return f"{pasteable(name if shutil.which(name) == sys.executable else sys.executable)} -m holdall"
    found = shutil.which("holdall")
    if path.stem.lower() != "holdall" or (found and path.exists() and os.path.samefile(found, path)):
        return "holdall"
    return pasteable(called_as)


def command_line(
    called: str, arguments: Sequence[str], keys: Mapping[str, str], *, windows: bool, columns: int = 80
) -> list[str]:
    """The lines that a user would type, in a POSIX shell or in PowerShell, broken to fit a terminal with a prompt of
    two columns."""
    words = [called, *(pasteable(word) for word in arguments)]
    if windows:
        return [*(f'$env:{name} = "{value}"' for name, value in keys.items()), " ".join(words)]
    words = [*(f"{name}={pasteable(value)}" for name, value in keys.items()), *words]
    lines = [""]
    for place, word in enumerate(words):
        follower = words[place + 1] if place + 1 < len(words) else ""
        # A flag and its value stay on one line.
        group = len(word) + (1 + len(follower) if word.startswith("-") and not follower.startswith("-") else 0)
        if lines[-1] and len(lines[-1]) + 1 + group > columns - 4:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


@contextmanager
def _process(
    arguments: Sequence[str], environment: Mapping[str, str], stderr: int = subprocess.STDOUT
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """``holdall ARGUMENTS`` and what it prints. It ends with the block, gently at first."""
    with subprocess.Popen(
        # -P: the folder that the user stands in must not lend the child its modules.
        [sys.executable, "-P", "-m", __name__, *arguments],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        errors="replace",
        **_APART,
    ) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout
        finally:
            child.terminate()
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                child.kill()


def run(arguments: Sequence[str], environment: Mapping[str, str], on_line: Callable[[str], None]) -> int:
    """Run ``holdall ARGUMENTS``, call ``on_line`` with each line as it comes, and return the exit code."""
    with _process(arguments, environment) as (child, printed):
        for line in printed:
            on_line(line.rstrip())
        return child.wait()


@contextmanager
def serving(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """``holdall ARGUMENTS`` for as long as the block lasts; gives its one line of output, which is its URL.

    What it says on stderr goes into ``log``. Raises HoldallError, with what it said last, if it ends before that line;
    CannotWrite instead of the block's RemoteError where it ended because this machine is too small or its disk full.
    Termination (SIGTERM) ends the block as Ctrl-C does, so that it never outlives this process for want of a handler.
    """
    with (
        on_signal(signal.SIGTERM, signal.default_int_handler),
        log.open("wb") as diary,
        _process(arguments, environment, diary.fileno()) as (child, printed),
    ):
        # However long it takes to start: it ends, and with it its output, if it can't.
        line = printed.readline().strip()
        if not line:
            said = log.read_text(encoding="utf-8", errors="replace").strip()
            raise HoldallError(f"can't start holdall {arguments[0]}: {said or 'it exited without a message'}")
        try:
            yield line
        except RemoteError:
            with suppress(subprocess.TimeoutExpired):
                if child.wait(_GRACE) == CannotWrite.exit_code:  # it says why it didn't answer
                    said = log.read_text(encoding="utf-8", errors="replace").rpartition("Error: ")[2].strip()
                    why, _, hint = said.partition("\nhint: ")
                    raise CannotWrite(f"holdall {arguments[0]} has ended: {why}", hint=hint) from None
            raise


# Waits for the end of its input, and until whoever still writes into the folder has let go of it.
_SWEEPER = """
import shutil, sys, time
from pathlib import Path
sys.stdin.buffer.read()
for _ in range(100):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not Path(sys.argv[1]).exists():
        break
    time.sleep(0.1)
"""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder of this user alone, for as long as the block lasts or, if it is killed in it, this process."""
    with (
        tempfile.TemporaryDirectory(prefix=prefix) as folder,
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SWEEPER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_APART,
        ),
    ):
        yield Path(folder)


def _tethered() -> None:
    """``holdall`` with this process's arguments, terminated when its input ends."""
    from holdall.cli.main import main

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    sys.argv[0] = "holdall"
    main()


if __name__ == "__main__":
    _tethered()
