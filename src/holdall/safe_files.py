"""Files that others may have a hand in: opened only if they are regular, locked, written durably, and safely named.

A path may be somebody else's choice: opening or reading a pipe, a device or a socket may block or never end. A
half-written last line is cut off when a file is opened again. A safe name is made of any name, for every system
(docs/format.md, "Names"); the records keep the true ones.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from holdall.errors import AlreadyExists, CannotRead, CannotWrite, HoldallError, exhausted

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    import asyncio
import re
import sys
import unicodedata
from functools import lru_cache

# -- opening --------------------------------------------------------------------------------------------

# A pipe without another end would keep the opening waiting, and a terminal become the process's own.
_AT_ONCE = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
PRIVATE = 0o600
"""The mode of a file that only its owner may read."""


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


def open_private(path: Path, flags: int) -> int:
    """A descriptor as ``regular`` gives it, of a file that is new with mode 0600 where the system has modes."""
    return regular(path, flags, PRIVATE)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError into CannotRead, which says what can't be read."""
    try:
        yield
    except OSError as error:
        raise CannotRead(f"can't read {path}: {error.strerror or error}") from None


# -- locking --------------------------------------------------------------------------------------------

# What a lock that another process holds is refused with: EAGAIN by flock, EACCES by Windows and some network disks.
_LOCKED_ELSEWHERE = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


class FileLock:
    """A lock on ``path``, whose folder must be there. Raises ``busy`` at once where another process holds it, and
    CannotWrite where the file system has no locks: two runs in one folder would destroy each other's work."""

    def __init__(self, path: Path, *, busy: HoldallError) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        while True:
            self._descriptor = os.open(path, flags, PRIVATE)
            try:
                _lock(self._descriptor)
            except OSError as error:
                os.close(self._descriptor)
                if error.errno in _LOCKED_ELSEWHERE:
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


# -- writing durably ------------------------------------------------------------------------------------

# Seconds between tries, 1.3 s in all: virus scanners and indexers let go of a new file within that.
_PAUSES = tuple(0.01 * 2**n for n in range(7))


def write_whole(target: Path, data: bytes, *, hint: str = "") -> None:
    """Replace ``target`` by ``data``, atomically and durably. Raises CannotWrite."""
    fresh = _beside(target)
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
    fresh = _beside(target)
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


def _beside(target: Path) -> Path:
    """Where a file is written before it replaces ``target``."""
    return target.with_name(f".{target.name[:80]}.new")


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


def sync_file(file: BinaryIO) -> None:
    """Flush ``file`` down to the disk."""
    file.flush()
    _sync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable. Windows journals it by itself and opens no folder for this."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def _sync(descriptor: int) -> None:
    """On macOS only F_FULLFSYNC reaches beyond the drive's own cache."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:  # a network file system that doesn't know it
            pass
    os.fsync(descriptor)


def already_exists(target: Path) -> AlreadyExists:
    return AlreadyExists(
        f"can't write {target}: it already exists", hint="choose another name, or use --force to replace it"
    )


def cannot_write(target: Path, error: OSError, *, hint: str = "") -> CannotWrite:
    """The error for an OSError on writing ``target``; ``hint`` is used unless the disk is full."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        hint = "free disk space, then run the same command again to resume"
    elif short := exhausted(error):
        hint = short.hint
    elif isinstance(error, PermissionError) and sys.platform == "win32":
        hint = hint or "close it in other programs, then run the same command again"
    return CannotWrite(f"can't write {target}: {error.strerror or error}", hint=hint)


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


# -- line by line ---------------------------------------------------------------------------------------

# So much is read at once, from the end, to find the last whole line.
_BLOCK = 1 << 16


