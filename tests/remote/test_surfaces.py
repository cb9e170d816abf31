"""A Foundry project over the network: where requests go, and what is read where; the server holds to the rules."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from holdall.endpoint import Endpoint, endpoint
from holdall.errors import NotFound, PermissionDenied, RemoteError, RequestRefused, UnexpectedAnswer
from holdall.model import Kind, SourceId
from holdall.remote import client
from holdall.remote.client import Account
from holdall.remote.limits import Limits
from holdall.remote.survey import Surveyor
from holdall.remote.wire import Surface
from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running

BOTH = (Surface.CURRENT, Surface.CLASSIC)
NOT_OWNED = (400, {"error": {"code": "invalid_parameters", "param": None, "message":
    "Files [assistant-1] were not found due to ownership verification failure"}})  # fmt: skip
OTHER_FORM = (400, {"error": {"message": "Invalid 'file_id': 'file-1'. Expected an ID that begins with 'assistant'."}})
WITHHELD = (400, {"error": {"message": "Not allowed to download files of purpose: assistants"}})
NO_METHOD = (405, {"error": {"message": "Method not allowed"}})
GONE = (404, {"error": {"code": "404", "message": "Resource not found"}})


def page(*ids: str, **more: Any) -> tuple[int, Any]:
    return 200, {"data": [{"id": id, **more} for id in ids], "has_more": False}


class Project:
    """A project that answers what ``has`` says by surface and path, and else 404; OWN are Foundry's own paths."""

    OWN = "own"

    def __init__(self) -> None:
        self.has: dict[tuple[str, str], tuple[int, Any]] = {}
        self.previews: dict[str, str] = {}
        """By path, what has to be asked for by name."""
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        project = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                project.headers.append({name.lower(): value for name, value in self.headers.items()})
                status, body = project.answer(self.command, self.path)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/projects/p"

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        parts = urlsplit(target)
        path = parts.path.removeprefix("/api/projects/p")
        query = parse_qs(parts.query)
        version = query.get("api-version", [None])[0]
        if path.startswith("/openai/v1/"):
            surface, path = "current", path.removeprefix("/openai/v1")
            if version is not None:
                return 400, {"error": {"code": "BadRequest", "message": "unknown query parameter: api-version"}}
        else:
            own = path.split("/")[1] in ("agents", "deployments", "connections", "skills")
            surface = self.OWN if own else "classic"
            if version is None or (own and version != "v1"):
                return 400, {
                    "error": {"code": "BadRequest", "message": "Missing required query parameter: api-version"}
                }
        rest = "&".join(f"{name}={value[0]}" for name, value in query.items() if name in ("skip", "after"))
        self.seen.append(f"{method} {surface} {path}{rest and '?'}{rest}")
        if (flag := self.previews.get(path)) and f"{flag}=V1Preview" not in self.headers[-1].get(
            "foundry-features", ""
        ):
            said = f"This operation requires the following opt-in preview feature(s): {flag}=V1Preview."
            return 403, {"error": {"code": "preview_feature_required", "param": "Foundry-Features", "message": said}}
        if rest:
            return self.has.get((surface, f"{path}?{rest}"), GONE)
        return self.has.get((surface, path), GONE)


@pytest.fixture
def project() -> Iterator[Project]:
    made = Project()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class Seen:
    """An account of a project, and what was asked since the last look."""

    def __init__(self, project: Project, account: Account) -> None:
        self.project, self.account, self.loop = project, account, asyncio.new_event_loop()

    def run(self, doing: Any) -> Any:
        return self.loop.run_until_complete(doing)

    def requests(self) -> list[str]:
        found = list(self.project.seen)
        self.project.seen.clear()
        return found

    def get(self, where: str) -> Any:
        return json.loads(self.run(self.account.get(where)).raw)

    def ids(self, where: str) -> list[str]:
        async def all_of() -> list[str]:
            return [json.loads(item)["id"] async for page in self.account.pages(where) for item in page]

        found: list[str] = self.run(all_of())
        return found

    def content(self, id: str) -> bytes:
        async def whole() -> bytes:
            async with self.account.download(id) as body:
                return b"".join([chunk async for chunk in body.chunks])

        found: bytes = self.run(whole())
        return found


