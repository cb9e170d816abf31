"""``holdall list``: what it shows of the bundles of a folder, what it finds in them, and what ``verify`` adds."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import msgspec
import pytest

from holdall.backups.folder_record import NAME
from holdall.bundle.layout import Source
from holdall.bundle.reader import BundleReader, open_bundle
from holdall.bundle.writer import BundleWriter
from holdall.legible import columns
from tests.bundle.packing import CAPTURE, STARTED, File, add_all
from tests.cli.terminal import Done, Terminal

DAY = 86_400
HELPER = {"name": "Helper 茶", "model": "gpt-4o", "instructions": "Be brief.\nRefunds take a week; never promise more."}
FILES = [File(id="file-1", filename="Préis.csv"), File(id="file-2", filename="terms.pdf", data=None)]


def packed(path: Path, day: int, label: str | None, files: list[File], instructions: str) -> None:
    source = Source(base_url="http://127.0.0.1/v1", project="proj_abcdefghzyxwvuts", label=label)
    capture = msgspec.structs.replace(CAPTURE, source=source)
    with BundleWriter(path, capture, started=STARTED + day * DAY, threads=1) as writer:
        assistants = {"asst_1": {**HELPER, "instructions": instructions}}
        add_all(writer, files, assistants=assistants, stores={"vs_1": {"name": "Knowledge"}})
        writer.finish(ended=STARTED + day * DAY + 60)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bundles of two sources, a damaged one and something else."""
    folder = tmp_path_factory.mktemp("shelf")
    packed(folder / "old.tar.zst", 0, "acme", FILES[:1], HELPER["instructions"])
    packed(folder / "new.tar.zst", 2, "acme", FILES, "Be brief.")
    packed(folder / "other.tar.zst", 1, "茶茶茶茶茶茶茶茶", FILES[:1], "Say it in Welsh.")
    (folder / "cut.tar.zst").write_bytes((folder / "old.tar.zst").read_bytes()[:4000])
    (folder / "zip.tar.zst").write_bytes(b"PK\x03\x04")
    return folder


