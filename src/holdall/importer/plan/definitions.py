"""One definition: what its copy refers to, and the step that makes it, once that is there. Pure.

Where no server keeps assistants, two files are written down for one, under names that any file system takes:
``<name>-<id>.json`` is the request and nothing else, so that it can be read and sent as it is;
``<name>-<id>.about.json`` is what has no place in it: who it was, which ids of the copy stand for which, what is lost.
Both are JSON and nothing is ever written as code: names, instructions and schemas come out of a bundle that anybody may
have made.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import count
from typing import Any

import msgspec
from msgspec.structs import replace

from holdall.agent_views import FoundryAgentView, TemplateView
from holdall.dialects import prompt_agents
from holdall.dialects.loss import Loss, Why
from holdall.dialects.prompt_agents import PROMPT, VERSIONS, impossible
from holdall.dialects.registry import definition
from holdall.dialects.responses import RESPONSES
from holdall.dialects.rules import Form, Table, Targets
from holdall.dialects.templates import FILES as TEMPLATE_FILES
from holdall.errors import pasteable
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.choices import Choices, OnConflict
from holdall.importer.plan.difference import NOTHING, By, Existing, FoundFile, top_fields
from holdall.importer.plan.skill_steps import NO_SKILLS, SkillReferences, referred
from holdall.importer.plan.steps import CREATE, UPDATE, Adopt, LeaveOut, Step, WriteRequest
from holdall.importer.plan.template_supply import without_supplied
from holdall.kinds import KINDS
from holdall.model import AssistantView, DefinitionView, Fidelity, Kind, Record, SourceId, StoreView, TargetId
from holdall.safe_files import MAX_NAME, numbered, safe_name
from holdall.selection import Root
from holdall.spilling import Taken

FOLDER = "responses"
"""Where they lie, in OUTPUT_DIR."""

ABOUT = ".about.json"
"""What the name of the second file ends in."""

_VERSION = 1

_REQUEST = ".json"
_NEW = ".new"
# So that a number fits behind the longest ending.
_LONGEST = MAX_NAME - len(f"{ABOUT}{_NEW}-99")
_LONGEST_ID = 48


class CopyReferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy of a definition refers to, by the source's ids, and what it can't refer to."""

    stores: list[SourceId]
    files: list[SourceId]
    skills: SkillReferences
    left_out: list[LeaveOut]


def references(
    view: DefinitionView, summary: BundleSummary, intact: Container[SourceId], table: Table
) -> CopyReferences:
    """What the copy of an assistant will refer to, within the limits of ``table``. Files in ``intact`` exist already,
    with their bytes."""
    stores, lost_stores = _stores_of(view, summary, table)
    files, lost_files = _files_of(view, summary, intact, table)
    skills = referred(view, summary.skill_versions) if isinstance(view, TemplateView) else NO_SKILLS
    lost = [*lost_stores, *lost_files]
    for (skill, _), why in skills.left_out.items():
        version = next(iter(summary.skill_versions.get(skill, ())), None)
        root = Root(kind=Kind.SKILL, id=skill, name=version.name if version else None)
        lost.append(left_out(root, view.id, why, "skills"))
    return CopyReferences(stores=stores, files=files, skills=skills, left_out=lost)


def _stores_of(view: DefinitionView, summary: BundleSummary, table: Table) -> tuple[list[SourceId], list[LeaveOut]]:
    stores: list[SourceId] = []
    lost: list[LeaveOut] = []
    field = "tool_resources.file_search"
    wanted = list(dict.fromkeys(view.store_ids))
    # What an agent has in one project of Foundry, it may have in another.
    most = max(table.stores, len(wanted)) if isinstance(view, FoundryAgentView) else table.stores
    for store in wanted:
        # Where the limit cuts off, the first stay: the order is the definition's own.
        record = summary.stores.get(store)
        root = Root(kind=Kind.STORE, id=store, name=store_name(record) if record else None)
        if record is None:
            lost.append(left_out(root, view.id, "not in the bundle", field))
        elif len(stores) == most:
            why = f"the destination allows {most} of its {len(wanted)} vector stores"
            why += f"; import it separately with --only {pasteable(store)}"
            lost.append(left_out(root, view.id, why, field, recorded=False))
        else:
            stores.append(store)
    return stores, lost


