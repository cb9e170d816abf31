from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from holdall.bundle.layout import Source
from holdall.bundle.writer import BundleWriter
from holdall.exporter.earlier import Parent, choose_parent
from holdall.exporter.ledger import Losses
from holdall.exporter.report import Absent, Changed, ContentLoss, Finding, Miscount, Policy
from holdall.model import Fidelity, FileView, Kind
from tests.bundle.packing import CAPTURE, STARTED, File, add_all

SOURCE = CAPTURE.source


def pack(target: Path, source: Source = SOURCE, *, ended: int = STARTED + 1, findings: Iterable[Finding] = ()) -> Path:
    capture = msgspec.structs.replace(CAPTURE, source=source)
    with BundleWriter(target, capture, started=STARTED, threads=1) as writer:
        add_all(writer, [File(id="file-1"), File(id="file-2", data=None), File(id="file-3", text=True)])
        losses = Losses(Policy())
        for finding in findings:
            losses.add(finding)
        losses.write(writer)
        writer.finish(ended=ended)
    return target


def chosen(folder: Path, source: Source = SOURCE, damaged: tuple[str, ...] = ()) -> tuple[str | None, list[str]]:
    notes: list[str] = []
    found = choose_parent(folder, source, lambda path: path.name not in damaged, notes.append)
    return (found.name if found else None), notes


def test_the_newest_whole_one_by_what_it_says_of_itself(tmp_path: Path) -> None:
    assert chosen(tmp_path) == (None, [])
    pack(tmp_path / "old.tar.zst", ended=STARTED + 1)
    pack(tmp_path / "new.tar.zst", ended=STARTED + 3)
    pack(tmp_path / "middle.tar.zst", ended=STARTED + 2)
    (tmp_path / "junk.tar.zst").write_bytes(b"junk")
    assert chosen(tmp_path) == ("new.tar.zst", [])
    name, notes = chosen(tmp_path, damaged=("new.tar.zst",))
    assert name == "middle.tar.zst"
    assert "new.tar.zst is damaged" in notes[0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({"label": "x"}, {"label": "y"}, True),  # the project says more than its label
        ({}, {"project": "proj_2"}, False),
        ({}, {"base_url": "http://127.0.0.1/v2"}, False),
        ({}, {"organization": "org-2"}, False),
        ({"project": None}, {"project": None}, False),
        ({"project": None, "label": "x"}, {"project": None, "label": "x"}, True),
        ({"project": None, "label": "x"}, {"project": None, "label": "y"}, False),
        ({"project": None, "label": "x"}, {"label": "x"}, False),
    ],
)
def test_the_same_source(tmp_path: Path, one: dict[str, str], other: dict[str, str], same: bool) -> None:
    pack(tmp_path / "a.tar.zst", msgspec.structs.replace(SOURCE, **one))
    assert (chosen(tmp_path, msgspec.structs.replace(SOURCE, **other))[0] is not None) == same


def test_losses_that_it_had(tmp_path: Path) -> None:
    def lost(ident: str, fidelity: Fidelity, truncated: bool = False) -> ContentLoss:
        return ContentLoss(id=ident, filename=None, fidelity=fidelity, expected=None, used_by=[], truncated=truncated)

    with Parent(pack(tmp_path / "a.tar.zst")) as parent:
        parent.load()
        assert parent.knew(lost("file-2", Fidelity.UNAVAILABLE))
        assert parent.knew(lost("file-2", Fidelity.TEXT))
        assert parent.knew(lost("file-3", Fidelity.TEXT))
        assert not parent.knew(lost("file-3", Fidelity.TEXT, truncated=True))
        assert not parent.knew(lost("file-3", Fidelity.UNAVAILABLE))
        assert not parent.knew(lost("file-1", Fidelity.TEXT))
        assert not parent.knew(lost("file-9", Fidelity.TEXT))
        assert not parent.knew(Absent(kind=Kind.FILE, id="file-1", used_by=[], message=""))
        assert not parent.knew(Absent(kind=Kind.STORE, id="vs_1", used_by=[], message=""))
        assert not parent.knew(Absent(kind=Kind.STORE, id="vs_9", used_by=[], message=""))
        assert not parent.knew(Changed(kind=Kind.STORE, id="vs_1", how="added"))


def test_what_no_ledger_line_says_is_known_by_what_it_is_about(tmp_path: Path) -> None:
    had: list[Finding] = [
        Absent(kind=Kind.STORE, id="vs_9", used_by=["asst_1"], message="not found, request 17"),
        Miscount(id="file-1", what="bytes of a file", counted=12, found=11),
    ]
    with Parent(pack(tmp_path / "a.tar.zst", findings=had)) as parent:
        parent.load()
        assert parent.knew(Absent(kind=Kind.STORE, id="vs_9", used_by=[], message="not found, request 18"))
        assert not parent.knew(Absent(kind=Kind.STORE, id="vs_8", used_by=[], message=""))
        assert parent.knew(Miscount(id="file-1", what="bytes of a file", counted=12, found=11))
        assert not parent.knew(Miscount(id="file-1", what="bytes of a file", counted=13, found=11))


def test_a_file_without_a_creation_time_is_never_taken_for_the_same(tmp_path: Path) -> None:
    with Parent(pack(tmp_path / "a.tar.zst")) as parent:
        parent.load()
        assert parent.find(FileView(id="file-1", bytes=11)) is None
        assert parent.find(FileView(id="file-1", bytes=11, created_at=5)) is None
