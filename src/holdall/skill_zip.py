"""Reads the zip of a skill's version, which is somebody else's code: nothing of it is run or unpacked to disk.

Two zips are equal if they have the same files with the same bytes, whatever their compression, order and dates, and
whatever the folder at their top is called. A zip that different programs could read differently is refused. Source of
the limits: OpenAI's guide to skills (500 files a version, 25 MB a file unpacked).
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from enum import StrEnum
from hashlib import sha256
from typing import BinaryIO

import msgspec

from holdall.front_matter import front_matter
from holdall.legible import human_size
from holdall.untrusted import MAX_FILENAME

MAX_FILES = 500
"""Files in one version."""
MAX_UNPACKED = 25_000_000
"""Bytes of one of them."""
MAX_RATIO = 200
"""Bytes unpacked for each byte of the zip, beyond the first ``FREE_UNPACKED``."""
FREE_UNPACKED = 16_000_000

_MAX_ENTRIES = 2_000  # with folders
_MAX_DIRECTORY = 4 << 20
_PIECE = 64 << 10
_FRONT_MATTER = 64 << 10

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _SIZES_FOLLOW, _MASKED = 0x1, 0x8, 0x2000


class ZipFault(StrEnum):
    """Why a zip is refused."""

    NOT_A_ZIP = "not a zip"
    PATH = "unsafe path"
    LINK = "link or device"
    ENCRYPTED = "encrypted"
    DUPLICATE = "two files of one name"
    TOO_MANY = "too many files"
    TOO_LARGE = "file too large"
    BOMB = "unpacks to far more than it is"
    METHOD = "unknown compression"
    DAMAGED = "damaged"
    CONTRADICTION = "contradicts itself"


class RefusedZip(ValueError):
    """A zip that isn't read further."""

    def __init__(self, fault: ZipFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault, self.detail = fault, detail


class SkillZip(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a zip: the SHA-256 of each file, in hex, by its path below ``top``.

    ``top`` is the one folder that everything is in, None if there is none. ``name`` and ``description`` are those of
    SKILL.md's front matter, None where there is no SKILL.md, or several, or they can't be read.
    """

    files: dict[str, str]
    top: str | None = None
    unpacked: int = 0
    name: str | None = None
    description: str | None = None

    @property
    def digest(self) -> str:
        """Equal for equal files."""
        found = sha256()
        for name, hashed in sorted(self.files.items()):
            path = name.encode()
            found.update(b"%d %b %b\n" % (len(path), path, hashed.encode()))
        return found.hexdigest()


class _Member(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A file or a folder, as the zip's directory has it; in the order of the zip's bytes."""

    offset: int
    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    mode: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


def read_skill_zip(stream: BinaryIO, *, most: int = MAX_FILES * MAX_UNPACKED) -> SkillZip:
    """Reads a seekable stream once, in little memory. Raises RefusedZip, also where it unpacks to more than ``most``
    bytes, and what the stream raises."""
    members = _directory(stream)
    unpacked = sum(member.size for member in members)
    if unpacked > most:
        raise RefusedZip(ZipFault.BOMB, f"{human_size(unpacked)}, and {human_size(max(most, 0))} are left for it")
    top = _top(members)
    files: dict[str, str] = {}
    found: list[bytes] = []
    for member in members:
        if member.is_folder:
            continue
        path = member.name.removeprefix(f"{top}/" if top else "")
        is_text, kept = path.lower() == "skill.md", bytearray()
        hashed = sha256()
        for piece in _unpacked(stream, member):
            hashed.update(piece)
            if is_text and len(kept) < _FRONT_MATTER:
                kept += piece
        files[path] = hashed.hexdigest()
        if is_text:
            found.append(bytes(kept))
    said = front_matter(found[0]) if len(found) == 1 else {}
    return SkillZip(
        files=files,
        top=top,
        unpacked=unpacked,
        name=said.get("name"),
        description=said.get("description"),
    )


def digest(stream: BinaryIO) -> str:
    """``SkillZip.digest`` of a stream."""
    return read_skill_zip(stream).digest


def wrap(stream: BinaryIO, folder: str, out: BinaryIO) -> None:
    """Writes to ``out`` a zip with the same files inside ``folder``; the same bytes each time. Raises as
    ``read_skill_zip``."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(_directory(stream), key=lambda one: one.name):
            if member.is_folder:
                continue
            info = zipfile.ZipInfo(f"{folder}/{member.name}")
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            # Scripts stay executable.
            info.external_attr = (stat.S_IFREG | (0o755 if member.mode & 0o111 else 0o644)) << 16
            info.file_size = member.size
            with archive.open(info, "w") as file:
                for piece in _unpacked(stream, member):
                    file.write(piece)


# -- the zip's directory ------------------------------------------------------------------------------------


def _directory(stream: BinaryIO) -> list[_Member]:
    """The members in the order of their bytes, checked against each other and against the limits."""
    size = stream.seek(0, 2)
    count, length, start = _end(stream, size)
    if count > _MAX_ENTRIES:
        raise RefusedZip(ZipFault.TOO_MANY, f"{count} entries, more than {_MAX_ENTRIES}")
    if length > _MAX_DIRECTORY:
        raise RefusedZip(ZipFault.BOMB, f"a directory of {human_size(length)}")
    stream.seek(start)
    raw, at = _exactly(stream, length), 0
    members = []
    for _ in range(count):
        member, at = _member(raw, at)
        members.append(member)
    if at != length:
        raise RefusedZip(ZipFault.CONTRADICTION, f"its directory has more than the {count} declared")
    _require_bounded(members, size)
    _require_names(members)
    members.sort()
    for one, following in zip(members, [*[m.offset for m in members[1:]], start], strict=True):
        if one.offset + _LOCAL.size + len(one.raw_name) + one.stored > following:
            raise RefusedZip(ZipFault.CONTRADICTION, f"{one.name} overlaps what follows")
    return members


def _end(stream: BinaryIO, size: int) -> tuple[int, int, int]:
    """How many entries the directory has, its bytes, and where it starts."""
    tail_at = max(0, size - _END.size - _FULL16)
    stream.seek(tail_at)
    tail = _exactly(stream, size - tail_at)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise RefusedZip(ZipFault.NOT_A_ZIP, "it has no directory")
    _, disk, first_disk, here, count, length, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise RefusedZip(ZipFault.CONTRADICTION, "bytes after its end")
    end = tail_at + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size :].startswith(b"PK\6\7"):
        end = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)[2]
        if end + _END64.size > size:
            raise RefusedZip(ZipFault.CONTRADICTION, "its end is not where it says")
        stream.seek(end)
        mark, _, _, _, disk, first_disk, here64, count64, length64, start64 = _END64.unpack(
            _exactly(stream, _END64.size)
        )
        long = (here64, count64, length64, start64)
        short = zip((here, count, length, start), long, (_FULL16, _FULL16, _FULL32, _FULL32), strict=True)
        # Where both have a value, one reader goes by the one and another by the other.
        if mark != b"PK\6\6" or any(one not in (other, full) for one, other, full in short):
            raise RefusedZip(ZipFault.CONTRADICTION, "its two ends differ")
        here, count, length, start = long
    # Nothing between the two, or a reader that counts back from the end would find another directory.
    if disk or first_disk or here != count or start + length != end:
        raise RefusedZip(ZipFault.CONTRADICTION, "its directory is not where it says")
    return count, length, start


def _member(raw: bytes, at: int) -> tuple[_Member, int]:
    """The entry at ``at``, and where the next one is."""
    if at + _ENTRY.size > len(raw) or not raw.startswith(b"PK\1\2", at):
        raise RefusedZip(ZipFault.CONTRADICTION, "its directory has fewer entries than declared")
    fields = _ENTRY.unpack_from(raw, at)
    flags, method, crc, stored, size = fields[3], fields[4], fields[7], fields[8], fields[9]
    name_length, extra_length, comment_length, disk = fields[10:14]
    mode, offset = fields[15] >> 16, fields[16]
    names_at = at + _ENTRY.size
    extra_at = names_at + name_length
    following = extra_at + extra_length + comment_length
    if following > len(raw) or disk not in (0, _FULL16):
        raise RefusedZip(ZipFault.CONTRADICTION, "its directory is cut off")
    raw_name = raw[names_at:extra_at]
    size, stored, offset = _long(raw[extra_at : extra_at + extra_length], [size, stored, offset])
    member = _Member(
        offset=offset,
        name=_decoded(raw_name),
        raw_name=raw_name,
        flags=flags,
        method=method,
        crc=crc,
        stored=stored,
        size=size,
        mode=mode,
    )
    return member, following


def _long(extra: bytes, values: list[int]) -> list[int]:
    """``values``, with those that are too large for their fields from the extra field that has them (zip64)."""
    if _FULL32 not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        id, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if id == 1:
            needed = 8 * values.count(_FULL32)
            if length < needed or at + needed > len(extra):
                break
            long = iter(struct.unpack_from(f"<{values.count(_FULL32)}Q", extra, at))
            return [next(long) if value == _FULL32 else value for value in values]
        at += length
    raise RefusedZip(ZipFault.CONTRADICTION, "a size is missing")


def _decoded(raw: bytes) -> str:
    # Some writers have UTF-8 without saying so.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _require_bounded(members: list[_Member], size: int) -> None:
    files = [member for member in members if not member.is_folder]
    if len(files) > MAX_FILES:
        raise RefusedZip(ZipFault.TOO_MANY, f"{len(files)}, more than {MAX_FILES}")
    for member in members:
        if member.size > MAX_UNPACKED:
            raise RefusedZip(ZipFault.TOO_LARGE, f"{member.name} has {human_size(member.size)}")
        if member.is_folder and member.size:
            raise RefusedZip(ZipFault.CONTRADICTION, f"the folder {member.name} has contents")
        if member.flags & (_ENCRYPTED | _MASKED):
            raise RefusedZip(ZipFault.ENCRYPTED, member.name)
        if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusedZip(ZipFault.METHOD, f"{member.name} (method {member.method})")
        if stat.S_IFMT(member.mode) not in (0, stat.S_IFDIR if member.is_folder else stat.S_IFREG):
            raise RefusedZip(ZipFault.LINK, member.name)
    unpacked = sum(member.size for member in files)
    if unpacked > max(FREE_UNPACKED, MAX_RATIO * size):
        raise RefusedZip(ZipFault.BOMB, f"{human_size(unpacked)} from {human_size(size)}")


def _require_names(members: list[_Member]) -> None:
    files: set[str] = set()
    folders: set[str] = set()
    for member in members:
        parts = member.name.removesuffix("/").split("/")
        if not _is_safe(member.name, parts):
            raise RefusedZip(ZipFault.PATH, repr(member.name[:200]))
        seen = folders if member.is_folder else files
        name = "/".join(parts)
        if not member.is_folder and name in seen:
            raise RefusedZip(ZipFault.DUPLICATE, name)
        seen.add(name)
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if both := files & folders:
        raise RefusedZip(ZipFault.DUPLICATE, min(both))


def _is_safe(name: str, parts: list[str]) -> bool:
    """Whether a path stays inside the folder that it would be unpacked to, on every system."""
    return (
        not {"", ".", ".."}.intersection(parts)
        and not re.match("[A-Za-z]:", name)
        and not re.search(r"[\\\0-\x1f\x7f]", name)
        and len(name.encode()) <= MAX_FILENAME
    )


def _top(members: list[_Member]) -> str | None:
    tops = {member.name.partition("/")[0] for member in members}
    return tops.pop() if len(tops) == 1 and all("/" in member.name for member in members) else None


# -- its files ----------------------------------------------------------------------------------------------


def _unpacked(stream: BinaryIO, member: _Member) -> Iterator[bytes]:
    """The bytes of a file in pieces, checked at the end."""
    stream.seek(member.offset)
    header = _LOCAL.unpack(_exactly(stream, _LOCAL.size))
    mark, _, flags, method, _, _, crc, stored, size, name_length, extra_length = header
    same = [(flags & _ENCRYPTED, 0), (method, member.method)]
    if not flags & _SIZES_FOLLOW:
        same += [(crc, member.crc)]
        same += [(one, other) for one, other in ((stored, member.stored), (size, member.size)) if one != _FULL32]
    name = _exactly(stream, name_length)
    if mark != b"PK\3\4" or name != member.raw_name or any(one != other for one, other in same):
        raise RefusedZip(ZipFault.CONTRADICTION, f"{member.name} is something else where it is stored")
    _exactly(stream, extra_length)
    left, found = member.size, 0
    for piece in _inflated(stream, member) if member.method else _pieces(stream, member.stored):
        left -= len(piece)
        if left < 0:
            break
        found = zlib.crc32(piece, found)
        yield piece
    if left:
        raise RefusedZip(ZipFault.CONTRADICTION, f"{member.name} has another size than it says")
    if found != member.crc:
        raise RefusedZip(ZipFault.DAMAGED, f"{member.name} has another checksum than it says")


def _inflated(stream: BinaryIO, member: _Member) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in _pieces(stream, member.stored):
            if inflater.eof:
                raise RefusedZip(ZipFault.CONTRADICTION, f"{member.name} has bytes after its end")
            while piece and not inflater.eof:
                yield inflater.decompress(piece, _PIECE)
                piece = inflater.unconsumed_tail
        yield inflater.flush()
    except zlib.error as error:
        raise RefusedZip(ZipFault.DAMAGED, f"{member.name}: {error}") from None
    if not inflater.eof:
        raise RefusedZip(ZipFault.DAMAGED, f"{member.name} is cut off")
    if inflater.unused_data or inflater.unconsumed_tail:
        raise RefusedZip(ZipFault.CONTRADICTION, f"{member.name} has bytes after its end")


def _pieces(stream: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = _exactly(stream, min(length, _PIECE))
        length -= len(piece)
        yield piece


def _exactly(stream: BinaryIO, length: int) -> bytes:
    found = stream.read(length)
    if len(found) != length:
        raise RefusedZip(ZipFault.DAMAGED, "it is cut off")
    return found
