"""A skill's zip: what is equal, what is refused, and how much memory it takes."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from holdall.front_matter import front_matter
from holdall.skill_zip import MAX_UNPACKED, RefusedZip, ZipFault, digest, read_skill_zip, wrap

SKILL = b"---\nname: pdf-forms\ndescription: Fills forms.\n---\n# Forms\n"
FILES = {"pdf-forms/SKILL.md": SKILL, "pdf-forms/scripts/fill.py": b"print('x')\n" * 500, "pdf-forms/empty": b""}


def zipped(
    files: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, year: int = 1990, mode: int = 0o100644
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = method, mode << 16
            archive.writestr(info, data)
    return out.getvalue()


def refusal(data: bytes) -> ZipFault:
    with pytest.raises(RefusedZip) as caught:
        read_skill_zip(io.BytesIO(data))
    return caught.value.fault


def test_a_zip_is_what_it_contains() -> None:
    found = read_skill_zip(io.BytesIO(zipped(FILES)))
    assert (found.top, found.name, found.description) == ("pdf-forms", "pdf-forms", "Fills forms.")
    assert list(found.files) == ["SKILL.md", "scripts/fill.py", "empty"]
    assert found.unpacked == sum(map(len, FILES.values()))


def streamed() -> bytes:
    """As a writer makes it that can't go back: the sizes follow the data."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return pipe.data


def long_ended() -> bytes:
    """With the end of large zips, as some writers always make it."""
    data = zipped(FILES)
    *_, count, length, start, _ = struct.unpack("<4s4H2LH", data[-22:])
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    return data[:-22] + end64 + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)


def with_folders() -> bytes:
    return zipped({"pdf-forms/": b"", "pdf-forms/scripts/": b"", **FILES}, mode=0)


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(zipped(FILES, method=zipfile.ZIP_STORED), id="stored"),
        pytest.param(zipped(dict(reversed(FILES.items()))), id="another order"),
        pytest.param(zipped(FILES, year=2020, mode=0o100755), id="other dates and modes"),
        pytest.param(zipped({k.replace("pdf-forms/", "x/"): v for k, v in FILES.items()}), id="another top folder"),
        pytest.param(zipped({k.replace("pdf-forms/", ""): v for k, v in FILES.items()}), id="no top folder"),
        pytest.param(with_folders(), id="folders as entries"),
        pytest.param(streamed(), id="streamed"),
        pytest.param(long_ended(), id="zip64"),
    ],
)
def test_equal_contents_have_equal_digests(same: bytes) -> None:
    assert digest(io.BytesIO(same)) == digest(io.BytesIO(zipped(FILES)))


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "pdf-forms/more": b""},
        {**FILES, "pdf-forms/empty": b"x"},
        {k.replace("scripts/", "script/"): v for k, v in FILES.items()},
        {f"a/{k}": v for k, v in FILES.items()},
    ],
)
def test_other_contents_have_other_digests(other: dict[str, bytes]) -> None:
    assert digest(io.BytesIO(zipped(other))) != digest(io.BytesIO(zipped(FILES)))


def patched(data: bytes, at: bytes, offset: int, new: bytes) -> bytes:
    where = data.rindex(at) + offset
    return data[:where] + new + data[where + len(new) :]


def commented() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(70):
            info = zipfile.ZipInfo(f"s/{number}")
            info.comment = bytes(0xFFFF)
            archive.writestr(info, b"")
    return out.getvalue()


