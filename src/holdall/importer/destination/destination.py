"""A destination: which endpoints answer there, which models and connections it has, and what earlier runs made there.

What earlier runs made is known from their journals and mappings, or from the marks on the copies. Reads only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.foundry_bindings import by_name, connection_name
from holdall.dialects.loss import Why
from holdall.dialects.prompt_agents import connections as used_by
from holdall.dialects.rules import CLONED_FROM, UNMARKED, Form
from holdall.endpoint import same_account, title
from holdall.errors import (
    REQUEST_ERRORS,
    AuthenticationFailed,
    CannotWrite,
    DestinationUnfit,
    ImportFailed,
    NotFound,
    PermissionDenied,
    RemoteError,
    RequestRefused,
    UsageFault,
    pasteable,
)
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.choices import ModelCatalog, ModelMap, connection_map, model_map, supplied_by_id
from holdall.importer.plan.definitions import ABOUT, FOLDER
from holdall.importer.plan.steps import Cannot, Plan, Unit
from holdall.importer.runs.runfolder import mappings, past_runs
from holdall.importer.runs.runjournal import Shown
from holdall.importer.runs.runreport import MAPPING, RunMapping, read_mapping
from holdall.importer.runs.runstate import RunState
from holdall.importer.written.requestfolder import listed
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, Platform, noun
from holdall.model import Kind, Record, SourceId, TargetId, epoch_seconds
from holdall.remote import client
from holdall.remote.client import Account, connections, is_absent, viewed
from holdall.remote.wire import Surface
from holdall.selection import Selection


class Answers(StrEnum):
    """How an endpoint answers."""

    YES = "answers"
    ABSENT = "absent"
    DENIED = "denied"
    UNKNOWN = "unknown"
    NOT_ASKED = "not asked"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One destination. ``party`` is the account, as journals name it; ``endpoints`` are those that an import needs, by
    path."""

    party: dict[str, str | None]
    endpoints: dict[str, Answers]
    catalog: ModelCatalog
    warnings: list[str] = []


async def choose(account: Account, asked: Form | None) -> Form:
    """What assistants become: ``asked``, or if nothing is, what the destination can keep.

    The Assistants API is absent if its list answers 404 and another endpoint doesn't, with the same key. Raises
    NoAssistantsApi if it is absent though asked for; PermissionDenied, which doesn't tell whether it is there.
    """
    if asked is Form.FOUNDRY:
        account.endpoint.require_project()
    form = asked or await _fitting_form(account)
    # The new agents can't use what classic ones have, unless the project says otherwise by showing it here.
    account.surfaces = (Surface.CURRENT,) if form is Form.FOUNDRY else (Surface.CLASSIC,)
    if asked is not None:
        require = client.require_assistants if asked is Form.ASSISTANTS else client.require_any_endpoint
        await require(account)
    return form


async def _fitting_form(account: Account) -> Form:
    """What a destination can keep of an assistant."""
    if not await client.probe(account):
        return Form.ASSISTANTS
    return Form.FOUNDRY if account.platform is Platform.FOUNDRY else Form.RESPONSES


async def probe(account: Account, planned: Plan, *, asked: Form | None) -> Destination:
    """Probes the endpoints that ``planned`` needs; ``choose`` has probed that of assistants.

    Raises PermissionDenied or DestinationUnfit if a needed endpoint doesn't answer. A missing list of models is no
    error: look-alikes have none, and a restricted key may not see it.
    """
    total = planned.totals()
    places = {kind: KINDS[kind].endpoint for kind in (*DEFINITIONS, Kind.FILE)}
    endpoints = dict.fromkeys((*places.values(), "/models"), Answers.NOT_ASKED)
    if planned.form is Form.ASSISTANTS:
        endpoints["/assistants"] = Answers.YES
    elif asked is None:
        endpoints["/assistants"] = Answers.ABSENT
    needed = {unit.kind for unit in planned.units if _is_made(unit)} & {*ASSISTANT_KINDS, Kind.SKILL}
    needed -= {Kind.ASSISTANT}
    needed |= {kind for kind, count in ((Kind.STORE, total.stores), (Kind.FILE, total.files)) if count}
    for where in (where for kind, where in places.items() if kind in needed):
        if not _can_have(account, where, needed) or await client.absence(account, where):
            raise DestinationUnfit(
                f"can't import into {account.endpoint.title}: it has no {where}, which this bundle needs",
                hint="leave out what needs it with --only or --exclude",
            )
        endpoints[where] = Answers.YES
    warnings: list[str] = []
    if total.requests:
        endpoints["/responses"], warnings = await _responses(account)
    # Last, because nothing depends on it: without a list of models they are taken to be there.
    catalog, endpoints["/models"] = await _catalog(account)
    return Destination(party=account.party, endpoints=endpoints, catalog=catalog, warnings=warnings)


