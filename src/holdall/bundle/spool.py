"""One content on its way in: compressed into frames of its own while it comes, in a file beside the stream."""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import BinaryIO

from holdall.bundle.durable import open_private
from holdall.bundle.seekable import compress
from holdall.opening import open_regular

__all__ = ["Spool"]


class Spool:
    """Takes bytes; holds the last incomplete frame in memory and all before it compressed in a file.

    Used by one thread at a time. ``depth`` frames may be under way in the pool.
    """

    def __init__(self, new_path: Callable[[], Path], pool: Executor, *, frame_size: int, depth: int) -> None:
        """``new_path`` is asked for the file's path if there comes to be one."""
        self._new_path, self._pool, self._frame_size, self._depth = new_path, pool, frame_size, depth
        self._path: Path | None = None
        self.rest = bytearray()
        self.frames = array("Q")
        self._file: BinaryIO | None = None
        self._under_way: deque[Future[bytes]] = deque()

    @property
    def small(self) -> bool:
        """Everything is in ``rest``, nothing on disk."""
        return self._file is None

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            room = self._frame_size - len(self.rest)
            if not room:
                self._cut()
                continue
            self.rest += view[:room]
            view = view[room:]

    def finish(self, padding: bytes) -> None:
        """Compress what is left, with ``padding`` behind it; the file is complete on return."""
        self.rest += padding
        if self.rest:
            self._cut()
        while self._under_way:
            self._put()
        if self._file:
            self._file.close()

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        """The frames in order: (compressed, decompressed size). After ``finish``."""
        if self._path is None:
            return
        with open_regular(self._path) as file:
            for number in range(0, len(self.frames), 2):
                yield file.read(self.frames[number]), self.frames[number + 1]

    def discard(self) -> None:
        for future in self._under_way:
            future.cancel()
        self._under_way.clear()
        self.rest = bytearray()
        if self._file:
            self._file.close()
        if self._path:
            self._path.unlink(missing_ok=True)

    def _cut(self) -> None:
        if self._file is None:
            self._path = self._new_path()
            self._file = os.fdopen(open_private(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
        full, self.rest = self.rest, bytearray()
        self.frames.extend((0, len(full)))
        self._under_way.append(self._pool.submit(compress, full))
        while self._under_way and (self._under_way[0].done() or len(self._under_way) > self._depth):
            self._put()

    def _put(self) -> None:
        frame = self._under_way.popleft().result()
        assert self._file is not None
        self._file.write(frame)
        self.frames[2 * (len(self.frames) // 2 - len(self._under_way) - 1)] = len(frame)
