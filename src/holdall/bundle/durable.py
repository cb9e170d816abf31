"""Durable, private files: written whole, synced, and moved into place."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from holdall.errors import AlreadyExists, CannotRead, CannotWrite, exhausted
from holdall.safe_open import regular

PRIVATE = 0o600

# Seconds between tries, 1.3 s in all: virus scanners and indexers let go of a new file within that.
_PAUSES = tuple(0.01 * 2**n for n in range(7))


def open_private(path: Path, flags: int) -> int:
    """A descriptor as ``regular`` gives it, of a file that is new with mode 0600 where the system has modes."""
    return regular(path, flags, PRIVATE)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable. Windows journals it by itself and opens no folder for this."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def sync_file(file: BinaryIO) -> None:
    """Flush ``file`` down to the disk."""
    file.flush()
    _sync(file.fileno())


def _sync(descriptor: int) -> None:
    """On macOS only F_FULLFSYNC reaches beyond the drive's own cache."""
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:  # a network file system that doesn't know it
            pass
    os.fsync(descriptor)


def replace(source: Path, target: Path, *, wait: Callable[[float], None] = time.sleep) -> None:
    """``os.replace``, which on Windows is tried again for 1.3 s while another program has one of the two open.

    Raises OSError where ``target`` is a device, a pipe or a socket: ``/dev/null`` must not become a file.
    """
    with suppress(FileNotFoundError):
        if not (stat.S_ISREG(mode := os.stat(target).st_mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, "not a regular file")
    _retried(os.replace, source, target, wait)


def _retried(
    rename: Callable[[Path, Path], None], source: Path, target: Path, wait: Callable[[float], None] = time.sleep
) -> None:
    for pause in _PAUSES:
        try:
            return rename(source, target)
        except PermissionError:
            # Elsewhere an open file can be renamed and replaced: there the error stays.
            if sys.platform != "win32":
                raise
        wait(pause)
    return rename(source, target)


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of ``data`` to an unbuffered file. Raises OSError; then part of it may be written.

    A buffered file would keep what a full disk refused, and write it after the next line or fail in ``close``.
    """
    left = memoryview(data)
    while left:
        written = file.write(left)
        left = left[written or 0 :]


def write_whole(target: Path, data: bytes, *, hint: str = "") -> None:
    """Replace ``target`` by ``data``, atomically and durably. Raises CannotWrite."""
    fresh = target.with_name(f".{target.name[:80]}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            sync_file(file)
        replace(fresh, target)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise cannot_write(target, error, hint=hint) from None
    with suppress(OSError):  # a file system that can't do it has done its best
        sync_folder(target.parent)


def write_pieces(target: Path, pieces: Iterable[bytes], *, force: bool) -> None:
    """Have ``pieces`` at ``target``, whole and durable, readable to nobody else.

    Raises AlreadyExists unless ``force``, CannotWrite.
    """
    # Also a link that leads nowhere.
    if not force and os.path.lexists(target):
        raise already_exists(target)
    fresh = target.with_name(f".{target.name[:80]}.new")
    try:
        with reporting(target):
            fresh.unlink(missing_ok=True)
            with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                file.writelines(pieces)
                sync_file(file)
            rename_durably(fresh, target, force=force)
    finally:
        with suppress(OSError):
            fresh.unlink()


def rename_durably(source: Path, target: Path, *, force: bool) -> None:
    """Rename the finished ``source`` to its final name, durably. Raises AlreadyExists if that is taken, unless
    ``force``."""
    if force:
        replace(source, target)
    elif sys.platform == "win32":
        try:
            _retried(os.rename, source, target)
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
    return AlreadyExists(
        f"can't write {target}: it already exists", hint="choose another name, or use --force to replace it"
    )


class reporting:
    """Context manager: turn an OSError into CannotWrite, with a hint for a full disk."""

    # A class, because a generator costs as much as hashing a small file, and each file passes here several times.
    __slots__ = ("_target",)

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise cannot_write(self._target, error) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError into CannotRead, which says what can't be read."""
    try:
        yield
    except OSError as error:
        raise CannotRead(f"can't read {path}: {error.strerror or error}") from None


def cannot_write(target: Path, error: OSError, *, hint: str = "") -> CannotWrite:
    """The error for an OSError on writing ``target``; ``hint`` is used unless the disk is full."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        hint = "free disk space, then run the same command again to resume"
    elif short := exhausted(error):
        hint = short.hint
    elif isinstance(error, PermissionError) and sys.platform == "win32":
        hint = hint or "close it in other programs, then run the same command again"
    return CannotWrite(f"can't write {target}: {error.strerror or error}", hint=hint)