def _is_made(unit: Unit) -> bool:
    return not any(isinstance(step, Cannot) for step in unit.steps)


def _can_have(account: Account, where: str, needed: Collection[Kind]) -> bool:
    """Whether the account's platform has what is at a path; OpenAI's agents and Foundry's share one."""
    kinds = [kind for kind in needed if KINDS[kind].endpoint == where]
    return all(account.platform in KINDS[kind].platforms for kind in kinds)


async def _responses(account: Account) -> tuple[Answers, list[str]]:
    """Whether the written requests could be sent there. Writing them needs no endpoint."""
    there, error = await client.responses(account)
    written = "the requests are written anyway"
    if isinstance(error, (AuthenticationFailed, PermissionDenied)):
        return Answers.DENIED, [f"the key can't use /responses ({error.detail or error.message}); {written}"]
    if there is False:
        return Answers.ABSENT, [f"the destination has no Responses API; {written}"]
    return (Answers.YES if there else Answers.UNKNOWN), []


async def _catalog(account: Account) -> tuple[ModelCatalog, Answers]:
    """The models there, or why they are not known; and how the list of models answers."""
    # What an agent of Foundry names as its model is a deployment.
    listed = "deployments" if account.endpoint.is_foundry else "models"
    catalog = partial(ModelCatalog, noun=listed)
    try:
        models = await client.models(account)
    except PermissionDenied:
        return catalog(reason=f"the key can't list {listed}"), Answers.DENIED
    except (NotFound, RequestRefused):
        return catalog(reason=f"the destination has no list of {listed}"), Answers.ABSENT
    except (msgspec.DecodeError, *REQUEST_ERRORS):
        return catalog(reason=f"the destination's list of {listed} can't be read"), Answers.ABSENT
    if not models:
        return catalog(reason=f"the destination's list of {listed} is empty"), Answers.YES
    return catalog(models=models), Answers.YES


# -- connections of a Foundry project ------------------------------------------------------------------

# Names of connections that a line has; the rest is counted.
_NAMED = 20


async def connection_notes(
    account: Account, summary: BundleSummary, planned: Plan, mapped: Mapping[str, str] | None
) -> AsyncIterator[str]:
    """Lines about the connections that a plan's tools use, if one is missing or ``mapped`` (source to destination).
    One says so if the destination's list can't be read."""
    mapped = mapped or {}
    lost = {loss.id for loss in planned.losses() if loss.why is Why.NO_CONNECTION}
    if not (lost or mapped):
        return
    records = [record for kind in ASSISTANT_KINDS for record in summary.records(kind)]
    names: list[str] | None = None
    try:
        names = [one.name for one in await connections(account)]
        there = _first_names(names)
    except RemoteError as error:
        there = f"unknown ({error.detail or error.message})"
    if flags := _missing_flags(records, lost, mapped):
        yield f"tools without a connection are left out: {' '.join(flags)}; connections at the destination: {there}"
    used = {name.casefold(): name for record in records for name in used_by(record)}
    for line in _odd_mappings(mapped, used, names, there):
        yield line


