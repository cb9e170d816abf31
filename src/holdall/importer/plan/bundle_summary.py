"""A bundle as an import needs to know it: definitions whole, files as small values, memberships as ids."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from holdall.bundle.layout import ON_DISK, TEXTS, LedgerLine
from holdall.bundle.loss_lines import LossLine
from holdall.bundle.reader import BundleReader
from holdall.bundle.totals import minimum_of
from holdall.dialects.assistants import attachment
from holdall.dialects.loss import Loss
from holdall.dialects.marks import unmarked
from holdall.dialects.reading import read_fields
from holdall.dialects.tables import Form
from holdall.graph import with_callees_by_id
from holdall.importer.plan.bundle_skills import SkillVersion, read_versions
from holdall.importer.plan.bundle_versions import Earlier, earlier_versions
from holdall.join_parts import DEFAULT_OVERLAP, overlap_of
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, read
from holdall.model import Fidelity, FileView, Kind, MembershipView, Record, SourceId, TargetId, epoch_seconds
from holdall.parsedtext import copy_names


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
    return msgspec.structs.replace(summary, whole={**others, Kind.FOUNDRY_AGENT: agents})


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
        said = line.message or line.code or (f"status {line.status}" if line.status else "")
        reason = f"missing from the bundle{f' ({said})' if said else ''}"
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
                told = msgspec.structs.replace(loss, kind=Kind.FILE, name=name, inside=store)
                unfit.setdefault(store, []).append(told)
        if content and parsed_in.get(content.id) == store:
            overlap = overlap_of(view.chunking_strategy)
            # Most have the default: no second value is held for those.
            if overlap != content.overlap:
                files[content.id] = msgspec.structs.replace(content, overlap=overlap)
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
    return msgspec.structs.replace(
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
    return msgspec.structs.replace(record, raw=msgspec.json.encode(fields))
