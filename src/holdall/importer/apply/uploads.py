"""Uploads of files: read from the bundle in pieces and in threads, a bounded number at once, each file once."""

from __future__ import annotations

import asyncio
import codecs
import io
import tempfile
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast
from weakref import WeakValueDictionary

from holdall.bundle.layout import IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.bundle.texts import join
from holdall.dialects.loss import Loss, Why
from holdall.errors import DamagedBundle, HoldallError, RateLimited, RemoteError, RequestRefused, one_error
from holdall.importer.apply.context import Context
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.bundle_summary import Content
from holdall.importer.plan.steps import UploadFile
from holdall.importer.runs.runjournal import Copy, Create
from holdall.model import Fidelity, Kind, SourceId, TargetId
from holdall.remote import refusals
from holdall.remote.refusals import RefusalReason

# So many bytes of a joined text stay in memory while it is sent, or of small contents that are looked up together.
_IN_MEMORY = 1 << 20
_PIECE = 1 << 20
# Uploads that one visit to a thread looks up, and the bytes of a content that is read with it.
_AT_ONCE = 32
_SMALL = 64 << 10


def upload_names(content: Content, *, exact: bool) -> list[str]:
    """The names to upload a file under, in order. ``exact``: the text that stands in for it has just its size."""
    names = content.copy_names()
    return names[-1:] if content.fidelity is Fidelity.TEXT and not exact else names


class _Found(NamedTuple):
    """What the bundle has for an upload: its entry, and the bytes where they are few; or the error that says why not.
    Neither for one that is up already."""

    step: UploadFile
    entry: IndexEntry | None = None
    data: bytes | None = None
    error: HoldallError | None = None


class _Queue:
    """Steps of one run, in order; several are looked up in the bundle at once, in a thread."""

    def __init__(self, steps: Sequence[UploadFile], reader: BundleReader, up: Container[SourceId]) -> None:
        self._steps, self._reader, self._up = deque(steps), reader, up
        self._found: deque[_Found] = deque()
        self._turn = asyncio.Lock()

    def put_back(self, step: UploadFile) -> None:
        self._steps.append(step)

    async def take(self) -> _Found | None:
        """The next one; None where none is left."""
        async with self._turn:
            if not self._found and self._steps:
                steps = [self._steps.popleft() for _ in range(min(_AT_ONCE, len(self._steps)))]
                up = {step.content.id for step in steps if step.content.id in self._up}
                self._found.extend(await asyncio.to_thread(lambda: list(self._look_up(steps, up))))
            return self._found.popleft() if self._found else None

    def _look_up(self, steps: Iterable[UploadFile], up: Container[SourceId]) -> Iterator[_Found]:
        left = _IN_MEMORY
        for step in steps:
            content = step.content
            if content.id in up:
                yield _Found(step)
                continue
            try:
                entry, data = _entry(self._reader, content), None
                if content.fidelity is not Fidelity.TEXT and entry.size <= min(_SMALL, left):
                    data = self._reader.read(entry)
                    left -= entry.size
                yield _Found(step, entry, data)
            except HoldallError as error:
                yield _Found(step, error=error)


def _entry(reader: BundleReader, content: Content) -> IndexEntry:
    """The entry of a content. Raises DamagedBundle where there is none."""
    entry = reader.content(content.id)
    if entry is None:
        raise DamagedBundle(f"can't upload {content.id}: the bundle has no content for it")
    return entry