@pytest.fixture
def holdall(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """With a folder ``archives`` of whole bundles, and ``all`` that has the others too, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, left_out in (("archives", ("cut*", "zip*")), ("all", ())):
        shutil.copytree(shelf, tmp_path / name, ignore=shutil.ignore_patterns(*left_out))
    return Terminal(monkeypatch, {})


def named(done: Done) -> list[str]:
    return [Path(one["path"]).name for one in done.document["result"]["bundles"]]


def test_the_newest_is_first_and_each_says_what_it_holds(holdall: Terminal) -> None:
    done = holdall("list")
    assert (done.code, done.err.splitlines()[0].split(", ")[0]) == (0, "3 bundles of 2 sources"), done.err
    assert done.err.splitlines()[1:] == ["Next: holdall verify archives/new.tar.zst"]
    head, *rows = done.out.splitlines()
    assert " ".join(head.split()) == "TAKEN (UTC) SOURCE ASST STORES FILES SIZE VERDICT VERIFIED PATH"
    size = rows[0].split()[6:8]
    assert rows[0].split() == [
        *("2023-11-16", "22:13", "acme", "1", "1", "2", *size, "INCOMPLETE", "-", "archives/new.tar.zst")
    ]
    assert [row.split()[-1] for row in rows] == [f"archives/{name}.tar.zst" for name in ("new", "other", "old")]
    shown = holdall("list", "--json")
    assert named(shown) == ["new.tar.zst", "other.tar.zst", "old.tar.zst"]
    first = shown.document["result"]["bundles"][0]
    assert (first["taken_at"], first["state"], first["source_title"]) == (STARTED + 2 * DAY, "whole", "acme")
    assert (first["verdict"]["text"], first["complete"]) == ("INCOMPLETE: 1 file missing", False)


def test_a_terminal_of_eighty_columns_shows_whole_cells(holdall: Terminal) -> None:
    done = holdall.screen("list", "all")
    lines = done.out.splitlines()
    assert done.code == 3
    assert max(map(columns, lines)) <= 80, done.out
    # Wide characters take two columns each.
    at = [columns(line[: line.index("COMPLETE")]) for line in lines if " COMPLETE" in line]
    assert at == [lines[0].index("VERDICT")] * 2
    assert "  all/new.tar.zst" in lines
    assert "DAMAGED" in done.out
    assert "FOREIGN" in done.out
    assert lines[-1] == "Next: holdall verify all/cut.tar.zst"
    packed(Path("archives/id.tar.zst"), 3, None, [], "")
    assert holdall.screen("list", "archives", columns=60).out.splitlines()[1].split()[2] == "…zyxwvuts"
    wide = holdall.screen("list", "archives", columns=120).out.splitlines()
    assert wide[2].endswith("archives/new.tar.zst")


def test_folders_and_bundles_are_listed_together_and_once(holdall: Terminal) -> None:
    done = holdall("list", "all/old.tar.zst", "archives", "archives/new.tar.zst", "--json")
    assert (done.code, named(done)) == (0, ["new.tar.zst", "other.tar.zst", "old.tar.zst", "old.tar.zst"])
    gone = holdall("list", "archives", "gone")
    assert (gone.code, gone.err) == (15, "Error: can't read gone: No such file or directory\n")
    shutil.rmtree("archives")
    here = holdall("list")
    assert (here.code, here.out, here.err) == (0, "", "No bundles in .\n")


def test_verify_says_when_and_a_changed_bundle_is_unverified(
    holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: STARTED + 9 * DAY)
    assert holdall("verify", "all/new.tar.zst", "--quick").code == 0
    assert not Path("all", NAME).exists()
    assert holdall("verify", "all/new.tar.zst").code == 0
    # As it would show after bit rot: what the list reads is all there.
    rotten = Path("all/old.tar.zst")
    data = bytearray(rotten.read_bytes())
    data[100] ^= 1
    rotten.write_bytes(data)
    assert "DAMAGED" not in holdall("list", "all/old.tar.zst").out
    assert holdall("verify", "all/old.tar.zst").code == 10
    rows = {Path(line.split()[-1]).name: line.split() for line in holdall("list", "all").out.splitlines()}
    assert rows["new.tar.zst"][-3:-1] == ["INCOMPLETE", "2023-11-23"]
    assert rows["old.tar.zst"][-3:-1] == ["DAMAGED", "2023-11-23"]
    assert rows["other.tar.zst"][-2] == "-"
    os.utime("all/new.tar.zst", (1, 1))
    assert holdall("list", "all/new.tar.zst").out.splitlines()[1].split()[-2] == "-"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("refunds? take", {"old": ["instructions of asst_1: Refunds take a week; never promise more."]}),
        ("welsh|brief", {"new": ["instructions of asst_1: Be brief."], "old": ["instructions of asst_1: Be brief."],
                         "other": ["instructions of asst_1: Say it in Welsh."]}),
        ("pre\u0301is", {name: ["name of file-1: Préis.csv"] for name in ("new", "old", "other")}),
        ("^file-2$", {"new": ["id of file-2: file-2"]}),
        (r"terms\.pdf", {"new": ["name of file-2: terms.pdf"]}),
        ("KNOWLEDGE", {name: ["name of vs_1: Knowledge"] for name in ("new", "old", "other")}),
        ("some words", {}),
    ],
)  # fmt: skip
def test_a_pattern_is_found_where_it_is(holdall: Terminal, pattern: str, found: dict[str, list[str]]) -> None:
    done = holdall("list", "--grep", pattern, "--json")
    assert done.code == (0 if found else 14)
    assert {
        Path(one["path"]).name.removesuffix(".tar.zst"): [
            f"{match['field']} of {match['id']}: {match['text']}" for match in one["matches"]
        ]
        for one in done.document["result"]["bundles"]
    } == found


def test_the_screen_says_where_it_is(holdall: Terminal) -> None:
    done = holdall.screen("list", "--grep", "refunds|preis|préis|knowledge", "archives/old.tar.zst")
    assert (done.code, done.out.splitlines()[1:]) == (
        0,
        [
            done.out.splitlines()[1],
            "  archives/old.tar.zst",
            "    assistant Helper 茶: instructions: Refunds take a week; never promise more.",
            "    vector store Knowledge: vs_1",
            "    file Préis.csv: file-1",
            "Found in 1 of 1 bundle",
            "Next: holdall inspect archives/old.tar.zst",
        ],
    )
    assert "Not found in 3 bundles\n" in holdall("list", "--grep", "nowhere").err


def test_a_search_reads_no_content_and_each_record_once(holdall: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(3_000_000)
    for number in range(3):
        packed(Path("archives", f"{number}.tar.zst"), number, "big", [File(id="file-9", data=content)], "Be brief.")
    for number in range(3):
        path = Path("archives", f"{number}.tar.zst")
        with open_bundle(path) as bundle:
            (entry,) = bundle.entries("data/files/")
            begin = bundle.frames.frames[bundle.frames.frames.find(entry.offset)][0]
        with path.open("r+b") as file:
            file.seek(begin)
            file.write(bytes(2_900_000))
    records: list[str] = []
    record = BundleReader.record

    def noted(self: BundleReader, kind: object, entry: object) -> object:
        records.append(str(kind))
        return record(self, kind, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(BundleReader, "record", noted)
    done = holdall("list", "--grep", "brief", *(f"archives/{number}.tar.zst" for number in range(3)), "--json")
    assert (done.code, [one["matches_total"] for one in done.document["result"]["bundles"]]) == (0, [1, 1, 1])
    assert records == ["assistant", "vector_store"]


def test_what_is_damaged_inside_is_said_by_the_search(holdall: Terminal) -> None:
    path = Path("archives/old.tar.zst")
    with open_bundle(path) as bundle:
        entry = bundle.find("data/assistants/asst_1.json")
        assert entry
        begin, length, _, _ = bundle.frames.frames[bundle.frames.frames.find(entry.offset)]
    with path.open("r+b") as file:
        file.seek(begin + length // 2)
        file.write(bytes(20))
    done = holdall("list", "--grep", "welsh", "--json")
    states = {Path(one["path"]).name: one["state"] for one in done.document["result"]["bundles"]}
    assert (done.code, states) == (3, {"other.tar.zst": "whole", "old.tar.zst": "damaged"})


@pytest.mark.parametrize(("pattern", "said"), [("(", "not a regular expression"), ("", "the pattern is empty")])
def test_a_pattern_that_is_none_is_refused(holdall: Terminal, pattern: str, said: str) -> None:
    done = holdall("list", "--grep", pattern)
    assert (done.code, said in done.err) == (2, True)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows: there Ctrl-C stops it")
def test_a_pattern_that_takes_forever_is_stopped(holdall: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(Path("archives/long.tar.zst"), 5, "acme", [], "a" * 60 + "!")
    monkeypatch.setattr("holdall.cli.bundle_list._SECONDS", 0.1)
    done = holdall("list", "archives/long.tar.zst", "--grep", "(a+)+$")
    assert (done.code, "took 0 s of the processor" in done.err) == (2, True), done.err
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


def test_a_record_by_anybody_changes_only_what_is_said(holdall: Terminal) -> None:
    holdall("list", "archives")
    path = Path("archives", NAME)
    record = json.loads(path.read_bytes())
    facts = record["bundles"]["old.tar.zst"]["facts"]
    facts["started"], facts["source"]["base_url"] = 253_402_300_799, "http://[\u202e\n"
    facts["source"]["label"], facts["losses"] = "\x1b[2J\nx", {"nobody knows": 5}
    record["bundles"]["old.tar.zst"]["verified_at"] = 0
    path.write_text(json.dumps(record), encoding="utf-8")
    done = holdall("list", "archives")
    assert (done.code, done.out.count("\n")) == (0, 4)
    assert "\x1b" not in done.out
    assert "9999-12-31 23:59" in done.out


def test_an_unpacked_folder_is_listed_and_searched_as_it_is_edited(holdall: Terminal) -> None:
    assert holdall("unpack", "archives/new.tar.zst", "archives/new").code == 0
    Path("archives/new/data/assistants/asst_1.md").write_text("Answer in Cornish.", encoding="utf-8")
    Path("archives/empty").mkdir()
    listed = holdall("list", "--json").document["result"]["bundles"]
    assert [(one["path"], one["is_folder"]) for one in listed] == [
        ("archives/new", True),
        *((f"archives/{name}.tar.zst", False) for name in ("new", "other", "old")),
    ]
    assert (listed[0]["state"], listed[0]["seal"], listed[0]["verdict"]) == ("whole", None, listed[1]["verdict"])
    for words in ((), ("archives/new",)):
        found = holdall("list", *words, "--grep", "cornish|^terms", "--json").document["result"]["bundles"]
        assert [(m["field"], m["text"]) for m in found[0]["matches"]] == [
            ("instructions", "Answer in Cornish."),
            ("name", "terms.pdf"),
        ]
    for name, content, state in (
        ("holdall.json", b"{", "damaged"),
        ("holdall.json", b'{"format": "9.0"}', "unreadable"),
    ):
        Path("archives/new", name).write_bytes(content)
        done = holdall("list", "archives/new", "--json")
        assert (done.code, [one["state"] for one in done.document["result"]["bundles"]]) == (3, [state])
