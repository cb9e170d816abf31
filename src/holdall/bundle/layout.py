"""Paths, versions and structs of format 1.2, as in docs/format.md.

The structs are what we write. Unknown fields of a newer minor version are ignored; a newer major version is refused
first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Fidelity, Kind
from holdall.untrusted import (
    LINE_BYTES,
    MAX_EXPANSION,
    MAX_SIZE,
    RECORD_EXPANSION,
    TEXT_PER_BYTE,
    VALUES_PER_BYTE,
    count_values,
    text_weight,
)

MAJOR, MINOR = 1, max(row.since for row in KINDS.values())
FORMAT = f"{MAJOR}.{MINOR}"

# Fields that files call otherwise than the code: bundles, journals and plans keep the word that format 1.0 has.
ON_DISK = {"fidelity": "rung", "fidelities": "rungs", "min_fidelity": "min_rung"}

LATER = frozenset(row.count for row in KINDS.values() if row.since)
"""Counts that format 1.0 doesn't have; they are left out where there is nothing to count."""

STORES = KINDS[Kind.STORE].folder
CONTENTS = "data/files/"
TEXTS = "data/text/"
FILES = "data/files.jsonl"
LEDGER = "data/ledger.jsonl"
LOSSES = "data/losses.jsonl"
RECORD = ".json"
LINES = ".jsonl"
MEMBERSHIPS = KINDS[Kind.STORE].lines

BAGIT = "bagit.txt"
README = "README.txt"
SPECIFICATION = "FORMAT.md"
BAG_INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
INDEX = "index.jsonl"
INFO = "holdall.json"
TAG_MANIFEST = "tagmanifest-sha256.txt"

OPENING = (BAGIT, README, SPECIFICATION)
"""The tag files that stand at the front of the tar, in this order."""

CLOSING = (BAG_INFO, MANIFEST, INDEX, INFO, TAG_MANIFEST)
"""Those that stand at its end, in this order."""

TAG_FILES = frozenset({*OPENING, *CLOSING})

SUFFIX = ".tar.zst"