def _files_of(
    view: DefinitionView, summary: BundleSummary, intact: Container[SourceId], table: Table
) -> tuple[list[SourceId], list[LeaveOut]]:
    files: list[SourceId] = []
    lost: list[LeaveOut] = []
    is_template = isinstance(view, TemplateView)
    field, most = ("files", TEMPLATE_FILES) if is_template else ("tool_resources.code_interpreter", table.files)
    user = "environment" if is_template else "code interpreter"
    wanted = list(dict.fromkeys(view.file_ids))
    for file in wanted:
        content = summary.content(file)
        if not content.fidelity.is_bytes and file not in intact:
            why = content.reason
            if content.fidelity is Fidelity.TEXT:
                why = f"text only; the {user} needs the original"
            lost.append(left_out(file_root(content), view.id, why, field))
        elif len(files) == most:
            why = f"the destination allows {most} of its {len(wanted)} {user} files"
            lost.append(left_out(file_root(content), view.id, why, field, recorded=False))
        else:
            files.append(file)
    return files, lost


def and_earlier(refers: CopyReferences, others: Iterable[CopyReferences]) -> CopyReferences:
    """The references of an agent with those of its earlier versions."""
    found = [refers, *others]
    lost = {(one.loss.kind, one.loss.id): one for each in reversed(found) for one in each.left_out}
    return replace(
        refers,
        stores=list(dict.fromkeys(store for each in found for store in each.stores)),
        files=list(dict.fromkeys(file for each in found for file in each.files)),
        left_out=list(lost.values()),
    )


def intact(files: Mapping[SourceId, FoundFile], summary: BundleSummary) -> set[SourceId]:
    """Those of the existing ``files`` that can stand for the file itself: a copy made of its parsed text can't."""
    return {
        id
        for id, found in files.items()
        if found.by is By.ORIGIN or (id in summary.files and summary.files[id].fidelity is not Fidelity.TEXT)
    }


def store_name(record: Record) -> str | None:
    return StoreView.of(record).name


def left_out(thing: Root, inside: str, why: str, field: str | None = None, *, recorded: bool = True) -> LeaveOut:
    """``recorded``: it is missing from the bundle, whatever the destination takes."""
    loss = Loss(
        why=Why.LEFT_OUT,
        kind=thing.kind,
        id=thing.id,
        name=thing.name,
        inside=SourceId(inside),
        field=field,
        text=f"left out: {why}",
        recorded=recorded,
    )
    return LeaveOut(loss=loss)


def file_root(content: Content) -> Root:
    return Root(kind=Kind.FILE, id=content.id, name=content.filename)


