"""What a skill is made of: a folder of files, one of which says what it is called. Read out of a zip, never unpacked.

The sources of the rules are OpenAI's guide to skills and, for what stands in SKILL.md, the specification at
agentskills.io.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from holdall.sandbox.service.api_errors import ApiError, invalid

MAX_ZIP = 50 * 1024 * 1024
"""Bytes of a zip, or of all the files that are sent one by one."""

_MAX_FILES = 500
_MAX_FILE = 25 * 1024 * 1024

# Bytes of all files unpacked. No source knows of a limit; the sandbox needs one.
_MAX_UNPACKED = 1024 * 1024 * 1024

# Letters of a name and of a description.
_MAX_NAME, _MAX_DESCRIPTION = 64, 1024
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# Bytes of SKILL.md in which its front matter has to end, and of a zip's directory: 500 files and their folders take
# less.
_FRONT_MATTER = 256 * 1024
_DIRECTORY = 4 * 1024 * 1024

# Bytes that are packed at once.
_PIECE = 1024 * 1024


class SkillText(msgspec.Struct, frozen=True, kw_only=True):
    """What SKILL.md says of its skill."""

    name: str
    description: str


class SkillFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a skill: its path, beginning with the one folder, and its size unpacked."""

    path: str
    size: int


def _bad(what: str) -> ApiError:
    """400 for an upload that is no skill."""
    return invalid(f"Invalid skill: {what}", "files", "invalid_value")


def read_zip(path: Path) -> SkillText:
    """What a zip's SKILL.md says; raises the refusal of a zip that is none, or breaks a rule."""
    with _opened(path) as archive:
        for info in archive.infolist():
            _check_kind(info)
        files = [info for info in archive.infolist() if not info.is_dir()]
        manifest = check_files(
            [SkillFile(path=info.filename, size=info.file_size) for info in files],
            [info.filename for info in archive.infolist() if info.is_dir()],
        )
        for info in files:
            with archive.open(info) as source:
                if info.filename == manifest:
                    text = _front_matter(source.read(_FRONT_MATTER))
                while source.read(_PIECE):
                    pass  # its checksum is compared at the end
    return text


def check_files(files: Sequence[SkillFile], folders: Iterable[str] = ()) -> str:
    """The path of SKILL.md among a skill's files; raises the refusal where a rule is broken."""
    paths = [file.path for file in files]
    if len(files) > _MAX_FILES:
        raise _bad(f"{len(files)} files. A version may have at most {_MAX_FILES}.")
    tops = set()
    for path in [*paths, *(folder.rstrip("/") for folder in folders)]:
        _check_path(path)
        tops.add(path.partition("/")[0])
    if len(set(paths)) < len(paths):
        raise _bad("two files have the same path.")
    _check_sizes(files)
    if len(tops) != 1 or any("/" not in path for path in paths):
        raise _bad("all files must be in a single top-level folder.")
    found = [path for path in paths if path.rpartition("/")[2].lower() == "skill.md"]
    if len(found) != 1 or found[0].count("/") != 1:
        raise _bad(f"expected exactly one SKILL.md, in the top-level folder, but found {len(found)}.")
    return found[0]


def _check_path(path: str) -> None:
    is_absolute = path.startswith("/") or re.match("[A-Za-z]:", path)
    if is_absolute or "\\" in path or "\0" in path or {"", ".", ".."} & set(path.split("/")):
        raise _bad(f"unsafe path '{path[:200]}'.")


def _check_sizes(files: Sequence[SkillFile]) -> None:
    for file in files:
        if file.size > _MAX_FILE:
            raise _bad(f"'{file.path}' has {file.size} bytes. A file may have at most {_MAX_FILE}.")
    if sum(file.size for file in files) > _MAX_UNPACKED:
        raise _bad(f"its files have more than {_MAX_UNPACKED} bytes together.")


