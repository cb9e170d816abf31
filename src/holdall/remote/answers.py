"""One answer of a server, and what the endpoints are called."""

from __future__ import annotations

import msgspec


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


def route(where: str) -> str:
    """The path with its ids (every second segment) replaced by ``*``: the endpoint that it belongs to."""
    parts = where.strip("/").split("/")
    return "/" + "/".join("*" if place % 2 else part for place, part in enumerate(parts))
