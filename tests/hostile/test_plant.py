"""The defects that ``plant.py`` plants still have their place in the code."""

from __future__ import annotations

from tests.hostile.plant import DEFECTS, ROOT


def test_every_defect_can_be_planted() -> None:
    package = ROOT / "src" / "holdall"
    assert [title for title, module, old, _ in DEFECTS if (package / module).read_text("utf-8").count(old) != 1] == []
