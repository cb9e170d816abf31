"""Locks between processes: each is a file, and is released when its process ends."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from holdall.errors import CannotWrite, HoldallError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_PRIVATE = 0o600

# What a lock that another process holds is refused with: EAGAIN by flock, EACCES by Windows and some network disks.
_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


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
