"""One account's wire. The only importer of the OpenAI SDK; every SDK error leaves here as one of ours.

Requests go through the SDK's own transport (authentication, connection pool, multipart), but answers are taken as
bytes: the SDK's models would drop fields that they don't know. The SDK's retries are off; ``remote.limits`` decides,
because a blindly repeated POST can create a thing twice. Everything here is sent once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, BinaryIO, TypeVar

import httpx2
import msgspec
import openai

from holdall.endpoint import Endpoint
from holdall.errors import ConnectionLost, NotFound, RemoteError, UnexpectedAnswer, Unreachable, UsageFault
from holdall.remote import faults, tokens
from holdall.remote.download import Download, Rest
from holdall.remote.tokens import TokenCommand
from holdall.version import __version__

__all__ = ["SILENCE", "Answer", "Wire", "route"]

T = TypeVar("T")

SILENCE = 120.0
"""Seconds without a byte after which a connection counts as dead."""

# A server may think so many times longer before it answers an upload of 512 MB.
_THINKING = 5.0
_CONNECTING = 15.0
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


def route(where: str) -> str:
    """The path with its ids (every second segment) replaced by ``*``: the endpoint that it belongs to."""
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


def _timeout(silence: float, *, answer: float) -> httpx2.Timeout:
    return httpx2.Timeout(connect=min(_CONNECTING, silence), read=answer, write=silence, pool=None)


class Wire:
    """Sends requests to one endpoint, each once. ``requests`` counts them by method and route.

    ``side`` is ``source`` or ``destination`` and only names things in messages. ``clock`` gives Unix seconds;
    ``silence`` is ``SILENCE`` if nothing is said. Making one raises UsageFault where the environment names a proxy or
    certificates that can't be used; every method raises errors of the RemoteError family, nothing else.
    """

    def __init__(
        self, endpoint: Endpoint, *, side: str, clock: Callable[[], float], silence: float | None = None
    ) -> None:
        self.endpoint, self.side = endpoint, side
        self.organization, self.project = endpoint.organization, endpoint.project
        self.requests: Counter[str] = Counter()
        self.tokens = (
            TokenCommand(endpoint.token_command, clock=clock, run=tokens.run) if endpoint.token_command else None
        )
        quiet = SILENCE if silence is None else silence
        self._upload_timeout = _timeout(quiet, answer=_THINKING * quiet)
        with _no_ambient_settings():
            try:
                self._sdk = openai.AsyncOpenAI(
                    api_key=self.tokens.get if self.tokens else endpoint.key.reveal(),
                    base_url=endpoint.base_url,
                    organization=endpoint.organization,
                    project=endpoint.project,
                    default_query=endpoint.query,
                    default_headers={"User-Agent": f"holdall/{__version__}"},
                    max_retries=0,
                    timeout=_timeout(quiet, answer=quiet),
                )
            except (OSError, ValueError, ImportError) as error:  # what the environment says of proxies and certificates
                raise UsageFault(
                    f"can't set up connections to {endpoint.host}: {error}",
                    hint="look at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
                ) from None

    async def close(self) -> None:
        await self._sdk.close()

    @property
    def secret(self) -> str:
        """What must not be in any message."""
        return self.tokens.token if self.tokens else self.endpoint.key.reveal()

    async def json(
        self,
        method: str,
        where: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """One request whose answer is JSON."""
        what = f"can't {method} {where}"
        self.requests[f"{method} {route(where)}"] += 1

        async def send() -> Answer:
            options: Any = {"headers": _AGENTS_BETA if where.split("/")[1] == "agents" else _BETA}
            if params:
                options["params"] = dict(params)
            call = {"GET": self._sdk.get, "POST": self._sdk.post, "DELETE": self._sdk.delete}[method]
            arguments = {} if body is None else {"body": body}
            response = await call(where, cast_to=httpx2.Response, options=options, **arguments)  # type: ignore[operator]
            return self._answer(what, response)

        return await self._guarded(what, send)

    async def upload(
        self, filename: str, stream: BinaryIO, *, purpose: str, expires_after: Mapping[str, Any] | None
    ) -> Answer:
        """POST /files with the bytes of ``stream``, from its start."""
        what = f"can't upload file {filename}"
        extra = {"expires_after": dict(expires_after)} if expires_after else {}

        async def send() -> Answer:
            self.requests["POST /files"] += 1
            stream.seek(0)
            raw = await self._sdk.files.with_raw_response.create(
                file=(filename, stream),
                purpose=purpose,  # type: ignore[arg-type]  # the server decides which purposes it takes
                timeout=self._upload_timeout,
                **extra,  # type: ignore[arg-type]
            )
            return self._answer(what, raw.http_response)

        return await self._guarded(what, send)

    @asynccontextmanager
    async def download(
        self, what: str, file_id: str, container: str | None, rest: Rest | None
    ) -> AsyncIterator[Download]:
        """A file's bytes as they come, or the ``rest`` of them."""
        # Ranges and lengths are those of what is sent, so it has to be sent as it is.
        headers = {"Accept-Encoding": "identity", **(rest.headers() if rest else {})}
        self.requests[f"GET {'/containers/*' if container else ''}/files/*/content"] += 1
        if container:
            copies = self._sdk.containers.files.content.with_streaming_response
            manager: Any = copies.retrieve(file_id, container_id=container, extra_headers=headers)
        else:
            manager = self._sdk.files.with_streaming_response.content(file_id, extra_headers=headers)
        response = await self._guarded(what, manager.__aenter__)
        try:
            self._listen(response.headers)
            await self._refuse_null(what, response)
            yield Download(response.status_code, response.headers, self._chunks(what, response))
        finally:
            await manager.__aexit__(None, None, None)

    async def _chunks(self, what: str, response: Any) -> AsyncGenerator[bytes, None]:
        """The body in pieces of some 1 MiB; of one that breaks off, everything that came, and then the error."""
        pieces: list[bytes] = []
        size, failed = 0, None
        try:
            async for piece in response.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size >= _CHUNK:
                    yield b"".join(pieces)
                    pieces, size = [], 0
        except (httpx2.HTTPError, openai.OpenAIError) as error:
            failed = self.mapped(what, error)
        if pieces:
            yield b"".join(pieces)
        if failed:
            raise failed

    async def _refuse_null(self, what: str, response: Any) -> None:
        """Raise NotFound where a server says with 200 and ``null`` that a file isn't there."""
        kind, length = (response.headers.get(name, "") for name in ("content-type", "content-length"))
        if length != "4" or not kind.startswith("application/json"):
            return
        # What has been read is given again to who reads it.
        if await self._guarded(what, response.read) == b"null":
            raise NotFound(f"{what}: not found (the server answered null)", status=response.status_code)

    async def _guarded(self, what: str, send: Callable[[], Awaitable[T]]) -> T:
        try:
            return await send()
        except (httpx2.HTTPError, openai.OpenAIError) as error:
            raise self.mapped(what, error) from None

    def _answer(self, what: str, response: httpx2.Response) -> Answer:
        self._listen(response.headers)
        _log.debug("%s -> %s", response.request.method + " " + response.request.url.path, response.status_code)
        raw = response.content
        answer = Answer(raw=raw, status=response.status_code, request_id=self._heard(response.headers, "x-request-id"))
        if not raw.strip() and response.request.method == "DELETE":  # 204, or a 200 that says no more
            return answer
        try:
            document = msgspec.json.decode(raw, type=msgspec.Raw)
        except msgspec.DecodeError as error:
            raise self.unreadable(what, answer, error) from None
        if bytes(document) == b"null":  # seen on look-alikes for "not found"
            raise NotFound(f"{what}: not found (the server answered null)", status=response.status_code)
        return answer

    def _listen(self, headers: Mapping[str, str]) -> None:
        self.organization = self._heard(headers, "openai-organization") or self.organization
        self.project = self._heard(headers, "openai-project") or self.project

    def _heard(self, headers: Mapping[str, str], name: str) -> str | None:
        """What a server says in a header goes into messages and reports: never a key that it sends back."""
        value = headers.get(name)
        return faults.redacted(value, self.secret) if value else value

    # -- errors ----------------------------------------------------------------------------------------

    def unreadable(self, what: str, answer: Answer, why: object) -> UnexpectedAnswer:
        """An answer of success that makes no sense."""
        return UnexpectedAnswer(
            f"{what}: the answer can't be read ({faults.redacted(str(why), self.secret)})",
            hint=f"is {self.endpoint.base_url} an OpenAI-compatible API?",
            status=answer.status,
            request_id=answer.request_id,
            # The server did answer with success, so a write may have been carried out.
            ambiguous=True,
        )

    def mapped(self, what: str, error: Exception) -> RemoteError:
        """The one place where an error of the SDK, or of the transport below it, becomes one of ours."""
        key = self.secret
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
