"""One account over the network: reads, writes and lists, each repeated while ``remote.limits`` says so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import msgspec

from holdall.endpoint import Endpoint, Secret, endpoint
from holdall.errors import (
    REQUEST_ERRORS,
    AnswerTooLong,
    AuthenticationFailed,
    NotFound,
    RemoteError,
    RequestRefused,
    UnexpectedAnswer,
)
from holdall.lenient import divided, read_members, readable, trimmed
from holdall.model import StoreView, View, is_invented
from holdall.progress import Progress, Silent
from holdall.redaction import MARK, Redactor, redactor
from holdall.remote import lists
from holdall.remote.bodies import MAX_PAGE
from holdall.remote.download import Download, Rest
from holdall.remote.limits import Limits, Tries
from holdall.remote.lists import Doubt
from holdall.remote.proxies import Proxy
from holdall.remote.wire import Answer, Wire, route
from holdall.untrusted import MAX_JSON, MAX_VALUES, bare, count_values, require_plain

__all__ = ["Account", "Answer", "Download", "Endpoint", "Secret", "endpoint", "identity", "path", "viewed"]

T = TypeVar("T")

# A wait that the user is told of, in seconds.
_LONG = 5.0


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    data: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    """null where there are none: so servers written in Go say it."""
    has_more: msgspec.Raw = msgspec.Raw()

    def promises_more(self) -> bool | None:
        """Also as other servers write it, 1 or "true". What can't be read promises more, nothing says nothing."""
        said = bytes(self.has_more).strip(b' "').lower()
        return None if said in (b"", b"null") else said not in (b"false", b"0", b"0.0")


