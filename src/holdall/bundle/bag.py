"""BagIt and tar: writes headers, manifests and tag files, parses them strictly, and checks what a bundle says of itself
(index, ledger, ``holdall.json``, ``bag-info.txt``) against docs/format.md. Bytes in, bytes out.

A tar header depends on path, size and time alone. A header is accepted only if it equals the one we would write, byte
for byte: no links, devices, sparse files, odd owners or modes.

Each ``…_faults`` function yields what is wrong, a sentence each. Anything ambiguous is wrong: a duplicate key, a field
or a fidelity that doesn't belong to the entry. Fields of newer minor versions are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec

from holdall.bundle import layout
from holdall.bundle.layout import Capture, HoldallInfo, IndexEntry, LedgerLine, Source
from holdall.kinds import KINDS
from holdall.model import Fidelity
from holdall.safe_files import is_safe
from holdall.untrusted import MAX_SIZE, read_unique, require_filename, require_id, require_plain

# -- tar headers ---------------------------------------------------------------------------------------

BLOCK = 512
NO_TIME = 0
"""The time of a file that has none of its own: the same in each bundle, so that equal files are equal bytes."""
END_OF_TAR = bytes(2 * BLOCK)
MAX_TIME = 2**33 - 1
"""The last second that eleven octal digits hold; ``created_at`` is clamped to 0 and this."""

_MAX_USTAR_SIZE = 8**11 - 1
_MAX_PAX = 4 * BLOCK
_SIZE_AT, _TIME_AT, _TYPE_AT = 124, 136, 156
_PAX_NAME = b"PaxHeaders/holdall"
_TEMPLATE = (
    b"%b"  # name, 100
    b"0000600\x00"  # mode
    b"0000000\x00"  # uid
    b"0000000\x00"  # gid
    b"%b"  # size and mtime, each eleven octal digits and a NUL
    b"%06o\x00 "  # checksum
    b"%b"  # type
    + bytes(100)  # link name
    + b"ustar\x0000"
    + bytes(64)  # user and group name
    + b"0000000\x000000000\x00"  # device
    b"%b"  # prefix, 155, and 12 to the end of the block
)
_CONSTANT_SUM = sum(_TEMPLATE % (b"", b"", 0, b"", b"")) - sum(b"000000\x00 ") + sum(b"        ")
"""The sum of what is the same in every block; the checksum counts as blanks."""


class TarError(Exception):
    """A header that we would not have written. The message says why, for a finding."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """One member of the tar. ``length`` is the bytes of its header blocks."""

    path: str
    size: int
    mtime: int
    length: int


def padding(size: int) -> bytes:
    """The zeros that fill a content of ``size`` bytes up to a whole block."""
    return bytes(-size % BLOCK)


def header(path: str, size: int, mtime: int) -> bytes:
    """The header blocks of a regular file: one ustar block, preceded by a pax header only if needed."""
    mtime = min(max(mtime, 0), MAX_TIME)
    name, prefix = _ustar_path(path)
    records = b""
    if name is None:
        records += _pax_record(b"path", path.encode())
        name, prefix = path.encode("ascii", "replace").replace(b"?", b"_")[-100:].lstrip(b"/"), b""
    if size > _MAX_USTAR_SIZE:
        records += _pax_record(b"size", b"%d" % size)
        size = 0
    block = _ustar_block(name, prefix, size, mtime, b"0")
    if not records:
        return block
    return _ustar_block(_PAX_NAME, b"", len(records), mtime, b"x") + records + padding(len(records)) + block


def _ustar_path(path: str) -> tuple[bytes | None, bytes]:
    """``path`` as ustar's name and prefix; None if it doesn't fit or isn't ASCII."""
    if not path.isascii():
        return None, b""
    raw = path.encode()
    if len(raw) <= 100:
        return raw, b""
    split = raw.rfind(b"/", 0, 156)
    if split > 0 and len(raw) - split - 1 <= 100:
        return raw[split + 1 :], raw[:split]
    return None, b""


