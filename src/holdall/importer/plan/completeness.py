"""What a destination has, or would have, against what the project had: the verdict of plan, import, comparison and
rehearsal. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import chain

import msgspec

from holdall.bundle.losses import known_reason
from holdall.dialects.loss import Loss, Why
from holdall.importer.plan.difference import Difference
from holdall.importer.plan.steps import Cannot, Catalogue, Plan
from holdall.model import AssistantView, Kind
from holdall.selection import Selection
from holdall.verdict import Count, Reason, Verdict

__all__ = ["Completeness"]

_OF_KIND = {
    Kind.FILE: Reason.FILES,
    Kind.MEMBERSHIP: Reason.FILES,
    Kind.STORE: Reason.STORES,
    Kind.ASSISTANT: Reason.ASSISTANTS,
    Kind.AGENT: Reason.ASSISTANTS,
}


_DETAILS = frozenset({Why.UNFIT_VALUE, Why.OVER_LIMIT, Why.MODEL_REFUSES})


class Completeness:
    """Judges copies of what ``selection`` chooses of one bundle.

    With ``accept_known`` what the bundle records as lost changes no exit code; it is counted all the same.
    """

    def __init__(self, catalogue: Catalogue, selection: Selection, *, accept_known: bool) -> None:
        self._lost, self._chosen = catalogue.lost, selection
        self._accept_known = accept_known
        self._users: dict[str, list[str]] = {}
        for record in catalogue.assistants:
            view = msgspec.json.decode(record.raw, type=AssistantView)
            self._users[record.id] = [record.id]
            for used in dict.fromkeys(chain(view.store_ids, view.file_ids)):
                self._users.setdefault(used, []).append(record.id)

    def of_plan(self, plan: Plan) -> Verdict:
        """What would be missing once ``plan`` is carried out; where it can't be, what is missing as it is."""
        return self.verdict(
            plan.losses(),
            failed=((Kind.ASSISTANT, step.id) for step in plan.steps() if isinstance(step, Cannot)),
            differences=(one for step in plan.conflicts() for one in step.differences),
            units={unit.id for unit in plan.units},
        )

    def verdict(
        self,
        losses: Iterable[Loss],
        *,
        failed: Iterable[tuple[Kind, str]] = (),
        differences: Iterable[Difference] = (),
        doubtful: Iterable[str] = (),
        units: AbstractSet[str] | None = None,
    ) -> Verdict:
        """``failed`` are the objects that are not there, ``doubtful`` files whose text was found to be so there,
        ``units`` the ids of what was chosen, where that is known."""
        count = Count()
        for loss in losses:
            if reason := _reason(loss):
                of_file = reason in (Reason.FILES, Reason.DOUBTFUL)
                what = loss.id if of_file else (loss.id, loss.inside, loss.field)
                self._add(count, reason, what, loss.inside or loss.id, known=loss.recorded)
        for kind, id in failed:
            self._add(count, _OF_KIND[kind], id, id)
        for one in differences:
            reason = _OF_KIND[one.kind] if one.absent else Reason.DIFFERENT
            what = one.source if one.absent else (one.source, one.inside, one.field)
            self._add(count, reason, what, one.inside or one.source)
        for file in doubtful:
            if (Reason.DOUBTFUL, file) not in count:
                self._add(count, Reason.DOUBTFUL, file, file)
        for line in self._lost:
            reason = known_reason(line.reason)
            # A store that the source had lost is left out of each assistant that refers to it: a loss of the plan.
            if reason is not Reason.STORES and self._concerns(line.kind, line.id, units):
                self._add(count, reason, (line.kind, line.id, line.message), line.id or "", known=True)
        return count.verdict()

    def _concerns(self, kind: Kind | None, id: str | None, units: AbstractSet[str] | None) -> bool:
        """Whether what the bundle records as lost is one of the things chosen. A list or a dump may always be."""
        everything = not (self._chosen.only or self._chosen.exclude)
        return everything or kind is None or units is None or id in units

    def _add(self, count: Count, reason: Reason, what: object, where: str, *, known: bool = False) -> None:
        accepted = known and self._accept_known
        users: list[str | None] = [*self._users.get(where, [])]
        for user in users or [None]:
            count.add(reason, what, accepted=accepted, user=user)


def _reason(loss: Loss) -> Reason | None:
    """Why a loss makes the copy less than the source; None for a detail."""
    if loss.why in _DETAILS:
        return Reason.DETAILS
    if not loss.why.weighs:
        return None
    match loss.why:
        case Why.TRUNCATED:
            return Reason.TEXTS_CUT
        case Why.JOINED_DOUBTFULLY:
            return Reason.DOUBTFUL
        case Why.NOT_INDEXED:
            return Reason.NOT_INDEXED
        case Why.NOT_KEPT | Why.LEFT_ALONE:
            return Reason.DIFFERENT
        case _ if loss.field is not None and loss.kind in (Kind.ASSISTANT, Kind.AGENT):
            return Reason.SETTINGS
    return _OF_KIND[loss.kind]
