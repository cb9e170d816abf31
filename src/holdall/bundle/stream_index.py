"""Index of an unfinished stream. What it knows of each content is on disk once there are many."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from holdall.bundle import layout
from holdall.bundle.partial import Entry, Journal, Stored
from holdall.kinds import KINDS
from holdall.model import Kind
from holdall.safe_files import safe_name
from holdall.spilling import SpillingDict, Taken

_UNNAMED = "unnamed"


class StreamIndex:
    """Names taken, records and contents of one stream. ``unseen`` are those of an earlier run not yet confirmed;
    ``superseded`` says that a content has a later one of the same file behind it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._taken = Taken()
        # Of the kinds that have lines beside their records, and of stores that are only named by a text.
        self._names: dict[tuple[Kind, str], str] = {}
        self.tags: set[str] = set()
        self.records: dict[tuple[Kind, str], tuple[str, int | None]] = {}
        self.unseen_records: set[tuple[Kind, str]] = set()
        self.unseen_contents = SpillingDict[int]()
        self.superseded = False
        # By the hash of an id, which may be 512 bytes long; ``content`` looks at the line itself.
        self._positions = SpillingDict[int]()
        # Those that the journal has not taken in yet, which can't be read from it.
        self._recent: dict[str, Stored] = {}
        for position, line in journal.lines():
            if isinstance(line, Stored):
                self._load_content(line, position)
            elif isinstance(line, Entry):
                self._load(line)
        self.unseen_records.update(self.records)

    def _load_content(self, line: Stored, position: int) -> None:
        path, key = line.entry.path, hash(line.ledger.id)
        self._taken.add(path if line.store is not None else path.rsplit("/", 1)[0])
        if line.store is not None:
            self._set_name(Kind.STORE, line.store, path.split("/")[2])
        self.superseded |= key in self._positions
        self._positions[key] = position
        self.unseen_contents.add(key)

    def _load(self, line: Entry) -> None:
        entry = line.entry
        if not entry.path.startswith("data/"):
            self.tags.add(entry.path)
        elif entry.id is not None and line.hash is not None:
            kind = layout.kind_of(entry.path)
            self.records[kind, entry.id] = line.hash, line.files
            if KINDS[kind].lines:
                self._set_name(kind, entry.id, layout.beside(entry.path).removeprefix(KINDS[kind].folder))
            else:
                self._taken.add(entry.path)

    def _set_name(self, kind: Kind, id: str, name: str) -> None:
        self._names[kind, id] = name
        self._taken.add(f"{KINDS[kind].folder}{name}{KINDS[kind].lines}")

    def _name(self, kind: Kind, id: str) -> str:
        """The name of a record and of the lines beside it, assigned once."""
        name = self._names.get((kind, id))
        if name is None:
            folder, lines = KINDS[kind].folder, KINDS[kind].lines
            name = self._free(folder, id, lines).removeprefix(folder).removesuffix(lines)
            self._names[kind, id] = name
        return name

    def path(self, kind: Kind, id: str) -> str:
        """The path of a definition."""
        if KINDS[kind].lines:
            return f"{KINDS[kind].folder}{self._name(kind, id)}{layout.RECORD}"
        return self._free(KINDS[kind].folder, id, layout.RECORD)

    def lines_path(self, kind: Kind, id: str) -> str:
        """The path of the lines beside a definition."""
        return f"{KINDS[kind].folder}{self._name(kind, id)}{KINDS[kind].lines}"

    def content_path(self, file_id: str, filename: str | None, store_id: str | None) -> str:
        """The path of a content; a parsed text is under the store it was read from."""
        if store_id is not None:
            return self._free(f"{layout.TEXTS}{self._name(Kind.STORE, store_id)}/", file_id, layout.RECORD)
        return f"{self._free(layout.CONTENTS, file_id, '')}/{safe_name(filename or _UNNAMED)}"

    def give_back(self, path: str) -> None:
        """The content at ``path`` isn't there after all."""
        self._taken.give_back(path.rsplit("/", 1)[0])

    def _free(self, folder: str, id: str, suffix: str) -> str:
        name = safe_name(id, suffix=suffix)
        return self._taken.first_free(folder, name[: len(name) - len(suffix)], suffix=suffix)

    def content(self, file_id: str) -> Stored | None:
        """The content of that id."""
        with self._lock:
            found = self._recent.get(file_id)
            position = self._positions.get(hash(file_id))
            if found is None and position is not None:
                line = self._journal.read(position)
                if isinstance(line, Stored) and line.ledger.id == file_id:
                    found = line
            return found

    def keep(self, file_id: str) -> None:
        """Confirm that an earlier run's content is still the file's."""
        self.unseen_contents.discard(hash(file_id))

    def has_content(self, file_id: str) -> bool:
        """Whether this run has stored or confirmed one."""
        return self.content(file_id) is not None and hash(file_id) not in self.unseen_contents

    def add_content(self, line: Stored) -> None:
        """Add a content of this run. An earlier run's content of that id is superseded."""
        with self._lock:
            key = hash(line.ledger.id)
            self.superseded |= self._positions.get(key) is not None
            if self.unseen_contents:
                self.unseen_contents.discard(key)
            self._recent[line.ledger.id] = line

    def journalled(self, contents: Iterable[tuple[str, int]]) -> None:
        """Note these contents' journal positions; their lines are dropped from memory."""
        with self._lock:
            for file_id, position in contents:
                self._positions[hash(file_id)] = position
                self._recent.pop(file_id, None)

    def seen(self, line: Entry) -> bool:
        """Whether this run has confirmed or written the record."""
        entry = line.entry
        return entry.id is not None and (layout.kind_of(entry.path), entry.id) not in self.unseen_records

    def holds(self, line: Stored, position: int, *, unseen: bool) -> bool:
        """Whether the content at that journal position counts for its file: the latest one, and confirmed or stored by
        this run, or any with ``unseen``."""
        key = hash(line.ledger.id)
        return self._positions.get(key) == position and (unseen or key not in self.unseen_contents)
