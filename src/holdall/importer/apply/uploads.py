"""Uploads of files: read from the bundle in pieces and in threads, a bounded number at once, each file once."""

from __future__ import annotations

import asyncio
import codecs
import io
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, BinaryIO, cast
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
from holdall.importer.runs.runlines import Copy, Create
from holdall.model import Fidelity, Kind, SourceId, TargetId
from holdall.remote import refusals
from holdall.remote.refusals import RefusalReason

# A joined text up to this many bytes stays in memory while it is sent.
_IN_MEMORY = 1 << 20
_PIECE = 1 << 20


def upload_names(content: Content, *, exact: bool) -> list[str]:
    """The names to upload a file under, in order. ``exact``: the text that stands in for it has just its size."""
    names = content.copy_names()
    return names[-1:] if content.fidelity is Fidelity.TEXT and not exact else names


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
        queue = deque(steps)
        workers = min(self._concurrency, len(steps))

        async def work() -> None:
            nonlocal workers
            while queue and not stopped:
                step, alone = queue.popleft(), workers == 1
                try:
                    losses.extend(await self._upload(step))
                except RateLimited as error:
                    if not alone:
                        # Some servers take one at a time, and don't say how long to wait: one goes on.
                        queue.append(step)
                        if workers > 1:
                            workers -= 1
                            return
                        continue
                    losses.append(_refused(step.content, error))
                except RemoteError as error:
                    if gone := await self._context.stopping(error):
                        stopped.append(gone)
                    losses.append(_refused(step.content, error))
                except HoldallError as error:
                    stopped.append(error)
                self._progress.advance(files=1, bytes=step.content.stored)

        with one_error():
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        if stopped:
            raise stopped[0]
        return losses

    async def _upload(self, step: UploadFile) -> list[Loss]:
        content = step.content
        if content.id in self._state.files:
            return self._differences(content)
        await self._send(content, purpose=step.purpose)
        return self._differences(content)

    async def under_another_name(self, content: Content, refused: TargetId) -> TargetId | None:
        """Upload ``content``, which is up already, once more, for a store that took ``refused`` for a wrong type.

        None where no name is left to try.
        """
        copy, tried = self._state.copies.get(content.id), self._state.names.get(content.id)
        if copy is not None and copy != refused:
            return copy
        with suppress(RequestRefused):
            return await self._send(content, purpose="assistants", is_copy=True, after=tried or "")
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
        self, content: Content, *, purpose: str, is_copy: bool = False, after: str | None = None
    ) -> TargetId | None:
        """Upload under the first name whose type the server takes, of those ``after`` one that it doesn't.

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
            entry = await asyncio.to_thread(self._entry, content)
            if content.fidelity is Fidelity.TEXT:
                stream, size, exact = await self._text(content, entry, stack)
            else:
                stream, size, exact = stack.enter_context(self._reader.open(entry)), entry.size, True
            names = upload_names(content, exact=exact)
            if after is not None:
                # What the server calls otherwise than it was sent was sent under the first.
                names = names[names.index(after) + 1 :] if after in names else names[1:]
            watched = cast(BinaryIO, _Watched(stream, was_read))
            for name in names:
                if _adds_txt(content, name) and not await asyncio.to_thread(self._is_text, content):
                    continue
                sent: dict[str, Any] = {"source": content.id, "name": name, "size": size, "sha256": entry.sha256}
                intent = Copy(op="", **sent) if is_copy else Create(op="", kind=Kind.FILE, **sent)
                async with self._under_way.setdefault((name, size), asyncio.Lock()):
                    try:
                        return await self._writes.upload(intent, name, watched, purpose=purpose)
                    except RequestRefused as error:
                        if refusals.read(error).reason is not RefusalReason.TYPE:
                            raise
                        refusal = error
        if refusal:
            raise refusal
        return None

    def _entry(self, content: Content) -> IndexEntry:
        entry = self._reader.content(content.id)
        if entry is None:
            raise DamagedBundle(f"can't upload {content.id}: the bundle has no content for it")
        return entry

    def _is_text(self, content: Content) -> bool:
        """Whether the bytes are UTF-8 without control characters, as parsed text is."""
        if content.fidelity is Fidelity.TEXT:
            return True
        with self._reader.open(self._entry(content)) as stream:
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
