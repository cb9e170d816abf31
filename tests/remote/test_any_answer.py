"""Whatever JSON a server answers with: each reader gives what it can use, or raises the error that it declares."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdall.endpoint import endpoint
from holdall.errors import RemoteError, UnexpectedAnswer
from holdall.importer.destination.objects import Objects
from holdall.importer.runs.runfolder import listed, stamps
from holdall.model import AssistantView, Fidelity, FileView, Kind, Record, SourceId, StoreView, TargetId, epoch_seconds
from holdall.parsedtext import StoredText
from holdall.remote import client, refusals, tokens
from holdall.remote.account_errors import AccountErrors
from holdall.remote.client import Account, viewed
from holdall.remote.containers import Containers, NoContainer
from holdall.remote.contents import ContentFetcher, Holder
from holdall.remote.hints import RequestTarget
from holdall.remote.limits import Limits
from holdall.remote.parsed import read_parsed
from holdall.remote.survey import Surveyor
from holdall.untrusted import require_plain
from tests.sweep import examples

KEYS = [
    "id",
    "object",
    "data",
    "has_more",
    "first_id",
    "last_id",
    "bytes",
    "created_at",
    "filename",
    "purpose",
    "name",
    "metadata",
    "file_counts",
    "total",
    "status",
    "tools",
    "tool_resources",
    "file_search",
    "vector_store_ids",
    "code_interpreter",
    "file_ids",
    "connected_agent",
    "type",
    "text",
    "content",
    "next_page",
    "error",
    "message",
    "code",
    "param",
    "detail",
    "deleted",
    "value",
    "shutdown_date",
    "usage_bytes",
    "attributes",
    "chunking_strategy",
    "holdall_op",
    "cloned_from",
]
numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**100, -1, 2**63, 2**64, 1e308, 10**18]),
)
words = st.one_of(st.text(max_size=8), st.sampled_from(["a", "x" * 600, "/", "..", "\0", "1e999", "invented_x_1"]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(KEYS), words), inner, max_size=6)
    ),
    max_leaves=25,
)
records = st.fixed_dictionaries(
    {"id": st.one_of(words, values)},
    optional={key: st.one_of(values, words, numbers) for key in KEYS if key != "id"},
)
pages = st.fixed_dictionaries(
    {"data": st.one_of(st.lists(st.one_of(records, values), max_size=4), values)},
    optional={"has_more": st.one_of(st.booleans(), values), "next_page": st.one_of(words, values)},
)
documents = st.one_of(values, records, pages)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON of some shape; now and then damaged, or what no decoder likes."""
    raw = json.dumps(draw(documents), ensure_ascii=draw(st.booleans())).encode()
    if draw(st.integers(0, 9)) == 0 and raw:
        place = draw(st.integers(0, len(raw) - 1))
        damage = draw(st.sampled_from([b"", b'"', b"\xff", b"NaN", b"1" * 5000, b"[" * 3000, b"\\ud800", b"\n", b"}{"]))
        raw = raw[:place] + damage + raw[place + 1 :]
    if draw(st.integers(0, 9)) == 0:
        raw = (
            draw(st.sampled_from([b"\xef\xbb\xbf", b"\n\n", b""])) + raw + draw(st.sampled_from([b"\r\n", b"<!-- -->"]))
        )
    return raw


class _Nowhere:
    """A sink that keeps nothing."""

    def write(self, data: bytes) -> None: ...
    def commit(self) -> None: ...
    def commit_in_memory(self) -> bool:
        return False

    def abort(self) -> None: ...


class _Sinks:
    def content(self, fidelity: Fidelity) -> _Nowhere:
        return _Nowhere()

    def text(self, store_id: SourceId) -> _Nowhere:
        return _Nowhere()


def answering(answers: list[bytes]) -> Account:
    """An account whose server gives these answers in turn, again and again."""

    async def no_time(seconds: float) -> None: ...

    account = Account(endpoint("sk-test-000001", "http://127.0.0.1:9/v1"), limits=Limits(3, sleep=no_time))
    given = iter(answers * 100)

    async def json(method: str, where: str, *, is_page: bool = False, **asked: Any) -> Any:
        request = httpx2.Request(method, "http://127.0.0.1:9/v1" + where)
        response = httpx2.Response(200, content=next(given, b"null"), request=request)
        return account._answer(f"can't {method} {where[:99]}", response, is_page=is_page)

    account.json = json  # type: ignore[method-assign,assignment]
    return account


async def _all(found: Any) -> list[Any]:
    return [each async for each in found]


async def _contents(account: Account) -> None:
    view = FileView(id="file-1", bytes=3, filename="a.txt", purpose="assistants")
    fetcher = ContentFetcher(account)
    fetcher._refused["assistants"] = RemoteError("refused")
    holders = [Holder(store=SourceId("vs_1"))]
    await fetcher.fetch(SourceId("file-1"), view, holders, _Sinks())


async def _containers(account: Account) -> None:
    async with Containers(account, name="ours") as containers:
        await containers._make()


