"""A Foundry project over the network: where requests go, and what is read where; the server holds to the rules."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from holdall.endpoint import endpoint
from holdall.errors import NotFound, PermissionDenied, RemoteError, RequestRefused
from holdall.remote.client import Account
from holdall.remote.limits import Limits
from holdall.remote.surfaces import Surface

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
        self.seen.append(f"{method} {surface} {path}")
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
