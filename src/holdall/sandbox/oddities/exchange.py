"""One request and its answer, as the oddities see and change them, and what a server remembers between requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec


class Memory(msgspec.Struct, kw_only=True):
    """What odd behaviour depends on besides the request. Projects are named by id."""

    updated_stores: set[str] = set()
    former_windows: dict[tuple[str, str], dict[str, str]] = {}
    """Project and path of a list -> the query that was answered last."""
    uploaded_at: dict[str, float] = {}
    broken_lists: set[str] = set()


_LISTS = ("agents", "assistants", "containers", "files", "skills", "templates", "vector_stores", "versions")


class Exchange(msgspec.Struct, kw_only=True):
    """A request that changes on its way in, and its answer, which changes on its way out."""

    method: str
    path: str
    """Below ``/v1``."""
    query: dict[str, str]
    project: str
    now: float
    headers: dict[str, str]
    """By their names in lower case."""
    body: Any = msgspec.UNSET
    """The JSON that was sent; UNSET where it was something else, or nothing."""
    everything: bool = False
    """Whether all pages of a list are to be answered as one."""

    status: int = 0
    """Of the answer; 0 until there is one."""
    answer: Any = None
    """The JSON that is answered."""
    raw: bytes | None = None
    """What is answered in place of the JSON."""
    media_type: str = "application/json"

    @property
    def parts(self) -> list[str]:
        return self.path.strip("/").split("/")

    @property
    def is_paged(self) -> bool:
        """Whether this asks for a list that has pages."""
        # Kinds and names take turns in a path; a Foundry agent may have a kind's for a name.
        return self.method == "GET" and len(self.parts) % 2 == 1 and self.parts[-1] in _LISTS

    @property
    def is_text(self) -> bool:
        """Whether this asks for a file's parsed text."""
        return self.method == "GET" and self.parts[0] == "vector_stores" and self.parts[-1] == "content"

    @property
    def is_list(self) -> bool:
        """Whether a list is answered."""
        found = self.answer
        return self.status < 400 and isinstance(found, dict) and (found.get("object") == "list" or "data" in found)

    def records(self) -> Iterator[dict[str, Any]]:
        """The objects that are answered: the one, or those of the list, each with the one that is in it."""
        if self.status >= 400 or not isinstance(self.answer, dict):
            return
        found = self.answer.get("data") if self.is_paged else [self.answer]
        for each in found or ():
            if isinstance(each, dict):
                yield each
                latest = each["versions"].get("latest") if isinstance(each.get("versions"), dict) else None
                if isinstance(latest, dict):
                    yield latest

    def reply(self, status: int, answer: Any) -> None:
        self.status, self.answer, self.raw = status, answer, None


Change = Callable[[Exchange, Memory], None]
