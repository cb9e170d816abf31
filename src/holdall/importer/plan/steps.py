"""A plan: its steps and what each of them loses, its units, and its cost. Pure values.

The steps are a tagged union: whoever carries out, prints or keeps a plan matches over all of them. The steps that
create or update a definition have a class for each kind, for its tag, with what is particular to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from math import ceil
from typing import Any, ClassVar

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.rules import Form
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.difference import By, Difference
from holdall.kinds import KINDS
from holdall.model import Fidelity, Kind, SourceId, TargetId

LONE_FILES = SourceId("files")
"""Stands for the files that nothing refers to, where something has to have an id."""


class CreateDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """Create an object of a kind that one request copies; each kind has a class, for its tag."""

    kind: ClassVar[Kind]
    id: SourceId
    name: str | None
    model: str | None
    losses: list[Loss] = []


class CreateAssistant(CreateDefinition, frozen=True, kw_only=True, tag="create_assistant"):
    """``stores`` and ``files`` are the references that will be kept."""

    kind = Kind.ASSISTANT
    stores: list[SourceId] = []
    files: list[SourceId] = []


class CreateAgent(CreateDefinition, frozen=True, kw_only=True, tag="create_agent"):
    kind = Kind.AGENT


class CreateTemplate(CreateDefinition, frozen=True, kw_only=True, tag="create_environment_template"):
    """``skills`` are the references that will be kept, ``supplied`` the fields whose values the owner supplies."""

    kind = Kind.TEMPLATE
    files: list[SourceId] = []
    skills: list[SourceId] = []
    supplied: list[str] = []


class CreateSkill(CreateDefinition, frozen=True, kw_only=True, tag="create_skill"):
    """Create the skill with the first of its ``versions``, add the others, and set the ``default`` one."""

    kind = Kind.SKILL
    versions: list[SourceId]
    default: SourceId


class CreateFoundryAgent(CreateDefinition, frozen=True, kw_only=True, tag="create_foundry_agent"):
    """``agent`` is the name that it gets, which is its id; ``versions`` are the source's earlier ones, oldest first,
    that are made before the latest, each with its model there."""

    kind = Kind.FOUNDRY_AGENT
    agent: str
    versions: dict[SourceId, str | None] = {}
    stores: list[SourceId] = []
    files: list[SourceId] = []


class UpdateDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """Set ``fields`` of ``target`` to what the bundle says. The rest is as in CreateDefinition."""

    kind: ClassVar[Kind]
    id: SourceId
    target: TargetId
    name: str | None
    model: str | None
    fields: list[str]
    differences: list[Difference]
    losses: list[Loss] = []


class UpdateAssistant(UpdateDefinition, frozen=True, kw_only=True, tag="update_assistant"):
    kind = Kind.ASSISTANT
    stores: list[SourceId] = []
    files: list[SourceId] = []


class UpdateAgent(UpdateDefinition, frozen=True, kw_only=True, tag="update_agent"):
    kind = Kind.AGENT


class UpdateTemplate(UpdateDefinition, frozen=True, kw_only=True, tag="update_environment_template"):
    kind = Kind.TEMPLATE
    files: list[SourceId] = []
    skills: list[SourceId] = []
    supplied: list[str] = []


class UpdateSkill(UpdateDefinition, frozen=True, kw_only=True, tag="update_skill"):
    """Add ``versions`` to those that are ``there`` already, by their numbers there, and set the ``default`` one."""

    kind = Kind.SKILL
    there: dict[SourceId, str]
    versions: list[SourceId]
    default: SourceId


class UpdateFoundryAgent(UpdateDefinition, frozen=True, kw_only=True, tag="update_foundry_agent"):
    """Make a version after the ``latest``, which is served at once, unless another is ``pinned`` by the agent's
    settings."""

    kind = Kind.FOUNDRY_AGENT
    latest: str | None = None
    pinned: str | None = None
    stores: list[SourceId] = []
    files: list[SourceId] = []


# The tags stand in the plans of unfinished runs, so a kind keeps the class that it has.
CREATE: Mapping[Kind, type[CreateAssistant | CreateAgent | CreateFoundryAgent | CreateTemplate]] = {
    one.kind: one for one in (CreateAssistant, CreateAgent, CreateFoundryAgent, CreateTemplate)
}
UPDATE: Mapping[Kind, type[UpdateAssistant | UpdateAgent | UpdateFoundryAgent | UpdateTemplate]] = {
    one.kind: one for one in (UpdateAssistant, UpdateAgent, UpdateFoundryAgent, UpdateTemplate)
}


class UploadFile(msgspec.Struct, frozen=True, kw_only=True, tag="upload_file", gc=False):
    content: Content
    purpose: str

    def foreseen(self) -> Iterator[Loss]:
        """What is known in advance to be lost."""
        content = self.content
        loss = partial(Loss, kind=Kind.FILE, id=content.id, name=content.filename)
        if content.fidelity is Fidelity.TEXT:
            text = "text only (original unavailable)"
            yield loss(why=Why.AS_TEXT, text=text)
            if content.truncated:
                yield loss(why=Why.TRUNCATED, text="the parsed text is incomplete", recorded=True)
            if content.doubt:
                yield loss(why=Why.JOINED_DOUBTFULLY, text=f"uncertain text: {content.doubt}", recorded=True)
        if content.purpose not in (None, self.purpose):
            text = f"{content.purpose} can't be used at the destination; using {self.purpose}"
            yield loss(why=Why.PURPOSE_CHANGED, text=text, field="purpose")


class CreateStore(msgspec.Struct, frozen=True, kw_only=True, tag="create_store"):
    kind: ClassVar[Kind] = Kind.STORE
    id: SourceId
    name: str | None
    losses: list[Loss] = []


class AttachFiles(msgspec.Struct, frozen=True, kw_only=True, tag="attach_files"):
    """Put ``count`` files into the store: ``files``, or all that it has; how, the bundle's memberships say."""

    store: SourceId
    count: int
    files: list[SourceId] | None = None


