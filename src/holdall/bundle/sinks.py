"""Where callers put bytes: a content into a Sink, lines of records into a LineSink."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from holdall.bundle.bag import padding
from holdall.bundle.durable import cannot_write, open_private, reporting
from holdall.bundle.layout import Frames
from holdall.bundle.spool import Spool
from holdall.closing import Closing
from holdall.model import Kind
from holdall.opening import open_regular

__all__ = ["LineSink", "Sink"]


class Sink(Closing):
    """One content on its way in. Several sinks may be open at once.

    As a context manager it aborts unless it was committed. ``size`` counts what was written; ``sha256`` is there
    after ``commit``, and the writer takes the content up then. Written to by one thread at a time, but whoever gave
    that thread up may abort: abort waits for what has begun, and what begins after it is refused with ValueError.
    """

    def __init__(self, spool: Spool, *, target: Path, frames: Frames, uses: int = 0) -> None:
        """``frames`` say how the content is cut, ``uses`` how many tools and references it has."""
        self.spool, self.frames, self.uses = spool, frames, uses
        self.size = 0
        self.sha256 = ""
        self._target = target
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()
        self._open = True

    def write(self, data: bytes | memoryview) -> None:
        """Take ``data`` in: hashed now, compressed behind the scenes. Raises CannotWrite."""
        with self._lock:
            self._require_open()
            self._hash.update(data)
            self.size += len(data)
            with reporting(self._target):
                self.spool.write(data)

    def commit(self) -> None:
        """The content is whole. It waits beside the bundle until the writer is told what it is."""
        with self._lock:
            self._require_open()
            with reporting(self._target):
                if not self.spool.small or self.size > self.frames.small:
                    self.spool.finish(padding(self.size))
            self.sha256 = self._hash.hexdigest()
            self._open = False

    @property
    def is_open(self) -> bool:
        """Neither committed nor aborted."""
        return self._open

    def abort(self) -> None:
        """Forget what was written. Harmless after ``commit`` or twice."""
        with self._lock:
            if self._open:
                self._open = False
                self.spool.discard()

    close = abort

    def _require_open(self) -> None:
        if not self._open:
            raise ValueError("this sink is closed")


class LineSink(Closing):
    """Records, a line of JSON each, on their way in. Kept beside the stream: records go in behind the contents."""

    def __init__(
        self,
        file: Path,
        path: str,
        kind: Kind | None,
        store_id: str | None,
        committed: Callable[[LineSink], None],
        *,
        target: Path,
    ) -> None:
        self.path, self.kind, self.store_id = path, kind, store_id
        self._name, self._committed, self._target = file, committed, target
        self.size = 0
        self._ends_in_newline = True
        with reporting(target):
            self._file: BinaryIO | None = os.fdopen(open_private(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")

    def write(self, data: bytes) -> None:
        """Take in whole lines or parts of them; a record's JSON has no newline inside, and one behind it."""
        assert self._file is not None
        if data:
            self.size += len(data)
            self._ends_in_newline = data.endswith(b"\n")
            try:
                self._file.write(data)
            except OSError as error:
                raise cannot_write(self._target, error) from error

    def commit(self) -> None:
        """All lines are there. Raises ValueError where the last one has no end."""
        if self._file is None:
            raise ValueError("this sink is closed")
        if not self._ends_in_newline:
            raise ValueError(f"{self.path}: the last line has no end")
        with reporting(self._target):
            self._file.close()
        self._file = None
        self._committed(self)

    def abort(self) -> None:
        """Forget what was written. Harmless after ``commit`` or twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._name.unlink(missing_ok=True)

    close = abort

    def lines(self) -> Iterator[bytes]:
        """The lines, each with its newline. After ``commit``."""
        with open_regular(self._name) as file:
            yield from file

    def remove(self) -> None:
        self._name.unlink(missing_ok=True)