READERS: dict[str, Callable[[Account], Awaitable[object]]] = {
    "get": lambda account: account.get("/models"),
    "items": lambda account: _all(account.items("/assistants")),
    "delete": lambda account: account.delete("/files/file-1"),
    "assistants": lambda account: Surveyor(account).definitions(Kind.ASSISTANT),
    "agents": lambda account: Surveyor(account).definitions(Kind.AGENT),
    "stores": lambda account: Surveyor(account).definitions(Kind.STORE),
    "files": lambda account: Surveyor(account).files(),
    "file pages": lambda account: _all(Surveyor(account).file_pages("assistants")),
    "memberships": lambda account: _all(Surveyor(account).memberships(SourceId("vs_1"))),
    "store": lambda account: Surveyor(account).one(Kind.STORE, SourceId("vs_1")),
    "file": lambda account: Surveyor(account).one(Kind.FILE, SourceId("file-1")),
    "text": lambda account: read_parsed(account, "/vector_stores/vs_1/files/file-1/content", _Nowhere()),
    "contents": _contents,
    "containers": _containers,
    "probe": client.probe,
    "any endpoint": client.require_any_endpoint,
    "responses": client.responses,
    "listed": lambda account: _all(listed(account, Kind.FILE)),
    "stamps": lambda account: _all(stamps(account)),
}


@pytest.mark.parametrize("reader", READERS)
@examples(60)
@given(answers=st.lists(bodies(), min_size=1, max_size=3))
@example(answers=[b'{"data":[{"id":"' + b"x" * 100_000 + b'"}],"has_more":true}'])
@example(answers=[b'{"id":"a","bytes":1' + b"0" * 100 + b',"created_at":1e300}'])
def test_each_reader(reader: str, answers: list[bytes]) -> None:
    async def main() -> None:
        async with answering(answers) as account:
            with suppress(RemoteError, NoContainer):
                await READERS[reader](account)

    asyncio.run(main())


class _Kept(_Nowhere):
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


pages = st.builds(
    lambda space, page, behind: (space + json.dumps(page) + behind).encode(),
    st.sampled_from(["", " ", "\n" * 5000, "\r\n\t"]),
    st.fixed_dictionaries(
        {},
        optional={
            "data": st.lists(st.fixed_dictionaries({}, optional={"text": st.none() | st.text(max_size=9)}), max_size=3),
            "content": st.none() | st.lists(documents, max_size=2),
            "x": documents,
            "has_more": st.booleans(),
            "next_page": st.sampled_from(["a", "b", "c"]),
        },
    ),
    st.sampled_from(["", " " * 5000, "\n"]),
)


@examples(300)
@given(answers=st.lists(pages | bodies(), min_size=1, max_size=3))
@example(answers=[b" " * 5000 + b'{"data":[{"text":"a"}]}' + b"\n" * 5000])
def test_what_is_read_of_a_text_is_what_readers_take_for_one(answers: list[bytes]) -> None:
    kept = _Kept()
    parts: list[str] = []

    async def main() -> bool:
        async with answering(answers) as account:
            return (await read_parsed(account, "/content", kept, parts.extend)).truncated

    with suppress(RemoteError):
        truncated = asyncio.run(main())
        text = StoredText(take=lambda found: [parts.remove(part) for part in found])
        for at in range(0, len(kept.data), 997):
            text.feed(kept.data[at : at + 997])
        assert text.end() == truncated
        assert not parts


@examples(200)
@given(answers=st.lists(bodies(), min_size=1, max_size=2))
def test_what_stands_at_a_destination(answers: list[bytes]) -> None:
    kinds = {Kind.ASSISTANT: b'{"id":"a"}', Kind.AGENT: b'{"id":"a"}', Kind.STORE: b'{"id":"a"}'}

    async def main() -> None:
        for kind, raw in kinds.items():
            id = SourceId("a")
            objects = Objects(kind, {id: Record(kind=kind, id=id, raw=raw)}, {id: [TargetId("a")]}, prefix="")
            async with answering(answers) as account:
                try:
                    await objects.read(account)
                    for found, _ in objects.matches().values():
                        found.fields()
                    assert objects.usage is None or objects.usage >= 0
                except RemoteError:
                    pass

    asyncio.run(main())


@examples(300)
@given(
    status=st.sampled_from([400, 401, 402, 403, 404, 408, 409, 413, 429, 500, 501, 503]),
    text=st.one_of(bodies().map(lambda raw: raw.decode("utf-8", "replace")), st.text("<>/ahtml &#1;'\"")),
    headers=st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-requests", "content-type", "x-request-id"]
        ),
        st.one_of(words, numbers.map(str), st.just("Mon, 31 Feb 99999 99:99:99 +99999999"), st.text("0123456789.msh")),
    ),
)
def test_each_error(status: int, text: str, headers: dict[str, str]) -> None:
    target = RequestTarget(side="source", endpoint=endpoint("sk-test-000001"))
    error = AccountErrors(target, lambda: ("sk-test-000001",)).refused("can't do it", status, headers, text)
    refusal = refusals.read(error)
    refusal.blames(["name"])
    refusal.endings()
    refusal.most(100)
    refusals.missing_scopes(error)
    assert len(error.message) < 1000


@examples(200)
@given(raw=bodies(), printed=st.text(max_size=20))
def test_each_decoder(raw: bytes, printed: str) -> None:
    tokens.ends_at(f"a.{printed}.c")
    try:
        require_plain(raw)
    except ValueError:
        return
    for of in (AssistantView, StoreView, FileView):
        with suppress(UnexpectedAnswer):
            assert 0 <= epoch_seconds(viewed(raw, of, "it").created_at) < 1 << 40
    with suppress(msgspec.DecodeError):
        client.read_models(raw)
