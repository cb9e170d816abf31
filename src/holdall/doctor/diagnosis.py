"""The results of an examination, and which of them need attention. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from holdall.errors import AuthenticationFailed, NotFound, PermissionDenied, RemoteError
from holdall.model import KNOWLEDGE
from holdall.remote.client import Deployment, ProjectConnection
from holdall.remote.refusals import missing_scopes

SOON = 60
"""Days before a model's end from which on it is something to look at, if an assistant or agent has it."""

# The endpoints of what a destination takes besides assistants.
_TAKEN = ("files", "vector_stores", "agents")

# What an export or an import can't do without, where the server has it at all.
_NEEDED = ("files", "vector_stores", "assistants", "models")


class EndpointState(StrEnum):
    """How an endpoint answers to a read."""

    YES = "answers"
    ABSENT = "absent"
    DENIED = "denied"
    FAILS = "fails"
    UNKNOWN = "unknown"


class EndpointCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint. ``scopes`` are the permissions that the server says the key lacks; ``message`` its own words.

    ``hint`` is the way out, where the kind of refusal is known.
    """

    name: str
    answer: EndpointState
    status: int | None = None
    scopes: list[str] = []
    message: str = ""
    hint: str = ""


def judged(name: str, error: RemoteError) -> EndpointCheck:
    """The state of an endpoint by the error of a request that succeeds if the endpoint exists."""
    scopes = missing_scopes(error)
    if scopes is not None or isinstance(error, (AuthenticationFailed, PermissionDenied)):
        answer = EndpointState.DENIED
    elif isinstance(error, NotFound) or error.status in (405, 501):
        answer = EndpointState.ABSENT
    else:
        answer = EndpointState.FAILS
    return EndpointCheck(
        name=name,
        answer=answer,
        status=error.status,
        scopes=scopes or [],
        message=error.detail or error.message,
        hint=error.hint,
    )


class DownloadCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether files of one purpose can be downloaded, tried with the newest one.

    ``answer`` is None where no file of the purpose could be tried. ``bytes`` is the sum of what the server says.
    """

    purpose: str
    files: int
    bytes: int
    answer: EndpointState | None = None
    message: str = ""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model with a shutdown date, or missing. ``shutdown`` is an ISO date, ``days`` the days until then (0: today or
    past).

    ``used_by`` are the assistants and agents of the project that have it.
    """

    id: str
    there: bool
    shutdown: str | None = None
    days: int | None = None
    used_by: list[str] = []


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The number of models, and those with a shutdown date, earliest first, then those in use that are gone."""

    there: int
    ending: list[Model] = []
    gone: list[Model] = []


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What an export without flags would take in. None: not known.

    ``memberships`` are those that the stores list, or where these are too many to read, what the stores count.
    ``files`` are different files and ``bytes`` their sizes as the server says them; both are None where finding out
    would take a long time or the lists can't be fetched.
    """

    assistants: int | None = None
    agents: int | None = None
    foundry_agents: int | None = None
    skills: int | None = None
    environment_templates: int | None = None
    vector_stores: int | None = None
    memberships: int | None = None
    files: int | None = None
    bytes: int | None = None


class FoundryProject(msgspec.Struct, frozen=True, kw_only=True):
    """What a project of Azure AI Foundry has besides: whether Agents (classic) and new agents answer, and the
    deployments and connections, None where they can't be listed."""

    classic: bool
    new: bool
    deployments: list[Deployment] | None = None
    connections: list[ProjectConnection] | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an account could not be looked at, with the exit code that says so."""

    exit_code: int
    message: str
    hint: str = ""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One account. ``key_valid`` is None where no answer tells; ``proxy`` is what requests go through, without its
    password; ``in_clear`` says that they go to another machine unencrypted.

    ``text`` is whether the parsed text of a file in a store can be had, None where there was none to try. ``foundry``
    is None for any other server. ``doubts``
    are the lists that may lack something, with why. ``requests`` counts what was sent, by method and route.
    """

    side: str
    base_url: str
    organization: str | None = None
    project: str | None = None
    proxy: str | None = None
    in_clear: bool = False
    key_valid: bool | None = None
    failure: Failure | None = None
    endpoints: list[EndpointCheck] = []
    downloads: list[DownloadCheck] = []
    text: EndpointState | None = None
    foundry: FoundryProject | None = None
    models: Models | None = None
    export: Holdings | None = None
    doubts: dict[str, str] = {}
    requests: dict[str, int] = {}

    def answer(self, name: str) -> EndpointState:
        """How the endpoint answers; one that was not asked is unknown."""
        return next((each.answer for each in self.endpoints if each.name == name), EndpointState.UNKNOWN)


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs attention. ``side`` is None if it concerns both."""

    side: str | None
    code: str
    message: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The whole result. ``same_project`` is None if unknown; ``evidence`` says why."""

    sides: list[Side]
    same_project: bool | None
    evidence: str
    findings: list[DoctorFinding]

    @property
    def failure(self) -> Failure | None:
        """The first account that could not be looked at."""
        return next((side.failure for side in self.sides if side.failure), None)


