"""What an import of one assistant, one store and one file leads through: no room for anything that it hasn't got."""

from __future__ import annotations

import inspect
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

MOST, MOST_OF_IMPORTER = 60, 22
"""Modules; a change that leads through another one has to say what for."""

NOT_ASKED_FOR = {
    "destination.files_and_skills",  # nothing is there that could be a copy
    "plan.skill_steps",
    "plan.template_supply",
    "apply.versions",
    "written.requestfolder",
    "proof.proof",
    "proof.members",
    "proof.compare_text",
    "verbs.compare_copy",
    "verbs.list_runs",
    "verbs.undo_import",
}


def test_an_import_enters_no_room_for_what_the_bundle_has_not(
    box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True)
    with Hand(box.url, "sk-source-0001") as hand:
        hand.assistant("A", stores=[hand.store("s", [hand.file("a.txt", b"hello")])])
    keys = {f"OPENAI_{way}_API_KEY": f"sk-{name}-0001" for way, name in (("SRC", "source"), ("DST", "destination"))}
    holdall = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url, **keys})
    assert holdall("export", "-o", "b.tar.zst").code == 0
    entered: set[str] = set()

    def note(frame: FrameType, event: str, arg: object) -> None:
        code = frame.f_code
        # Functions alone: the bodies of modules and classes run where they are loaded.
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<"):
            entered.add(frame.f_globals.get("__name__", ""))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        done = holdall("import", "b.tar.zst")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert done.code == 0, done.err
    ours = {name for name in entered if name.startswith("holdall.") and not name.startswith("holdall.sandbox.")}
    of_importer = {name.removeprefix("holdall.importer.") for name in ours if name.startswith("holdall.importer.")}
    assert not of_importer & NOT_ASKED_FOR
    assert len(of_importer) <= MOST_OF_IMPORTER, sorted(of_importer)
    assert len(ours) <= MOST, sorted(ours)
