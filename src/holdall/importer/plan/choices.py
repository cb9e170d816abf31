"""How a plan is made: what the user asks for, and whether the destination has the models for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from holdall.bundle.layout import HoldallInfo
from holdall.dialects.loss import MaxLoss
from holdall.dialects.registry import table
from holdall.dialects.rules import Form, Table
from holdall.endpoint import Endpoint, same_account
from holdall.errors import DestinationUnfit, Mistakes, UsageFault, pasteable
from holdall.model import SourceId
from holdall.selection import Selection


class OnConflict(StrEnum):
    """What to do about things that are at the destination already."""

    STOP = "stop"
    """Use what is equal; where anything differs, write nothing at all."""
    SKIP = "skip"
    """Use what is equal, and what differs as it is."""
    UPDATE = "update"
    """Use what is equal; make what differs equal."""
    DUPLICATE = "duplicate"
    """Look for nothing and make everything anew, beside what is there."""


class ModelMap(msgspec.Struct, frozen=True, kw_only=True):
    """``--map-model OLD=NEW`` as given; of several whose OLD fits, the first counts. OLD may be a GLOB."""

    rules: tuple[tuple[str, str], ...] = ()

    def rule(self, model: str | None) -> str | None:
        """The new model; None if no rule matches."""
        if model is None:
            return None
        return next((new for old, new in self.rules if old == model or fnmatchcase(model, old)), None)

    def vouches(self, model: str) -> bool:
        """Whether the user says that ``model`` can be used, by mapping it to itself."""
        return (model, model) in self.rules


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """The user's choices for one destination, which keeps assistants as ``form`` and takes what ``limits`` say.

    ``missing`` has, by the bundle's name of a model, why it can't be used. ``delete``: an update also takes files out
    of a store that the bundle's store doesn't have. ``even_if_changed``: it also sets what others have changed since an
    earlier run. ``supplied`` names what the owner supplies of environment templates, by their ids.
    """

    form: Form = Form.ASSISTANTS
    limits: Table | None = None
    models: ModelMap = ModelMap()
    missing: Mapping[str, str] = {}
    on_conflict: OnConflict = OnConflict.STOP
    delete: bool = False
    even_if_changed: bool = False
    connections: Mapping[str, str] | None = None
    """Those of a Foundry project, by the source's names; None where the bundle comes from that very project."""
    supplied: Mapping[SourceId, frozenset[str]] = {}

    @property
    def table(self) -> Table:
        """What the destination takes."""
        return self.limits or table(self.form)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the command line. ``form`` None means what the destination can keep. ``supplied`` are template ids
    and fields: what ``--supply-template`` gives, without the values."""

    form: Form | None = msgspec.field(default=None, name="as")
    max_loss: MaxLoss = MaxLoss.ANY
    prefix: str = ""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    map_model: tuple[str, ...] = ()
    map_connection: tuple[str, ...] = ()
    skip_unmapped: bool = False
    on_conflict: OnConflict = OnConflict.STOP
    delete: bool = False
    even_if_changed: bool = False
    mapping: str | None = None
    supplied: tuple[tuple[SourceId, str], ...] = ()
    keep_metadata: tuple[str, ...] = ()
    drop_metadata: tuple[str, ...] = ()

    @property
    def selection(self) -> Selection:
        return Selection(only=self.only, exclude=self.exclude)

    def choices(self, *, form: Form, limits: Table, models: ModelMap, is_own: bool = False) -> Choices:
        """The same for one destination, which keeps assistants as ``form`` and takes what ``limits`` say. ``is_own``:
        the bundle comes from that very project."""
        return Choices(
            form=form,
            limits=limits,
            models=models,
            on_conflict=self.on_conflict,
            delete=self.delete,
            even_if_changed=self.even_if_changed,
            connections=None if is_own else connection_map(self.map_connection),
            supplied=supplied_by_id(self.supplied),
        )

    def options(self) -> dict[str, Any]:
        """As a run records them: those that differ from their default, and always prefix and selection."""
        given: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Asked()))
        always = ("prefix", "only", "exclude")
        return {name: value for name, value in given.items() if name in always or value != plain[name]}


def supplied_by_id(pairs: Iterable[tuple[SourceId, str]]) -> dict[SourceId, frozenset[str]]:
    """The fields that are supplied of each template."""
    found: dict[SourceId, frozenset[str]] = {}
    for id, name in pairs:
        found[id] = found.get(id, frozenset()) | {name}
    return found


class ModelCatalog(msgspec.Struct, frozen=True, kw_only=True):
    """The models of a destination, each with its shutdown date if there is one.

    ``models`` is None if there is no list; ``reason`` says why. ``noun`` is what the destination calls them.
    """

    models: Mapping[str, date | None] | None = None
    reason: str = ""
    noun: str = "models"


class Shutdown(msgspec.Struct, frozen=True, kw_only=True):
    """The models that shut down ``on`` one day, and that in words."""

    on: date
    models: list[str]
    text: str


class ModelCheck(msgspec.Struct, frozen=True, kw_only=True):
    """``missing`` has why a model can't be used, by the bundle's name of it; ``shutdowns`` are by day."""

    missing: Mapping[str, str]
    warnings: list[str]
    shutdowns: list[Shutdown] = []

    def lines(self) -> list[str]:
        """A line to paste for each missing model."""
        # What to put in place of NEW is never suggested: published replacements contradict each other.
        return [f"--map-model {pasteable(f'{model}=NEW')}" for model in self.missing]


def model_map(texts: Iterable[str]) -> ModelMap:
    """Parses ``OLD=NEW``. Raises UsageFault for each that can't be parsed."""
    hint = "OLD may be a GLOB: --map-model 'gpt-4*=NEW'"
    return ModelMap(rules=tuple(_pairs(texts, "--map-model", hint)))


