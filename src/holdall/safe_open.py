"""Opens only regular files, as the path may be somebody else's choice; and closes what is open.

Opening or reading a pipe, a device or a socket may block or never end.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Self

# A pipe without another end would keep the opening waiting, and a terminal become the process's own.
_AT_ONCE = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))


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