class Uploads:
    """The uploads of one run."""

    def __init__(self, context: Context, reader: BundleReader, writes: Writes) -> None:
        self._context, self._reader, self._writes = context, reader, writes
        self._state, self._progress = context.folder.state, context.progress
        self._concurrency = context.account.limits.concurrency
        self._in_use: set[TargetId] = set()
        self._one_text = asyncio.Lock()
        self._doubts: dict[SourceId, str] = {}
        # Held while an upload of that name and size is under way: if its answer is lost, it alone can be meant.
        self._under_way: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def run(self, steps: Sequence[UploadFile]) -> list[Loss]:
        """Upload those of ``steps`` that aren't up yet. What the server refuses is in the losses.

        Raises the error that stops the run, if there is one, after the uploads in flight have ended.
        """
        losses: list[Loss] = []
        stopped: list[HoldallError] = []
        queue = _Queue(steps, self._reader, self._state.files)
        workers = min(self._concurrency, len(steps))

        async def work() -> None:
            nonlocal workers
            while (found := await queue.take()) and not stopped:
                content, alone = found.step.content, workers == 1
                try:
                    losses.extend(await self._upload(found))
                except RateLimited as error:
                    if not alone:
                        # Some servers take one at a time, and don't say how long to wait: one goes on.
                        queue.put_back(found.step)
                        if workers > 1:
                            break
                        continue
                    losses.append(_refused(content, error))
                except RemoteError as error:
                    if gone := await self._context.stopping(error):
                        stopped.append(gone)
                    losses.append(_refused(content, error))
                except HoldallError as error:
                    stopped.append(error)
                self._progress.advance(files=1, bytes=content.stored)
            workers -= 1

        with one_error():
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        if stopped:
            raise stopped[0]
        return losses

    async def _upload(self, found: _Found) -> list[Loss]:
        content = found.step.content
        if found.error:
            raise found.error
        if found.entry:
            await self._send(content, found.entry, found.data, purpose=found.step.purpose)
        return self._differences(content)

    async def under_another_name(self, content: Content, refused: TargetId) -> TargetId | None:
        """Upload ``content``, which is up already, once more, for a store that took ``refused`` for a wrong type.

        None where no name is left to try.
        """
        copy, tried = self._state.copies.get(content.id), self._state.names.get(content.id)
        if copy is not None and copy != refused:
            return copy
        entry = await asyncio.to_thread(_entry, self._reader, content)
        with suppress(RequestRefused):
            return await self._send(content, entry, purpose="assistants", is_copy=True, after=tried or "")
        return None

    async def keep_copy(self, file: SourceId) -> None:
        """A store has the second upload of a file: take away the ones before it, which were refused."""
        if file in self._state.copies:
            self._in_use.add(self._state.copies[file])
            await self._take_away(file, self._state.superseded.get(file, ()))

    async def drop_copy(self, file: SourceId) -> None:
        """Take away the second uploads of a file of which no store took one."""
        if copy := self._state.copies.get(file):
            await self._take_away(file, [*self._state.superseded.get(file, ()), copy])

    async def _take_away(self, file: SourceId, copies: Iterable[TargetId]) -> None:
        # A server may give the same id for the same bytes.
        for copy in {*copies} - self._in_use - {*self._state.files.values()}:
            await self._writes.delete(file, copy)

    async def _send(
        self,
        content: Content,
        entry: IndexEntry,
        data: bytes | None = None,
        *,
        purpose: str,
        is_copy: bool = False,
        after: str | None = None,
    ) -> TargetId | None:
        """Upload under the first name whose type the server takes, of those ``after`` one that it doesn't. ``data`` are
        the bytes of a small one.

        None where there is none to be tried. Raises what the account raises; of the types that are refused the last.
        """
        refusal = None
        loop, sent_bytes = asyncio.get_running_loop(), 0

        def was_read(count: int) -> None:
            nonlocal sent_bytes
            sent_bytes += count
            # Read in a thread; a Progress is told by the event loop alone.
            loop.call_soon_threadsafe(partial(self._progress.advance, bytes=count))

        with ExitStack() as stack:
            # Taken back: what counts in the end is the size in the bundle, whatever was sent of it.
            stack.callback(lambda: self._progress.advance(bytes=-sent_bytes))
            size, exact = entry.size, True
            if content.fidelity is Fidelity.TEXT:
                stream, size, exact = await self._text(content, entry, stack)
            elif data is None:
                stream = stack.enter_context(self._reader.open(entry))
            source = io.BytesIO(data) if data is not None else cast(BinaryIO, _Watched(stream, was_read))
            names = upload_names(content, exact=exact)
            if after is not None:
                # What the server calls otherwise than it was sent was sent under the first.
                names = names[names.index(after) + 1 :] if after in names else names[1:]
            for name in names:
                if _adds_txt(content, name) and not await asyncio.to_thread(self._is_text, content):
                    continue
                sent: dict[str, Any] = {"source": content.id, "name": name, "size": size, "sha256": entry.sha256}
                intent = Copy(op="", **sent) if is_copy else Create(op="", kind=Kind.FILE, **sent)
                async with self._under_way.setdefault((name, size), asyncio.Lock()):
                    try:
                        return await self._writes.upload(intent, name, source, purpose=purpose)
                    except RequestRefused as error:
                        if refusals.read(error).reason is not RefusalReason.TYPE:
                            raise
                        refusal = error
        if refusal:
            raise refusal
        return None

    def _is_text(self, content: Content) -> bool:
        """Whether the bytes are UTF-8 without control characters, as parsed text is."""
        if content.fidelity is Fidelity.TEXT:
            return True
        with self._reader.open(_entry(self._reader, content)) as stream:
            pieces = iter(partial(stream.read, _PIECE), b"")
            try:
                return not any("\0" in text for text in codecs.iterdecode(pieces, "utf-8"))
            except UnicodeDecodeError:
                return False

    def _differences(self, content: Content) -> list[Loss]:
        """The differences between an uploaded file, what was sent, and the original."""
        state, losses = self._state, []
        sent = state.names.get(content.id, "")
        if content.fidelity is not Fidelity.TEXT and sent not in ("", content.copy_names()[0]):
            losses.append(file_loss(content, Why.RENAMED, renamed(content, sent), field="filename"))
        # A bundle of an earlier version doesn't say so; otherwise the plan has it already.
        if (doubt := self._doubts.get(content.id)) and not content.doubt:
            losses.append(file_loss(content, Why.JOINED_DOUBTFULLY, f"uncertain text: {doubt}", field="text"))
        said = state.said.get(content.id)
        if said and said.name is not None:
            text = f"the server renamed it from {sent} to {said.name}"
            losses.append(file_loss(content, Why.RENAMED, text, field="filename"))
        target = state.files.get(content.id)
        first = state.owners.get(target, content.id) if target is not None else content.id
        if first != content.id:
            other = state.names.get(first) or first
            text = f"same content as {other}: the server uses one file for both, {target}"
            losses.append(file_loss(content, Why.MERGED, text, field="id"))
        if said and said.size is not None:
            text = f"the server reports {said.size} bytes, a different size than sent"
            losses.append(file_loss(content, Why.SIZE_DIFFERS, text, field="bytes"))
        return losses

    async def _text(self, content: Content, entry: IndexEntry, stack: ExitStack) -> tuple[BinaryIO, int, bool]:
        """The joined text as a stream. One at a time: each takes a page of memory."""
        async with self._one_text:
            spool = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
            text = await asyncio.to_thread(
                join,
                lambda: self._reader.open(entry),
                spool.write,
                overlap=content.overlap,
                filename=content.filename,
                size=content.size,
            )
            if text.doubt:
                self._doubts[content.id] = text.doubt
            spool.seek(0)
            return cast(BinaryIO, spool), text.size, text.exact


