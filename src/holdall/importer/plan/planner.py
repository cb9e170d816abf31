"""Plans an import step by step, before anything is written; and judges what a destination then has.

Pure: bundle summary and existing objects in, a Plan and its verdict out. The verdict compares a copy with the project
that was exported, and is the one of plan, import, comparison and rehearsal.

Planning is depth first: a unit is one assistant with everything it needs that no earlier unit brings, so that after an
interruption the first half works. What is shared in the source is shared in the copy: one upload, one store. Stores
that no assistant uses come last. What exists at the destination is used, never made a second time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Self

from holdall.bundle.totals import known_reason, reason_of
from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Loss, Why
from holdall.dialects.rules import Form
from holdall.dialects.templates import is_builtin
from holdall.graph import callees_first, users_of
from holdall.importer.plan import steps
from holdall.importer.plan.bundle_summary import AGENTS, BundleSummary, Content, in_form
from holdall.importer.plan.choices import Choices, OnConflict
from holdall.importer.plan.definitions import (
    CopyReferences,
    DefinitionSteps,
    and_earlier,
    file_root,
    intact,
    left_out,
    references,
    store_name,
)
from holdall.importer.plan.difference import NOTHING, By, Difference, Existing, Found, FoundSkill, FoundStore
from holdall.importer.plan.skill_steps import lacking, skill_name, skill_step
from holdall.importer.plan.steps import LONE_FILES, Plan, Step, Unit
from holdall.kinds import ASSISTANT_KINDS, read
from holdall.model import AssistantView, DefinitionView, Fidelity, Kind, SourceId
from holdall.selection import Root, Selection, choose
from holdall.verdict import Count, Reason, Verdict

_NO_CHOICES = Choices()


def plan(
    summary: BundleSummary,
    selection: Selection,
    *,
    prefix: str = "",
    choices: Choices = _NO_CHOICES,
    existing: Existing = NOTHING,
) -> Plan:
    """Plans the import of what ``selection`` chooses. Raises UsageFault for a selection that matches nothing.

    Without ``existing`` the destination is taken to be empty.
    """
    return _Planner(in_form(summary, choices.form), prefix, choices, existing).plan(selection)


class _Planner:
    """One planning, and what it has placed so far: each thing is a step of the first unit that needs it."""

    def __init__(self, summary: BundleSummary, prefix: str, choices: Choices, existing: Existing) -> None:
        self._summary, self._prefix, self._choices, self._existing = summary, prefix, choices, existing
        self._intact = intact(existing.files, summary)
        self._views = {kind: {r.id: read(r) for r in summary.records(kind)} for kind in ASSISTANT_KINDS}
        self._definitions = DefinitionSteps(summary, prefix, choices, existing)
        self._placed_files: set[SourceId] = set()
        self._placed_stores: set[SourceId] = set()
        self._placed_skills: set[SourceId] = set()
        # OpenAI's own are there in every project.
        self._skills = {r.id: r for r in summary.records(Kind.SKILL) if not is_builtin(r.id)}
        self._placed: set[SourceId] = set()

    def plan(self, selection: Selection) -> Plan:
        roots = self._roots()
        chosen = self._chosen(roots, selection) if selection.only or selection.exclude else roots
        units = [_unit(root, self._skill(root)) for root in chosen if root.kind is Kind.SKILL]
        units += [
            self._definition(Root(kind=kind, id=id, name=self._views[kind][id].name))
            for kind in ASSISTANT_KINDS
            for id in callees_first((root.id for root in chosen if self._place(root) is kind), self._views[kind])
        ]
        units += [_unit(root, self._store(root)) for root in chosen if root.kind is Kind.STORE]
        if lone := [root.id for root in chosen if root.kind is Kind.FILE]:
            # One unit for all of them, so that they go up together.
            name = "files that no assistant uses"
            units.append(_unit(Root(kind=Kind.FILE, id=LONE_FILES, name=name), self._lone_files(lone)))
        connections = dict(self._choices.connections) if self._choices.connections else None
        return Plan(
            units=units,
            prefix=self._prefix,
            chosen=len(chosen),
            of=len(roots),
            form=self._choices.form,
            connections=connections,
        )

    def _place(self, root: Root) -> Kind:
        """What kind a root is of at the destination."""
        return Kind.FOUNDRY_AGENT if self._choices.form is Form.FOUNDRY and root.kind in AGENTS else root.kind

    def _chosen(self, roots: list[Root], selection: Selection) -> list[Root]:
        others = [self._store_root(id) for id in self._summary.stores]
        # Not made for nothing: a bundle may have 100,000 files.
        files = map(file_root, self._summary.files.values()) if Kind.FILE in selection.kinds() else ()
        return choose(roots, selection, others=[*others, *files])

    def _roots(self) -> list[Root]:
        """All definitions, and the stores and files that no assistant uses."""
        earlier = [view for versions in self._summary.versions.values() for view in versions.values()]
        users = users_of(chain(*(of_kind.values() for of_kind in self._views.values()), earlier))
        used = {*users.files, *chain.from_iterable(self._summary.members.values())}
        return [
            *(
                # By the kind that it has in the bundle, so that it is selected as that.
                Root(kind=record.kind, id=record.id, name=self._views[kind][record.id].name)
                for kind in ASSISTANT_KINDS
                for record in self._summary.records(kind)
            ),
            *map(self._skill_root, self._skills),
            *(self._store_root(id) for id in self._summary.stores if id not in users.stores),
            *(file_root(content) for id, content in self._summary.files.items() if id not in used),
        ]

    def _store_root(self, id: SourceId) -> Root:
        return Root(kind=Kind.STORE, id=id, name=store_name(self._summary.stores[id]))

    def _skill_root(self, id: SourceId) -> Root:
        return Root(kind=Kind.SKILL, id=id, name=skill_name(self._skills[id]))

    def _skill(self, root: Root) -> Iterator[Step]:
        """The step of a skill and what it lacks, unless an earlier unit has them."""
        if root.id in self._placed_skills:
            return
        self._placed_skills.add(root.id)
        versions, found = self._summary.skill_versions.get(root.id, []), self._existing.skills.get(root.id)
        yield from lacking(root, versions, found)
        if found and found.differences and (unchanged := self._unchanged(root, found)):
            yield unchanged
        else:
            yield skill_step(root, self._skills[root.id], versions, found)

    def _lone_files(self, files: list[SourceId]) -> Iterator[Step]:
        for content in map(self._summary.content, files):
            if self._is_available(content):
                yield from self._file(content)
            else:
                yield left_out(file_root(content), LONE_FILES, content.reason)

    def _definition(self, root: Root) -> Unit:
        view, found = self._views[root.kind][root.id], self._existing.whole(root.kind).get(root.id)
        if found and found.differences and (unchanged := self._unchanged(root, found)):
            return _unit(root, [*self._stores_there(view), unchanged])
        # Nothing of the unit is made then: stores and files that only it needs would be of no use.
        if reason := self._definitions.impossible(root, view):
            return _unit(root, [steps.Cannot(id=root.id, name=root.name, reason=reason)])
        return _unit(root, self._copy(root, view, found))

    def _copy(self, root: Root, view: DefinitionView, found: Found | None) -> Iterator[Step]:
        """What a definition needs, and last the definition itself."""
        refers = self._references(view)
        if root.kind is Kind.FOUNDRY_AGENT and found is None:
            earlier = self._summary.versions.get(root.id, {}).values()
            refers = and_earlier(refers, map(self._references, earlier))
        for store in refers.stores:
            yield from self._store(self._store_root(store))
        for file in refers.files:
            yield from self._file(self._summary.content(file))
        for skill in refers.skills.skills:
            yield from self._skill(self._skill_root(skill))
        yield from refers.left_out
        views, there = self._views[root.kind], self._existing.whole(root.kind)
        for callee in view.assistant_ids:
            if callee in views and callee not in self._placed and callee not in there:
                why = "the two call each other, and neither can be created first"
                yield left_out(Root(kind=root.kind, id=callee), root.id, why, "tools", recorded=False)
        self._placed.add(root.id)
        # What a copy lacks is said of one that was there before, too.
        yield from _unkept(found)
        yield self._definitions.step(root, view, refers)

    def _references(self, view: DefinitionView) -> CopyReferences:
        return references(view, self._summary, self._intact, self._choices.table)

    def _unchanged(self, root: Root, found: Found) -> Step | None:
        """The step for something that differs and won't be updated; None if it will."""
        choices = self._choices
        there: dict[str, Any] = {"kind": root.kind, "id": root.id, "target": found.target, "name": root.name}
        if isinstance(found, FoundSkill):
            there["versions"] = found.numbers
        if choices.on_conflict is OnConflict.SKIP:
            return steps.Skip(**there, differences=found.differences)
        changed = [] if choices.even_if_changed else [*found.changed]
        if choices.on_conflict is OnConflict.UPDATE:
            # Files that others have put in are theirs to take out.
            if isinstance(found, FoundStore) and choices.delete and not choices.even_if_changed:
                changed += found.added
            if not changed:
                return None
        return steps.Differs(**there, differences=found.differences, changed=changed)

    def _stores_there(self, view: DefinitionView) -> Iterator[Step]:
        """The existing stores of an assistant that is left as it is; nothing is created for it."""
        for store in dict.fromkeys(view.store_ids):
            if store in self._existing.stores:
                yield from self._store(self._store_root(store))

    def _store(self, root: Root) -> Iterator[Step]:
        """The steps of a store, unless an earlier unit has them."""
        if root.id in self._placed_stores:
            return
        self._placed_stores.add(root.id)
        found = self._existing.stores.get(root.id)
        if found is None:
            yield from self._create_store(root)
            return
        yield from _unkept(found)
        for content in self._summary.contents(root.id):
            if content.id in self._existing.files:
                yield from self._file(content)
        if found.differences and (unchanged := self._unchanged(root, found)):
            yield unchanged
            return
        yield from self._left_out_of(root.id)
        if found.differences:
            yield from self._update_store(root, found)
        else:
            yield steps.Adopt(kind=Kind.STORE, id=root.id, target=found.target, name=root.name, by=found.by)

    def _create_store(self, root: Root) -> Iterator[Step]:
        yield from self._left_out_of(root.id)
        count = 0
        for content in filter(self._is_available, self._summary.contents(root.id)):
            count += 1
            yield from self._file(content)
        yield steps.CreateStore(id=root.id, name=root.name, losses=self._store_losses(root.id))
        if count:
            yield steps.AttachFiles(store=root.id, count=count)

    def _update_store(self, root: Root, found: FoundStore) -> Iterator[Step]:
        """Only what differs. Files are attached before others are detached, except those that are attached again."""
        incoming = [*found.missing, *found.replaced]
        for file in incoming:
            yield from self._file(self._summary.content(file))
        losses = [*self._store_losses(root.id), *(() if self._choices.delete else _kept(root, found))]
        yield steps.UpdateStore(
            id=root.id,
            target=found.target,
            name=root.name,
            fields=found.fields,
            differences=found.differences,
            losses=losses,
        )
        detach = partial(steps.DetachFile, store=root.id)
        # A store that has a file already doesn't index it again: it goes out first.
        for file, target in found.recut.items():
            yield detach(target=target, name=self._summary.content(file).filename, why="must be indexed again")
        if files := [*incoming, *found.recut]:
            yield steps.AttachFiles(store=root.id, count=len(files), files=files)
        for file, (target, attributes) in found.relabelled.items():
            if file not in found.recut:
                name = self._summary.content(file).filename
                yield steps.UpdateMembership(store=root.id, file=file, target=target, name=name, attributes=attributes)
        # After the new copy is in, so that the store is never without the file.
        for file, target in found.replaced.items():
            yield detach(target=target, name=self._summary.content(file).filename, why="different content")
        for extra in found.extras if self._choices.delete else ():
            yield detach(target=extra.target, name=extra.name, why="not in the store in the bundle")

    def _store_losses(self, store: SourceId) -> list[Loss]:
        request = dialect.store(self._summary.stores[store], operation="")
        return [*request.losses, *self._summary.unfit.get(store, ())]

    def _is_available(self, content: Content) -> bool:
        return content.fidelity is not Fidelity.UNAVAILABLE or content.id in self._existing.files

    def _left_out_of(self, store: SourceId) -> Iterator[steps.LeaveOut]:
        """The files of a store that are neither in the bundle nor at the destination."""
        for content in self._summary.contents(store):
            if not self._is_available(content):
                yield left_out(file_root(content), store, content.reason)

    def _file(self, content: Content) -> Iterator[Step]:
        """Uploads or adopts a file, unless an earlier step does."""
        if content.id in self._placed_files:
            return
        self._placed_files.add(content.id)
        if found := self._existing.files.get(content.id):
            name = found.name or content.filename
            yield steps.Adopt(kind=Kind.FILE, id=content.id, target=found.target, name=name, by=found.by)
        else:
            yield steps.UploadFile(content=content, purpose=self._choices.table.purpose or _purpose(content))


