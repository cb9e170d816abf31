"""Requests to one account, each sent once, where they go, and their answers. The only importer of the OpenAI SDK.

The SDK makes the requests for records, and its HTTP client sends all requests. Those with a content, of which there may
be a million, are made here: the SDK takes as long to make one as it takes to send it. Answers are taken as bytes: the
SDK's models would drop fields that they don't know. Its errors leave here as ours. Its retries are off:
``remote.limits`` decides, because a blindly repeated POST can create a thing twice.

A Foundry project has two surfaces. OpenAI's paths are there twice: below ``/openai/v1`` without an API version, for the
new agents, and right under the project with one, for Agents (classic). What one of them has need not be on the other.
Foundry's own paths are there once. Any other server has one surface, its base URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from functools import cached_property, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

import httpx2
import msgspec
import openai

from holdall.endpoint import API_VERSION, FOUNDRY_VERSION, OPENAI_PART, Endpoint
from holdall.errors import (
    NotFound,
    RemoteError,
    RequestRefused,
    UnexpectedAnswer,
    UsageFault,
    exhausted,
)
from holdall.kinds import KINDS
from holdall.redaction import MARK, redacted, redactor
from holdall.remote import refusals, tokens, transport
from holdall.remote.account_errors import AccountErrors
from holdall.remote.hints import RequestTarget
from holdall.remote.lists import identity
from holdall.remote.refusals import RefusalReason
from holdall.remote.tokens import TokenCommand
from holdall.remote.transport import MAX_PAGE, is_web_page, proxy_for
from holdall.untrusted import MAX_JSON, MAX_VALUES, first_value, readable, require_plain, without_half_characters
from holdall.version import __version__

T = TypeVar("T")


# -- where a request goes ------------------------------------------------------------------------------

_OPENAI_PATHS = frozenset({
    "batches", "containers", "conversations", "evals", "files", "models", "responses", "uploads", "vector_stores",
})  # fmt: skip
"""The first parts of the paths that are OpenAI's."""
# These take the API version that was given; Foundry's own paths take FOUNDRY_VERSION.
_CLASSIC_PATHS = frozenset({"assistants", "threads"})
_ABSENT_STATUSES = (404, 405, 410)


class Surface(StrEnum):
    """Where a Foundry project has OpenAI's paths."""

    CURRENT = "current"
    """Below ``/openai/v1``, without an API version."""
    CLASSIC = "classic"
    """Right under the project, with one."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A base URL and the query that goes on every request below it."""

    base_url: str
    query: tuple[tuple[str, str], ...]


def address(endpoint: Endpoint, where: str, surface: Surface) -> Address:
    """Where a path (``/files/file-1``) is sent, on a ``surface`` where it is there twice."""
    query = {name: value for name, value in endpoint.query.items() if name.lower() != API_VERSION}
    first = where.split("/")[1]
    if (
        not endpoint.is_foundry
        or first in _CLASSIC_PATHS
        or not first
        or (first in _OPENAI_PATHS and surface is Surface.CLASSIC)
    ):
        return Address(base_url=endpoint.base_url, query=tuple(endpoint.query.items()))
    if first in _OPENAI_PATHS:
        return Address(base_url=endpoint.base_url + OPENAI_PART, query=tuple(query.items()))
    return Address(base_url=endpoint.base_url, query=(*query.items(), (API_VERSION, FOUNDRY_VERSION)))


