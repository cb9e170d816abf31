"""Models: what can't be had stops, what ends soon is said, and no replacement is ever suggested."""

from __future__ import annotations

from datetime import date

import pytest

from holdall.errors import UsageFault
from holdall.importer.plan.choices import ModelCatalog, ModelMap, check_models, model_map, offered

TODAY = date(2026, 11, 22)
CATALOG = ModelCatalog(
    models={
        "old": date(2026, 10, 23),
        "today": TODAY,
        "ends": date(2026, 11, 23),
        "ends-too": date(2026, 11, 23),
        "ends-later": date(2027, 1, 14),
        "stays": None,
    }
)


def judged(*wanted: str, mapped: tuple[str, ...] = ()) -> tuple[dict[str, str], list[str]]:
    verdict = check_models(wanted, model_map(mapped), CATALOG, today=TODAY)
    return dict(verdict.missing), verdict.warnings


def test_missing_and_shut_down_models_are_named_each_with_its_reason() -> None:
    missing, warnings = judged("stays", "gone", "old", "today", "gone")
    assert missing == {
        "gone": "gone not found",
        "old": "old was shut down on 2026-10-23",
        "today": "today was shut down on 2026-11-22",
    }
    assert warnings == []


def test_models_that_end_are_said_once_for_each_day() -> None:
    missing, warnings = judged("ends-later", "ends", "ends-too", "ends")
    assert missing == {}
    assert warnings == [
        "models ends, ends-too shut down on 2026-11-23, in 1 day",
        "model ends-later shuts down on 2027-01-14, in 53 days",
    ]


def test_what_is_mapped_is_judged_by_its_new_name() -> None:
    assert judged("gone", mapped=("gone=stays",)) == ({}, [])
    assert judged("gone", mapped=("g*=ends",))[1] == ["model ends shuts down on 2026-11-23, in 1 day"]
    assert judged("gone", mapped=("gone=nowhere",))[0] == {"gone": "gone (mapped to nowhere) not found"}
    assert judged("stays", mapped=("*=old",))[0] == {"stays": "stays (mapped to old) was shut down on 2026-10-23"}


def test_a_model_mapped_to_itself_is_taken_on_its_owners_word() -> None:
    assert judged("old", mapped=("old=old",)) == ({}, ["model old should have been shut down on 2026-10-23"])


def test_the_owners_word_counts_where_the_list_lacks_the_model() -> None:
    word = "is not in the destination's list; using it anyway (--map-model)"
    assert judged("gone", mapped=("gone=gone",)) == ({}, [f"model gone {word}"])
    assert judged("gone", mapped=("g*=new", "new=new")) == ({}, [f"model new {word}"])
    assert judged("stays", mapped=("*=old", "old=old"))[0] == {}
    # A GLOB that happens to fit says nothing of the one model.
    assert "gone" in judged("gone", mapped=("g*=gone",))[0]


def test_fine_tuned_models_of_others_are_called_so() -> None:
    missing, _ = judged("ft:gpt-4o:acme::x1", "ft:gpt-4o")
    assert "another organisation or project (acme)" in missing["ft:gpt-4o:acme::x1"]
    assert "another organisation or project," in missing["ft:gpt-4o"]


def test_without_a_list_nothing_is_missing_and_the_reason_is_said() -> None:
    verdict = check_models(["gone"], ModelMap(), ModelCatalog(reason="no list"), today=TODAY)
    assert (verdict.missing, verdict.warnings) == ({}, ["can't check models: no list"])


def test_the_line_to_paste_has_one_word_for_the_shell() -> None:
    lines = check_models(["a b", "gone"], ModelMap(), CATALOG, today=TODAY).lines()
    assert lines == ["--map-model 'a b=NEW'", "--map-model gone=NEW"]


def test_the_first_rule_that_fits_counts() -> None:
    mapped = model_map(["gpt-4o-mini = small", "gpt-4*=large"])
    assert [mapped.rule(model) for model in ("gpt-4o-mini", "gpt-4o", "o3", None)] == ["small", "large", None, None]


@pytest.mark.parametrize("text", ["gpt-4", "=new", "old=", " = "])
def test_a_rule_needs_both_names(text: str) -> None:
    with pytest.raises(UsageFault, match="OLD=NEW"):
        model_map([text])


def test_what_is_offered_is_counted_beyond_some() -> None:
    assert offered(CATALOG, most=2) == "ends, ends-later and 4 more"
