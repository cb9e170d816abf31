"""Any JSON, any bytes, to every route: an answer below 500, and nothing goes wrong inside."""

from __future__ import annotations

import base64
import copy
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.sandbox.entra import token
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from holdall.sandbox.service.routes import ROUTES
from tests.project import skill_zip
from tests.sandbox.wire import KEY, ask, form, parts, upload
from tests.waiting import STANDSTILL

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"]}, "b": {"$ref": "#"}, "c": {"type": "array", "items": {}}},
    "required": ["a", "b", "c"],
    "additionalProperties": False,
}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
FILTER = {
    "type": "and",
    "filters": [{"type": "in", "key": "a", "value": ["x", 1]}, {"type": "gt", "key": "b", "value": 1}],
}
CHUNKING = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}
SOURCE = {"type": "base64", "media_type": "application/zip", "data": "eA=="}
INLINE = {"type": "inline", "name": "n", "description": "d", "source": SOURCE}
BODIES: dict[str, list[dict[str, Any]]] = {
    "assistants": [
        {
            "model": "gpt-4o",
            "name": "n",
            "tools": [
                {"type": "function", "function": FUNCTION},
                {"type": "code_interpreter"},
                {
                    "type": "file_search",
                    "file_search": {"max_num_results": 5, "ranking_options": {"score_threshold": 0}},
                },
            ],
            "tool_resources": {
                "code_interpreter": {"file_ids": ["FILE"]},
                "file_search": {"vector_stores": [{"file_ids": ["FILE"], "chunking_strategy": CHUNKING}]},
            },
            "metadata": {"k": "v"},
            "temperature": 1,
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}},
        },
        {
            "model": "gpt-5.5",
            "reasoning_effort": "low",
            "tool_resources": {"file_search": {"vector_store_ids": ["STORE"]}},
        },
    ],
    "agents": [
        {
            "model": "gpt-5.5",
            "tools": [{"type": "function", **FUNCTION}, {"type": "web_search", "location": {"city": "x"}}],
            "multi_agent": {"enabled": True, "max_concurrent_subagents": 2},
            "text": {"format": {"type": "json_schema", "schema": SCHEMA}},
        },
        {
            "name": "n",
            "packages": {"python": ["a"]},
            "network": {"access": "restricted", "blocked_domains": ["a.example"]},
            "files": [
                {"type": "file_id", "file_id": "FILE", "path": "/workspace/a"},
                {"type": "inline", "data": "eA==", "path": "/workspace/b"},
            ],
            "skills": [{"type": "skill_reference", "skill_id": "SKILL", "version": "1"}, INLINE],
            "plugins": [INLINE],
            "env": {"A": "x"},
            "setup_commands": [{"command": "c"}],
            "desktop": {"enabled": True},
        },
    ],
    "skills": [{"default_version": "1"}],
    "vector_stores": [
        {"name": "n", "file_ids": ["FILE"], "expires_after": {"anchor": "last_active_at", "days": 1}},
        {"file_ids": ["FILE"], "chunking_strategy": CHUNKING, "attributes": {"a": "x", "b": 2}},
        {"files": [{"file_id": "FILE", "attributes": {"a": 1.5, "b": True}, "chunking_strategy": CHUNKING}]},
        {"file_id": "FILE", "attributes": {"a": "x"}, "chunking_strategy": {"type": "auto"}},
        {"query": ["some words", "x"], "filters": FILTER, "max_num_results": 5, "ranking_options": {"ranker": "auto"}},
        {"attributes": {"a": 1}},
    ],
    "containers": [
        {"name": "n", "file_ids": ["FILE"], "expires_after": {"anchor": "last_active_at", "minutes": 5}},
        {"file_id": "FILE"},
    ],
    "responses": [
        {
            "model": "gpt-4o",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "call f with 'some words' 1234"}]}],
            "tools": [
                {"type": "function", **FUNCTION},
                {"type": "file_search", "vector_store_ids": ["STORE"], "filters": FILTER},
                {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["FILE"]}},
            ],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": False}},
        },
        {
            "model": "gpt-4o",
            "previous_response_id": "RESPONSE",
            "input": [{"type": "function_call_output", "call_id": "c", "output": "done"}],
            "include": ["file_search_call.results"],
        },
    ],
    "_sandbox": [
        {"fault": {"type": "fail", "status": 503}, "path": "/never", "times": 2},
        {"file_id": "FILE", "purpose": "vision"},
    ],
}
PURPOSES = ["assistants", "vision", "batch", "user_data", "fine-tune", "evals", "", "x"]

