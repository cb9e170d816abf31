"""The account over the network, against a server in this process that says what the test wants."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import openai
import pytest

from holdall.endpoint import Endpoint, endpoint
from holdall.errors import (
    AuthenticationFailed,
    NotFound,
    NotTheApi,
    RemoteError,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
    Unreachable,
    UsageFault,
)
from holdall.remote import client, lists
from holdall.remote.client import Account, path
from holdall.remote.limits import Limits

Reply = tuple[int, dict[str, str], bytes]


class Script:
    """A server that answers each request by a function of (method, path with query, headers, body)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[str, str], Reply] = lambda method, target: (200, {}, b'{"deleted":true}')
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.seen.append((self.command, self.path, headers, body))
                status, extra, content = script.answer(self.command, self.path)
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                if int(extra.get("content-length", len(content))) != len(content):
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint: Endpoint = endpoint("sk-test-000001", f"http://127.0.0.1:{self.server.server_port}/v1")


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def use(script: Script, work: Callable[[Account], Any], at: Endpoint | None = None) -> Any:
    """Run ``work`` with an account whose waits take no time."""

    async def main() -> Any:
        async def no_time(seconds: float) -> None:
            await asyncio.sleep(0)

        async with Account(at or script.endpoint, limits=Limits(3, sleep=no_time)) as account:
            return await work(account)

    return asyncio.run(main())


PRINT_ANOTHER_TOKEN = "import uuid; print('token-' + uuid.uuid4().hex)"

AMBIENT = {
    "OPENAI_API_KEY": "sk-ambient-key",
    "OPENAI_ADMIN_KEY": "sk-admin-ambient",
    "OPENAI_ORG_ID": "org-ambient",
    "OPENAI_PROJECT_ID": "proj_ambient",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/ambient",
    "OPENAI_CUSTOM_HEADERS": "X-Ambient: ambient\nAuthorization: Bearer ambient",
    "OPENAI_WEBHOOK_SECRET": "ambient",
    "OPENAI_API_VERSION": "ambient",
    "OPENAI_API_TYPE": "openai",
    "OPENAI_AD_TOKEN": "ambient",
}


def test_each_beta_is_asked_for_by_its_own_header_and_only_where_it_belongs(script: Script) -> None:
    betas = {
        "/assistants": "assistants=v2",
        "/vector_stores/vs_1/files": "assistants=v2",
        "/agents": "agents=v1",
        "/agents/a": "agents=v1",
        "/agentsmith": None,
        "/files": None,
        "/models": None,
        "/responses/resp_0": None,
        "/containers": None,
    }
    for where in betas:
        use(script, lambda account, where=where: account.get(where))
    assert [headers.get("openai-beta") for _, _, headers, _ in script.seen] == list(betas.values())


def test_only_a_request_with_a_body_says_of_what_type_it_is(script: Script) -> None:
    async def work(account: Account) -> None:
        await account.delete("/vector_stores/vs_1")
        await account.get("/models")
        await account.post("/containers", {"name": "c"})

    use(script, work)
    assert [headers.get("content-type") for _, _, headers, _ in script.seen] == [None, None, "application/json"]


