"""One answer of a server, JSON or a body that is arriving, and what the endpoints are called."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Mapping

import msgspec

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:?([A-Za-z0-9+/=]+):?", re.I)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One successful answer: its JSON, which every decoder reads."""

    raw: bytes
    status: int
    request_id: str | None = None
    is_altered: bool = False
    """A key that the server sent back was taken out of it."""
    unreadable: bytes | None = None
    """The same JSON as it was sent, where not every decoder reads that."""

    @property
    def sent(self) -> bytes:
        """What a bundle keeps."""
        return self.raw if self.unreadable is None else self.unreadable


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What is still wanted of a body that broke off: the bytes from ``start`` on, if it is the same body still."""

    start: int
    validator: str | None

    def headers(self) -> dict[str, str]:
        same = {"If-Range": self.validator} if self.validator else {}
        return {"Range": f"bytes={self.start}-", **same}


class Download:
    """A body that is arriving, or the rest of one.

    ``chunks`` are pieces of some 1 MiB, and raise Unreachable where the body ends before its announced length, or
    nothing comes for long; what came before is given first. ``start`` is where it begins in the whole; ``length`` is
    how long the whole is, ``validator`` what it is known by, ``digest`` hashlib's name and what it hashes to, each None
    where the server doesn't tell. ``origin`` (``https://host``) is where it comes from after a redirect to another
    origin. ``can_resume``: the server may be asked for the rest of it.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str], chunks: AsyncGenerator[bytes, None], *, origin: str = ""
    ) -> None:
        self.chunks, self.origin = chunks, origin
        # What a head says of a packed body is about the packed bytes.
        is_packed = headers.get("content-encoding", "identity") != "identity"
        self.can_resume = not is_packed and headers.get("accept-ranges", "bytes").strip().lower() != "none"
        announced = headers.get("content-length", "")
        self.start = 0
        self.length = int(announced) if _LENGTH.fullmatch(announced) and not is_packed else None
        self.digest = None if is_packed else _digest(headers)
        self.validator = None if is_packed else _validator(headers)
        if status == 206:
            # A part without its place in the whole can't be used: -1 continues nothing.
            place = _RANGE.fullmatch(headers.get("content-range", "").strip())
            self.start = int(place[1]) if place and not is_packed else -1
            self.length = int(place[3]) if place and place[3] != "*" else None
            self.digest = None


def _validator(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("etag")
    # A weak one stays the same when bytes change.
    return etag if etag and etag.startswith('"') else headers.get("last-modified")


def _digest(headers: Mapping[str, str]) -> tuple[str, bytes] | None:
    found = _DIGEST.search(headers.get("repr-digest", "")) or _DIGEST.search(headers.get("digest", ""))
    name, text = ("sha256", found[1]) if found else ("md5", headers.get("content-md5", ""))
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return (name, value) if len(value) == (32 if name == "sha256" else 16) else None


def route(where: str) -> str:
    """The path with its ids (every second segment) replaced by ``*``: the endpoint that it belongs to."""
    parts = where.strip("/").split("/")
    return "/" + "/".join("*" if place % 2 else part for place, part in enumerate(parts))