def _check_kind(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _bad(f"'{info.filename[:200]}' is a link or another special file.")
    if info.flag_bits & 1:
        raise _bad(f"'{info.filename[:200]}' is encrypted.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _bad(f"'{info.filename[:200]}' is compressed in another way than a zip's usual one.")
    # zipfile ends a name where the zip's own has a NUL.
    if info.orig_filename != info.filename:
        raise _bad(f"unsafe path '{info.orig_filename[:200]}'.")


class _Bounded(io.BufferedReader):
    """A file of which nobody reads more at once than a zip's directory may take: zipfile reads that in one piece."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY:
            raise zipfile.BadZipFile("the directory is too large")
        return super().read(_DIRECTORY if size is None or size < 0 else size)

    def seek(self, target: int, whence: int = 0, /) -> int:
        try:
            return super().seek(target, whence)
        except OSError:
            raise zipfile.BadZipFile("a place before its beginning") from None


# What zipfile raises for a zip that is broken, or packed in a way that it doesn't know.
_BROKEN = (
    zipfile.BadZipFile,
    EOFError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with _Bounded(io.FileIO(path)) as source, zipfile.ZipFile(source) as archive:
            yield archive
    except _BROKEN as error:
        raise _bad(f"not a readable zip: {error}.") from None


def _front_matter(head: bytes) -> SkillText:
    """The name and description at the beginning of a SKILL.md; raises the refusal where they aren't there by rule."""
    try:
        lines = head.decode("utf-8-sig", "strict" if len(head) < _FRONT_MATTER else "ignore").splitlines()
    except UnicodeDecodeError:
        raise _bad("SKILL.md is not UTF-8.") from None
    ends = [place for place, line in enumerate(lines) if line.rstrip() == "---"][:2]
    if len(ends) < 2 or ends[0] != 0:
        raise _bad("SKILL.md must begin with front matter between two lines '---'.")
    fields = _fields(lines[1 : ends[1]])
    name, description = fields.get("name", ""), fields.get("description", "")
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise _bad(
            f"'name' in SKILL.md must be lower-case letters, digits and single inner hyphens, at most {_MAX_NAME}."
        )
    if not 1 <= len(description) <= _MAX_DESCRIPTION:
        raise _bad(f"'description' in SKILL.md must have 1 to {_MAX_DESCRIPTION} characters.")
    return SkillText(name=name, description=description)


def _fields(lines: Sequence[str]) -> dict[str, str]:
    """The top-level fields of a block of YAML, as far as skills use it: one line, quoted, folded, or several lines."""
    fields: dict[str, list[str]] = {}
    key = ""
    for line in lines:
        if line[:1] in ("", " ", "\t", "-"):
            fields.setdefault(key, []).append(line.strip())
            continue
        if line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon or (value and value[0] not in " \t"):
            raise _bad("the front matter of SKILL.md is no YAML.")
        if key in fields:
            raise _bad(f"'{key[:100]}' stands twice in the front matter of SKILL.md.")
        fields[key] = [value.strip()]
    return {key: _scalar(parts) for key, parts in fields.items()}


def _scalar(parts: list[str]) -> str:
    first, *rest = parts
    if re.fullmatch(r"[|>][+-]?\d?", first):
        return ("\n" if first[0] == "|" else " ").join(rest).strip()
    whole = " ".join(part for part in parts if part)
    if whole[:1] in ("'", '"'):
        if len(whole) < 2 or whole[-1] != whole[0]:
            raise _bad("a quote in the front matter of SKILL.md isn't closed.")
        inner = whole[1:-1]
        return inner.replace("''", "'") if whole[0] == "'" else re.sub(r"\\(.)", r"\1", inner)
    return re.sub(r"(^|\s)#.*", "", whole).strip()


def pack(files: Sequence[SkillFile], source: IO[bytes], target: Path) -> None:
    """Make a zip of files whose bytes follow one another in ``source``."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            _add(archive, file, source.read)


def packed_anew(path: Path, target: Path) -> None:
    """Make another zip of the same files: sorted, without dates, folders and comments of the one that was sent."""
    with _opened(path) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as again:
        again.comment = b"packed anew"
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if not info.is_dir():
                with archive.open(info) as source:
                    _add(again, SkillFile(path=info.filename, size=info.file_size), source.read)


def _add(archive: zipfile.ZipFile, file: SkillFile, read: Callable[[int], bytes]) -> None:
    info = zipfile.ZipInfo(file.path)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    left = file.size
    with archive.open(info, "w") as target:
        while left and (piece := read(min(left, _PIECE))):
            target.write(piece)
            left -= len(piece)