class DefinitionSteps:
    """The steps of one planning, for all definitions of a bundle, chosen or not."""

    def __init__(self, summary: BundleSummary, prefix: str, choices: Choices, existing: Existing) -> None:
        self._records = summary.by_id()
        self._prefix, self._choices, self._existing = prefix, choices, existing
        self._paths = paths(summary.assistants, prefix) if choices.form is Form.RESPONSES else {}
        self._names = agent_names(summary, prefix, choices.form, existing)
        self._versions = summary.versions

    def step(self, root: Root, view: DefinitionView, refers: CopyReferences) -> Step:
        """The step of the definition itself: it is created, updated or adopted. For the Responses API an assistant is
        written as a request, unless that exists already."""
        if root.kind is Kind.ASSISTANT and self._choices.form is Form.RESPONSES:
            written = self._existing.requests.get(root.id)
            if written and written.equal:
                return _adopt(root, written.path, By.WRITTEN, refers)
            return WriteRequest(
                **self._copy(root, view, refers),
                path=self._paths[root.id],
                beside=written.path if written and written.beside else None,
                replace=self._choices.on_conflict is not OnConflict.DUPLICATE,
                stores=refers.stores,
                files=refers.files,
            )
        found = self._existing.whole(root.kind).get(root.id)
        if found and not found.differences:
            return _adopt(root, found.target, found.by, refers)
        step = self._copy(root, view, refers)
        # Of what refers to nothing, the step has no such fields.
        if root.kind is Kind.TEMPLATE:
            supplied = sorted(self._choices.supplied.get(root.id, ()))
            step.update(files=refers.files, skills=refers.skills.skills, supplied=supplied)
        elif refers.stores or refers.files:
            step.update(stores=refers.stores, files=refers.files)
        if found is None:
            if root.kind is Kind.FOUNDRY_AGENT:
                versions, losses = self._earlier(root)
                step.update(agent=self._names[root.id], versions=versions, losses=[*step["losses"], *losses])
            return CREATE[root.kind](**step)
        if root.kind is Kind.FOUNDRY_AGENT:
            step.update(latest=found.latest, pinned=found.pinned)
        fields, differences = top_fields(found.differences), found.differences
        return UPDATE[root.kind](**step, target=found.target, fields=fields, differences=differences)

    def _earlier(self, root: Root) -> tuple[dict[SourceId, str | None], list[Loss]]:
        """The earlier versions of an agent that can be made, with their models, and the loss of the others."""
        made: dict[SourceId, str | None] = {}
        lost: list[Loss] = []
        views = self._versions.get(root.id, {})
        for place, (id, view) in enumerate(views.items(), 1):
            latest = view.versions.latest
            if len(views) - place >= VERSIONS - 1:
                why = f"the destination allows {VERSIONS} versions"
            elif latest.definition.kind != PROMPT:
                why = f"it is a {latest.definition.kind} agent"
            elif view.model is None:
                why = "no model, which is required"
            elif view.model in self._choices.missing:
                why = f"model {self._choices.missing[view.model]}"
            else:
                made[id] = self._choices.models.rule(view.model) or view.model
                continue
            text = f"version {latest.version} left out: {why}"
            lost.append(Loss(why=Why.LEFT_OUT, kind=root.kind, id=root.id, name=root.name, field="versions", text=text))
        return made, lost

    def impossible(self, root: Root, view: DefinitionView) -> str:
        """Why a copy can't be made; empty if it can."""
        found = self._existing.whole(root.kind).get(root.id)
        # Asked is what would be made. What is there keeps its model, though that may be gone by now.
        if found and "model" not in top_fields(found.differences):
            return ""
        written = self._existing.requests.get(root.id) if root.kind is Kind.ASSISTANT else None
        if written and written.equal:
            return ""
        record = self._records[root.kind][root.id]
        if root.kind is Kind.FOUNDRY_AGENT:
            if self._choices.form is not Form.FOUNDRY:
                return "only Foundry has such agents: --as foundry"
            if reason := impossible(record):
                return reason
        if view.model is not None and view.model in self._choices.missing:
            return f"model {self._choices.missing[view.model]}"
        return "no model, which is required" if KINDS[root.kind].needs_model and not view.model else ""

    def _copy(self, root: Root, view: DefinitionView, refers: CopyReferences) -> dict[str, Any]:
        """The fields of any step that makes a copy."""
        record, new = self._records[root.kind][root.id], self._choices.models.rule(view.model)
        # The dialect is asked with the source's own ids: what it loses doesn't depend on what the ids become.
        stores, files = ({id: TargetId(id) for id in ids} for ids in (refers.stores, refers.files))
        targets = Targets(
            stores=stores,
            files=files,
            names=self._names,
            connections=self._choices.connections,
            skills={id: TargetId(id) for id in refers.skills.skills},
            versions={pinned: pinned[1] for pinned in refers.skills.versions},
        )
        request = definition(record, prefix=self._prefix, targets=targets, model=new, table=self._choices.table)
        supplied = self._choices.supplied.get(root.id)
        losses = without_supplied(request.losses, supplied) if supplied else [*request.losses]
        if new is not None and new != view.model:
            text = f"{view.model} replaced by {new} (--map-model)"
            loss = Loss(why=Why.MODEL_MAPPED, kind=root.kind, id=root.id, name=root.name, field="model", text=text)
            losses.append(loss)
        return {"id": root.id, "name": root.name, "model": new or view.model, "losses": losses}


