"""Files that survive a crash, are read by nobody else, and are worked on by one process at a time."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import TracebackType

from holdall import locks
from holdall.errors import AlreadyExists, BundleInUse, CannotWrite

__all__ = ["FileLock", "already_exists", "cannot_write", "open_private", "place", "reporting", "sync_folder"]

_PRIVATE = 0o600


def open_private(path: Path, flags: int) -> int:
    """``os.open`` with mode 0600 where the system has modes; binary where that is a question."""
    return os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), _PRIVATE)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable. Windows journals it by itself and opens no folder for this."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def place(source: Path, target: Path, *, force: bool) -> None:
    """Give the finished ``source`` its final name, durably; AlreadyExists where that is taken and not ``force``."""
    if force:
        os.replace(source, target)
    elif sys.platform == "win32":
        try:
            os.rename(source, target)
        except FileExistsError:
            raise already_exists(target) from None
    else:
        try:
            # A rename would overwrite what another process put there since we looked; a link refuses.
            os.link(source, target)
        except FileExistsError:
            raise already_exists(target) from None
        except OSError:
            if target.exists():
                raise already_exists(target) from None
            os.rename(source, target)
        else:
            os.unlink(source)
    sync_folder(target.parent)


def already_exists(target: Path) -> AlreadyExists:
    return AlreadyExists(f"can't write {target}: it exists already", hint="another name, or --force to replace it")


class reporting:
    """Turn an OSError into CannotWrite, with the way out of a full disk. A context manager."""

    # A class, because a generator costs as much as hashing a small file, and each file passes here several times.
    __slots__ = ("_target",)

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise cannot_write(self._target, error) from error


def cannot_write(target: Path, error: OSError) -> CannotWrite:
    """What an OSError means to somebody who writes a bundle to ``target``."""
    hint = ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        hint = "make room and run the same command again: it goes on where it stopped"
    return CannotWrite(f"can't write {target}: {error.strerror or error}", hint=hint)


class FileLock(locks.FileLock):
    """The lock on the folder of an unfinished bundle. Raises BundleInUse."""

    def __init__(self, path: Path, *, what: Path) -> None:
        busy = BundleInUse(
            f"can't write {what}: another process is writing it", hint="wait for it, or choose another name"
        )
        super().__init__(path, busy=busy)