def test_a_request_with_a_content_has_the_headers_and_the_query_of_all_others(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = endpoint(
        "sk-test-000001", f"{script.endpoint.base_url}?api-version=v1", organization="org-1", project="proj_1"
    )
    made: list[str] = []
    real = openai.AsyncOpenAI.request

    async def request(self: openai.AsyncOpenAI, cast_to: Any, options: Any, **more: Any) -> Any:
        made.append(options.url)
        return await real(self, cast_to, options, **more)

    monkeypatch.setattr(openai.AsyncOpenAI, "request", request)
    unpacked: list[str] = []
    unpack = httpx2.Response.aiter_bytes

    def aiter_bytes(self: httpx2.Response) -> Any:
        unpacked.append(self.request.method + self.url.path)
        return unpack(self)

    monkeypatch.setattr(httpx2.Response, "aiter_bytes", aiter_bytes)

    async def work(account: Account) -> None:
        await account.get("/models")
        await account.upload("a.txt", io.BytesIO(b"x"), purpose="assistants")
        await account.upload_zip("/skills/skill_1/versions", "a.zip", io.BytesIO(b"x"))
        for of in ({}, {"container": "cntr_1"}, {"skill": "skill_1"}):
            async with account.download("1", **of) as download:
                assert [chunk async for chunk in download.chunks]

    use(script, work, at)
    names = ("authorization", "openai-organization", "openai-project", "user-agent")
    assert {tuple(headers[name] for name in names) for _, _, headers, _ in script.seen} == {
        ("Bearer sk-test-000001", "org-1", "proj_1", script.seen[0][2]["user-agent"])
    }
    assert [target for _, target, _, _ in script.seen] == [
        f"/v1{path}?api-version=v1"
        for path in (
            "/models",
            "/files",
            "/skills/skill_1/versions",
            "/files/1/content",
            "/containers/cntr_1/files/1/content",
            "/skills/skill_1/versions/1/content",
        )
    ]
    # The SDK takes as long to make a request as it takes to send it, and what the transport unpacked is not once more.
    assert made == ["/models"]
    assert unpacked == ["GET/v1/models", "POST/v1/files", "POST/v1/skills/skill_1/versions"]


def test_no_ambient_variable_reaches_a_request(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)

    async def work(account: Account) -> None:
        await account.get("/models")
        await account.post("/assistants", {"model": "gpt-4o"})
        await account.upload("a.txt", io.BytesIO(b"x"), purpose="assistants")
        await account.delete("/files/file-1")
        async with account.download("file-1") as download:
            assert [chunk async for chunk in download.chunks] == [b'{"deleted":true}']

    use(script, work)
    assert len(script.seen) == 5
    for _, target, headers, body in script.seen:
        sent = f"{target} {headers} {body!r}".lower()
        assert "ambient" not in sent
        assert headers["authorization"] == "Bearer sk-test-000001"
        assert "openai-organization" not in headers
        assert "openai-project" not in headers
    assert {name: os.environ[name] for name in AMBIENT} == AMBIENT


def test_scope_and_query_go_on_every_request(script: Script) -> None:
    at = endpoint(
        "sk-test-000001", f"{script.endpoint.base_url}?api-version=v1", organization="org-a", project="proj_b"
    )

    async def work(account: Account) -> None:
        await account.get("/assistants", {"limit": 1})
        await account.post("/vector_stores", {})

    use(script, work, at)
    for _, target, headers, _ in script.seen:
        assert "api-version=v1" in target
        assert target.startswith(("/v1/assistants?", "/v1/vector_stores?"))
        assert (headers["openai-organization"], headers["openai-project"]) == ("org-a", "proj_b")


def collect(account: Account, where: str) -> Any:
    async def work() -> list[bytes]:
        return [item async for page in account.pages(where) for item in page]

    return work()


def page(*ids: str, **more: Any) -> Reply:
    return 200, {}, json.dumps({"data": [{"id": i} for i in ids], **more}).encode()


def pages(*replies: Reply) -> Callable[[str, str], Reply]:
    queue = list(replies)
    return lambda method, target: queue.pop(0) if len(queue) > 1 else queue[0]


@pytest.mark.parametrize(
    ("replies", "expected", "requests"),
    [
        ([page("a", "b", has_more=True), page("c", has_more=False)], "abc", 2),
        ([page("a", "b"), page("c"), page()], "abc", 3),  # no has_more, but pages that end
        ([page("a", "b"), page("a", "b"), page("a", "b"), page("c", "b")], "abc", 4),  # the newest first, to be sure
        ([page("a", "b", has_more=True), page("a", "b", has_more=True)], "ab", 4),  # has_more for ever
        ([page("a", "b", has_more=True), page("b", "c", has_more=False)], "abc", 2),  # overlapping pages
        ([page(has_more=True)], "", 1),
        ([(200, {}, b'{"data": null, "has_more": false}')], "", 1),
    ],
)
def test_lists_are_read_whole_and_end(script: Script, replies: list[Reply], expected: str, requests: int) -> None:
    script.answer = pages(*replies)
    got = use(script, lambda account: collect(account, "/assistants"))
    assert "".join(json.loads(item)["id"] for item in got) == expected
    assert len(script.seen) == requests
    assert all("order=asc" in target for _, target, _, _ in script.seen[:3])


def test_items_are_the_servers_own_bytes(script: Script) -> None:
    item = b'{ "id": "a", "x": 3.0, "y": 1e400, "z": "\\u00e9",\n  "big": 123456789012345678901234567890 }'
    script.answer = lambda *_: (200, {}, b'{"data": [ ' + item + b' ], "has_more": false}')
    assert use(script, lambda account: collect(account, "/assistants")) == [item]


@pytest.mark.parametrize("body", [b"<html>login</html>", b'{"data": 5}', b'{"items": []}', b"[]", b"", b"null"])
def test_what_is_no_list_is_an_error_not_an_empty_project(script: Script, body: bytes) -> None:
    script.answer = lambda *_: (200, {}, body)
    with pytest.raises((UnexpectedAnswer, NotFound)):
        use(script, lambda account: collect(account, "/assistants"))


def test_reads_are_repeated_through_failures_and_writes_are_not(script: Script) -> None:
    script.answer = pages((500, {}, b"<html>"), (503, {}, b"{}"), (429, {}, b"{}"), (200, {}, b'{"id":"x"}'))
    assert use(script, lambda account: account.get("/models")).raw == b'{"id":"x"}'
    assert len(script.seen) == 4
    script.seen.clear()
    script.answer = pages((500, {}, b"{}"), (200, {}, b"{}"))
    with pytest.raises(ServerFailed) as caught:
        use(script, lambda account: account.post("/vector_stores", {}))
    assert caught.value.ambiguous
    assert len(script.seen) == 1


@pytest.mark.parametrize("drops_first", [True, False])
def test_a_server_that_answers_and_drops_connections_in_between_is_no_unreachable_one(
    script: Script, drops_first: bool
) -> None:
    def answer(method: str, target: str) -> Reply:
        dropped = len(script.seen) % 2 == drops_first
        return (200, {"content-length": "9"}, b"") if dropped else (500, {}, b"{}")

    script.answer = answer
    with pytest.raises(ServerFailed):
        use(script, lambda account: account.get("/files/file-gone"))


def test_a_rate_limited_write_is_repeated(script: Script) -> None:
    script.answer = pages(
        (429, {"retry-after": "1"}, b'{"error":{"code":"rate_limit_exceeded"}}'), (200, {}, b'{"id":"x"}')
    )

    async def work(account: Account) -> Any:
        return await account.upload("n.txt", io.BytesIO(b"bytes"), purpose="assistants")

    assert use(script, work).raw == b'{"id":"x"}'
    assert [b"bytes" in body for _, _, _, body in script.seen] == [True, True]


def test_a_zip_goes_up_as_the_one_file_of_a_form_and_again_from_its_start(script: Script) -> None:
    answers = iter([(429, {"retry-after": "0"}, b"{}"), (200, {}, b'{"id": "skill_1"}')])
    script.answer = lambda method, target: next(answers)
    use(script, lambda account: account.upload_zip("/skills/skill_1/versions", "s.zip", io.BytesIO(b"PK-bytes")))
    assert [(method, target) for method, target, *_ in script.seen] == [("POST", "/v1/skills/skill_1/versions")] * 2
    for _, _, headers, body in script.seen:
        assert headers["content-type"].startswith("multipart/form-data; boundary=")
        assert body.count(b"PK-bytes") == body.count(b'name="files"; filename="s.zip"') == 1


def test_an_upload_is_read_in_a_thread_and_in_pieces(script: Script) -> None:
    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            sizes.add(size)
            threads.add(threading.get_ident())
            return super().read(size)

    sizes: set[int | None] = set()
    threads: set[int] = set()
    script.answer = lambda *_: (200, {}, b'{"id":"x"}')
    use(script, lambda account: account.upload("n", Watched(b"some bytes" * 1_000_000), purpose="assistants"))
    assert script.seen[0][3].count(b"some bytes") == 1_000_000
    assert threading.get_ident() not in threads
    assert sizes == {1 << 20}


def test_a_cut_body_never_passes_for_whole(script: Script) -> None:
    script.answer = lambda *_: (200, {"content-length": "1000"}, b"only this")

    async def work(account: Account) -> None:
        async with account.download("file-1") as download:
            async for _ in download.chunks:
                pass

    with pytest.raises(Unreachable):
        use(script, work)


def test_a_redirect_that_makes_a_read_of_a_write_is_no_answer(script: Script) -> None:
    def answer(method: str, target: str) -> Reply:
        return (200, {}, b'{"id": "file-other"}') if method == "GET" else (301, {"location": "/v1/moved"}, b"")

    script.answer = answer
    with pytest.raises(NotTheApi, match="would turn POST into GET") as caught:
        use(script, lambda account: account.upload("n.txt", io.BytesIO(b"x"), purpose="assistants"))
    assert caught.value.ambiguous
    script.answer = lambda method, target: (
        (200, {}, b"{}") if "moved" in target else (307, {"location": "/v1/moved"}, b"")
    )
    assert use(script, lambda account: account.post("/assistants", {})).raw == b"{}"
    script.seen.clear()
    use(script, lambda account: account.upload("n.txt", io.BytesIO(b"bytes"), purpose="assistants"))
    assert [b"bytes" in body for _, _, _, body in script.seen] == [True, True]


def test_nobody_there_is_one_sentence_and_certainly_not_carried_out() -> None:
    nowhere = endpoint("sk-test-000001", "http://127.0.0.1:9/v1")

    async def main() -> None:
        async def no_time(seconds: float) -> None: ...

        async with Account(nowhere, limits=Limits(1, sleep=no_time)) as account:
            await account.post("/assistants", {})

    with pytest.raises(Unreachable, match=r"can't reach 127\.0\.0\.1:9") as caught:
        asyncio.run(main())
    assert not caught.value.ambiguous


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "gopher://x"),
        ("ALL_PROXY", "socks4://x:1"),
        ("https_proxy", "socks5://x:1"),
        ("HTTPS_PROXY", "http://user:1#secret@x:1"),
        ("HTTPS_PROXY", "http://user:1/secret@x:1"),
        ("HTTPS_PROXY", "http://[secret"),
        ("HTTPS_PROXY", "http://x:secret"),
        ("HTTPS_PROXY", "http://x:0"),
        ("HTTPS_PROXY", "http://secret y"),
        ("HTTPS_PROXY", "http://"),
        ("SSL_CERT_FILE", __file__),
    ],
)
def test_an_environment_that_allows_no_connection_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for other in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageFault, match=r"can.t use the proxy of|can.t set up connections to") as caught:
        Account(endpoint("sk-test-000001", "https://x.example/v1"))
    said = caught.value.message + caught.value.hint
    assert name in said
    assert "secret" not in said


