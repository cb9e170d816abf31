"""Validates a bundle's own statements (index, ledger, losses, ``holdall.json``, ``bag-info.txt``) against
docs/format.md.

Each ``_faults`` function yields what is wrong, a sentence each. Anything ambiguous is wrong: a duplicate key, a field
or a fidelity that doesn't belong to the entry. Fields of newer minor versions are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import parse_bag_info, repeated_fields
from holdall.bundle.layout import HoldallInfo, IndexEntry, LedgerLine, is_safe
from holdall.kinds import KINDS
from holdall.model import Fidelity
from holdall.untrusted import read_unique, require_filename, require_id, require_plain

# Members and elements, those of members included (docs/format.md, "Limits").
LINE_VALUES = 100
_INFO_VALUES = 100_000
_index_decoder = msgspec.json.Decoder(IndexEntry)
_ledger_decoder = msgspec.json.Decoder(LedgerLine)
_encode = msgspec.json.Encoder().encode
_SHA256 = re.compile("[0-9a-f]{64}")
_MINIMA = frozenset({Fidelity.ORIGINAL, Fidelity.CONTAINER, Fidelity.TEXT, Fidelity.UNAVAILABLE})
_COUNTS = frozenset({*(row.count for row in KINDS.values()), "entries", "bytes"}) - layout.LATER
_OXUM = "payload-oxum"
_ORIGIN = re.compile(r"https?://[^\s/?#@]+")
_VERSION_ROUTE = re.compile("/skills/([^/ ]+)/versions/([^/ ]+)/content(?: -> .*)?", re.DOTALL)
_ROUTE = re.compile("/(?:vector_stores/([^/ ]+)/)?files/([^/ ]+)/content(?: -> .*)?", re.DOTALL)


def ledger_line(raw: bytes) -> LedgerLine:
    """A line of the ledger; ValueError where it is over a limit."""
    require_plain(raw)
    line = _ledger_decoder.decode(raw)
    require_id(line.id)
    require_filename(line.filename or "")
    return line


def index_line(raw: bytes) -> IndexEntry:
    """A line of the index, without checking its path; ValueError where it is over a limit."""
    require_plain(raw)
    entry = _index_decoder.decode(raw)
    require_id(entry.id or "")
    require_filename(entry.filename or "")
    return entry


def payload_line(raw: bytes) -> IndexEntry:
    """A line of the index; ValueError where it is over a limit or its path isn't allowed."""
    return _of_payload(index_line(raw))


def salvaged_line(raw: bytes) -> IndexEntry:
    """As ``payload_line``, but without limits: the sha256 proves the entry anyway. RecursionError where it is too
    deep."""
    return _of_payload(_index_decoder.decode(raw))


def _of_payload(entry: IndexEntry) -> IndexEntry:
    if not entry.path.startswith("data/") or not is_safe(entry.path):
        raise ValueError(f"{entry.path[:200]!r} is not allowed as a name in a bundle")
    return entry


def entry_faults(raw: bytes, entry: IndexEntry, version: str) -> Iterator[str]:
    """A line of the index. ``version`` is the bundle's format. Raises ValueError as ``read_unique`` does."""
    # As in ledger_line_faults, the rules of docs/format.md one after another. A line that is just as we write it has
    # each key once, and none without a value: to see that takes a tenth of the time.
    if raw != _encode(entry) and None in read_unique(raw, values=LINE_VALUES).values():
        yield "a field without a value"
    if not _SHA256.fullmatch(entry.sha256):
        yield "not a sha256"
    place = layout.place_of(entry.path)
    if place is None:
        if layout.is_known(version):
            yield f"unknown place in format {version}"
        return
    if (entry.id is not None) != place.has_id:
        yield "no id" if place.has_id else "unexpected id"
    if (entry.records is not None) != place.has_records:
        yield "no number of lines" if place.has_records else "unexpected number of lines"
    if entry.path == layout.LOSSES and not entry.records:
        yield "an empty list must be left out"
    if entry.fidelity is None and place.fidelities:
        yield "no fidelity"
    elif entry.fidelity is not None and entry.fidelity not in place.fidelities:
        yield f"fidelity {entry.fidelity} not allowed here"
    if entry.filename is not None and not place.fidelities:
        yield "unexpected filename"


