"""The JSON document that ``holdall plan -o`` writes: the bundle, the destination, the options, and the plan.

``import --plan`` plans again, and refuses to start unless the new plan is the same, step by step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from holdall.endpoint import same_account, title
from holdall.errors import CannotRead, PlanOutdated, UsageFault
from holdall.importer.plan.choices import Asked
from holdall.importer.plan.steps import Estimate, Plan, Unit
from holdall.safe_files import read_regular, write_whole

_DOCUMENT_VERSION = 1
"""Goes up when the document's meaning changes. Plans are not kept for long, so no other version is read."""

# Units that an error names; the rest is counted.
_NAMED = 3
_ANEW = "make a new one: holdall plan BUNDLE -o FILE"


class PlanDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``bundle`` has the file's name and its two digests, ``destination`` base URL, organisation and project."""

    holdall_plan: int = _DOCUMENT_VERSION
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
    """Raises CannotRead if the file can't be read, UsageFault if it is no plan of this version."""
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
    if document.holdall_plan != _DOCUMENT_VERSION:
        raise UsageFault(
            f"can't use {path}: its plan format is {document.holdall_plan}, and this version of holdall uses "
            f"{_DOCUMENT_VERSION}",
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
        changed = named(_changed_units(document.plan, now), _NAMED)
        raise _outdated(f"the destination has changed since ({changed})")


def named(things: Sequence[object], most: int) -> str:
    """The first ``most`` things on one line, and how many more there are."""
    more = f"; and {len(things) - most} more" if len(things) > most else ""
    return "; ".join(map(str, things[:most])) + more


def _outdated(why: str) -> PlanOutdated:
    return PlanOutdated(f"can't apply this plan: {why}", hint=_ANEW)


def _changed_units(then: Plan, now: Plan) -> list[str]:
    """The units for which the new plan does something else, in words."""
    before = {unit.id: unit for unit in then.units}
    return [
        f"{unit.name or unit.id}: {_step_counts(before[unit.id]) if unit.id in before else 'not planned'} then, "
        f"{_step_counts(unit)} now"
        for unit in now.units
        if before.get(unit.id) != unit
    ] or ["fewer steps now"]


def _step_counts(unit: Unit) -> str:
    kinds = Counter(str(step.__struct_config__.tag).replace("_", " ") for step in unit.steps)
    return ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in kinds.items()) or "nothing"