@contextmanager
def seen(
    project: Project, surfaces: tuple[Surface, ...] = BOTH, query: str = "", side: str = "source"
) -> Iterator[Seen]:
    async def no_sleep(_: float) -> None: ...

    at = endpoint("token", project.url + query)
    made = Seen(project, Account(at, side=side, surfaces=surfaces, limits=Limits(sleep=no_sleep)))
    try:
        yield made
    finally:
        made.run(made.account.close())
        made.run(made.loop.shutdown_asyncgens())
        made.loop.close()


@pytest.fixture
def both(project: Project) -> Iterator[Seen]:
    with seen(project) as made:
        yield made


@pytest.mark.parametrize("query", ["", "?api-version=v1", "?api-version=2025-05-01"])
@pytest.mark.parametrize(
    ("surface", "files"), [(Surface.CURRENT, "current"), (Surface.CLASSIC, "classic")], ids=lambda value: str(value)
)
def test_each_path_gets_its_address_and_its_query(project: Project, surface: Surface, files: str, query: str) -> None:
    project.has = {
        (files, "/files"): page(),
        (files, "/vector_stores/vs_1"): (200, {"id": "vs_1", "deleted": True}),
        ("classic", "/assistants"): page(),
        (Project.OWN, "/agents"): page(),
        (Project.OWN, "/deployments"): (200, {"value": []}),
        (files, "/files/a/content"): (200, b"text"),
    }
    with seen(project, (surface,), query) as one:
        one.ids("/files")
        one.run(one.account.delete("/vector_stores/vs_1"))
        one.ids("/assistants")
        one.ids("/agents")
        one.get("/deployments")
        assert one.content("a") == b"text"
        project.has[(files, "/files")] = (200, {"id": "a"})
        one.run(one.account.upload("x.txt", io.BytesIO(b"x"), purpose="assistants"))
        one.run(one.account.post("/files", {}))
        assert one.requests() == [
            f"GET {files} /files", f"DELETE {files} /vector_stores/vs_1", "GET classic /assistants", "GET own /agents",
            "GET own /deployments", f"GET {files} /files/a/content", f"POST {files} /files", f"POST {files} /files",
        ]  # fmt: skip
    assert not [head for head in project.headers if "openai-beta" in head]


def test_one_surface_asks_the_other_nothing(project: Project) -> None:
    with seen(project, (Surface.CLASSIC,)) as one:
        for ask in (one.get, one.ids):
            with pytest.raises(NotFound):
                ask("/files/a")
        with pytest.raises(NotFound):
            one.content("a")
        assert one.requests() == ["GET classic /files/a", "GET classic /files/a", "GET classic /files/a/content"]


@pytest.mark.parametrize(
    ("side", "surfaces"), [("source", BOTH), ("destination", (Surface.CLASSIC,))], ids=lambda value: str(value)
)
def test_a_source_is_read_on_both_and_a_destination_is_the_classic_one(
    project: Project, side: str, surfaces: tuple[Surface, ...]
) -> None:
    with seen(project, (), side=side) as one:
        assert one.account.surfaces == surfaces


@pytest.mark.parametrize("said", [GONE, NOT_OWNED, OTHER_FORM, NO_METHOD], ids=lambda said: str(said[0]))
def test_what_is_not_on_one_surface_is_read_on_the_other(both: Seen, said: tuple[int, Any]) -> None:
    both.project.has = {
        ("current", "/files/file-1"): said,
        ("current", "/files/file-1/content"): said,
        ("classic", "/files/file-1"): (200, {"id": "file-1"}),
        ("classic", "/files/file-1/content"): (200, b"bytes"),
    }
    assert both.get("/files/file-1") == {"id": "file-1"}
    assert both.requests() == ["GET current /files/file-1", "GET classic /files/file-1"]
    # What answered for an id is asked first for what is below it.
    assert both.content("file-1") == b"bytes"
    assert both.requests() == ["GET classic /files/file-1/content"]


