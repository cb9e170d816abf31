"""``--only`` and ``--exclude``."""

from __future__ import annotations

import pytest

from holdall.errors import UsageFault
from holdall.model import Kind, SourceId
from holdall.selection import Root, Selection, choose

ROOTS = [
    Root(kind=Kind.ASSISTANT, id=SourceId("asst_1"), name="Support DE"),
    Root(kind=Kind.ASSISTANT, id=SourceId("asst_2"), name="Support [beta]"),
    Root(kind=Kind.ASSISTANT, id=SourceId("asst_3"), name=None),
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
    with pytest.raises(UsageFault, match="nothing selected"):
        chosen(exclude=("*", "asst_3"))
    assert chosen(exclude=("Sales",)) == ["asst_1", "asst_2", "asst_3"]


def test_an_empty_bundle_is_no_error() -> None:
    assert choose([], Selection(exclude=("x",))) == []


STORES = [Root(kind=Kind.STORE, id=SourceId("vs_1"), name="Support DE")]
FILES = [Root(kind=Kind.FILE, id=SourceId("file-1"), name="asst:odd.txt")]


def test_a_kind_before_the_pattern_narrows_it() -> None:
    roots = [*ROOTS, *STORES]
    assert [r.id for r in choose(roots, Selection(only=("Support DE",)))] == ["asst_1", "vs_1"]
    assert [r.id for r in choose(roots, Selection(only=("asst:Support DE",)))] == ["asst_1"]
    assert [r.id for r in choose(roots, Selection(only=("store:Support*",)))] == ["vs_1"]
    assert [r.id for r in choose(roots, Selection(exclude=("store:*",)))] == ["asst_1", "asst_2", "asst_3"]


def test_what_is_no_root_by_itself_can_be_asked_for_by_its_kind_only() -> None:
    others = [*STORES, *FILES]
    assert [r.id for r in choose(ROOTS, Selection(only=("store:vs_1", "file:*.txt")), others=others)] == [
        "vs_1",
        "file-1",
    ]
    with pytest.raises(UsageFault):
        choose(ROOTS, Selection(only=("vs_1",)), others=others)


def test_a_kind_alone_is_no_pattern() -> None:
    with pytest.raises(UsageFault, match="must follow"):
        choose(ROOTS, Selection(only=("store:",)))


def test_what_fits_nothing_is_told_of_what_there_is_to_choose_from() -> None:
    roots = [*ROOTS, Root(kind=Kind.AGENT, id=SourceId("agent_1"))]
    with pytest.raises(UsageFault, match="no assistant or agent in the bundle has that id or name") as caught:
        choose(roots, Selection(only=("file-1",)))
    assert "file:" in caught.value.hint
    with pytest.raises(UsageFault, match="no file in the bundle") as caught:
        choose(roots, Selection(only=("file:file-1",)))
    assert "file:" not in caught.value.hint


@pytest.mark.parametrize("everything", ["*", "**", "?*", "*?", "asst:*", "asst:?*", "asst_*", "asst:asst_?"])
def test_a_pattern_of_everything_takes_what_has_no_name_too(everything: str) -> None:
    assert chosen((everything,)) == ["asst_1", "asst_2", "asst_3"]
    with pytest.raises(UsageFault, match="nothing selected"):
        chosen(exclude=(everything,))


def test_a_glob_of_names_is_none_of_ids_and_the_other_way_round() -> None:
    assert chosen(("asst_[12]",)) == ["asst_1", "asst_2"]
    for of_no_name in ("a*", "*_1", "?", "[a-z]*"):
        with pytest.raises(UsageFault):
            chosen((of_no_name,))


def test_white_space_around_a_name_and_its_encoding_make_no_difference() -> None:
    odd = [
        Root(kind=Kind.ASSISTANT, id=SourceId("asst_1"), name="Support "),
        Root(kind=Kind.ASSISTANT, id=SourceId("asst_2"), name="Pru\u0308fung"),
        Root(kind=Kind.ASSISTANT, id=SourceId("asst_3"), name="  "),
    ]
    for text, id_ in (("Support", "asst_1"), ("Supp*t", "asst_1"), ("Support ", "asst_1"), ("Pr\u00fcfung", "asst_2")):
        assert [root.id for root in choose(odd, Selection(only=(text,)))] == [id_]
    assert len(choose(odd, Selection(only=("*",)))) == 3


def test_all_that_fits_nothing_is_told_at_once_with_what_is_near() -> None:
    with pytest.raises(UsageFault) as caught:
        chosen(("support de", "Sales", "Support*", "asst_9"))
    assert [each.message.split(":")[0] for each in caught.value.mistakes] == [
        "can't select --only support de",
        "can't select --only Sales",
        "can't select --only asst_9",
    ]
    assert "did you mean 'Support DE'?" in caught.value.mistakes[0].hint
    assert "did you mean" not in caught.value.mistakes[1].hint
