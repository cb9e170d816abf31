"""Which losses a policy accepts, and why each is one: every rung against every policy."""

from __future__ import annotations

import pytest

from holdall.exporter.losses import reason
from holdall.exporter.policy import Policy
from holdall.exporter.report import Absent, Changed, ContentLoss, Finding, Incomplete, Miscount
from holdall.model import Kind, Rung
from holdall.verdict import Reason

RUNGS = list(Rung)


def lost(rung: Rung, *, truncated: bool = False) -> ContentLoss:
    return ContentLoss(id="file-1", filename="a.txt", rung=rung, expected=1, used_by=[], truncated=truncated)


GONE_FILE = Absent(kind=Kind.FILE, id="file-1", used_by=[], message="")
OTHERS: list[Finding] = [
    Absent(kind=Kind.STORE, id="vs_1", used_by=[], message=""),
    Miscount(id="vs_1", what="files of a vector store", counted=2, found=1),
    Changed(kind=Kind.ASSISTANT, id="asst_1", how="changed"),
    Incomplete(dump="page1.json"),
]


@pytest.mark.parametrize("lowest", RUNGS)
@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_below_the_policy_is_a_loss_and_no_other(rung: Rung, lowest: Rung) -> None:
    """But for a content that isn't there at all: no policy makes that whole, only acceptable."""
    less = RUNGS.index(rung) > RUNGS.index(lowest) or rung is Rung.UNAVAILABLE
    assert (reason(lost(rung), Policy(min_rung=lowest)) is not None) == less
    assert Policy(min_rung=lowest).accepts(lost(rung)) == (lowest is Rung.UNAVAILABLE)


@pytest.mark.parametrize("lowest", RUNGS)
def test_a_text_that_stops_short_is_less_than_a_text(lowest: Rung) -> None:
    policy = Policy(min_rung=lowest)
    assert reason(lost(Rung.TEXT, truncated=True), policy) is Reason.TEXTS_CUT
    assert policy.accepts(lost(Rung.TEXT, truncated=True)) == (lowest is Rung.UNAVAILABLE)
    assert policy.accepts(GONE_FILE) == (lowest is Rung.UNAVAILABLE)
    assert not any(map(policy.accepts, OTHERS))


def test_what_may_be_missing_is_named_by_its_id() -> None:
    accepts = Policy(min_rung=Rung.ORIGINAL, allow_missing=frozenset({"file-1", "vs_1"})).accepts
    assert all(map(accepts, [*map(lost, RUNGS), lost(Rung.TEXT, truncated=True), GONE_FILE, OTHERS[0]]))
    assert not any(map(accepts, OTHERS[1:]))


def test_losses_that_were_known_before_are_accepted() -> None:
    accepts = Policy(known=lambda finding: isinstance(finding, ContentLoss)).accepts
    assert accepts(lost(Rung.UNAVAILABLE))
    assert not accepts(OTHERS[0])


def test_only_a_policy_that_asks_for_no_more_excuses_what_the_parent_lacked() -> None:
    assert Policy(min_rung=Rung.TEXT).no_stricter_than(Rung.TEXT)
    assert Policy(min_rung=Rung.UNAVAILABLE).no_stricter_than(Rung.TEXT)
    assert not Policy(min_rung=Rung.ORIGINAL).no_stricter_than(Rung.TEXT)
