"""One account over the network: reads, writes and lists, each repeated while ``remote.limits`` says so; and what an
account is asked first.

That is whether it has assistants, or any endpoint that answers with the key, which models it has, and which deployments
and connections a Foundry project has: names only, never what a connection logs in with.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, date, datetime
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from holdall.endpoint import Endpoint
from holdall.errors import (
    REQUEST_ERRORS,
    AuthenticationFailed,
    NoAssistantsApi,
    NotFound,
    PermissionDenied,
    RateLimited,
    RemoteError,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
)
from holdall.kinds import ASSISTANT_KINDS, KINDS, Platform, is_named
from holdall.model import StoreView, View, is_invented
from holdall.progress import Progress, Silent
from holdall.redaction import Redactor, redactor
from holdall.remote import refusals
from holdall.remote.limits import Limits
from holdall.remote.lists import Doubt, Listing, Page, read_page
from holdall.remote.wire import Answer, Download, Rest, Surface, Wire, route
from holdall.untrusted import read_members, readable

T = TypeVar("T")

# Waits of so many seconds are reported.
_LONG_WAIT = 5.0


class _Deleted(msgspec.Struct, frozen=True, kw_only=True):
    deleted: bool = False


def path(template: str, *ids: str) -> str:
    """``template`` with each ``{}`` replaced by an id, escaped: an id is data and may hold ``/`` or ``..``. Raises
    RequestRefused for an id that was made up here.

    >>> path("/vector_stores/{}/files", "vs_1/../x")
    '/vector_stores/vs_1%2F..%2Fx/files'
    """
    if any(map(is_invented, ids)):
        # A mistake of ours, or a server that gives such an id after all.
        raise RequestRefused(f"can't ask for {', '.join(ids)[:200]}: not a valid id")
    return template.format(*(quote(i, safe="") if i.strip(".") else i.replace(".", "%2E") for i in ids))


def viewed(raw: bytes, of: type[T], what: str) -> T:
    """The fields of an answer or record that the program acts upon. Raises UnexpectedAnswer for an unknown shape.

    Other fields may be unreadable; in a View a field of another type counts as missing.
    """
    try:
        return msgspec.json.decode(raw, type=of)
    except (ValueError, RecursionError) as error:
        with suppress(ValueError):
            values = read_members(raw)
            if isinstance(of, type) and issubclass(of, View):
                return of.of_values(values)
            return msgspec.convert(values, of)
        raise UnexpectedAnswer(f"can't read {what}: its record has an unexpected format ({error})") from None


def _is_deleted(raw: bytes) -> bool:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(raw, type=_Deleted).deleted
    return False


def _no_matter(why: str) -> None:
    """Ignores a doubt: nobody asked for it."""


class Account(Wire):
    """An account of an OpenAI-compatible server, used as an async context manager.

    ``organization`` and ``project`` are what the newest answer's headers said (not every server says it);
    ``requests`` counts attempts on the wire by method and route. ``side`` is ``source`` or ``destination`` and only
    names things in messages. ``surfaces`` are those of a Foundry project that reads try, in this order, and the first
    one takes the writes; where none is given, a source is read on both, and a destination is the classic one. Making
    one raises UsageFault where the environment names a proxy or certificates that can't be used; every method raises
    errors of the RemoteError family and nothing else.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        side: str = "source",
        surfaces: tuple[Surface, ...] = (),
        concurrency: int = 3,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(endpoint, side=side, surfaces=surfaces)
        self.limits = limits or Limits(concurrency)
        self.progress = progress or Silent()
        self.limits.note = self.progress.note
        self._endless = 0
        self.unknown_path: int | None = None
        """The status of the answer to a path that can't be there, once that was asked for."""

    async def __aenter__(self) -> Account:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """Those of a Foundry project that reads try, in this order; the first one takes the writes."""
        return self.routes.order

    @surfaces.setter
    def surfaces(self, order: tuple[Surface, ...]) -> None:
        self.routes.order = order

    @property
    def redactor(self) -> Redactor:
        """Takes this account's keys out of texts."""
        return redactor(self.secrets)

    @property
    def platform(self) -> Platform:
        """What it is an account of, which decides which kinds of objects it may have."""
        return Platform.FOUNDRY if self.endpoint.is_foundry else Platform.OPENAI

    @property
    def party(self) -> dict[str, str | None]:
        """Which account it is, as journals, plans and written requests name it."""
        return {"base_url": self.endpoint.base_url, "organization": self.organization, "project": self.project}

    # -- reading ---------------------------------------------------------------------------------------

    async def get(
        self, where: str, params: Mapping[str, Any] | None = None, *, patient: bool = True, is_content: bool = False
    ) -> Answer:
        """One JSON document; repeated while ``limits`` says so, which knows what ``patient`` means.

        ``is_content`` as in ``Wire.json``.
        """

        def ask(surface: Surface) -> Awaitable[Answer]:
            return self._repeat(
                f"GET {route(where)}",
                lambda _: self._json("GET", where, params=params, surface=surface, is_content=is_content),
                repeatable=True,
                patient=patient,
            )

        return await self.routes.first(where, ask)

    async def items(self, where: str, *, limit: int = 100, doubt: Doubt | None = None) -> AsyncIterator[bytes]:
        """Every item of a list, as JSON that every decoder reads if possible. See ``pages``."""
        async for page in self.pages(where, limit=limit, doubt=doubt):
            for item in page:
                with suppress(ValueError):
                    item = readable(item)
                yield item

    def pages(
        self,
        where: str,
        params: Mapping[str, Any] | None = None,
        *,
        limit: int = 100,
        doubt: Doubt | None = None,
        patient: bool = True,
    ) -> AsyncIterator[list[bytes]]:
        """A list page by page, mostly one request each; each id once, oldest first.

        Each item is the slice that the server sent, which may be anything.

        ``patient`` is about the first request: once there is a page, there is such a list. Ends with every server (see
        ``lists``); ``doubt`` is told where the list may lack something all the same. Raises UnexpectedAnswer for a page
        that has no ``data``, and for an endless list where the caller takes no ``doubt``.

        The list of a project is that of all surfaces together, each id once; one without such a list adds nothing.
        """

        def begin(surface: Surface, is_patient: bool) -> AsyncIterator[list[bytes]]:
            return self._pages(where, params, surface, limit=limit, doubt=doubt, patient=is_patient)

        return self.routes.joined(where, begin, patient=patient)

    def _pages(
        self,
        where: str,
        params: Mapping[str, Any] | None,
        surface: Surface,
        *,
        limit: int,
        doubt: Doubt | None,
        patient: bool,
    ) -> AsyncIterator[list[bytes]]:
        """A list on one surface."""
        by_name = is_named(where, self.platform)

        async def ask(query: Mapping[str, Any]) -> Page:
            nonlocal patient

            async def once(stack: AsyncExitStack) -> tuple[Answer, Page | None]:
                answer = await self.json(
                    "GET", where, params={**(params or {}), **query}, surface=surface, is_page=True
                )
                try:
                    return answer, read_page(answer.sent, where, is_altered=answer.is_altered, by_name=by_name)
                except ValueError as error:  # a page that was cut on its way is asked for again, like any answer
                    raise self.unreadable(f"can't list {where}", answer, error) from None

            answer, page = await self._repeat(f"GET {route(where)}", once, repeatable=True, patient=patient)
            patient = True
            if page is None:
                raise self.unreadable(f"can't list {where}", answer, "the answer contains no list")
            return page

        def over(why: str) -> None:
            self._endless += 1
            if doubt is None:
                raise UnexpectedAnswer(
                    f"can't list {where}: {why}", hint="use a project with fewer objects", detail=why
                )
            doubt(why)

        async def counted() -> int | None:
            try:
                raw = (await self.get(where.rpartition("/")[0])).raw
                return viewed(raw, StoreView, f"what {where} is of").total
            except RemoteError:
                return None

        counts = counted if route(where) == "/vector_stores/*/files" else None
        return Listing(ask, limit, doubt or _no_matter, over=over, counted=counts, endless=self._endless).pages()

    @asynccontextmanager
    async def download(
        self,
        file_id: str,
        *,
        container: str | None = None,
        skill: str | None = None,
        rest: Rest | None = None,
        size: int | None = None,
    ) -> AsyncIterator[Download]:
        """A file's bytes, or those of its copy in a container; with ``rest`` only the remaining ones, if the server
        can. With ``skill`` it is the zip of that skill's version of the number ``file_id``.

        ``size`` is how many there are in all, as far as is known: a redirect to another origin brings no more.
        Errors before the first byte are retried, later ones are raised. A slot is held until the block is left.
        """

        what, where = f"can't download file {file_id}", path("/files/{}/content", file_id)
        if container:
            where = path("/containers/{}/files/{}/content", container, file_id)
        elif skill:
            what = f"can't download version {file_id} of skill {skill}"
            where = path("/skills/{}/versions/{}/content", skill, file_id)
        async with AsyncExitStack() as held:

            def ask(surface: Surface) -> Awaitable[Download]:
                def once(stack: AsyncExitStack) -> Awaitable[Download]:
                    return stack.enter_async_context(self.open_content(what, where, rest, size, surface))

                return self._repeat("GET content", once, repeatable=True, held=held)

            yield await self.routes.first(where, ask)

    # -- writing ---------------------------------------------------------------------------------------

    async def post(self, where: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One write. Repeated only if the server certainly did not execute it (429, connection refused).

        A request whose error is ``ambiguous`` may have been executed: look before trying again.
        """
        return await self._repeat(
            f"POST {route(where)}", lambda _: self._json("POST", where, body=dict(body or {})), repeatable=False
        )

    async def upload(self, filename: str, stream: BinaryIO, *, purpose: str) -> Answer:
        """POST /files with the bytes of ``stream`` (seekable; read from its start in pieces). Repeated as ``post``."""
        return await self._repeat(
            "POST /files", lambda _: self.send_file(filename, stream, purpose=purpose), repeatable=False
        )

    async def upload_zip(self, where: str, filename: str, stream: BinaryIO) -> Answer:
        """POST a version of a skill, from ``stream`` as in ``upload``. Repeated as ``post``."""
        return await self._repeat(
            f"POST {route(where)}", lambda _: self.send_zip(where, filename, stream), repeatable=False
        )

    async def delete(self, where: str) -> Answer:
        """DELETE. Repeating is safe: what is gone answers 404.

        Raises NotFound where it isn't there afterwards, though the server didn't call it deleted; else what the server
        answered, which is RequestRefused where that was no error.
        """
        refused: RemoteError | None = None
        try:
            answer = await self._repeat(
                f"DELETE {route(where)}", lambda _: self._json("DELETE", where), repeatable=True
            )
            if _is_deleted(answer.raw):
                return answer
            status: int | None = answer.status
        except NotFound as error:
            status = error.status
        except REQUEST_ERRORS as error:
            refused = error
        # Servers were seen that answer 404 because they have no such route, with success and have deleted nothing, with
        # an error and have deleted it. So it is read again.
        try:
            await self.get(where)
        except NotFound:
            raise
        except RemoteError as error:
            raise (refused or error) from None
        raise refused or RequestRefused(
            f"can't DELETE {where}: answered with {status}, but the object still exists", status=status
        )

    # -- inside ----------------------------------------------------------------------------------------

    async def _json(self, method: str, where: str, **options: Any) -> Answer:
        """One request; where a preview has to be asked for by name, once more with its name."""
        try:
            return await self.json(method, where, **options)
        except PermissionDenied as error:
            previews = refusals.previews(error) if self.endpoint.is_foundry else []
            if not previews:
                raise
            return await self.json(method, where, previews=previews, **options)

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
            token = self.tokens.token if self.tokens else ""
            async with AsyncExitStack() as stack:
                slot = await stack.enter_async_context(self.limits.slots.one())
                try:
                    answer = await once(stack)
                except RemoteError as error:
                    if not renewed and self._token_has_ended(error, token):
                        renewed, wait = True, 0.0
                    else:
                        wait = tries.after(error, slot)
                        if wait >= _LONG_WAIT:
                            kind = f"waiting: {type(error).__name__}"
                            why = f"rate limit of the {self.side}" if isinstance(error, RateLimited) else error.message
                            self.progress.note(f"waiting {wait:.0f} s: {why}", kind=kind)
                else:
                    tries.succeeded()
                    if held:
                        held.push_async_callback(stack.pop_all().aclose)
                    return answer
            await self.limits.sleep(wait)

    def _token_has_ended(self, error: RemoteError, token: str) -> bool:
        """Whether a token ended before its time; a request that is refused for it was not carried out."""
        tokens = self.tokens
        if not tokens or not isinstance(error, AuthenticationFailed) or error.status != 401:
            return False
        tokens.forget(token or tokens.token)
        return True


# -- what an account is asked first --------------------------------------------------------------------

_UNKNOWN_RESPONSE = "resp_" + "0" * 48
_UNKNOWN_PATH = "nowhere_" + "0" * 24
NO_SUCH_ROUTE = (405, 501)
"""What a server says of a path that it doesn't know, besides 404."""


async def probe(account: Account) -> RemoteError | None:
    """The error that says that there is no Assistants API, None where there is one.

    Raises AuthenticationFailed, PermissionDenied, Unreachable … as any request; NotFound where nothing at all
    answers with the same key, which means that the base URL is wrong.
    """
    absent = await absence(account, "/assistants")
    if absent:
        await require_any_endpoint(account)
    return absent


async def require_assistants(account: Account) -> None:
    """Raise what ``probe`` does, and NoAssistantsApi where the account has no Assistants API."""
    if await probe(account):
        raise NoAssistantsApi(
            f"can't use the {account.side} at {account.endpoint.title}: it has no Assistants API (OpenAI "
            f"shut it down on 2026-08-26)",
            hint="use --as responses to write assistants as Responses API requests, or set OPENAI_DST_BASE_URL "
            "to a server with Assistants v2"
            if account.side == "destination"
            else "its files and vector stores still exist; to read assistants, set OPENAI_SRC_BASE_URL to a "
            "server with Assistants v2",
            status=404,
        )


async def require_any_endpoint(account: Account) -> None:
    """Check that some endpoint answers. Raises NotFound if none does, and what any request raises."""
    for where in (
        "/vector_stores",
        "/files",
        "/models",
        *dict.fromkeys(KINDS[kind].endpoint for kind in ASSISTANT_KINDS),
    ):
        if not await absence(account, where):
            return
    # Where everything fails alike, that error stands.
    try:
        await account.get("/models")
        return
    except NotFound as error:
        hint = error.hint
    raise NotFound(
        f"can't use the {account.side} at {account.endpoint.base_url}: no API found there",
        hint=hint or usual_address(account),
        status=404,
    )


def usual_address(account: Account) -> str:
    """The hint where nothing answers at an address."""
    if account.endpoint.is_foundry:
        return "check the names of the account and of the project in the address"
    return "the base URL usually ends in /v1"


async def absence(account: Account, where: str) -> RemoteError | None:
    """The error that says that a list doesn't exist; None if it does. Raises what a list that exists fails with."""
    params = None if where == "/models" else {"limit": 1}
    try:
        await account.get(where, params, patient=False)
    except REQUEST_ERRORS as error:
        if await is_absent(account, error):
            return error
        if not isinstance(error, (ServerFailed, UnexpectedAnswer)):
            raise
        await account.get(where, params)  # it may pass
    return None


async def is_absent(account: Account, error: RemoteError, *, denied: bool = False) -> bool:
    """Whether a list that ends in ``error`` isn't there at all: few servers say that with a 404.

    So an error is compared with the answer to a path that can't be there: a list that alone is refused may have
    something. Where few servers have it, and ``denied`` may be a word for that, 403, 405 and 501 say so by themselves.
    A server that fails at everything is taken for one without that list; see ``may_be_there``.
    """
    if isinstance(error, NotFound) or (denied and error.status in NO_SUCH_ROUTE):
        return True
    if not isinstance(error, REQUEST_ERRORS) and not (denied and isinstance(error, PermissionDenied)):
        return False
    if account.unknown_path is None or account.unknown_path >= 500:  # which may pass
        try:
            account.unknown_path = (await account.get(f"/{_UNKNOWN_PATH}", patient=False)).status
        except RemoteError as refused:
            account.unknown_path = refused.status
    return account.unknown_path == error.status


def may_be_there(error: RemoteError) -> str | None:
    """The doubt to report where ``error`` counted as absence and may be temporary; else None."""
    if isinstance(error, ServerFailed) and error.status not in NO_SUCH_ROUTE:
        return f"the server answers every request with {error.status}"
    return None


async def same_project(one: Account, other: Account) -> bool:
    """Whether two accounts surely are one project: by the answers' headers, else by an id that both list first.

    Raises what the first answer of an account is refused with.
    """
    if one.endpoint.is_same(other.endpoint):
        return True
    if one.endpoint.host != other.endpoint.host:
        return False
    await require_any_endpoint(one)
    await require_any_endpoint(other)
    if one.project and other.project:
        return (one.organization, one.project) == (other.organization, other.project)
    return bool(await _first_ids(one) & await _first_ids(other))


async def _first_ids(account: Account) -> set[str]:
    """The oldest id of each list."""
    found = set()
    for where in ("/assistants", "/vector_stores", "/files"):
        with suppress(RemoteError, ValueError):
            page = read_page((await account.get(where, {"limit": 1, "order": "asc"})).raw, where)
            found |= {id for id in (page.ids[:1] if page else ()) if id}
    return found


async def responses(account: Account) -> tuple[bool | None, RemoteError | None]:
    """Whether there is a ``/responses``, None where that can't be told, and the error that a read of it ends in.

    Responses have no list, so one that can't be is asked for: a server that has the endpoint says that there is no such
    response, and says it otherwise than of a path that it doesn't know. A key that may not read says so by the error.
    """
    nowhere = await _error_of(account, f"/{_UNKNOWN_PATH}")
    error = await _error_of(account, path("/responses/{}", _UNKNOWN_RESPONSE))
    if error is None:
        return True, None
    if nowhere is not None and _is_same_answer(nowhere, error):
        return (False if error.detail else None), error
    if error.status in NO_SUCH_ROUTE:
        return False, error
    # Servers were seen that say 500 for what isn't there.
    return (True if isinstance(error, (NotFound, RequestRefused)) else None), error


async def _error_of(account: Account, where: str) -> RemoteError | None:
    try:
        await account.get(where, patient=False)
    except RemoteError as error:
        return error
    return None


def _is_same_answer(one: RemoteError, other: RemoteError) -> bool:
    """Whether two answers differ in nothing but the path that was asked for."""

    def words(error: RemoteError) -> str:
        return re.sub(r"\S*(responses|resp_0+|nowhere_0+)\S*", "*", error.detail)

    return one.status == other.status and words(one) == words(other)


# -- models --------------------------------------------------------------------------------------------


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    shutdown_date: str | int | float | None = None


class _Models(msgspec.Struct, frozen=True, kw_only=True):
    data: list[_Model] = []
    value: list[Deployment] = []


async def models(account: Account) -> Mapping[str, date | None]:
    """The models that an assistant of the account may have, with the days on which they end. Those of a Foundry project
    are its deployments; where it has no list of those, what any other server lists.

    Raises as ``Account.get``, and msgspec.DecodeError for what can't be read.
    """
    if account.endpoint.is_foundry:
        with suppress(NotFound):
            return dict.fromkeys((one.name for one in await deployments(account)), None)
    return read_models((await account.get("/models", patient=False)).raw)


def read_models(raw: bytes) -> Mapping[str, date | None]:
    """The answer of ``GET /models``, or a page of Azure's ``GET /deployments``. Raises msgspec.DecodeError."""
    found = msgspec.json.decode(raw, type=_Models)
    models = {model.id: shutdown(model.shutdown_date) for model in found.data}
    return models | {deployment.name: None for deployment in found.value}


def shutdown(value: object) -> date | None:
    """A model's ``shutdown_date``: a date, a time or Unix seconds; None for none, and for what can't be read."""
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, str):
            return date.fromisoformat(value[:10])
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return day(value)
    return None


