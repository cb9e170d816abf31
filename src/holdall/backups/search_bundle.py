"""Where a pattern is in a bundle: in the names, ids and instructions of its definitions, and in its files' names.

Records and ledger are read, no content. Of many bundles of one project each record is read once: what is equal has one
sha256 in their indexes.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from holdall.agent_views import FoundryAgentView
from holdall.bundle.layout import LEDGER, RECORD, IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.errors import DamagedBundle, UsageFault
from holdall.folder.bagfolder import BagFolder, markdown_of
from holdall.kinds import DEFINITIONS, KINDS
from holdall.legible import Capped
from holdall.model import Kind, Record, SourceId, View
from holdall.safe_files import from_disk
from holdall.untrusted import MAX_JSON, normalized, require_record

# Characters of a line that are searched at once, and how many of them again with the next. So the cost is linear in the
# bundle, whatever the pattern: for a quadratic one it is that of some thousand characters squared.
_PIECE, _AGAIN = 4000, 1000
# Characters shown before a match, and in all.
_BEFORE, _SHOWN = 20, 70
# Records of which is remembered what was found.
_REMEMBERED = 100_000


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One field that matches: ``id``, ``name`` or ``instructions``. ``text`` is its first line that does, cut to what
    is near the match."""

    kind: Kind
    id: str
    name: str | None
    field: str
    text: str


class _Definition(View, frozen=True, kw_only=True):
    id: str
    name: str | None = None
    instructions: str | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    filename: str | None = None


_file = msgspec.json.Decoder(_File)


class BundleSearch:
    """One pattern, for any number of bundles: a regular expression of Python, upper and lower case alike."""

    def __init__(self, pattern: str) -> None:
        """Raises UsageFault for what is none."""
        if not pattern:
            raise UsageFault("can't use --grep: the pattern is empty")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what may mean something else in a later Python
                self._pattern = re.compile(normalized("NFC", pattern), re.IGNORECASE)
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageFault(
                f"can't use --grep {pattern}: not a regular expression ({error})",
                hint="put a backslash before characters such as ( [ * + ? to search for them",
            ) from None
        self._found: dict[tuple[Kind, str], Capped[Match]] = {}

    def matches(self, bundle: BundleReader) -> Capped[Match]:
        """What matches in a bundle: in definitions of any kind, and in the names of files. Raises DamagedBundle."""
        found: Capped[Match] = Capped()
        for kind in DEFINITIONS:
            for entry in bundle.entries(KINDS[kind].folder):
                if entry.path.endswith(RECORD):
                    self._add(found, kind, bundle, entry)
        if ledger := bundle.find(LEDGER):
            self._add(found, Kind.FILE, bundle, ledger)
        return found

    def in_folder(self, root: Path) -> Capped[Match]:
        """What matches in an unpacked folder, hand edits included. Raises DamagedBundle."""
        found: Capped[Match] = Capped()
        folder = BagFolder(root)
        try:
            for kind in DEFINITIONS:
                place = KINDS[kind].folder
                for name in sorted(os.listdir(folder.path(place))) if folder.path(place).is_dir() else ():
                    if name.endswith(RECORD):
                        found += self._in_file(kind, folder, place + from_disk(name))
            with folder.open(LEDGER) as ledger:
                while line := ledger.readline(MAX_JSON):
                    file = _file.decode(line)
                    found += self._in_fields(Kind.FILE, file.id, file.filename)
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedBundle(f"can't read {root}: {error}") from None
        return found

    def _in_file(self, kind: Kind, folder: BagFolder, path: str) -> Iterator[Match]:
        raw = folder.read(path, MAX_JSON)
        record = Record(kind=kind, id=SourceId(require_record(raw).id), raw=raw)
        view = _Definition.of(record)
        instructions, markdown = _instructions(record, view), markdown_of(path)
        if instructions is None and markdown:
            with suppress(FileNotFoundError):
                instructions = folder.read(markdown, MAX_JSON).decode(errors="replace")
        return self._in_fields(kind, view.id, view.name, instructions=instructions)

    def _add(self, found: Capped[Match], kind: Kind, bundle: BundleReader, entry: IndexEntry) -> None:
        known = self._found.get((kind, entry.sha256))
        if known is None:
            known = Capped()
            known += self._in_ledger(bundle) if kind is Kind.FILE else self._in_record(kind, bundle, entry)
            if len(self._found) < _REMEMBERED:
                self._found[kind, entry.sha256] = known
        found += known
        found.total += known.total - len(known)

    def _in_record(self, kind: Kind, bundle: BundleReader, entry: IndexEntry) -> Iterator[Match]:
        record = bundle.record(kind, entry)
        view = _Definition.of(record)
        return self._in_fields(kind, view.id, view.name, instructions=_instructions(record, view))

    def _in_ledger(self, bundle: BundleReader) -> Iterator[Match]:
        for _, line in bundle.lines(LEDGER, _file.decode):
            yield from self._in_fields(Kind.FILE, line.id, line.filename)

    def _in_fields(self, kind: Kind, id: str, name: str | None, **others: str | None) -> Iterator[Match]:
        for field, text in {"name": name, "id": id, **others}.items():
            if text and (line := self._first_line(text)):
                yield Match(kind=kind, id=id, name=name, field=field, text=line)

    def _first_line(self, text: str) -> str | None:
        """What is near the first match in ``text``; None where nothing matches."""
        for line in (text if text.isascii() else normalized("NFC", text)).splitlines():
            for start in range(0, max(len(line) - _AGAIN, 1), _PIECE - _AGAIN):
                if found := self._pattern.search(line, start, start + _PIECE):
                    return _around(line, found.start())
        return None


def _instructions(record: Record, view: _Definition) -> str | None:
    if record.kind is Kind.FOUNDRY_AGENT:
        return FoundryAgentView.of(record).versions.latest.definition.instructions
    return view.instructions


def _around(line: str, position: int) -> str:
    start = max(position - _BEFORE, 0)
    end = start + _SHOWN
    return f"{'…' if start else ''}{line[start:end].strip()}{'…' if end < len(line) else ''}"
