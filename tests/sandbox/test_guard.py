"""Requests that are refused for whom they are for, where they come from, or how large they are."""

from __future__ import annotations

import http.client
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, form, upload
from tests.sweep import sweep
from tests.waiting import STANDSTILL

JSON_LIMIT = 8 << 20


def port(box: Running) -> int:
    return urlsplit(box.url).port or 0


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_names_of_this_machine_are_answered(box: Running, host: str) -> None:
    assert ask(box.url, "GET", "/files", headers={"Host": host.format(port=port(box))}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:{port}",
        "localhost",
        "localhost:1",
        "127.0.0.1.evil.example:{port}",
        "localhost:{port}.evil.example",
        "192.0.2.1:{port}",
        "x@localhost:{port}",
        "[",
        "localhost:{port}, a",
    ],
)
def test_other_names_are_not(box: Running, host: str) -> None:
    told = {"Host": host.format(port=port(box))}
    for method, path in [("GET", "/files"), ("POST", "/vector_stores"), ("OPTIONS", "/files")]:
        assert ask(box.url, method, path, headers=told).status == 421, path
    assert ask(f"http://127.0.0.1:{port(box)}/_sandbox", "GET", "/requests", headers=told).status == 421
    assert [each.path for each in box.requests()] == []


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://evil.localhost:{port}"]
)
def test_web_pages_change_nothing(box: Running, origin: str) -> None:
    told = {"Origin": origin.format(port=port(box))}
    body, headers = form("a.txt", b"x", purpose="assistants")
    assert ask(box.url, "POST", "/files", body, headers={**headers, **told}).status == 403
    assert ask(box.url, "DELETE", "/files/file-x", headers=told).error["message"]
    door = f"http://127.0.0.1:{port(box)}/_sandbox"
    assert ask(door, "DELETE", "/requests", headers=told).status == 403
    answer = ask(box.url, "OPTIONS", "/files", headers={**told, "Access-Control-Request-Method": "POST"})
    assert answer.status == 403
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_page_of_the_sandbox_itself_is_no_stranger(box: Running) -> None:
    assert ask(box.url, "GET", "/files", headers={"Origin": f"http://localhost:{port(box)}"}).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_the_control_door_takes_no_forms(box: Running, kind: str) -> None:
    door = f"http://127.0.0.1:{port(box)}/_sandbox"
    told = {"Content-Type": kind}
    for path, body in [
        ("/behaviour", {"assistants_api": False}),
        ("/faults", {"fault": {"type": "reset"}}),
        ("/revoke", {"key": "sk-source-0001"}),
        ("/purpose", {"file_id": "file-x", "purpose": "vision"}),
    ]:
        assert ask(door, "POST", path, body, headers=told).status == 415, path
    assert ask(box.url, "GET", "/assistants").status == 200


def test_the_control_door_reads_json_as_strictly_as_the_api(box: Running) -> None:
    door = f"http://127.0.0.1:{port(box)}/_sandbox"
    for body in (b"{", b"[" * 300 + b"]" * 300, b"[" * 100_000, b"\xff", b"[]", b"1"):
        for path in ("/behaviour", "/faults", "/revoke", "/purpose"):
            assert ask(door, "POST", path, body).status == 400, (path, body[:10])


@pytest.mark.parametrize("oddities", [frozenset(), frozenset({"extra-keys"})])
@pytest.mark.parametrize("path", ["/assistants", "/vector_stores", "/responses", "/containers", "/files/file-x"])
def test_json_that_is_nested_too_deep(box: Running, path: str, oddities: frozenset[str]) -> None:
    box.behave(oddities=oddities)
    deep = b'{"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    refused = ask(box.url, "POST", path, deep)
    if path.startswith("/files"):
        assert refused.status == 405
    else:
        assert refused.status == 400
        assert "could not parse the JSON body" in refused.error["message"]


def test_what_is_just_as_deep_as_it_may_be_reads_back(box: Running) -> None:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(95):
        schema = {"type": "object", "properties": {"a": schema}}
    function = {"name": "f", "parameters": schema}
    made = ask(
        box.url, "POST", "/assistants", {"model": "gpt-4o", "tools": [{"type": "function", "function": function}]}
    )
    assert made.status == 200, made.body
    assert (
        ask(box.url, "GET", f"/assistants/{made.json()['id']}").json()["tools"][0]["function"]["parameters"] == schema
    )