class WriteRequest(msgspec.Struct, frozen=True, kw_only=True, tag="write_request"):
    """Write the assistant down as a request for the Responses API, at ``path`` below OUTPUT_DIR.

    ``beside`` is where it goes instead, where something of the user's is there and stays. Without ``replace``, what an
    earlier run wrote stays, too. The rest is as in CreateAssistant.
    """

    kind: ClassVar[Kind] = Kind.ASSISTANT
    id: SourceId
    name: str | None
    model: str | None
    path: str
    beside: str | None = None
    replace: bool = True
    stores: list[SourceId] = []
    files: list[SourceId] = []
    losses: list[Loss] = []


class _Present(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is there already, as ``target``."""

    kind: Kind
    id: SourceId
    target: TargetId
    name: str | None
    # Of a skill, the numbers there of the bundle's versions.
    versions: dict[SourceId, str] = {}


class Adopt(_Present, frozen=True, kw_only=True, tag="adopt", gc=False):
    """Use what is there: it is equal. ``stores`` and ``files`` are an assistant's references."""

    by: By
    stores: list[SourceId] = []
    files: list[SourceId] = []
    skills: list[SourceId] = []


class Skip(_Present, frozen=True, kw_only=True, tag="skip"):
    """Use what is there and leave it as it is, though it differs."""

    differences: list[Difference]

    def foreseen(self) -> Iterator[Loss]:
        """What is known in advance to be lost."""
        fields = dict.fromkeys(difference.field for difference in self.differences)
        text = f"kept as it is ({self.target}); differs in {', '.join(fields)}"
        yield Loss(why=Why.LEFT_ALONE, kind=self.kind, id=self.id, name=self.name, text=text)
        for one in self.differences:
            if one.inside and (one.absent or one.field == "status"):
                why, text = (
                    (Why.LEFT_OUT, "not at the destination")
                    if one.absent
                    else (Why.NOT_INDEXED, "not indexed at the destination")
                )
                kind = Kind.FILE if one.kind is Kind.MEMBERSHIP else one.kind
                yield Loss(why=why, kind=kind, id=one.source, name=one.name, inside=one.inside, text=text)


class Differs(_Present, frozen=True, kw_only=True, tag="differs"):
    """What is there differs, and nothing may be done about it: a plan with this step is not carried out.

    ``changed`` are the fields that somebody else has changed since an earlier run left them.
    """

    differences: list[Difference]
    changed: list[str] = []


class UpdateStore(msgspec.Struct, frozen=True, kw_only=True, tag="update_store"):
    """Use the store ``target``, and set ``fields`` of it, if any, to what the bundle says.

    What is done to its files are steps of their own; ``differences`` has them all.
    """

    kind: ClassVar[Kind] = Kind.STORE
    id: SourceId
    target: TargetId
    name: str | None
    fields: list[str]
    differences: list[Difference]
    losses: list[Loss] = []


class UpdateMembership(msgspec.Struct, frozen=True, kw_only=True, tag="update_membership"):
    """Set the attributes of one file in a store."""

    kind: ClassVar[Kind] = Kind.MEMBERSHIP
    store: SourceId
    file: SourceId
    target: TargetId
    name: str | None
    attributes: dict[str, Any]


class DetachFile(msgspec.Struct, frozen=True, kw_only=True, tag="detach_file"):
    """Take a file out of a store; the file itself stays. ``why`` in words."""

    store: SourceId
    target: TargetId
    name: str | None
    why: str


class LeaveOut(msgspec.Struct, frozen=True, kw_only=True, tag="leave_out"):
    """A reference that the copy will not have."""

    loss: Loss


class Cannot(msgspec.Struct, frozen=True, kw_only=True, tag="cannot"):
    """The unit's root can't be created, and nothing of the unit will be."""

    id: SourceId
    name: str | None
    reason: str


Step = (
    UploadFile
    | CreateStore
    | AttachFiles
    | CreateAssistant
    | CreateAgent
    | CreateTemplate
    | CreateSkill
    | CreateFoundryAgent
    | WriteRequest
    | Adopt
    | Skip
    | Differs
    | UpdateAssistant
    | UpdateAgent
    | UpdateTemplate
    | UpdateSkill
    | UpdateFoundryAgent
    | UpdateStore
    | UpdateMembership
    | DetachFile
    | LeaveOut
    | Cannot
)

TEMPLATES = (CreateTemplate, UpdateTemplate, Adopt)
"""The steps that have the ``skills`` of a template."""


def references_of(step: Step | CreateDefinition | UpdateDefinition) -> tuple[list[SourceId], list[SourceId]]:
    """The stores and files that the copy of a definition refers to; none for another step."""
    kinds = (CreateAssistant, UpdateAssistant, CreateFoundryAgent, UpdateFoundryAgent, WriteRequest, Adopt)
    if isinstance(step, kinds):
        return step.stores, step.files
    if isinstance(step, CreateTemplate | UpdateTemplate):
        return [], step.files
    return [], []


# -- the plan ------------------------------------------------------------------------------------------


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One root with everything it needs that no earlier unit brings, in the order of execution."""

    kind: Kind
    id: SourceId
    name: str | None
    steps: list[Step]

    def losses(self) -> Iterator[Loss]:
        """What is known in advance to be lost."""
        for step in self.steps:
            match step:
                case LeaveOut(loss=loss):
                    yield loss
                case CreateDefinition() | UpdateDefinition() | WriteRequest() | CreateStore() | UpdateStore():
                    yield from step.losses
                case Skip() | UploadFile():
                    yield from step.foreseen()


class PlanTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How much a plan does: what it creates, and by kind what else it does."""

    assistants: int = 0
    agents: int = 0
    foundry_agents: int = 0
    skills: int = 0
    environment_templates: int = 0
    requests: int = 0
    stores: int = 0
    files: int = 0
    memberships: int = 0
    bytes: int = 0
    adopted: dict[str, int] = {}
    updated: dict[str, int] = {}
    skipped: dict[str, int] = {}
    detached: int = 0
    impossible: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The units in order. ``chosen`` is how many roots they stand for, ``of`` how many the bundle has.

    ``form`` is what assistants become; agents stay agents. ``dropped_keys`` are left out of all metadata.
    ``shared_keys``, by kind, are left out if the destination turns out to add them by itself. ``connections`` leads
    from the source's connections of a Foundry project to the destination's. ``inherent`` is what no copy can have
    there; of what exists already, no step says it.
    """

    units: list[Unit]
    prefix: str
    chosen: int
    of: int
    form: Form = Form.ASSISTANTS
    dropped_keys: list[str] = []
    shared_keys: dict[Kind, list[str]] = {}
    connections: dict[str, str] | None = None
    inherent: list[Loss] = []

    def steps(self) -> Iterator[Step]:
        for unit in self.units:
            yield from unit.steps

    def losses(self) -> Iterator[Loss]:
        for unit in self.units:
            yield from unit.losses()

    def conflicts(self) -> list[Differs]:
        """The steps that keep this plan from being carried out."""
        return [step for step in self.steps() if isinstance(step, Differs)]

    def impossible(self) -> Iterator[tuple[Kind, SourceId]]:
        """The roots that can't be created."""
        for unit in self.units:
            yield from ((unit.kind, step.id) for step in unit.steps if isinstance(step, Cannot))

    def updates(self) -> bool:
        """Whether something that exists already would be changed."""
        kinds = (UpdateDefinition, UpdateMembership, DetachFile)
        return any(isinstance(s, kinds) or (isinstance(s, UpdateStore) and s.differences) for s in self.steps())

    def replaced(self) -> Iterator[Difference]:
        """The values of existing assistants, agents and stores that would be set, before and after."""
        for step in self.steps():
            if isinstance(step, UpdateDefinition | UpdateStore):
                yield from (one for one in step.differences if not one.absent)

    def pending(self) -> bool:
        """Whether there is anything to do, or anything that can't be done."""
        return any(not isinstance(step, (Adopt, Skip, LeaveOut)) for step in self.steps())

    def totals(self) -> PlanTotals:
        """What would be done."""
        created: Counter[str] = Counter()
        adopted: Counter[str] = Counter()
        updated: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        for step in self.steps():
            match step:
                case UploadFile(content=content):
                    created.update(files=1, bytes=content.stored)
                case CreateStore():
                    created["stores"] += 1
                case AttachFiles(count=count):
                    created["memberships"] += count
                case CreateDefinition(kind=kind):
                    created[KINDS[kind].count] += 1
                case WriteRequest():
                    created["requests"] += 1
                case DetachFile():
                    created["detached"] += 1
                case Cannot():
                    created["impossible"] += 1
                case Adopt(kind=kind):
                    adopted[kind.value] += 1
                case Skip(kind=kind):
                    skipped[kind.value] += 1
                case UpdateDefinition(kind=kind) | UpdateStore(kind=kind) | UpdateMembership(kind=kind):
                    updated[kind.value] += 1
        return PlanTotals(**created, adopted=dict(adopted), updated=dict(updated), skipped=dict(skipped))


# -- its cost ------------------------------------------------------------------------------------------

FREE_BYTES = 1_000_000_000
"""What the stores of an organisation may hold before storage costs."""
# From OpenAI's API reference of vector stores: files that an organisation may attach, and writes to one store.
_ATTACHED_A_MINUTE = 2000
_STORE_WRITES_A_MINUTE = 300
# What a write takes, upload or create, when nothing holds it up: observed, not promised.
_SECONDS_A_WRITE = 1.0


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """``requests`` are writes; ``seconds`` is the least time, without transfer and indexing.

    ``storage`` is what the new memberships add to the stores in bytes, by the files' own sizes, because the size of
    parsed text isn't known before. ``chargeable`` is what then exceeds the free gigabyte; None if the destination
    doesn't say what its stores hold now.
    """

    requests: int
    seconds: int
    storage: int
    chargeable: int | None


def estimate(
    planned: Plan, summary: BundleSummary, *, concurrency: int, usage: int | None, batch_files: int
) -> Estimate:
    """The cost of ``planned``. ``usage`` is what the destination's stores hold now, in bytes; ``batch_files`` is how
    many files it attaches in one call."""
    # One rule for each type of step: apart they would only hand the four sums to each other.
    uploads = attached = storage = 0
    # By store, and under None what is none of a store's.
    writes: Counter[SourceId | None] = Counter()
    for step in planned.steps():
        match step:
            case UploadFile():
                uploads += 1
            case CreateStore(losses=losses) | CreateDefinition(losses=losses):
                # Where all metadata keys are taken, an update follows.
                writes[None] += 1 + any(loss.why is Why.MARKS_LEFT_OUT for loss in losses)
                if isinstance(step, CreateSkill | CreateFoundryAgent):
                    # One for each further version, and of a skill one to set the default.
                    writes[None] += len(step.versions)
            case UpdateSkill(versions=versions, fields=fields):
                writes[None] += len(versions) + bool(fields or versions)
            case UpdateDefinition():
                writes[None] += 1
            case UpdateStore(id=store, fields=fields):
                writes[store] += bool(fields)
            case UpdateMembership(store=store) | DetachFile(store=store):
                writes[store] += 1
            case AttachFiles(store=store, count=count, files=files):
                writes[store] += ceil(count / batch_files)
                attached += count
                storage += _stored_bytes(summary, store, files)
    one_by_one = writes.total()
    seconds = max(
        _SECONDS_A_WRITE * (one_by_one + uploads / max(1, concurrency)),
        60 * attached / _ATTACHED_A_MINUTE if attached > _ATTACHED_A_MINUTE else 0,
        60 * max((count for store, count in writes.items() if store is not None), default=0) / _STORE_WRITES_A_MINUTE,
    )
    return Estimate(
        requests=uploads + one_by_one,
        seconds=round(seconds),
        storage=storage,
        chargeable=None if usage is None else max(0, usage + storage - FREE_BYTES),
    )


def _stored_bytes(summary: BundleSummary, store: SourceId, files: list[SourceId] | None) -> int:
    contents = summary.contents(store) if files is None else map(summary.content, files)
    return sum(content.stored for content in contents if content.fidelity is not Fidelity.UNAVAILABLE)