# -- places --------------------------------------------------------------------------------------------


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place of format 1.2, and what the index says of an entry there."""

    has_id: bool = False
    fidelities: frozenset[Fidelity] = frozenset()
    """Of a content, one of these; empty for what is none."""
    has_records: bool = False


_BYTE_FIDELITIES = frozenset(fidelity for fidelity in Fidelity if fidelity.is_bytes)
_PLACE_OF_LINES = Place(has_records=True)
_PLACES = {
    **{(KINDS[kind].folder, 0): (RECORD, Place(has_id=True)) for kind in DEFINITIONS},
    (CONTENTS, 1): ("", Place(has_id=True, fidelities=_BYTE_FIDELITIES)),
    (TEXTS, 1): (RECORD, Place(has_id=True, fidelities=frozenset({Fidelity.TEXT}))),
}


def place_of(path: str) -> Place | None:
    """The place that an entry of that path has; None where format 1.2 has no such place."""
    if path in (FILES, LEDGER, LOSSES):
        return _PLACE_OF_LINES
    if has_lines(path):
        return Place(has_id=True, has_records=True)
    folder = "/".join(path.split("/", 2)[:2]) + "/"
    suffix, place = _PLACES.get((folder, path.count("/") - 2), ("", None))
    return place if path.endswith(suffix) else None


def kind_of(path: str) -> Kind:
    """The kind of the record at ``path``, or of the one beside which the lines at ``path`` are."""
    return next((kind for kind in DEFINITIONS if path.startswith(KINDS[kind].folder)), Kind.ASSISTANT)


def has_lines(path: str) -> bool:
    """Whether ``path`` is that of the lines beside a record: the memberships of a store, the versions of a skill."""
    lines = KINDS[kind_of(path)].lines
    return bool(lines) and path.endswith(lines) and path.count("/") == 2


def beside(path: str) -> str:
    """The path of a record, or of the lines beside it, without the ending: the same of both."""
    lines = KINDS[kind_of(path)].lines
    return path.removesuffix(lines) if lines and path.endswith(lines) else path.removesuffix(RECORD)


# -- frames --------------------------------------------------------------------------------------------

CONTENT_FRAME = 2 << 20
"""Decompressed bytes of a frame inside a large content."""
SHARED_FRAME = 1 << 20
"""Small entries share a frame of at most about this size; a content up to this size is a small one."""
LOOKUP_FRAME = 256 << 10
"""Frames of index and ledger are smaller, because they are read a line here and a line there."""
DEFINITION_FRAME = 64 << 10
"""Definitions share a frame up to this size, and so do small files of lines: what is damaged costs few of them."""
MOST_BESIDE = 7 * 512
"""A header and a filling take no more."""


class Frames(msgspec.Struct, frozen=True, kw_only=True):
    """How a kind of entry is split into frames. Entries of different ``name`` share none.

    An entry of up to ``small`` bytes shares a frame, which ends at ``shared`` bytes, or with ``strict`` before them,
    and earlier where an entry says so (``ends_with``); a larger one has frames of its own of ``own`` bytes.
    ``records``: JSON; ``lines``: in lines; ``texts``: parsed texts may be among them.
    """

    name: str
    small: int
    shared: int
    own: int
    strict: bool = False
    records: bool = False
    lines: bool = False
    texts: bool = False

    def ends_with(self, shared: int, size: int, sha256: str) -> bool:
        """Whether a shared frame, now of ``shared`` bytes, ends with an entry of ``size`` bytes and this hash.

        The entry itself decides, in one of ``shared / 5`` bytes: so an entry that is new or gone moves only the cuts
        next to it, and what engines find equal in two bundles stays equal.
        """
        if shared >= self.shared:
            return True
        return shared >= self.shared // 16 and int(sha256[:8], 16) * (self.shared // 5) < size << 32

    def least(self, data: bytes | bytearray, uses: int = 0) -> int:
        """Bytes that a frame of ``data`` must have for the bundle to keep the limits of docs/format.md, with so many
        tools and references in it or fewer."""
        # Each is a bound on all of a bundle; a frame that keeps it by itself can't break it together with others.
        least = -(-len(data) // MAX_EXPANSION)
        if self.lines:
            least = max(least, LINE_BYTES * data.count(b"\n"))
        if self.records:
            least = max(least, -(-len(data) // RECORD_EXPANSION))
            least = max(least, -(-count_values(data) // VALUES_PER_BYTE))
        if self.texts:
            strings, lists, objects = -(-data.count(b'"') // 2), data.count(b"["), data.count(b"{")
            strings += data.count(b"\\ud") + data.count(b"\\uD")  # perhaps halves of surrogate pairs
            least = max(least, -(-text_weight(len(data), strings, lists, objects) // TEXT_PER_BYTE))
        if uses:
            least = max(least, LINE_BYTES * min(uses, data.count(b'"') // 2 + 1))
        return least


def frames_of(path: str) -> Frames:
    """How the entry at ``path`` is split."""
    if path in OPENING:
        return Frames(name="opening", small=SHARED_FRAME, shared=SHARED_FRAME, own=CONTENT_FRAME)
    lookup = path in (INDEX, LEDGER)
    if path in CLOSING or path.endswith(LINES):
        return Frames(
            name="closing" if path in CLOSING else "lines",
            small=DEFINITION_FRAME - MOST_BESIDE,
            shared=DEFINITION_FRAME,
            own=LOOKUP_FRAME if lookup else CONTENT_FRAME,
            strict=True,
            records=path not in CLOSING,
            lines=True,
        )
    if path.startswith((CONTENTS, TEXTS)):
        texts = path.startswith(TEXTS)
        return Frames(name="contents", small=SHARED_FRAME, shared=SHARED_FRAME, own=CONTENT_FRAME, texts=texts)
    return Frames(
        name="definitions",
        small=DEFINITION_FRAME - MOST_BESIDE,
        shared=DEFINITION_FRAME,
        own=DEFINITION_FRAME,
        strict=True,
        records=True,
    )


# -- index, ledger and holdall.json --------------------------------------------------------------------

Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
"""Bytes, where a byte is, or a number of things; a bundle can't declare a negative one."""
Message = Annotated[str, msgspec.Meta(max_length=64 << 10)]
"""A text for people. Commands hold up to a thousand, so each is at most 65,536 characters long."""
Instant = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Whole seconds since 1970, UTC, up to the end of the year 9999."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the records come from. No key, ever."""

    base_url: str
    organization: str | None = None
    project: str | None = None
    label: str | None = None


