"""The steps of a plan in words, behind a sign of what is done: + create, ~ update, = keep, - remove, ! cannot.

A unit is one line by default; with ``--verbose``, and under ``--json``, one for each of its steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holdall.cli.console import counted, flat, human_size
from holdall.cli.views import NAMED, show_first
from holdall.dialects.loss import Loss
from holdall.importer.verbs.import_bundle import Difference, Unit, steps
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, noun
from holdall.legible import shortened
from holdall.model import Kind

# The signs; units are shown in the order of SIGNS.
CANNOT, UPDATE, CREATE, KEEP, REMOVE = "!", "~", "+", "=", "-"
SIGNS = CANNOT + UPDATE + CREATE + KEEP
# Columns of a name in a line that is to fit a terminal, and of the rest behind it.
_NAME, _REST = 28, 200
_WORDS = {UPDATE: "update", CREATE: "create", KEEP: "keep"}
_SINGLE = ("request", *(noun(kind) for kind in DEFINITIONS if kind is not Kind.STORE))


def unit_line(unit: Unit, prefix: str) -> str:
    """What is done for one unit, counted, in a line that begins with its sign."""
    tally = _Tally(unit.steps, prefix)
    counts = tally.counts
    is_new = counts[CREATE].keys() & {"request", noun(unit.kind)}
    changes = counts[UPDATE] or counts[CREATE]
    sign = CANNOT if tally.problems else CREATE if is_new else UPDATE if changes else KEEP
    said = {
        CREATE: _amounts(counts[CREATE], {"file": [human_size(tally.size)], noun(unit.kind): tally.called}),
        UPDATE: _amounts(counts[UPDATE], tally.updated),
        KEEP: _amounts(counts[KEEP], {}),
    }
    others = ((said[one], word) for one, word in _WORDS.items() if one != sign)
    parts = [*tally.problems, said.get(sign, ""), tally.served, *(f"{word} {text}" for text, word in others if text)]
    name = shortened(flat(written_name(unit.name, unit.kind, prefix)), _NAME) or unit.id
    return f"{sign} {name}: {shortened(flat('; '.join(filter(None, parts))), _REST)}"


class _Tally:
    """The steps of one unit, counted by sign and noun, and what its line says besides.

    ``size`` is in bytes, of the files to upload; ``updated`` are the fields that change, by noun; ``called`` the names
    of agents that are not those of the bundle; ``served`` is what becomes of the version that an agent serves.
    """

    def __init__(self, found: Iterable[steps.Step], prefix: str) -> None:
        self.counts: dict[str, Counter[str]] = {sign: Counter() for sign in SIGNS}
        self.size = 0
        self.updated: dict[str, list[str]] = {}
        self.called: list[str] = []
        self.served = ""
        self.problems: list[str] = []
        for step in found:
            self._add(step, prefix)

    def _add(self, step: steps.Step, prefix: str) -> None:
        match step:
            case steps.UploadFile(content=content):
                self.counts[CREATE]["file"] += 1
                self.size += content.stored
            case steps.CreateStore(kind=kind) | steps.CreateDefinition(kind=kind):
                self.counts[CREATE][noun(kind)] += 1
                if isinstance(step, steps.CreateFoundryAgent) and step.agent != f"{prefix}{step.name or ''}":
                    self.called.append(f"as {step.agent}")
            case steps.WriteRequest():
                self.counts[CREATE]["request"] += 1
            case steps.Adopt(kind=kind) | steps.Skip(kind=kind):
                self.counts[KEEP][noun(kind)] += 1
            case steps.UpdateDefinition(kind=kind, differences=found) | steps.UpdateStore(kind=kind, differences=found):
                self.counts[UPDATE][noun(kind)] += 1
                self.updated.setdefault(noun(kind), []).extend(_fields(found))
                self.served = _served(step) or self.served
            case steps.Differs(kind=kind, differences=found):
                self.problems.append(f"{noun(kind)} differs there{_noted(_fields(found))}")
            case steps.Cannot(reason=reason):
                self.problems.append(f"can't be created: {reason}")
            case _:
                pass  # part of a store, or of what is lost


def _served(step: steps.Step) -> str:
    """What becomes of the version that an agent of Foundry serves."""
    if not isinstance(step, steps.UpdateFoundryAgent):
        return ""
    if step.pinned:
        return f"pinned to version {step.pinned}: the new version is not served"
    return "new version, live at once"


def _fields(found: Iterable[Difference]) -> list[str]:
    return [("versions" if one.kind is Kind.SKILL_VERSION else "files") if one.inside else one.top for one in found]


def _noted(notes: Iterable[str]) -> str:
    found = list(dict.fromkeys(notes))
    return f" ({', '.join([*found[:NAMED], *(['…'] if found[NAMED:] else [])])})" if found else ""


def _amounts(counts: Counter[str], notes: Mapping[str, list[str]]) -> str:
    """``assistant, 1 vector store, 12 files (2.3 MB)``; a unit has one assistant, which needs no number."""
    return ", ".join(
        (what if what in _SINGLE and counts[what] == 1 else counted(counts[what], what)) + _noted(notes.get(what, ()))
        for what in (*_SINGLE, noun(Kind.STORE), noun(Kind.FILE))
        if counts[what]
    )


def unit_steps(unit: Unit, prefix: str) -> Iterator[str]:
    """What is done for one unit, a line a step; files that are there are counted."""
    adopted = [step for step in unit.steps if isinstance(step, steps.Adopt) and step.kind is Kind.FILE]
    for step in unit.steps:
        if not (isinstance(step, steps.Adopt) and step.kind is Kind.FILE):
            yield from map(flat, step_lines(step, prefix))
        elif step is adopted[0]:
            by = ", ".join(dict.fromkeys(each.by for each in adopted))
            yield flat(f"{KEEP} adopt {counted(len(adopted), 'file')} by {by}")


def step_lines(step: steps.Step, prefix: str = "") -> list[str]:
    """One step, with what it changes or loses below it; names are those that will be written."""
    # One function, as it is a table: a case for each kind of step, with its words.

    def who(kind: Kind | None = None) -> str:
        its: Any = step
        kind = kind or its.kind
        return f"{noun(kind)} {written_name(its.name, kind, prefix) or 'without a name'} ({its.id})"

    match step:
        case steps.UploadFile(content=content):
            size = human_size(content.stored)
            what = f"{content.copy_names()[0]}, {size}, {content.fidelity}"
            return [f"{CREATE} upload file {what}, purpose {step.purpose}"]
        case steps.CreateStore():
            return [f"{CREATE} create {who()}", *_lost(step.losses)]
        case steps.AttachFiles():
            return [f"{CREATE} attach {counted(step.count, 'file')} to {step.store}"]
        case steps.CreateDefinition():
            return [f"{CREATE} create {who()}{_with(step)}", *_lost(step.losses)]
        case steps.WriteRequest(path=path):
            why = "was changed, or belongs to another destination"
            where = f"{step.beside}, for {path} {why}" if step.beside else path
            return [f"{CREATE} write {who()}, model {step.model}, to {where}", *_lost(step.losses)]
        case steps.Adopt():
            return [f"{KEEP} adopt {who()} as {step.target}, by {step.by}"]
        case steps.Skip():
            return [f"{KEEP} skip {who()}, there as {step.target}:", *_differences(step.differences)]
        case steps.Differs():
            since = f"; changed since the last run: {', '.join(step.changed)}" if step.changed else ""
            return [f"{CANNOT} differs: {who()}, there as {step.target}{since}:", *_differences(step.differences)]
        case steps.UpdateDefinition() | steps.UpdateStore():
            changes = [*_differences(step.differences), *_lost(step.losses)]
            served = f" ({text})" if (text := _served(step)) else ""
            return [f"{UPDATE} update {who()}, there as {step.target}{served}:", *changes]
        case steps.UpdateMembership():
            return [f"{UPDATE} set the attributes of {step.name or step.file} in {step.store}"]
        case steps.DetachFile():
            return [f"{REMOVE} remove {step.name or step.target} from {step.store}: {step.why}"]
        case steps.LeaveOut():
            return [f"{CANNOT} {step.loss}"]
        case steps.Cannot():
            return [f"{CANNOT} can't create {step.id}: {step.reason}"]


def _with(step: steps.CreateDefinition) -> str:
    """The model of a definition, or how many versions a skill has."""
    if isinstance(step, steps.CreateSkill):
        return f", {counted(len(step.versions), 'version')}"
    return f", model {step.model}" if KINDS[step.kind].has_model else ""


def written_name(name: str | None, kind: Kind, prefix: str) -> str:
    """The name that the copy gets: only definitions that have a model get the prefix."""
    return f"{prefix}{name}" if name and kind in ASSISTANT_KINDS else name or ""


def _differences(found: list[Difference]) -> list[str]:
    lines: list[str] = []
    show_first(lines.append, (difference.told() for difference in found), len(found), indent="  ")
    return lines


def _lost(losses: list[Loss]) -> list[str]:
    """What an assistant loses, field by field."""
    return [f"  {loss.why.severity}: {f'{loss.field}: ' if loss.field else ''}{loss.text}" for loss in losses]
