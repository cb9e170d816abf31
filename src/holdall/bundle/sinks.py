"""Where callers put bytes: a content into a Sink, lines of records into a LineSink."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import BinaryIO

from holdall.bundle.bag import padding
from holdall.bundle.frames import OwnFrames
from holdall.bundle.growing import DirectEntry
from holdall.bundle.layout import Frames, IndexEntry
from holdall.bundle.seekable import FrameTable, compress
from holdall.model import Kind
from holdall.safe_files import Closing, cannot_write, open_private, open_regular, reporting


class MemoryBudget:
    """How many bytes of small contents wait in memory to be added, all together."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether there is room; then it is taken."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        with self._lock:
            self._left += size


class Sink(Closing):
    """Takes one content, hashing and compressing it as it comes. Several sinks may be open at once.

    As a context manager it aborts unless it was committed. ``size`` counts what was written; ``sha256`` is set by
    ``commit``. One thread at a time writes, but another may abort: it waits for the write in progress, and later writes
    raise ValueError.
    """

    def __init__(
        self,
        target: Path,
        new_path: Callable[[], Path],
        pool: Executor,
        *,
        frames: Frames,
        depth: int,
        memory: MemoryBudget,
        uses: int = 0,
    ) -> None:
        """``new_path`` gives the path of a spool file if one is needed; ``depth`` frames may be in the pool at once.
        ``frames`` say how the content is split, ``uses`` how many tools and references it has."""
        self._memory, self._taken = memory, 0
        self._parked: Path | None = None
        self._target, self._new_path, self._pool, self._depth = target, new_path, pool, depth
        self.frames, self.uses = frames, uses
        self.size = 0
        self.sha256 = ""
        self.small = True
        """It shares a frame with others: nothing is compressed, all of it comes with ``take``."""
        self.rest = bytearray()
        """What has no frame yet: of a small content all of it, until the writer puts it into a frame of several."""
        self.go_direct: Callable[[int], DirectEntry | None] = lambda _: None
        """Asked before each frame, with how many bytes were spooled: where to write frames instead, once that can
        be."""
        self.direct: DirectEntry | None = None
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._written = FrameTable()
        self._under_way: deque[tuple[Future[bytes], int]] = deque()
        self._hash = hashlib.sha256()
        self._filled = False
        self._lock = threading.Lock()
        self.is_open = True
        """Neither committed nor aborted."""
        self.known_frame: tuple[bytes, bytes] | None = None
        """Of a small content that another bundle has, its frame in that one: compressed, and what is in it."""

    @property
    def is_aborted(self) -> bool:
        """Nothing of it is wanted."""
        return not self.is_open and not self.sha256

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hash ``data`` now, compress it in the background. Raises CannotWrite."""
        with self._lock:
            self._require_open()
            self._hash.update(data)
            self.size += len(data)
            if len(self.rest) + len(data) <= self.frames.own:  # as of nearly all contents
                self.rest += data
                return
            view = memoryview(data)
            with reporting(self._target):
                while view:
                    # A frame is cut once more follows: what fits one exactly may still be a small content.
                    if len(self.rest) == self.frames.own:
                        self._cut()
                    room = self.frames.own - len(self.rest)
                    self.rest += view[:room]
                    view = view[room:]

    def adopt(self, frames: OwnFrames, entry: IndexEntry) -> bool:
        """Take the whole content of another bundle's ``entry`` as the ``frames`` that it has there, cut as here.

        False where its sha256 is another. Raises FrameError, CannotWrite.
        """
        with self._lock, reporting(self._target):
            self._require_open()
            self.small = False
            for frame, data in frames:
                content = memoryview(data)[: entry.size - self.size]
                self._hash.update(content)
                self.size += len(content)
                self._keep(frames.as_ours(frame, data, self.frames.least(data, self.uses)), len(data))
            self._filled = True
        return self.has(entry)

    def has(self, entry: IndexEntry) -> bool:
        """Whether what came has the sha256 of ``entry``."""
        return self._hash.hexdigest() == entry.sha256

    def commit(self) -> None:
        """Mark the content as whole. It stays in the spool until the writer is told what it is."""
        if self.commit_in_memory():
            return
        with self._lock:
            self._require_open()
            with reporting(self._target):
                if self._may_share():
                    self._park()
                else:
                    self._finish()
                    if self.direct and self.size != self.direct.size:
                        self._take_out(self.direct)
            self._end()

    def commit_in_memory(self) -> bool:
        """Commit a small content if there is room in memory, where a file of its own would cost more than its bytes;
        else False, and nothing is done."""
        with self._lock:
            self._require_open()
            if not self._may_share() or not self._memory.take(self.size):
                return False
            self._taken = self.size
            self._end()
        return True

    def abort(self) -> None:
        """Forget what was written. Harmless after ``commit`` or twice."""
        with self._lock:
            if self.is_open:
                self.is_open = False
                self.discard()

    close = abort

    def pieces(self) -> Iterator[tuple[memoryview, int]]:
        """The frames of what isn't small, in order: (compressed, decompressed size). After ``commit``.

        Each frame is to be used before the next is asked for, which is read into the same memory.
        """
        if self._path is not None:
            buffer = bytearray()
            with open_regular(self._path) as file:
                for number in range(len(self._written)):
                    _, length, _, size = self._written[number]
                    if length > len(buffer):
                        buffer = bytearray(length)
                    yield memoryview(buffer)[: file.readinto(memoryview(buffer)[:length])], size

    def take(self) -> bytes | bytearray:
        """All of a small content, which is then gone from here. After ``commit``."""
        data: bytes | bytearray = self.rest
        if self._parked:
            with open_regular(self._parked) as file:
                data = file.read()
        self.discard()
        return data

    def discard(self) -> None:
        """Free memory and disk, once the bytes are in the stream or not wanted."""
        for frame, _ in self._under_way:
            frame.cancel()
        self._under_way.clear()
        self.rest = bytearray()
        self._memory.give(self._taken)
        self._taken = 0
        if self._file:
            self._file.close()
        for path in (self._path, self._parked):
            if path:
                path.unlink(missing_ok=True)

    def _finish(self) -> None:
        if not self._filled:
            self.rest += padding(self.size)
        if self.rest:
            self._cut()
        while self._under_way:
            self._write_frame()
        if self._file:
            self._file.close()

    def _may_share(self) -> bool:
        return self.small and self.size <= self.frames.small

    def _end(self) -> None:
        self.sha256 = self._hash.hexdigest()
        self.is_open = False

    def _park(self) -> None:
        """Let a small content wait on disk, as too many others do in memory."""
        self._parked = self._new_path()
        with os.fdopen(open_private(self._parked, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(self.rest)
        self.rest = bytearray()

    def _cut(self) -> None:
        """Compress ``rest`` into a frame, and write the frames that are ready."""
        self.small = False
        full, self.rest = self.rest, bytearray()
        self._under_way.append((self._pool.submit(compress, full, self.frames.least(full, self.uses)), len(full)))
        while self._under_way and (self._under_way[0][0].done() or len(self._under_way) > self._depth):
            self._write_frame()

    def _write_frame(self) -> None:
        frame, size = self._under_way.popleft()
        self._keep(frame.result(), size)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._path = self._new_path()
            self._file = os.fdopen(open_private(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
        return self._file

    def _keep(self, frame: bytes, size: int) -> None:
        if self.direct is None and (direct := self.go_direct(self._written.size)):
            self._put_in(direct)
        if self.direct:
            self.direct.append(frame, size)
        else:
            self._open().write(frame)
        self._written.append(len(frame), size)

    def _put_in(self, direct: DirectEntry) -> None:
        """Move what was spooled into the bundle, where all that follows goes."""
        if self._file and self._path:
            self._file.close()
            for frame, size in self.pieces():
                direct.append(frame, size)
            self._path.unlink()
            self._file = self._path = None
        self.direct = direct

    def _take_out(self, direct: DirectEntry) -> None:
        """Move what is in the bundle already into the spool, because its header says another size."""
        self.direct = None
        with self._open() as file:
            for frame, _ in direct.frames():
                file.write(frame)

    def _require_open(self) -> None:
        if not self.is_open:
            raise ValueError("this sink is closed")


class LineSink(Closing):
    """Takes records, a line of JSON each. They are spooled, because records follow the contents."""

    def __init__(
        self, new_path: Callable[[], Path], path: str, kind: Kind | None, owner: str | None, *, target: Path
    ) -> None:
        """``new_path`` gives the path of the spool file, once there is a line: a server may list many empty stores."""
        self.path, self.kind, self.owner = path, kind, owner
        self._new_path, self._target = new_path, target
        self.size = 0
        self.committed = False
        self._ends_in_newline = self._is_open = True
        self._name: Path | None = None
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Write whole lines or parts of lines. A record's JSON has no newline inside, and one at its end."""
        self._require_open()
        if data:
            try:
                if self._file is None:
                    self._name = self._new_path()
                    self._file = os.fdopen(open_private(self._name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
                self._file.write(data)
            except OSError as error:  # no context manager, which costs as much as the line
                raise cannot_write(self._target, error) from error
            self.size += len(data)
            self._ends_in_newline = data.endswith(b"\n")

    def commit(self) -> None:
        """Mark the lines as complete. Raises ValueError if the last has no newline."""
        self._require_open()
        if not self._ends_in_newline:
            raise ValueError(f"{self.path}: unterminated last line")
        with reporting(self._target):
            self._close()
        self.committed = True

    def abort(self) -> None:
        """Forget what was written. Harmless after ``commit`` or twice."""
        if self._is_open:
            self._close()
            self.remove()

    close = abort

    def lines(self) -> Iterator[bytes]:
        """The lines, each with its newline. After ``commit``."""
        if self._name:
            with open_regular(self._name) as file:
                yield from file

    def remove(self) -> None:
        """Delete the spool file."""
        if self._name:
            self._name.unlink(missing_ok=True)

    def _close(self) -> None:
        self._is_open = False
        if self._file:
            self._file.close()

    def _require_open(self) -> None:
        if not self._is_open:
            raise ValueError("this sink is closed")