def _missing_flags(records: Iterable[Record], lost: Container[SourceId], mapped: Mapping[str, str]) -> list[str]:
    """The flags that would give the ``lost`` ones of ``records`` their connections."""
    known = by_name(mapped)
    missing = {name for record in records if record.id in lost for name in used_by(record)}
    return [f"--map-connection {pasteable(f'{name}=NEW')}" for name in sorted(missing) if name.casefold() not in known]


def _odd_mappings(
    mapped: Mapping[str, str], used: Mapping[str, str], names: list[str] | None, there: str
) -> Iterator[str]:
    """Lines about what is ``mapped`` without effect, or to what the destination doesn't list."""
    for old, new in mapped.items():
        if connection_name(old).casefold() not in used:
            have = _first_names(used.values())
            yield f"--map-connection {old}={new} matches no connection; connections in the bundle: {have}"
        elif names is not None and connection_name(new).casefold() not in {name.casefold() for name in names}:
            yield f"connection {new} is not in the destination's list ({there}); using it anyway (--map-connection)"


def _first_names(names: Iterable[str]) -> str:
    found = sorted(names)
    more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return ", ".join([*found[:_NAMED], *more]) or "none"


# -- what earlier runs made there ----------------------------------------------------------------------

DROPS_METADATA = (
    "this server dropped metadata in an earlier run, so retried requests may create duplicates; the report lists them"
)


class History:
    """The copies of earlier runs. Their ids are candidates: whether they still exist, only the destination tells."""

    def __init__(self) -> None:
        self.made: dict[Kind, dict[SourceId, list[TargetId]]] = {kind: {} for kind in Kind}
        """Candidates under the source's ids, the newest last."""
        self.copies: dict[SourceId, list[TargetId]] = {}
        """Second uploads of files, as text, which only stores have."""
        self.hashes: dict[TargetId, str] = {}
        """The sha256 of the bundle's entry that a file was uploaded from."""
        self.fingerprints: dict[TargetId, dict[str, str]] = {}
        """By definition, how its fields were left."""
        self.attached: dict[TargetId, dict[TargetId, str]] = {}
        """By store, the files that were put into it, with the fingerprints of their attributes."""
        self.unkept: dict[TargetId, set[str]] = {}
        """Fields that the account didn't keep as they were sent, by assistant, agent and store."""
        self.unkept_files: dict[TargetId, set[TargetId]] = {}
        """By store, the files in it whose attributes were not kept."""
        self.added: set[str] = set()
        """Metadata keys that the server puts in by itself."""
        self.supplied: dict[TargetId, set[str]] = {}
        """By template, the fields whose values its owner supplied."""
        self.notes: list[str] = []
        """What could not be read, in words."""
        self._dropped: dict[Kind, dict[str, None]] = {}

    def __bool__(self) -> bool:
        return any(self.made.values())

    def uploads(self, source: SourceId) -> list[TargetId]:
        """All candidates for a file."""
        return [*self.made[Kind.FILE].get(source, ()), *self.copies.get(source, ())]

    def add(self, run: RunState, *, prefix: str) -> None:
        """Adds one run. Its assistants and agents count if they were made with the same ``prefix``."""
        self._add_made(run, prefix)
        for store, files in run.members.items():
            inside = {**self.attached.get(store, {}), **files}
            self.attached[store] = {file: left for file, left in inside.items() if left is not None}
        self.added.update(run.added)
        for target, names in run.supplied.items():
            self.supplied.setdefault(target, set()).update(names)
        for line in run.shown:
            self._show(line)
        if not run.keeps_marks and DROPS_METADATA not in self.notes:
            self.notes.append(DROPS_METADATA)

    def _add_made(self, run: RunState, prefix: str) -> None:
        same = run.opened is not None and run.opened.options.get("prefix", "") == prefix
        # Assistants under another prefix are another set of copies, which stays as it is.
        others = set() if same else {made.target for made in run.made if made.kind in ASSISTANT_KINDS}
        for made in run.made:
            if made.target not in others:
                _make_newest(self.copies if made.is_copy else self.made[made.kind], made.source, made.target)
        self.hashes.update((made.target, made.sha256) for made in run.made if made.sha256 is not None)
        self.fingerprints.update((target, image) for target, image in run.images.items() if target not in others)

    def _show(self, line: Shown) -> None:
        """What a run found when it read back what it had sent."""
        if line.image is not None:
            self.unkept[line.target] = set(line.unkept)
        if line.files is not None:
            self.unkept_files.setdefault(line.target, set()).update(line.files)
        if fields := [*line.unkept, *(["attributes"] if line.files else [])]:
            self._dropped.setdefault(line.kind, {}).update(dict.fromkeys(fields))

    def mapped(self, found: RunMapping, *, prefix: str | None) -> None:
        """Adds a mapping. Its assistants and agents count if they have the same ``prefix`` (None: any)."""
        for kind in DEFINITIONS:
            # Stores have no prefix.
            if kind is Kind.STORE or prefix in (None, found.choices.prefix):
                for source, target in found.placed(kind).items():
                    _make_newest(self.made[kind], source, target)
        for source, target in found.files.items():
            if target != found.copies.get(source):
                _make_newest(self.made[Kind.FILE], source, target)
        for source, target in found.copies.items():
            _make_newest(self.copies, source, target)
        self.added.update(found.added)

    def try_again(self) -> None:
        """Sends once more what the account didn't keep: it counts as any other difference."""
        self.unkept.clear()
        self.unkept_files.clear()

    def dropped(self) -> list[str]:
        """What earlier runs found that the server doesn't keep, in words."""
        return [
            f"this server changed values in an earlier run ({noun(kind)}: {', '.join(fields)}); changed "
            f"values are reported"
            for kind, fields in self._dropped.items()
        ]


