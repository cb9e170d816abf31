"""Every lie by itself: a proof finds it, and nothing that reads bundles is taken in by it."""

from __future__ import annotations

import io
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import walk
from holdall.bundle.verification import verify
from holdall.errors import DamagedBundle
from holdall.extraction import Extracted, salvage
from tests.hostile.forge import Frame, content, forge, ledger_line
from tests.hostile.lies import CERTAIN, CONTRADICTIONS, LIMITS, NAMED, ODD
from tests.hostile.trial import Trial
from tests.sweep import sweep


@sweep("name", CERTAIN)
def test_a_lie_is_found_and_believed_by_nobody(name: str, tmp_path: Path) -> None:
    assert Trial(tmp_path / "trial", forge(**CERTAIN[name])).run(everything=False), "the proof found nothing"


@sweep("name", CONTRADICTIONS)
def test_a_contradiction_is_all_that_is_found(name: str, tmp_path: Path) -> None:
    code, lies = CONTRADICTIONS[name]
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**lies))
    # More lines than the index counts are refused by every reader, so that entry is unreadable, too.
    also = {"damaged"} if name in ("an index with fewer records", "an index without records") else set()
    assert {finding.code for finding in verify(path).findings} == {code, *also}


def test_a_quick_proof_counts_nothing_of_an_index_that_can_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**CONTRADICTIONS["an index with a key twice"][1]))
    assert verify(path, quick=True).findings == verify(path).findings


def test_of_a_member_twice_each_is_held_to_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**CERTAIN["a member twice"]))
    assert not {"missing", "unlisted"} & {finding.code for finding in verify(path).findings}


def test_a_line_over_a_limit_is_salvaged_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**LIMITS["an index with a long id"][0]))
    found = list(salvage(path, [], tmp_path / "out"))
    assert all(isinstance(one, Extracted) for one in found)
    assert (tmp_path / "out" / "notes.txt").exists()


@sweep("path", NAMED)
def test_a_name_leads_nowhere(path: str, tmp_path: Path) -> None:
    """Of the three ways to give it one in each name; on demand all."""
    name, lies = NAMED[path][len(path) % 3]
    assert Trial(tmp_path / "trial", forge(**lies)).run(everything=False), name


@sweep("path", NAMED)
def test_nothing_is_salvaged_outside_the_folder(path: str, tmp_path: Path) -> None:
    folder = tmp_path / "far" / "below"
    folder.mkdir(parents=True)
    for number, (_, lies) in enumerate(NAMED[path]):
        bundle = folder / "bundle.tar.zst"
        bundle.write_bytes(forge(**lies))
        list(salvage(bundle, [], folder / f"out{number}"))
    written = [file for place in (folder, *folder.parents[:2]) for file in place.iterdir() if file.name != "below"]
    assert sorted(file.name for file in written) == ["bundle.tar.zst", "far", "out0", "out1", "out2"]


@sweep("name", ODD)
def test_what_is_odd_crashes_nothing(name: str, tmp_path: Path) -> None:
    assert not Trial(tmp_path / "trial", forge(**ODD[name])).run(), "odd, and yet as the format says"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CERTAIN, *(name for ways in NAMED.values() for name, _ in ways)])
def test_no_command_believes_a_lie(name: str, tmp_path: Path) -> None:
    lies = CERTAIN | dict(way for ways in NAMED.values() for way in ways)
    assert Trial(tmp_path / "trial", forge(**lies[name])).run(), "the proof found nothing"


def test_a_bundle_that_shrinks_while_it_is_read_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge())
    with open_bundle(path) as bundle:
        entry = bundle.content("file-2")
        assert entry is not None
        os.truncate(path, 100)
        with pytest.raises(DamagedBundle, match="ends inside a frame"):
            bundle.read(entry)
        with bundle.open(entry) as stream:
            stream.seek(-5, 2)
            with pytest.raises(DamagedBundle):
                stream.read()


def test_more_than_is_kept_in_memory_is_read_again(tmp_path: Path) -> None:
    large = content("file-1", random.Random(1).randbytes(9 << 20))
    other = replace(large, path="data/files/again/notes.txt", about={**large.about, "id": "file-0"})
    lies: dict[str, Any] = {
        "contents": lambda contents: [large, other, *contents[1:]],
        "ledger": lambda lines: [ledger_line("file-0", other), ledger_line("file-1", large), *lines[1:]],
    }
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**lies))
    with open_bundle(path) as bundle:
        for _ in range(2):
            for entry in (bundle.content("file-0"), bundle.content("file-1")):
                assert entry is not None
                assert bundle.read(entry, limit=entry.size) == large.data


@pytest.mark.parametrize("raw", [b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x24\x04", Frame.of(b"x").raw[:9]])
def test_half_a_frame_is_none(raw: bytes) -> None:
    assert not len(walk(io.BytesIO(raw), len(raw)))