def _unit(root: Root, its_steps: Iterable[Step]) -> Unit:
    # The files first, because uploads run side by side; sorted() keeps the order of the rest.
    return Unit(kind=root.kind, id=root.id, name=root.name, steps=sorted(its_steps, key=_comes_later))


def _comes_later(step: Step) -> bool:
    return not (isinstance(step, steps.UploadFile) or (isinstance(step, steps.Adopt) and step.kind is Kind.FILE))


def _purpose(content: Content) -> str:
    purpose = dialect.purpose(content.purpose)
    # A document made of parsed text is knowledge, whatever the file was; vision and batch would refuse a .txt.
    return purpose if content.fidelity is not Fidelity.TEXT or purpose == "user_data" else "assistants"


def _unkept(found: Found | None) -> Iterator[steps.LeaveOut]:
    """What an existing copy lacks because this destination didn't keep it."""
    for one in found.unkept if found else ():
        loss = Loss(
            why=Why.NOT_KEPT,
            kind=one.kind if one.inside is None else Kind.FILE,
            id=one.source,
            name=one.name,
            inside=one.inside,
            field=one.field,
            text=f"changed by the destination in an earlier import: {one.values()}",
        )
        yield steps.LeaveOut(loss=loss)


def _kept(root: Root, found: FoundStore) -> Iterator[Loss]:
    """The files of an existing store that the bundle's store doesn't have, and that stay."""
    for extra in found.extras:
        text = f"{extra.name or extra.target} is not in the bundle; kept (--delete removes it)"
        yield Loss(why=Why.KEPT, kind=Kind.STORE, id=root.id, name=root.name, field="files", text=text)


