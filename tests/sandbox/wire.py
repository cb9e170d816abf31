"""Plain HTTP to a sandbox, for what the SDK would not let through or would hide."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tests.waiting import STANDSTILL

KEY = "sk-source-0001"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, after a look that it has all four of its keys."""
        error: dict[str, Any] = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


def ask(
    url: str,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None = KEY,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request. ``url`` is the base URL; a body that isn't bytes is sent as JSON."""
    where = urlsplit(url)
    assert where.hostname is not None
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = kind(where.hostname, where.port, timeout=STANDSTILL)
    given = {"OpenAI-Beta": "assistants=v2", "Content-Type": "application/json"}
    if key is not None:
        given["Authorization"] = f"Bearer {key}"
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, where.path + path, sent, {**given, **(headers or {})})
        response = connection.getresponse()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read(),
        )
    finally:
        connection.close()


def form(filename: str, data: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A multipart body with one file, and the header that goes with it."""
    return parts([("file", filename, data)], **fields)


def parts(files: Iterable[tuple[str, str, bytes]], **fields: str) -> tuple[bytes, dict[str, str]]:
    """A multipart body with files (field, filename, bytes), and the header that goes with it."""
    boundary = b"----boundary-of-the-tests"
    made = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name.encode(), value.encode())
        for name, value in fields.items()
    ]
    made += [
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%b\r\n" % (boundary, field.encode(), filename.encode(), data)
        for field, filename, data in files
    ]
    body = b"".join(made) + b"--%b--\r\n" % boundary
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}


def upload(url: str, filename: str, data: bytes, *, key: str = KEY, **fields: str) -> Answer:
    body, headers = form(filename, data, **{"purpose": "assistants", **fields})
    return ask(url, "POST", "/files", body, key=key, headers=headers)
