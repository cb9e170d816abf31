"""Opening files that somebody else chose. A path may lead to a pipe, a device or a socket: opening or reading one of
those may wait for ever, or never end, so only a regular file is opened.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["open_regular", "read_regular"]

_FLAGS = os.O_RDONLY | sum(
    # A pipe without writer would keep the opening waiting, and a terminal become the process's own.
    getattr(os, name, 0)
    for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
)


def open_regular(path: str | Path) -> BinaryIO:
    """The regular file at ``path``, symbolic links followed, open for reading. Raises OSError, also for what is no
    regular file."""
    descriptor = os.open(path, _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path) -> bytes:
    """All bytes of a regular file. Raises OSError as ``open_regular`` does."""
    with open_regular(path) as file:
        return file.read()
