"""Where a redirect may lead: the transport, with a network that the test makes up."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any, cast

import httpx2
import pytest

from holdall.remote import transport
from holdall.remote.transport import BadRedirect, Transport, other_origin

CONTENT = "/files/file-1/content"
HEADERS = {
    "authorization": "Bearer sk-secret",
    "api-key": "sk-secret",
    "openai-organization": "org-1",
    "openai-project": "proj_1",
    "openai-beta": "assistants=v2",
    "x-stainless-lang": "python",
    "cookie": "a=sk-secret",
    "range": "bytes=5-",
}
NETWORKS = {
    "inside": "a private address",
    "10.0.0.1": "a private address",
    "169.254.169.254": "a link-local address",
}


class Network(Transport):
    """Answers by URL; what isn't in ``answers`` is there."""

    def __init__(self, base_url: str, answers: dict[str, tuple[int, str]]) -> None:
        super().__init__(base_url, httpx2.Limits())
        self.base_url, self.answers = base_url, answers
        self.seen: list[httpx2.Request] = []

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        status, location = self.answers.get(str(request.url), (200, ""))
        return httpx2.Response(status, headers={"location": location} if status != 200 else {"set-cookie": "b=1"})

    def ask(self, path: str, method: str = "GET") -> httpx2.Response:
        request = httpx2.Request(method, self.base_url + path, headers=HEADERS, content=b"{}" * (method == "POST"))
        return asyncio.run(self.handle_async_request(request))

    @property
    def urls(self) -> list[str]:
        return [str(request.url) for request in self.seen]


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def networks(url: httpx2.URL) -> set[str]:
        local = url.host in ("127.0.0.1", "localhost", "::1")
        return {"this machine" if local else NETWORKS.get(url.host, "")}

    monkeypatch.setattr(transport, "_networks", networks)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def to(location: str, base: str = "https://api.example/v1", status: int = 302, path: str = CONTENT) -> Network:
    return Network(base, {base + path: (status, location)})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [CONTENT, "/containers/cntr_1/files/cfile_1/content", CONTENT + "?api-version=v1"])
def test_a_content_is_followed_without_our_headers(status: int, path: str) -> None:
    network = to("https://blob.example/x?sig=hidden", status=status, path=path)
    response = network.ask(path)
    assert other_origin(response) == "https://blob.example"
    assert "set-cookie" not in response.headers
    sent = network.seen[1].headers
    assert {name: sent[name] for name in sent} == {"host": "blob.example", "range": "bytes=5-"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/files/file-1"),
        ("GET", "/files"),
        ("GET", "/vector_stores/vs_1/files/file-1/content"),
        ("GET", "/files/a/b/content"),
        ("GET", "/files/file-1/content/x"),
        ("POST", "/files"),
        ("POST", CONTENT),
        ("DELETE", "/files/file-1"),
    ],
)
@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize(
    "location", ["https://other.example/v1", "https://api.example:444/v1", "http://api.example/v1", "//other.example/"]
)
def test_nothing_else_goes_to_another_origin(method: str, path: str, status: int, location: str) -> None:
    network = to(location, status=status, path=path)
    with pytest.raises(BadRedirect, match="another server") as caught:
        network.ask(path, method)
    assert caught.value.moved_to in str(caught.value)
    assert caught.value.ambiguous == (status == 302)
    assert len(network.seen) == 1


