"""The result of an export: files by fidelity, losses and their reasons, and whether the policy accepts them.

A policy says what an export may lack and still exit with 0. An accepted loss still counts in the verdict, but not for
the exit code. Values only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from holdall.bundle.layout import Digests
from holdall.bundle.loss_lines import LossLine
from holdall.bundle.totals import reason_of
from holdall.model import Fidelity, Kind, Record, SourceId, View
from holdall.untrusted import MAX_ID, NotJson, require_record
from holdall.verdict import COMPLETE, Reason, Verdict

_LONGEST = 4000
"""Characters of a message, or of the path of a list, that a bundle keeps."""
_FIDELITIES = list(Fidelity)
_encode = msgspec.json.Encoder().encode


class _Owned(View, frozen=True, kw_only=True):
    """What a membership or a version says it is of."""

    id: str
    vector_store_id: str | None = None
    skill_id: str | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss"):
    """Something of the source that the bundle lacks or has changed."""


class ContentLoss(Finding, frozen=True, kw_only=True, tag="content"):
    """A file whose content is not in the bundle byte for byte, and why."""

    id: str
    filename: str | None
    fidelity: Fidelity
    expected: int | None
    used_by: list[str] = []
    status: int | None = None
    code: str | None = None
    message: str | None = None
    truncated: bool = False


class Absent(Finding, frozen=True, kw_only=True, tag="absent"):
    """A store or file object that a record refers to and the server doesn't have. ``held``: the bundle has its record
    all the same, out of a dump."""

    kind: Kind
    id: str
    used_by: list[str]
    message: str
    held: bool = False


class LeftOut(Finding, frozen=True, kw_only=True, tag="left_out"):
    """A store or file that a definition refers to, left out as requested: missing all the same."""

    kind: Kind
    id: str
    message: str


class Miscount(Finding, frozen=True, kw_only=True, tag="miscount"):
    """A store of which the server lists another number of files than it counts, or a file of another size."""

    id: str
    what: str
    counted: int
    found: int


class Changed(Finding, frozen=True, kw_only=True, tag="changed"):
    """A definition that is not what it was when the export began. ``how``: added, removed or changed."""

    kind: Kind
    id: str
    how: str


class Incomplete(Finding, frozen=True, kw_only=True, tag="incomplete"):
    """A dump that ends inside a value, or says of itself that it is one page of more: what else there was is nowhere.
    ``message`` says which, of the dump: "ends inside …"."""

    dump: str
    message: str = ""


class UnfinishedList(Finding, frozen=True, kw_only=True, tag="unfinished"):
    """A list, by its API path, that may be incomplete."""

    list: str
    message: str


class UnreadableDefinition(Finding, frozen=True, kw_only=True, tag="unreadable"):
    """A definition that is there and can't be read, so that it isn't in the bundle. ``dump`` names where it is from, if
    not from the server."""

    kind: Kind
    id: str
    message: str
    dump: str | None = None


class UnreadField(Finding, frozen=True, kw_only=True, tag="unread"):
    """A ``field`` of a record that nothing reads, and that refers to other things: to those of the ids ``refers``."""

    kind: Kind
    id: str
    field: str
    refers: list[str]
    message: str


class Doubtful(Finding, frozen=True, kw_only=True, tag="doubtful"):
    """A file with a text whose parts can't be joined for certain."""

    id: str
    kind: Kind = Kind.FILE
    filename: str | None
    message: str


class Replaced(Finding, frozen=True, kw_only=True, tag="replaced"):
    """A record that contained the key; the bundle has ``[key]`` in its place."""

    kind: Kind
    id: str
    store: str | None = None