class Routes:
    """The order in which the requests of one account try the surfaces, and which of them answered for an id.

    ``order`` is that of reads; a write goes to one surface alone.
    """

    def __init__(self, endpoint: Endpoint, order: tuple[Surface, ...]) -> None:
        self._is_foundry = endpoint.is_foundry
        self.order = order
        # Only of the ids that are not where a read asks first.
        self._elsewhere: dict[str, Surface] = {}
        self._lacking: set[tuple[str, Surface]] = set()

    def to_read(self, where: str) -> tuple[Surface, ...]:
        """The surfaces that a read of a path tries, in this order."""
        _, first, *rest = where.split("/")
        if not self._is_foundry or first not in _OPENAI_PATHS:
            return self.order[:1]
        known = self._elsewhere.get(unquote(rest[0])) if rest else None
        # Stable: what nothing is known of stays in order. A surface may have a thing, although it has no list of them.
        return tuple(
            sorted(self.order, key=lambda one: (one is not known, bool(rest) and (first, one) in self._lacking))
        )

    def to_write(self, where: str) -> Surface:
        """The surface that a write goes to."""
        id = unquote((*where.split("/"), "")[2])
        known = self._elsewhere.get(id, self.order[0])
        return known if known in self.order else self.order[0]

    async def first(self, where: str, ask: Callable[[Surface], Awaitable[T]]) -> T:
        """The answer of the first surface that gives what a path names."""
        refused: list[RemoteError] = []
        for surface in self.to_read(where):
            try:
                answer = await ask(surface)
            except RemoteError as error:
                if not _may_be_elsewhere(error):
                    raise
                refused.append(error)
            else:
                self._answered(where, surface)
                return answer
        raise _most_telling(refused)

    async def joined(
        self, where: str, begin: Callable[[Surface, bool], AsyncIterator[list[bytes]]], *, patient: bool
    ) -> AsyncIterator[list[bytes]]:
        """The pages of a list on all surfaces that have it, each id once; what belongs to one thing is the list of the
        first surface that has that.

        ``begin`` lists on one surface, and is told whether to be ``patient`` with its first request (see ``limits``).
        """
        surfaces = self.to_read(where)
        is_whole = where.count("/") == 1
        seen: set[str] = set()
        refused: list[RemoteError] = []
        for place, surface in enumerate(surfaces):
            has_begun = False
            try:
                # Once one has answered, another that only fails must not be taken for one without the list.
                async for page in begin(surface, patient or len(refused) < place):
                    has_begun = True
                    fresh = page if len(surfaces) == 1 else self._fresh(page, seen, surface)
                    if fresh:
                        yield fresh
            except RemoteError as error:
                if has_begun or not _may_be_elsewhere(error):
                    raise
                refused.append(error)
                if is_whole:
                    self._lacking.add((where.split("/")[1], surface))
            else:
                self._answered(where, surface)
                if not is_whole:
                    return
        if len(refused) == len(surfaces):
            raise _most_telling(refused)

    def _fresh(self, page: list[bytes], seen: set[str], surface: Surface) -> list[bytes]:
        """The items whose ids no surface gave before; ``surface`` has them."""
        found = [(item, id) for item in page if (id := identity(item)) is None or id not in seen]
        ids = [id for _, id in found if id is not None]
        seen.update(ids)
        self._found(ids, surface)
        return [item for item, _ in found]

    def _answered(self, where: str, surface: Surface) -> None:
        """Remember that ``surface`` has what a path names."""
        self._found(map(unquote, where.split("/")[2:3]), surface)

    def _found(self, ids: Iterable[str], surface: Surface) -> None:
        """Remember that ``surface`` has these ids."""
        if surface is not self.order[0]:
            self._elsewhere.update((id, surface) for id in ids)


def _may_be_elsewhere(error: RemoteError) -> bool:
    """Whether a read that ends in ``error`` on one surface may succeed on another: it isn't there, or not given."""
    return (
        isinstance(error, NotFound)
        or error.status in _ABSENT_STATUSES
        or refusals.is_foreign(error)
        or _is_withheld(error)
    )


def _is_withheld(error: RemoteError) -> bool:
    return refusals.read(error).reason is RefusalReason.PURPOSE


def _most_telling(errors: Iterable[RemoteError]) -> RemoteError:
    """The error that stands where no surface gives something: one that it is withheld, else that it is nowhere."""
    return min(errors, key=lambda error: (not _is_withheld(error), not isinstance(error, NotFound)))


def route(where: str) -> str:
    """The path with its ids (every second segment) replaced by ``*``: the endpoint that it belongs to."""
    parts = where.strip("/").split("/")
    return "/" + "/".join("*" if place % 2 else part for place, part in enumerate(parts))


