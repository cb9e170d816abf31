"""Fetches one file's content at the best fidelity available, and says why not better.

``original`` (the file's own bytes) -> ``supplied`` (the owner's own copy) -> ``container`` (a copy read through a
container) -> ``text`` (parsed text from a vector store, kept as it was paged) -> ``unavailable``. OpenAI refuses to
give back files of some purposes; no official rule says which, so the first file of each purpose is always asked for,
and a purpose that was refused is not asked for again in the same run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdall.errors import REQUEST_ERRORS, NotFound, PermissionDenied, QuotaExhausted, RateLimited, RemoteError
from holdall.join_parts import DEFAULT_OVERLAP, PartsJoiner
from holdall.model import Fidelity, FileView, SourceId, comparable_size
from holdall.parsedtext import Parts
from holdall.remote import refusals
from holdall.remote.client import Account, path
from holdall.remote.containers import Containers, NoContainer
from holdall.remote.parsed import read_parsed
from holdall.remote.refusals import RefusalReason
from holdall.remote.transfer import Begin, ContentSink, Unsized, transfer
from holdall.remote.wire import Surface

if TYPE_CHECKING:
    from holdall.originals import Originals
    from holdall.word_match import WordMatcher

REFUSED = (*REQUEST_ERRORS, PermissionDenied)
"""What the server refuses for one file; everything else stops the run."""


MAX_ZIP = 64 << 20
"""Bytes of a skill's version that another origin may send; OpenAI takes 50 MB."""


class Sinks(Protocol):
    """Opens a sink for a content of each fidelity."""

    def content(self, fidelity: Fidelity) -> ContentSink: ...

    def text(self, store_id: SourceId) -> ContentSink: ...

    def zip(self) -> ContentSink: ...


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A store that holds a file, and how many tokens neighbouring parts of the file's text share in it."""

    store: SourceId
    overlap: int = DEFAULT_OVERLAP