def connection_map(texts: Iterable[str]) -> dict[str, str]:
    """The same for ``--map-connection``, whose two sides are names of connections or their ids."""
    hint = "both are names of connections or their ids: --map-connection search-dev=search-prod"
    return dict(_pairs(texts, "--map-connection", hint))


def _pairs(texts: Iterable[str], option: str, hint: str) -> list[tuple[str, str]]:
    pairs, mistakes = [], Mistakes()
    for text in texts:
        old, equals, new = (part.strip() for part in text.partition("="))
        if not (old and equals and new):
            mistakes.add(UsageFault(f"can't use {option} {text!r}: it must be OLD=NEW", hint=hint))
        pairs.append((old, new))
    # All of them at once: nobody wants to run the command once for each.
    mistakes.raise_all()
    return pairs


def unused_rules(mapped: ModelMap, models: Iterable[str]) -> list[str]:
    """A line for each rule that matches none of the bundle's ``models``, probably a typing mistake."""
    there = sorted(set(models))
    return [
        f"--map-model {old}={new} matches no model; models in the bundle: {', '.join(there) or 'none'}"
        for old, new in mapped.rules
        if not any(model == old or fnmatchcase(model, old) for model in there)
    ]


def check_models(wanted: Iterable[str], mapped: ModelMap, catalog: ModelCatalog, *, today: date) -> ModelCheck:
    """Which of the ``wanted`` models (the bundle's names) can't be used, and warnings about the others.

    A model that is mapped to itself is used on the user's word, even if it is not listed or past its date.
    """
    missing: dict[str, str] = {}
    vouched: dict[str, None] = {}
    # By day, for one line for all models that end on it.
    ending: dict[date, list[str]] = {}
    if catalog.models is None:
        unknown = f"can't check models: {catalog.reason}"
        return ModelCheck(missing={}, warnings=[unknown] if catalog.reason else [])
    for model in dict.fromkeys(wanted):
        new = mapped.rule(model)
        name = new or model
        said = f"{model} (mapped to {name})" if name != model else model
        if name not in catalog.models:
            if mapped.vouches(name):
                vouched[name] = None
            else:
                missing[model] = f"{said} {_absent(name)}"
            continue
        ends = catalog.models[name]
        if ends is None:
            continue
        if ends <= today and new != model and not mapped.vouches(name):
            missing[model] = f"{said} was shut down on {ends.isoformat()}"
        elif name not in ending.setdefault(ends, []):
            ending[ends].append(name)
    warnings = [f"model {name} is not in the destination's list; using it anyway (--map-model)" for name in vouched]
    shutdowns = [
        Shutdown(on=ends, models=names, text=_ending(ends, names, today)) for ends, names in sorted(ending.items())
    ]
    return ModelCheck(missing=missing, warnings=warnings, shutdowns=shutdowns)


def _ending(ends: date, names: list[str], today: date) -> str:
    days, several = (ends - today).days, "s" if len(names) > 1 else ""
    which = f"model{several} {', '.join(names)}"
    if days <= 0:
        return f"{which} should have been shut down on {ends.isoformat()}"
    will = "shut" if several else "shuts"
    return f"{which} {will} down on {ends.isoformat()}, in {days} day{'s' if days > 1 else ''}"


def _absent(model: str) -> str:
    # ft:BASE:ORGANISATION:NAME:ID, as OpenAI names them.
    if model.startswith("ft:"):
        parts = model.split(":")
        whose = f" ({parts[2]})" if len(parts) > 2 and parts[2] else ""
        return f"is a fine-tuned model of another organisation or project{whose}, and can't be exported"
    return "not found"


def offered(catalog: ModelCatalog, *, most: int = 30) -> str:
    """The models there, for people."""
    models: Sequence[str] = sorted(catalog.models or ())
    more = f" and {len(models) - most} more" if len(models) > most else ""
    return ", ".join(models[:most]) + more


def unmapped_error(check: ModelCheck, catalog: ModelCatalog) -> DestinationUnfit:
    """The error that names the models that can't be used, and those that are there."""
    lines = "\n".join(f"  {' '.join(line.splitlines())}" for line in check.lines())
    return DestinationUnfit(
        f"nothing written: {len(check.missing)} of the models can't be used at the destination: "
        f"{'; '.join(check.missing.values())}",
        hint="name a replacement (NEW) for each model, or use --skip-unmapped to leave these assistants out:\n"
        f"{lines}\nNEW=NEW uses NEW even if the destination does not list it\n"
        f"{catalog.noun} at the destination: {' '.join(offered(catalog).splitlines())}",
    )


def is_own_project(endpoint: Endpoint, info: HoldallInfo) -> bool:
    """Whether the bundle comes from the very Foundry project at ``endpoint``, whose address is its own."""
    return endpoint.is_foundry and same_account({"base_url": info.source.base_url}, {"base_url": endpoint.base_url})


def table_of(form: Form, base_url: str, info: HoldallInfo) -> Table:
    """The table of the destination at ``base_url`` for what the bundle with this ``info`` has."""
    return table(form, base_url, own=info.source.base_url == base_url and not info.options.get("dump"))