class AppendLog:
    """An append-only file of lines that survives a crash.

    ``commit`` may be called from any number of tasks at once, ``append`` from one thread at a time.
    """

    def __init__(
        self,
        path: Path,
        *,
        new: bool = False,
        end: int | None = None,
        sync: Callable[[BinaryIO], None] = sync_file,
        hint: str = "",
        mode: int = 0o666,
    ) -> None:
        """Open or create it; with ``new`` it must not exist. Everything beyond ``end``, by default beyond the last
        whole line, is cut off. ``hint`` is for CannotWrite, ``mode`` for a new file. Raises CannotWrite."""
        self.path = path
        self._sync, self._hint = sync, hint
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        try:
            # Without a buffer: that would keep what a full disk did not take, and write it behind the next line.
            opener = partial(regular, mode=mode)
            self._file = open(path, "x+b" if new else "a+b", buffering=0, opener=opener)  # noqa: SIM115
            self.end = _end_of_last_line(self._file) if end is None else end
            self._file.truncate(self.end)
            self._file.seek(self.end)
            # Not every file system counts names.
            self._named = os.fstat(self._file.fileno()).st_nlink > 0
        except OSError as error:
            raise cannot_write(path, error, hint=hint) from None

    def append(self, lines: bytes, *, sync: bool = True) -> None:
        """Append whole lines, durable on return if ``sync``. Raises CannotWrite; then none of them is kept, if the disk
        allows."""
        try:
            if self._named and os.fstat(self._file.fileno()).st_nlink == 0:
                # Written to a file that has no name any more, all would be lost with the process.
                raise FileNotFoundError(errno.ENOENT, "it was deleted during writing")
            write_all(self._file, lines)
            if sync:
                self._sync(cast(BinaryIO, self._file))
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self.end)  # half a line would spoil the next one
                self._file.seek(self.end)
            raise cannot_write(self.path, error, hint=self._hint) from None
        self.end += len(lines)

    async def commit(self, line: bytes) -> None:
        """Append a line; durable on return. One sync serves all waiting lines. Raises CannotWrite, and again on every
        later call."""
        if self._failure:
            raise self._failure
        import asyncio  # only here: most commands write whole files and never start it

        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((line, written))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await written

    async def _flush(self) -> None:
        """Write and sync until nothing waits: lines that come meanwhile share the next sync."""
        import asyncio

        while self._pending:
            lines, self._pending = self._pending, []
            try:
                if not self._failure:
                    await asyncio.to_thread(self.append, b"".join(line for line, _ in lines))
            except BaseException as error:
                self._failure = error
            for _, written in lines:
                if written.done():  # whoever waited was cancelled
                    continue
                if self._failure:
                    written.set_exception(self._failure)
                else:
                    written.set_result(None)

    async def drain(self) -> None:
        """Wait for the write in progress."""
        if self._flusher is not None:
            await self._flusher

    def close(self, *, sync: bool = False) -> None:
        """Close the file; with ``sync`` make it durable first, if the disk allows."""
        if sync:
            with suppress(OSError):
                self._sync(cast(BinaryIO, self._file))
        self._file.close()


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of ``data`` to an unbuffered file. Raises OSError; then part of it may be written.

    A buffered file would keep what a full disk refused, and write it after the next line or fail in ``close``.
    """
    left = memoryview(data)
    while left:
        written = file.write(left)
        left = left[written or 0 :]


def _end_of_last_line(file: FileIO) -> int:
    """The length of ``file`` up to its last line's end."""
    place = file.seek(0, os.SEEK_END)
    while place:
        start = max(place - _BLOCK, 0)
        file.seek(start)
        if (found := file.read(place - start).rfind(b"\n")) >= 0:
            return start + found + 1
        place = start
    return 0


# -- safe names -----------------------------------------------------------------------------------------

MAX_NAME = 120
"""Longest name of a file or folder, in bytes of UTF-8."""
MAX_PATH = 1000
"""Longest path in a bundle, in bytes of UTF-8."""

_FORBIDDEN = frozenset('%\\/:*?"<>|')
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LEADING = frozenset(".~-")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
)
_LONGEST_SUFFIX = 24
# Far longer than any name may be. Normalising takes time by the square of what combines with one letter.
_LOOKED_AT = 4096
# What most names are: nothing to change. Every reserved name begins with one of the suspect three letters.
_SUSPECT = "|".join(sorted({name[:3] for name in _RESERVED}))
_PLAIN_NAME = rf"(?!(?i:{_SUSPECT}))[A-Za-z0-9_](?:[A-Za-z0-9_ ()+,&=@#.-]{{,{MAX_NAME - 2}}}[A-Za-z0-9_()+,&=@#-])?"
_is_plain_name = re.compile(_PLAIN_NAME).fullmatch
_is_plain_path = re.compile(rf"{_PLAIN_NAME}(?:/{_PLAIN_NAME})*+").fullmatch