def sent(box: Running, path: str, size: int, *, chunked: bool, kind: str = "application/json") -> tuple[int, bytes]:
    """The answer to a body of so many bytes, which are sent whatever is answered meanwhile."""
    connection = http.client.HTTPConnection("127.0.0.1", port(box), timeout=STANDSTILL)
    pieces = (b"[" * min(1 << 16, size - start) for start in range(0, size, 1 << 16))
    headers = {"Authorization": "Bearer sk-source-0001", "Content-Type": kind, "OpenAI-Beta": "assistants=v2"}
    if not chunked:
        headers["Content-Length"] = str(size)
    try:
        connection.request("POST", path, pieces, headers, encode_chunked=chunked)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("chunked", [False, True])
@sweep("path", ["/v1/assistants", "/v1/files/file-x/content", "/_sandbox/behaviour", "/v1/nothing"])
def test_json_above_the_limit(box: Running, path: str, chunked: bool) -> None:
    status, body = sent(box, path, 64 << 20, chunked=chunked)
    if path.endswith("content"):
        assert status == 405
    elif path.endswith("nothing"):
        assert status == 404
    else:
        assert status == 413
        assert b"Maximum content size limit (8388608) exceeded" in body
    assert ask(box.url, "GET", "/files").status == 200


def test_json_at_the_limit_is_read(box: Running) -> None:
    body = b'{"name": "' + b"x" * (JSON_LIMIT - 12) + b'"}'
    assert len(body) == JSON_LIMIT
    assert ask(box.url, "POST", "/vector_stores", body).status == 200
    assert ask(box.url, "POST", "/vector_stores", body + b" ").status == 413


def test_a_form_that_is_no_file_for_the_most_part(box: Running) -> None:
    box.behave(max_file_bytes=1000)
    body, headers = form("a.txt", b"x" * 1001, purpose="assistants")
    assert ask(box.url, "POST", "/files", body, headers=headers).error["code"] == "file_too_large"
    fields = {f"field{number}": "x" * 60_000 for number in range(20)}
    assert upload(box.url, "a.txt", b"x", **fields).status in (400, 413)
    assert upload(box.url, "a.txt", b"x").status == 200
    body, headers = form("a.txt", b"x", purpose="assistants")
    # After the end of the form, and before any form.
    assert ask(box.url, "POST", "/files", body + b"y" * (2 << 20), headers=headers).status in (400, 413)
    assert ask(box.url, "POST", "/files", b"y" * (2 << 20), headers=headers).status in (400, 413)
    assert (
        ask(
            box.url, "POST", "/files", body, headers={"Content-Type": f"multipart/form-data; boundary={'b' * 400}"}
        ).status
        == 400
    )
    assert list((box.data / "incoming").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_nobody_else_reads_what_is_kept(tmp_path: Path) -> None:
    open_ = os.umask(0)
    try:
        data = tmp_path / "made" / "data"
        with Running(data) as box:
            upload(box.url, "a.txt", b"x")
            upload(box.url, "a.html", b"<p>x")
            # Within these nobody gets.
            for folder in (data, data / "blobs", data / "incoming"):
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
            for path in data.glob("*.sqlite3*"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        for path in [*data.glob("*.sqlite3*"), data / "blobs"]:
            path.chmod(0o777)
        with Running(data):
            assert stat.S_IMODE((data / "state.sqlite3").stat().st_mode) == 0o600
            assert stat.S_IMODE((data / "blobs").stat().st_mode) == 0o700
    finally:
        os.umask(open_)


@pytest.mark.parametrize(
    "name", ["../../../outside", "..\\..\\outside", "/etc/outside", "a\0b", "C:\\outside", "..", ""]
)
def test_names_and_ids_lead_nowhere(box: Running, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if "sandbox" not in path.relative_to(tmp_path).parts}
    box.behave(serve_assistants_files=True)
    body, headers = form("placeholder.txt", b"x", purpose="assistants")
    made = ask(box.url, "POST", "/files", body.replace(b"placeholder", name.encode()), headers=headers)
    assert made.status in (200, 400)
    if made.status == 200:
        answer = ask(box.url, "GET", f"/files/{made.json()['id']}/content")
        assert answer.body == b"x"
        assert "\n" not in answer.headers["content-disposition"]
    for encoded in ("%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5c", "%00", "..", "a%0d%0aX-Y:%20z"):
        for path in (
            f"/files/{encoded}",
            f"/files/{encoded}/content",
            f"/vector_stores/{encoded}",
            f"/models/{encoded}",
        ):
            assert ask(box.url, "GET", path).status == 404, path
    assert {path for path in tmp_path.rglob("*") if "sandbox" not in path.relative_to(tmp_path).parts} == before
