"""Where keys and files go: plain http, proxies and redirects, seen from where they must not arrive."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from holdall.bundle.reader import open_bundle
from holdall.remote import limits
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.project import Hand
from tests.sweep import sweep

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
Reply = tuple[int, Mapping[str, str], bytes]
FILE = b"the bytes of the file"


class Door:
    """A server that keeps every request and answers it by ``answer`` of (method, target, headers, body)."""

    def __init__(self, answer: Callable[[str, str, Mapping[str, str], bytes], Reply]) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                door.seen.append((self.command, self.path, headers))
                status, extra, content = answer(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in {**extra, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_CONNECT = handle_any

            def log_message(self, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None: ...  # a client that hangs up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.origin = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def opened() -> Iterator[Callable[..., Door]]:
    doors: list[tuple[Door, threading.Thread]] = []

    def open_one(answer: Callable[[str, str, Mapping[str, str], bytes], Reply] | Reply = (502, {}, b"")) -> Door:
        door = Door(answer if callable(answer) else lambda *_: answer)
        thread = threading.Thread(target=door.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        doors.append((door, thread))
        return door

    yield open_one
    for door, thread in doors:
        door.server.shutdown()
        thread.join()
        door.server.server_close()


def ask(url: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """What the server at ``url`` says to a request that came to another."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    own = ("host", "connection", "openai-organization", "openai-project")
    kept = {name: value for name, value in headers.items() if name not in own}
    connection.request(method, target, body, {**kept, "host": parts.netloc})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    dropped = ("content-length", "transfer-encoding", "connection")
    return answer.status, {n.lower(): v for n, v in answer.getheaders() if n.lower() not in dropped}, content


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is this machine's, so that nothing leaves it."""
    look_up = socket.getaddrinfo

    def found(host: Any, *rest: Any, **named: Any) -> Any:
        return look_up("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.fixture
def holdall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    Clock().rule(monkeypatch)
    monkeypatch.setattr(limits, "PATIENCE", 0.0)
    return Terminal(
        monkeypatch, {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION, "HOLDALL_SETTLE": "0"}
    )


def commands(bundle: Path) -> list[list[str]]:
    """Every command that speaks with an account; undo needs a run before it."""
    return [
        ["export", "-o", "x.tar.zst"],
        ["doctor"],
        ["plan", str(bundle)],
        ["import", str(bundle), "--yes"],
        ["verify", str(bundle), "--against", "dst"],
        ["clone"],
        ["undo", "1", "--yes"],
    ]


def both(url: str) -> dict[str, str]:
    return {"OPENAI_SRC_BASE_URL": url, "OPENAI_DST_BASE_URL": url}


# -- plain http --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_no_command_speaks_plain_http_to_another_machine(
    holdall: Terminal, opened: Callable[..., Door], bundle: Path
) -> None:
    door = opened()
    names = ("there.test", "localhost.evil.test", "127.evil.test", "127.0.0.1.evil.test", "localhost.", "2130706433")
    for argv in commands(bundle):
        for name in names if argv[0] == "export" else names[:1]:
            done = holdall(*argv, "--env-file", "none", **both(f"http://{name}:{door.port}/v1"))
            assert done.code == 2, done.err
            assert f"http:// sends the key and all content to {name} unencrypted" in done.err
            assert "-insecure-http or OPENAI_" in done.err
    assert door.seen == []


