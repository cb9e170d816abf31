"""A body that is arriving, and what its head says about it: how long it is, from where on, and whose it is. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Mapping

import msgspec

__all__ = ["Digest", "Download", "Rest"]

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:?([A-Za-z0-9+/=]+):?", re.I)


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What is still wanted of a body that broke off: the bytes from ``start`` on, if it is the same body still."""

    start: int
    validator: str | None

    def headers(self) -> dict[str, str]:
        same = {"If-Range": self.validator} if self.validator else {}
        return {"Range": f"bytes={self.start}-", **same}


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says that the whole body hashes to; ``name`` is hashlib's."""

    name: str
    value: bytes


class Download:
    """A body that is arriving, or the rest of one.

    ``start`` is where it begins in the whole; ``length`` is how long the whole is, ``validator`` what it is known by,
    ``digest`` what it hashes to, each None where the server doesn't tell. ``origin`` (``https://host``) is where it
    comes from after a redirect to another origin. ``chunks`` raises RemoteError: Unreachable where the body ends
    before its announced length, or nothing comes for long.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str], chunks: AsyncGenerator[bytes, None], *, origin: str = ""
    ) -> None:
        self._chunks, self.origin = chunks, origin
        encoded = headers.get("content-encoding", "identity") != "identity"
        announced = headers.get("content-length", "")
        self.start = 0
        self.length = int(announced) if _LENGTH.fullmatch(announced) and not encoded else None
        self.digest = None if encoded else _digest(headers)
        self.validator = None if encoded else _validator(headers)
        if status == 206:
            # A part without its place in the whole is nobody's part.
            place = _RANGE.fullmatch(headers.get("content-range", "").strip())
            self.start = int(place[1]) if place and not encoded else -1
            self.length = int(place[3]) if place and place[3] != "*" else None
            self.digest = None
        self.can_go_on = not encoded and headers.get("accept-ranges", "bytes").strip().lower() != "none"
        """Whether the server may be asked for the rest of it."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces of some 1 MiB; what came before an error comes before it here too."""
        return self._chunks


def _validator(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("etag")
    # A weak one stays the same when bytes change.
    return etag if etag and etag.startswith('"') else headers.get("last-modified")


def _digest(headers: Mapping[str, str]) -> Digest | None:
    found = _DIGEST.search(headers.get("repr-digest", "")) or _DIGEST.search(headers.get("digest", ""))
    name, text = ("sha256", found[1]) if found else ("md5", headers.get("content-md5", ""))
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return Digest(name=name, value=value) if len(value) == (32 if name == "sha256" else 16) else None