def test_ids_cannot_leave_their_place_in_a_path() -> None:
    assert path("/files/{}/content", "a/../../b?x#y") == "/files/a%2F..%2F..%2Fb%3Fx%23y/content"
    assert path("/files/{}", "..") == "/files/%2E%2E"


def test_every_error_of_the_sdk_and_of_its_transport_is_mapped() -> None:
    request = httpx2.Request("GET", "http://127.0.0.1/v1")
    response = httpx2.Response(418, request=request, text="{}")

    def walk(cls: type[Exception]) -> list[type[Exception]]:
        return [cls, *(leaf for sub in cls.__subclasses__() for leaf in walk(sub))]

    def made(cls: type[Exception]) -> Exception:
        error = cls.__new__(cls)
        Exception.__init__(error, "sk-test-000001 leaked")
        if isinstance(error, openai.APIStatusError):
            error.response = response
        return error

    account = Account(endpoint("sk-test-000001", "http://127.0.0.1:9/v1"))
    for cls in [*walk(openai.OpenAIError), *walk(httpx2.HTTPError)]:
        mapped = account.mapped("can't do it", made(cls))
        assert isinstance(mapped, RemoteError), cls
        assert "leaked" not in mapped.message or "sk-test" not in mapped.message
        assert mapped.message.startswith("can't do it: ")
    asyncio.run(account.__aexit__())


