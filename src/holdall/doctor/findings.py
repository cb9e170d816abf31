"""What of all that was found is something to look at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdall.doctor.diagnosis import DoctorFinding, DownloadCheck, EndpointState, Model, Side
from holdall.model import KNOWLEDGE

__all__ = ["SOON", "findings"]

SOON = 60
"""Days before a model's end from which on it is something to look at, if an assistant or agent has it."""

# The endpoints of what a destination takes besides assistants.
_TAKEN = ("files", "vector_stores", "agents")

# What an export or an import can't do without, where the server has it at all.
_NEEDED = ("files", "vector_stores", "assistants", "models")


def findings(sides: Sequence[Side], *, same_project: bool | None) -> list[DoctorFinding]:
    """Everything to look at, side by side, what concerns both at the end."""
    found = [DoctorFinding(side=side.side, code=code, message=text) for side in sides for code, text in _of_side(side)]
    if same_project:
        found.append(
            DoctorFinding(
                side=None,
                code="same_project",
                message="source and destination are the same project: an import would add copies beside the originals",
            )
        )
    return found


def _of_side(side: Side) -> Iterator[tuple[str, str]]:
    if side.failure:
        yield "failure", side.failure.message
        return
    yield from _endpoints(side)
    for where, why in side.doubts.items():
        yield "list", f"the list {where} may lack something: {why}"
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
            yield "permission", f"the key may not read {each.name}{what}"
        elif each.answer in (EndpointState.FAILS, EndpointState.UNKNOWN):
            yield "endpoint", f"{each.name} can't be read: {each.message}"


def _source(side: Side) -> Iterator[tuple[str, str]]:
    if side.answer("assistants") is EndpointState.ABSENT:
        yield (
            "no_assistants",
            "it has no Assistants API: an export takes all vector stores and files, and definitions from a JSON that "
            "you saved (--from-dump FILE)",
        )
    for each in side.downloads:
        if each.purpose in KNOWLEDGE and each.answer is not EndpointState.YES:
            yield "download", _download(each, side.text)
    held = side.export
    if held and not any((held.assistants, held.agents, held.vector_stores, held.files)) and not side.doubts:
        yield "empty", "it holds nothing that an export would take"


def _download(each: DownloadCheck, text: EndpointState | None) -> str:
    then = (
        "; their parsed text can be had where they are in a vector store, the originals with --originals DIR"
        if text is EndpointState.YES
        else "; the originals with --originals DIR"
    )
    several = "files" if each.files > 1 else "file"
    why = each.message or "nothing came"
    return f"{each.files} {several} of purpose {each.purpose} can't be downloaded: {why}{then}"


def _destination(side: Side) -> Iterator[tuple[str, str]]:
    # An endpoint that the key may not use is there all the same.
    there = (EndpointState.YES, EndpointState.DENIED)
    if side.answer("assistants") in there or side.answer("responses") in there:
        return
    neither = "it has neither an Assistants API nor a Responses API"
    takes = [name.replace("_", " ") for name in _TAKEN if side.answer(name) in there]
    if not takes:
        yield "no_way_in", f"{neither}: there is nothing to import into"
        return
    taken = " and ".join(filter(None, (", ".join(takes[:-1]), takes[-1])))
    yield "no_assistants", f"{neither}: it takes {taken}; assistants are written as requests to be sent elsewhere"


def _model(model: Model) -> str:
    who = ", ".join(model.used_by[:3]) + (f" and {len(model.used_by) - 3} more" if len(model.used_by) > 3 else "")
    if not model.there:
        return f"model {model.id} is not there; used by {who}"
    when = f"in {model.days} days" if model.days else "now"
    return f"model {model.id} shuts down on {model.shutdown}, {when}; used by {who}"