# -- answers -------------------------------------------------------------------------------------------

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")
_SHA256_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:?([A-Za-z0-9+/=]+):?", re.I)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One successful answer: its JSON, which every decoder reads."""

    raw: bytes
    status: int
    request_id: str | None = None
    is_altered: bool = False
    """A key that the server sent back was taken out of it."""
    unreadable: bytes | None = None
    """The same JSON as it was sent, where not every decoder reads that."""

    @property
    def sent(self) -> bytes:
        """What a bundle keeps."""
        return self.raw if self.unreadable is None else self.unreadable


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What is still wanted of a body that broke off: the bytes from ``start`` on, if it is the same body still."""

    start: int
    validator: str | None

    def headers(self) -> dict[str, str]:
        same = {"If-Range": self.validator} if self.validator else {}
        return {"Range": f"bytes={self.start}-", **same}


class Download:
    """A body that is arriving, or the rest of one.

    ``chunks`` are pieces of some 1 MiB, and raise Unreachable where the body ends before its announced length, or
    nothing comes for long; what came before is given first. ``start`` is where it begins in the whole; ``length`` is
    how long the whole is, ``validator`` what it is known by, ``digest`` hashlib's name and what it hashes to, each None
    where the server doesn't tell. ``origin`` (``https://host``) is where it comes from after a redirect to another
    origin. ``can_resume``: the server may be asked for the rest of it.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str], chunks: AsyncGenerator[bytes, None], *, origin: str = ""
    ) -> None:
        self.chunks, self.origin = chunks, origin
        # What a head says of a packed body is about the packed bytes.
        is_packed = headers.get("content-encoding", "identity") != "identity"
        self.can_resume = not is_packed and headers.get("accept-ranges", "bytes").strip().lower() != "none"
        announced = headers.get("content-length", "")
        self.start = 0
        self.length = int(announced) if _CONTENT_LENGTH.fullmatch(announced) and not is_packed else None
        self.digest = None if is_packed else _digest(headers)
        self.validator = None if is_packed else _validator(headers)
        if status == 206:
            # A part without its place in the whole can't be used: -1 continues nothing.
            place = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
            self.start = int(place[1]) if place and not is_packed else -1
            self.length = int(place[3]) if place and place[3] != "*" else None
            self.digest = None


