"""Files on their way up: read from the bundle piece by piece, a bounded number at once, each file once."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import BinaryIO, cast

from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss, Why
from holdall.errors import DamagedBundle, HoldallError, RemoteError
from holdall.importer.steps import Content, UploadFile
from holdall.importer.text import document, is_text_name
from holdall.importer.writes import Writes
from holdall.model import FileView, Kind, Rung, SourceId, TargetId
from holdall.progress import Progress

__all__ = ["Uploads", "upload_name"]

# A joined text up to this many bytes stays in memory while it is sent.
_IN_MEMORY = 1 << 20
# Parsed text is at most 5,000,000 tokens a file; this is far above it, and far below what would hurt.
_LARGEST_TEXT = 256 << 20


def upload_name(content: Content, *, exact: bool) -> str:
    """The name a file is uploaded under. ``exact``: the text that stands in for it has just its size."""
    name = content.filename or content.id
    if content.rung is not Rung.TEXT or (exact and is_text_name(name)):
        return name
    return f"{name}.txt"


class Uploads:
    """The uploads of one run. ``targets`` and ``names`` have those that are done, under the source's ids."""

    def __init__(self, reader: BundleReader, writes: Writes, *, concurrency: int, progress: Progress) -> None:
        self._reader = reader
        self._writes = writes
        self._concurrency = concurrency
        self._progress = progress
        self._one_text = asyncio.Lock()
        self.targets: dict[SourceId, TargetId] = {}
        self.names: dict[SourceId, str] = {}

    async def run(self, steps: Sequence[UploadFile]) -> list[Loss]:
        """Upload all of ``steps``. What the server refuses is in the losses.

        Raises the error that stops the run, if there is one, after the uploads in flight have ended.
        """
        losses: list[Loss] = []
        stopped: list[HoldallError] = []
        queue = iter(steps)

        async def work() -> None:
            for step in queue:
                if stopped:
                    return
                try:
                    losses.extend(await self._upload(step))
                except RemoteError as error:
                    if gone := await self._writes.stopping(error):
                        stopped.append(gone)
                    losses.append(_refused(step.content, error))
                except HoldallError as error:
                    stopped.append(error)
                self._progress.advance(files=1)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(steps))):
                group.create_task(work())
        if stopped:
            raise stopped[0]
        return losses

    async def _upload(self, step: UploadFile) -> list[Loss]:
        content = step.content
        with ExitStack() as stack:
            if content.rung is Rung.TEXT:
                stream, size, exact = await self._text(content, stack)
            else:
                entry = self._reader.content(content.id)
                if entry is None:
                    raise DamagedBundle(f"can't upload {content.id}: the bundle has no content for it")
                stream, size, exact = stack.enter_context(self._reader.open(entry)), entry.size, True
            name = upload_name(content, exact=exact)
            watched = cast(BinaryIO, _Watched(stream, self._progress))
            target, view = await self._writes.upload(content.id, name, watched, size=size, purpose=step.purpose)
        self.targets[content.id] = target
        self.names[content.id] = name
        return _differences(content, name, size, view)

    async def _text(self, content: Content, stack: ExitStack) -> tuple[BinaryIO, int, bool]:
        """The joined text as a stream. One at a time: while it is joined, a long text is in memory thrice."""
        async with self._one_text:
            entry = self._reader.content(content.id)
            if entry is None:
                raise DamagedBundle(f"can't upload {content.id}: the bundle has no text for it")
            stored = self._reader.read(entry, limit=_LARGEST_TEXT)
            text = document(stored, overlap=content.overlap, size=content.size)
            spool = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
            spool.write(text.data)
            spool.seek(0)
            return cast(BinaryIO, spool), len(text.data), text.exact


class _Watched(io.RawIOBase):
    """A stream that tells how far it was read for the first time; a second reading tells nothing."""

    def __init__(self, stream: BinaryIO, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress
        self._furthest = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        position = self._stream.tell()
        if position > self._furthest:
            self._progress.advance(bytes=position - self._furthest)
            self._furthest = position
        return data


def _differences(content: Content, name: str, size: int, view: FileView) -> list[Loss]:
    """What the server says of the new file against what was sent."""

    def loss(why: Why, field: str, text: str) -> Loss:
        return Loss(why=why, kind=Kind.FILE, id=content.id, name=content.filename, field=field, text=text)

    losses = []
    if view.filename is not None and view.filename != name:
        losses.append(loss(Why.RENAMED, "filename", f"the server calls it {view.filename}, sent was {name}"))
    if view.bytes is not None and view.bytes != size:
        losses.append(loss(Why.SIZE_DIFFERS, "bytes", f"the server counts {view.bytes}, sent were {size}"))
    return losses


def _refused(content: Content, error: RemoteError) -> Loss:
    why = Why.UNCERTAIN if error.ambiguous else Why.REFUSED
    doubt = "; it may be there all the same, used by nothing" if error.ambiguous else ""
    text = f"not uploaded: {error.message}{doubt}"
    return Loss(why=why, kind=Kind.FILE, id=content.id, name=content.filename, text=text)
