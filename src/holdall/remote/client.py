"""One account over the network. The only importer of the OpenAI SDK; every SDK error leaves here as one of ours.

Requests go through the SDK's own transport (authentication, connection pool, multipart), but answers are taken as
bytes: the SDK's models would drop fields that they don't know, and its auto-paging never ends on servers that leave
``has_more`` out. The SDK's retries are off; ``remote.limits`` decides, because a blindly repeated POST can create a
thing twice.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
import openai

from holdall.endpoint import Endpoint, Secret, endpoint
from holdall.errors import (
    AuthenticationFailed,
    ConnectionLost,
    NoAssistantsApi,
    NotFound,
    RemoteError,
    UnexpectedAnswer,
    Unreachable,
    UsageFault,
)
from holdall.progress import Progress, Silent
from holdall.remote import faults, lists, tokens
from holdall.remote.limits import Limits
from holdall.remote.lists import Doubt
from holdall.remote.tokens import TokenCommand
from holdall.version import __version__

__all__ = ["Account", "Answer", "Capabilities", "Download", "Endpoint", "Secret", "endpoint", "path"]

T = TypeVar("T")

# A server may think for long before it answers an upload of 512 MB, but silence elsewhere means a dead connection.
_TIMEOUT = httpx2.Timeout(connect=15.0, read=120.0, write=120.0, pool=None)
_UPLOAD_TIMEOUT = httpx2.Timeout(connect=15.0, read=600.0, write=120.0, pool=None)
_CHUNK = 1 << 20
# Assistants, and on older servers vector stores too, answer only with this header; agents with one of their own.
_BETA = {"OpenAI-Beta": "assistants=v2"}
_AGENTS_BETA = {"OpenAI-Beta": "agents=v1"}
_log = logging.getLogger("holdall")
_environment_lock = threading.Lock()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One successful answer: its JSON as it came."""

    raw: bytes
    status: int
    request_id: str | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found out about an account."""

    assistants: bool
    organization: str | None = None
    project: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    data: list[msgspec.Raw] | None = None
    has_more: bool | None = None


class _Identified(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None


class Download:
    """A body that is arriving. ``length`` is what the server announced, or None."""

    def __init__(self, response: Any, failed: Callable[[Exception], RemoteError]) -> None:
        self._response = response
        self._failed = failed
        announced = response.headers.get("content-length")
        encoded = response.headers.get("content-encoding")
        self.length = int(announced) if announced and announced.isdigit() and not encoded else None
        self.request_id: str | None = response.headers.get("x-request-id")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces of at most 1 MiB. Raises Unreachable where it ends before its announced length."""
        try:
            async for chunk in self._response.iter_bytes(_CHUNK):
                yield chunk
        except (httpx2.HTTPError, openai.OpenAIError) as error:
            raise self._failed(error) from None


def path(template: str, *ids: str) -> str:
    """``template`` with each ``{}`` replaced by an id, escaped: an id is data and may hold ``/`` or ``..``.

    >>> path("/vector_stores/{}/files", "vs_1/../x")
    '/vector_stores/vs_1%2F..%2Fx/files'
    """
    return template.format(*(quote(i, safe="") if i.strip(".") else i.replace(".", "%2E") for i in ids))


def _no_matter(why: str) -> None:
    """A doubt that nobody asked for."""


def _route(where: str) -> str:
    """The path with its ids (every second segment) replaced by ``*``, for counting."""
    parts = where.strip("/").split("/")
    return "/" + "/".join("*" if place % 2 else part for place, part in enumerate(parts))


@contextmanager
def _no_ambient_settings() -> Iterator[None]:
    """While the SDK is set up, hide OPENAI_*: it would send the organisation, project and headers it finds there."""
    with _environment_lock:
        hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OPENAI_")}
        try:
            yield
        finally:
            os.environ.update(hidden)


