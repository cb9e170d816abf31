"""What a destination has, or would have, compared with what the project had: the verdict of plan, import, comparison
and rehearsal. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, NamedTuple, Self

from holdall.bundle.totals import known_reason, reason_of
from holdall.dialects.loss import Loss, Why
from holdall.graph import Selection, users_of
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.difference import By, Difference
from holdall.importer.plan.plan_document import Plan
from holdall.importer.plan.steps import LONE_FILES, Adopt
from holdall.kinds import ASSISTANT_KINDS
from holdall.model import AssistantView, Fidelity, Kind, SourceId
from holdall.verdict import Count, Reason, Verdict

_OF_KIND = {
    Kind.FILE: Reason.FILES,
    Kind.MEMBERSHIP: Reason.FILES,
    Kind.STORE: Reason.STORES,
    **dict.fromkeys(ASSISTANT_KINDS, Reason.ASSISTANTS),
    **dict.fromkeys((Kind.SKILL, Kind.TEMPLATE), Reason.RECORDS),
    # The bundle counts the zip of one as a content.
    Kind.SKILL_VERSION: Reason.FILES,
}
# The other reasons depend on what it happened to.
_OF_WHY = {
    **dict.fromkeys((Why.UNFIT_VALUE, Why.OVER_LIMIT, Why.MODEL_REFUSES), Reason.DETAILS),
    **dict.fromkeys((Why.NOT_KEPT, Why.LEFT_ALONE), Reason.DIFFERENT),
    Why.TRUNCATED: Reason.TEXTS_CUT,
    Why.JOINED_DOUBTFULLY: Reason.DOUBTFUL,
    Why.NOT_INDEXED: Reason.NOT_INDEXED,
    Why.NEVER_SHOWN: Reason.TEMPLATES,
}
# Of these a thing is lost once, whoever lacks it.
_BY_ID = frozenset(
    {Reason.FILES, Reason.STORES, Reason.TEXTS_CUT, Reason.DOUBTFUL, Reason.ASSISTANTS, Reason.TEMPLATES}
)
_OF_CONTENT = frozenset({Reason.TEXTS_CUT, Reason.DOUBTFUL})


class _Lack(NamedTuple):
    """Something that isn't as the source had it. ``what`` identifies it, ``place`` is the thing that lacks it or is
    missing itself. ``recorded``: the bundle records it as lost."""

    reason: Reason
    what: object
    place: str
    recorded: bool = False

    @classmethod
    def of(cls, reason: Reason, id: str, inside: str | None, field: str | None, *, recorded: bool = False) -> Self:
        what = id if reason in _BY_ID else (id, inside, field)
        return cls(reason, what, inside or id, recorded)


class Completeness:
    """Judges copies of what ``selection`` chooses of one bundle.

    With ``accept_known`` what the bundle records as lost changes no exit code; it is counted all the same.
    """

    def __init__(self, summary: BundleSummary, selection: Selection, *, accept_known: bool) -> None:
        self._summary, self._chosen, self._accept_known = summary, selection, accept_known
        views = [AssistantView.of(record) for record in summary.assistants]
        self._uses = users_of(views)
        self._assistants = {view.id for view in views}

    def of_plan(self, plan: Plan) -> Verdict:
        """What would be missing once ``plan`` is carried out, or is missing now if it has conflicts."""
        return self.verdict(
            chain(plan.losses(), plan.inherent),
            failed=plan.impossible(),
            differences=(one for step in plan.conflicts() for one in step.differences),
            units={unit.id for unit in plan.units},
            originals={step.id for step in plan.steps() if isinstance(step, Adopt) and step.by is By.ORIGIN},
        )

    def verdict(
        self,
        losses: Iterable[Loss],
        *,
        units: AbstractSet[str],
        failed: Iterable[tuple[Kind, str]] = (),
        differences: Iterable[Difference] = (),
        doubtful: Iterable[str] = (),
        originals: Container[str] = (),
    ) -> Verdict:
        """``units`` are the ids of what was chosen, ``failed`` the objects that are not there. ``doubtful`` are files
        whose text turned out to be so there, ``originals`` the source's own objects."""
        found = [
            _Lack.of(reason, loss.id, loss.inside, loss.field, recorded=loss.recorded)
            for loss in losses
            if (reason := _reason(loss)) and not (loss.id in originals and reason in _OF_CONTENT)
        ]
        found += [_Lack(_OF_KIND[kind], id, id) for kind, id in failed]
        found += [_Lack.of(_of_difference(one), one.source, one.inside, one.field) for one in differences]
        known = {one.what for one in found if one.reason is Reason.DOUBTFUL}
        found += [_Lack(Reason.DOUBTFUL, file, file) for file in doubtful if file not in known]
        found += self._recorded(self._closure(units), originals)
        return self._counted(found, units)

    def _closure(self, units: AbstractSet[str]) -> set[str]:
        """The ids of what was chosen, with all that it needs."""
        members = self._summary.members
        chosen = {*units, *self._uses.needed_by(units)}
        chosen.update(file for store in chosen & {*members} for file in members[SourceId(store)])
        if LONE_FILES in units:
            needed = {*self._uses.files, *chain.from_iterable(members.values())}
            chosen.update(file for file in self._summary.files if file not in needed)
        return chosen

    def _recorded(self, chosen: AbstractSet[str], originals: Container[str]) -> Iterator[_Lack]:
        """What the bundle records as lost and no plan repeats. A list or a dump may concern anything."""
        everything = not (self._chosen.only or self._chosen.exclude)
        for line in self._summary.lost:
            reason = known_reason(line.reason)
            # A store that the source had lost is left out of each assistant that refers to it: a loss of the plan. What
            # no server shows of a template is one, too, unless it is supplied.
            if reason not in (Reason.STORES, Reason.TEMPLATES) and (
                everything or line.kind is None or line.id in chosen
            ):
                what = line.id if reason in _BY_ID else (line.kind, line.id, line.message)
                yield _Lack(reason, what, line.id or "", recorded=True)
        minimum, below = self._summary.minimum, Reason.BELOW_MINIMUM
        for id in chosen if minimum is not Fidelity.TEXT else ():
            content = self._summary.files.get(SourceId(id))
            if content and id not in originals and reason_of(content.fidelity, content.truncated, minimum) is below:
                yield _Lack(below, id, id, recorded=True)

    def _counted(self, found: list[_Lack], units: AbstractSet[str]) -> Verdict:
        users = {one.place: self._uses.of(SourceId(one.place)) for one in found}
        # A file that assistants use directly is counted for these alone.
        in_stores = {place for place, by in users.items() if not by and place not in self._assistants}
        for store, files in self._summary.members.items() if in_stores else ():
            for file in in_stores.intersection(files):
                users[file] += self._uses.of(store)
        for assistant in users.keys() & self._assistants:
            users[assistant].append(SourceId(assistant))
        count = Count()
        for one in found:
            concerned: list[str | None] = [user for user in users[one.place] if user in units]
            for user in concerned or [None]:
                count.add(one.reason, one.what, accepted=one.recorded and self._accept_known, user=user)
        return count.verdict()


def _of_difference(one: Difference) -> Reason:
    """The reason of a difference: the thing is missing, is not indexed, lacks a tool or its files, or differs."""
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
    """Why a loss makes the copy less than the source; None where it doesn't."""
    if loss.why in _OF_WHY:
        return _OF_WHY[loss.why]
    if not loss.why.weighs:
        return None
    is_setting = loss.field is not None and loss.kind in ASSISTANT_KINDS
    return Reason.SETTINGS if is_setting else _OF_KIND[loss.kind]
