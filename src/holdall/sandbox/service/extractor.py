"""Text out of strangers' documents, in a process of its own that is ended where one takes more than it may.

One process reads one document after the other; it is started for the first, and again after it was ended. It ends with
the process that started it, however that ends: its input is a pipe, and when that is closed it stops at once. What is
read is left in a file, so that none of it is held here.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec

from holdall.sandbox.sandbox_errors import MachineTooSmall
from holdall.sandbox.service.documents import ReadOutcome, TooLarge
from holdall.sandbox.service.text_extraction import extracted

if sys.platform != "win32":
    import resource


# Processor seconds for one document and as many for each MiB of it, bytes of memory likewise, and the most of each.
_SECONDS, _MOST_SECONDS = 10, 30
_MEMORY, _MEMORY_A_MIB, _MOST_MEMORY = 352 << 20, 4 << 20, 1 << 30

# Seconds on the clock for each processor second: all that there is where the system counts no processor time.
_PATIENCE = 3.0

# What it sees of the environment, besides where our packages are: nothing that is secret.
_SEEN = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "APPDATA", "SYSTEMROOT", "USERPROFILE")

_READY = b"ready\n"

_LONGEST_ANSWER = 4096


class _Asked(msgspec.Struct, frozen=True):
    source: str
    kind: str
    target: str
    seconds: int
    memory: int


class Answered(msgspec.Struct, frozen=True):
    """What came of a document: its outcome with the UTF-8 length of its text; or an error of this machine."""

    outcome: ReadOutcome
    text_bytes: int = 0
    errno: int = 0


class Extractor:
    """The process, for one thread at a time.

    ``seconds`` is the processor time of a small document, ``patience`` the seconds on the clock for each of them.
    """

    def __init__(self, *, seconds: int = _SECONDS, patience: float = _PATIENCE) -> None:
        self.seconds = seconds
        self.patience = patience
        self._child: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        child = self._child
        return None if child is None else child.pid

    def extract(self, source: Path, kind: str, target: Path) -> Answered:
        """Leave the text of ``source`` in ``target``, in UTF-8; nothing is left there for any outcome but READ.

        Raises MachineTooSmall or OSError where the process can't be started or the text not be written.
        """
        size = source.stat().st_size >> 20
        asked = _Asked(
            os.fspath(source.absolute()),
            kind,
            os.fspath(target.absolute()),
            min(max(_MOST_SECONDS, self.seconds), self.seconds * (1 + size)),
            min(_MOST_MEMORY, _MEMORY + _MEMORY_A_MIB * size),
        )
        answered = self._ask(asked)
        if answered.errno:
            raise OSError(answered.errno, os.strerror(answered.errno))
        if answered.outcome is not ReadOutcome.READ:
            target.unlink(missing_ok=True)
        return answered

    def _ask(self, asked: _Asked) -> Answered:
        child = self._living()
        assert child.stdin is not None
        assert child.stdout is not None
        ended = threading.Event()

        def end() -> None:
            ended.set()
            child.kill()

        timer = threading.Timer(asked.seconds * self.patience, end)
        timer.daemon = True
        timer.start()
        line = b""
        try:
            child.stdin.write(msgspec.json.encode(asked) + b"\n")
            child.stdin.flush()
            line = child.stdout.readline(_LONGEST_ANSWER)
        except OSError:  # it has ended
            pass
        finally:
            timer.cancel()
            timer.join()
        try:
            answered = msgspec.json.decode(line, type=Answered)
        except msgspec.DecodeError:
            answered = Answered(ReadOutcome.TOO_LARGE)
            ended.set()
        if ended.is_set():
            self._end(child)
        return answered

    def _living(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        if self._child is not None:
            self._end(self._child)
        if self._is_closed:
            raise OSError("the sandbox is being stopped")
        seen = {name: value for name, value in os.environ.items() if name.upper() in _SEEN}
        # -P: the folder that the user stands in must not lend it its modules.
        self._child = child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            env={**seen, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout is not None
        if child.stdout.readline(len(_READY)) != _READY:
            self._end(child)
            if self._is_closed:
                raise OSError("the sandbox is being stopped")
            raise MachineTooSmall(
                "the process that reads documents does not start: too little memory, or too few processes",
                hint="raise the limits (ulimit -v, ulimit -u), and run it again",
            )
        return child

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        self._child = None
        child.kill()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what was not written any more
                pipe.close()
        child.wait()

    def kill(self) -> None:
        """End it at once, from any thread: what is being read comes to nothing, and nothing more is."""
        self._is_closed = True
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End it and let go of it, when no thread is in ``extract`` any more."""
        self._is_closed = True
        if self._child is not None:
            self._end(self._child)


def _serve() -> None:
    """The process itself: a document for each line of its input, a line of its output for each document."""
    # Ctrl-C is for the process that started this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, waiting), daemon=True).start()
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    while True:
        asked = waiting.get()
        _bound(asked)
        sys.stdout.buffer.write(msgspec.json.encode(_answer(asked)) + b"\n")
        sys.stdout.buffer.flush()


def _listen(pipe: BinaryIO, waiting: queue.SimpleQueue[_Asked]) -> None:
    for line in pipe:
        waiting.put(msgspec.json.decode(line, type=_Asked))
    os._exit(0)


def _bound(asked: _Asked) -> None:
    """Bound memory and processor time for one document, as far as the system knows such limits."""
    if sys.platform == "win32":
        return
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(spent.ru_utime + spent.ru_stime) + 1 + asked.seconds,
        resource.RLIMIT_AS: asked.memory,
    }
    for what, limit in limits.items():
        hard = resource.getrlimit(what)[1]
        with contextlib.suppress(OSError, ValueError):  # a limit that this system hasn't
            resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _answer(asked: _Asked) -> Answered:
    try:
        text = extracted(Path(asked.source), asked.kind)
        if not text.strip():
            return Answered(ReadOutcome.EMPTY)
        data = text.encode("utf-8", "replace")
    except (MemoryError, TooLarge):
        return Answered(ReadOutcome.TOO_LARGE)
    except UnicodeDecodeError:
        return Answered(ReadOutcome.UNSUPPORTED)
    except Exception:  # parsers of strangers' documents raise whatever they like; each such file is a broken one
        return Answered(ReadOutcome.BROKEN)
    try:
        Path(asked.target).write_bytes(data)
    except OSError as error:
        return Answered(ReadOutcome.READ, errno=error.errno or 5)
    return Answered(ReadOutcome.READ, text_bytes=len(data))


if __name__ == "__main__":
    _serve()
