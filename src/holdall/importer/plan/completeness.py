"""What a destination has, or would have, against what the project had: the verdict of plan, import, comparison and
rehearsal. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any

from holdall.bundle.known_losses import known_reason, reason_of
from holdall.dialects.loss import Loss, Why
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.difference import Difference
from holdall.importer.plan.steps import LONE_FILES, Adopt, By, Cannot, Plan
from holdall.kinds import WHOLE
from holdall.model import AssistantView, Fidelity, Kind, SourceId
from holdall.selection import Selection
from holdall.verdict import Count, Reason, Verdict

__all__ = ["Completeness"]

_OF_KIND = {
    Kind.FILE: Reason.FILES,
    Kind.MEMBERSHIP: Reason.FILES,
    Kind.STORE: Reason.STORES,
    **dict.fromkeys(WHOLE, Reason.ASSISTANTS),
}


_DETAILS = frozenset({Why.UNFIT_VALUE, Why.OVER_LIMIT, Why.MODEL_REFUSES})


# Of these a thing is lost once, whoever lacks it.
_BY_ID = frozenset({Reason.FILES, Reason.STORES, Reason.TEXTS_CUT, Reason.DOUBTFUL, Reason.ASSISTANTS})
_OF_CONTENT = frozenset({Reason.TEXTS_CUT, Reason.DOUBTFUL})
_BELOW = Reason.BELOW_MINIMUM


class Completeness:
    """Judges copies of what ``selection`` chooses of one bundle.

    With ``accept_known`` what the bundle records as lost changes no exit code; it is counted all the same.
    """

    def __init__(self, catalogue: BundleSummary, selection: Selection, *, accept_known: bool) -> None:
        self._catalogue, self._chosen = catalogue, selection
        self._accept_known = accept_known
        self._needs: dict[str, list[str]] = {}
        self._users: dict[str, list[str]] = {}
        for record in catalogue.assistants:
            view = AssistantView.of(record)
            self._needs[record.id] = list(dict.fromkeys(chain(view.store_ids, view.file_ids)))
            for used in (record.id, *self._needs[record.id]):
                self._users.setdefault(used, []).append(record.id)

    def of_plan(self, plan: Plan, inherent: Iterable[Loss]) -> Verdict:
        """What would be missing once ``plan`` is carried out; where it can't be, what is missing as it is.

        ``inherent`` is what no copy can have there: of what is there already the plan doesn't say it again.
        """
        return self.verdict(
            chain(plan.losses(), inherent),
            failed=((Kind.ASSISTANT, step.id) for step in plan.steps() if isinstance(step, Cannot)),
            differences=(one for step in plan.conflicts() for one in step.differences),
            units={unit.id for unit in plan.units},
            living={step.id for step in plan.steps() if isinstance(step, Adopt) and step.by is By.ORIGIN},
        )

    def verdict(
        self,
        losses: Iterable[Loss],
        *,
        units: AbstractSet[str],
        failed: Iterable[tuple[Kind, str]] = (),
        differences: Iterable[Difference] = (),
        doubtful: Iterable[str] = (),
        living: Container[str] = (),
    ) -> Verdict:
        """``units`` are the ids of what was chosen, ``failed`` the objects that are not there, ``doubtful`` files whose
        text was found to be so there, ``living`` those that are there as the source has them."""
        found: list[tuple[Reason, object, str, bool]] = []
        for loss in losses:
            if (reason := _reason(loss)) and not (loss.id in living and reason in _OF_CONTENT):
                what = loss.id if reason in _BY_ID else (loss.id, loss.inside, loss.field)
                found.append((reason, what, loss.inside or loss.id, loss.recorded))
        found += [(_OF_KIND[kind], id, id, False) for kind, id in failed]
        for one in differences:
            reason = _of_difference(one)
            what = one.source if reason in _BY_ID else (one.source, one.inside, one.field)
            found.append((reason, what, one.inside or one.source, False))
        known = {what for reason, what, _, _ in found if reason is Reason.DOUBTFUL}
        found += [(Reason.DOUBTFUL, file, file, False) for file in doubtful if file not in known]
        found += self._recorded(self._closure(units), living)
        return self._counted(found, units)

    def _closure(self, units: AbstractSet[str]) -> set[str]:
        """The ids of what was chosen, with all that it needs."""
        members = self._catalogue.members
        chosen = {*units, *(need for unit in units for need in self._needs.get(unit, ()))}
        chosen.update(file for store in chosen & {*members} for file in members[SourceId(store)])
        if LONE_FILES in units:
            needed = {*chain.from_iterable(self._needs.values()), *chain.from_iterable(members.values())}
            chosen.update(file for file in self._catalogue.files if file not in needed)
        return chosen

    def _recorded(self, chosen: AbstractSet[str], living: Container[str]) -> Iterator[tuple[Reason, object, str, bool]]:
        """What the bundle records as lost, besides what a plan says. A list or a dump may be of anything."""
        everything = not (self._chosen.only or self._chosen.exclude)
        for line in self._catalogue.lost:
            reason = known_reason(line.reason)
            # A store that the source had lost is left out of each assistant that refers to it: a loss of the plan.
            if reason is not Reason.STORES and (everything or line.kind is None or line.id in chosen):
                what = line.id if reason in _BY_ID else (line.kind, line.id, line.message)
                yield reason, what, line.id or "", True
        minimum = self._catalogue.minimum
        for id in chosen if minimum is not Fidelity.TEXT else ():
            content = self._catalogue.files.get(SourceId(id))
            if content and id not in living and reason_of(content.fidelity, content.truncated, minimum) is _BELOW:
                yield _BELOW, id, id, True

    def _counted(self, found: list[tuple[Reason, object, str, bool]], units: AbstractSet[str]) -> Verdict:
        places = {where for _, _, where, _ in found} - self._users.keys()
        users: dict[str, list[str]] = {where: self._users.get(where, []) for _, _, where, _ in found}
        for store, files in self._catalogue.members.items() if places else ():
            for file in places.intersection(files):
                users[file] = [*users[file], *self._users.get(store, ())]
        count = Count()
        for reason, what, where, known in found:
            concerned: list[str | None] = [user for user in users[where] if user in units]
            for user in concerned or [None]:
                count.add(reason, what, accepted=known and self._accept_known, user=user)
        return count.verdict()


def _of_difference(one: Difference) -> Reason:
    """What a difference says: that a thing is missing, isn't indexed, lacks a tool or what a tool reads, or differs."""
    if one.absent:
        return _OF_KIND[one.kind]
    if one.kind is Kind.MEMBERSHIP and one.field == "status":
        return Reason.NOT_INDEXED
    if one.field in ("tools", "tool_resources") and _lacks(one.bundle, one.destination):
        return Reason.SETTINGS
    return Reason.DIFFERENT


def _lacks(here: Any, there: Any) -> bool:
    """Whether ``here`` has something, at any depth, of which ``there`` has nothing."""
    if isinstance(here, dict):
        there = there if isinstance(there, dict) else {}
        return any(_lacks(value, there.get(key)) for key, value in here.items())
    if isinstance(here, list):
        return len(here) > len(there if isinstance(there, list) else [])
    return here is not None and there is None


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
        case _ if loss.field is not None and loss.kind in WHOLE:
            return Reason.SETTINGS
    return _OF_KIND[loss.kind]