class Capture(msgspec.Struct, frozen=True, kw_only=True, rename=ON_DISK):
    """What an export was asked for. Exports with the same capture can resume each other, even with another ``tool`` or
    ``min_fidelity``, which don't change the content."""

    tool: str
    source: Source
    selection: dict[str, Any]
    options: dict[str, Any]
    min_fidelity: Fidelity = Fidelity.TEXT


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=ON_DISK):
    """One line of ``index.jsonl``: a payload entry. ``offset`` is that of its first byte in the decompressed tar.

    ``id`` is the API's id of what is in the entry, for memberships that of the store; ``filename`` (the true one) and
    ``fidelity`` are there for contents only, ``records`` (the number of lines) for ``.jsonl`` entries only.
    """

    path: str
    offset: Size
    size: Size
    sha256: str
    id: str | None = None
    filename: str | None = None
    fidelity: Fidelity | None = None
    records: Size | None = None


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True, rename=ON_DISK):
    """One line of ``data/ledger.jsonl``: what became of one file, also where nothing could be got.

    ``expected`` is the size that the file object declares, ``size`` what is stored at ``path``; ``route`` the API
    path that was asked last, and behind `` -> `` the origin that a redirect led to; ``status``, ``code`` and
    ``message`` its refusal. ``truncated``: the text stops short. ``doubt`` says why the parts of a text can't be joined
    for certain; left out where they can.
    """

    id: str
    filename: str | None
    fidelity: Fidelity
    path: str | None
    expected: Size | None
    size: Size | None
    route: Message | None
    status: int | None
    code: Message | None
    message: Message | None
    truncated: bool = False
    doubt: Message | msgspec.UnsetType = msgspec.UNSET


class Digests(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``h1:`` and 64 hex digits each: equal where the project's state is equal.

    Each kind added after format 1.0 has its own digest, None if there are none, so that older readers can check the
    rest.
    """

    definitions: str
    contents: str
    agents: str | None = None
    foundry_agents: str | None = None
    agent_versions: str | None = None
    skills: str | None = None
    skill_versions: str | None = None
    environment_templates: str | None = None


class FidelityCount(msgspec.Struct, frozen=True, kw_only=True):
    """Files of one fidelity, and the bytes stored for them."""

    files: Size = 0
    bytes: Size = 0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tag file lies in the decompressed tar, and what proves it."""

    offset: Size
    size: Size
    sha256: str


class HoldallInfo(msgspec.Struct, frozen=True, kw_only=True, rename=ON_DISK):
    """``holdall.json``. Times are whole seconds since 1970, UTC.

    ``counts`` has ``assistants``, ``vector_stores``, ``memberships``, ``files`` (file objects), ``entries`` (payload
    files) and ``bytes`` (their size); those of later kinds only where there are any. ``losses`` has how much the bundle
    lacks of what the source had, by ``verdict.Reason``, where each content should have ``min_fidelity``; None in a
    bundle that doesn't say.
    """

    format: str
    tool: str
    source: Source
    selection: dict[str, Any]
    options: dict[str, Any]
    started: Instant
    ended: Instant
    counts: dict[str, Size]
    fidelities: dict[str, FidelityCount]
    digests: Digests
    index: Part
    manifest: Part
    min_fidelity: str | None = None
    losses: dict[str, Size] | None = None


def format_of(counts: Mapping[str, int]) -> str:
    """The format version of a bundle with these counts: the lowest that covers them."""
    return f"{MAJOR}.{max(row.since for row in KINDS.values() if not row.since or counts.get(row.count))}"


def is_known(version: str) -> bool:
    """Whether this version knows everything in a bundle of that format."""
    return int(version.partition(".")[2]) <= MINOR


# -- the bag -------------------------------------------------------------------------------------------


def bag_name(source: Source) -> str:
    """The name of the bag's folder, before it is made safe: the same in each bundle of a project, so that an engine
    that stores equal data once finds it again in the next one."""
    return source_title(source)


def source_title(source: Source) -> str:
    """What a project is called, for people: its label, else its id, else the host of its server."""
    try:
        host = urlsplit(source.base_url).hostname
    except ValueError:  # a bundle may have been written by anybody
        host = source.base_url
    return source.label or source.project or host or "project"


def source_identity(source: Source) -> str:
    """Equal for all bundles of one project: by its label, else its id, else its server and organisation."""
    for name, value in (("label", source.label), ("project", source.project)):
        if value:
            return f"{name} {value}"
    return " ".join(filter(None, ("server", source.base_url, source.organization)))


def readme() -> str:
    """README.txt, which says how to open a bundle without us; the bag is ``{bag}`` there."""
    from importlib import resources

    return resources.files("holdall.bundle").joinpath("readme_of_bundle.txt").read_text("utf-8")


def specification() -> bytes:
    """docs/format.md, which each bundle carries as FORMAT.md. It is package data in a wheel."""
    from importlib import resources

    shipped = resources.files("holdall.bundle").joinpath(SPECIFICATION)
    if shipped.is_file():
        return shipped.read_bytes()
    return (Path(__file__).parents[3] / "docs" / "format.md").read_bytes()