class _Identified(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None


class _Deleted(msgspec.Struct, frozen=True, kw_only=True):
    deleted: bool = False


def path(template: str, *ids: str) -> str:
    """``template`` with each ``{}`` replaced by an id, escaped: an id is data and may hold ``/`` or ``..``. Raises
    RequestRefused for an id that was made up here.

    >>> path("/vector_stores/{}/files", "vs_1/../x")
    '/vector_stores/vs_1%2F..%2Fx/files'
    """
    if any(map(is_invented, ids)):
        # Asked for by mistake, or given by a server after all.
        raise RequestRefused(f"can't ask for {', '.join(ids)[:200]}: no server gives such an id")
    return template.format(*(quote(i, safe="") if i.strip(".") else i.replace(".", "%2E") for i in ids))


def viewed(raw: bytes, of: type[T], what: str) -> T:
    """What is acted upon in an answer, or in a record. Raises UnexpectedAnswer where that is of no shape known here.

    Nothing in it that can't be read is a reason for that, nor in a View a field of another type.
    """
    try:
        return msgspec.json.decode(raw, type=of)
    except (ValueError, RecursionError) as error:
        with suppress(ValueError):
            values = read_members(raw)
            if isinstance(of, type) and issubclass(of, View):
                return of.of_values(values)
            return msgspec.convert(values, of)
        raise UnexpectedAnswer(f"can't read {what}: its record is not of a shape known here ({error})") from None


def identity(raw: bytes) -> str | None:
    """The id of a record, whatever else is in it; None where it has none."""
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(raw, type=_Identified).id
    with suppress(ValueError):
        return msgspec.convert(read_members(raw).get("id"), str)
    return None


def _readable(raw: bytes) -> bytes:
    with suppress(ValueError):
        return readable(raw)
    return raw


_MAX_PAGE_VALUES = 2 * MAX_VALUES


def _page_of(raw: bytes, where: str) -> tuple[_Page, bool]:
    """A page of a list, and whether something stands behind it in the answer.

    What a record in it is like is no matter to its neighbours, as long as its strings and brackets close. ValueError
    where it is no such page, AnswerTooLong where there is too much in it.
    """
    if count_values(raw) > _MAX_PAGE_VALUES and sum(map(count_values, bare(raw))) > _MAX_PAGE_VALUES:
        raise AnswerTooLong(f"can't list {where}: a page of more than {_MAX_PAGE_VALUES} values")
    with suppress(ValueError):
        require_plain(raw, longest=MAX_PAGE, richest=_MAX_PAGE_VALUES)
        return msgspec.json.decode(raw, type=_Page), False
    if len(raw) > MAX_JSON:
        raise AnswerTooLong(f"can't list {where}: a page of more than {MAX_JSON} bytes has something unreadable in it")
    raw = trimmed(raw)
    pieces, end = divided(raw)
    members = dict(zip(pieces[::2], pieces[1::2], strict=False))
    data = members.get(b'"data"', b"")
    if not raw.startswith(b"{") or not data.startswith((b"[", b"null")):
        return _Page(), False
    items = None if data == b"null" else [msgspec.Raw(item) for item in divided(data)[0]]
    has_more = msgspec.Raw(members.get(b'"has_more"', b""))
    return _Page(data=items, has_more=has_more), bool(raw[end:].strip())


def _is_deleted(raw: bytes) -> bool:
    try:
        return msgspec.json.decode(raw, type=_Deleted).deleted
    except msgspec.DecodeError:
        return False


def _no_matter(why: str) -> None:
    """A doubt that nobody asked for."""


class Account:
    """An account of an OpenAI-compatible server, used as an async context manager.

    ``organization`` and ``project`` are what the newest answer's headers said (not every server says it);
    ``requests`` counts attempts on the wire by method and route. ``side`` is ``source`` or ``destination`` and only
    names things in messages. ``clock`` gives Unix seconds; ``silence`` is after how many seconds without a byte a
    connection counts as dead. Making one raises UsageFault where the environment names a proxy or certificates that
    can't be used; every method raises errors of the RemoteError family and nothing else.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        side: str = "source",
        concurrency: int = 3,
        limits: Limits | None = None,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.time,
        silence: float | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.side = side
        self.limits = limits or Limits(concurrency)
        self.progress = progress or Silent()
        self.limits.note = self.progress.note
        self._wire = Wire(endpoint, side=side, clock=clock, silence=silence)
        self._lies = 0
        self.nowhere: int | None = None
        """The status of the answer to a path that can't be there, once that was asked for."""

    async def __aenter__(self) -> Account:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._wire.close()

    @property
    def organization(self) -> str | None:
        return self._wire.organization

    @property
    def project(self) -> str | None:
        return self._wire.project

    @property
    def sent_keys(self) -> bool:
        """Whether a key was taken out of any answer so far: ``redaction.MARK`` stands in its place."""
        return self._wire.sent_keys

    @property
    def redactor(self) -> Redactor:
        """Finds this account's keys."""
        return redactor(self._wire.secrets)

    @property
    def party(self) -> dict[str, str | None]:
        """Which account it is, as journals, plans and written requests name it."""
        return {"base_url": self.endpoint.base_url, "organization": self.organization, "project": self.project}

    @property
    def proxy(self) -> Proxy | None:
        """What all requests go through."""
        return self._wire.proxy

    @property
    def requests(self) -> Counter[str]:
        return self._wire.requests

    # -- reading ---------------------------------------------------------------------------------------

    async def get(
        self,
        where: str,
        params: Mapping[str, Any] | None = None,
        *,
        patient: bool = True,
        most: int = MAX_JSON,
        is_content: bool = False,
    ) -> Answer:
        """One JSON document; repeated while ``limits`` says so, which knows what ``patient`` means.

        ``most`` and ``is_content`` as in ``Wire.json``.
        """
        return await self._repeat(
            f"GET {route(where)}",
            lambda _: self._wire.json("GET", where, params=params, most=most, is_content=is_content),
            repeatable=True,
            patient=patient,
        )

    async def items(
        self,
        where: str,
        params: Mapping[str, Any] | None = None,
        *,
        limit: int = 100,
        doubt: Doubt | None = None,
        patient: bool = True,
        as_sent: bool = False,
    ) -> AsyncIterator[bytes]:
        """Every item of a list, each id once, oldest first. See ``pages``."""
        async for page in self.pages(where, params, limit=limit, doubt=doubt, patient=patient, as_sent=as_sent):
            for item in page:
                yield item

    async def pages(
        self,
        where: str,
        params: Mapping[str, Any] | None = None,
        *,
        limit: int = 100,
        doubt: Doubt | None = None,
        patient: bool = True,
        as_sent: bool = False,
    ) -> AsyncIterator[list[bytes]]:
        """A list page by page, mostly one request each; each id once, oldest first.

        The items are JSON that every decoder reads, as far as there is such JSON of them; ``as_sent`` each is the slice
        that the server sent, which may be anything.

        ``patient`` is about the first request: once there is a page, there is such a list. Ends with every server (see
        ``lists``); ``doubt`` is told where the list may lack something all the same. Raises UnexpectedAnswer for a page
        that has no ``data``, and for an endless list where the caller takes no ``doubt``.
        """

        doubt_of = doubt or _no_matter

        async def ask(query: Mapping[str, Any]) -> lists.Page:
            nonlocal patient

            async def once(stack: AsyncExitStack) -> tuple[Answer, _Page, bool]:
                asked = {**(params or {}), **query}
                answer = await self._wire.json("GET", where, params=asked, most=MAX_PAGE, is_page=True)
                try:
                    return answer, *_page_of(answer.sent, where)
                except ValueError as error:  # a page that was cut on its way is asked for again, like any answer
                    raise self._wire.unreadable(f"can't list {where}", answer, error) from None

            answer, page, is_more_behind = await self._repeat(
                f"GET {route(where)}", once, repeatable=True, patient=patient
            )
            patient = True
            if page.data is msgspec.UNSET:
                raise self._wire.unreadable(f"can't list {where}", answer, "no list in it")
            if is_more_behind:
                doubt_of("something else stands behind the list in an answer")
            items = [bytes(item) for item in (page.data or [])[: lists.PAGE_MOST + 1]]
            ids = [identity(item) for item in items]
            if answer.is_altered and any(MARK in (id or "") for id in ids):
                doubt_of("an id in it has the key in it")
                kept = [place for place, id in enumerate(ids) if MARK not in (id or "")]
                items, ids = [items[place] for place in kept], [ids[place] for place in kept]
            return lists.Page(items=items, ids=ids, has_more=page.promises_more())

        def over(why: str) -> None:
            self._lies += 1
            if doubt is None:
                raise UnexpectedAnswer(
                    f"can't list {where}: {why}", hint="use a project that has fewer of them", detail=why
                )
            doubt(why)

        async def counted() -> int | None:
            try:
                raw = (await self.get(where.rpartition("/")[0])).raw
                return viewed(raw, StoreView, f"what {where} is of").total
            except RemoteError:
                return None

        counts = counted if route(where) == "/vector_stores/*/files" else None
        read = lists.pages(ask, limit, doubt_of, over=over, counted=counts, lies=self._lies)
        async for page in read:
            yield page if as_sent else [_readable(item) for item in page]

    @asynccontextmanager
    async def download(
        self, file_id: str, *, container: str | None = None, rest: Rest | None = None, size: int | None = None
    ) -> AsyncIterator[Download]:
        """A file's bytes, or those of its copy in a container; with ``rest`` what is left of them, if the server can.

        ``size`` is how many there are in all, as far as is known: a redirect to another origin brings no more.
        Errors before the first byte are retried, later ones are raised. A slot is held until the block is left.
        """

        async def once(stack: AsyncExitStack) -> Download:
            opening = self._wire.download(f"can't download file {file_id}", file_id, container, rest, size)
            return await stack.enter_async_context(opening)

        async with AsyncExitStack() as held:
            yield await self._repeat("GET content", once, repeatable=True, held=held)

    # -- writing ---------------------------------------------------------------------------------------

    async def post(self, where: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One write. Repeated only where the server certainly did not carry it out (429, connection refused).

        An error with ``ambiguous`` set may have been carried out all the same: look before trying again.
        """
        return await self._repeat(
            f"POST {route(where)}", lambda _: self._wire.json("POST", where, body=dict(body or {})), repeatable=False
        )

    async def upload(
        self,
        filename: str,
        stream: BinaryIO,
        *,
        purpose: str,
        expires_after: Mapping[str, Any] | None = None,
    ) -> Answer:
        """POST /files with the bytes of ``stream`` (seekable; read from its start in pieces). Repeated as ``post``."""
        return await self._repeat(
            "POST /files",
            lambda _: self._wire.upload(filename, stream, purpose=purpose, expires_after=expires_after),
            repeatable=False,
        )

    async def delete(self, where: str) -> Answer:
        """DELETE. Repeating is safe: what is gone answers 404.

        A server may answer 404 because it has no such route, with success and have deleted nothing, with an error and
        have deleted it. So what it doesn't call deleted is read again: raises NotFound where that finds nothing, else
        the error, which is RequestRefused where there was none.
        """

        answered: RemoteError | Answer
        try:
            answered = await self._repeat(
                f"DELETE {route(where)}", lambda _: self._wire.json("DELETE", where), repeatable=True
            )
            if _is_deleted(answered.raw):
                return answered
        except REQUEST_ERRORS as error:
            answered = error
        refused = answered if isinstance(answered, RemoteError) and not isinstance(answered, NotFound) else None
        try:
            await self.get(where)
        except RemoteError as error:
            raise (refused if refused and not isinstance(error, NotFound) else error) from None
        raise refused or RequestRefused(
            f"can't DELETE {where}: answered with {answered.status}, but it is still there", status=answered.status
        )

    # -- inside ----------------------------------------------------------------------------------------

    async def _repeat(
        self,
        endpoint: str,
        once: Callable[[AsyncExitStack], Awaitable[T]],
        *,
        repeatable: bool,
        patient: bool = True,
        held: AsyncExitStack | None = None,
    ) -> T:
        """``once``, in a slot, until it succeeds or its error stands; what it enters and the slot pass to ``held``."""
        tries = self.limits.tries(endpoint, repeatable=repeatable, patient=patient)
        renewed = False
        while True:
            token = self._wire.tokens.token if self._wire.tokens else ""
            async with AsyncExitStack() as stack:
                slot = await stack.enter_async_context(self.limits.slot())
                try:
                    answer = await once(stack)
                except RemoteError as error:
                    if not renewed and self._token_has_ended(error, token):
                        renewed, wait = True, 0.0
                    else:
                        wait = self._after(tries, error, slot)
                else:
                    tries.succeeded()
                    if held:
                        held.push_async_callback(stack.pop_all().aclose)
                    return answer
            await self.limits.sleep(wait)

    def _token_has_ended(self, error: RemoteError, token: str) -> bool:
        """Whether a token ended before its time; a request that is refused for it was not carried out."""
        tokens = self._wire.tokens
        if not tokens or not isinstance(error, AuthenticationFailed) or error.status != 401:
            return False
        tokens.forget(token or tokens.token)
        return True

    def _after(self, tries: Tries, error: RemoteError, slot: int) -> float:
        wait = tries.after(error, slot)
        if wait >= _LONG:
            self.progress.note(f"{error.message}; trying again in {wait:.0f} s")
        return wait
