"""Where a written request goes: never over what a user has made or changed, and to the end at once or not at all."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from holdall.errors import CannotWrite
from holdall.importer.plan.definitions import Pair
from holdall.importer.plan.difference import FoundRequest
from holdall.importer.runs.runfolder import RunFolder
from holdall.importer.runs.runjournal import JOURNAL, Opened, lines
from holdall.importer.runs.runstate import RunState
from holdall.importer.written.requestfolder import (
    RequestFolder,
    listed,
    read,
    read_request,
    remove,
    replace,
)
from holdall.model import Kind, SourceId, TargetId

PATH, ABOUT = "responses/a.json", "responses/a.about.json"
ONE, TWO, THREE = (Pair(request=b'{"n":%d}' % n, about=b'{"about":%d}' % n) for n in (1, 2, 3))
A = SourceId("asst_1")
HERE: dict[str, str | None] = {"base_url": "https://a.invalid/v1", "organization": None, "project": None}


def place(output: Path, pair: Pair | None, *, replace: bool = True, to: dict[str, str | None] = HERE) -> FoundRequest:
    return RequestFolder(output, to, replace=replace).place(PATH, pair)


def write(output: Path, pair: Pair, *, replace: bool = True, to: dict[str, str | None] = HERE) -> FoundRequest:
    """One run that writes the pair."""
    ops = itertools.count()

    async def go() -> FoundRequest:
        run = RunFolder(output, now=lambda: 0.0, token=str(len(list(output.glob("runs/*")))))
        await run.write(Opened(run=run.id, tool="t", started="", bundle={}, destination=to, options={}))
        folder = RequestFolder(output, to, replace=replace)
        found = folder.place(PATH, pair)
        await folder.write(run, A, found, pair, name="A", operation=lambda: f"op{next(ops)}")
        await run.close()
        return found

    return asyncio.run(go())


def test_into_an_empty_folder(tmp_path: Path) -> None:
    assert place(tmp_path, ONE) == FoundRequest(path=TargetId(PATH), about=ABOUT, equal=False, beside=False)
    write(tmp_path, ONE)
    assert dict(listed(tmp_path)) == {PATH: ONE.request, ABOUT: ONE.about}
    assert place(tmp_path, ONE).equal
    assert read_request(tmp_path, PATH) == {"n": 1}


def test_what_a_run_wrote_is_replaced_by_the_next(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    assert place(tmp_path, TWO) == FoundRequest(path=TargetId(PATH), about=ABOUT, equal=False, beside=False)
    assert not place(tmp_path, None).beside
    write(tmp_path, TWO)
    assert dict(listed(tmp_path)) == {PATH: TWO.request, ABOUT: TWO.about}


def test_what_was_written_for_another_destination_stays_and_the_new_one_goes_beside_it(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    there = {**HERE, "base_url": "https://b.invalid/v1"}
    assert place(tmp_path, None, to=there).beside
    assert write(tmp_path, TWO, to=there).path == f"{PATH}.new"
    assert read(tmp_path, PATH) == ONE.request
    # Each goes on with its own.
    assert place(tmp_path, THREE).path == PATH
    assert place(tmp_path, THREE, to=there).path == f"{PATH}.new"


@pytest.mark.parametrize("changed", [PATH, ABOUT])
def test_what_a_user_has_changed_stays_and_the_new_one_goes_beside_it(tmp_path: Path, changed: str) -> None:
    write(tmp_path, ONE)
    (tmp_path / changed).write_bytes(b"mine")
    assert place(tmp_path, ONE).beside
    assert write(tmp_path, TWO).path == f"{PATH}.new"
    assert read(tmp_path, changed) == b"mine"
    assert read(tmp_path, f"{PATH}.new") == TWO.request
    assert place(tmp_path, TWO).equal
    assert write(tmp_path, THREE).path == f"{PATH}.new"
    (tmp_path / f"{PATH}.new").write_bytes(b"mine too")
    assert write(tmp_path, ONE).path == f"{PATH}.new-2"
    assert read(tmp_path, f"{PATH}.new") == b"mine too"


def test_what_nobody_knows_of_is_a_users(tmp_path: Path) -> None:
    replace(tmp_path, PATH, b"{}")
    assert place(tmp_path, ONE).beside
    assert place(tmp_path, None).beside
    assert read_request(tmp_path, PATH) == {}


def test_beside_what_is_there_if_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    assert write(tmp_path, TWO, replace=False).path == f"{PATH}.new"
    assert read(tmp_path, PATH) == ONE.request


def test_the_journal_has_what_was_written_and_what_it_replaced(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    write(tmp_path, TWO)
    first, second = sorted(tmp_path.glob(f"runs/*/{JOURNAL}"))
    state = RunState()
    for line, _ in lines(first):
        state.take(line)
    assert state.target(Kind.ASSISTANT, A) == PATH
    text = second.read_text()
    assert text.count('"before":{"text":') == 2
    assert text.index('"line":"describe"') < text.index('"line":"write"')


@pytest.mark.parametrize("path", ["../a.json", "responses/../../a.json", "/etc/passwd", "runs/a.json"])
def test_no_request_is_read_from_elsewhere(tmp_path: Path, path: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/a.json").write_text("{}")
    assert read_request(tmp_path / "out", path) is None
    assert read_request(tmp_path, path) is None


def test_a_folder_goes_with_its_last_file(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    for path in (PATH, ABOUT):
        remove(tmp_path, path)
    assert not (tmp_path / "responses").exists()
    remove(tmp_path, PATH)


def test_a_path_that_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / PATH).mkdir(parents=True)
    with pytest.raises(CannotWrite, match="responses"):
        place(tmp_path, ONE)
