"""Memory stays flat, whatever the size and the number of what goes in and out."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest

from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from tests.bundle.packing import CAPTURE, STARTED, File, ledger_line

MIB = 1 << 20
NOISE = hashlib.shake_128(b"noise").digest(MIB)


def write(target: Path, *, files: int, mebibytes: int) -> None:
    with BundleWriter(target, CAPTURE, started=STARTED, threads=2) as writer:
        for number in range(files):
            with writer.open_content() as sink:
                for _ in range(mebibytes):
                    sink.write(NOISE)
                sink.write(b"end")
                sink.commit()
            writer.add_content(sink, ledger_line(File(id=f"file-{number}", filename=None), expected=None), created_at=0)
        writer.finish(ended=STARTED)


def read(target: Path) -> None:
    with open_bundle(target) as bundle:
        for entry in bundle.entries():
            with bundle.open(entry) as stream:
                while stream.read(100_000):
                    pass
    assert {finding.code for finding in verify(target).findings} <= {"reference"}


def peaks(target: Path, *, files: int, mebibytes: int) -> tuple[float, float]:
    """The most that was allocated, in MiB: writing and reading."""
    tracemalloc.start()
    try:
        write(target, files=files, mebibytes=mebibytes)
        writing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        read(target)
        return writing / MIB, tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_a_large_content(tmp_path: Path) -> None:
    writing, reading = peaks(tmp_path / "large.tar.zst", files=1, mebibytes=150)
    assert writing < 60
    assert reading < 60


@pytest.mark.slow
def test_many_contents_and_a_very_large_one(tmp_path: Path) -> None:
    writing, reading = peaks(tmp_path / "many.tar.zst", files=100_000, mebibytes=0)
    assert writing < 100
    assert reading < 100
    writing, reading = peaks(tmp_path / "large.tar.zst", files=1, mebibytes=512)
    assert writing < 60
    assert reading < 60
