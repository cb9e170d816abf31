"""What an export ended in: the files by fidelity, what was lost, and whether the policy accepts that. Values only."""

from __future__ import annotations

from pathlib import Path

import msgspec

from holdall.bundle.layout import Digests
from holdall.model import Fidelity, Kind
from holdall.remote.survey import Missing
from holdall.untrusted import MAX_ID
from holdall.verdict import COMPLETE, Verdict

__all__ = [
    "Absent",
    "Changed",
    "ContentLoss",
    "Doubtful",
    "ExportReport",
    "Finding",
    "Incomplete",
    "LeftOut",
    "Miscount",
    "Replaced",
    "UnfinishedList",
    "UnreadField",
    "UnreadableDefinition",
    "absent",
    "describe",
    "unreadable",
]


class ContentLoss(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="content"):
    """A file whose content is not in the bundle byte for byte, and why."""

    id: str
    filename: str | None
    fidelity: Fidelity
    expected: int | None
    used_by: list[str]
    status: int | None = None
    code: str | None = None
    message: str | None = None
    truncated: bool = False


class Absent(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="absent"):
    """A store or file object that a record refers to and the server doesn't have. ``held``: the bundle has its record
    all the same, out of a dump."""

    kind: Kind
    id: str
    used_by: list[str]
    message: str
    held: bool = False


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="left_out"):
    """A store or file that a definition refers to and that was left out as asked: missing all the same."""

    kind: Kind
    id: str
    message: str


class Miscount(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="miscount"):
    """A store of which the server lists another number of files than it counts, or a file of another size."""

    id: str
    what: str
    counted: int
    found: int


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="changed"):
    """A definition that is not what it was when the export began. ``how``: added, removed or changed."""

    kind: Kind
    id: str
    how: str


class Incomplete(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="incomplete"):
    """A dump that ends inside a value, or says of itself that it is one page of more: what else there was is nowhere.
    ``message`` says which, of the dump: "ends inside …"."""

    dump: str
    message: str = ""


class UnfinishedList(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="unfinished"):
    """A list, named by its path in the API, that the server may not have given to its end."""

    list: str
    message: str


class UnreadableDefinition(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="unreadable"):
    """A definition that is there and can't be read, so that it isn't in the bundle. ``dump`` names where it is from, if
    not from the server."""

    kind: Kind
    id: str
    message: str
    dump: str | None = None


class UnreadField(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="unread"):
    """A ``field`` of a record that nothing reads, and that refers to other things: to those of the ids ``refers``."""

    kind: Kind
    id: str
    field: str
    refers: list[str]
    message: str


class Doubtful(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="doubtful"):
    """A file of which the bundle has the text in parts that can't be joined for certain."""

    id: str
    kind: Kind = Kind.FILE
    filename: str | None
    message: str


class Replaced(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="replaced"):
    """A record that the server gave with the key in it: the bundle has it with ``[key]`` in that place."""

    kind: Kind
    id: str
    store: str | None = None


Finding = (
    ContentLoss
    | Absent
    | LeftOut
    | Miscount
    | Changed
    | Incomplete
    | UnfinishedList
    | UnreadableDefinition
    | UnreadField
    | Doubtful
    | Replaced
)


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an export ended in. No losses found: everything is in the bundle byte for byte.

    ``losses`` are so many of them as a person can read, those first that count against the export; ``losses_found`` is
    the number of all, ``losses_counting`` of those that count. ``requests`` are counted by method and route, ``taken``
    are the contents that came out of ``parent``. ``containers_left`` are those that were made and could not be deleted.
    Where nothing has changed and none was to be written, ``bundle`` is
    that of ``unchanged_since`` (Unix seconds) and its ``sha256`` is not known.
    """

    bundle: Path
    size: int
    sha256: str | None
    digests: Digests
    counts: dict[str, int]
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
            return f"incomplete  {finding.dump} {finding.message}: what else there was is not here"
        case Doubtful():
            named = f" {finding.filename}" if finding.filename else ""
            return f"doubtful  {finding.kind} {finding.id}{named}: text, joined doubtfully: {finding.message}"
        case UnreadableDefinition():
            where = f" in {finding.dump}" if finding.dump else ""
            return f"unreadable  {finding.kind} {finding.id}{where}: {finding.message}"
        case UnreadField():
            refers = ", ".join(finding.refers)
            return f"unread  {finding.kind} {finding.id}: {finding.field} refers to {refers}: {finding.message}"
        case Replaced():
            where = f" in {finding.store}" if finding.store else ""
            return f"key  {finding.kind} {finding.id}{where}: the key was in its record, [key] stands in its place"
        case UnfinishedList():
            return f"list  {finding.list} may lack something: {finding.message}"
        case Changed():
            return f"changed  {finding.kind} {finding.id} was {finding.how} during the export"


def unreadable(kind: Kind, id: str, message: str, dump: str | None = None) -> UnreadableDefinition:
    """The finding for a record that is in no bundle. Its id may be what is too long."""
    shown = id if len(id.encode(errors="surrogatepass")) <= MAX_ID else f"{id[:40]}…"
    return UnreadableDefinition(kind=kind, id=shown, message=message, dump=dump)


def absent(missing: Missing) -> Absent:
    """The finding for a record that isn't there."""
    return Absent(kind=missing.kind, id=missing.id, used_by=missing.used_by, message=missing.message, held=missing.held)
