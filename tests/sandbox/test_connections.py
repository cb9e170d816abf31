"""Connections that never come to an end of what they send: each is given up, and others are served meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdall.sandbox import connections
from holdall.sandbox.server import Running
from tests.sandbox.wire import KEY, ask, upload
from tests.waiting import STANDSTILL, until

HALF = {
    "nothing": "",
    "half a line": "GET /v1/fi",
    "half a head": "GET /v1/files HTTP/1.1\r\n{head}",
    "no body": "POST /v1/vector_stores HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\n",
    "half a body": 'POST /v1/vector_stores HTTP/1.1\r\n{head}Content-Length: 90\r\n\r\n{{"na',
    "half a chunk": "POST /v1/vector_stores HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "no last chunk": "POST /v1/vector_stores HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n",
    "half an upload": "POST /v1/files HTTP/1.1\r\n{head}Content-Type: multipart/form-data; boundary=b\r\n"
    "Content-Length: 9000\r\n\r\n--b\r\n",
    "a body that nobody reads": "POST /v1/nothing HTTP/1.1\r\n{head}Content-Length: 90\r\n\r\nx",
    "after an answer": "GET /v1/files HTTP/1.1\r\n{head}\r\nGET /v1/fi",
}


@contextmanager
def connected(box: Running) -> Iterator[socket.socket]:
    where = urlsplit(box.url)
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=STANDSTILL) as connection:
        yield connection


def request(box: Running, text: str) -> bytes:
    head = f"Host: {urlsplit(box.url).netloc}\r\nAuthorization: Bearer {KEY}\r\nOpenAI-Beta: assistants=v2\r\n"
    return text.format(head=head).encode()


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    found = b""
    try:
        while piece := connection.recv(1 << 16):
            found += piece
    except ConnectionError:
        pass
    return found


def aged(box: Running, connection: socket.socket) -> bytes:
    """What comes while time passes, until the other side ends the connection."""
    found = b""
    connection.setblocking(False)

    def ended() -> bool:
        nonlocal found
        box.age(10)
        try:
            piece = connection.recv(1 << 16)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        found += piece
        return not piece

    until(ended)
    return found


@pytest.mark.parametrize("half", HALF)
def test_half_a_request_is_given_up(box: Running, half: str) -> None:
    with connected(box) as connection:
        connection.sendall(request(box, HALF[half]))
        assert ask(box.url, "GET", "/files").status == 200
        answer = aged(box, connection)
    answered = half in ("a body that nobody reads", "after an answer")
    assert answer.startswith(b"HTTP/1.1 " + (b"200" if half == "after an answer" else b"404" if answered else b"408"))
    assert ask(box.url, "GET", "/files").status == 200
    assert list((box.data / "incoming").iterdir()) == []


def test_an_answer_that_nobody_reads_is_given_up(box: Running) -> None:
    box.behave(serve_assistants_files=True)
    file = upload(box.url, "a.txt", b"x" * 30_000_000).json()["id"]
    with connected(box) as connection:
        connection.sendall(request(box, f"GET /v1/files/{file}/content HTTP/1.1\r\n{{head}}\r\n"))
        assert connection.recv(10)

        def ended() -> bool:
            box.age(10)
            return not box._server._connections._open

        until(ended)
        assert len(rest(connection)) < 30_000_000
    until(lambda: not [link for link in Path("/proc/self/fd").glob("*") if str(box.data / "blobs") in target(link)])


def target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # it was closed meanwhile
        return ""


@pytest.mark.parametrize(
    "start",
    [
        "POST /v1/vector_stores HTTP/1.1\r\n{head}Content-Length: 100000\r\n\r\n",
        "POST /v1/vector_stores HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n186a0\r\n",
        "GET /v1/files HTTP/1.1\r\n{head}X-A: ",
    ],
)
def test_drops_are_no_progress(box: Running, start: str) -> None:
    with connected(box) as connection:
        connection.sendall(request(box, start))
        connection.setblocking(False)

        def ended() -> bool:
            box.age(10)
            try:
                connection.send(b"x")
                return not connection.recv(1 << 16)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        until(ended)


def received(box: Running) -> int:
    return sum(connection._came for connection in box._server._connections._open.values())


def test_a_slow_body_that_comes_is_taken(box: Running) -> None:
    body = b'{"name": "' + b"x" * 1_000_000 + b'"}'
    start = f"POST /v1/vector_stores HTTP/1.1\r\n{{head}}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with connected(box) as connection:
        connection.sendall(request(box, start))
        # The last piece is no part of it: with that the connection is soon gone.
        *places, last = range(0, len(body), 100_000)
        for place in places:
            came = received(box)
            connection.sendall(body[place : place + 100_000])
            # One piece is awaited at the most: it must have been seen before time passes.
            until(lambda came=came: received(box) > came)
            box.age(30)
        connection.sendall(body[last:])
        assert rest(connection).startswith(b"HTTP/1.1 200")


def test_a_connection_that_rests_between_requests_is_kept(box: Running) -> None:
    with connected(box) as connection:
        for _ in range(3):
            connection.sendall(request(box, "GET /v1/models/gpt-4o HTTP/1.1\r\n{head}\r\n"))
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(1 << 16)
            for _ in range(20):
                box.age(50)


def test_requests_one_behind_the_other_are_answered_in_order(box: Running) -> None:
    lines = [f"GET /v1/models/{name} HTTP/1.1\r\n{{head}}" for name in ("gpt-4o", "no-model", "gpt-4o-mini") * 20]
    with connected(box) as connection:
        connection.sendall(request(box, "\r\n".join(lines) + "Connection: close\r\n\r\n"))
        answers = rest(connection).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"404", b"200"] * 20


def test_a_chunked_body_without_an_end_is_refused(box: Running) -> None:
    with connected(box) as connection:
        connection.sendall(request(box, "POST /v1/vector_stores HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n"))
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(200):
            connection.sendall(chunk)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")
        # It may go on sending for a while, and not for ever.
        connection.setblocking(False)

        def ended() -> bool:
            box.age(1)
            try:
                connection.send(chunk)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        until(ended)


@pytest.mark.parametrize(
    "text",
    [
        "GET /v1/" + "x" * 1_000_000 + " HTTP/1.1\r\n{head}\r\n",
        "GET /v1/files HTTP/1.1\r\n{head}X-A: " + "x" * 1_000_000 + "\r\n\r\n",
        "GET /v1/files HTTP/1.1\r\n{head}" + "X-A: x\r\n" * 200_000 + "\r\n",
        "GET /v1/files HTTP/1.1\r\n\r\n",
        "GET /v1/files HTTP/1.1\r\n{head}{head}\r\n",
        "POST /v1/files HTTP/1.1\r\n{head}Content-Length: -1\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\n{head}Content-Length: 1" + "0" * 5000 + "\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\n{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\1\2\3\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_said_nothing_of(
    box: Running, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with connected(box) as connection:
        with suppress(ConnectionError):
            connection.sendall(request(box, text))
        answer = rest(connection)
        assert answer[:10] in (b"HTTP/1.1 4", b"")
    assert ask(box.url, "GET", "/files").status == 200
    assert capfd.readouterr().err == ""


def test_more_connections_than_there_may_be(box: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert connections._MOST >= 2 * 256, "two clients with all the requests at once that they may have"
    box._server._connections._most = 3
    with ExitStack() as stack:
        for _ in range(3):
            held = stack.enter_context(connected(box))
            held.sendall(request(box, "GET /v1/models HTTP/1.1\r\n{head}\r\n"))
            assert held.recv(1 << 16).startswith(b"HTTP/1.1 200")
        with connected(box) as more:
            assert rest(more).startswith(b"HTTP/1.1 503")
    until(lambda: ask(box.url, "GET", "/files").status == 200)