def test_a_token_that_ended_early_is_renewed_once_and_the_request_repeated(script: Script) -> None:
    at = endpoint("", script.endpoint.base_url, token_command=(sys.executable, "-c", PRINT_ANOTHER_TOKEN))
    refused: list[str] = []

    def answer(method: str, target: str) -> Reply:
        header = script.seen[-1][2]["authorization"]
        if not refused or header == refused[0]:
            refused.append(header)
            return 401, {}, b'{"error": {"message": "token expired", "code": "401"}}'
        return 200, {}, b'{"id": "x"}'

    script.answer = answer
    assert use(script, lambda account: account.post("/vector_stores", {}), at).raw == b'{"id": "x"}'
    assert len(script.seen) == 2
    script.answer = lambda *_: (401, {}, b"{}")
    with pytest.raises(AuthenticationFailed):
        use(script, lambda account: account.get("/models"), at)
    assert len(script.seen) == 4


def test_a_list_without_end_is_an_error_where_nobody_is_told_of_a_doubt(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST", 30)
    monkeypatch.setattr(lists, "_UNCOUNTED", 5)
    numbers = iter(range(1000))

    def answer(method: str, target: str) -> Reply:
        if target == "/v1/vector_stores/vs_1":
            return 200, {}, b'{"id":"vs_1","file_counts":{"total":40}}'
        shown = [{"id": f"file-{next(numbers)}"} for _ in range(10)]
        return 200, {}, json.dumps({"data": shown, "has_more": True}).encode()

    script.answer = answer
    with pytest.raises(UnexpectedAnswer, match="/assistants: too long: stopped after 30 items in 3 pages"):
        use(script, lambda account: _whole(account, "/assistants"))
    doubts: list[str] = []
    assert len(use(script, lambda account: _whole(account, "/assistants", doubts.append))) == 30
    assert len(use(script, lambda account: _whole(account, "/vector_stores/vs_1/files", doubts.append))) == 85
    assert len(doubts) == 2

    async def both(account: Account) -> int:
        await _whole(account, "/assistants", doubts.append)
        return len(await _whole(account, "/agents", doubts.append))

    assert use(script, both) == 3


async def _whole(account: Account, where: str, doubt: Callable[[str], None] | None = None) -> list[bytes]:
    return [item async for item in account.items(where, doubt=doubt)]


def test_a_path_that_cannot_be_there_is_asked_for_once(script: Script) -> None:
    script.answer = lambda method, target: (200, {"content-type": "text/html"}, b"<html><title>Welcome</title></html>")

    async def work(account: Account) -> None:
        for _ in range(2):
            with pytest.raises(NotTheApi):
                await client.require_any_endpoint(account)

    use(script, work)
    assert len([target for _, target, _, _ in script.seen if "nowhere_" in target]) == 1


def test_an_outage_is_no_answer_to_a_path_that_cannot_be_there(script: Script) -> None:
    script.answer = lambda method, target: (503, {}, b"")

    async def work(account: Account) -> bool:
        await client.is_absent(account, ServerFailed("busy", status=503))
        script.answer = lambda method, target: (404, {}, b"")
        return await client.is_absent(account, ServerFailed("busy", status=503))

    assert not use(script, work)


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_fits_no_path_is_refused(script: Script, id: str) -> None:
    async def work(account: Account) -> None:
        async with account.download(id):
            pass

    with pytest.raises(RequestRefused, match="can't download file"):
        use(script, work)
    assert not script.seen


def test_a_page_of_more_values_than_any_has_is_not_decoded(script: Script) -> None:
    page = b'{"data":[' + b",".join(b'{"id":"f%d"}' % number for number in range(600_000)) + b'],"has_more":false}'
    script.answer = lambda method, target: (200, {}, page)
    with pytest.raises(UnexpectedAnswer, match="more than 1000000 values"):
        use(script, lambda account: _whole(account, "/files"))


def test_one_page_of_a_store_that_counts_one_file_is_cut_and_doubted(script: Script) -> None:
    def answer(method: str, target: str) -> Reply:
        if target == "/v1/vector_stores/vs_1":
            return 200, {}, b'{"id":"vs_1","file_counts":{"total":1}}'
        shown = [{"id": f"file-{number}"} for number in range(1500)]
        return 200, {}, json.dumps({"data": shown, "has_more": False}).encode()

    script.answer = answer
    doubts: list[str] = []
    found = use(script, lambda account: _whole(account, "/vector_stores/vs_1/files", doubts.append))
    assert len(found) == 502
    assert doubts == ["too long: stopped after 502 items in 1 pages"]


@pytest.mark.parametrize(
    ("said", "more"),
    [("true", True), ("1", True), ('"true"', True), ('"next"', True), ("false", False), ("0", False), ("null", None)],
)
def test_what_a_page_says_of_more_is_read_however_it_is_written(said: str, more: bool | None) -> None:
    page = lists.read_page(b'{"data": [], "has_more": %s}' % said.encode(), "/files")
    assert page
    assert page.has_more is more
