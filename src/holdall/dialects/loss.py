"""The losses of an import: one value for each thing that changes, for people and for ``--json``."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

import msgspec

from holdall.kinds import noun
from holdall.model import Kind, SourceId


class Severity(StrEnum):
    """How much of the source is lost."""

    NOTE = "note"
    """Nothing: the copy does what the source did, or what it was asked to; it is only worth saying."""
    MINOR = "minor"
    """A detail: the copy does what the source did, perhaps not quite as well."""
    MAJOR = "major"
    """A part: there is something that the source did and the copy does not."""


class MaxLoss(StrEnum):
    """How much may be lost; notes may always be."""

    NONE = "none"
    MINOR = "minor"
    ANY = "any"

    def allows(self, severity: Severity) -> bool:
        if severity is Severity.MINOR:
            return self is not MaxLoss.NONE
        return severity is Severity.NOTE or self is MaxLoss.ANY


class Why(StrEnum):
    """The reasons, each with how much it loses."""

    severity: Severity

    def __new__(cls, value: str, severity: Severity) -> Self:
        # The value is the word alone: journals and plans have it, and a severity may be judged anew.
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.severity = severity
        return reason

    UNKNOWN_FIELD = "unknown_field", Severity.MINOR
    """The destination's API has no such field; it was not sent."""
    UNKNOWN_TOOL = "unknown_tool", Severity.MAJOR
    """The destination has no such tool; it was not sent."""
    UNUSABLE = "unusable", Severity.MINOR
    """A search without a store, or a tool's files without the tool: of no use, so it was not sent."""
    UNFIT_VALUE = "unfit_value", Severity.MINOR
    """The destination's API has the field, but takes no such value; it was not sent."""
    OVER_LIMIT = "over_limit", Severity.MINOR
    """More, or longer, than the destination's API takes; what is too much was not sent."""
    VALUE_CHANGED = "value_changed", Severity.MINOR
    """The destination's API has another value for it, or only one that comes near."""
    MODEL_REFUSES = "model_refuses", Severity.MINOR
    """The API takes the parameter, but not for this model; it was not sent."""
    BESIDE = "beside", Severity.NOTE
    """A file of that name is there that others have made or changed; the new one was written beside it."""
    DEFAULT_LEFT_OUT = "default_left_out", Severity.MINOR
    """The model refuses the parameter, which was at its default anyway; it was not sent."""
    MODEL_MAPPED = "model_mapped", Severity.NOTE
    """The copy has the model that ``--map-model`` names in place of its own."""
    LEFT_ALONE = "left_alone", Severity.MAJOR
    """What is there differs from the bundle, and was asked to be left as it is."""
    KEPT = "kept", Severity.NOTE
    """The destination has more than the bundle; it was not asked to take that away."""
    MARKS_REPLACED = "marks_replaced", Severity.NOTE
    """The source is itself a copy: its ``cloned_from`` gave way to ours."""
    MARKS_LEFT_OUT = "marks_left_out", Severity.NOTE
    """Every metadata key is taken, so our own marks are taken off again after creation."""
    CHUNKING_UNKNOWN = "chunking_unknown", Severity.MINOR
    """The source did not say how it cut the file; the destination's default is used."""
    PURPOSE_CHANGED = "purpose_changed", Severity.MINOR
    """Only the server may give the file's purpose, or the destination takes no such; ``assistants`` is used."""
    AS_TEXT = "as_text", Severity.MINOR
    """The bytes could not be exported; the parsed text is uploaded in their place."""
    RENAMED = "renamed", Severity.MINOR
    """The server gave the file another name than the one sent."""
    TRUNCATED = "truncated", Severity.MAJOR
    """Only the first part of it could be exported, or is taken."""
    JOINED_DOUBTFULLY = "joined_doubtfully", Severity.MAJOR
    """The parts of the parsed text may overlap otherwise than they were joined."""
    LEFT_OUT = "left_out", Severity.MAJOR
    """Not in the bundle, of no use where it stood, or more than the destination takes: it is gone from the copy."""
    NEVER_SHOWN = "never_shown", Severity.MAJOR
    """The API takes it and never returns it, so no bundle has it."""
    MERGED = "merged", Severity.MINOR
    """The server took the file for another one with the same bytes; the two have one id there, and one name."""
    NOT_KEPT = "not_kept", Severity.MAJOR
    """The destination accepted it, and does not have it as it was sent."""
    SIZE_DIFFERS = "size_differs", Severity.MINOR
    """The server counts other bytes than were sent."""
    REFUSED = "refused", Severity.MAJOR
    """The destination did not accept it."""
    UNCERTAIN = "uncertain", Severity.MAJOR
    """The answer was lost: it may or may not exist at the destination now."""
    NOT_INDEXED = "not_indexed", Severity.MAJOR
    """Attached, but the destination could not index it, or not in time."""
    NAME_CHANGED = "name_changed", Severity.NOTE
    """The destination's names have fewer characters, or the name is taken; the real one is in the copy's metadata."""
    TEMPLATE = "template", Severity.MINOR
    """The text has ``{{…}}``, which the destination may fill in."""
    SECRET = "secret", Severity.MAJOR
    """A key, or a header that may hold one; it was not sent, and has to be set at the destination."""
    NO_CONNECTION = "no_connection", Severity.MAJOR
    """A tool of a connection of the source's project, for which the destination has none."""
    FAILED_AS_BEFORE = "failed_as_before", Severity.NOTE
    """Attached; indexing failed, as it had in the source."""

    @property
    def weighs(self) -> bool:
        """Whether it makes a copy partial."""
        return self.severity is Severity.MAJOR


class Loss(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that the copy lacks or has changed.

    ``kind``, ``id`` and ``name`` say what it happened to, ``field`` where in it, ``inside`` the store or assistant
    that misses it, ``text`` the reason in words. ``recorded``: the bundle says so itself, whatever the destination.
    Names come from servers: escape them before printing.
    """

    why: Why
    kind: Kind
    id: SourceId
    name: str | None = None
    field: str | None = None
    inside: SourceId | None = None
    text: str = ""
    recorded: bool = False

    def __str__(self) -> str:
        kind = noun(self.kind)
        what = f"{kind} {self.name} ({self.id})" if self.name else f"{kind} {self.id}"
        return f"{what}: {f'{self.field}: ' if self.field else ''}{self.text}"