@pytest.mark.parametrize(
    ("current", "classic", "expected"),
    [
        (GONE, GONE, NotFound),
        (OTHER_FORM, NOT_OWNED, NotFound),
        (OTHER_FORM, OTHER_FORM, RequestRefused),
        (WITHHELD, GONE, RequestRefused),
        (GONE, WITHHELD, RequestRefused),
        (GONE, (403, {"error": {"message": "no"}}), PermissionDenied),
        ((403, {"error": {"message": "no"}}), GONE, PermissionDenied),
    ],
)
def test_what_is_nowhere_is_said_by_the_most_telling_answer(
    both: Seen, current: tuple[int, Any], classic: tuple[int, Any], expected: type[RemoteError]
) -> None:
    both.project.has = {("current", "/files/a/content"): current, ("classic", "/files/a/content"): classic}
    with pytest.raises(expected) as caught:
        both.content("a")
    assert ("Not allowed" in caught.value.detail) is (WITHHELD in (current, classic))


def test_lists_are_of_both_surfaces_with_each_id_once(both: Seen) -> None:
    both.project.has = {
        ("current", "/vector_stores"): page("vs_1", "vs_2"),
        ("classic", "/vector_stores"): page("vs_2", "vs_3"),
        ("current", "/vector_stores/vs_2/files"): page("a"),
        ("classic", "/vector_stores/vs_3/files"): page("c"),
        ("classic", "/files/c/content"): (200, b"of c"),
    }
    assert both.ids("/vector_stores") == ["vs_1", "vs_2", "vs_3"]
    both.requests()
    # Of one store there is one list, on the surface that has the store; and so with what is in it.
    assert both.ids("/vector_stores/vs_2/files") == ["a"]
    assert both.ids("/vector_stores/vs_3/files") == ["c"]
    assert both.content("c") == b"of c"
    assert both.requests() == [
        "GET current /vector_stores/vs_2/files", "GET classic /vector_stores/vs_3/files", "GET classic /files/c/content"
    ]  # fmt: skip


@pytest.mark.parametrize("lacking", BOTH)
@pytest.mark.parametrize("said", [GONE, NO_METHOD], ids=lambda said: str(said[0]))
def test_a_surface_without_a_list_adds_nothing_and_is_asked_last(
    both: Seen, lacking: Surface, said: tuple[int, Any]
) -> None:
    there = next(one for one in BOTH if one is not lacking)
    both.project.has = {
        (lacking, "/files"): said,
        (there, "/files"): page("a"),
        (there, "/files/b"): (200, {"id": "b"}),
    }
    assert both.ids("/files") == ["a"]
    both.requests()
    assert both.get("/files/b") == {"id": "b"}
    assert both.requests() == [f"GET {there} /files/b"]


def test_a_list_that_is_refused_on_one_surface_is_not_taken_for_empty(both: Seen) -> None:
    both.project.has = {("current", "/files"): page("a"), ("classic", "/files"): (403, {"error": {"message": "no"}})}
    with pytest.raises(PermissionDenied):
        both.ids("/files")
    both.project.has = {("current", "/files"): page("a"), ("classic", "/files"): (500, {"error": {"message": "later"}})}
    both.requests()
    with pytest.raises(RemoteError, match="500"):
        both.ids("/files")
    assert both.requests().count("GET classic /files") > 2
    both.project.has = {}
    with pytest.raises(NotFound):
        both.ids("/files")


@pytest.mark.parametrize("flag", ["WorkflowAgents", "Skills", "Elsewhere"])
def test_a_preview_is_asked_for_by_name_where_it_has_to_be(both: Seen, flag: str) -> None:
    where = "/agents/a/versions"
    both.project.has = {(Project.OWN, where): (200, {"id": "a:1"}), ("current", "/responses"): (200, {"id": "resp_1"})}
    both.project.previews = {where: flag, "/responses": flag}
    if flag == "Elsewhere":  # whatever a server names, nothing else is sent
        with pytest.raises(PermissionDenied):
            both.run(both.account.post(where, {}))
        assert both.requests() == [f"POST own {where}"]
        return
    both.run(both.account.post(where, {}))
    both.run(both.account.post("/responses", {}))
    assert both.requests() == [f"POST own {where}"] * 2 + ["POST current /responses"] * 2
    sent = [head.get("foundry-features") for head in both.project.headers]
    assert sent == [None, f"{flag}=V1Preview"] * 2