def _validator(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("etag")
    # A weak one stays the same when bytes change.
    return etag if etag and etag.startswith('"') else headers.get("last-modified")


def _digest(headers: Mapping[str, str]) -> tuple[str, bytes] | None:
    found = _SHA256_DIGEST.search(headers.get("repr-digest", "")) or _SHA256_DIGEST.search(headers.get("digest", ""))
    name, text = ("sha256", found[1]) if found else ("md5", headers.get("content-md5", ""))
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return (name, value) if len(value) == (32 if name == "sha256" else 16) else None


# -- requests ------------------------------------------------------------------------------------------

SILENCE = 120.0
"""Seconds without a byte after which a connection counts as dead."""

# A server may think so many times longer before it answers an upload of 512 MB.
_THINKING = 5.0
_LONGEST_HEADER = 200
_LONGEST_PATH = 2000
# An answer that isn't whole after so many times that long never will be, however it trickles.
_WHOLE = 3.0
# Bytes a second of the slowest upload.
_SLOWEST = 1 << 10
_CONNECTING = 15.0
_CHUNK = 1 << 20
# By the first part of a path, as the SDK's own calls send it: these answer only with it, others may refuse it.
_BETAS = {row.endpoint.split("/")[1]: row.beta for row in KINDS.values() if row.beta}

_log = logging.getLogger("holdall")
_environment_lock = threading.Lock()


def _is_news(entry: logging.LogRecord) -> bool:
    """Whether to show an error that asyncio logs: not one that ends the command anyway, as the machine is too small."""
    error = entry.exc_info[1] if entry.exc_info else None
    return error is None or exhausted(error) is None


logging.getLogger("asyncio").addFilter(_is_news)


@contextmanager
def _no_ambient_settings() -> Iterator[None]:
    """While the SDK is set up, hide OPENAI_*: it would send the organisation, project and headers it finds there."""
    with _environment_lock:
        hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OPENAI_")}
        try:
            yield
        finally:
            os.environ.update(hidden)


def _timeout(*, answer: float) -> httpx2.Timeout:
    return httpx2.Timeout(connect=min(_CONNECTING, SILENCE), read=answer, write=SILENCE, pool=None)


class Wire:
    """Sends requests to one endpoint, each once. ``requests`` counts them by method and route.

    ``side`` is ``source`` or ``destination`` and only names things in messages. Making one raises UsageFault where the
    environment names a proxy or certificates that can't be used; every method raises errors of the RemoteError family,
    nothing else.
    """

    def __init__(self, endpoint: Endpoint, *, side: str, surfaces: tuple[Surface, ...] = ()) -> None:
        self.endpoint, self.side = endpoint, side
        self.routes = Routes(endpoint, surfaces or ((Surface.CLASSIC,) if side == "destination" else tuple(Surface)))
        self.organization, self.project = endpoint.organization, endpoint.project
        self.requests: Counter[str] = Counter()
        self.sent_keys = False
        """A key was taken out of an answer of success."""
        self.tokens = (
            TokenCommand(endpoint.token_command, clock=time.time, run=partial(tokens.run, side=side))
            if endpoint.token_command
            else None
        )
        self._timeout, self._upload_timeout = _timeout(answer=SILENCE), _timeout(answer=_THINKING * SILENCE)
        self._whole = _WHOLE * SILENCE
        self.proxy = proxy_for(endpoint.base_url)
        self._headers = {"User-Agent": f"holdall/{__version__}", "Accept-Encoding": "gzip, deflate"}
        with _no_ambient_settings():
            try:
                self._http = openai.DefaultAsyncHttpxClient(
                    transport=transport.Transport(endpoint.base_url, openai.DEFAULT_CONNECTION_LIMITS),
                    # The transport follows them.
                    follow_redirects=False,
                    event_hooks=transport.HOOKS,
                    # No cookie is kept or sent back.
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                )
                self._sdk = openai.AsyncOpenAI(
                    api_key=self.tokens.get if self.tokens else endpoint.key.reveal(),
                    base_url=endpoint.base_url,
                    organization=endpoint.organization,
                    project=endpoint.project,
                    default_query=endpoint.query,
                    default_headers=self._headers,
                    max_retries=0,
                    timeout=self._timeout,
                    http_client=self._http,
                )
            except httpx2.InvalidURL:
                raise UsageFault(f"can't use {endpoint.names.base_url}: not a valid URL") from None
            except (OSError, ValueError) as error:  # what the environment says of certificates
                raise exhausted(error) or UsageFault(
                    f"can't set up connections to {endpoint.host}: {error}",
                    hint="check SSL_CERT_FILE and SSL_CERT_DIR",
                ) from None
        self._clients = {address(endpoint, "/", Surface.CLASSIC): self._sdk}

    def _client(self, where: str, surface: Surface | None) -> openai.AsyncOpenAI:
        """The SDK for the base URL and the query of a path: the same connections and the same key for all of them."""
        at = address(self.endpoint, where, surface or self.routes.to_write(where))
        if at not in self._clients:
            with _no_ambient_settings():
                self._clients[at] = self._sdk.copy(base_url=at.base_url, set_default_query=dict(at.query))
        return self._clients[at]

    async def close(self) -> None:
        await self._sdk.close()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys that must not be in any message or record."""
        return (*self.endpoint.secrets, *(self.tokens.recent if self.tokens else ()))

    async def json(
        self,
        method: str,
        where: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        surface: Surface | None = None,
        previews: Collection[str] = (),
        is_page: bool = False,
        is_content: bool = False,
    ) -> Answer:
        """One request whose answer is JSON without keys; AnswerTooLong where it is longer than one of its kind may be.

        A page of a list (``is_page``) is not looked into: that is the caller's. What a file contains
        (``is_content``) keeps its keys, and has to be JSON that a bundle can hold. Of a Foundry project it goes to
        ``surface``, or where none is given to that of a write; ``previews`` are those of Foundry that it needs.
        """
        what = f"can't {method} {where[:_LONGEST_PATH]}"
        self.requests[f"{method} {route(where)}"] += 1

        headers: dict[str, Any] = {}
        beta = None if self.endpoint.is_foundry else _BETAS.get(where.split("/")[1])
        if beta:
            headers["OpenAI-Beta"] = beta
        if previews:
            headers["Foundry-Features"] = ",".join(f"{name}=V1Preview" for name in previews)
        if body is None:  # some servers take the type of a body that isn't there for a mistake
            headers["Content-Type"] = openai.Omit()
        options: Any = {"headers": headers, "params": dict(params or {})}
        sdk = self._client(where, surface)
        call: Any = {"GET": sdk.get, "POST": sdk.post, "DELETE": sdk.delete}[method]
        arguments = {} if body is None else {"body": body}
        with transport.at_most(MAX_PAGE if is_page or is_content else MAX_JSON):
            async with self._guarded(what, self._whole):
                response = await call(where, cast_to=httpx2.Response, options=options, **arguments)
                return self._answer(what, response, is_page=is_page, is_content=is_content)

    async def _send(
        self, method: str, where: str, *, surface: Surface | None = None, timeout: httpx2.Timeout, **parts: Any
    ) -> httpx2.Response:
        """The answer to a request for or with a content, its body still to be read; ``parts`` as of httpx2.Request."""
        self.requests[f"{method} {route(where)}"] += 1
        at = address(self.endpoint, where, surface or self.routes.to_write(where))
        key = await self.tokens.get() if self.tokens else self.endpoint.key.reveal()
        headers = {**self._headers, "Authorization": f"Bearer {key}", **parts.pop("headers", {})}
        for name, value in (("Organization", self.endpoint.organization), ("Project", self.endpoint.project)):
            if value:
                headers[f"OpenAI-{name}"] = value
        extensions = {"timeout": timeout.as_dict()}
        query = dict(at.query) or None
        request = httpx2.Request(
            method, at.base_url + where, params=query, headers=headers, extensions=extensions, **parts
        )
        return await self._http.send(request, stream=True)

    async def send_file(self, filename: str, stream: BinaryIO, *, purpose: str) -> Answer:
        """POST /files with the bytes of ``stream``, from its start."""
        what, form = f"can't upload file {filename}", {"purpose": purpose}
        return await self._upload(what, "/files", stream, data=form, files={"file": (filename, stream)})

    async def send_zip(self, where: str, filename: str, stream: BinaryIO) -> Answer:
        """POST a form with the bytes of ``stream``, from its start, as its one file: a version of a skill."""
        form = {"files": (filename, stream, "application/zip")}
        return await self._upload(f"can't upload {filename} to {where}", where, stream, files=form)

    async def _upload(self, what: str, where: str, stream: BinaryIO, **parts: Any) -> Answer:
        slowest = stream.seek(0, os.SEEK_END) / _SLOWEST
        stream.seek(0)
        async with self._guarded(what, self._whole + slowest):
            response = await self._send("POST", where, timeout=self._upload_timeout, **parts)
            await response.aread()
            if not response.is_success:
                raise self._refused(what, response)
            return self._answer(what, response)

    @asynccontextmanager
    async def open_content(
        self, what: str, where: str, rest: Rest | None, size: int | None, surface: Surface | None = None
    ) -> AsyncIterator[Download]:
        """The bytes of the content ``where`` as they come, or the ``rest`` of them; ``surface`` as in ``json``.

        From another origin no more come than ``size``, which is how many the file has.
        """
        # An id of dots, escaped or not, would mean another path to some servers.
        if not all(part.replace("%2E", "").strip(".") for part in where.split("/")[1:]):
            raise RequestRefused(f"{what}: not a valid id")
        # Ranges and lengths are those of what is sent, so it has to be sent as it is.
        headers = {"Accept": "application/binary", "Accept-Encoding": "identity", **(rest.headers() if rest else {})}
        with transport.at_most(None):
            async with self._guarded(what, self._whole):
                response = await self._send("GET", where, surface=surface, timeout=self._timeout, headers=headers)
        try:
            if not response.is_success:
                async with self._guarded(what, self._whole):
                    await response.aread()
                raise self._refused(what, response)
            origin = self._other_origin(response)
            if not origin:
                self._note_account(response.headers)
            await self._refuse_null(what, response)
            left = None
            if origin:
                start = rest.start if rest and response.status_code == 206 else 0
                left = (size or 0) - start
            # The transport has unpacked it: the client's layers around it would cost a twentieth of a small download.
            body = response.aiter_bytes() if response.is_stream_consumed else response.stream
            assert isinstance(body, AsyncIterable)
            chunks = self._chunks(what, aiter(body), origin, left)
            yield Download(response.status_code, response.headers, chunks, origin=origin)
        finally:
            await response.aclose()

    async def _chunks(
        self, what: str, body: AsyncIterator[bytes], origin: str, left: int | None
    ) -> AsyncGenerator[bytes, None]:
        """The body in pieces of some 1 MiB; of one that breaks off, everything that came, and then the error.

        There are no more than ``left`` bytes in one that another ``origin`` sends.
        """
        failed = None
        while failed is None:
            pieces: list[bytes] = []
            size = 0
            try:
                async with self._guarded(what, self._whole):
                    async for piece in body:
                        pieces.append(piece)
                        size += len(piece)
                        if size >= _CHUNK:
                            break
            except RemoteError as error:
                failed = error
            if left is not None and (left := left - size) < 0:
                raise UnexpectedAnswer(f"{what}: redirected to {origin}, which sent more bytes than the file has")
            if pieces:
                yield b"".join(pieces)
            if size < _CHUNK:
                break
        if failed:
            raise failed

    async def _refuse_null(self, what: str, response: httpx2.Response) -> None:
        """Raise NotFound where a server says with 200 and ``null`` that a file isn't there."""
        kind, length = (response.headers.get(name, "") for name in ("content-type", "content-length"))
        if length != "4" or not kind.startswith("application/json"):
            return
        # The response keeps what was read here for whoever reads the body later.
        async with self._guarded(what, self._whole):
            is_null = await response.aread() == b"null"
        if is_null:
            raise NotFound(f"{what}: not found (the server answered null)", status=response.status_code)

    @asynccontextmanager
    async def _guarded(self, what: str, within: float) -> AsyncIterator[None]:
        """Maps the errors of the block, which may take ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                yield
        except (httpx2.HTTPError, openai.OpenAIError, TimeoutError) as error:
            raise self.mapped(what, error) from None
        except httpx2.InvalidURL as error:  # an id that is longer than a URL may be
            raise RequestRefused(f"{what}: {error}", detail=str(error)) from None

    def _answer(
        self, what: str, response: httpx2.Response, *, is_page: bool = False, is_content: bool = False
    ) -> Answer:
        self._note_account(response.headers)
        _log.debug("%s -> %s", response.request.method + " " + response.request.url.path, response.status_code)
        came = response.content
        sent = came if is_content else redactor(self.secrets).raw(came)
        answer = Answer(
            raw=sent,
            status=response.status_code,
            request_id=self._header(response.headers, "x-request-id"),
            is_altered=sent is not came,
        )
        if not sent.strip() and response.request.method == "DELETE":  # 204, or a 200 that says no more
            return answer
        if is_web_page(response.headers, response.content[:1000].decode("utf-8", "replace")):
            raise self._errors.page(what, response.status_code, response.text)
        if not is_page:
            try:
                if is_content:
                    require_plain(sent, longest=MAX_PAGE, richest=MAX_VALUES * (MAX_PAGE // MAX_JSON))
                sent = first_value(sent)
                raw = without_half_characters(sent) if is_content else readable(sent)
                msgspec.json.decode(raw, type=msgspec.Raw)
            except ValueError as error:
                raise self.unreadable(what, answer, error) from None
            answer = msgspec.structs.replace(answer, raw=raw, unreadable=None if raw is sent else sent)
        if answer.raw.strip() == b"null":  # seen on look-alikes for "not found"
            raise NotFound(f"{what}: not found (the server answered null)", status=response.status_code)
        if answer.is_altered:
            self.sent_keys = True
            if not is_page and MARK in (identity(answer.raw) or ""):
                raise self.unreadable(what, answer, "the id in it contains your key")
        return answer

    def _note_account(self, headers: Mapping[str, str]) -> None:
        self.organization = self._header(headers, "openai-organization") or self.organization
        self.project = self._header(headers, "openai-project") or self.project

    def _other_origin(self, response: httpx2.Response) -> str:
        return self._clean(transport.other_origin(response))

    def _header(self, headers: Mapping[str, str], name: str) -> str | None:
        """What a server says in a header goes into messages and reports: never a key that it sends back."""
        value = headers.get(name)
        return self._clean(value)[:_LONGEST_HEADER] if value else value

    def _clean(self, text: str) -> str:
        return redacted(text, *self.secrets)

    # -- errors ----------------------------------------------------------------------------------------

    @cached_property
    def _errors(self) -> AccountErrors:
        proxy = self.proxy.host if self.proxy else ""
        return AccountErrors(RequestTarget(side=self.side, endpoint=self.endpoint, proxy=proxy), lambda: self.secrets)

    def unreadable(self, what: str, answer: Answer, why: object) -> UnexpectedAnswer:
        """The error for a 2xx answer whose body can't be read."""
        return self._errors.unreadable(what, why, status=answer.status, request_id=answer.request_id)

    def mapped(self, what: str, error: Exception) -> RemoteError:
        """The one place where an error of the SDK, or of the transport below it, becomes one of ours."""
        if short := exhausted(error):  # no word about the server
            raise short from None
        if isinstance(error, openai.APIStatusError):
            return self._refused(what, error.response)
        if isinstance(error, openai.APIConnectionError):
            return self._errors.broken(what, error.__cause__ or httpx2.TransportError(str(error)))
        return self._errors.broken(what, error)

    def _refused(self, what: str, response: httpx2.Response) -> RemoteError:
        if origin := self._other_origin(response):
            return self._errors.refused_elsewhere(what, response.status_code, origin)
        self._note_account(response.headers)
        return self._errors.refused(what, response.status_code, response.headers, response.text)