@pytest.mark.usefixtures("here")
def test_whoever_insists_speaks_it(holdall: Terminal, opened: Callable[..., Door], tmp_path: Path) -> None:
    door = opened((401, {}, b"{}"))
    url = both(f"http://there.test:{door.port}/v1")
    (tmp_path / "own.env").write_text("OPENAI_SRC_INSECURE_HTTP=true\nOPENAI_DST_INSECURE_HTTP=yes\n")
    ways: list[tuple[list[str], dict[str, str]]] = [
        (["--src-insecure-http", "--dst-insecure-http", "--env-file", "none"], {}),
        (["--env-file", "none"], {"OPENAI_SRC_INSECURE_HTTP": "1", "OPENAI_DST_INSECURE_HTTP": "on"}),
        (["--env-file", "own.env"], {}),
    ]
    for number, (flags, environ) in enumerate(ways):
        done = holdall("doctor", *flags, **url, **environ)
        assert done.code == 20, done.err
        assert "unencrypted" in done.err
        assert f"{url['OPENAI_SRC_BASE_URL']}, unencrypted" in done.out
        assert len(door.seen) > number
        door.seen.clear()
    # Each side for itself.
    done = holdall("doctor", "--src-insecure-http", "--env-file", "none", **url)
    assert done.code == 2
    assert "there.test" in done.err
    assert "--dst-insecure-http" in done.err
    assert door.seen == []


