"""Opens files that others may have a hand in: only regular ones, as the path may be somebody else's choice; locked,
where another process may work in the same folder; and always closed.

Opening or reading a pipe, a device or a socket may block or never end.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from io import BufferedReader
from pathlib import Path
from typing import Self

from holdall.errors import CannotWrite, HoldallError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# A pipe without another end would keep the opening waiting, and a terminal become the process's own.
_AT_ONCE = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
_PRIVATE = 0o600
# What a lock that another process holds is refused with: EAGAIN by flock, EACCES by Windows and some network disks.
_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


class Closing:
    """A context manager that closes itself."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def regular(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """The descriptor of a regular file, as of ``os.open``; an opener for ``open``. Raises OSError, also for anything
    but a regular file."""
    descriptor = os.open(path, flags | _AT_ONCE, mode)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def open_regular(path: str | Path) -> BufferedReader:
    """A regular file, open for reading. Raises OSError as ``regular`` does."""
    return open(path, "rb", opener=regular)


def read_regular(path: str | Path) -> bytes:
    """All bytes of a regular file. Raises OSError as ``regular`` does."""
    with open_regular(path) as file:
        return file.read()


class FileLock:
    """A lock on ``path``, whose folder must be there. Raises ``busy`` at once where another process holds it, and
    CannotWrite where the file system has no locks: two runs in one folder would destroy each other's work."""

    def __init__(self, path: Path, *, busy: HoldallError) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        while True:
            self._descriptor = os.open(path, flags, _PRIVATE)
            try:
                _lock(self._descriptor)
            except OSError as error:
                os.close(self._descriptor)
                if error.errno in _HELD:
                    raise busy from None
                raise CannotWrite(
                    f"can't lock {path}: {error.strerror or error}",
                    hint="this disk may not support file locks; use a folder on a local disk",
                ) from None
            try:
                same = os.path.samestat(os.fstat(self._descriptor), os.stat(path))
            except FileNotFoundError:
                same = False
            if same:
                return
            # The process that had it finished and took the file away while we waited for it.
            os.close(self._descriptor)
            path.parent.mkdir(mode=0o700, exist_ok=True)

    def release(self) -> None:
        """Release it. The file stays: deleting it would let two processes lock two files of that name."""
        os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