def _pax_record(key: bytes, value: bytes) -> bytes:
    body = len(key) + len(value) + 3
    length = body + len(str(body))
    if length != body + len(str(length)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def _ustar_block(name: bytes, prefix: bytes, size: int, mtime: int, kind: bytes) -> bytes:
    numbers = b"%011o\x00%011o\x00" % (size, mtime)
    # The checksum is the sum of all bytes; half of a block is the same in every block, and most of the rest is zeros.
    checksum = _CONSTANT_SUM + sum(name + prefix + numbers + kind)
    return _TEMPLATE % (name.ljust(100, b"\0"), numbers, checksum, kind, prefix.ljust(167, b"\0"))


def parse_header(data: bytes | memoryview) -> Header | None:
    """The header at the start of ``data``, which must hold all of it (``header_length``); None at the end of the tar
    (a block of zeros); TarError otherwise."""
    block = bytes(data[:BLOCK])
    if len(block) < BLOCK:
        raise TarError("the tar ends inside a header")
    if not any(block):
        return None
    length, path, big = header_length(block), None, None
    if length > BLOCK:
        path, big = _parse_pax(bytes(data[BLOCK : BLOCK + _octal(block, _SIZE_AT)]))
        block = bytes(data[length - BLOCK : length])
        if len(block) < BLOCK:
            raise TarError("the tar ends inside a header")
    try:
        name = path or "/".join(part.decode() for part in (_field(block, 345, 155), _field(block, 0, 100)) if part)
    except UnicodeDecodeError:
        raise TarError("member name is not UTF-8") from None
    size = _octal(block, _SIZE_AT) if big is None else big
    found = Header(path=name, size=size, mtime=header_time(block), length=length)
    if not is_safe(name):
        raise TarError(f"unsafe member name: {name!r}")
    if found.size > MAX_SIZE:
        raise TarError(f"{name}: impossible member size")
    # Whatever else a header may say, a link, a device or an owner, makes it another one.
    if header(name, found.size, found.mtime) != bytes(data[:length]):
        raise TarError(f"{name}: unexpected tar header")
    return found


def header_length(block: bytes) -> int:
    """Bytes of the header that begins with ``block``, or TarError."""
    if block[_TYPE_AT : _TYPE_AT + 1] != b"x":
        return BLOCK
    records = _octal(block, _SIZE_AT)
    # Before anything of that length is read.
    if not 0 < records <= _MAX_PAX:
        raise TarError(f"pax header too large ({records} bytes)")
    return 2 * BLOCK + records + len(padding(records))


def header_time(block: bytes) -> int:
    """The time in a file's ustar block, the one right before its content."""
    return _octal(block, _TIME_AT)


def _field(block: bytes, start: int, length: int) -> bytes:
    return block[start : start + length].split(b"\0", 1)[0]


def _octal(block: bytes, start: int) -> int:
    digits = block[start : start + 11]
    if not re.fullmatch(rb"[0-7]{11}", digits):
        raise TarError("header with an invalid size or time")
    return int(digits, 8)


def _parse_pax(data: bytes) -> tuple[str | None, int | None]:
    found: dict[bytes, bytes] = {}
    while data:
        match = re.match(rb"([1-9][0-9]{0,4}) (path|size)=", data)
        length = int(match[1]) if match else 0
        if not match or match[2] in found or length > len(data) or data[length - 1 : length] != b"\n":
            raise TarError("pax header with unexpected fields")
        found[match[2]] = data[match.end() : length - 1]
        data = data[length:]
    try:
        path, size = found.get(b"path"), found.get(b"size")
        return path.decode() if path else None, int(size) if size else None
    except ValueError:
        raise TarError("invalid pax header") from None


# -- manifests and tag files ---------------------------------------------------------------------------

BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)\n")


def manifest_line(sha256: str, path: str) -> bytes:
    """One line of a BagIt manifest, as ``sha256sum`` writes it. Safe names need no escaping."""
    return f"{sha256}  {path}\n".encode()


def parse_manifest_line(line: bytes) -> tuple[str, str]:
    """(sha256, path) of one line; ValueError where it isn't one."""
    match = _MANIFEST_LINE.fullmatch(line.decode())
    if not match:
        raise ValueError("invalid manifest line")
    return match[1], match[2]


def opening_files(bag: str) -> list[tuple[str, bytes]]:
    """The first files of a bundle: how to read it, and the specification."""
    readme = layout.readme().format(bag=bag).encode()
    return [(layout.BAGIT, BAGIT_TXT), (layout.README, readme), (layout.SPECIFICATION, layout.specification())]


def closing_info(capture: Capture, *, ended: int, size: int, entries: int) -> bytes:
    """``bag-info.txt`` for a payload of ``entries`` files and ``size`` bytes."""
    agent, date, *source = repeated_fields(capture.tool, capture.source, ended)
    return bag_info(
        [
            agent,
            date,
            ("External-Description", f"Assistants, vector stores and files of {capture.source.base_url}"),
            *((label, value) for label, value in source if value),
            ("Payload-Oxum", f"{size}.{entries}"),
        ]
    )


def repeated_fields(tool: str, source: Source, ended: int) -> list[tuple[str, str]]:
    """The fields of ``bag-info.txt`` that repeat ``holdall.json``; unknown ones are empty."""
    known = [("Organization", source.organization), ("Project", source.project), ("Label", source.label)]
    date = datetime.fromtimestamp(ended, UTC).strftime("%Y-%m-%d")
    fields = [("Bag-Software-Agent", tool), ("Bagging-Date", date)]
    fields += [(f"Holdall-Source-{label}", value or "") for label, value in known]
    return [(label, one_line(value)) for label, value in fields]


def bag_info(fields: list[tuple[str, str]]) -> bytes:
    """``bag-info.txt``. Values come from users and servers, so line breaks become blanks."""
    return "".join(f"{label}: {one_line(value)}\n" for label, value in fields).encode()


def parse_bag_info(data: bytes) -> Iterator[tuple[str, str]]:
    """The fields of a ``bag-info.txt`` as we write it; ValueError where it isn't UTF-8, or has a folded line."""
    *lines, rest = data.decode().split("\n")
    for line in lines:
        label, colon, value = line.partition(": ")
        if not colon or not label or label != label.strip() or one_line(value) != value:
            raise ValueError("bag-info.txt: a line is not LABEL: VALUE")
        yield label, value
    if rest:
        raise ValueError("bag-info.txt: unterminated line")


