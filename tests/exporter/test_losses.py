from __future__ import annotations

import msgspec

from holdall.exporter.ledger import Losses
from holdall.exporter.report import Changed, ContentLoss, Finding, Policy
from holdall.model import Fidelity, Kind


def loss(number: int) -> ContentLoss:
    return ContentLoss(id=f"file-{number}", filename=None, fidelity=Fidelity.TEXT, expected=1, used_by=[])


def test_all_are_counted_and_those_that_count_are_never_pushed_out() -> None:
    losses = Losses(Policy(), kept=3)
    for number in range(100):
        losses.add(loss(number))
    grave: list[Finding] = [Changed(kind=Kind.STORE, id=f"vs_{number}", how="added") for number in range(5)]
    for finding in grave:
        losses.add(finding)
    assert (losses.total, losses.counting) == (105, 5)
    assert list(losses) == [*grave[:3], loss(0), loss(1), loss(2)]


def test_the_verdict_counts_what_is_accepted_too() -> None:
    losses = Losses(Policy(allow_missing=frozenset({"file-1"})))
    losses.add(msgspec.structs.replace(loss(1), fidelity=Fidelity.UNAVAILABLE))
    losses.add(loss(2))
    verdict = losses.verdict()
    assert (str(verdict), verdict.exit_code) == ("INCOMPLETE: 1 file missing (accepted)", 0)
    losses.add(msgspec.structs.replace(loss(3), fidelity=Fidelity.UNAVAILABLE))
    verdict = losses.verdict()
    assert (str(verdict), verdict.exit_code) == ("INCOMPLETE: 2 files missing", 4)
