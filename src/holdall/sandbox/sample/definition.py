"""What the sample project holds, read from ``definition.json``."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import msgspec

_ROOM = "holdall.sandbox.sample"


class SampleDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file to upload. ``file`` is its name in the package and its key everywhere here, ``name`` its true name."""

    file: str
    name: str
    purpose: str = "assistants"

    def content(self) -> bytes:
        return (resources.files(_ROOM) / "documents" / self.file).read_bytes()


class Membership(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document in a store, as ``file_batches`` takes it. Without a strategy the server chooses one."""

    document: str
    attributes: dict[str, str | int | float | bool] | None = None
    chunking_strategy: dict[str, Any] | None = None


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vector store. ``key`` names it inside the definition only."""

    key: str
    name: str
    metadata: dict[str, str] | None = None
    expires_after: dict[str, Any] | None = None
    files: list[Membership]


class Assistant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An assistant: the body of its create request, without what has to be looked up.

    ``instructions_from`` names a text in ``instructions/``, ``store`` the key of the store that file_search uses,
    ``files`` the documents of the code interpreter.
    """

    request: dict[str, Any]
    instructions_from: str | None = None
    store: str | None = None
    files: list[str] = []

    def body(self) -> dict[str, Any]:
        """The request with its instructions, still without ``tool_resources``."""
        if self.instructions_from is None:
            return dict(self.request)
        path = resources.files(_ROOM) / "instructions" / self.instructions_from
        return {**self.request, "instructions": path.read_text(encoding="utf-8")}


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole project. ``about`` is a sentence for people."""

    about: str
    documents: list[SampleDocument]
    stores: list[Store]
    assistants: list[Assistant]


@cache
def sample() -> Sample:
    """The sample project that ships with the package."""
    return msgspec.json.decode((resources.files(_ROOM) / "definition.json").read_bytes(), type=Sample)
