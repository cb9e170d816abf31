"""The verdict: a bundle or a destination compared with what the project had.

Every command ends in one. ``complete``: everything that the source had is in the bundle, or at the destination.
``incomplete``: something is missing, counted by reason. Accepting a known loss changes only the exit code.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Any, Self

import msgspec

from holdall.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_LOOK


class Reason(StrEnum):
    """Why something isn't as the source had it, and what one and many such things are called.

    Those up to ``ASSISTANTS`` say that something is missing, the others that something has to be looked at.
    """

    one: str
    many: str

    # With defaults, because a reason is looked up by its value alone: Reason("files").
    def __new__(cls, value: str, one: str = "", many: str = "") -> Self:
        reason = str.__new__(cls, value)
        reason._value_, reason.one, reason.many = value, one, many
        return reason

    FILES = "files", "file missing", "files missing"
    """The content of a file is not there in any form that its user can take."""
    TEXTS_CUT = "texts_cut", "text cut short", "texts cut short"
    """Only the first part of a file's text is there."""
    BELOW_MINIMUM = "below_minimum", "file below --min-fidelity", "files below --min-fidelity"
    """A content is there, but not as faithful as --min-fidelity asked for."""
    NOT_INDEXED = "not_indexed", "file not indexed", "files not indexed"
    """A file is in its store, and the store can't search it."""
    STORES = "stores", "vector store missing", "vector stores missing"
    RECORDS = "records", "record missing", "records missing"
    """An object that could not be read, or that came while the export ran."""
    PAGES = "pages", "dump with pages missing", "dumps with pages missing"
    """A dump says that there is more than it holds."""
    LISTS = "lists", "list possibly incomplete", "lists possibly incomplete"
    """A list that the server may not have given to its end."""
    REFERENCES = "references", "reference not followed", "references not followed"
    """An id in a field that nobody reads: what it names was not looked for."""
    TEMPLATES = (
        "templates",
        "environment template possibly incomplete",
        "environment templates possibly incomplete",
    )
    """A template, of which no server gives its variables, set-up commands, blocked domains and the bytes in it."""
    VARIABLES = (
        "variables",
        "agent without the values of its variables",
        "agents without the values of their variables",
    )
    """A hosted agent: the values of its environment variables are never in a bundle."""
    KEYS = "keys", "record with your key removed", "records with your key removed"
    """A record that the server gave with the key in it, which was taken out."""
    SETTINGS = "settings", "setting missing", "settings missing"
    """A tool or a value that the destination doesn't have."""
    ASSISTANTS = "assistants", "assistant missing", "assistants missing"
    """An assistant or agent that was not made."""

    CHANGED = "changed", "definition changed during the export", "definitions changed during the export"
    """A definition that was changed or removed while the export ran."""
    COUNTS = "counts", "count mismatch", "count mismatches"
    """A number of the server's contradicts what it gave."""
    DOUBTFUL = "doubtful", "uncertain text", "uncertain texts"
    """A text whose overlapping parts could not be joined with certainty."""
    DETAILS = "details", "detail left out", "details left out"
    """A value of the source's that the destination doesn't take: left out, and the copy does what the source did."""
    DIFFERENT = "different", "difference", "differences"
    """A value at the destination that is not the source's."""
    DUPLICATES = "duplicates", "duplicate", "duplicates"
    """Another import made the same thing at the same time."""

    @property
    def missing(self) -> bool:
        """Whether something that the source had is missing."""
        return self not in _LOOK


_LOOK = frozenset({Reason.CHANGED, Reason.COUNTS, Reason.DOUBTFUL, Reason.DETAILS, Reason.DIFFERENT, Reason.DUPLICATES})


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How many things are not as the source had them, by reason.

    ``accepted`` counts those among them that don't change the exit code. ``users`` is the number of assistants that
    lack something, 0 where that isn't known.
    """

    counts: dict[Reason, int] = {}
    accepted: dict[Reason, int] = {}
    users: int = 0

    @property
    def complete(self) -> bool:
        """Nothing that the source had is missing."""
        return not any(count for reason, count in self.counts.items() if reason.missing)

    @property
    def exit_code(self) -> int:
        """4 where something is missing that nobody accepted, else 3 where something has to be looked at, else 0."""
        open_reasons = [r for r, count in self.counts.items() if count > self.accepted.get(r, 0)]
        if any(reason.missing for reason in open_reasons):
            return EXIT_INCOMPLETE
        return EXIT_LOOK if open_reasons else EXIT_DONE

    def __str__(self) -> str:
        """``COMPLETE``, ``INCOMPLETE: 13 files missing from 2 assistants`` or ``3 DIFFERENCES``."""
        head, missing = "COMPLETE", self._phrases(missing=True)
        if missing:
            head = f"INCOMPLETE: {', '.join(missing)}"
            if self.users:
                head += f" from {self.users} assistant{'s' if self.users > 1 else ''}"
            # What was accepted is still missing; only the exit code doesn't say so.
            accepted = any(count and reason.missing for reason, count in self.accepted.items())
            if accepted and self.exit_code != EXIT_INCOMPLETE:
                head += " (accepted)"
        different = self.counts.get(Reason.DIFFERENT, 0)
        if different and not missing:
            # A copy that differs is neither complete nor short of anything.
            head = f"{different} DIFFERENCE{'S' if different > 1 else ''}"
            return "; ".join([head, *self.without(Reason.DIFFERENT)._phrases(missing=False)])
        return "; ".join([head, *self._phrases(missing=False)])

    def _phrases(self, *, missing: bool) -> list[str]:
        counts = [(reason, self.counts.get(reason, 0)) for reason in Reason if reason.missing == missing]
        return [f"{count} {reason.one if count == 1 else reason.many}" for reason, count in counts if count]

    def without(self, reason: Reason) -> Verdict:
        """The same without what has ``reason``."""
        return msgspec.structs.replace(self, counts={r: count for r, count in self.counts.items() if r is not reason})

    def having(self, reason: Reason, count: int) -> Verdict:
        """The same with ``count`` things that have ``reason``."""
        return msgspec.structs.replace(self, counts={**self.counts, reason: count}) if count else self

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "complete": self.complete,
            "text": str(self),
            "missing": {r.value: n for r, n in self.counts.items() if r.missing and n},
            "look": {r.value: n for r, n in self.counts.items() if not r.missing and n},
            "accepted": {r.value: n for r, n in self.accepted.items() if n},
            "assistants": self.users,
        }


COMPLETE = Verdict()


class Count:
    """Counts losses into a verdict. The same thing lost twice for one reason is lost once."""

    def __init__(self) -> None:
        self._accepted: dict[tuple[Reason, object], bool] = {}
        self._users: set[str] = set()

    def add(self, reason: Reason, what: object, *, accepted: bool = False, user: str | None = None) -> None:
        """``what`` names the thing lost, ``user`` the assistant that lacks it."""
        key = (reason, what)
        self._accepted[key] = accepted and self._accepted.get(key, True)
        if user is not None and reason.missing and reason is not Reason.ASSISTANTS:
            self._users.add(user)

    def verdict(self) -> Verdict:
        return Verdict(
            counts=dict(Counter(reason for reason, _ in self._accepted)),
            accepted=dict(Counter(reason for (reason, _), accepted in self._accepted.items() if accepted)),
            users=len(self._users),
        )
