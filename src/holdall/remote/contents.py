"""The ladder: the ways to one file's content, best first, and what came of each.

``original`` (the file's own bytes) -> ``text`` (parsed text from a vector store, kept as it was paged) ->
``unavailable``. OpenAI refuses to give back files of some purposes; no official rule says which, so the first file of
each purpose is always asked for, and a purpose that was refused is not asked for again in the same run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from holdall.errors import NotFound, PermissionDenied, RemoteError, RequestRefused, ServerFailed, Unreachable
from holdall.model import FileView, Rung, SourceId
from holdall.progress import Progress, Silent
from holdall.remote.client import Account, path

__all__ = ["Content", "Ladder", "Sinks"]

# The whole sentence is `Not allowed to download files of purpose: assistants`; seen since 2023, not documented.
REFUSAL = "not allowed to download files of purpose"


class Sink(Protocol):
    """Where one content goes while it arrives; nothing of it is kept unless it is committed."""

    def write(self, data: bytes) -> None: ...

    def commit(self) -> object: ...

    def abort(self) -> None: ...


class Sinks(Protocol):
    """Opens a sink for each rung that a content may arrive by."""

    def original(self) -> Sink: ...

    def text(self, store_id: SourceId) -> Sink: ...


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """How one file's content was got. ``size`` counts the bytes that were stored.

    ``route`` is the API path of the last request; ``status``, ``code`` and ``message`` say why no better rung was
    reached. ``truncated`` marks a text whose later pages the server did not give.
    """

    rung: Rung
    size: int | None = None
    route: str | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    truncated: bool = False


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    text: str | None = None


class _TextPage(msgspec.Struct, frozen=True, kw_only=True):
    """``data`` in the API's page; ``content`` in the other shape that was documented for a while."""

    data: list[_Item] | None = None
    content: list[_Item] | None = None
    has_more: bool | None = None
    next_page: str | None = None


class Ladder:
    """Fetches contents from one account; remembers which purposes it refuses."""

    def __init__(self, account: Account, *, progress: Progress | None = None) -> None:
        self._account = account
        self._progress = progress or Silent()
        self._refused: dict[str, RemoteError] = {}

    async def fetch(
        self, file_id: SourceId, file: FileView | None, stores: Callable[[], Sequence[SourceId]], sinks: Sinks
    ) -> Content:
        """One file's content by the best rung there is.

        ``file`` is None where its file object is gone. ``stores`` gives the stores known to hold it, asked for only
        when a text is needed. Raises what stops a run (authentication, quota, an unreachable server, a full disk);
        what the server refuses for this file alone ends in a lower rung.
        """
        purpose = file.purpose if file else None
        error = self._refused.get(purpose) if purpose else None
        route = path("/files/{}/content", file_id)
        if error is None:
            try:
                size = await self._original(file_id, file, sinks)
                return Content(rung=Rung.ORIGINAL, size=size, route=route)
            except (NotFound, RequestRefused, PermissionDenied, ServerFailed) as refusal:
                error = refusal
                if purpose and REFUSAL in refusal.detail.lower():
                    self._refused[purpose] = refusal
        for store_id in stores():
            route = path("/vector_stores/{}/files/{}/content", store_id, file_id)
            try:
                size, truncated = await self._text(route, file, sinks.text(store_id))
            except (NotFound, RequestRefused, PermissionDenied, ServerFailed) as refusal:
                # The refusal of the bytes says more than "no text either", so it is kept where both failed.
                if isinstance(error, NotFound):
                    error = refusal
                continue
            return self._content(Rung.TEXT, error, route, size=size, truncated=truncated)
        return self._content(Rung.UNAVAILABLE, error, route)

    @staticmethod
    def _content(
        rung: Rung, error: RemoteError, route: str, *, size: int | None = None, truncated: bool = False
    ) -> Content:
        return Content(
            rung=rung,
            size=size,
            route=route,
            status=error.status,
            code=error.code,
            message=error.detail or error.message,
            truncated=truncated,
        )

    async def _original(self, file_id: SourceId, file: FileView | None, sinks: Sinks) -> int:
        """Download into a sink and commit it. A body that breaks off is fetched again from its start."""
        attempt = 1
        while True:
            sink = sinks.original()
            size, opened = 0, False
            try:
                async with self._account.download(file_id) as download:
                    opened = True
                    async for chunk in download.chunks():
                        await asyncio.to_thread(sink.write, chunk)
                        size += len(chunk)
                        self._progress.advance(bytes=len(chunk))
                    if download.length is not None and size != download.length:
                        raise Unreachable(f"can't download file {file_id}: {size} of {download.length} bytes came")
                await asyncio.to_thread(sink.commit)
                return size
            except BaseException as error:
                sink.abort()
                self._progress.advance(bytes=-size)
                # Until the answer begins the client has retried already; what breaks off later is retried here.
                if not isinstance(error, Unreachable) or not opened:
                    raise
                wait = self._account.limits.wait(error, attempt, repeatable=True)
                if wait is None:
                    raise
            attempt += 1
            await self._account.limits.sleep(wait)

    async def _text(self, route: str, file: FileView | None, sink: Sink) -> tuple[int, bool]:
        """All pages of a parsed text into a sink, as they came. Returns (bytes stored, truncated).

        The query parameter for the next page is not documented: the token is sent as ``page``, and a page that says
        the same again marks the text truncated instead of going round for ever.
        """
        size, letters, truncated = 0, 0, False
        token: str | None = None
        seen: set[str] = set()
        previous = b""
        try:
            while True:
                answer = await self._account.get(route, {"page": token} if token else None)
                try:
                    page = msgspec.json.decode(answer.raw, type=_TextPage)
                except msgspec.DecodeError as error:
                    raise RequestRefused(
                        f"can't read the text of {route}: not of a shape known here ({error})",
                        status=answer.status,
                        detail=f"parsed text of an unknown shape: {error}",
                    ) from None
                if answer.raw == previous:
                    truncated = True
                    break
                start = b'{"pages":[' if not previous else b","
                await asyncio.to_thread(sink.write, start + answer.raw)
                size += len(start) + len(answer.raw)
                letters += sum(len(item.text or "") for item in page.data or page.content or ())
                previous = answer.raw
                if not page.has_more and not page.next_page:
                    break
                if not page.next_page or page.next_page in seen:
                    truncated = True
                    break
                token = page.next_page
                seen.add(token)
            if letters == 0 and file is not None and file.bytes:
                raise NotFound(f"no text at {route}", status=answer.status, detail="the parsed text is empty")
            end = b'],"truncated":%s}' % (b"true" if truncated else b"false")
            sink.write(end)
            await asyncio.to_thread(sink.commit)
        except BaseException:
            sink.abort()
            raise
        self._progress.advance(bytes=int(file.bytes or 0) if file else 0)
        return size + len(end), truncated