def findings(sides: Sequence[Side], *, same_project: bool | None) -> list[DoctorFinding]:
    """Everything that needs attention, by side; what concerns both comes last."""
    found = [DoctorFinding(side=side.side, code=code, message=text) for side in sides for code, text in _of_side(side)]
    if same_project:
        found.append(
            DoctorFinding(
                side=None,
                code="same_project",
                message="source and destination are the same project: an import would add copies to the originals",
            )
        )
    return found


def _of_side(side: Side) -> Iterator[tuple[str, str]]:
    if side.failure:
        yield "failure", side.failure.message
        return
    yield from _endpoints(side)
    for where, why in side.doubts.items():
        yield "list", f"the list {where} may be incomplete: {why}"
    if side.side == "source":
        yield from _source(side)
    else:
        yield from _destination(side)
    if side.models:
        for model in [*side.models.gone, *side.models.ending]:
            if model.used_by and (not model.there or (model.days or 0) <= SOON):
                yield "model", _model(model)


def _endpoints(side: Side) -> Iterator[tuple[str, str]]:
    for each in side.endpoints:
        if each.name not in _NEEDED:
            continue
        if each.answer is EndpointState.DENIED:
            what = f" ({', '.join(each.scopes)})" if each.scopes else f": {each.message}"
            yield "permission", f"the key can't read {each.name}{what}"
        elif each.answer in (EndpointState.FAILS, EndpointState.UNKNOWN):
            yield "endpoint", f"can't read {each.name}: {each.message}"


def _source(side: Side) -> Iterator[tuple[str, str]]:
    if side.answer("assistants") is EndpointState.ABSENT and not (side.foundry and side.foundry.new):
        yield (
            "no_assistants",
            "no Assistants API: only vector stores and files are exported. "
            "If you have saved definitions, add --from-dump FILE",
        )
    for each in side.downloads:
        if each.purpose in KNOWLEDGE and each.answer is not EndpointState.YES:
            yield "download", _download(each, side.text)
    held = side.export
    definitions = held and (held.assistants, held.agents, held.foundry_agents, held.skills, held.environment_templates)
    if held and not any((*(definitions or ()), held.vector_stores, held.files)) and not side.doubts:
        yield "empty", "nothing to export"


def _download(each: DownloadCheck, text: EndpointState | None) -> str:
    text_only = "Those in a vector store are exported as text. " if text is EndpointState.YES else ""
    several = "files" if each.files > 1 else "file"
    why = each.message or "no content"
    refused = f"{each.files} {several} of purpose {each.purpose} can't be downloaded: {why.rstrip('.')}."
    return f"{refused} {text_only}If you have copies, add --originals DIR"


def _destination(side: Side) -> Iterator[tuple[str, str]]:
    # An endpoint that the key may not use is there all the same.
    there = (EndpointState.YES, EndpointState.DENIED)
    if side.answer("assistants") in there or side.answer("responses") in there:
        return
    neither = "neither an Assistants API nor a Responses API"
    takes = [name.replace("_", " ") for name in _TAKEN if side.answer(name) in there]
    if not takes:
        yield "no_way_in", f"{neither}: nothing can be imported"
        return
    taken = " and ".join(filter(None, (", ".join(takes[:-1]), takes[-1])))
    yield (
        "no_assistants",
        f"{neither}: {taken} can be imported. Assistants are written to files, as Responses API requests",
    )


def _model(model: Model) -> str:
    who = ", ".join(model.used_by[:3]) + (f" and {len(model.used_by) - 3} more" if len(model.used_by) > 3 else "")
    if not model.there:
        return f"model {model.id} not found; used by {who}"
    when = f"in {model.days} days" if model.days else "now"
    return f"model {model.id} shuts down on {model.shutdown}, {when}; used by {who}"