def day(now: float) -> date:
    """The day, UTC, of a time in Unix seconds."""
    return datetime.fromtimestamp(now, UTC).date()


# -- the lists of a Foundry project --------------------------------------------------------------------

# So many pages, and bytes of all of them, are read of a list without end.
_MOST_PAGES = 100
_MOST_BYTES = 16 << 20


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A model under the name that its owner gave it, which is what an agent's ``model`` names."""

    name: str
    model: str | None = None
    version: str | None = None


class ProjectConnection(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the project may use. ``id`` is its ARM id, ``type`` the kind of service."""

    name: str
    id: str | None = None
    type: str | None = None


class _Deployment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    model_name: str | None = None
    model_version: str | None = None


class _ValuePage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    value: list[msgspec.Raw]
    next_link: str | None = None


async def deployments(account: Account) -> list[Deployment]:
    """All deployments of a project. Raises as ``Account.get``, and UnexpectedAnswer for what is no list."""
    found = await _project_list(account, "/deployments", _Deployment)
    return [Deployment(name=one.name, model=one.model_name, version=one.model_version) for one in found]


async def connections(account: Account) -> list[ProjectConnection]:
    """All connections of a project. Raises as ``deployments``."""
    return await _project_list(account, "/connections", ProjectConnection)


async def _project_list(account: Account, where: str, of: type[T]) -> list[T]:
    found: list[T] = []
    params: dict[str, str] = {}
    links: set[str] = set()
    size = 0
    while len(links) < _MOST_PAGES and size < _MOST_BYTES:
        answer = await account.get(where, params)
        size += len(answer.raw)
        try:
            page = msgspec.json.decode(answer.raw, type=_ValuePage)
        except msgspec.DecodeError as error:
            raise account.unreadable(f"can't list {where}", answer, error) from None
        for item in page.value:
            with suppress(msgspec.DecodeError):  # without a name it can't be used
                found.append(msgspec.json.decode(item, type=of))
        if not page.next_link or page.next_link in links:
            return found
        links.add(page.next_link)
        # The same path at the same address: behind a gateway a link names the server behind it.
        params = _link_query(page.next_link)
    raise UnexpectedAnswer(f"can't list {where}: too long: stopped after {len(found)} items in {len(links)} pages")


def _link_query(link: str) -> dict[str, str]:
    with suppress(ValueError):
        return dict(parse_qsl(urlsplit(link).query, keep_blank_values=True))
    return {}