ONE = zipped({"s/SKILL.md": SKILL}, method=zipfile.ZIP_STORED)
TWICE = zipped({"s/a": b"1", "s/b": b"2"}, method=zipfile.ZIP_STORED)
BIG = struct.pack("<L", MAX_UNPACKED + 1)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../x", ZipFault.PATH),
        ("s/../../x", ZipFault.PATH),
        ("s/./x", ZipFault.PATH),
        ("s//x", ZipFault.PATH),
        ("/etc/passwd", ZipFault.PATH),
        ("s\\x", ZipFault.PATH),
        ("C:/x", ZipFault.PATH),
        ("c:x", ZipFault.PATH),
        ("s/\x1b[31m", ZipFault.PATH),
        ("s/" + "x" * 5000, ZipFault.PATH),
        ("s/SKILL.md/x", ZipFault.DUPLICATE),
    ],
)
def test_unsafe_names_are_refused(name: str, fault: ZipFault) -> None:
    assert refusal(zipped({"s/SKILL.md": SKILL, name: b"x"})) is fault


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param(b"", ZipFault.NOT_A_ZIP, id="empty"),
        pytest.param(b"PK\5\6", ZipFault.NOT_A_ZIP, id="half an end"),
        pytest.param(ONE + b"x", ZipFault.CONTRADICTION, id="bytes after the end"),
        pytest.param(b"x" + ONE, ZipFault.CONTRADICTION, id="bytes before the beginning"),
        pytest.param(ONE[:-40] + ONE[-22:], ZipFault.CONTRADICTION, id="cut in its directory"),
        pytest.param(zipped({"s/link": b"/etc"}, mode=stat.S_IFLNK | 0o777), ZipFault.LINK, id="link"),
        pytest.param(zipped({"s/fifo": b""}, mode=stat.S_IFIFO | 0o600), ZipFault.LINK, id="pipe"),
        pytest.param(patched(ONE, b"PK\1\2", 8, b"\1"), ZipFault.ENCRYPTED, id="encrypted"),
        pytest.param(patched(ONE, b"PK\3\4", 6, b"\1"), ZipFault.CONTRADICTION, id="encrypted where it is stored"),
        pytest.param(patched(ONE, b"PK\1\2", 10, b"\x0e"), ZipFault.METHOD, id="lzma"),
        pytest.param(TWICE.replace(b"s/b", b"s/a"), ZipFault.DUPLICATE, id="two of one name"),
        pytest.param(patched(TWICE, b"s/b", 0, b"s/c"), ZipFault.CONTRADICTION, id="another name where it is stored"),
        pytest.param(patched(TWICE, b"PK\1\2", 42, bytes(4)), ZipFault.CONTRADICTION, id="two in one place"),
        pytest.param(patched(ONE, b"PK\1\2", 24, BIG), ZipFault.TOO_LARGE, id="large"),
        pytest.param(patched(ONE, b"PK\1\2", 24, b"\1"), ZipFault.CONTRADICTION, id="larger than it says"),
        pytest.param(patched(ONE, b"PK\1\2", 24, b"\xff\1"), ZipFault.CONTRADICTION, id="smaller than it says"),
        pytest.param(patched(ONE, b"PK\1\2", 20, b"\xff\xff"), ZipFault.CONTRADICTION, id="stored beyond the end"),
        pytest.param(patched(ONE, b"PK\1\2", 42, b"\xff\xff\xff\x7f"), ZipFault.CONTRADICTION, id="beyond the end"),
        pytest.param(patched(ONE, b"PK\1\2", 24, b"\xff" * 4), ZipFault.CONTRADICTION, id="zip64 without a size"),
        pytest.param(patched(ONE, b"PK\5\6", 10, b"\2"), ZipFault.CONTRADICTION, id="more entries declared"),
        pytest.param(patched(long_ended(), b"PK\6\6", 32, b"\2"), ZipFault.CONTRADICTION, id="zip64 entries"),
        pytest.param(patched(long_ended(), b"PK\6\7", 8, b"\xff" * 8), ZipFault.CONTRADICTION, id="zip64 end"),
        pytest.param(patched(long_ended(), b"PK\5\6", 10, b"\2\0"), ZipFault.CONTRADICTION, id="two ends"),
        pytest.param(patched(long_ended(), b"PK\6\6", 40, b"\xff" * 8), ZipFault.CONTRADICTION, id="zip64 directory"),
        pytest.param(ONE.replace(b"# Forms", b"# Farms"), ZipFault.DAMAGED, id="checksum"),
        pytest.param(zipped({f"s/{n}": b"" for n in range(501)}), ZipFault.TOO_MANY, id="501 files"),
        pytest.param(zipped({f"s/{n}/": b"" for n in range(2001)}, mode=0), ZipFault.TOO_MANY, id="2001 folders"),
        pytest.param(zipped({f"s/{n}": bytes(2_000_000) for n in range(9)}), ZipFault.BOMB, id="bomb"),
        pytest.param(commented(), ZipFault.BOMB, id="directory"),
    ],
)
def test_hostile_zips_are_refused(data: bytes, fault: ZipFault) -> None:
    assert refusal(data) is fault


def test_no_byte_of_a_zip_makes_anything_but_a_refusal() -> None:
    data = zipped({"s/SKILL.md": SKILL, "s/b": b"2" * 300})
    for at in range(len(data)):
        for value in (0, 0xFF, data[at] ^ 0x10):
            broken = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                read_skill_zip(io.BytesIO(broken))
            except RefusedZip:
                continue


def test_a_zip_is_wrapped_in_a_folder_the_same_way_each_time() -> None:
    plain = zipped({"SKILL.md": SKILL, "scripts/run": b"x" * 100_000}, mode=0o100755)
    outs = [io.BytesIO(), io.BytesIO()]
    for out in outs:
        wrap(io.BytesIO(plain), "pdf-forms", out)
    assert outs[0].getvalue() == outs[1].getvalue()
    found = read_skill_zip(outs[0])
    assert (found.top, found.digest) == ("pdf-forms", digest(io.BytesIO(plain)))
    modes = [info.external_attr >> 16 & 0o777 for info in zipfile.ZipFile(outs[0]).infolist()]
    assert modes == [0o755, 0o755]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'\xef\xbb\xbf---\nname: a\ndescription: "x: \\"y\\""\n---', {"name": "a", "description": 'x: "y"'}),
        (b"---\nname: 'it''s'\n---", {"name": "it's"}),
        (b"---\ndescription: one\n  two\nname: a # the name\n---", {"description": "one two", "name": "a"}),
        (b"---\ndescription: |\n  one\n  two\n---", {"description": "one\ntwo"}),
        (b"---\nmetadata:\n  name: inner\nname: outer\n---", {"name": "outer"}),
        (b"---\nname: [a]\n---", {}),
        (b"---\nname:\n---", {}),
        (b"# no front matter\nname: a", {}),
        (b"---\nname: " + b'"' * 9 + b"\xff", {}),
        (b"", {}),
    ],
)
def test_front_matter(text: bytes, expected: dict[str, str]) -> None:
    assert front_matter(text) == expected


def test_only_one_skill_md_at_the_top_counts() -> None:
    assert read_skill_zip(io.BytesIO(zipped({"s/sub/SKILL.md": SKILL, "s/x": b""}))).name is None
    assert read_skill_zip(io.BytesIO(zipped({"s/SKILL.md": SKILL, "s/skill.md": SKILL}))).name is None
    assert read_skill_zip(io.BytesIO(zipped({"s/skill.md": SKILL}))).name == "pdf-forms"


def test_memory_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("s/SKILL.md", SKILL)
        archive.writestr("s/data", bytes(MAX_UNPACKED))
    with path.open("rb") as stream:
        tracemalloc.start()
        read_skill_zip(stream)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2_000_000
