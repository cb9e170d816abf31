"""What is written depends on what goes in alone: the bytes of one bundle, frozen."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import zstandard

from holdall.bundle import layout
from holdall.bundle.frames import pieces
from holdall.bundle.seekable import read_table
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from holdall.model import Kind, Record, SourceId
from tests.bundle.packing import CAPTURE, STARTED, File, ledger_line

TAR = "bf811b6443ff14aaaf6dd4fcad6193ce9f1b4f26b84ea2b3dec3ec3a34f34115"
CUTS = "4d577a3bd6d3f2a7a8b2189eabd0227c3e577327f6142c59b7e3806d0596e164"
BUNDLES = {(1, 5, 7): "3982dd6ae555aa4e395bb9f9e280eabf77b0ab8f376a1cce83093779872e1f66"}
"""By the version of zstd, on which the compressed bytes depend."""


def noise(number: int, size: int) -> bytes:
    return hashlib.shake_128(b"%d" % number).digest(size)


def write(target: Path) -> str:
    """Contents small and large, noise, text and zeros, texts of two stores, files that are missing; returns the sha256
    of the bundle."""
    with BundleWriter(target, CAPTURE, started=STARTED, threads=2) as writer:
        for store in ("vs_1", "vs:2"):
            raw = json.dumps({"id": store, "name": store, "created_at": STARTED}).encode()
            writer.add_record(Record(kind=Kind.STORE, id=SourceId(store), raw=raw))
        with (
            writer.open_memberships("vs_1") as members,
            writer.open_memberships("vs:2") as others,
            writer.open_files() as files,
        ):
            for number in range(900):
                id, name = f"file-{number * 7919 % 900:04d}", ("a b.txt", "é:?.pdf", "CON", "x" * 130)[number % 4]
                file = made(number, id, name)
                add(writer, file, store=("vs_1", "vs:2")[number % 2])
                record = {"id": id, "filename": name, "created_at": number, "purpose": "assistants"}
                files.write(json.dumps({**record, "bytes": sized(file)}).encode() + b"\n")
                for lines in (members, others) if number % 5 == 0 else (members,):
                    lines.write(json.dumps({"id": id, "status": "completed", "usage_bytes": number}).encode() + b"\n")
            for sink in (members, others, files):
                sink.commit()
        with writer.open_losses() as losses:
            losses.write(b'{"reason":"records","kind":"file","id":"file-lost"}\n')
            losses.commit()
        return writer.finish(ended=STARTED + 5).sha256


def made(number: int, id: str, name: str) -> File:
    if number % 50 == 49:
        return File(id=id, filename=name, data=None)
    if number % 10 == 8:
        text = "".join(map(chr, range(40, 40 + number % 50)))
        pages = [{"data": [{"type": "text", "text": text}] * (number % 4)}]
        data = json.dumps({"pages": pages, "truncated": False}).encode()
        return File(id=id, filename=name, data=data, text=True)
    size = 3_000_000 if number == 500 else number * 37 % 5000
    data = bytes(size) if number % 9 == 0 else noise(number, size)
    return File(id=id, filename=name, data=f"the words of {id}, ".encode() * (size // 30) if number % 3 == 1 else data)


def sized(file: File) -> int | None:
    return None if file.data is None or file.text else len(file.data)


def add(writer: BundleWriter, file: File, *, store: str) -> None:
    if file.data is None:
        writer.add_ledger(ledger_line(file, expected=None, status=404, code="no_such_file", message="gone"))
        return
    with writer.open_content(text=file.text) as sink:
        for at in range(0, len(file.data), 1 << 20):
            sink.write(file.data[at : at + (1 << 20)])
        sink.commit()
    line = ledger_line(file, expected=sized(file))
    writer.add_content(sink, line, created_at=STARTED, store=store if file.text else None)


def test_the_bytes_of_a_bundle_are_those_that_earlier_versions_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "readme", lambda: "as it was when this was written: {bag}")
    monkeypatch.setattr(layout, "specification", lambda: b"as it was when this was written")
    target = tmp_path / "b.tar.zst"
    sha256 = write(target)
    assert sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    with target.open("rb") as file:
        frames = read_table(file)
        cuts = [frames[number][3] for number in range(len(frames))]
        tar = b"".join(piece.data or b"" for piece in pieces(file, frames, threads=1))
    assert verify(target).findings == []
    assert hashlib.sha256(tar).hexdigest() == TAR
    assert hashlib.sha256(json.dumps(cuts).encode()).hexdigest() == CUTS
    assert sha256 == BUNDLES.get(zstandard.ZSTD_VERSION, sha256)
