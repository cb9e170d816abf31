"""What does not come through an import as it was: one value for each thing, for people and for ``--json``."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from holdall.kinds import noun
from holdall.model import Kind, SourceId

__all__ = ["Loss", "MaxLoss", "Severity", "Why"]


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
        match severity:
            case Severity.NOTE:
                return True
            case Severity.MINOR:
                return self is not MaxLoss.NONE
            case Severity.MAJOR:
                return self is MaxLoss.ANY


class Why(StrEnum):
    """The reasons. ``weighs`` tells those that make a copy less than whole from those that are only worth saying."""

    UNKNOWN_FIELD = "unknown_field"
    """The destination's API has no such field; it was not sent."""
    UNKNOWN_TOOL = "unknown_tool"
    """The destination has no such tool; it was not sent."""
    UNUSABLE = "unusable"
    """A search without a store, or a tool's files without the tool: of no use, so it was not sent."""
    UNFIT_VALUE = "unfit_value"
    """The destination's API has the field, but takes no such value; it was not sent."""
    OVER_LIMIT = "over_limit"
    """More, or longer, than the destination's API takes; what is too much was not sent."""
    VALUE_CHANGED = "value_changed"
    """The destination's API has another value for it, or only one that comes near."""
    MODEL_REFUSES = "model_refuses"
    """The API takes the parameter, but not for this model; it was not sent."""
    BESIDE = "beside"
    """A file of that name is there that others have made or changed; the new one was written beside it."""
    DEFAULT_LEFT_OUT = "default_left_out"
    """The model refuses the parameter, which was at its default anyway; it was not sent."""
    MODEL_MAPPED = "model_mapped"
    """The copy has the model that ``--map-model`` names in place of its own."""
    LEFT_ALONE = "left_alone"
    """What is there differs from the bundle, and was asked to be left as it is."""
    KEPT = "kept"
    """The destination has more than the bundle; it was not asked to take that away."""
    MARKS_REPLACED = "marks_replaced"
    """The source is itself a copy: its ``cloned_from`` gave way to ours."""
    MARKS_LEFT_OUT = "marks_left_out"
    """Every metadata key is taken, so our own marks are taken off again after creation."""
    CHUNKING_UNKNOWN = "chunking_unknown"
    """The source did not say how it cut the file; the destination's default is used."""
    PURPOSE_CHANGED = "purpose_changed"
    """Only the server may give the file's purpose; ``assistants`` is used."""
    AS_TEXT = "as_text"
    """The bytes could not be exported; the parsed text is uploaded in their place."""
    RENAMED = "renamed"
    """The server gave the file another name than the one sent."""
    TRUNCATED = "truncated"
    """Only the first part of it could be exported, or is taken."""
    JOINED_DOUBTFULLY = "joined_doubtfully"
    """The parts of the parsed text may overlap otherwise than they were joined."""
    LEFT_OUT = "left_out"
    """Not in the bundle, of no use where it stood, or more than the destination takes: it is gone from the copy."""
    MERGED = "merged"
    """The server took the file for another one with the same bytes; the two have one id there, and one name."""
    NOT_KEPT = "not_kept"
    """The destination accepted it, and does not have it as it was sent."""
    SIZE_DIFFERS = "size_differs"
    """The server counts other bytes than were sent."""
    REFUSED = "refused"
    """The destination did not accept it."""
    UNCERTAIN = "uncertain"
    """The answer was lost: it may or may not exist at the destination now."""
    NOT_INDEXED = "not_indexed"
    """Attached, but the destination could not index it, or not in time."""
    FAILED_AS_BEFORE = "failed_as_before"
    """Attached; indexing failed, as it had in the source."""

    @property
    def severity(self) -> Severity:
        if self in _MAJOR:
            return Severity.MAJOR
        return Severity.MINOR if self in _MINOR else Severity.NOTE

    @property
    def weighs(self) -> bool:
        return self.severity is Severity.MAJOR


_MAJOR = frozenset(
    {
        Why.UNKNOWN_TOOL,
        Why.TRUNCATED,
        Why.JOINED_DOUBTFULLY,
        Why.LEFT_OUT,
        Why.LEFT_ALONE,
        Why.NOT_KEPT,
        Why.REFUSED,
        Why.UNCERTAIN,
        Why.NOT_INDEXED,
    }
)
_MINOR = frozenset(
    {
        Why.UNKNOWN_FIELD,
        Why.UNUSABLE,
        Why.UNFIT_VALUE,
        Why.OVER_LIMIT,
        Why.VALUE_CHANGED,
        Why.MODEL_REFUSES,
        Why.DEFAULT_LEFT_OUT,
        Why.CHUNKING_UNKNOWN,
        Why.PURPOSE_CHANGED,
        Why.AS_TEXT,
        Why.RENAMED,
        Why.MERGED,
        Why.SIZE_DIFFERS,
    }
)


class Loss(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that does not come through as it was.

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
