"""One damaged place in a bundle of usual size costs what lies in its frame, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verify
from holdall.extraction import Extracted, salvage
from tests.bundle.packing import File, pack
from tests.sweep import sweep

MEGABYTE = 1 << 20


def files(source: random.Random) -> Iterator[File]:
    """Some 30 MB: many small files, some large ones, texts."""
    for number in range(150):
        yield File(id=f"file-small-{number}", data=source.randbytes(source.randrange(1, 20_000)))
    for number in range(12):
        yield File(id=f"file-large-{number}", data=source.randbytes(source.randrange(MEGABYTE, 4 * MEGABYTE)))
    for number in range(60):
        text = b'{"pages":[{"data":[{"text":"%s"}]}],"truncated":false}' % source.randbytes(3000).hex().encode()
        yield File(id=f"file-text-{number}", data=text, text=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = random.Random(1), tmp_path_factory.mktemp("salvage") / "acme.tar.zst"
    assistants = {f"asst_{n}": {"instructions": source.randbytes(2000).hex()} for n in range(150)}
    stores = {f"vs_{n}": {"name": f"Store {n}"} for n in range(20)}
    pack(target, files(source), assistants=assistants, stores=stores)
    assert verify(target).whole
    return target


@sweep("seed", range(8))
def test_one_damaged_place_costs_what_lies_in_its_frame(bundle: Path, tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    raw = bytearray(bundle.read_bytes())
    with open_bundle(bundle) as whole:
        frames = whole.frames.frames
        entries = list(whole.entries())
        number = source.randrange(len(frames)) if seed % 2 else frames.find(source.choice(entries[:200]).offset)
        offset, length, start, size = frames[number]
        at = offset + source.randrange(length - 1)
        stretch = min(source.choice([1, 1, 30, 500]), offset + length - at)
        raw[at : at + stretch] = bytes(byte ^ source.randrange(1, 256) for byte in raw[at : at + stretch])
        outside = {e.path for e in entries if e.offset + e.size <= start or e.offset >= start + size}
    damaged = tmp_path / "acme.tar.zst"
    damaged.write_bytes(raw)
    assert not verify(damaged).whole
    found = {one.entry for one in salvage(damaged, (), tmp_path / "out") if isinstance(one, Extracted)}
    assert outside - found == set(), f"frame {number}, {stretch} bytes at {at}"
    if any(entry.path.startswith("data/assistants/") for entry in entries if entry.path not in outside):
        assert size <= 64 << 10, "a frame with definitions that is too large"
