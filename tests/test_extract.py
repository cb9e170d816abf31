from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from holdall.bundle.seekable import read_table
from holdall.errors import AlreadyExists, CannotWrite, DamagedBundle, NewerFormat, NoSuchEntry, NotABundle
from holdall.extraction import Extracted, extract, extract_one, open_one, salvage
from tests.bundle.packing import File, pack
from tests.hostile.forge import forge

NOISE = hashlib.shake_128(b"noise").digest(3_000_000)
FILES = [
    File(id="file-1", filename="report.pdf", data=b"first"),
    File(id="file-2", filename="report.pdf", data=b"second"),
    File(id="file-3", filename="REPORT.PDF", data=b"third"),
    File(id="file-4", filename="../../100%.csv", data=b"1,2"),
    File(id="file-5", filename="l" * 200 + ".md", data=b"long"),
    File(id="file-6", filename="data", data=b"a file of that name"),
    File(id="file-7", filename=None, data=b"nameless"),
    File(id="file-8", filename="large.bin", data=NOISE),
    File(id="file-9", filename="asked.pdf", data=b'{"pages":[],"truncated":false}', text=True),
    File(id="file-10", filename="star*.txt", data=b"wild"),
    File(id="file-11", filename="gone.txt", data=None),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("extract") / "acme.tar.zst"
    pack(target, FILES)
    return target


def taken(path: Path, *patterns: str, to: Path) -> dict[str, str]:
    """What was written, by its name in the folder: the entry's path."""
    found = list(extract(path, patterns, to))
    for one in found:
        assert Path(one.path).stat().st_size == one.size
    return {Path(one.path).relative_to(to).as_posix(): one.entry for one in found}


def test_everything_under_its_original_name_as_far_as_that_is_safe(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    found = taken(path, to=to)
    contents = {name: (to / name).read_bytes() for name in found if not name.startswith("data/")}
    assert contents == {
        "report.pdf": b"first",
        "report-2.pdf": b"second",
        "REPORT-3.PDF": b"third",
        "_._.._100%.csv": b"1,2",
        "l" * 200 + ".md": b"long",
        "data-2": b"a file of that name",
        "unnamed": b"nameless",
        "large.bin": NOISE,
        "asked.pdf.text.json": b'{"pages":[],"truncated":false}',
        "star_.txt": b"wild",
    }
    assert {name for name in found if name.startswith("data/")} == {
        "data/assistants/asst_1.json",
        "data/vector_stores/vs_1.json",
        "data/vector_stores/vs_1.files.jsonl",
        "data/files.jsonl",
        "data/ledger.jsonl",
    }
    assert {file.relative_to(to).as_posix() for file in to.rglob("*") if file.is_file()} == set(found)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["file-2"], {"report.pdf"}),
        (["data/assistants/asst_1.json"], {"data/assistants/asst_1.json"}),
        (["assistants/*"], {"data/assistants/asst_1.json"}),
        (["vs_1"], {"data/vector_stores/vs_1.json", "data/vector_stores/vs_1.files.jsonl"}),
        (["report.pdf"], {"report.pdf", "report-2.pdf"}),
        (["[rR]*.[pP]*", "file-1"], {"report.pdf", "report-2.pdf", "REPORT-3.PDF"}),
        (["star*.txt"], {"star_.txt"}),
        (["file-9", "large.*"], {"asked.pdf.text.json", "large.bin"}),
    ],
)
def test_patterns_mean_paths_ids_and_true_names(
    path: Path, tmp_path: Path, patterns: list[str], expected: set[str]
) -> None:
    assert set(taken(path, *patterns, to=tmp_path)) == expected