@pytest.mark.parametrize(
    ("base", "location", "why"),
    [
        ("https://api.example/v1", "http://blob.example/x", "unencrypted"),
        ("http://127.0.0.1:1/v1", "http://blob.example/x", "unencrypted"),
        ("https://127.0.0.1:1/v1", "http://127.0.0.1:2/x", "unencrypted"),
        ("https://api.example/v1", "https://127.0.0.1/x", "this machine"),
        ("https://api.example/v1", "https://localhost/x", "this machine"),
        ("https://api.example/v1", "https://169.254.169.254/latest", "link-local"),
        ("https://api.example/v1", "https://inside/x", "private address"),
        ("http://127.0.0.1:1/v1", "https://10.0.0.1/x", "private address"),
        ("http://inside/v1", "http://127.0.0.1/x", "this machine"),
        ("http://inside/v1", "http://169.254.169.254/x", "link-local"),
        ("https://api.example/v1", "https://user:hidden@blob.example/x", "user name or password"),
        ("https://api.example/v1", "https://user@api.example/x", "user name or password"),
        ("https://api.example/v1", "file:///etc/passwd", "to an invalid URL"),
        ("https://api.example/v1", "ftp://blob.example/x", "to an invalid URL"),
        ("https://api.example/v1", "https://[::1/x", "to an invalid URL"),
        ("https://api.example/v1", "https://blob.example:port/x", "to an invalid URL"),
        ("https://api.example/v1", "https://xn--/\x7f", "to an invalid URL"),
        ("https://api.example/v1", "", "to an invalid URL"),
        ("https://api.example/v1", "  ", "to an invalid URL"),
    ],
)
def test_a_content_stays_outside(base: str, location: str, why: str) -> None:
    network = to(location, base)
    with pytest.raises(BadRedirect, match=why) as caught:
        network.ask(CONTENT)
    assert "hidden" not in str(caught.value)
    assert len(network.seen) == 1


@pytest.mark.parametrize(
    ("base", "location"),
    [
        ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/x"),
        ("http://localhost:1/v1", "http://[::1]:2/x"),
        ("http://127.0.0.1:1/v1", "https://blob.example/x"),
        ("http://inside/v1", "http://10.0.0.1/x"),
        ("http://inside/v1", "https://blob.example/x"),
        ("https://inside/v1", "https://10.0.0.1:9000/x"),
    ],
)
def test_a_content_goes_to_its_like(base: str, location: str) -> None:
    network = to(location, base)
    network.ask(CONTENT)
    assert network.urls == [base + CONTENT, location]


def test_once_outside_nothing_of_ours_comes_back() -> None:
    network = to("https://blob.example/x")
    network.answers["https://blob.example/x"] = (302, "https://api.example/v1/y")
    response = network.ask(CONTENT)
    assert other_origin(response) == "https://api.example"
    assert all("authorization" not in request.headers for request in network.seen[1:])
    network.answers["https://api.example/v1/y"] = (307, "http://blob.example/z")
    with pytest.raises(BadRedirect, match="unencrypted"):
        network.ask(CONTENT)


def test_within_one_origin() -> None:
    for location in ("/v1/other", "other", "?page=2", "https://API.example:443/v1/other"):
        network = to(location, path="/files/x", status=301)
        assert not other_origin(network.ask("/files/x"))
        assert network.seen[1].headers["authorization"] == "Bearer sk-secret"
    network = to("/v1/files/", path="/files", status=308)
    network.ask("/files", "POST")
    assert [request.method for request in network.seen] == ["POST", "POST"]
    for status in (301, 302, 303):
        with pytest.raises(BadRedirect, match=f"with {status}, which would turn POST into GET"):
            to("/v1/files/", path="/files", status=status).ask("/files", "POST")
        with pytest.raises(BadRedirect, match="would turn DELETE into GET"):
            to("/v1/files/", path="/files", status=status).ask("/files", "DELETE")


def test_a_circle_ends() -> None:
    network = to(CONTENT, base="https://api.example")
    with pytest.raises(httpx2.TooManyRedirects):
        network.ask(CONTENT)
    assert len(network.seen) <= 10
    network = to("https://blob.example/x")
    network.answers["https://blob.example/x"] = (302, "https://blob.example/x")
    with pytest.raises(httpx2.TooManyRedirects):
        network.ask(CONTENT)