class ZipOf(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of a skill a zip is of, by its number: its content is had from the skill alone."""

    skill: SourceId
    number: str

    @property
    def route(self) -> str:
        return path("/skills/{}/versions/{}/content", self.skill, self.number)


class FetchedContent(msgspec.Struct, frozen=True, kw_only=True):
    """How one file's content was got. ``size`` counts the bytes that were stored.

    ``route`` is the API path of the last request, for ``supplied`` the path inside the owner's folder, with the origin
    that a redirect led to behind it (``/files/file-1/content -> https://host``); ``status`` and
    ``code`` say why the server refused the bytes, ``message`` why no better fidelity was reached and how a supplied
    file was checked. ``truncated`` marks a text whose later pages the server did not give; ``doubt`` says why the parts
    of a text can't be joined for certain.
    """

    fidelity: Fidelity
    size: int | None = None
    route: str | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    truncated: bool = False
    doubt: str | None = None


class _File:
    """One file while its content is fetched."""

    def __init__(
        self, file_id: SourceId, view: FileView | None, stores: Sequence[Holder], sinks: Sinks, zip: ZipOf | None
    ) -> None:
        self.id, self.view, self.stores, self.sinks, self.zip = file_id, view, stores, sinks, zip
        self.size = view.size if view else None
        self.route = zip.route if zip else path("/files/{}/content", file_id)
        self.error: RemoteError | None = None
        self.notes: list[str] = []
        self.text: tuple[ContentSink, FetchedContent] | None = None
        """A parsed text that lies in a sink, and is used if no better fidelity can be had."""
        self.no_text = "" if zip else "no parsed text: not in any vector store"

    def begin(self, account: Account) -> Begin:
        """What opens the download of its own bytes."""
        if zip := self.zip:
            return lambda rest: account.download(zip.number, skill=zip.skill, rest=rest, size=MAX_ZIP)
        return lambda rest: account.download(self.id, rest=rest, size=self.size)


class ContentFetcher:
    """Fetches contents from one account; remembers which purposes it refuses.

    ``originals`` and ``containers`` are tried only where they are given.
    """

    def __init__(
        self, account: Account, *, originals: Originals | None = None, containers: Containers | None = None
    ) -> None:
        self._account, self._originals, self._containers = account, originals, containers
        self._refused: dict[tuple[str, Surface], RemoteError] = {}
        self._sizes_hold = True
        self._unsized = Unsized()

    async def fetch(
        self,
        file_id: SourceId,
        file: FileView | None,
        stores: Sequence[Holder],
        sinks: Sinks,
        *,
        text: bool = True,
        zip: ZipOf | None = None,
    ) -> FetchedContent:
        """One file's content by the best fidelity there is; with ``zip`` that of a skill's version, which the server
        gives or nobody.

        ``file`` is None where its file object is gone; ``stores`` are those known to hold it. Without ``text`` a text
        is not taken, only compared with an original. Raises what stops a run (authentication, quota, an unreachable
        server, a full disk); what the server refuses for this file alone ends in a lower fidelity.
        """
        work = _File(file_id, file, stores, sinks, zip)
        try:
            found = (
                await self._original(work)
                or await self._supplied(work)
                or await self._container(work)
                or (await self._text(work) if text else None)
            )
        finally:
            if work.text:
                work.text[0].abort()
        if found is None:
            work.notes.append(work.no_text)
            found = FetchedContent(fidelity=Fidelity.UNAVAILABLE, route=work.route)
        error = work.error
        said = [error.detail or error.message] if error else []
        return msgspec.structs.replace(
            found,
            status=error.status if error else None,
            code=error.code if error else None,
            message="; ".join(filter(None, [*said, *work.notes])) or None,
        )

    async def _original(self, work: _File) -> FetchedContent | None:
        purpose = work.view.purpose if work.view else None
        # One surface may refuse what another gives.
        kind = (purpose or "", self._account.routes.to_write(work.route))
        if purpose and (known := self._refused.get(kind)):
            work.error = known
            return None
        try:
            got = await transfer(
                work.begin(self._account),
                work.sinks.zip if work.zip else lambda: work.sinks.content(Fidelity.ORIGINAL),
                what=f"can't download {'skill version' if work.zip else 'file'} {work.id}",
                limits=self._account.limits,
                progress=self._account.progress,
                declared=work.size,
                expected=work.size if self._sizes_hold else None,
                unsized=self._unsized,
            )
        except REFUSED as refusal:
            work.error = refusal
            if purpose and refusals.read(refusal).reason is RefusalReason.PURPOSE:
                self._refused[kind] = refusal
            return None
        if got.size != work.size and work.size is not None:
            # Fetched twice already, so it is the record that is wrong; on such a server most of them are.
            self._sizes_hold = False
        return FetchedContent(fidelity=Fidelity.ORIGINAL, size=got.size, route=got.route(work.route))

    async def _supplied(self, work: _File) -> FetchedContent | None:
        if self._originals is None or work.view is None or not work.view.filename or work.size is None:
            return None
        from holdall.originals import Unmatched, copy_original, unreadable  # there only if some were given

        try:
            candidates = await asyncio.to_thread(self._originals.candidates, work.view.filename, work.size)
            matchers = candidates.matchers
            compared = bool(matchers) and await self._read_text(work, matchers)
            found = candidates.choose(compared=compared)
            if isinstance(found, Unmatched):
                work.notes.append(found.reason)
                return None
            self._originals.use(found.original)
            await asyncio.to_thread(copy_original, found.original, work.sinks.content(Fidelity.SUPPLIED))
        except OSError as error:
            work.notes.append(unreadable(error))
            return None
        work.notes.append(found.check)
        return FetchedContent(fidelity=Fidelity.SUPPLIED, size=found.original.size, route=found.original.name)

    async def _container(self, work: _File) -> FetchedContent | None:
        if self._containers is None or work.view is None or work.zip:
            return None
        if work.size is None:
            work.notes.append("not through a container: the file's size is unknown, so a copy can't be checked")
            return None
        try:
            route = await self._containers.read(work.id, work.size, lambda: work.sinks.content(Fidelity.CONTAINER))
        except NoContainer as closed:
            work.notes.append(f"not through a container: {closed.error.detail or closed.error.message}")
        except (*REFUSED, QuotaExhausted, RateLimited) as refusal:
            work.notes.append(f"not through a container: {refusal.detail or refusal.message}")
        else:
            return FetchedContent(fidelity=Fidelity.CONTAINER, size=work.size, route=route)
        return None

    async def _text(self, work: _File) -> FetchedContent | None:
        if not await self._read_text(work) or work.text is None:
            return None
        sink, content = work.text
        # Until it is committed it is still to be aborted: a run that is stopped may never begin the commit.
        await asyncio.to_thread(sink.commit)
        work.text = None
        return content

    async def _read_text(self, work: _File, matchers: Sequence[WordMatcher] = ()) -> bool:
        """Read the parsed text out of the first store that gives it into ``work.text``, if it isn't there yet."""
        for holder in () if work.text else work.stores:
            work.route = path("/vector_stores/{}/files/{}/content", holder.store, work.id)
            sink = work.sinks.text(holder.store)
            joiner = PartsJoiner(holder.overlap)
            for matcher in matchers:
                matcher.restart()

            def each(parts: Parts, joiner: PartsJoiner = joiner) -> None:
                joiner.add(parts)
                for matcher in matchers:
                    matcher.compare(parts)

            try:
                parsed = await read_parsed(self._account, work.route, sink, each, file_size=work.size)
                if not parsed.letters and work.size:
                    raise NotFound(f"no text at {work.route}", detail="the parsed text is empty")
            except BaseException as error:
                sink.abort()
                if not isinstance(error, REFUSED):
                    raise
                work.no_text = f"no parsed text: {error.detail or error.message}"
                continue
            size = comparable_size(work.view.filename, work.size) if work.view and self._sizes_hold else None
            doubt = joiner.reading(None if parsed.truncated else size).doubt
            content = FetchedContent(
                fidelity=Fidelity.TEXT, size=parsed.size, route=work.route, truncated=parsed.truncated, doubt=doubt
            )
            work.text = sink, content
            break
        return work.text is not None