# -- the verdict ---------------------------------------------------------------------------------------

_REASON_OF_KIND = {
    Kind.FILE: Reason.FILES,
    Kind.MEMBERSHIP: Reason.FILES,
    Kind.STORE: Reason.STORES,
    **dict.fromkeys(ASSISTANT_KINDS, Reason.ASSISTANTS),
    **dict.fromkeys((Kind.SKILL, Kind.TEMPLATE), Reason.RECORDS),
    # The bundle counts the zip of one as a content.
    Kind.SKILL_VERSION: Reason.FILES,
}
# Any other loss is counted by what it happened to.
_REASON_OF_WHY = {
    **dict.fromkeys((Why.UNFIT_VALUE, Why.OVER_LIMIT, Why.MODEL_REFUSES), Reason.DETAILS),
    **dict.fromkeys((Why.NOT_KEPT, Why.LEFT_ALONE), Reason.DIFFERENT),
    Why.TRUNCATED: Reason.TEXTS_CUT,
    Why.JOINED_DOUBTFULLY: Reason.DOUBTFUL,
    Why.NOT_INDEXED: Reason.NOT_INDEXED,
    Why.NEVER_SHOWN: Reason.TEMPLATES,
}
# A thing that is lost for one of these reasons counts once, whoever lacks it.
_COUNTED_BY_ID = frozenset(
    {Reason.FILES, Reason.STORES, Reason.TEXTS_CUT, Reason.DOUBTFUL, Reason.ASSISTANTS, Reason.TEMPLATES}
)
_ABOUT_CONTENT = frozenset({Reason.TEXTS_CUT, Reason.DOUBTFUL})


