"""BagIt and tar: writes and strictly parses headers, manifests and tag files. Bytes in, bytes out.

A tar header depends on path, size and time alone. A header is accepted only if it equals the one we would write, byte
for byte: no links, devices, sparse files, odd owners or modes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from holdall.bundle import layout
from holdall.bundle.layout import Capture, Source, is_safe
from holdall.untrusted import MAX_SIZE

BLOCK = 512
NO_TIME = 0
"""The time of a file that has none of its own: the same in each bundle, so that equal files are equal bytes."""
END_OF_TAR = bytes(2 * BLOCK)
MAX_TIME = 2**33 - 1
"""The last second that eleven octal digits hold; ``created_at`` is clamped to 0 and this."""

BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

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
_CONSTANT = sum(_TEMPLATE % (b"", b"", 0, b"", b"")) - sum(b"000000\x00 ") + sum(b"        ")
"""The sum of what is the same in every block; the checksum counts as blanks."""
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)\n")


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
    block = _block(name, prefix, size, mtime, b"0")
    if not records:
        return block
    return _block(_PAX_NAME, b"", len(records), mtime, b"x") + records + padding(len(records)) + block


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


def _block(name: bytes, prefix: bytes, size: int, mtime: int, kind: bytes) -> bytes:
    numbers = b"%011o\x00%011o\x00" % (size, mtime)
    # The checksum is the sum of all bytes; half of a block is the same in every block, and most of the rest is zeros.
    checksum = _CONSTANT + sum(name + prefix + numbers + kind)
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
        path, big = _parse_pax(bytes(data[BLOCK : BLOCK + _number(block, _SIZE_AT)]))
        block = bytes(data[length - BLOCK : length])
        if len(block) < BLOCK:
            raise TarError("the tar ends inside a header")
    try:
        name = path or "/".join(part.decode() for part in (_text(block, 345, 155), _text(block, 0, 100)) if part)
    except UnicodeDecodeError:
        raise TarError("member name is not UTF-8") from None
    size = _number(block, _SIZE_AT) if big is None else big
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
    records = _number(block, _SIZE_AT)
    # Before anything of that length is read.
    if not 0 < records <= _MAX_PAX:
        raise TarError(f"pax header too large ({records} bytes)")
    return 2 * BLOCK + records + len(padding(records))


def header_time(block: bytes) -> int:
    """The time in a file's ustar block, the one right before its content."""
    return _number(block, _TIME_AT)


def _text(block: bytes, start: int, length: int) -> bytes:
    return block[start : start + length].split(b"\0", 1)[0]


def _number(block: bytes, start: int) -> int:
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


def one_line(value: str) -> str:
    """``value`` on one line, as in ``bag-info.txt``."""
    return " ".join(value.split())


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
