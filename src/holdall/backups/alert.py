"""The command that is run for a source that ended in another exit code than 0. No shell is between."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence

from holdall.backups.source_report import SourceReport
from holdall.legible import flat, printable
from holdall.progress import Progress
from holdall.variables import KEY_VARIABLES

_PATIENCE = 60.0
"""Seconds after which the command is killed, so that the other sources' turn comes."""


def call_alert(
    words: Sequence[str],
    report: SourceReport,
    environ: Mapping[str, str],
    keys: Collection[str],
    progress: Progress,
    *,
    patience: float = _PATIENCE,
) -> None:
    """Run the command, with the result in its environment, and wait for its end. It sees none of the variables
    ``keys``. That it fails is noted, and changes nothing."""
    if why := _failure(words, alert_environment(report, environ, keys), patience):
        progress.note(f"--on-failure {words[0]}: {why}")


def alert_environment(report: SourceReport, environ: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    """``environ`` without the variables that hold keys, and the result as ``HOLDALL_*``."""
    said = {
        "SOURCE": report.source,
        "VERDICT": report.verdict,
        "EXIT_CODE": report.exit_code,
        "BUNDLE": report.bundle or "",
        "LOSSES": report.losses,
        "NEW_LOSSES": report.new_losses,
    }
    kept = {name: value for name, value in environ.items() if name not in KEY_VARIABLES and name not in keys}
    return kept | {f"HOLDALL_{name}": printable(flat(value)) for name, value in said.items()}


def _failure(words: Sequence[str], environment: Mapping[str, str], patience: float) -> str:
    try:
        # Our stdout is for the results.
        ended = subprocess.run(
            [shutil.which(words[0]) or words[0], *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=2,
            env=environment,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"killed after {patience:.0f} s"
    except (OSError, ValueError) as error:
        return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return f"it exited with code {ended.returncode}" if ended.returncode else ""
