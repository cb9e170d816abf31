"""Which losses count, every rung against every policy."""

from __future__ import annotations

import pytest

from holdall.exporter.policy import Policy
from holdall.exporter.report import Absent, Changed, Finding, Incomplete, Loss, Miscount
from holdall.model import Kind, Rung

RUNGS = list(Rung)


def lost(rung: Rung, *, truncated: bool = False) -> Loss:
    return Loss(id="file-1", filename="a.txt", rung=rung, expected=1, used_by=[], truncated=truncated)


GONE_FILE = Absent(kind=Kind.FILE, id="file-1", used_by=[], message="")
OTHERS: list[Finding] = [
    Absent(kind=Kind.STORE, id="vs_1", used_by=[], message=""),
    Miscount(id="vs_1", what="files of a vector store", counted=2, found=1),
    Changed(kind=Kind.ASSISTANT, id="asst_1", how="changed"),
    Incomplete(dump="page1.json"),
]


@pytest.mark.parametrize("lowest", RUNGS)
@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_below_the_policy_counts_and_no_other(rung: Rung, lowest: Rung) -> None:
    assert Policy(min_rung=lowest).counts(lost(rung)) == (RUNGS.index(rung) > RUNGS.index(lowest))


@pytest.mark.parametrize("lowest", RUNGS)
def test_a_text_that_stops_short_is_less_than_a_text(lowest: Rung) -> None:
    counts = Policy(min_rung=lowest).counts
    assert counts(lost(Rung.TEXT, truncated=True)) == (lowest is not Rung.UNAVAILABLE)
    assert counts(GONE_FILE) == (lowest is not Rung.UNAVAILABLE)
    assert all(map(counts, OTHERS))


def test_what_may_be_missing_is_named_by_its_id() -> None:
    counts = Policy(min_rung=Rung.ORIGINAL, allow_missing=frozenset({"file-1", "vs_1"})).counts
    assert not any(map(counts, [*map(lost, RUNGS), lost(Rung.TEXT, truncated=True), GONE_FILE, OTHERS[0]]))
    assert all(map(counts, OTHERS[1:]))


def test_losses_that_were_known_before_are_no_news() -> None:
    known = Policy(known=lambda finding: isinstance(finding, Loss)).counts
    assert not known(lost(Rung.UNAVAILABLE))
    assert known(OTHERS[0])
