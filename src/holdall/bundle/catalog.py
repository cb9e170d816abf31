"""What stands in a stream already, known in little memory: some two hundred bytes a content, whatever its names."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from holdall.bundle import layout
from holdall.bundle.journal import Entry, Journal
from holdall.bundle.layout import IndexEntry
from holdall.bundle.names import Taken, safe_name
from holdall.model import Kind

__all__ = ["Catalog"]


class Catalog:
    """Names taken, records and contents of one stream. ``unseen`` are those of an earlier run not yet confirmed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._taken = Taken()
        self._store_names: dict[str, str] = {}
        self.tags: set[str] = set()
        self.records: dict[tuple[Kind, str], str] = {}
        self.unseen_records: set[tuple[Kind, str]] = set()
        self.unseen_contents: set[int] = set()
        self._positions: dict[int, int] = {}
        self._recent: dict[str, IndexEntry] = {}
        for position, line in journal.lines():
            if isinstance(line, Entry):
                self._load(line, position)
        self.unseen_records.update(self.records)
        self.unseen_contents.update(self._positions)

    def _load(self, line: Entry, position: int) -> None:
        entry = line.entry
        if not entry.path.startswith("data/"):
            self.tags.add(entry.path)
        elif entry.rung is not None and entry.id is not None:
            content = entry.path.startswith(layout.CONTENTS)
            self._taken.add(entry.path.rsplit("/", 1)[0] if content else entry.path)
            self._positions[hash(entry.id)] = position
        elif entry.id is not None and line.hash is not None:
            kind = layout.kind_of(entry.path)
            self.records[kind, entry.id] = line.hash
            if kind is Kind.STORE:
                name = entry.path.removeprefix(layout.STORES).removesuffix(layout.RECORD)
                self._store_names[entry.id] = name
                self._taken.add(f"{layout.STORES}{name}{layout.MEMBERSHIPS}")
            else:
                self._taken.add(entry.path)

    def store_name(self, store_id: str) -> str:
        """The name under which all that belongs to one store lies, given once and kept."""
        name = self._store_names.get(store_id)
        if name is None:
            path = self._free(layout.STORES, store_id, layout.MEMBERSHIPS)
            name = path.removeprefix(layout.STORES).removesuffix(layout.MEMBERSHIPS)
            self._store_names[store_id] = name
        return name

    def store_of(self, name: str) -> str:
        """The id of the store that has this name; the name itself where no record of it has come."""
        return next((id for id, known in self._store_names.items() if known == name), name)

    def agent_path(self, agent_id: str) -> str:
        return self._free(layout.AGENTS, agent_id, layout.RECORD)

    def assistant_path(self, assistant_id: str) -> str:
        return self._free(layout.ASSISTANTS, assistant_id, layout.RECORD)

    def content_folder(self, file_id: str) -> str:
        return self._free(layout.CONTENTS, file_id, "") + "/"

    def text_path(self, store_id: str, file_id: str) -> str:
        return self._free(f"{layout.TEXTS}{self.store_name(store_id)}/", file_id, layout.RECORD)

    def _free(self, folder: str, id: str, suffix: str) -> str:
        name = safe_name(id, suffix=suffix)
        return self._taken.first_free(folder, name[: len(name) - len(suffix)], suffix=suffix)

    def content(self, file_id: str) -> IndexEntry | None:
        """The content of that id, and it counts as seen."""
        with self._lock:
            found = self._recent.get(file_id)
            position = self._positions.get(hash(file_id))
            if found is None and position is not None:
                line = self._journal.read(position)
                if isinstance(line, Entry) and line.entry.id == file_id:
                    found = line.entry
            if found is not None:
                self.unseen_contents.discard(hash(file_id))
            return found

    def add_content(self, entry: IndexEntry) -> None:
        assert entry.id is not None
        with self._lock:
            self._recent[entry.id] = entry

    def journalled(self, contents: Iterable[tuple[str, int]]) -> None:
        """From here on the journal remembers these contents, each at a position of its own."""
        with self._lock:
            for file_id, position in contents:
                self._positions[hash(file_id)] = position
                self._recent.pop(file_id, None)

    def seen(self, entry: IndexEntry) -> bool:
        """Is this entry one that the present run has confirmed or written?"""
        if entry.id is None:
            return False
        if entry.rung is not None:
            return hash(entry.id) not in self.unseen_contents
        return (layout.kind_of(entry.path), entry.id) not in self.unseen_records