class Account:
    """An account of an OpenAI-compatible server, used as an async context manager.

    ``organization`` and ``project`` are what the newest answer's headers said (not every server says it);
    ``requests`` counts attempts on the wire by method and route. ``side`` is ``source`` or ``destination`` and only
    names things in messages. ``clock`` gives Unix seconds. Making one raises UsageFault where the environment names a
    proxy or certificates that can't be used; every method raises errors of the RemoteError family and nothing else.
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
    ) -> None:
        self.endpoint = endpoint
        self.side = side
        self.limits = limits or Limits(concurrency)
        self.progress = progress or Silent()
        self.organization = endpoint.organization
        self.project = endpoint.project
        self.requests: Counter[str] = Counter()
        self._tokens = (
            TokenCommand(endpoint.token_command, clock=clock, run=tokens.run) if endpoint.token_command else None
        )
        with _no_ambient_settings():
            try:
                self._sdk = openai.AsyncOpenAI(
                    api_key=self._tokens.get if self._tokens else endpoint.key.reveal(),
                    base_url=endpoint.base_url,
                    organization=endpoint.organization,
                    project=endpoint.project,
                    default_query=endpoint.query,
                    default_headers={"User-Agent": f"holdall/{__version__}"},
                    max_retries=0,
                    timeout=_TIMEOUT,
                )
            except (OSError, ValueError, ImportError) as error:  # what the environment says of proxies and certificates
                raise UsageFault(
                    f"can't set up connections to {endpoint.host}: {error}",
                    hint="look at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
                ) from None

    async def __aenter__(self) -> Account:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._sdk.close()

    # -- reading ---------------------------------------------------------------------------------------

    async def get(self, where: str, params: Mapping[str, Any] | None = None) -> Answer:
        """One JSON document; repeated while ``limits`` says so."""

        async def once() -> Answer:
            return await self._json("GET", where, params=params)

        return await self._repeat(once, repeatable=True)

    async def items(
        self, where: str, params: Mapping[str, Any] | None = None, *, limit: int = 100, doubt: Doubt | None = None
    ) -> AsyncIterator[bytes]:
        """Every item of a list, each as the slice of JSON that the server sent, each id once, oldest first.

        See ``pages``.
        """
        async for page in self.pages(where, params, limit=limit, doubt=doubt):
            for item in page:
                yield item

    async def pages(
        self, where: str, params: Mapping[str, Any] | None = None, *, limit: int = 100, doubt: Doubt | None = None
    ) -> AsyncIterator[list[bytes]]:
        """A list page by page, mostly one request each; ``items`` has what is true of the items.

        Ends with every server (see ``lists``); ``doubt`` is told where the list may lack something all the same. Raises
        UnexpectedAnswer for a page that has no ``data``.
        """

        async def ask(query: Mapping[str, Any]) -> lists.Page:
            answer = await self.get(where, {**(params or {}), **query})
            try:
                page = msgspec.json.decode(answer.raw, type=_Page)
                ids = [msgspec.json.decode(item, type=_Identified).id for item in page.data or []]
            except msgspec.DecodeError as error:
                raise self._unreadable(f"can't list {where}", answer, error) from None
            if page.data is None:
                raise self._unreadable(f"can't list {where}", answer, "no list in it")
            return lists.Page(items=[bytes(item) for item in page.data], ids=ids, has_more=page.has_more)

        async for page in lists.pages(ask, limit, doubt or _no_matter):
            yield page

    @asynccontextmanager
    async def download(self, file_id: str, *, container: str | None = None) -> AsyncIterator[Download]:
        """A file's bytes, or those of its copy in a container. Errors before the first byte are retried, later ones are
        raised."""
        async with self.limits.slot():
            what = f"can't download file {file_id}"

            async def once() -> Any:
                self.requests[f"GET {'/containers/*' if container else ''}/files/*/content"] += 1
                if container:
                    copies = self._sdk.containers.files.content.with_streaming_response
                    manager = copies.retrieve(file_id, container_id=container)
                else:
                    manager = self._sdk.files.with_streaming_response.content(file_id)
                return manager, await manager.__aenter__()

            def failed(error: Exception) -> RemoteError:
                return self._mapped(what, error)

            manager, response = await self._repeat(lambda: self._guarded(what, once), repeatable=True, slot=False)
            try:
                self._listen(response.headers)
                await self._refuse_null(what, response)
                yield Download(response, failed)
            finally:
                await manager.__aexit__(None, None, None)

    async def _refuse_null(self, what: str, response: Any) -> None:
        """Raise NotFound where a server says with 200 and ``null`` that a file isn't there."""
        kind, length = (response.headers.get(name, "") for name in ("content-type", "content-length"))
        if length != "4" or not kind.startswith("application/json"):
            return
        # What has been read is given again to who reads it.
        if await self._guarded(what, response.read) == b"null":
            raise NotFound(f"{what}: not found (the server answered null)", status=response.status_code)

    # -- writing ---------------------------------------------------------------------------------------

    async def post(self, where: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One write. Repeated only where the server certainly did not carry it out (429, connection refused).

        An error with ``ambiguous`` set may have been carried out all the same: look before trying again.
        """

        async def once() -> Answer:
            return await self._json("POST", where, body=dict(body or {}))

        return await self._repeat(once, repeatable=False)

    async def upload(
        self,
        filename: str,
        stream: BinaryIO,
        *,
        purpose: str,
        expires_after: Mapping[str, Any] | None = None,
    ) -> Answer:
        """POST /files with the bytes of ``stream`` (seekable; read from its start in pieces). Repeated as ``post``."""
        what = f"can't upload file {filename}"
        extra = {"expires_after": dict(expires_after)} if expires_after else {}

        async def send() -> Answer:
            self.requests["POST /files"] += 1
            stream.seek(0)
            raw = await self._sdk.files.with_raw_response.create(
                file=(filename, stream),
                purpose=purpose,  # type: ignore[arg-type]  # the server decides which purposes it takes
                timeout=_UPLOAD_TIMEOUT,
                **extra,  # type: ignore[arg-type]
            )
            return self._answer(what, raw.http_response)

        return await self._repeat(lambda: self._guarded(what, send), repeatable=False)

    async def delete(self, where: str) -> Answer:
        """DELETE. Repeating is safe: what is gone answers 404."""

        async def once() -> Answer:
            return await self._json("DELETE", where)

        return await self._repeat(once, repeatable=True)

    # -- what is this account? -------------------------------------------------------------------------

    async def probe(self) -> Capabilities:
        """Ask for one assistant, and if there is no such endpoint, whether another one answers with the same key.

        Raises AuthenticationFailed, PermissionDenied, Unreachable … as any request; NotFound where nothing at all
        answers, which means that the base URL is wrong.
        """
        assistants = True
        try:
            await self.get("/assistants", {"limit": 1})
        except NotFound:
            assistants = False
            await self.require_any_endpoint()
        return Capabilities(assistants=assistants, organization=self.organization, project=self.project)

    async def require_assistants(self) -> Capabilities:
        """As ``probe``, but raises NoAssistantsApi where the account has no Assistants API."""
        found = await self.probe()
        if not found.assistants:
            raise NoAssistantsApi(
                f"can't use the {self.side} at {self.endpoint.title}: it has no Assistants API "
                "(OpenAI ended it on 2026-08-26)",
                hint="files and vector stores live on there; servers that still speak Assistants v2 are named by "
                f"OPENAI_{'DST' if self.side == 'destination' else 'SRC'}_BASE_URL",
                status=404,
            )
        return found

    async def require_any_endpoint(self) -> None:
        """See that something answers. Raises NotFound where nothing at all does, and what any request raises."""
        for where in ("/vector_stores", "/files", "/models"):
            try:
                await self.get(where, None if where == "/models" else {"limit": 1})
                return
            except NotFound:
                continue
        raise NotFound(
            f"can't use the {self.side} at {self.endpoint.base_url}: no endpoint answers there",
            hint="the base URL usually ends in /v1",
            status=404,
        )

    # -- inside ----------------------------------------------------------------------------------------

    @property
    def _secret(self) -> str:
        """What must not be in any message."""
        return self._tokens.token if self._tokens else self.endpoint.key.reveal()

    async def _repeat(self, once: Callable[[], Awaitable[T]], *, repeatable: bool, slot: bool = True) -> T:
        attempt, renewed, lost = 1, False, 0
        answered: RemoteError | None = None
        while True:
            token = self._secret
            try:
                if not slot:
                    return await once()
                async with self.limits.slot():
                    return await once()
            except RemoteError as error:
                if self._tokens and isinstance(error, AuthenticationFailed) and error.status == 401 and not renewed:
                    # The token has ended before its time; a request that is refused for it was not carried out.
                    self._tokens.forget(token or self._tokens.token)
                    renewed = True
                    continue
                if repeatable and isinstance(error, ConnectionLost) and lost < self.limits.concurrency:
                    # Each connection that lay idle may have been closed meanwhile, which says nothing of the server.
                    lost += 1
                    continue
                if not isinstance(error, Unreachable):
                    answered = error
                wait = self.limits.wait(error, attempt, repeatable=repeatable)
                if wait is None:
                    # A server that answers and drops connections in between can be reached: its word is what counts.
                    # Not so for a write, whose last attempt alone says whether it may have been carried out.
                    raise ((answered or error) if repeatable else error) from None
                if wait >= 5:
                    self.progress.note(f"{error.message}; trying again in {wait:.0f} s")
            attempt += 1
            await self.limits.sleep(wait)

    async def _json(
        self,
        method: str,
        where: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        what = f"can't {method} {where}"
        self.requests[f"{method} {_route(where)}"] += 1

        async def send() -> Answer:
            options: Any = {"headers": _AGENTS_BETA if where.split("/")[1] == "agents" else _BETA}
            if params:
                options["params"] = dict(params)
            call = {"GET": self._sdk.get, "POST": self._sdk.post, "DELETE": self._sdk.delete}[method]
            arguments = {} if body is None else {"body": body}
            response = await call(where, cast_to=httpx2.Response, options=options, **arguments)  # type: ignore[operator]
            return self._answer(what, response)

        return await self._guarded(what, send)

    async def _guarded(self, what: str, send: Callable[[], Awaitable[T]]) -> T:
        try:
            return await send()
        except (httpx2.HTTPError, openai.OpenAIError) as error:
            raise self._mapped(what, error) from None

    def _answer(self, what: str, response: httpx2.Response) -> Answer:
        self._listen(response.headers)
        _log.debug("%s -> %s", response.request.method + " " + response.request.url.path, response.status_code)
        raw = response.content
        answer = Answer(raw=raw, status=response.status_code, request_id=self._heard(response.headers, "x-request-id"))
        try:
            document = msgspec.json.decode(raw, type=msgspec.Raw)
        except msgspec.DecodeError as error:
            raise self._unreadable(what, answer, error) from None
        if bytes(document) == b"null":  # seen on look-alikes for "not found"
            raise NotFound(f"{what}: not found (the server answered null)", status=response.status_code)
        return answer

    def _listen(self, headers: Mapping[str, str]) -> None:
        self.organization = self._heard(headers, "openai-organization") or self.organization
        self.project = self._heard(headers, "openai-project") or self.project

    def _heard(self, headers: Mapping[str, str], name: str) -> str | None:
        """What a server says in a header goes into messages and reports: never a key that it sends back."""
        value = headers.get(name)
        return faults.redacted(value, self._secret) if value else value

    def _unreadable(self, what: str, answer: Answer, why: object) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"{what}: the answer can't be read ({faults.redacted(str(why), self._secret)})",
            hint=f"is {self.endpoint.base_url} an OpenAI-compatible API?",
            status=answer.status,
            request_id=answer.request_id,
            # The server did answer with success, so a write may have been carried out.
            ambiguous=True,
        )

    def _mapped(self, what: str, error: Exception) -> RemoteError:
        """The one place where an error of the SDK, or of the transport below it, becomes one of ours."""
        key = self._secret
        if isinstance(error, openai.APIStatusError):
            self._listen(error.response.headers)
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            return faults.from_answer(
                what, error.response.status_code, headers, error.response.text, key=key, side=self.side
            )
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
        if isinstance(cause, (httpx2.HTTPError, openai.APIConnectionError)):
            # Only where no connection came about is it certain that nothing was carried out.
            unsent = isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
            timed_out = isinstance(cause, httpx2.TimeoutException)
            why = "no answer in time" if timed_out else faults.redacted(str(cause), key) or type(cause).__name__
            cls = Unreachable if unsent or timed_out else ConnectionLost
            return cls(
                f"{what}: {self.endpoint.host} can't be reached ({why})",
                hint="check the network, a proxy (HTTPS_PROXY) and the base URL",
                ambiguous=not unsent,
            )
        return UnexpectedAnswer(
            f"{what}: the answer can't be used ({faults.redacted(str(error), key) or type(error).__name__})",
            ambiguous=True,
        )
