"""What a bundle says it hasn't got, against what the project had when it was exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from holdall.bundle.layout import HoldallInfo
from holdall.model import Fidelity
from holdall.verdict import Reason, Verdict

__all__ = ["declared", "known_reason", "minimum_of", "reason_of", "verdict_of"]

_FIDELITIES = list(Fidelity)
_DEFAULT = Fidelity.TEXT


def minimum_of(info: HoldallInfo) -> Fidelity:
    """The fidelity that ``--min-fidelity`` asked of every content. Exports that didn't note it had the default."""
    try:
        return Fidelity(info.min_fidelity or _DEFAULT)
    except ValueError:
        return _DEFAULT


def reason_of(fidelity: Fidelity, truncated: bool, minimum: Fidelity) -> Reason | None:
    """Why a content got this way is a loss; None where it is none."""
    if fidelity is Fidelity.UNAVAILABLE:
        return Reason.FILES
    if truncated:
        return Reason.TEXTS_CUT
    return Reason.BELOW_MINIMUM if _FIDELITIES.index(fidelity) > _FIDELITIES.index(minimum) else None


def known_reason(reason: str) -> Reason:
    """The reason of that name; what only a newer writer knows is a record missing."""
    try:
        return Reason(reason)
    except ValueError:
        return Reason.RECORDS


def verdict_of(losses: Mapping[str, int]) -> Verdict:
    """The verdict on a bundle with so many losses by the names of their reasons."""
    counts: Counter[Reason] = Counter()
    for name, count in losses.items():
        counts[known_reason(name)] += count
    return Verdict(counts=dict(counts))


def declared(info: HoldallInfo) -> Verdict:
    """What ``holdall.json`` says. Of a bundle that doesn't say, what follows from the files that have no content."""
    if info.losses is not None:
        return verdict_of(info.losses)
    lost = info.fidelities.get(Fidelity.UNAVAILABLE)
    return verdict_of({Reason.FILES: lost.files} if lost else {})
