"""What the answer to a write says: the id of what was made, how it looks, and nothing that was sent in confidence."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

import msgspec

from holdall.dialects.registry import shown
from holdall.errors import RemoteError, UnexpectedAnswer
from holdall.importer.apply.firstversions import version_of
from holdall.importer.plan.difference import fingerprints
from holdall.importer.runs import runlines
from holdall.importer.runs.effects import agent_of
from holdall.model import FileView, Kind, TargetId
from holdall.remote.client import Answer


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    id: TargetId


def withheld(error: RemoteError, where: str) -> RemoteError:
    """The same error without the server's words, which may repeat what was sent in confidence."""
    said = f" (status {error.status})" if error.status else ""
    message = f"can't POST {where}: not accepted{said}; its words may repeat what you supplied, so they are not shown"
    return dataclasses.replace(error, message=message, hint="", code=None, kind=None, param=None, detail="")


def identity(intent: runlines.Intent, request: str, answer: Answer) -> TargetId:
    """The id of what was made. Raises UnexpectedAnswer, ambiguous, where there is none."""
    try:
        if intent.kind is Kind.FOUNDRY_AGENT:
            return agent_of(version_of(intent.name or "", answer))
        if intent.kind is Kind.AGENT_VERSION:
            return version_of(intent.name or "", answer)
        if isinstance(intent, runlines.Create) and intent.into is not None:
            return version_of(intent.into, answer)
        return msgspec.json.decode(answer.raw, type=_Made).id
    except msgspec.DecodeError:
        # Ambiguous, for it was answered with success: something may have been made.
        raise UnexpectedAnswer(
            f"can't read the answer to {request}: no id in it",
            status=answer.status,
            request_id=answer.request_id,
            ambiguous=True,
        ) from None


def outcome(intent: runlines.Intent, target: TargetId, answer: Answer) -> runlines.Done:
    """The outcome, with how the object looks that can be changed later, or what of a file isn't as it was sent."""
    looks, name, size = None, None, None
    with suppress(msgspec.DecodeError):
        if isinstance(intent, runlines.Creation) and intent.kind is Kind.FILE:
            view = msgspec.json.decode(answer.raw, type=FileView)
            name = view.filename if view.filename != intent.name else None
            size = view.size if view.size != intent.size else None
        elif isinstance(intent, runlines.Create | runlines.Update):
            found = shown(intent.kind, msgspec.json.decode(answer.raw, type=dict[str, Any]))
            looks = fingerprints(intent.kind, found)
    return runlines.Done(op=intent.op, target=target, request_id=answer.request_id, image=looks, name=name, size=size)
