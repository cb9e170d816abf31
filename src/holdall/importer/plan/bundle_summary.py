"""A bundle as an import needs to know it: definitions whole, files and versions as small values, memberships as ids."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, BinaryIO

import msgspec
from msgspec.structs import replace

from holdall.agent_views import AgentVersions, FoundryAgentView
from holdall.bundle.layout import ON_DISK, TEXTS, LedgerLine
from holdall.bundle.loss_lines import LossLine
from holdall.bundle.reader import BundleReader
from holdall.bundle.totals import minimum_of
from holdall.dialects.assistants import attachment
from holdall.dialects.loss import Loss
from holdall.dialects.rules import Form, read_fields, unmarked
from holdall.graph import with_callees_by_id
from holdall.join_parts import DEFAULT_OVERLAP, overlap_of
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, read
from holdall.model import (
    Fidelity,
    FileView,
    Kind,
    MembershipView,
    Record,
    SourceId,
    TargetId,
    copy_names,
    epoch_seconds,
)
from holdall.skill_zip import RefusedZip, SkillZip, read_skill_zip

# Bytes that the zips of a bundle may unpack to, and as many times its own size.
_FREE, _RATIO = 1 << 30, 256
_DIGITS = 20  # of the number of a version, at the most


# A bundle may have 100,000 of them: with gc=False the collector has none to walk.
class Content(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename=ON_DISK):
    """A file as the bundle holds it.

    ``stored`` and ``size`` are bytes: in the bundle, and of the file itself if that is known. ``created_at`` is in Unix
    seconds, 0 where the bundle has no file object. ``overlap`` is how many tokens the parts of its parsed text share,
    ``doubt`` why they may be joined wrongly; ``reason`` why it is unavailable.
    """

    id: SourceId
    filename: str | None = None
    purpose: str | None = None
    fidelity: Fidelity = Fidelity.UNAVAILABLE
    stored: int = 0
    size: int | None = None
    created_at: int = 0
    truncated: bool = False
    overlap: int = DEFAULT_OVERLAP
    doubt: str | None = None
    reason: str = ""

    def copy_names(self) -> list[str]:
        """The names that a copy of the file may be given, in the order in which they are tried."""
        return copy_names(self.filename or self.id, is_text=self.fidelity is Fidelity.TEXT)


class BundleSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan needs to know of a bundle. Memberships are ids only, because a store may have 100,000.

    ``whole`` are the definitions that one request copies, oldest first. ``lost`` is what the bundle records as missing,
    contents aside, each of which should have at least fidelity ``minimum``. ``unfit`` is, by store, what no destination
    takes of its memberships. ``versions`` are those of each skill, oldest first.
    """

    whole: Mapping[Kind, list[Record]]
    stores: dict[SourceId, Record]
    members: Mapping[SourceId, list[SourceId]]
    files: dict[SourceId, Content]
    lost: list[LossLine] = []
    minimum: Fidelity = Fidelity.TEXT
    unfit: Mapping[SourceId, list[Loss]] = {}
    skill_versions: Mapping[SourceId, list[SkillVersion]] = {}
    versions: Mapping[SourceId, Earlier] = {}
    """Of agents of Foundry."""

    def records(self, kind: Kind) -> list[Record]:
        """All definitions of a kind."""
        return [*self.stores.values()] if kind is Kind.STORE else self.whole.get(kind, [])

    def content(self, file: SourceId) -> Content:
        """A file; one that is not in the bundle is unavailable."""
        return self.files.get(file) or Content(id=file, reason="not in the bundle")

    def contents(self, store: SourceId) -> Iterator[Content]:
        """The files of a store, each once."""
        return map(self.content, dict.fromkeys(self.members.get(store, ())))

    @property
    def assistants(self) -> list[Record]:
        return self.records(Kind.ASSISTANT)

    def by_id(self) -> dict[Kind, dict[SourceId, Record]]:
        """All definitions that one request copies."""
        return {kind: {record.id: record for record in self.records(kind)} for kind in ASSISTANT_KINDS}

    def models(self) -> Iterator[str]:
        """The models that they name."""
        views = (read(record) for kind in ASSISTANT_KINDS for record in self.records(kind))
        return (view.model for view in views if view.model is not None)


AGENTS = (Kind.ASSISTANT, Kind.AGENT, Kind.FOUNDRY_AGENT)
"""What becomes an agent of a Foundry project."""


