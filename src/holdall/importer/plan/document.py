"""A plan on paper: the JSON document that ``holdall plan -o`` writes and ``import --plan`` carries out.

It says what it was made of: bundle, destination, choices. Carried out is exactly what stands in it, or nothing: it is
planned once more, and what comes out must be the same, step by step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.durable import write_whole
from holdall.dialects.loss import MaxLoss
from holdall.dialects.tables import Form
from holdall.endpoint import same_account, title
from holdall.errors import CannotWrite, PlanOutdated, UsageFault
from holdall.importer.plan.estimate import Estimate
from holdall.importer.plan.steps import OnConflict, Plan, Unit
from holdall.opening import read_regular
from holdall.selection import Selection

__all__ = ["Asked", "PlanDocument", "read_plan", "require_bundle", "require_same", "write_plan"]

VERSION = 1
"""Raised when the document's meaning changes; a plan is not kept for ever, so no other version is read."""

# Units that an error names; the rest is counted.
_NAMED = 3
_ANEW = "make it anew: holdall plan BUNDLE -o FILE"


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user asked for, as the command line says it. ``form`` None is what the destination can keep."""

    form: Form | None = msgspec.field(default=None, name="as")
    max_loss: MaxLoss = MaxLoss.ANY
    prefix: str = ""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    map_model: tuple[str, ...] = ()
    skip_unmapped: bool = False
    on_conflict: OnConflict = OnConflict.STOP
    delete: bool = False
    even_if_changed: bool = False
    mapping: str | None = None
    keep_metadata: tuple[str, ...] = ()
    drop_metadata: tuple[str, ...] = ()

    @property
    def selection(self) -> Selection:
        return Selection(only=self.only, exclude=self.exclude)

    def options(self) -> dict[str, Any]:
        """As a run writes them down: what isn't at its default, besides prefix and selection."""
        given: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Asked()))
        always = ("prefix", "only", "exclude")
        return {name: value for name, value in given.items() if name in always or value != plain[name]}


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
    """Write the document; one that is there already is replaced, being only a plan. Raises CannotWrite."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def read_plan(path: Path) -> PlanDocument:
    """Read one. Raises CannotWrite where the file can't be read, UsageFault where it is no plan of this version."""
    try:
        data = read_regular(path)
    except OSError as error:
        raise CannotWrite(f"can't read the plan {path}: {error.strerror or error}") from None
    try:
        document = msgspec.json.decode(data, type=PlanDocument)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageFault(
            f"can't use {path}: it isn't a plan of this version of holdall ({error})",
            hint="make one: holdall plan BUNDLE -o FILE",
        ) from None
    if document.holdall_plan != VERSION:
        raise UsageFault(
            f"can't use {path}: it is a plan of version {document.holdall_plan}, this holdall makes {VERSION}",
            hint="make it anew: holdall plan BUNDLE -o FILE",
        )
    return document


def require_bundle(document: PlanDocument, bundle: Mapping[str, str]) -> None:
    """Raises PlanOutdated where the plan was made of a bundle with other contents; its file may have another name."""
    if any(document.bundle.get(name) != value for name, value in bundle.items() if name != "name"):
        raise PlanOutdated(
            f"can't carry out this plan: it was made of another bundle ({document.bundle.get('name')})", hint=_ANEW
        )


def require_same(document: PlanDocument, destination: Mapping[str, str | None], now: Plan) -> None:
    """Raises PlanOutdated where planning now, towards ``destination``, gives another plan than the document has."""
    if not same_account(document.destination, destination):
        raise PlanOutdated(
            f"can't carry out this plan: it is for {title(document.destination)}, "
            f"the destination is {title(destination)}",
            hint=_ANEW,
        )
    now = msgspec.json.decode(msgspec.json.encode(now), type=Plan)
    if document.plan != now:
        changed = _changed(document.plan, now)
        raise PlanOutdated(
            f"can't carry out this plan: the destination has changed since ({'; '.join(changed[:_NAMED])}"
            f"{f'; and {len(changed) - _NAMED} more' if len(changed) > _NAMED else ''})",
            hint=_ANEW,
        )


def _changed(then: Plan, now: Plan) -> list[str]:
    """The units for which something else would be done now, in words."""
    before = {unit.id: unit for unit in then.units}
    return [
        f"{unit.name or unit.id}: {_words(before[unit.id]) if unit.id in before else 'not planned'} then, "
        f"{_words(unit)} now"
        for unit in now.units
        if before.get(unit.id) != unit
    ] or ["fewer things would be done now"]


def _words(unit: Unit) -> str:
    kinds = Counter(str(step.__struct_config__.tag).replace("_", " ") for step in unit.steps)
    return ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in kinds.items()) or "nothing"