def test_a_pattern_that_matches_nothing_writes_nothing(path: Path, tmp_path: Path) -> None:
    for pattern in ("file-11", "none", "*.none"):
        with pytest.raises(NoSuchEntry, match=pattern.replace("*", ".")):
            list(extract(path, ["file-1", pattern], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unless_that_is_said(path: Path, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"mine")
    with pytest.raises(AlreadyExists, match=r"report\.pdf"):
        list(extract(path, ["file-1"], tmp_path))
    assert (tmp_path / "report.pdf").read_bytes() == b"mine"
    list(extract(path, ["file-1"], tmp_path, force=True))
    assert (tmp_path / "report.pdf").read_bytes() == b"first"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_in_the_way_is_not_followed(path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    to = tmp_path / "out"
    to.mkdir()
    (to / "report.pdf").symlink_to(outside)
    with pytest.raises(AlreadyExists):
        list(extract(path, ["file-1"], to))
    list(extract(path, ["file-1"], to, force=True))
    assert outside.read_bytes() == b"precious"
    assert not (to / "report.pdf").is_symlink()


def test_one_entry(path: Path, tmp_path: Path) -> None:
    with open_one(path, "file-8") as (entry, pieces, _, _):
        assert entry.filename == "large.bin"
        assert b"".join(pieces) == NOISE
    with pytest.raises(NoSuchEntry, match="2 entries"), open_one(path, "report.pdf"):
        pass
    written = extract_one(path, "file-1", tmp_path / "one.pdf")
    assert Path(written.path).read_bytes() == b"first"
    with pytest.raises(AlreadyExists):
        extract_one(path, "file-1", tmp_path / "one.pdf")


@pytest.fixture
def damaged(path: Path, tmp_path: Path) -> Path:
    """The bundle with a hole in the middle of the large file."""
    raw = bytearray(path.read_bytes())
    raw[1_500_000:1_500_100] = bytes(100)
    target = tmp_path / "damaged.tar.zst"
    target.write_bytes(bytes(raw))
    return target


def test_a_damaged_entry_is_named_and_nothing_of_it_stays(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle, match=r"large\.bin") as caught:
        list(extract(damaged, ["file-8"], tmp_path / "out"))
    assert caught.value.entry == "data/files/file-8/large.bin"
    assert os.listdir(tmp_path / "out") == []
    with pytest.raises(DamagedBundle), open_one(damaged, "file-8") as (_, pieces, _, _):
        list(pieces)
    assert set(taken(damaged, "file-1", to=tmp_path / "out")) == {"report.pdf"}


def test_salvage_saves_the_rest_and_names_what_is_lost(damaged: Path, tmp_path: Path) -> None:
    found = list(salvage(damaged, (), tmp_path / "out"))
    lost = [one.entry for one in found if not isinstance(one, Extracted)]
    assert lost == ["data/files/file-8/large.bin"]
    assert len(found) == 15
    assert not (tmp_path / "out" / "large.bin").exists()
    assert (tmp_path / "out" / "report-2.pdf").read_bytes() == b"second"


def test_salvage_takes_what_proves_whole_out_of_a_damaged_frame(path: Path, tmp_path: Path) -> None:
    raw = bytearray(path.read_bytes())
    with path.open("rb") as file:
        offset, length, _, _ = read_table(file)[0]
    raw[offset + length - 1] ^= 1  # its checksum
    target = tmp_path / "damaged.tar.zst"
    target.write_bytes(bytes(raw))
    found = list(salvage(target, (), tmp_path / "out"))
    assert all(isinstance(one, Extracted) for one in found)
    assert (tmp_path / "out" / "report-2.pdf").read_bytes() == b"second"


def test_salvage_from_a_cut_bundle_goes_by_the_tar(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "cut.tar.zst"
    target.write_bytes(path.read_bytes()[:2_000_000])
    found = list(salvage(target, ["*.pdf", "data/assistants/*"], tmp_path / "out"))
    saved = {one.entry: Path(one.path) for one in found if isinstance(one, Extracted)}
    assert {path.name for path in saved.values()} == {"asst_1.json", "report.pdf", "report-2.pdf"}
    assert any(not isinstance(one, Extracted) and one.entry is None for one in found)


def test_salvage_refuses_a_newer_major_version(tmp_path: Path) -> None:
    target = tmp_path / "newer.tar.zst"
    target.write_bytes(forge(info=lambda honest: {**honest, "format": "2.0"}))
    with pytest.raises(NewerFormat):
        list(salvage(target, (), tmp_path / "out"))
    assert not list((tmp_path / "out").rglob("*.txt"))


def test_salvage_goes_by_the_tar_where_the_index_has_no_line_end(tmp_path: Path) -> None:
    """Cut into many small frames, as an index without lines it once cost the square of its length."""
    target = tmp_path / "endless.tar.zst"
    target.write_bytes(
        forge(
            tail=lambda tail: [*tail[:2], replace(tail[2], data=b"x" * 2_000_000)],
            tar=lambda pieces: [*pieces[:-1], *(pieces[-1][at : at + 200] for at in range(0, len(pieces[-1]), 200))],
        )
    )
    found = list(salvage(target, (), tmp_path / "out"))
    assert "data/files/file-1/notes.txt" in {one.entry for one in found if isinstance(one, Extracted)}
    assert any("the index is damaged" in one.message for one in found if not isinstance(one, Extracted))


def test_salvage_from_nothing(tmp_path: Path, path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no bundle at all")
    with pytest.raises(NotABundle):
        list(salvage(tmp_path / "text", (), tmp_path / "out"))
    with pytest.raises(CannotWrite):
        list(salvage(tmp_path / "none", (), tmp_path / "out"))
    with pytest.raises(NoSuchEntry):
        list(salvage(path, ["none"], tmp_path / "out"))
