"""The lists of what a bundle could not take in, out of the bundle alone."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.bundle.missing import MissingFromBundle, Wanted
from holdall.bundle.reader import open_bundle
from holdall.bundle.writer import BundleWriter
from holdall.model import Kind, Record, SourceId
from holdall.spilling import ValueSorter
from tests.bundle.packing import CAPTURE, STARTED, File, ledger_line, pack


def lists(path: Path) -> tuple[list[Wanted], list[str]]:
    with open_bundle(path) as bundle, MissingFromBundle(bundle) as missing:
        wanted = list(missing.wanted())
        assert missing.total == len(wanted)
        return wanted, [str(one) for one in missing.outside]


def test_the_worst_come_first_then_the_name_and_whole_files_not_at_all(tmp_path: Path) -> None:
    text = b'{"pages":[],"truncated":false}'
    files = [
        File(id="f1", filename="z.txt", data=None),
        File(id="f2", filename="b.txt", data=text, text=True),
        File(id="f3", filename="a.txt", data=text, text=True),
        File(id="f4", filename="a.txt", data=None),
        File(id="f5", filename="whole.txt"),
        File(id="f6", filename=None, data=None),
    ]
    pack(tmp_path / "b.tar.zst", files)
    wanted, _ = lists(tmp_path / "b.tar.zst")
    assert [(one.number, one.id) for one in wanted] == [(1, "f6"), (2, "f4"), (3, "f1"), (4, "f3"), (5, "f2")]
    assert {user.name for one in wanted for user in one.used_by} == {"Helper"}


def test_users_are_those_of_the_store_and_of_the_code_interpreter(tmp_path: Path) -> None:
    def uses(*stores: str, files: tuple[str, ...] = ()) -> dict[str, Any]:
        return {
            "tool_resources": {
                "file_search": {"vector_store_ids": list(stores)},
                "code_interpreter": {"file_ids": list(files)},
            }
        }

    assistants = {
        "a1": {"name": "One", **uses("vs_1")},
        "a2": {"name": None, **uses(files=("f1", "f_gone"))},
        "a3": {"name": "Three", **uses("vs_gone")},
    }
    pack(tmp_path / "b.tar.zst", [File(id="f1", data=None)], assistants=assistants)
    (wanted,), outside = lists(tmp_path / "b.tar.zst")
    assert [(user.id, user.name) for user in wanted.used_by] == [("a1", "One"), ("a2", None)]
    assert outside == ["vector store vs_gone (deleted at the source)", "file f_gone (deleted at the source)"]


@pytest.mark.parametrize(
    ("tool", "left"), [("file_search", "file f_gone"), ("code_interpreter", "vector store vs_gone")]
)
def test_what_was_left_out_on_purpose_is_not_gone(tmp_path: Path, tool: str, left: str) -> None:
    resources = {"file_search": {"vector_store_ids": ["vs_gone"]}, "code_interpreter": {"file_ids": ["f_gone"]}}
    raw = json.dumps({"id": "a1", "tool_resources": resources}).encode()
    capture = msgspec.structs.replace(CAPTURE, options={tool: False})
    with BundleWriter(tmp_path / "b.tar.zst", capture, started=STARTED) as writer:
        writer.add_record(Record(kind=Kind.ASSISTANT, id=SourceId("a1"), raw=raw))
        writer.open_files().commit()
        writer.finish(ended=STARTED)
    assert lists(tmp_path / "b.tar.zst") == ([], [f"{left} (deleted at the source)"])


def test_odd_assistants_are_no_error(tmp_path: Path) -> None:
    assistants = {"a1": {"tool_resources": ["odd"], "tools": {"odd": 1}, "name": 7}, "a2": {"name": "Even"}}
    pack(tmp_path / "b.tar.zst", [File(id="f1", data=None)], assistants=assistants)
    (wanted,), _ = lists(tmp_path / "b.tar.zst")
    assert [user.name for user in wanted.used_by] == ["Even"]


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path) -> None:
    peaks = []
    for count in (20_000, 40_000):
        path = tmp_path / f"{count}.tar.zst"
        with BundleWriter(path, CAPTURE, started=STARTED) as writer:
            raw = {"id": "a1", "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}
            writer.add_record(Record(kind=Kind.ASSISTANT, id=SourceId("a1"), raw=json.dumps(raw).encode()))
            writer.add_record(Record(kind=Kind.STORE, id=SourceId("vs_1"), raw=b'{"id":"vs_1"}'))
            with writer.open_memberships("vs_1") as members, writer.open_files() as files:
                for number in range(count):
                    line = json.dumps({"id": f"file-{number:020}", "filename": f"{number}.txt"}).encode() + b"\n"
                    members.write(line)
                    files.write(line)
                    file = File(id=f"file-{number:020}", filename=f"{number}.txt", data=None)
                    writer.add_ledger(ledger_line(file))
                members.commit()
                files.commit()
            writer.finish(ended=STARTED)
        tracemalloc.start()
        with open_bundle(path) as bundle, MissingFromBundle(bundle) as missing:
            assert sum(1 for _ in missing.wanted()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 4_000_000, peaks


@pytest.mark.parametrize(("files", "named", "noted"), [((), (), 0), ((), ("f1",), 6), (("f1",), (), 11)])
def test_of_a_bundle_that_lacks_no_content_nothing_is_noted_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], named: tuple[str, ...], noted: int
) -> None:
    all_files = [File(id=f"f{n}", data=None if f"f{n}" in files else b"x") for n in range(1, 6)]
    assistants = {"a1": {"tool_resources": {"code_interpreter": {"file_ids": list(named)}}}}
    pack(tmp_path / "b.tar.zst", all_files, assistants=assistants)
    keys: list[str | int] = []
    add = ValueSorter.add
    monkeypatch.setattr(ValueSorter, "add", lambda self, key, value: (keys.append(key), add(self, key, value)))
    with open_bundle(tmp_path / "b.tar.zst") as bundle, MissingFromBundle(bundle) as missing:
        assert (missing.total, missing.outside) == (len(files), [])
    # The file of a lack is noted once more, by its name.
    assert len(keys) == noted + len(files)
