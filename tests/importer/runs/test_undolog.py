"""The log of undos: what it remembers of one that was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdall.errors import CannotWrite
from holdall.importer.runs.effects import LOG, Act, UndoAction, UndoLog, is_undone
from holdall.model import Kind, TargetId

REPLACE = UndoAction(act=Act.REPLACE, kind=Kind.MEMBERSHIP, target=TargetId("f"), name="a", store=TargetId("vs"))


def log(tmp_path: Path) -> UndoLog:
    return UndoLog(tmp_path, now=lambda: 0.0)


def test_a_run_is_undone_once_an_undo_left_nothing(tmp_path: Path) -> None:
    assert not is_undone(tmp_path)
    log(tmp_path).ended(2)
    assert not is_undone(tmp_path)
    again = log(tmp_path)
    again.step(REPLACE, "done")
    assert not is_undone(tmp_path)
    again.ended(0)
    assert is_undone(tmp_path)
    assert log(tmp_path).whole


def test_what_was_in_hand_is_known_again(tmp_path: Path) -> None:
    log(tmp_path).step(REPLACE, "begun")
    assert log(tmp_path).begun == {("vs", "f")}


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    first = log(tmp_path)
    first.step(REPLACE, "begun")
    with (tmp_path / LOG).open("ab") as file:
        file.write(b'{"line":"step","at"')
    again = log(tmp_path)
    assert again.begun == {("vs", "f")}
    again.ended(0)
    assert is_undone(tmp_path)


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite):
        log(tmp_path / "absent").ended(0)