def test_no_other_server_is_asked_for_previews(project: Project) -> None:
    project.has = {(Project.OWN, "/agents"): page()}
    at = endpoint("token", project.url.replace("/api/projects/p", "/v1"))
    refusal = {"error": {"code": "preview_feature_required", "message": "Skills=V1Preview"}}
    with seen(project) as one:
        project.answer = lambda method, target: (403, refusal)  # type: ignore[method-assign]
        one.run(one.account.close())
        one.account = Account(at)
        with pytest.raises(PermissionDenied):
            one.get("/agents")
        assert len(project.headers) == 1


def test_agents_are_listed_by_name_and_the_next_page_by_what_the_server_says(both: Seen) -> None:
    first = {"data": [{"id": "x", "name": "support"}, {"id": "x", "name": "legal"}], "has_more": True, "last_id": "c-2"}
    last = {"data": [{"name": "last"}], "has_more": False, "last_id": "c-3"}
    both.project.has = {(Project.OWN, "/agents"): (200, first), (Project.OWN, "/agents?after=c-2"): (200, last)}
    surveyor = Surveyor(both.account)
    found = both.run(surveyor.definitions(Kind.FOUNDRY_AGENT))
    assert [record.id for record in found] == ["support", "legal", "last"]
    assert both.requests() == ["GET own /agents", "GET own /agents?after=c-2"]
    assert both.run(surveyor.definitions(Kind.AGENT)) == []
    assert both.requests() == []
    both.project.has[Project.OWN, "/agents/LEGAL"] = (200, {"id": "x", "name": "legal"})
    assert both.run(surveyor.one(Kind.FOUNDRY_AGENT, SourceId("LEGAL"))).raw == b'{"id": "x", "name": "legal"}'


def test_a_project_whose_agents_the_key_may_not_see_is_not_one_without(both: Seen) -> None:
    both.project.has = {(Project.OWN, "/agents"): (403, {"error": {"message": "no"}})}
    with pytest.raises(PermissionDenied):
        both.run(Surveyor(both.account).definitions(Kind.FOUNDRY_AGENT))
    both.project.has = {}
    surveyor = Surveyor(both.account)
    assert both.run(surveyor.definitions(Kind.FOUNDRY_AGENT)) == []
    assert surveyor.absent == ["/agents"]


def test_deployments_and_connections_are_read_to_their_end(both: Seen) -> None:
    # Behind a gateway a link names another host.
    link = "https://elsewhere.example/api/projects/p/deployments?api-version=v1&skip=1"
    model = {"name": "support", "modelName": "gpt-4o", "modelVersion": "2024-08-06", "sku": {"capacity": 50}}
    one = {"name": "search", "id": "/subscriptions/s/connections/search", "type": "CognitiveSearch", "credentials": {}}
    both.project.has = {
        (Project.OWN, "/deployments"): (200, {"value": [model, {"strange": 1}], "nextLink": link}),
        (Project.OWN, "/deployments?skip=1"): (200, {"value": [{"name": "b"}], "nextLink": link}),
        (Project.OWN, "/connections"): (200, {"value": [one], "nextLink": None}),
    }
    found = both.run(client.deployments(both.account))
    assert [(each.name, each.model, each.version) for each in found] == [
        ("support", "gpt-4o", "2024-08-06"), ("b", None, None)
    ]  # fmt: skip
    assert dict(both.run(client.models(both.account))) == {"support": None, "b": None}
    listed = both.run(client.connections(both.account))
    assert [(each.name, each.id, each.type) for each in listed] == [("search", one["id"], "CognitiveSearch")]
    assert not [asked for asked in both.requests() if "redentials" in asked]
    both.project.has = {("current", "/models"): (200, {"data": [{"id": "gpt-4o"}]})}
    assert dict(both.run(client.models(both.account))) == {"gpt-4o": None}
    both.project.has = {(Project.OWN, "/connections"): (200, {"data": []})}
    with pytest.raises(UnexpectedAnswer):
        both.run(client.connections(both.account))


