"""Append-only file of lines that survives a crash: a half-written last line is cut off when it is opened."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

from holdall.bundle.durable import cannot_write, sync_file, write_all
from holdall.safe_open import regular

_BLOCK = 1 << 16


class AppendLog:
    """``commit`` may be called from any number of tasks at once, ``append`` from one thread at a time."""

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
            self.end = _whole(self._file) if end is None else end
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
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((line, written))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await written

    async def _flush(self) -> None:
        """Write and sync until nothing waits: lines that come meanwhile share the next sync."""
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


def _whole(file: FileIO) -> int:
    """The length of ``file`` up to its last line's end."""
    place = file.seek(0, os.SEEK_END)
    while place:
        start = max(place - _BLOCK, 0)
        file.seek(start)
        if (found := file.read(place - start).rfind(b"\n")) >= 0:
            return start + found + 1
        place = start
    return 0