def summarize(reader: BundleReader) -> BundleSummary:
    """Reads records and ledger once each. Raises DamagedBundle."""
    # One string for each purpose there is, not one for each file.
    known = {record.id: _known(record) for record in reader.files()}
    files: dict[SourceId, Content] = {}
    parsed_in: dict[SourceId, str] = {}
    skills = read_versions(reader)
    zips = {version.id for of_skill in skills.values() for version in of_skill}
    for line in reader.ledger():
        # The zip of a skill's version belongs to it: it is no file.
        if line.id in zips:
            continue
        content = _content(line, *known.get(SourceId(line.id), ("", 0)))
        files[content.id] = content
        if content.fidelity is Fidelity.TEXT and line.path:
            parsed_in[content.id] = sys.intern(line.path.removeprefix(TEXTS).partition("/")[0])
    stores = {record.id: record for record in reader.stores()}
    unfit: dict[SourceId, list[Loss]] = {}
    # Oldest first, as the server lists them, so that the copy lists them in the same order.
    whole = {kind: sorted(reader.definitions(kind), key=_age) for kind in ASSISTANT_KINDS}
    whole[Kind.ASSISTANT] = with_callees_by_id(whole[Kind.ASSISTANT])
    whole[Kind.SKILL] = sorted(reader.definitions(Kind.SKILL), key=_age)
    return BundleSummary(
        whole=whole,
        stores=stores,
        members={store: _members(reader, store, files, parsed_in, unfit) for store in stores},
        files=files,
        lost=list(reader.losses()),
        minimum=minimum_of(reader.info),
        unfit=unfit,
        skill_versions=skills,
        versions=earlier_versions(reader, whole[Kind.FOUNDRY_AGENT]),
    )


def in_form(summary: BundleSummary, form: Form) -> BundleSummary:
    """The same bundle as a destination takes it: as Foundry agents, all that can become one are of one kind there, each
    with its own record."""
    if form is not Form.FOUNDRY:
        return summary
    agents = [record for kind in AGENTS for record in summary.records(kind)]
    others = {kind: records for kind, records in summary.whole.items() if kind not in AGENTS}
    return replace(summary, whole={**others, Kind.FOUNDRY_AGENT: agents})


def _age(record: Record) -> tuple[int, SourceId]:
    view: Any = KINDS[record.kind].view.of(record)
    return epoch_seconds(view.created_at), record.id


def _known(record: Record) -> tuple[str, int]:
    """A file's purpose and when it was made."""
    view = FileView.of(record)
    return sys.intern(view.purpose or ""), epoch_seconds(view.created_at)


def _content(line: LedgerLine, purpose: str, created_at: int) -> Content:
    reason = ""
    if line.fidelity is Fidelity.UNAVAILABLE:
        reason = _missing(line)
    return Content(
        id=SourceId(line.id),
        filename=line.filename,
        purpose=purpose or None,
        fidelity=line.fidelity,
        stored=line.size or 0,
        size=line.expected,
        created_at=created_at,
        truncated=line.truncated,
        doubt=line.doubt or None,
        reason=sys.intern(reason),
    )


def _members(
    reader: BundleReader,
    store: SourceId,
    files: dict[SourceId, Content],
    parsed_in: dict[SourceId, str],
    unfit: dict[SourceId, list[Loss]],
) -> list[SourceId]:
    """The ids of a store's files. Notes the overlap of those whose text this store parsed, and in ``unfit`` the
    settings of a file that can't be sent."""
    ids = []
    for record in reader.memberships(store):
        content, view = files.get(record.id), MembershipView.of(record)
        # The id that is held already, so that 100,000 memberships cost a pointer each.
        ids.append(content.id if content else record.id)
        if view.attributes or view.chunking_strategy:
            name = content.filename if content else None
            for loss in attachment(record, TargetId("")).losses:
                told = replace(loss, kind=Kind.FILE, name=name, inside=store)
                unfit.setdefault(store, []).append(told)
        if content and parsed_in.get(content.id) == store:
            overlap = overlap_of(view.chunking_strategy)
            # Most have the default: no second value is held for those.
            if overlap != content.overlap:
                files[content.id] = replace(content, overlap=overlap)
    return ids


# Some servers put metadata keys of their own into what they make (which provider holds a store, which model embeds it),
# and another server, or the same, refuses them. By the bundle alone they look like any key that an owner gives to all
# of his objects: what may be such a key is what all objects of a kind share; what is one, only the destination shows.


def keys_of(record: Record) -> set[str]:
    """The metadata keys of one object, without our own marks."""
    return set(unmarked(read_fields(record).get("metadata")))


def shared_keys(summary: BundleSummary, kinds: Container[Kind], keep: Container[str] = ()) -> dict[Kind, list[str]]:
    """By kind, for ``kinds``, the metadata keys that all its objects share, if there are several. Without those to
    ``keep``."""
    found = {}
    for kind in (kind for kind in DEFINITIONS if kind in kinds):
        records = summary.records(kind)
        if len(records) > 1:
            found[kind] = sorted(key for key in set.intersection(*map(keys_of, records)) if key not in keep)
    return {kind: keys for kind, keys in found.items() if keys}


