"""The page about a bundle: what it says, that it leads nowhere, and what it costs."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.bundle.reader import open_bundle
from holdall.cli.console import Console
from holdall.cli.main import run
from holdall.importer.runs.runreport import Party, Result, Status, run_page
from holdall.model import Kind, SourceId, TargetId
from holdall.pages import bundle_page
from holdall.verdict import Reason, Verdict
from tests.browser import CHROMIUM, browser
from tests.bundle.packing import File, pack
from tests.hostile.forge import forge
from tests.hostile.lies import ODD
from tests.importer.runs.test_runreport import REPORT
from tests.pages.reading import Reading
from tests.sweep import sweep

SAMPLE = Path(__file__).parents[2] / "archives" / "sample.tar.zst"
EVIL = '<script src="http://x.example/">\u202e"\'&amp;\x1b[31m\n</details>'
SEEN = '<script src="http://x.example/">\\u202e"\'&amp;\\x1b[31m </details>'


def holdall(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = run(argv, Console(stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


def page(path: Path) -> str:
    with open_bundle(path) as bundle:
        return "".join(bundle_page(bundle, path.stat().st_size))


def packed(folder: Path, files: list[File], **more: Any) -> str:
    target = folder / "acme.tar.zst"
    pack(target, files, **more)
    return page(target)


def test_the_verdict_comes_first_then_what_is_missing_and_who_needs_it(tmp_path: Path) -> None:
    files = [File(id="file-1", filename="a.pdf", data=b"x" * 1500), File(id="file-2", filename="b.pdf", data=None)]
    read = Reading(packed(tmp_path, files))
    verdict = Verdict(counts={Reason.FILES: 1})
    assert f"acme.tar.zst {verdict} 1 assistant, 1 vector store, 2 files; " in read.text
    assert "No original: 1 file" in read.text
    assert "b.pdf file-2missing-used by Helper" in read.text
    assert "Knowledge: 1 vector store Knowledge vs_1" in read.text
    assert "a.pdf file-1original1.5 kB" in read.text
    assert "Used byHelper" in read.text
    assert read.links == {"#s0"}


def test_a_card_has_all_that_a_definition_says(tmp_path: Path) -> None:
    words = "Be kind.\nBe brief. " * 2000
    function = {"name": "look_up", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}
    fields = {
        "name": "Helper",
        "model": "gpt-4o",
        "description": "Helps.",
        "instructions": words,
        "tools": [{"type": "code_interpreter"}, {"type": "function", "function": function}],
        "tool_resources": {"code_interpreter": {"file_ids": ["file-1"]}, "file_search": {"vector_store_ids": ["vs_9"]}},
        "temperature": 0.25,
        "metadata": {"team": "blue"},
        "a_new_field": "kept",
    }
    read = Reading(packed(tmp_path, [File(id="file-1")], assistants={"asst_1": fields}))
    assert words in "".join(read.texts), "instructions are cut"
    for said in ("Modelgpt-4o", "Helps.", "Temperature 0.25", '{"team": "blue"}', "A new field kept", "look_up", '"q"'):
        assert said in read.text, said
    assert "vs_9 not in the bundle" in read.text
    assert "Files of the code interpreter 1" in read.text
    assert "Used byno assistant in this bundle" in read.text


def test_a_model_has_the_day_on_which_it_ends_where_one_is_known(tmp_path: Path) -> None:
    models = {"asst_1": {"model": "gpt-5-mini"}, "asst_2": {"model": "ours"}}
    text = Reading(packed(tmp_path, [], assistants=models)).text
    assert "Modelgpt-5-mini OpenAI shuts it down on 2026-12-11" in text
    assert text.count("shuts it down") == 1


def test_files_that_share_a_reason_stand_below_it() -> None:
    text = Reading(page(SAMPLE)).text
    why = "Not allowed to download files of purpose: assistants; it is in no vector store, so there is no parsed text"
    assert f"{why} Cafés.csv" in text
    assert text.count(why) == 1


def test_a_file_that_nothing_refers_to_is_there_too(tmp_path: Path) -> None:
    read = Reading(packed(tmp_path, [File(id="file-1", filename="lost.txt")], stores={}))
    assert "Files that no store or assistant uses" in read.text
    assert "lost.txt file-1original" in read.text


def test_markup_and_marks_of_others_are_shown_as_such(tmp_path: Path) -> None:
    fields = {"name": EVIL, "model": EVIL, "description": EVIL, "instructions": EVIL, "metadata": {EVIL: EVIL}}
    fields |= {EVIL: EVIL, "tools": [EVIL, {"type": EVIL, EVIL: {"name": EVIL}}], "response_format": [EVIL] * 20}
    files = [File(id="file-1", filename=EVIL), File(id="file-2", filename=EVIL, data=None)]
    read = Reading(packed(tmp_path, files, assistants={"asst_1": fields}, stores={"vs_1": {"name": EVIL}}))
    assert read.text.count(SEEN) > 8
    assert "\u202e" not in read.text


@sweep("name", ODD)
def test_an_odd_bundle_has_a_page_that_leads_nowhere(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.tar.zst"
    path.write_bytes(forge(**ODD[name]))
    Reading(page(path))


@pytest.mark.thorough
def test_20_000_files_are_less_than_2_mb_and_nobody_is_told_that_it_is_all(tmp_path: Path) -> None:
    files = [File(id=f"file-{number:022}", filename=f"Report {number} of the year.pdf") for number in range(20_000)]
    target = tmp_path / "large.tar.zst"
    pack(target, files, stores={f"vs_{number}": {"name": f"Store {number}"} for number in range(3)})
    found = page(target)
    assert len(found.encode()) < 2_000_000
    read = Reading(found)
    assert "… and 19700 more: holdall inspect --all --json" in read.text
    assert "20000 original" in read.text


def test_long_texts_end_where_the_page_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdall.pages._CHARACTERS", 100)
    read = Reading(packed(tmp_path, [], assistants={"asst_1": {"instructions": "y" * 150}}))
    assert "y" * 100 + " … and 50 characters more" in read.text
    assert "The page is full" in read.text


def test_it_is_written_for_its_owner_and_replaces_nothing(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    code, _, err = holdall("inspect", str(SAMPLE), "--html", str(target))
    assert code == 0
    assert f"Page: {target}" in err.splitlines()
    assert os.name == "nt" or stat.S_IMODE(target.stat().st_mode) == 0o600
    first = target.read_text(encoding="utf-8")
    Reading(first)
    target.write_text("mine")
    code, _, err = holdall("inspect", str(SAMPLE), "--html", str(target))
    assert code != 0
    assert "already exists" in err
    assert target.read_text() == "mine"
    code, out, _ = holdall("inspect", str(SAMPLE), "--html", str(target), "--force", "--json")
    assert code == 0
    assert json.loads(out)["result"]["html"] == str(target)
    assert target.read_text(encoding="utf-8") == first
    assert list(tmp_path.iterdir()) == [target]
    assert holdall("inspect", str(SAMPLE), "--force")[0] == 2


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_browser_has_nothing_to_say_and_to_ask_for(tmp_path: Path) -> None:
    pages = {"sample": page(SAMPLE)}
    for number, name in enumerate(("names with control characters", "names with marks without end")):
        path = tmp_path / f"{number}.tar.zst"
        path.write_bytes(forge(**ODD[name]))
        pages[name] = page(path)
    long = {"name": "x" * 300, "model": "y" * 300, "instructions": "z" * 5000, "w" * 300: "v" * 90}
    files = [File(id=f"file-{number:022}", filename="n" * 190) for number in range(20_000)]
    pages["20,000 files"] = packed(tmp_path, files, assistants={"asst_1": long})
    parties = {"source": Party(org_id="o" * 300), "files": {SourceId("f" * 300): TargetId("g" * 300)}}
    pages["an import"] = "".join(run_page(msgspec.structs.replace(REPORT, **parties), []))
    with open_bundle(SAMPLE) as bundle:
        results = [
            Result(source=one.id, target=TargetId("t" * 300), status=Status.SUCCESS) for one in bundle.assistants()
        ]
        report = msgspec.structs.replace(REPORT, by_kind={Kind.ASSISTANT: results})
        pages["an import with its bundle"] = "".join(run_page(report, [], bundle))
    with browser(tmp_path / "profile") as shown:
        for name, found in pages.items():
            path = tmp_path / "page.html"
            path.write_text(found, encoding="utf-8")
            for width in (360, 800, 1400):
                for scheme in ("light", "dark"):
                    seen = shown.look(path, width, scheme=scheme)
                    assert seen.width <= width, (name, width)
                    assert seen.console == [], name
                    assert seen.requests == [path.as_uri()], name