def history(
    output: Path, *, destination: Mapping[str, str | None], prefix: str, mapping: Path | None = None
) -> History:
    """What the runs below OUTPUT_DIR did at this destination, and what the user's ``mapping`` says.

    Assistants and agents count if they were made with the same ``prefix``. Raises UsageFault for a ``mapping`` that
    can't be read or is of another project, CannotWrite.
    """
    found = History()
    # Its run's folder may be gone, or on another machine.
    latest = read_mapping(output / MAPPING)
    if latest and latest.is_at(destination, output) and all(run.name != latest.run for run in past_runs(output)):
        found.mapped(latest, prefix=prefix)
    for run in past_runs(output, destination):
        if run.is_undone:  # then things are as the runs before it left them
            continue
        try:
            # The journal after the mapping: it also has what a run that was cut off did, and how things were left.
            if its := read_mapping(run.folder / MAPPING):
                found.mapped(its, prefix=prefix)
            found.add(run.state(), prefix=prefix)
        except (CannotWrite, ImportFailed) as error:
            found.notes.append(f"{error.message}; ignoring that run")
    if mapping is not None:
        asked = read_mapping(mapping)
        if asked is None:
            raise UsageFault(f"can't use --mapping {mapping}: not a mapping.json")
        if not asked.is_at(destination, output):
            raise UsageFault(
                f"can't use --mapping {mapping}: it is for {title(asked.destination.account)}, and the "
                f"destination is {title(destination)}"
            )
        found.mapped(asked, prefix=None)
    return found


def _make_newest(known: dict[SourceId, list[TargetId]], source: SourceId, target: TargetId) -> None:
    """Put ``target`` last of the candidates for ``source``."""
    targets = known.setdefault(source, [])
    if target in targets:
        targets.remove(target)
    targets.append(target)


# -- the copy of a bundle ------------------------------------------------------------------------------


class IdMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Source id -> id in the copy. ``files`` is None if no mapping was found: files carry no marks.

    ``copies`` are the second uploads of files, as text, that stores have instead of the first. ``origin`` is the source
    of the mapping, for people; ``prefix``, ``selection`` and ``models`` are those of the run. In the ``form`` of
    requests, assistants have the paths of their files, below ``output``. ``added`` are metadata keys that the server
    adds by itself, as any run found.
    """

    origin: str
    definitions: Mapping[Kind, Mapping[SourceId, TargetId]]
    files: Mapping[SourceId, TargetId] | None = None
    copies: Mapping[SourceId, TargetId] = {}
    added: frozenset[str] = frozenset()
    prefix: str | None = None
    selection: Selection = Selection()
    models: ModelMap = ModelMap()
    connections: Mapping[str, str] = {}
    form: Form = Form.ASSISTANTS
    output: Path | None = None
    supplied: Mapping[SourceId, frozenset[str]] = {}

    @property
    def stores(self) -> Mapping[SourceId, TargetId]:
        return self.of(Kind.STORE)

    def of(self, kind: Kind) -> Mapping[SourceId, TargetId]:
        """The definitions of a kind."""
        return self.definitions.get(kind, {})


def by_mapping(output: Path, digests: Mapping[str, str], destination: Mapping[str, str | None]) -> IdMapping | None:
    """The newest mapping below OUTPUT_DIR of this bundle and, as far as is known, of this destination.

    Raises CannotWrite.
    """
    for path, found in mappings(output, destination):
        if any(found.bundle.get(name) != value for name, value in digests.items()):
            continue
        choices = found.choices
        return IdMapping(
            origin=str(path),
            definitions={kind: found.placed(kind) for kind in DEFINITIONS},
            files=found.files,
            copies=found.copies,
            added=frozenset().union(*(one.added for _, one in mappings(output, destination))),
            prefix=choices.prefix,
            selection=Selection(only=choices.only, exclude=choices.exclude),
            models=model_map(choices.map_model),
            connections=connection_map(choices.map_connection),
            supplied=supplied_by_id(choices.supplied),
            form=found.form,
            output=output,
        )
    return None


async def by_marks(account: Account, form: Form, output: Path, kinds: Iterable[Kind]) -> IdMapping:
    """The copies of these ``kinds`` by their own ``cloned_from``; the newest if there are several.

    In the ``form`` of requests, the files beside those in ``output`` say whose they are. Raises CannotWrite, and what
    the account raises.
    """
    definitions: dict[Kind, dict[SourceId, TargetId]] = {}
    for kind in (kind for kind in kinds if kind not in UNMARKED):
        if kind is Kind.ASSISTANT and form is Form.RESPONSES:
            definitions[kind] = _written_down(output, account.party)
        else:
            definitions[kind] = await _marked(account, kind)
    return IdMapping(origin=f"metadata.{CLONED_FROM}", definitions=definitions, form=form, output=output)


class _RequestNote(msgspec.Struct, frozen=True, kw_only=True):
    """The file beside a written request, as far as it says whose it is."""

    id: SourceId
    request: str
    destination: dict[str, str | None] = {}


def _written_down(output: Path, destination: Mapping[str, str | None]) -> dict[SourceId, TargetId]:
    """The requests below ``output`` for this destination, by the ids of the assistants that they stand for."""
    found = {}
    for path, data in listed(output):
        if path.endswith(ABOUT):
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                about = msgspec.json.decode(data, type=_RequestNote)
                if same_account(about.destination, destination):
                    found[about.id] = TargetId(f"{FOLDER}/{about.request}")
    return found


async def _marked(account: Account, kind: Kind) -> dict[SourceId, TargetId]:
    """The marked copies of a kind by the source's ids; empty if there is no such endpoint."""
    newest: dict[SourceId, tuple[int, TargetId]] = {}
    try:
        async for raw in account.items(KINDS[kind].endpoint):
            found: Any = viewed(raw, KINDS[kind].view, f"a record of {KINDS[kind].endpoint}")
            source = (found.metadata or {}).get(CLONED_FROM)
            if isinstance(source, str):
                made = epoch_seconds(found.created_at)
                # The list is oldest first, so of two made in one second the later one stands.
                if SourceId(source) not in newest or newest[SourceId(source)][0] <= made:
                    newest[SourceId(source)] = (made, TargetId(found.id))
    except RemoteError as error:
        if not await is_absent(account, error):
            raise
    return {source: target for source, (_, target) in newest.items()}
