"""Parses why a server refused a request; the only module that interprets servers' error messages. Pure.

Few servers fill in ``code`` and ``param``, and some put another field's name there, so the sentence is read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from holdall.errors import NotFound, RemoteError

_SCOPES = re.compile(r"missing scopes?:?\s*([\w.:*-]+(?:\s*,\s*[\w.:*-]+)*)?", re.I)
# 429 of these types or codes says "pay", not "wait". Source: SDK and platform documentation, 2026-11.
_SPENT = re.compile(
    r"insufficient_quota|credit_balance_exhausted|spend_limit_exceeded$|usage_limit_exceeded$|billing_hard_limit_reached"
)
_SCOPE = re.compile(
    r"(?:mismatched|invalid|unknown|missing)_(organi[sz]ation|project)\b"
    r"|\b(organi[sz]ation|project)_(?:mismatch|not_found|invalid|required)"
    r"|no such (organi[sz]ation|project)\b|openai-(organi[sz]ation|project) header|member of an (organi[sz]ation)\b",
    re.I,
)
_QUOTED = re.compile(r"(?<!\w)[`'\"‘“]([A-Za-z_]\w*)(?:[.\[][^`'\"’”]*)?[`'\"’”]")  # noqa: RUF001
# What comes before a field's name in ``param``, where a server gives the whole way to it.
_ROOTS = frozenset({"body", "request", "params", "definition"})


# Foundry's 400 for an id that is not there, or another project's.
_NOT_OWNED = re.compile(r"not found due to ownership verification failure", re.I)
_NO_SUCH_ID = re.compile(r"Expected an ID that begins with", re.I)

# What Foundry has to be asked for by name. Source: azure-ai-projects 2.10.0.
_PREVIEWS = frozenset({
    "DigitalWorker", "DraftAgents", "ExternalAgents", "GitHubCopilot", "MicrosoftCopilot", "Skills", "VoiceAgents",
    "WorkflowAgents",
})  # fmt: skip


class RefusalReason(StrEnum):
    """What was refused, if known."""

    TYPE = "type"
    """The type, or the name's ending, of a file."""
    TOO_MUCH = "too_much"
    """More items, or more bytes, than the server takes in one call."""
    ALREADY = "already"
    """It is there already."""
    CONTAINER = "container"
    """The container is gone, and not the file in it: 400 ``Container is expired``, or 404."""
    PURPOSE = "purpose"
    """No file of this purpose is given back."""
    MODEL = "model"
    """There is no such model, or no deployment of that name."""
    UNTOLD = "untold"
    """The answer has no word on it."""
    OTHER = "other"


# In this order: the narrower ones first.
_WORDS = {
    # The whole sentence is `Not allowed to download files of purpose: assistants`; seen since 2023, not documented.
    RefusalReason.PURPOSE: re.compile(r"not allowed to download files of purpose", re.I),
    RefusalReason.TOO_MUCH: re.compile(
        r"too many (?:files|tools|versions)|at most [\d,]+ (?:files|tools|versions)|"
        r"maximum (?:number )?of (?:[\d,]+ )?(?:files|tools|versions)|(?:array|list) too long|"
        r"too large|maximum (?:file )?size|exceeds? the .*limit|larger than",
        re.I,
    ),
    RefusalReason.TYPE: re.compile(
        r"\bextensions?\b|\bfiles? of the ending\b|\bunsupported (?:file|type|format|media)|"
        r"\binvalid file (?:type|format)|\b(?:types?|formats?)\b.*\b(?:not|n't) (?:supported|allowed|accepted)",
        re.I,
    ),
    RefusalReason.CONTAINER: re.compile(r"\bcontainer\b.*\b(expired|not found|deleted)\b", re.I | re.S),
    RefusalReason.ALREADY: re.compile(r"\balready\b", re.I),
}

