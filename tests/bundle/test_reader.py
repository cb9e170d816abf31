from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle import layout, reader
from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import compress
from holdall.errors import CannotWrite, DamagedBundle, NewerFormat, NotABundle
from holdall.model import Fidelity, Kind
from tests.bundle.packing import File, pack, rewritten
from tests.sweep import examples

LARGE = hashlib.shake_128(b"large").digest(3_000_000)
FILES = [
    File(id="file-large", filename="large.bin", data=LARGE),
    File(id="file-text", filename="a.pdf", data=b'{"pages":[],"truncated":false}', text=True),
    File(id="file-gone", filename="gone.pdf", data=None),
    File(id="../x", filename="\u202e.exe", data=b"hostile"),
    *(File(id=f"file-{number:03}", data=b"%d" % number) for number in range(300)),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("reader") / "acme.tar.zst"
    pack(target, FILES, stores={"vs_1": {}, "vs/2": {}})
    return target


def test_records_are_the_bytes_that_went_in(path: Path) -> None:
    with open_bundle(path) as bundle:
        assert [store.id for store in bundle.stores()] == ["vs_1", "vs/2"]
        (assistant,) = bundle.assistants()
        assert assistant.raw.startswith(b'{"id": "asst_1", "created_at": ')
        for store in ("vs_1", "vs/2"):
            assert [member.id for member in bundle.memberships(store)] == [file.id for file in FILES]
        assert [file.id for file in bundle.files()] == [file.id for file in FILES]
        assert list(bundle.memberships("vs_none")) == []
        entry = bundle.members_entry(Kind.STORE, "vs/2")
        assert entry is not None
        assert entry.records == len(FILES)


def test_contents_are_found_by_id_and_by_path(path: Path) -> None:
    with open_bundle(path) as bundle:
        for file in FILES:
            entry = bundle.content(file.id)
            if file.data is None:
                assert entry is None
                continue
            assert entry is not None
            assert (entry.id, entry.filename, entry.size) == (file.id, file.filename, len(file.data))
            assert bundle.read(entry) == file.data
            assert bundle.find(entry.path) == entry
        assert bundle.content("file-none") is None
        assert bundle.find("data/none") is None
        assert [line.id for line in bundle.ledger()] == sorted(file.id for file in FILES)
        gone = bundle.ledger_line("file-gone")
        assert gone is not None
        assert (gone.fidelity, gone.path) == (Fidelity.UNAVAILABLE, None)


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-10, 3_000_010), st.integers(0, 200_000)), max_size=8))
def test_a_stream_behaves_as_a_file_does(path: Path, moves: list[tuple[int, int, int]]) -> None:
    expected = io.BytesIO(LARGE)
    with open_bundle(path) as bundle:
        entry = bundle.content("file-large")
        assert entry is not None
        with bundle.open(entry) as stream:
            for whence, offset, size in moves:
                base = (0, expected.tell(), len(LARGE))[whence]
                if base + offset < 0:
                    continue
                assert stream.seek(offset, whence) == expected.seek(offset, whence) == stream.tell()
                assert stream.read(size) == expected.read(size)


def test_opening_reads_kilobytes_and_a_content_only_its_frames(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    original = reader.FrameFile.raw

    def raw(self: reader.FrameFile, number: int) -> tuple[bytes, int]:
        frame, size = original(self, number)
        decoded.append(len(frame))
        return frame, size

    monkeypatch.setattr(reader.FrameFile, "raw", raw)
    with open_bundle(path) as bundle:
        assert sum(decoded) < 5_000
        entry = bundle.content("file-123")
        assert entry is not None
        assert bundle.read(entry) == b"123"
    assert sum(decoded) < 100_000 < path.stat().st_size


def test_a_content_whose_bytes_changed_is_never_delivered_whole(path: Path, tmp_path: Path) -> None:
    with open_bundle(path) as bundle:
        entry = bundle.content("file-large")
        assert entry is not None
        wrong = msgspec.structs.replace(entry, sha256="0" * 64)
        with pytest.raises(DamagedBundle, match="sha256") as caught:
            bundle.read(wrong)
        assert caught.value.entry == entry.path
        got = io.BytesIO()
        with bundle.open(wrong) as stream, pytest.raises(DamagedBundle):
            shutil.copyfileobj(stream, got, 100_000)
        assert 0 < got.tell() < entry.size
        with pytest.raises(DamagedBundle, match="which is too large"):
            bundle.read(entry, limit=10)


def test_versions(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar.zst"
    other.write_bytes(rewritten(path, b'"format": "1.0"', b'"format": "2.0"'))
    with pytest.raises(NewerFormat, match=r"format is 2\.0"):
        open_bundle(other)
    other.write_bytes(rewritten(path, b'1.0",\n  "tool": "holdall 0"', b'1.7",\n "x": 1, "tool": "x" '))
    with open_bundle(other) as bundle:
        assert bundle.info.format == "1.7"
    other.write_bytes(rewritten(path, b'"format": "1.0"', b'"format": "0.1"'))
    with pytest.raises(NewerFormat, match=r"format is 0\.1"):
        open_bundle(other)


@pytest.mark.parametrize(
    ("change", "by"),
    [
        (b'"index": {\n    "offset": ', b'"index": {\n    "offset":-'),
        (b'"index": {\n    "offset": ', b'"index": {\n    "offset": 9'),
        (b'"index"', b'"indey"'),
        (b"holdall.json", b"holdall.jsom"),
        (b"ustar", b"ustaz"),
    ],
)
def test_a_last_frame_that_lies_is_an_error_with_a_name(path: Path, tmp_path: Path, change: bytes, by: bytes) -> None:
    other = tmp_path / "other.tar.zst"
    other.write_bytes(rewritten(path, change, by))
    with pytest.raises(DamagedBundle) as caught, open_bundle(other) as bundle:
        list(bundle.entries())
    assert caught.value.entry in (layout.INFO, layout.INDEX)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="No such file"):
        open_bundle(tmp_path / "none")
    other = tmp_path / "other"
    for data in (b"", b"PK\x03\x04" + bytes(1000), b"x"):
        other.write_bytes(data)
        with pytest.raises(NotABundle):
            open_bundle(other)
    other.write_bytes(compress(b"just zstd"))
    with pytest.raises(DamagedBundle, match="no seek table"):
        open_bundle(other)
