"""A plan: its units of steps, and its cost; and the JSON document that ``holdall plan -o`` writes.

The document records the bundle, the destination and the options. ``import --plan`` plans again, and refuses to start
unless the new plan is the same, step by step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path

import msgspec

from holdall.bundle.durable import write_whole
from holdall.dialects.loss import Loss, Why
from holdall.dialects.tables import Form
from holdall.endpoint import same_account, title
from holdall.errors import CannotRead, PlanOutdated, UsageFault
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.choices import Asked
from holdall.importer.plan.difference import Difference
from holdall.importer.plan.steps import (
    Adopt,
    AttachFiles,
    Cannot,
    CreateDefinition,
    CreateFoundryAgent,
    CreateSkill,
    CreateStore,
    DetachFile,
    Differs,
    LeaveOut,
    Skip,
    Step,
    UpdateDefinition,
    UpdateMembership,
    UpdateSkill,
    UpdateStore,
    UploadFile,
    WriteRequest,
)
from holdall.kinds import KINDS
from holdall.model import Fidelity, Kind, SourceId
from holdall.safe_open import read_regular

VERSION = 1
"""Raised when the document's meaning changes; a plan is not kept for ever, so no other version is read."""

# Units that an error names; the rest is counted.
_NAMED = 3
_ANEW = "make a new one: holdall plan BUNDLE -o FILE"

# OpenAI's API reference of vector stores: files that an organisation may attach, and writes to one vector store.
_ATTACHED_A_MINUTE = 2000
_STORE_WRITES_A_MINUTE = 300
FREE_BYTES = 1_000_000_000
"""What the stores of an organisation may hold before storage costs."""
# What a write takes, upload or create, when nothing holds it up: seen, not promised.
_SECONDS_A_WRITE = 1.0


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
                storage += _stored(summary, store, files)
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


def _stored(summary: BundleSummary, store: SourceId, files: list[SourceId] | None) -> int:
    contents = summary.contents(store) if files is None else map(summary.content, files)
    return sum(content.stored for content in contents if content.fidelity is not Fidelity.UNAVAILABLE)


class PlanDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``bundle`` has the file's name and its two digests, ``destination`` base URL, organisation and project."""

    holdall_plan: int = VERSION
    tool: str
    made: str
    bundle: dict[str, str]
    destination: dict[str, str | None]
    asked: Asked
    estimate: Estimate
    plan: Plan


def write_plan(path: Path, document: PlanDocument) -> None:
    """Writes the document, over an earlier one. Raises CannotWrite."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def read_plan(path: Path) -> PlanDocument:
    """Raises CannotWrite if the file can't be read, UsageFault if it is no plan of this version."""
    try:
        data = read_regular(path)
    except OSError as error:
        raise CannotRead(f"can't read the plan {path}: {error.strerror or error}") from None
    try:
        document = msgspec.json.decode(data, type=PlanDocument)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageFault(
            f"can't use {path}: not a plan of this version of holdall ({error})",
            hint="make one: holdall plan BUNDLE -o FILE",
        ) from None
    if document.holdall_plan != VERSION:
        raise UsageFault(
            f"can't use {path}: its plan format is {document.holdall_plan}, and this version of holdall uses {VERSION}",
            hint=_ANEW,
        )
    return document


def require_bundle(document: PlanDocument, bundle: Mapping[str, str]) -> None:
    """Raises PlanOutdated if the plan was made of a bundle with other contents; the file's name may differ."""
    if any(document.bundle.get(name) != value for name, value in bundle.items() if name != "name"):
        raise _outdated(f"it was made for another bundle ({document.bundle.get('name')})")


def require_same(document: PlanDocument, destination: Mapping[str, str | None], now: Plan) -> None:
    """Raises PlanOutdated if planning now, for ``destination``, gives another plan than the document has."""
    if not same_account(document.destination, destination):
        raise _outdated(f"it is for {title(document.destination)}, and the destination is {title(destination)}")
    # As it is read again: a plan that was made holds values that its file has as others, tuples as lists.
    now = msgspec.json.decode(msgspec.json.encode(now), type=Plan)
    if document.plan != now:
        changed = named(_changed(document.plan, now), _NAMED)
        raise _outdated(f"the destination has changed since ({changed})")


def _outdated(why: str) -> PlanOutdated:
    return PlanOutdated(f"can't apply this plan: {why}", hint=_ANEW)


def named(things: Sequence[object], most: int) -> str:
    """The first ``most`` things on one line, and how many more there are."""
    more = f"; and {len(things) - most} more" if len(things) > most else ""
    return "; ".join(map(str, things[:most])) + more


def _changed(then: Plan, now: Plan) -> list[str]:
    """The units for which the new plan does something else, in words."""
    before = {unit.id: unit for unit in then.units}
    return [
        f"{unit.name or unit.id}: {_words(before[unit.id]) if unit.id in before else 'not planned'} then, "
        f"{_words(unit)} now"
        for unit in now.units
        if before.get(unit.id) != unit
    ] or ["fewer steps now"]


def _words(unit: Unit) -> str:
    kinds = Counter(str(step.__struct_config__.tag).replace("_", " ") for step in unit.steps)
    return ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in kinds.items()) or "nothing"
