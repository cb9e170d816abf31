"""The runs of an OUTPUT_DIR: which there are, in what order they began, and where each of them went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import msgspec

from holdall.endpoint import same_account
from holdall.errors import CannotWrite, ImportFailed
from holdall.importer.runs.runlines import Opened, lines
from holdall.importer.runs.runstate import RunState, read_state
from holdall.importer.runs.undolog import is_undone
from holdall.opening import open_regular

__all__ = ["AUDIT", "JOURNAL", "PastRun", "new_id", "past_runs", "past_states"]

JOURNAL = "journal.jsonl"
AUDIT = "audit.jsonl"

# The form of a run's id, before its token; of the runs of earlier versions without the fraction.
_FORMS = ("%Y%m%dT%H%M%S.%f", "%Y%m%dT%H%M%S")


class _Noted(msgspec.Struct, frozen=True, kw_only=True):
    at: str = ""


class PastRun:
    """A run that has a journal, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name

    @cached_property
    def opened(self) -> Opened | None:
        """The journal's first line; None where the run was cut off before that, or it can't be read."""
        with suppress(CannotWrite, ImportFailed):
            for line, _ in lines(self.folder / JOURNAL):
                return line if isinstance(line, Opened) else None
        return None

    @property
    def is_undone(self) -> bool:
        """Whether nothing is left of what it did. Raises CannotWrite."""
        return is_undone(self.folder)

    def state(self) -> RunState:
        """Reads the journal. Raises as ``read_state``."""
        return read_state(self.folder / JOURNAL)

    def is_at(self, destination: Mapping[str, str | None]) -> bool:
        """Whether it went there (see ``same_account``), or nobody can say where."""
        return not self.opened or same_account(self.opened.destination, destination)


def past_runs(output: Path, destination: Mapping[str, str | None] | None = None) -> list[PastRun]:
    """The runs below ``output`` that went to ``destination`` (None: anywhere), in the order in which they began."""
    folders = sorted((journal.parent for journal in output.glob(f"runs/*/{JOURNAL}")), key=_order)
    return [run for run in map(PastRun, folders) if destination is None or run.is_at(destination)]


def past_states(output: Path) -> Iterator[RunState]:
    """What all runs there came to, one after the other; one that can't be read did nothing."""
    for run in past_runs(output):
        with suppress(CannotWrite, ImportFailed):
            yield run.state()


def new_id(output: Path, now: float, token: str) -> str:
    """An id for a run that begins ``now`` (Unix seconds): it sorts after those of all runs there, whatever the clock
    says. ``token`` makes it unique beyond this folder."""
    moment = datetime.fromtimestamp(now, UTC)
    last = next((began for run in reversed(past_runs(output)) if (began := _began(run.folder))), None)
    if last is not None:
        moment = max(moment, last + timedelta(milliseconds=1))
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z-{token}"


def _stamp(run: Path) -> str:
    return run.name.partition("-")[0].removesuffix("Z")


def _began(run: Path) -> datetime | None:
    for form in _FORMS:
        with suppress(ValueError):
            return datetime.strptime(_stamp(run), form).replace(tzinfo=UTC)
    return None


def _order(run: Path) -> tuple[str, str, int]:
    """By the id. Runs of earlier versions, whose ids tell the second only, by what they noted first."""
    return _stamp(run), next(_noted(run), ""), (run / JOURNAL).stat().st_mtime_ns


def _noted(run: Path) -> Iterator[str]:
    with suppress(OSError, msgspec.DecodeError), open_regular(run / AUDIT) as file:
        for line in file:
            yield msgspec.json.decode(line, type=_Noted).at