_CODES = {
    "array_above_max_length": RefusalReason.TOO_MUCH,
    "content_size_exceeded": RefusalReason.TOO_MUCH,
    "file_size_exceeded": RefusalReason.TOO_MUCH,
    "token_limit_exceeded": RefusalReason.TOO_MUCH,
    "tool_limit_exceeded": RefusalReason.TOO_MUCH,
    "unsupported_file": RefusalReason.TYPE,
    "deploymentnotfound": RefusalReason.MODEL,
    "model_not_found": RefusalReason.MODEL,
}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """``said`` is the server's sentence, ``param`` the field that it names beside it."""

    reason: RefusalReason
    said: str = ""
    param: str | None = None

    def blames(self, fields: Iterable[str]) -> list[str]:
        """Those of ``fields`` that are refused: what ``param`` names, or the sentence in quotes, or in passing.

        >>> refusal = Refusal(reason=RefusalReason.OTHER, said="Unsupported parameter: 'top_p'", param="model")
        >>> refusal.blames(["top_p", "name"])
        ['top_p']
        """
        fields = list(fields)
        param = next((word for word in re.findall(r"\w+", self.param or "") if word not in _ROOTS), None)
        quoted = set(_QUOTED.findall(self.said))
        passing = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", self.said))
        for named in ({param}, quoted, passing):
            if found := [field for field in fields if field in named]:
                return found
        return []

    def endings(self) -> set[str]:
        """The endings of files that are refused, as they are written and without dots; not those of a list of what
        would be accepted. Where none has a dot, any word may be one."""
        accused = re.split(
            r"supported (?:formats|types|files|extensions)\b", re.sub(r"https?://\S+", " ", self.said), flags=re.I
        )
        dotted = re.findall(r"\.([A-Za-z0-9_+-]+)", accused[0])
        return set(dotted or re.findall(r"[A-Za-z0-9_+-]+", accused[0]))

    def most(self, sent: int) -> int:
        """How many items are taken in one call, where ``sent`` were too many: as it is told, or half of them."""
        told = [int(number) for number in re.findall(r"\d+", self.said) if 0 < int(number) < sent]
        return max(told, default=sent // 2)


def read(error: RemoteError) -> Refusal:
    """The reason for which a request was refused."""
    return Refusal(reason=_reason(error), said=error.detail, param=error.param)


def missing_scopes(error: RemoteError) -> list[str] | None:
    """The permissions that a restricted key lacks, as far as they are told; None for an error of another kind."""
    if not (found := _SCOPES.search(error.detail)):
        return None
    return re.split(r"\s*,\s*", found[1].rstrip(".")) if found[1] else []


def is_unknown(error: RemoteError, ids: Iterable[str]) -> bool:
    """Whether something isn't there that may be one of ``ids``: one that is named, or where nothing is told any."""
    ids = list(ids)
    if isinstance(error, NotFound) and not error.detail:
        return bool(ids)
    unknown = isinstance(error, NotFound) or "not found" in error.detail.lower()
    return unknown and any(id in error.detail for id in ids)


def is_not_owned(status: int, detail: str) -> bool:
    """Whether a refusal says, in Foundry's words, that an id is not there."""
    return status == 400 and _NOT_OWNED.search(detail) is not None


def is_foreign(error: RemoteError) -> bool:
    """Whether an id has no form that the server gives, so that it can't be there."""
    return error.status == 400 and _NO_SUCH_ID.search(error.detail) is not None


def previews(error: RemoteError) -> list[str]:
    """The previews of Foundry that a request needs, where it is refused because they weren't asked for by name."""
    if error.code != "preview_feature_required":
        return []
    return sorted(_PREVIEWS.intersection(re.findall(r"\w+", error.detail)))


def is_spent(code: str | None, kind: str | None) -> bool:
    """Whether a refusal of this ``code`` and ``type`` says "pay", not "wait"."""
    return any(_SPENT.search(word) for word in (code, kind) if word)


def scope(code: str | None, detail: str) -> str | None:
    """``organization`` or ``project`` where a refusal is about the one that was named in a header, else None."""
    found = _SCOPE.search(code or "") or _SCOPE.search(detail)
    if not found:
        return None
    return "project" if "project" in (part for part in map(str.lower, filter(None, found.groups()))) else "organization"


def _reason(error: RemoteError) -> RefusalReason:
    if error.status == 413:
        return RefusalReason.TOO_MUCH
    if found := _CODES.get((error.code or "").lower()):
        return found
    for reason, words in _WORDS.items():
        if words.search(error.detail):
            return reason
    return RefusalReason.OTHER if error.detail or error.param else RefusalReason.UNTOLD