class Withheld(Finding, frozen=True, kw_only=True, tag="withheld"):
    """An object that is in the bundle without something that its server doesn't return, or that is never written."""

    kind: Kind
    id: str
    message: str


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an export. Without losses everything is in the bundle byte for byte.

    ``losses`` are so many of them as a person can read, those first that count against the export; ``losses_found`` is
    the number of all, ``losses_counting`` of those that count. ``requests`` are counted by method and route, ``taken``
    are the contents that came out of ``parent``. ``containers_left`` are those that were made and could not be deleted.
    Where nothing has changed and none was to be written, ``bundle`` is
    that of ``unchanged_since`` (Unix seconds) and its ``sha256`` is not known.
    """

    bundle: Path = Path()
    size: int = 0
    sha256: str | None = None
    digests: Digests = Digests(definitions="", contents="")
    counts: dict[str, int] = {}
    fidelities: dict[str, int]
    losses: list[Finding]
    losses_found: int
    losses_counting: int
    requests: dict[str, int]
    parent: Path | None = None
    taken: int = 0
    containers_made: int = 0
    containers_left: list[str] = []
    unchanged_since: int | None = None
    verdict: Verdict = COMPLETE


def describe(finding: Finding) -> str:
    """One line about one finding."""
    # A table of sentences, one for each kind.
    match finding:
        case ContentLoss():
            return f"missing  file {finding.id}: {finding.message or finding.code or finding.status}"
        case Absent():
            users = f", used by {', '.join(finding.used_by)}" if finding.used_by else ""
            return f"gone  {finding.kind} {finding.id}{users}: {finding.message}"
        case LeftOut():
            return f"left out  {finding.kind} {finding.id}: {finding.message}"
        case Miscount():
            return f"count  {finding.id}: {finding.what}: the server says {finding.counted}, found {finding.found}"
        case Incomplete():
            return f"incomplete  {finding.dump} {finding.message}; the rest is missing"
        case Doubtful():
            named = f" {finding.filename}" if finding.filename else ""
            return f"uncertain  {finding.kind} {finding.id}{named}: uncertain text: {finding.message}"
        case UnreadableDefinition():
            where = f" in {finding.dump}" if finding.dump else ""
            return f"unreadable  {finding.kind} {finding.id}{where}: {finding.message}"
        case UnreadField():
            refers = ", ".join(finding.refers)
            return f"unread  {finding.kind} {finding.id}: {finding.field} refers to {refers}: {finding.message}"
        case Replaced():
            where = f" in {finding.store}" if finding.store else ""
            return f"key  {finding.kind} {finding.id}{where}: the record contained your key; replaced by [key]"
        case Withheld():
            return f"withheld  {finding.kind} {finding.id}: {finding.message}"
        case UnfinishedList():
            return f"list  {finding.list} may be incomplete: {finding.message}"
        case Changed():
            return f"changed  {finding.kind} {finding.id} was {finding.how} during the export"
    raise TypeError(f"no sentence for {finding}")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """``min_fidelity`` is the lowest that a content may have, UNAVAILABLE for any; ``allow_missing`` are the ids of
    files, stores, templates and the like that may be lost in any way.

    ``known`` tells the losses that are no news: those that an earlier bundle of the same project had already.
    """

    min_fidelity: Fidelity = Fidelity.TEXT
    allow_missing: frozenset[str] = frozenset()
    known: Callable[[Finding], bool] | None = None

    def accepts(self, finding: Finding) -> bool:
        """Whether the user accepts this loss, so that it changes no exit code.

        ``min_fidelity`` UNAVAILABLE accepts whatever is lost of a file; a store that is gone, a list that contradicts
        its count, a dump that lacks pages and a definition that changed are accepted by name or not at all.
        """
        match finding:
            case LeftOut():
                return True
            case ContentLoss() | Absent() | Doubtful() | Withheld() if finding.id in self.allow_missing:
                return True
            case ContentLoss() | Doubtful() | Absent(kind=Kind.FILE) if self.min_fidelity is Fidelity.UNAVAILABLE:
                return True
            case UnreadField(refers=refers) if self.allow_missing.issuperset(refers):
                return True
        return self.known is not None and self.known(finding)

    def no_stricter_than(self, other: Fidelity) -> bool:
        """Whether its ``min_fidelity`` is ``other`` or lower."""
        return _FIDELITIES.index(self.min_fidelity) >= _FIDELITIES.index(other)


_REASONS: Mapping[type[Finding], Reason] = {
    Incomplete: Reason.PAGES,
    UnfinishedList: Reason.LISTS,
    UnreadField: Reason.REFERENCES,
    Doubtful: Reason.DOUBTFUL,
    Replaced: Reason.KEYS,
}


def reason(finding: Finding, policy: Policy) -> Reason | None:
    """Why a finding is a loss; None for a content that is as faithful as the policy asks for, and
    for a file object that came out of a dump."""
    match finding:
        case ContentLoss(fidelity=fidelity, truncated=truncated):
            return reason_of(fidelity, truncated, policy.min_fidelity)
        case LeftOut(kind=Kind.FILE):
            return Reason.FILES
        case Absent(kind=Kind.FILE, held=True):
            return None
        case Absent(kind=Kind.STORE, held=True):
            return Reason.LISTS  # its files are those that the dump names
        case Absent(kind=Kind.STORE) | LeftOut():
            return Reason.STORES
        case Withheld(kind=kind):
            return Reason.TEMPLATES if kind is Kind.TEMPLATE else Reason.VARIABLES
        case Changed(how=how) if how != "added":
            return Reason.CHANGED
        case Miscount(counted=counted, found=found, what=what):
            return Reason.LISTS if counted > found and what != "bytes of a file" else Reason.COUNTS
    return _REASONS.get(type(finding), Reason.RECORDS)


def line_of(finding: Finding, why: Reason) -> LossLine:
    """The finding as the bundle has it."""
    kind = getattr(finding, "kind", None)
    about = getattr(finding, "id", None) or getattr(finding, "list", None) or getattr(finding, "dump", None)
    message = finding.message if isinstance(finding, Absent | LeftOut | Withheld) else describe(finding)
    return LossLine.of(why.value, kind, about and about[:_LONGEST], message[:_LONGEST])


def same_loss(line: LossLine) -> bytes:
    """A key that two lines of the same loss share, however a server words it; another number is another loss."""
    said = line.message if line.why in (Reason.COUNTS, Reason.LISTS) else ""
    return _encode((line.reason, line.kind, line.id, said))


def unfit(raw: bytes, owner: str | None = None) -> str:
    """Why no bundle can hold a record, of a membership in the store ``owner`` or a version of the skill ``owner``;
    ``""`` where one can."""
    try:
        id = require_record(raw).id
    except NotJson as error:
        return f"its record is not valid JSON: {error}"
    except msgspec.MsgspecError as error:
        return f"its record has an unexpected format ({error})"
    except ValueError as error:
        return f"its record exceeds the limits of a bundle: {error}"
    if owner is not None:
        of = _Owned.of(Record(kind=Kind.MEMBERSHIP, id=SourceId(id), raw=raw))
        for what, other in (("vector store", of.vector_store_id), ("skill", of.skill_id)):
            if other and other != owner:
                return f"its record belongs to another {what}, {other}"
    return ""


def unreadable(kind: Kind, id: str, message: str, dump: str | None = None) -> UnreadableDefinition:
    """The finding for a record that is in no bundle. Its id may be what is too long."""
    shown = id if len(id.encode(errors="surrogatepass")) <= MAX_ID else f"{id[:40]}…"
    return UnreadableDefinition(kind=kind, id=shown, message=message, dump=dump)