def test_who_answered_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def get_extra_info(self, name: str) -> Any:
            return ("127.0.0.1", 443)

    network = to("https://blob.example/x")
    send = network._send

    async def answered_inside(request: httpx2.Request) -> httpx2.Response:
        response = await send(request)
        response.extensions["network_stream"] = Stream()
        return response

    monkeypatch.setattr(network, "_send", answered_inside)
    with pytest.raises(BadRedirect, match="this machine"):
        network.ask(CONTENT)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("8.8.8.8", ""),
        ("2606:4700::1111", ""),
        ("127.8.8.8", "this machine"),
        ("0.0.0.0", "this machine"),
        ("::", "this machine"),
        ("::1", "this machine"),
        ("::ffff:127.0.0.1", "this machine"),
        ("169.254.169.254", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("::ffff:169.254.169.254", "a link-local address"),
        *(
            (address, "a private address")
            for address in ("10.1.1.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1")
        ),
        *((address, "a private address") for address in ("224.0.0.1", "255.255.255.255", "ff02::1")),
    ],
)
def test_the_network_of_an_address(address: str, network: str) -> None:
    assert transport._network(address) == network


def body_of(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The body of an upload, as it is sent."""
    return cast(AsyncGenerator[bytes, None], aiter(transport._ReadInThread(pieces)))


def test_a_small_body_is_read_at_once_and_a_long_one_in_pieces_of_their_own() -> None:
    async def sent(pieces: list[bytes]) -> list[bytes]:
        return [piece async for piece in body_of(iter(pieces))]

    assert asyncio.run(sent([b"head", b"content", b"end"])) == [b"headcontentend"]
    large = [bytes([number]) * (1 << 20) for number in range(3)]
    found = asyncio.run(sent([b"head", *large, b"end"]))
    assert found == [b"head" + large[0], large[1], large[2], b"end"]
    assert found[1] is large[1], "copied"


def test_the_next_piece_of_an_upload_is_read_while_one_is_sent() -> None:
    reading = [threading.Event() for _ in range(3)]

    def pieces() -> Iterator[bytes]:
        for event in reading:
            event.set()
            yield bytes(1 << 20)

    async def send() -> None:
        body = body_of(pieces())
        await anext(body)
        assert await asyncio.to_thread(reading[1].wait, 60)
        assert not reading[2].is_set(), "more than one is held"
        await body.aclose()

    asyncio.run(send())


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_read_any_more_once_an_upload_has_ended(fails: bool) -> None:
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        yield bytes(1 << 20)
        began.set()
        goes_on.wait(60)
        ended.set()
        if fails:
            raise OSError("damaged")
        yield bytes(1 << 20)

    async def send() -> None:
        body = body_of(pieces())
        await anext(body)
        assert await asyncio.to_thread(began.wait, 60)
        asyncio.get_running_loop().call_later(0.01, goes_on.set)
        await body.aclose()
        assert ended.is_set()

    asyncio.run(send())


def test_certificates_are_read_for_https_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    own = Transport("http://127.0.0.1:9/v1", httpx2.Limits())
    with pytest.raises(httpx2.ConnectError, match="SSL_CERT_FILE"):
        asyncio.run(own._send(httpx2.Request("GET", "https://blob.example/x")))
    with pytest.raises(OSError, match="CERTIFICATE"):
        Transport("https://api.example/v1", httpx2.Limits())
    monkeypatch.setenv("SSL_CERT_FILE", "gone.pem")
    with pytest.raises(OSError, match="No such file"):
        Transport("http://127.0.0.1:9/v1", httpx2.Limits())


@pytest.mark.parametrize("size", [0, 100, 1 << 20, (1 << 20) + 1])
def test_only_a_small_upload_that_is_in_memory_is_no_work_for_a_thread(size: int) -> None:
    class Other(io.BytesIO):
        """Reading it may take long."""

    for kind in (io.BytesIO, Other):
        request = httpx2.Request(
            "POST", "http://x/files", data={"purpose": "p"}, files={"file": ("n", kind(bytes(size)))}
        )

        async def sent(request: httpx2.Request = request) -> bytes:
            await transport._read_in_thread(request)
            return b"".join([piece async for piece in cast(httpx2.AsyncByteStream, request.stream)])

        body = asyncio.run(sent())
        assert len(body) == int(request.headers["content-length"])
        assert body.count(bytes(size) + b"\r\n--") == 1 or not size
        is_one = kind is io.BytesIO and size <= 1 << 20
        assert isinstance(request.stream, httpx2.ByteStream) is is_one
