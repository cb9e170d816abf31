"""Servers that are not the one that was meant: each command says so at once, and names the setting that mends it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from holdall.remote import limits
from tests.cli.terminal import Terminal
from tests.clock import Clock

CERTIFICATE = Path(__file__).parents[1] / "remote" / "self-signed.pem"
Answer = tuple[int, dict[str, str], str]

PAGE: Answer = (200, {"content-type": "text/html"}, "<!doctype html><title>Welcome</title><p>Please log in.</p>")
EMPTY: Answer = (200, {"content-type": "application/json"}, '{"object": "list", "data": [], "has_more": false}')


def refusal(status: int, code: str, message: str = "no") -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return status, {"content-type": "application/json"}, json.dumps({"error": error})


class Door:
    """A server that gives every request the answer of its path, and counts them."""

    def __init__(self, answer: Callable[[str], Answer], *, tls: bool = False) -> None:
        door = self
        self.requests = 0

        class Handler(BaseHTTPRequestHandler):
            responses: ClassVar = {}

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                door.requests += 1
                status, headers, text = answer(self.path)
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = handle_any

            def log_message(self, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None: ...  # a client that hangs up

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def opened() -> Iterator[Callable[..., Door]]:
    doors: list[Door] = []

    def open_one(answer: Answer | Callable[[str], Answer], *, tls: bool = False) -> Door:
        door = Door(answer if callable(answer) else lambda path: answer, tls=tls)
        threading.Thread(target=door.server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        doors.append(door)
        return door

    yield open_one
    for door in doors:
        door.server.shutdown()
        door.server.server_close()


@pytest.fixture
def holdall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    # Whatever is tried again, is so without a wait, and FEW times.
    Clock().rule(monkeypatch)
    monkeypatch.setattr(limits, "PATIENCE", 0.0)
    return Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": "sk-source-0001", "NO_PROXY": "127.0.0.1"})


def test_a_certificate_is_no_matter_of_trying_again(holdall: Terminal, opened: Callable[..., Door]) -> None:
    door = opened(EMPTY, tls=True)
    base = f"{door.url}/v1"
    for command in ("export", "doctor"):
        done = holdall(command, "--env-file", "none", OPENAI_SRC_BASE_URL=base)
        assert done.code == 22
        assert "SSL_CERT_FILE" in done.out + done.err
        assert "its certificate is not trusted" in done.out + done.err
    assert door.requests == 0
    bundled = holdall("export", "--env-file", "none", OPENAI_SRC_BASE_URL=base, REQUESTS_CA_BUNDLE=str(CERTIFICATE))
    assert bundled.code == 22
    trusting = holdall("export", "--env-file", "none", OPENAI_SRC_BASE_URL=base, SSL_CERT_FILE=str(CERTIFICATE))
    assert "the project has no assistants" in trusting.err


def test_tls_to_a_server_without(holdall: Terminal, opened: Callable[..., Door]) -> None:
    door = opened(EMPTY)
    done = holdall("export", "--env-file", "none", OPENAI_SRC_BASE_URL=door.url.replace("http:", "https:"))
    assert done.code == 22
    assert "for a server without TLS use http://" in done.err


@pytest.mark.parametrize("command", ["export", "doctor"])
def test_a_web_page_is_no_matter_of_trying_again(holdall: Terminal, opened: Callable[..., Door], command: str) -> None:
    door = opened(PAGE)
    done = holdall(command, "--env-file", "none", OPENAI_SRC_BASE_URL=door.url)
    assert done.code in (24, 29)
    said = done.out + done.err
    assert '"Welcome"' in said
    assert "a login page" in said
    assert "is /v1 missing at its end" in said
    assert "malformed" not in said
    if command == "export":
        assert door.requests <= 16  # each endpoint once, beside a path that can't be there


def test_a_redirect_to_a_login_page(holdall: Terminal, opened: Callable[..., Door]) -> None:
    login = opened(PAGE)
    elsewhere = login.url.replace("127.0.0.1", "localhost")
    door = opened((302, {"location": f"{elsewhere}/cdn-cgi/access/login"}, ""))
    done = holdall("export", "--env-file", "none", OPENAI_SRC_BASE_URL=f"{door.url}/v1", NO_PROXY="127.0.0.1,localhost")
    assert done.code == 29
    assert f"redirected to {elsewhere}, another server" in done.err
    assert f"set OPENAI_SRC_BASE_URL ({door.url}/v1) to {elsewhere}" in done.err
    assert door.requests <= 16
    assert login.requests == 0


def test_a_circle_of_redirects(holdall: Terminal, opened: Callable[..., Door]) -> None:
    door = opened((302, {"location": "/v1/assistants"}, ""))
    done = holdall("export", "--env-file", "none", OPENAI_SRC_BASE_URL=f"{door.url}/v1")
    assert done.code == 29
    assert "too many redirects" in done.err


def test_the_organisation_that_is_set_is_named(holdall: Terminal, opened: Callable[..., Door]) -> None:
    door = opened(refusal(401, "mismatched_organization"))
    for command in ("export", "doctor"):
        done = holdall(
            command, "--env-file", "none", OPENAI_SRC_BASE_URL=f"{door.url}/v1", OPENAI_SRC_ORG_ID="org-wrong"
        )
        assert done.code == 20
        assert "OPENAI_SRC_ORG_ID from the environment is org-wrong" in done.out + done.err


def test_an_api_version_that_is_missing(holdall: Terminal, opened: Callable[..., Door]) -> None:
    def answer(path: str) -> Answer:
        there = "api-version=" in path
        return EMPTY if there else refusal(400, "BadRequest", "Missing required query parameter: api-version")

    door = opened(answer)
    base = f"{door.url}/openai"
    done = holdall("export", "--env-file", "none", OPENAI_SRC_BASE_URL=base)
    assert f"OPENAI_SRC_BASE_URL='{base}?api-version=v1'" in done.err
    # A Foundry project is asked for with one, unless another is given.
    for url in (f"{base}?api-version=v1", f"{door.url}/api/projects/p"):
        done = holdall("export", "--env-file", "none", OPENAI_SRC_BASE_URL=url)
        assert "the project has no assistants" in done.err


def test_where_there_is_no_assistants_api_the_way_without_is_named(
    holdall: Terminal, opened: Callable[..., Door], bundle: Path
) -> None:
    door = opened(lambda path: refusal(404, "404") if "/assistants" in path else EMPTY)
    done = holdall("import", str(bundle), "--as", "assistants", "--env-file", "none",
                   OPENAI_DST_BASE_URL=f"{door.url}/v1", OPENAI_DST_API_KEY="sk-destination-01")  # fmt: skip
    assert done.code == 28
    assert "--as responses" in done.err
