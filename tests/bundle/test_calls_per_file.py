"""What one more small file costs, in calls of Python functions: of many small files that is nearly all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from holdall.bundle import bag
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from holdall.model import Kind, Record, SourceId
from holdall.safe_files import AppendLog
from tests.bundle.packing import CAPTURE, STARTED, File, ledger_line

FEW, MANY = 100, 500


def calls(work: Callable[[], object]) -> int:
    """The functions of this package that this thread calls, generators each time that they go on."""
    count = 0

    def see(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and "holdall" in frame.f_code.co_filename

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def fill(writer: BundleWriter, files: int) -> None:
    writer.add_record(Record(kind=Kind.STORE, id=SourceId("vs_1"), raw=b'{"id": "vs_1"}'))
    with writer.open_memberships("vs_1") as members, writer.open_files() as records:
        for number in range(files):
            file = File(id=f"file-{number:06}", data=b"words" * 20)
            with writer.open_content() as sink:
                sink.write(file.data or b"")
                sink.commit()
            writer.add_content(sink, ledger_line(file), created_at=STARTED)
            members.write(json.dumps({"id": file.id, "vector_store_id": "vs_1", "attributes": {}}).encode() + b"\n")
            records.write(json.dumps({"id": file.id, "filename": file.filename, "bytes": 100}).encode() + b"\n")
        members.commit()
        records.commit()


def costs(folder: Path, files: int) -> list[int]:
    """Calls to fill a bundle, to finish it and to verify it."""
    target = folder / f"{files}.tar.zst"
    with BundleWriter(target, CAPTURE, started=STARTED, threads=1) as writer:
        filling = calls(lambda: fill(writer, files))
        finishing = calls(lambda: writer.finish(ended=STARTED))
    return [filling, finishing, calls(lambda: verify(target))]


def test_one_more_small_file_costs_few_calls(tmp_path: Path) -> None:
    few, many = costs(tmp_path, FEW), costs(tmp_path, MANY)
    filling, finishing, verifying = (round((b - a) / (MANY - FEW)) for a, b in zip(few, many, strict=True))
    # 57, 136 and 164 when this was written, where comprehensions are calls too.
    assert filling <= 62
    assert finishing <= 145
    assert verifying <= 175


def test_a_group_of_lines_is_one_write_into_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    append = AppendLog.append

    def seen(log: AppendLog, lines: bytes, *, sync: bool = True) -> None:
        writes.append(lines.count(b"\n"))
        append(log, lines, sync=sync)

    monkeypatch.setattr(AppendLog, "append", seen)
    with BundleWriter(tmp_path / "b.tar.zst", CAPTURE, started=STARTED) as writer:
        fill(writer, MANY)
        writer.finish(ended=STARTED)
    assert len(writes) < 10
    assert sum(writes) > MANY


def test_lines_that_are_as_we_write_them_are_not_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []
    read = bag.read_unique

    def seen(raw: bytes, *, values: int) -> dict[str, object]:
        taken.append(raw)
        return read(raw, values=values)

    monkeypatch.setattr(bag, "read_unique", seen)
    target = tmp_path / "b.tar.zst"
    with BundleWriter(target, CAPTURE, started=STARTED) as writer:
        fill(writer, FEW)
        writer.finish(ended=STARTED)
    assert verify(target).findings == []
    assert len(taken) == 1  # holdall.json
