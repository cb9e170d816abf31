"""The runs of an OUTPUT_DIR: which there are, in what order they began, and where each of them went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from holdall.endpoint import same_account
from holdall.errors import CannotWrite, ImportFailed
from holdall.importer.runs.runlines import Opened, lines
from holdall.opening import open_regular

__all__ = ["AUDIT", "JOURNAL", "new_id", "opened", "runs", "runs_at"]

JOURNAL = "journal.jsonl"
AUDIT = "audit.jsonl"

# The form of a run's id, before its token; of the runs of earlier versions without the fraction.
_FORMS = ("%Y%m%dT%H%M%S.%f", "%Y%m%dT%H%M%S")


class _Noted(msgspec.Struct, frozen=True, kw_only=True):
    at: str = ""


def runs(output: Path) -> list[Path]:
    """The folders of the runs below ``output``, in the order in which they began."""
    return sorted((journal.parent for journal in output.glob(f"runs/*/{JOURNAL}")), key=_order)


def runs_at(output: Path, destination: Mapping[str, str | None]) -> list[Path]:
    """Those of ``runs`` that went to ``destination`` (see ``same_account``), or of which nobody can say where."""
    return [run for run in runs(output) if not (its := opened(run)) or same_account(its.destination, destination)]


def opened(run: Path) -> Opened | None:
    """The first line of a run's journal; None where it was cut off before that, or can't be read."""
    with suppress(CannotWrite, ImportFailed):
        for line, _ in lines(run / JOURNAL):
            return line if isinstance(line, Opened) else None
    return None


def new_id(output: Path, now: float, token: str) -> str:
    """An id for a run that begins ``now`` (Unix seconds): it sorts after those of all runs there, whatever the clock
    says. ``token`` makes it unique beyond this folder."""
    moment = datetime.fromtimestamp(now, UTC)
    last = next((began for run in reversed(runs(output)) if (began := _began(run))), None)
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