def matching(summary: BundleSummary, globs: Sequence[str]) -> set[str]:
    """The metadata keys in the bundle that match one of ``globs``."""
    if not globs:
        return set()
    keys = {key for kind in DEFINITIONS for record in summary.records(kind) for key in keys_of(record)}
    return {key for key in keys if any(fnmatchcase(key, glob) for glob in globs)}


def without_keys(summary: BundleSummary, keys: Container[str]) -> BundleSummary:
    """The same bundle, with records that lack ``keys`` in their metadata."""
    if not keys:
        return summary
    return replace(
        summary,
        whole={kind: [without_record_keys(one, keys) for one in records] for kind, records in summary.whole.items()},
        stores={id: without_record_keys(record, keys) for id, record in summary.stores.items()},
    )


def without_record_keys(record: Record, keys: Container[str]) -> Record:
    """The record without ``keys`` in its metadata; the rest stays as the server wrote it."""
    if not any(key in keys for key in keys_of(record)):
        return record
    try:
        # One level deep only: what isn't looked at stays the bytes that the server sent.
        fields: dict[str, Any] = msgspec.json.decode(record.raw, type=dict[str, msgspec.Raw])
        metadata: dict[str, Any] = msgspec.json.decode(fields["metadata"], type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:  # half a surrogate pair in a key
        fields = read_fields(record)
        metadata = fields["metadata"]
    fields["metadata"] = {k: v for k, v in metadata.items() if k not in keys}
    return replace(record, raw=msgspec.json.encode(fields))


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
    listed = {skill.id: sorted(reader.versions(Kind.SKILL, skill.id), key=_version_age) for skill in skills}
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


def _version_age(line: Record) -> tuple[int, int, str]:
    """Numbers are counted up by the server; what has none comes last, by its date."""
    view: Any = KINDS[line.kind].view.of(line)
    number = view.version or ""
    is_number = number.isascii() and number.isdigit() and len(number) < _DIGITS
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
            return replace(version, reason="it has no number")
        said = self._ledger.get(line.id)
        entry = self._reader.find(said.path) if said and said.path else None
        if entry is None:
            return replace(version, reason=_missing(said))
        version = replace(version, stored=entry.size)
        try:
            with self._reader.open(entry) as stream:
                found = self._read(stream)
        except RefusedZip as refused:
            return replace(version, reason=f"its zip is refused ({refused})", recorded=False)
        return replace(version, digest=found.digest, has_top=found.top is not None)

    def _read(self, stream: BinaryIO) -> SkillZip:
        found = read_skill_zip(stream, most=self._left)
        self._left -= found.unpacked
        return found


def _missing(line: LedgerLine | None) -> str:
    said = line and (line.message or line.code or (f"status {line.status}" if line.status else ""))
    return f"missing from the bundle{f' ({said})' if said else ''}"


Earlier = Mapping[SourceId, FoundryAgentView]
"""By their ids the versions before the latest one, oldest first: the agent as it would be if that were its latest,
without instructions."""


def earlier_versions(reader: BundleReader, agents: Iterable[Record]) -> dict[SourceId, Earlier]:
    """Those of each agent that has any in the bundle. Raises DamagedBundle."""
    found: dict[SourceId, Earlier] = {}
    for agent in agents:
        latest = _nth(FoundryAgentView.of(agent))
        views = {}
        for line in reader.versions(Kind.FOUNDRY_AGENT, agent.id):
            view = FoundryAgentView.of(as_latest(agent.id, line))
            if 0 < _nth(view) < latest:
                views[line.id] = _without_instructions(view)
        if views:
            found[agent.id] = dict(sorted(views.items(), key=lambda one: _nth(one[1])))
    return found


def as_latest(agent: SourceId, version: Record) -> Record:
    """The record of an agent of which ``version`` is the latest."""
    raw = msgspec.json.encode({"id": agent, "name": agent, "versions": {"latest": msgspec.Raw(version.raw)}})
    return Record(kind=Kind.FOUNDRY_AGENT, id=agent, raw=raw)


def _nth(view: FoundryAgentView) -> int:
    number = view.versions.latest.version or ""
    return int(number) if number.isdecimal() and len(number) < _DIGITS else 0


def _without_instructions(view: FoundryAgentView) -> FoundryAgentView:
    latest = view.versions.latest
    bare = replace(latest, definition=replace(latest.definition, instructions=None), metadata=None, description=None)
    return FoundryAgentView(id=view.id, name=view.name, versions=AgentVersions(latest=bare))