def safe_name(name: str, *, suffix: str = "", limit: int = MAX_NAME, percent: bool = False) -> str:
    """``name`` as a single path component that is safe everywhere, with ``suffix`` after it, at most ``limit`` bytes.

    ``percent`` keeps the percent sign, which only BagIt manifests can't hold.
    """
    if len(name) + len(suffix) <= limit and _is_plain_name(name):
        return name + suffix
    if len(name) > _LOOKED_AT:
        name = name[: _LOOKED_AT - _LONGEST_SUFFIX] + name[-_LONGEST_SUFFIX:]
    text = unicodedata.normalize("NFC", name)
    if not (text.isascii() and text.isalnum()):
        kept = _FORBIDDEN - {"%"} if percent else _FORBIDDEN
        text = "".join("_" if c in kept or unicodedata.category(c) in _INVISIBLE else c for c in text)
        text = unicodedata.normalize("NFC", text)
    limit -= len(suffix.encode())
    text = _trimmed(text, limit)
    if not text or text[0] in _LEADING:
        text = _trimmed("_" + text[1:], limit)
    if text.split(".")[0].rstrip().casefold() in _RESERVED:
        text = _trimmed("_" + text, limit)
    return text + suffix


def numbered(name: str, number: int, *, suffix: str = "", limit: int = MAX_NAME) -> str:
    """The ``number``-th choice for a safe ``name`` (without ``suffix``) that is taken: ``report-2.pdf``."""
    if number == 1:
        return name + suffix
    stem, extension = _stem_and_extension(name)
    tail = f"-{number}{extension}"
    # A stem of blanks alone is trimmed to nothing, and no name may begin with the hyphen of its number.
    return (_trimmed(stem, limit - len((tail + suffix).encode())) or "_") + tail + suffix


def is_name_of(name: str, id: str, *, suffix: str = "") -> bool:
    """Whether ``name`` can be the safe name of ``id``, numbered or not, before ``suffix``."""
    safe = safe_name(id, suffix=suffix).removesuffix(suffix)
    number = _stem_and_extension(name)[0].rpartition("-")[2]
    return name == safe or (
        number.isdecimal() and len(number) < 10 and numbered(safe, int(number), suffix=suffix) == name + suffix
    )


def is_safe(path: str) -> bool:
    """Whether every component of ``path`` keeps the rules, as a bundle's paths must."""
    if not path or len(path) > MAX_PATH or len(path.encode(errors="replace")) > MAX_PATH:
        return False
    return _is_plain_path(path) is not None or all(map(_is_safe_name, path.split("/")))


@lru_cache(4096)
def _is_safe_name(name: str) -> bool:
    return len(name) <= MAX_NAME and safe_name(name) == name


def _stem_and_extension(name: str) -> tuple[str, str]:
    """``name`` as stem and extension; what is too long for an extension belongs to the stem."""
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or len(extension.encode()) >= _LONGEST_SUFFIX:
        return name, ""
    return stem, dot + extension


def _trimmed(text: str, limit: int) -> str:
    """``text`` without trailing dots and blanks, cut to ``limit`` bytes in front of its extension."""
    text = _bare(text)
    if len(text.encode()) > limit:
        stem, extension = _stem_and_extension(text)
        room = max(limit - len(extension.encode()), 1)
        stem = stem.encode()[:room].decode(errors="ignore")
        text = _bare(_bare(stem) + extension) if extension else _bare(stem)
    return text


def _bare(text: str) -> str:
    end = len(text)
    while end and (text[end - 1] == "." or text[end - 1].isspace()):
        end -= 1
    return text[:end]


def fold(name: str) -> str:
    """A form that is equal for names which some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def on_disk(path: str) -> str:
    """``path`` for this system's functions: UTF-8, whatever the locale."""
    return os.fsdecode(path.encode("utf-8", sys.getfilesystemencodeerrors()))


def from_disk(path: str) -> str:
    """The inverse of ``on_disk``."""
    return os.fsencode(path).decode("utf-8", sys.getfilesystemencodeerrors())