@sweep("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.3.2.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_needs_no_insisting(holdall: Terminal, host: str) -> None:
    done = holdall("doctor", "--env-file", "none", **both(f"http://{host}:9/v1"))
    assert done.code == 22
    assert "unencrypted" not in done.err + done.out


@pytest.mark.parametrize(
    "url",
    ["https://key@there.test", "https://@there.test", "https://:key@there.test", "https://there.test/v1#key",
     "https://there.test/#", "ws://there.test", "file:///v1", "https://..key.test\u00e4", "https://there.test/\x01"],
)  # fmt: skip
def test_a_base_url_of_no_use(holdall: Terminal, url: str) -> None:
    done = holdall("doctor", "--env-file", "none", **both(url))
    if url.endswith("#"):
        assert done.code == 22  # an empty fragment says nothing
        return
    assert done.code == 2, done.err
    assert "OPENAI_SRC_BASE_URL" in done.err


# -- proxies -----------------------------------------------------------------------------------------

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def test_this_machine_is_spoken_to_without_a_proxy(
    holdall: Terminal, opened: Callable[..., Door], box: Running, bundle: Path
) -> None:
    proxy = opened()
    environ = {**both(box.url), **dict.fromkeys(PROXIES, f"http://user:hidden@127.0.0.1:{proxy.port}")}
    for argv in [*commands(bundle), ["verify", str(bundle), "--rehearse"]]:
        done = holdall(*argv, "--env-file", "none", **environ)
        assert done.code in (0, 2, 3, 4), done.err
        assert "go through the proxy" not in done.err + done.out
    assert proxy.seen == []


@pytest.mark.usefixtures("here")
@sweep("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_is_named_by_the_log_and_by_doctor(
    holdall: Terminal, opened: Callable[..., Door], box: Running, name: str
) -> None:
    host = f"http://there.test:{urlsplit(box.url).port}"
    proxy = opened(lambda method, target, *rest: ask(box.url, method, target.removeprefix(host), *rest))
    environ = {**both(f"{host}/v1"), name: f"http://user:hidden@127.0.0.1:{proxy.port}"}
    done = holdall("doctor", "--src-insecure-http", "--dst-insecure-http", "--env-file", "none", **environ)
    assert done.code in (0, 3), done.err
    named = f"127.0.0.1:{proxy.port} ({name})"
    assert f"go through the proxy {named}" in done.err
    assert f"unencrypted, through the proxy {named}, which can read the key" in done.out
    assert "hidden" not in done.err + done.out
    assert proxy.seen
    quiet = holdall("export", "-o", "x.tar.zst", "--src-insecure-http", "--env-file", "none", **environ)
    assert f"go through the proxy {named}" in quiet.err
    exempt = holdall(
        "doctor", "--src-insecure-http", "--dst-insecure-http", "--env-file", "none", **environ, NO_PROXY="there.test"
    )
    assert "go through the proxy" not in exempt.err


@pytest.mark.usefixtures("here")
def test_a_proxy_in_front_of_tls_sees_no_key(holdall: Terminal, opened: Callable[..., Door]) -> None:
    proxy = opened((403, {}, b""))
    done = holdall("doctor", "--env-file", "none", **both("https://there.test/v1"), HTTPS_PROXY=proxy.origin)
    assert done.code == 22
    assert f"127.0.0.1:{proxy.port} (HTTPS_PROXY)" in done.out
    assert {(method, target) for method, target, _ in proxy.seen} == {("CONNECT", "there.test:443")}
    assert "sk-" not in str(proxy.seen)


@sweep("value", ["socks5://127.0.0.1:1", "socks4://127.0.0.1:1", "http://", "http://x:hidden", "http://u:1#hidden@x"])
def test_a_proxy_of_no_use_is_told_at_the_start(holdall: Terminal, bundle: Path, value: str) -> None:
    for argv in commands(bundle):
        done = holdall(*argv, "--env-file", "none", **both("https://there.test/v1"), all_proxy=value)
        assert done.code == 2, (argv, done.err)
        assert "can't use the proxy of all_proxy" in done.err
        assert "hidden" not in done.err


# -- redirects ---------------------------------------------------------------------------------------


@sweep("status", [301, 302, 303, 307, 308])
def test_no_command_follows_to_another_server(
    holdall: Terminal, opened: Callable[..., Door], bundle: Path, status: int
) -> None:
    other = opened()
    door = opened(lambda method, target, *_: (status, {"location": other.origin + target}, b""))
    for argv in commands(bundle)[:-1]:
        done = holdall(*argv, "--env-file", "none", **both(f"{door.origin}/v1"))
        assert done.code == (24 if argv[0] == "doctor" else 29), (argv, done.err)
        assert f"({door.origin}/v1) to {other.origin}" in done.err + done.out
        assert argv[0] == "doctor" or f"redirected to {other.origin}, another server" in done.err
    assert door.seen
    assert other.seen == []


@pytest.mark.parametrize("status", [302, 307])
@sweep(
    ("method", "part"),
    [("POST", "/files"), ("POST", "/vector_stores"), ("POST", "/assistants"), ("DELETE", "/assistants/")],
)
def test_no_write_is_carried_to_another_server(
    holdall: Terminal, opened: Callable[..., Door], box: Running, bundle: Path, status: int, method: str, part: str
) -> None:
    other = opened()

    def answer(asked: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if asked == method and part in target:
            return status, {"location": f"{other.origin}{target}"}, b""
        return ask(box.url, asked, target, headers, body)

    door = opened(answer)
    where = both(f"{door.origin}/v1")
    done = holdall("import", str(bundle), "--yes", "-v", "--env-file", "none", **where)
    if method == "DELETE":
        assert done.code in (0, 3, 4), done.err
        done = holdall("undo", "latest", "--yes", "--env-file", "none", **where)
    assert done.code not in (0, 70), done.err
    assert other.origin in done.err + done.out
    assert other.seen == []


def fronted(box: Running, location: str, status: int = 302) -> Callable[[str, str, Mapping[str, str], bytes], Reply]:
    """The sandbox, whose files' contents are somewhere else."""

    def answer(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if method == "GET" and target.startswith("/v1/files/") and "/content" in target:
            return status, {"location": location, "set-cookie": "session=ours"}, b""
        return ask(box.url, method, target, headers, body)

    return answer


@pytest.fixture
def stocked(box: Running) -> Running:
    """One file, and the assistant that uses it."""
    with Hand(box.url, SOURCE) as hand:
        hand.assistant("A", files=[hand.file("a.png", FILE)])
    return box


def exported(holdall: Terminal, door: Door, **environ: str) -> tuple[Any, str | None]:
    """Export what the door shows; the ledger's line and all that was said."""
    done = holdall(
        "export", "-o", "x.tar.zst", "--env-file", "none", OPENAI_SRC_BASE_URL=f"{door.origin}/v1", **environ
    )
    assert done.code in (0, 4), done.err
    with open_bundle(Path("x.tar.zst")) as reader:
        [line] = reader.ledger()
    assert (line.fidelity == "original") == (done.code == 0)
    return line, done.err


def test_a_content_at_another_server(holdall: Terminal, opened: Callable[..., Door], stocked: Running) -> None:
    blob = opened((200, {"openai-organization": "org-evil", "set-cookie": "a=b"}, FILE))
    door = opened(fronted(stocked, f"{blob.origin}/x?sig=hidden"))
    line, said = exported(
        holdall, door, OPENAI_SRC_ORG_ID="org-own", OPENAI_SRC_PROJECT_ID="proj_own", LOG_LEVEL="debug"
    )
    assert line.fidelity == "original"
    assert line.route == f"/files/{line.id}/content -> {blob.origin}"
    [(method, target, headers)] = blob.seen
    assert (method, target) == ("GET", "/x?sig=hidden")
    assert set(headers) <= {"host", "accept", "accept-encoding", "user-agent", "connection"}
    assert "sk-" not in str(blob.seen)
    assert "hidden" not in str(said)
    assert b"org-evil" not in Path("x.tar.zst").read_bytes()
    assert holdall("verify", "x.tar.zst").code == 0


@sweep(
    ("answer", "why"),
    [
        ((200, {}, FILE + b"x"), "more bytes than the file has"),
        ((200, {}, b"x" * 3_000_000), "than the file can be"),
        ((401, {}, b"no"), "answered with 401"),
        ((403, {}, b"<Error>insufficient_quota</Error>"), "answered with 403"),
        ((404, {}, b""), "answered with 404"),
        ((302, {"location": "http://127.0.0.1:9/elsewhere", "x": "x" * 10}, b""), ""),
        ((302, {"location": "http://there.test/"}, b""), "unencrypted"),
    ],
)
def test_a_content_at_another_server_that_has_it_not(
    holdall: Terminal, opened: Callable[..., Door], stocked: Running, answer: Reply, why: str
) -> None:
    blob = opened(answer)
    door = opened(fronted(stocked, f"{blob.origin}/x?sig=hidden"))
    if not why:
        done = holdall("export", "-o", "x.tar.zst", "--env-file", "none", OPENAI_SRC_BASE_URL=f"{door.origin}/v1")
        assert done.code == 22  # nobody is there
        return
    line, said = exported(holdall, door)
    assert line.fidelity == "unavailable"
    assert why in line.message
    assert "key" not in line.message
    assert "hidden" not in line.message + str(said)


@sweep(
    ("location", "why"),
    [
        ("http://there.test/x", "http://there.test, which is unencrypted"),
        ("http://10.0.0.1/x", "http://10.0.0.1, which is unencrypted"),
        ("https://10.0.0.1/x", "https://10.0.0.1, which is a private address"),
        ("https://169.254.169.254/latest/meta-data", "https://169.254.169.254, which is a link-local address"),
        ("https://user:hidden@127.0.0.1/x", "https://127.0.0.1 with a user name or password"),
        ("file:///etc/passwd", "to an invalid URL"),
        ("", "to an invalid URL"),
    ],
)
def test_a_content_that_is_nowhere_to_be_asked(
    holdall: Terminal, opened: Callable[..., Door], stocked: Running, location: str, why: str
) -> None:
    line, said = exported(holdall, opened(fronted(stocked, location)))
    assert line.fidelity == "unavailable"
    assert why in line.message
    assert "hidden" not in line.message + str(said)


def test_a_parsed_text_is_no_content(holdall: Terminal, opened: Callable[..., Door], box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        hand.assistant("A", stores=[hand.store("S", [hand.file("a.txt", FILE)])])
    other = opened((200, {}, json.dumps({"data": [{"type": "text", "text": "forged"}]}).encode()))

    def answer(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if target.startswith("/v1/vector_stores") and "/content" in target:
            return 307, {"location": other.origin}, b""
        return ask(box.url, method, target, headers, body)

    line, _ = exported(holdall, opened(answer))
    assert line.fidelity == "unavailable"
    assert "another server" in line.message
    assert other.seen == []