def agent_names(summary: BundleSummary, prefix: str, form: Form, existing: Existing = NOTHING) -> dict[SourceId, str]:
    """The names of agents of Foundry by the source's ids, whatever is selected: those of the copies that are there, and
    others that nobody has."""
    if form is not Form.FOUNDRY:
        return {}
    found: dict[SourceId, str] = {id: copy.target for id, copy in existing.whole(Kind.FOUNDRY_AGENT).items()}
    wanted = prompt_agents.agent_names(summary.records(Kind.FOUNDRY_AGENT), prefix, others=existing.agents)
    return {**wanted, **found}


def _adopt(root: Root, target: TargetId, by: By, refers: CopyReferences) -> Adopt:
    return Adopt(
        kind=root.kind,
        id=root.id,
        target=target,
        name=root.name,
        by=by,
        stores=refers.stores,
        files=refers.files,
        skills=refers.skills.skills,
    )


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The two files of one assistant, by their bytes."""

    request: bytes
    about: bytes


def paths(assistants: Iterable[Record], prefix: str) -> dict[SourceId, str]:
    """The path of each assistant's request, below OUTPUT_DIR, with ``/``. The same for all selections of a bundle."""
    taken = Taken()
    found: dict[SourceId, str] = {}
    for record in assistants:
        name = AssistantView.of(record).name
        stem = _stem(prefix + name if name else "", record.id)
        for number in count(1):
            one = numbered(stem, number, limit=_LONGEST)
            # Both names, because of two assistants one may be called what the other's second file is.
            if taken.add(one + _REQUEST) and taken.add(one + ABOUT):
                found[record.id] = f"{FOLDER}/{one}{_REQUEST}"
                break
    return found


def candidates(path: str) -> Iterator[tuple[str, str]]:
    """The paths of a request and of what is about it, in the order in which they are tried: the last one is free."""
    about = path.removesuffix(_REQUEST) + ABOUT
    yield path, about
    for number in count(1):
        ending = _NEW if number == 1 else f"{_NEW}-{number}"
        yield path + ending, about + ending


def compose(
    record: Record,
    path: str,
    *,
    prefix: str,
    model: str | None,
    targets: Targets,
    losses: Iterable[Loss],
    destination: Mapping[str, str | None],
) -> Pair:
    """The two files. ``losses`` are those that the plan knows, ``targets`` what the request refers to."""
    draft = definition(record, prefix=prefix, targets=targets, model=model, table=RESPONSES)
    about: dict[str, Any] = {
        "holdall_about": _VERSION,
        "request": path.rpartition("/")[2],
        **draft.kept,
        "destination": dict(destination),
        "vector_stores": dict(targets.stores),
        "files": dict(targets.files),
        "losses": [{"severity": loss.why.severity.value, **msgspec.to_builtins(loss)} for loss in losses],
        "left_out": draft.left_out,
    }
    return Pair(request=_document(draft.body), about=_document(about))


def sha256_of(data: bytes) -> str:
    return sha256(data).hexdigest()


def _document(value: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _stem(name: str, id: str) -> str:
    tail = safe_name(id, limit=_LONGEST_ID)
    if not name:
        return tail
    return safe_name(f"{safe_name(name, limit=_LONGEST - len(tail.encode()) - 1)}-{tail}", limit=_LONGEST)
