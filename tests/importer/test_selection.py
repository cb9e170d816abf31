"""``--only`` and ``--exclude``."""

from __future__ import annotations

import pytest

from holdall.errors import UsageFault
from holdall.importer.selection import Root, Selection, choose
from holdall.model import SourceId

ROOTS = [
    Root(id=SourceId("asst_1"), name="Support DE"),
    Root(id=SourceId("asst_2"), name="Support [beta]"),
    Root(id=SourceId("asst_3"), name=None),
]


def chosen(only: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    return [root.id for root in choose(ROOTS, Selection(only=only, exclude=exclude))]


def test_nothing_said_takes_everything_in_order() -> None:
    assert chosen() == ["asst_1", "asst_2", "asst_3"]


def test_ids_and_globs_on_names() -> None:
    assert chosen(("asst_3", "Support D*")) == ["asst_1", "asst_3"]
    assert chosen(exclude=("Support*",)) == ["asst_3"]
    assert chosen(("Support*",), ("asst_1",)) == ["asst_2"]


def test_a_name_with_a_bracket_is_matched_as_it_is() -> None:
    assert chosen(("Support [beta]",)) == ["asst_2"]


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(UsageFault, match="--only Sales"):
        chosen(("Support*", "Sales"))


def test_excluding_everything_is_refused_but_an_exclude_that_matches_nothing_is_not() -> None:
    with pytest.raises(UsageFault, match="nothing is left"):
        chosen(exclude=("*", "asst_3"))
    assert chosen(exclude=("Sales",)) == ["asst_1", "asst_2", "asst_3"]


def test_an_empty_bundle_is_no_error() -> None:
    assert choose([], Selection(exclude=("x",))) == []