numbers = st.one_of(
    st.integers(-3, 5000),
    st.sampled_from([2**31, 2**63, -(2**64), 10**30, -0.0, 1e308, 1e-320]),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.one_of(
    st.sampled_from(
        [
            "",
            "FILE",
            "STORE",
            "RESPONSE",
            "SKILL",
            "gpt-4o",
            "gpt-5.5",
            "auto",
            "object",
            "x" * 300,
            "\0",
            "#/a/b",
            "json",
        ]
    ),
    st.text(max_size=20),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(each, (*path, key))


@st.composite
def bodies(draw: st.DrawFn, taken: list[dict[str, Any]]) -> Any:
    """One of the bodies that are taken, with other values in some places, without some keys, and with others."""
    made: Any = copy.deepcopy(draw(st.sampled_from([*taken, {}])))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from([place for place in places(made) if place] or [("x",)]))
        at = made
        for key in way:
            at = at[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "remove" if isinstance(at, dict):
                at.pop(last, None)
            case "add" if isinstance(at, dict):
                at[draw(texts)] = draw(values)
            case _:
                at[last] = draw(values)
    return draw(st.sampled_from([made, made, made, draw(values)]))


class Fuzzed:
    """A sandbox with a few objects, and what it has logged as gone wrong."""

    def __init__(self, box: Running) -> None:
        self.box = box
        self.errors: list[str] = []
        self.made = {"FILE": upload(box.url, "a.txt", b"some words in here").json()["id"]}
        page = upload(box.url, "a.html", b"<p>some other words").json()["id"]
        self.made["STORE"] = ask(box.url, "POST", "/vector_stores", {"file_ids": [self.made["FILE"], page]}).json()[
            "id"
        ]
        answered = ask(box.url, "POST", "/responses", {"model": "gpt-4o", "input": "x"}).json()
        self.made["RESPONSE"] = answered["id"]
        body, headers = parts([("files", "a.zip", skill_zip("fuzzed"))])
        self.made["SKILL"] = ask(box.url, "POST", "/skills", body, headers=headers).json()["id"]
        batch = ask(box.url, "POST", f"/vector_stores/{self.made['STORE']}/file_batches", {"file_ids": [page]}).json()
        self.ids = {
            "file": self.made["FILE"],
            "store": self.made["STORE"],
            "response": self.made["RESPONSE"],
            "batch": batch["id"],
            "assistant": ask(box.url, "POST", "/assistants", {"model": "gpt-4o"}).json()["id"],
            "agent": self.ask("POST", "/v1/agents", {"model": "gpt-5.5"}).json()["id"],
            "template": self.ask("POST", "/v1/agents/environments/templates", {}).json()["id"],
            "skill": self.made["SKILL"],
            "version": "1",
            "container": ask(box.url, "POST", "/containers", {"name": "c"}).json()["id"],
            "model": "gpt-4o",
        }

    def ask(self, method: str, path: str, body: object, **headers: str) -> Any:
        told = {"OpenAI-Beta": "agents=v1"} if path.startswith("/v1/agents") else {}
        return ask(self.box.url.removesuffix("/v1"), method, path, body, headers={**told, **headers})


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with Running(tmp_path_factory.mktemp("box"), control=True) as box:
        box.behave(agents_api=True, serve_assistants_files=True)
        one = Fuzzed(box)
        handler = logging.Handler()
        handler.emit = lambda entry: one.errors.append(entry.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("holdall.sandbox.http")
        logger.addHandler(handler)
        yield one
        logger.removeHandler(handler)


def routes() -> list[tuple[str, str]]:
    return [(method, path) for method, path, _ in ROUTES]


# Only those deletes that delete nothing that the others need.
KEPT = (
    "DELETE /v1/files/{file}",
    "DELETE /v1/vector_stores/{store}",
    "DELETE /v1/vector_stores/{store}/files/{file}",
    "DELETE /v1/skills/{skill}",
    "DELETE /v1/skills/{skill}/versions/{version}",
)
DOOR = [("POST", f"/_sandbox/{what}") for what in ("faults", "purpose")] + [("DELETE", "/_sandbox/faults")]


@given(data=st.data())
def test_any_json_to_every_route(fuzzed: Fuzzed, data: st.DataObject) -> None:
    method, template = data.draw(st.sampled_from([*routes(), *DOOR]))
    known = data.draw(st.booleans()) and f"{method} {template}" not in KEPT
    path = template.replace(":path", "")
    for name, id_ in fuzzed.ids.items():
        path = path.replace(f"{{{name}}}", id_ if known else quote(data.draw(texts), safe=""))
    family = template.split("/")[1 if template.startswith("/_") else 2]
    body = data.draw(bodies(BODIES.get(family, [])))
    raw = json.dumps(body)
    for name, id_ in fuzzed.made.items():
        raw = raw.replace(f'"{name}"', f'"{id_}"')
    names = st.sampled_from(["limit", "order", "after", "before", "filter", "page", "purpose", "x"])
    query = data.draw(st.dictionaries(names, st.one_of(texts, numbers.map(str), st.just("9" * 5000)), max_size=2))
    answer = fuzzed.ask(method, f"{path}?{urlencode(query)}", raw.encode() if method == "POST" else None)
    fuzzed.box.clear_faults()
    assert answer.status < 500, (method, path, query, raw, answer.body)
    assert fuzzed.errors == []


@given(data=st.data())
def test_any_bytes_as_a_body(fuzzed: Fuzzed, data: st.DataObject) -> None:
    method, template = data.draw(st.sampled_from([each for each in routes() if each[0] == "POST"] + DOOR[:2]))
    path = template
    for name, id_ in fuzzed.ids.items():
        path = path.replace(f"{{{name}}}", id_)
    start = data.draw(st.sampled_from([b"", b"{", b"[" * 500, b'{"a":' * 3000, b"\xff\xfe", b"--b\r\n", b'"\\ud800"']))
    kinds = ["application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/plain", "\xff", ""]
    kind = data.draw(st.sampled_from(kinds))
    answer = fuzzed.ask(method, path, start + data.draw(st.binary(max_size=100)), **{"Content-Type": kind})
    assert answer.status < 500, answer.body
    assert fuzzed.errors == []


@given(
    filename=st.one_of(texts, st.sampled_from(["a.txt", "a.html", "a.json", "a.doc"])),
    content=st.binary(max_size=60),
    purpose=st.sampled_from(PURPOSES),
    fields=st.dictionaries(
        st.sampled_from(["expires_after[anchor]", "expires_after[seconds]", "default", "file", "purpose", "x", ""]),
        st.one_of(texts, st.just("9" * 5000), st.just("3600"), st.just("created_at")),
        max_size=3,
    ),
    cut=st.integers(0, 200),
)
def test_any_form(
    fuzzed: Fuzzed, filename: str, content: bytes, purpose: str, fields: dict[str, str], cut: int
) -> None:
    body, headers = form(filename, content, **{"purpose": purpose, **fields})
    skills = ("/v1/skills", f"/v1/skills/{fuzzed.ids['skill']}/versions")
    for path in ("/v1/files", f"/v1/containers/{fuzzed.ids['container']}/files", *skills):
        if path in skills:
            body = body.replace(b'name="file"', b'name="files"')
        for sent in (body, body[:-cut]):
            answer = fuzzed.ask("POST", path, sent, **headers)
            assert answer.status < 500, answer.body
    assert fuzzed.errors == []


@given(
    start=st.sampled_from(
        ["", "GET /v1/files HTTP/1.1\r\n", "GET /v1/files HTTP/1.1\r\n{head}", "POST /v1/files HTTP/1.1\r\n{head}"]
    ),
    lines=st.lists(
        st.one_of(
            st.sampled_from(
                [
                    b"Range: bytes=" + b"9" * 4000 + b"-",
                    b"If-Range: \xff",
                    b"Authorization: Bearer \xff\xfe",
                    b"Authorization:",
                    b"OpenAI-Project: \xff",
                    b"Transfer-Encoding: chunked",
                    b"Content-Length: 5",
                    b"Upgrade: websocket",
                    b"Connection: upgrade",
                    b"Expect: 100-continue",
                    b"Content-Type: multipart/form-data; boundary=\xff",
                ]
            ),
            st.binary(max_size=30),
        ),
        max_size=5,
    ),
    rest=st.binary(max_size=50),
)
def test_any_bytes_as_a_request(fuzzed: Fuzzed, start: str, lines: list[bytes], rest: bytes) -> None:
    where = urlsplit(fuzzed.box.url)
    head = f"Host: {where.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=STANDSTILL) as connection:
        connection.sendall(start.format(head=head).encode() + b"\r\n".join(lines) + b"\r\n\r\n" + rest)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(1 << 16):
                answer += piece
        except ConnectionError:
            pass
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert fuzzed.errors == []


# Those that answer 500 because they were asked to.
BROKEN = {oddity for oddity in Oddity if "500" in oddity or "501" in oddity or oddity == "refused-upload-breaks-list"}


@given(data=st.data())
def test_any_json_to_an_odd_server(fuzzed: Fuzzed, data: st.DataObject) -> None:
    odd = data.draw(
        st.sets(st.sampled_from(sorted(set(Oddity) - BROKEN - {Oddity.DROPS_AFTER_ERROR})), min_size=1, max_size=4)
    )
    fuzzed.box.behave(oddities=frozenset(odd))
    try:
        method, template = data.draw(st.sampled_from(routes()))
        path = template.replace(":path", "")
        for name, id_ in fuzzed.ids.items():
            path = path.replace(f"{{{name}}}", "x" if f"{method} {template}" in KEPT else id_)
        raw = json.dumps(data.draw(bodies(BODIES.get(template.split("/")[2], []))))
        for name, id_ in fuzzed.made.items():
            raw = raw.replace(f'"{name}"', f'"{id_}"')
        answer = fuzzed.ask(method, path, raw.encode() if method == "POST" else None)
        assert answer.status < 500, (odd, method, path, raw, answer.body)
        assert fuzzed.errors == []
    finally:
        fuzzed.box.behave(oddities=frozenset())


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Running(tmp_path_factory.mktemp("azure"), behaviour=PROFILES["foundry-both"]) as box:
        yield f"http://{urlsplit(box.url).netloc}"


@given(path=st.text(max_size=30), query=st.text(max_size=30), key=st.text(max_size=30), is_token=st.booleans())
def test_any_path_of_foundry(azure: str, path: str, query: str, key: str, is_token: bool) -> None:
    bearer = token(2**40) if is_token else quote(key, safe="")
    for start in ("/api/projects/p/", "/api/projects/", "/"):
        for end in ("?api-version=v1&", "?"):
            answer = ask(azure, "POST", f"{start}{quote(path)}{end}{quote(query)}", b"{", key=bearer)
            assert answer.status < 500, answer.body


def test_tokens_that_are_none(azure: str) -> None:
    for claims in (b"[" * 5000, b'{"exp": 1e400}', b'{"exp": "x"}', b"\xff"):
        bearer = f"eyJ.{base64.urlsafe_b64encode(claims).decode()}.x"
        assert ask(azure, "GET", "/api/projects/p/files?api-version=v1", key=bearer).status == 401