class _Watched(io.RawIOBase):
    """A stream that reports progress: it calls ``was_read`` with the number of bytes read for the first time. Bytes
    that another attempt reads again don't count."""

    def __init__(self, stream: BinaryIO, was_read: Callable[[int], object]) -> None:
        self._stream, self._was_read = stream, was_read
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
            self._was_read(position - self._furthest)
            self._furthest = position
        return data


def _refused(content: Content, error: RemoteError) -> Loss:
    why, text = Why.REFUSED, f"not uploaded: {error.message}"
    if error.ambiguous:
        why, text = Why.UNCERTAIN, f"{text}; an unused copy may exist"
    elif (reason := refusals.read(error).reason) is RefusalReason.TOO_MUCH:
        text = f"not uploaded: too large for the destination ({error.detail or error.message})"
    elif reason is RefusalReason.TYPE and isinstance(error, RequestRefused):
        text = f"not uploaded: the destination does not accept this file type, and it is not text ({error.detail})"
    return file_loss(content, why, text)


def file_loss(
    content: Content, why: Why, text: str, *, field: str | None = None, inside: SourceId | None = None
) -> Loss:
    """The loss of something of a file, or of the file ``inside`` of a store."""
    return Loss(why=why, kind=Kind.FILE, id=content.id, name=content.filename, inside=inside, field=field, text=text)


def renamed(content: Content, name: str, purpose: str = "") -> str:
    """That a file is there under another name than its own, and why; ``purpose`` is what its type is refused for."""
    own = content.filename or content.id
    if name.lower() == own.lower():
        ending = own.rpartition(".")[2]
        return f"uploaded as {name}, with the same content: the destination does not accept .{ending}{purpose}"
    return f"uploaded as text file {name}: the destination does not accept its type{purpose}"


def _adds_txt(content: Content, name: str) -> bool:
    """Whether a name is the file's own with .txt added."""
    return name == f"{content.filename or content.id}.txt"
