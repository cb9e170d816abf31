"""Which losses a policy accepts, and why each is one: every fidelity against every policy."""

from __future__ import annotations

import pytest

from holdall.exporter.report import Absent, Changed, ContentLoss, Finding, Incomplete, Miscount, Policy, reason
from holdall.model import Fidelity, Kind
from holdall.verdict import Reason

FIDELITIES = list(Fidelity)


def lost(fidelity: Fidelity, *, truncated: bool = False) -> ContentLoss:
    return ContentLoss(id="file-1", filename="a.txt", fidelity=fidelity, expected=1, used_by=[], truncated=truncated)


GONE_FILE = Absent(kind=Kind.FILE, id="file-1", used_by=[], message="")
OTHERS: list[Finding] = [
    Absent(kind=Kind.STORE, id="vs_1", used_by=[], message=""),
    Miscount(id="vs_1", what="files in a vector store", counted=2, found=1),
    Changed(kind=Kind.ASSISTANT, id="asst_1", how="changed"),
    Incomplete(dump="page1.json"),
]


@pytest.mark.parametrize("lowest", FIDELITIES)
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_fidelity_below_the_policy_is_a_loss_and_no_other(fidelity: Fidelity, lowest: Fidelity) -> None:
    """But for a content that isn't there at all: no policy makes that whole, only acceptable."""
    less = FIDELITIES.index(fidelity) > FIDELITIES.index(lowest) or fidelity is Fidelity.UNAVAILABLE
    assert (reason(lost(fidelity), Policy(min_fidelity=lowest)) is not None) == less
    assert Policy(min_fidelity=lowest).accepts(lost(fidelity)) == (lowest is Fidelity.UNAVAILABLE)


@pytest.mark.parametrize("lowest", FIDELITIES)
def test_a_text_that_stops_short_is_less_than_a_text(lowest: Fidelity) -> None:
    policy = Policy(min_fidelity=lowest)
    assert reason(lost(Fidelity.TEXT, truncated=True), policy) is Reason.TEXTS_CUT
    assert policy.accepts(lost(Fidelity.TEXT, truncated=True)) == (lowest is Fidelity.UNAVAILABLE)
    assert policy.accepts(GONE_FILE) == (lowest is Fidelity.UNAVAILABLE)
    assert not any(map(policy.accepts, OTHERS))


def test_what_may_be_missing_is_named_by_its_id() -> None:
    accepts = Policy(min_fidelity=Fidelity.ORIGINAL, allow_missing=frozenset({"file-1", "vs_1"})).accepts
    assert all(map(accepts, [*map(lost, FIDELITIES), lost(Fidelity.TEXT, truncated=True), GONE_FILE, OTHERS[0]]))
    assert not any(map(accepts, OTHERS[1:]))


def test_losses_that_were_known_before_are_accepted() -> None:
    accepts = Policy(known=lambda finding: isinstance(finding, ContentLoss)).accepts
    assert accepts(lost(Fidelity.UNAVAILABLE))
    assert not accepts(OTHERS[0])


def test_only_a_policy_that_asks_for_no_more_excuses_what_the_parent_lacked() -> None:
    assert Policy(min_fidelity=Fidelity.TEXT).no_stricter_than(Fidelity.TEXT)
    assert Policy(min_fidelity=Fidelity.UNAVAILABLE).no_stricter_than(Fidelity.TEXT)
    assert not Policy(min_fidelity=Fidelity.ORIGINAL).no_stricter_than(Fidelity.TEXT)