def ledger_line_faults(raw: bytes, line: LedgerLine) -> Iterator[str]:
    """A line of the ledger. Raises ValueError as ``read_unique`` does."""
    # The rules of docs/format.md one after another: more functions would hide them.
    if raw != _encode(line) and "truncated" not in read_unique(raw, values=LINE_VALUES):
        yield "no truncated field"
    _, arrow, origin = (line.route or "").partition(" -> ")
    if arrow and not _ORIGIN.fullmatch(origin):
        yield "invalid origin in its route"
    if line.fidelity is Fidelity.SUPPLIED and not _is_inside(line.route):
        yield "invalid path of its original"
    if (line.path is None) != (line.fidelity is Fidelity.UNAVAILABLE):
        yield "path and fidelity disagree on whether it is unavailable"
    if (line.size is None) != (line.path is None):
        yield "path and size disagree on whether it has content"
    if line.status is not None and not 100 <= line.status <= 999:
        yield f"{str(line.status)[:30]} is not an HTTP status"
    if line.fidelity is not Fidelity.TEXT and (line.truncated or line.doubt):
        yield "truncated or uncertain, but not a text"
    if line.doubt == "":
        yield "empty doubt"
    if line.fidelity is Fidelity.ORIGINAL and ((line.status or 0) >= 400 or line.code is not None):
        yield "declared refused, but has content"
    route = parse_route(line.route)
    if route and line.fidelity is not Fidelity.SUPPLIED and route.file != line.id:
        yield "route of another file"
    if route and {Fidelity.ORIGINAL: True, Fidelity.TEXT: False}.get(line.fidelity) is (route.store is not None):
        yield f"route does not match fidelity {line.fidelity}"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The ids in the path of a content request: the file's, and the store's if its text was requested."""

    store: str | None
    file: str


def parse_route(route: str | None) -> Route | None:
    """Parses a ledger's route; None if it isn't an API path to the file's own content.

    >>> parse_route("/vector_stores/vs_1/files/a%2Fb/content -> https://example.com")
    Route(store='vs_1', file='a/b')
    """
    found = _ROUTE.fullmatch(route or "")
    return Route(store=found[1] and unquote(found[1]), file=unquote(found[2])) if found else None


def parse_version_route(route: str | None) -> tuple[str, str] | None:
    """The skill and the number in the path of a request for the zip of a skill's version; None for another path.

    >>> parse_version_route("/skills/skill_1/versions/2/content")
    ('skill_1', '2')
    """
    found = _VERSION_ROUTE.fullmatch(route or "")
    return (unquote(found[1]), unquote(found[2])) if found else None


def _is_inside(path: str | None) -> bool:
    return bool(path) and not str(path).startswith("/") and ".." not in str(path).split("/")


def info_faults(raw: bytes, info: HoldallInfo) -> Iterator[str]:
    """``holdall.json``, but for the numbers in it. Raises ValueError as ``read_unique`` does."""
    # As in ledger_line_faults, the rules of docs/format.md one after another.
    fields = read_unique(raw, values=_INFO_VALUES)
    for name in ("min_rung", "losses"):
        if name in fields and fields[name] is None:
            yield f"{name} is null; it must be left out instead"
    if None in fields["digests"].values():
        yield "a digest is null; it must be left out instead"
    if info.ended < info.started:
        yield "its end is before its start"
    if info.min_fidelity is not None and info.min_fidelity not in _MINIMA:
        yield f"min_rung is {info.min_fidelity[:30]!r}, which is not a valid minimum"
    for name in sorted(_COUNTS - info.counts.keys()):
        yield f"counts has no {name}"
    if not layout.is_known(info.format):
        return
    for name in sorted(info.counts.keys() - _COUNTS - layout.LATER):
        yield f"unknown count {name[:100]!r} for format {info.format}"
    for name in sorted(info.fidelities.keys() - set(Fidelity)):
        yield f"unknown fidelity {name[:100]!r} for format {info.format}"
    if info.format != layout.format_of(info.counts) or any(info.counts.get(name) == 0 for name in layout.LATER):
        said = ", ".join(f"{info.counts.get(name)} {name}" for name in sorted(layout.LATER))
        yield f"format {info.format} does not match its counts ({said})"


def bag_faults(raw: bytes, info: HoldallInfo) -> Iterator[str]:
    """``bag-info.txt``. Raises ValueError where it isn't valid."""
    fields = list(parse_bag_info(raw))
    oxums = [value for label, value in fields if label.lower() == _OXUM]
    if oxums != [f"{info.counts.get('bytes')}.{info.counts.get('entries')}"]:
        yield "Payload-Oxum does not match the payload"
    known = {label.lower(): value for label, value in repeated_fields(info.tool, info.source, info.ended)}
    for label, value in fields:
        if known.get(label.lower(), value) != value:
            yield f"{label} differs from holdall.json"