class _Lack(NamedTuple):
    """Something that isn't as the source had it. ``what`` identifies it, ``place`` is the thing that lacks it or is
    missing itself. ``recorded``: the bundle records it as lost."""

    reason: Reason
    what: object
    place: str
    recorded: bool = False

    @classmethod
    def of(cls, reason: Reason, id: str, inside: str | None, field: str | None, *, recorded: bool = False) -> Self:
        what = id if reason in _COUNTED_BY_ID else (id, inside, field)
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
            originals={step.id for step in plan.steps() if isinstance(step, steps.Adopt) and step.by is By.ORIGIN},
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
            if (reason := _reason_of_loss(loss)) and not (loss.id in originals and reason in _ABOUT_CONTENT)
        ]
        found += [_Lack(_REASON_OF_KIND[kind], id, id) for kind, id in failed]
        found += [_Lack.of(_reason_of_difference(one), one.source, one.inside, one.field) for one in differences]
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
                what = line.id if reason in _COUNTED_BY_ID else (line.kind, line.id, line.message)
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


def _reason_of_loss(loss: Loss) -> Reason | None:
    """Why a loss makes the copy less than the source; None where it doesn't."""
    if loss.why in _REASON_OF_WHY:
        return _REASON_OF_WHY[loss.why]
    if not loss.why.weighs:
        return None
    is_setting = loss.field is not None and loss.kind in ASSISTANT_KINDS
    return Reason.SETTINGS if is_setting else _REASON_OF_KIND[loss.kind]


def _reason_of_difference(one: Difference) -> Reason:
    """The reason of a difference: the thing is missing, is not indexed, lacks a tool or its files, or differs."""
    if one.absent:
        return _REASON_OF_KIND[one.kind]
    if one.kind is Kind.MEMBERSHIP and one.field == "status":
        return Reason.NOT_INDEXED
    if one.field in ("tools", "tool_resources") and _is_short_of(one.destination, one.bundle):
        return Reason.SETTINGS
    return Reason.DIFFERENT


def _is_short_of(there: Any, here: Any) -> bool:
    """Whether ``here`` has something, at any depth, of which ``there`` has nothing."""
    if isinstance(here, dict):
        there = there if isinstance(there, dict) else {}
        return any(_is_short_of(there.get(key), value) for key, value in here.items())
    if isinstance(here, list):
        return len(here) > len(there if isinstance(there, list) else [])
    return here is not None and there is None
