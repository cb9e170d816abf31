"""What compresses without end: the writer keeps the limits of the format by itself, whatever it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdall import untrusted
from holdall.bundle import layout
from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import compress, decompress
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from holdall.model import Kind, Record, SourceId
from holdall.untrusted import LINE_BYTES, MAX_EXPANSION, MAX_REFERENCES, MAX_TOOLS
from tests.bundle.packing import CAPTURE, STARTED, File, add_all, ledger_line, pack


@pytest.mark.parametrize(
    ("data", "least"),
    [(bytes(2 << 20), 8192), (bytes(5), 20), (b'{"id":"a"}\n' * 5000, 40_000), (b"{}\n" * 999, 8 * 999), (b"\n", 8)],
)
def test_a_frame_is_as_long_as_it_must_be(data: bytes, least: int) -> None:
    frame = compress(data, least)
    assert len(frame) >= min(least, 4 * len(data))
    assert decompress(frame, len(data)) == data
    assert len(frame) < max(4 * least, len(compress(data)) + 1), "longer than it need be"


def within(path: Path) -> None:
    """By the file alone: verify takes it, and so does a count of its own."""
    assert verify(path).findings == []
    size = path.stat().st_size
    with open_bundle(path) as bundle:
        frames = bundle.frames.frames
        assert frames.size <= MAX_EXPANSION * size
        entries = list(bundle.entries())
        assert LINE_BYTES * sum(2 + (entry.records or 0) for entry in entries) <= size
        for number in range(len(frames)):
            _, length, _, decoded = frames[number]
            assert decoded <= MAX_EXPANSION * length, "a part of it, as a cut bundle is, would be over the limit"


@pytest.mark.parametrize("size", [48 << 20, pytest.param(512 << 20, marks=pytest.mark.slow)])
def test_a_content_of_zeros(tmp_path: Path, size: int) -> None:
    target = tmp_path / "acme.tar.zst"
    pack(target, [File(id="file-0", data=bytes(size))])
    assert target.stat().st_size < size // 100
    within(target)


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_lines_that_differ_in_their_numbers_only(tmp_path: Path, count: int) -> None:
    target = tmp_path / "acme.tar.zst"
    pack(target, [File(id=f"file-{number:06}", data=None, filename=None) for number in range(count)])
    within(target)


@pytest.mark.thorough
def test_definitions_that_are_all_alike(tmp_path: Path) -> None:
    """As many tools and references as a record may have, each the same, in each record."""
    target = tmp_path / "acme.tar.zst"
    files = {"code_interpreter": {"file_ids": ["file-0"] * MAX_REFERENCES}}
    odd = {"tools": [{}] * MAX_TOOLS, "tool_resources": files, "metadata": {"x": [[]] * 9000}}
    pack(target, [File(id="file-0")], assistants={f"asst_{number}": odd for number in range(12)})
    within(target)


@pytest.mark.thorough
def test_definitions_that_are_long(tmp_path: Path) -> None:
    target = tmp_path / "acme.tar.zst"
    pack(target, [File(id="file-0")], assistants={f"asst_{n}": {"instructions": "a" * (6 << 20)} for n in range(8)})
    within(target)


@pytest.mark.parametrize(
    "count", [pytest.param(4, marks=pytest.mark.thorough), pytest.param(40, marks=pytest.mark.slow)]
)
def test_texts_of_parts_that_are_all_alike(tmp_path: Path, count: int) -> None:
    """As many parts as a text may have, and texts that share their frame with contents."""
    target = tmp_path / "acme.tar.zst"
    part, notes = b'{"type":"text","text":"a"}', File(id="file-0")
    large = b'{"pages":[{"data":[' + b",".join([part] * 240_000) + b']}],"truncated":false}'
    small = b'{"pages":[{"data":[{}' + b",{}" * 200_000 + b']}],"truncated":false}'
    texts = [File(id=f"file-{number}", data=large, text=True) for number in range(1, count)]
    texts += [File(id=f"file-9{number}", data=small, text=True) for number in range(count)]
    pack(target, [notes, *texts, File(id="file-z")])
    within(target)


def test_a_text_and_then_a_content_in_one_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "FREE_TEXT", 0)
    target = tmp_path / "acme.tar.zst"
    small = b'{"pages":[{"data":[{}' + b",{}" * 50_000 + b']}],"truncated":false}'
    pack(target, [File(id="file-1", data=small, text=True), File(id="file-2", data=b"x" * 9)])
    within(target)


def test_an_export_of_such_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    target = tmp_path / "acme.tar.zst"
    files = [File(id=f"file-{number}", data=bytes(5 << 20)) for number in range(3)]
    with BundleWriter(target, CAPTURE, started=STARTED) as writer:
        with writer.open_content() as sink:
            sink.write(files[0].data or b"")
            sink.commit()
        writer.add_content(sink, ledger_line(files[0]), created_at=0)
    assert not target.exists()
    with BundleWriter(target, CAPTURE, started=STARTED) as writer:
        assert writer.content("file-0") is not None
        add_all(writer, files)
        writer.finish(ended=STARTED)
    within(target)


def test_kinds_of_entries_share_no_frame_and_definitions_have_small_ones(tmp_path: Path) -> None:
    target = tmp_path / "acme.tar.zst"
    large = {"instructions": "".join(chr(97 + number * 7919 % 26) for number in range(150_000))}
    assistants = {f"asst_{number}": {"name": "x" * 900} for number in range(200)} | {"asst_large": large}
    pack(target, [File(id=f"file-{number}") for number in range(50)], assistants=assistants)
    kinds: dict[int, set[str]] = {}
    with open_bundle(target) as bundle:
        frames = bundle.frames.frames
        for entry in bundle.entries():
            for number in range(frames.find(entry.offset), frames.find(entry.offset + entry.size - 1) + 1):
                kinds.setdefault(number, set()).add(layout.frames_of(entry.path).name)
        assert all(len(names) == 1 for names in kinds.values())
        definitions = [frames[number][3] for number, names in kinds.items() if names == {"definitions"}]
        assert len(definitions) > 4
        assert max(definitions) <= layout.DEFINITION_FRAME
    within(target)


def test_a_record_over_the_limits_is_refused(tmp_path: Path) -> None:
    deep = b'{"id":"asst_1","x":' + b"[" * 250 + b"]" * 250 + b"}"
    many = json.dumps({"id": "asst_1", "tools": [{}] * (MAX_TOOLS + 1)}).encode()
    with BundleWriter(tmp_path / "acme.tar.zst", CAPTURE, started=STARTED) as writer:
        for raw in (deep, many):
            with pytest.raises(ValueError, match="more than"):
                writer.add_record(Record(kind=Kind.ASSISTANT, id=SourceId("asst_1"), raw=raw))
