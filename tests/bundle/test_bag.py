from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle.bag import (
    MAX_TIME,
    TarError,
    bag_info,
    header,
    manifest_line,
    parse_bag_info,
    parse_header,
    parse_manifest_line,
)
from holdall.safe_files import safe_name
from tests.sweep import examples

PATHS = st.lists(st.text(max_size=150).map(safe_name), min_size=1, max_size=4).map("/".join)


@examples(200)
@given(PATHS, st.integers(0, 2**40), st.integers(-(2**40), 2**40))
def test_a_header_is_read_back_and_python_reads_it_alike(path: str, size: int, mtime: int) -> None:
    blocks = header(path, size, mtime)
    found = parse_header(blocks + bytes(512))
    assert found is not None
    assert (found.path, found.size, found.length) == (path, size, len(blocks))
    assert found.mtime == min(max(mtime, 0), MAX_TIME)
    with tarfile.open(fileobj=io.BytesIO(blocks + bytes(1024))) as tar:
        member = tar.next()
    assert member is not None
    assert (member.name, member.size, member.isreg(), member.uid, member.mode) == (path, size, True, 0, 0o600)


def test_a_pax_header_comes_only_where_it_is_needed() -> None:
    assert len(header("data/" + "d" * 90 + "/" + "n" * 90, 8**11 - 1, 0)) == 512
    assert len(header("data/" + "n" * 120, 0, 0)) == 512 * 3
    assert len(header("dät", 0, 0)) == 512 * 3
    assert len(header("data", 8**11, 0)) == 512 * 3


@examples(300)
@given(st.sampled_from(["bag/a.txt", "bag/é", "bag/" + "x" * 120]), st.integers(0, 10**6), st.integers(0, 255))
def test_a_header_with_another_byte_is_refused(path: str, position: int, value: int) -> None:
    blocks = bytearray(header(path, 5, 7))
    position %= len(blocks)
    if blocks[position] == value:
        return
    blocks[position] = value
    try:
        found = parse_header(bytes(blocks))
    except TarError:
        return
    # The bytes of a time or a pax path are free; what is read is then another header, whole in itself.
    assert found is None or header(found.path, found.size, found.mtime) == bytes(blocks[: found.length])


@pytest.mark.parametrize(
    "change",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "bag/b"},
        {"type": tarfile.DIRTYPE},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.GNUTYPE_SPARSE},
        {"uid": 1000},
        {"mode": 0o4755},
        {"uname": "root"},
        {"name": "../a"},
        {"name": "/etc/passwd"},
        {"name": "bag/./a"},
        {"size": 2**40},
    ],
)
def test_what_we_would_not_have_written_is_refused(change: dict[str, object]) -> None:
    member = tarfile.TarInfo("bag/a")
    member.mode = 0o600
    for field, value in change.items():
        setattr(member, field, value)
    with pytest.raises(TarError):
        parse_header(member.tobuf(tarfile.GNU_FORMAT) + bytes(512))


def test_a_pax_header_is_bounded_and_holds_a_path_and_a_size_only() -> None:
    for records in ({"comment": "x"}, {"path": "bag/é", "linkpath": "x"}, {"path": "bag/" + "é" * 5000}):
        member = tarfile.TarInfo("bag/a")
        member.pax_headers = records
        with pytest.raises(TarError):
            parse_header(member.tobuf(tarfile.PAX_FORMAT) + bytes(512))


def test_lines_of_manifests_and_of_bag_info() -> None:
    line = manifest_line("a" * 64, "data/a  b.txt")
    assert line == b"a" * 64 + b"  data/a  b.txt\n"
    assert parse_manifest_line(line) == ("a" * 64, "data/a  b.txt")
    with pytest.raises(ValueError, match="manifest"):
        parse_manifest_line(b"A" * 64 + b"  data/a\n")
    info = bag_info([("Label", "two\nlines\r\nPayload-Oxum: 0.0"), ("Payload-Oxum", "1.2")])
    assert dict(parse_bag_info(info)) == {"Label": "two lines Payload-Oxum: 0.0", "Payload-Oxum": "1.2"}