def one_line(value: str) -> str:
    """``value`` on one line, as in ``bag-info.txt``."""
    return " ".join(value.split())


# -- index, ledger and holdall.json --------------------------------------------------------------------

# Members and elements, those of members included (docs/format.md, "Limits").
LINE_VALUES = 100
_INFO_VALUES = 100_000

_index_decoder = msgspec.json.Decoder(IndexEntry)
_ledger_decoder = msgspec.json.Decoder(LedgerLine)
_encode = msgspec.json.Encoder().encode

_HEX_SHA256 = re.compile("[0-9a-f]{64}")
_MINIMA = frozenset({Fidelity.ORIGINAL, Fidelity.CONTAINER, Fidelity.TEXT, Fidelity.UNAVAILABLE})
_COUNTS = frozenset({*(row.count for row in KINDS.values()), "entries", "bytes"}) - layout.LATER
_OXUM = "payload-oxum"
_ORIGIN = re.compile(r"https?://[^\s/?#@]+")
_FILE_ROUTE = re.compile("/(?:vector_stores/([^/ ]+)/)?files/([^/ ]+)/content(?: -> .*)?", re.DOTALL)
_VERSION_ROUTE = re.compile("/skills/([^/ ]+)/versions/([^/ ]+)/content(?: -> .*)?", re.DOTALL)


def index_line(raw: bytes) -> IndexEntry:
    """A line of the index, without checking its path; ValueError where it is over a limit."""
    require_plain(raw)
    entry = _index_decoder.decode(raw)
    require_id(entry.id or "")
    require_filename(entry.filename or "")
    return entry


def payload_line(raw: bytes) -> IndexEntry:
    """A line of the index; ValueError where it is over a limit or its path isn't allowed."""
    return _with_allowed_path(index_line(raw))


def salvaged_line(raw: bytes) -> IndexEntry:
    """As ``payload_line``, but without limits: the sha256 proves the entry anyway. RecursionError where it is too
    deep."""
    return _with_allowed_path(_index_decoder.decode(raw))


def _with_allowed_path(entry: IndexEntry) -> IndexEntry:
    """``entry``. Raises ValueError where its path isn't allowed."""
    if not entry.path.startswith("data/") or not is_safe(entry.path):
        raise ValueError(f"{entry.path[:200]!r} is not allowed as a name in a bundle")
    return entry


def ledger_line(raw: bytes) -> LedgerLine:
    """A line of the ledger; ValueError where it is over a limit."""
    require_plain(raw)
    line = _ledger_decoder.decode(raw)
    require_id(line.id)
    require_filename(line.filename or "")
    return line


def entry_faults(raw: bytes, entry: IndexEntry, version: str) -> Iterator[str]:
    """A line of the index. ``version`` is the bundle's format. Raises ValueError as ``read_unique`` does."""
    # The rules of docs/format.md one after another: more functions would hide them. A line that is just as we write it
    # has each key once, and none without a value: to see that takes a tenth of the time.
    if raw != _encode(entry) and None in read_unique(raw, values=LINE_VALUES).values():
        yield "a field without a value"
    if not _HEX_SHA256.fullmatch(entry.sha256):
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
    # As in entry_faults, the rules of docs/format.md one after another.
    if raw != _encode(line) and "truncated" not in read_unique(raw, values=LINE_VALUES):
        yield "no truncated field"
    _, arrow, origin = (line.route or "").partition(" -> ")
    if arrow and not _ORIGIN.fullmatch(origin):
        yield "invalid origin in its route"
    if line.fidelity is Fidelity.SUPPLIED and not _is_relative(line.route):
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


def info_faults(raw: bytes, info: HoldallInfo) -> Iterator[str]:
    """``holdall.json``, but for the numbers in it. Raises ValueError as ``read_unique`` does."""
    # As in entry_faults, the rules of docs/format.md one after another.
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


def _is_relative(path: str | None) -> bool:
    return bool(path) and not str(path).startswith("/") and ".." not in str(path).split("/")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The ids in the path of a content request: the file's, and the store's if its text was requested."""

    store: str | None
    file: str


def parse_route(route: str | None) -> Route | None:
    """Parses a ledger's route; None if it isn't an API path to the file's own content.

    >>> parse_route("/vector_stores/vs_1/files/a%2Fb/content -> https://example.com")
    Route(store='vs_1', file='a/b')
    """
    found = _FILE_ROUTE.fullmatch(route or "")
    return Route(store=found[1] and unquote(found[1]), file=unquote(found[2])) if found else None


def parse_version_route(route: str | None) -> tuple[str, str] | None:
    """The skill and the number in the path of a request for the zip of a skill's version; None for another path.

    >>> parse_version_route("/skills/skill_1/versions/2/content")
    ('skill_1', '2')
    """
    found = _VERSION_ROUTE.fullmatch(route or "")
    return (unquote(found[1]), unquote(found[2])) if found else None
