"""The skills of a bundle: their versions, oldest first, and what is in the zip of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

from holdall.bundle.layout import LedgerLine
from holdall.bundle.reader import BundleReader
from holdall.kinds import KINDS
from holdall.model import Kind, Record, SourceId, epoch_seconds
from holdall.skill_zip import RefusedZip, SkillZip, read_skill_zip

# Bytes that the zips of a bundle may unpack to, and as many times its own size.
_FREE, _RATIO = 1 << 30, 256


class SkillVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a skill as the bundle holds it; ``stored`` is bytes of its zip.

    ``digest`` is that of what is in the zip. It is empty where that can't be sent, for the ``reason``; ``recorded``:
    the bundle says so itself. Without ``has_top`` the zip has to be wrapped in a folder before it is sent.
    """

    id: SourceId
    number: str
    name: str | None = None
    stored: int = 0
    digest: str = ""
    has_top: bool = True
    reason: str = ""
    recorded: bool = True


def read_versions(reader: BundleReader) -> dict[SourceId, list[SkillVersion]]:
    """The versions of each skill, by its id. Reads each zip once, in little memory. Raises DamagedBundle."""
    skills = list(reader.definitions(Kind.SKILL))
    if not skills:
        return {}
    listed = {skill.id: sorted(reader.versions(Kind.SKILL, skill.id), key=_age) for skill in skills}
    ids = {line.id for lines in listed.values() for line in lines}
    # In one pass: to look up each line costs a bisection.
    zips = _Zips(reader, {line.id: line for line in reader.ledger() if line.id in ids})
    found: dict[SourceId, list[SkillVersion]] = {}
    for skill, lines in listed.items():
        # Of two lines of one number nobody could say which one a reference means.
        first = {_number(line): line for line in reversed(lines)}
        found[skill] = [zips.version(line) for line in lines if first[_number(line)] is line]
    return found


def _number(line: Record) -> str:
    view: Any = KINDS[line.kind].view.of(line)
    return view.version or ""


def _age(line: Record) -> tuple[int, int, str]:
    """Numbers are counted up by the server; what has none comes last, by its date."""
    view: Any = KINDS[line.kind].view.of(line)
    number = view.version or ""
    is_number = number.isascii() and number.isdigit() and len(number) < 20
    return int(number) if is_number else 1 << 70, epoch_seconds(view.created_at), line.id


class _Zips:
    """Reads the zips of one bundle, which together unpack to no more than a bundle of its size may hold."""

    def __init__(self, reader: BundleReader, ledger: Mapping[str, LedgerLine]) -> None:
        self._reader, self._ledger = reader, ledger
        self._left = max(_FREE, _RATIO * reader.size)

    def version(self, line: Record) -> SkillVersion:
        view: Any = KINDS[line.kind].view.of(line)
        version = SkillVersion(id=line.id, number=view.version or "", name=view.name)
        if not version.number:
            return msgspec.structs.replace(version, reason="it has no number")
        said = self._ledger.get(line.id)
        entry = self._reader.find(said.path) if said and said.path else None
        if entry is None:
            return msgspec.structs.replace(version, reason=_missing(said))
        version = msgspec.structs.replace(version, stored=entry.size)
        try:
            with self._reader.open(entry) as stream:
                found = self._read(stream)
        except RefusedZip as refused:
            return msgspec.structs.replace(version, reason=f"its zip is refused ({refused})", recorded=False)
        return msgspec.structs.replace(version, digest=found.digest, has_top=found.top is not None)

    def _read(self, stream: BinaryIO) -> SkillZip:
        found = read_skill_zip(stream, most=self._left)
        self._left -= found.unpacked
        return found


def _missing(line: LedgerLine | None) -> str:
    said = line and (line.message or line.code or (f"status {line.status}" if line.status else ""))
    return f"missing from the bundle{f' ({said})' if said else ''}"