def test_a_token_is_renewed_on_both_surfaces(project: Project) -> None:
    """It lasts an hour: the new one is for both."""
    program = "with open(PLACE, 'a') as f: n = f.tell(); f.write('x')\nprint(f't{n}')"
    with tempfile.NamedTemporaryFile(suffix=".count") as count, seen(project) as one:
        command = (sys.executable, "-c", program.replace("PLACE", repr(count.name)))
        one.run(one.account.close())
        one.account = Account(endpoint("", project.url, token_command=command))
        project.has = {("current", "/files/a"): (200, {"id": "a"}), ("classic", "/assistants"): page()}
        answered, ended = project.answer, {"Bearer t0"}

        def answer(method: str, target: str) -> tuple[int, Any]:
            if project.headers[-1]["authorization"] in ended:
                return 401, {"error": {"code": "401", "message": "Access token has expired."}}
            return answered(method, target)

        project.answer = answer  # type: ignore[method-assign]
        one.get("/files/a")
        one.ids("/assistants")
        ended.add("Bearer t1")
        one.ids("/assistants")
        one.get("/files/a")
    assert [head["authorization"] for head in project.headers] == [
        "Bearer t0", "Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"
    ]  # fmt: skip


def test_a_list_of_deployments_without_end_is_an_error(both: Seen) -> None:
    pages = iter(range(10**6))

    def answer(method: str, target: str) -> tuple[int, Any]:
        link = f"https://x.example/deployments?skip={next(pages)}"
        return 200, {"value": [{"name": f"d{next(pages)}"}], "nextLink": link}

    both.project.answer = answer  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer, match="stopped after 100 items in 100 pages"):
        both.run(client.deployments(both.account))
    long = {"value": [], "x": "x" * (6 << 20)}
    both.project.answer = lambda *_: (200, {**long, "nextLink": f"?skip={next(pages)}"})  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer, match="in 3 pages"):
        both.run(client.deployments(both.account))


@pytest.mark.parametrize(("lends", "lists"), [(False, False), (True, False), (True, True)])
def test_both_surfaces_of_the_sandbox(tmp_path_factory: pytest.TempPathFactory, lends: bool, lists: bool) -> None:
    """Whatever one surface shows of the other, an export sees each thing once, and can read what is in it."""
    behaviour = msgspec.structs.replace(PROFILES["foundry-both"], lends_classic=lends, lists_classic=lists)

    async def make(account: Account, name: str) -> dict[str, str]:
        file = json.loads((await account.upload(name, io.BytesIO(name.encode()), purpose="vision")).raw)["id"]
        knowledge = json.loads((await account.upload(name, io.BytesIO(b"words"), purpose="assistants")).raw)["id"]
        body = {"name": name, "file_ids": [knowledge]}
        return {
            "file": file,
            "member": knowledge,
            "store": json.loads((await account.post("/vector_stores", body)).raw)["id"],
        }

    async def main(at: Endpoint) -> None:
        made = []
        for surface in Surface:
            async with Account(at, surfaces=(surface,)) as account:
                made.append(await make(account, f"{surface}.md"))
        async with Account(at) as account:
            stores = [json.loads(item)["id"] async for item in account.items("/vector_stores")]
            assert sorted(stores) == sorted(one["store"] for one in made)
            files = [json.loads(item)["id"] async for item in account.items("/files")]
            assert sorted(files) == sorted(one[what] for one in made for what in ("file", "member"))
            for one in made:
                members = [
                    json.loads(item)["id"] async for item in account.items(f"/vector_stores/{one['store']}/files")
                ]
                assert members == [one["member"]]
                assert json.loads((await account.get(f"/files/{one['file']}")).raw)["purpose"] == "vision"
                with pytest.raises(RequestRefused, match="Not allowed to download"):
                    async with account.download(one["member"]):
                        pass
            with pytest.raises(NotFound):
                await account.get("/files/assistant-000000000000000000000000")

    with Running(tmp_path_factory.mktemp("both"), behaviour=behaviour) as box:
        asyncio.run(main(endpoint(token(time.time() + 600), box.url)))
