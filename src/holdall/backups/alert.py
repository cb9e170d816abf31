"""Runs the on-failure command for a source whose exit code isn't 0. No shell is involved."""

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
"""Seconds after which the command is killed, so that the other sources are not held up."""


def call_alert(
    words: Sequence[str],
    report: SourceReport,
    environ: Mapping[str, str],
    keys: Collection[str],
    progress: Progress,
    *,
    patience: float = _PATIENCE,
) -> None:
    """Run the command with the result in its environment, without the variables ``keys``, and wait for it to end. If
    it fails, that is noted and nothing else changes."""
    if why := _failure(words, alert_environment(report, environ, keys), patience):
        progress.note(f"--on-failure {words[0]}: {why}")


def alert_environment(report: SourceReport, environ: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    """``environ`` without the variables that hold keys, and the result as ``HOLDALL_*``."""
    said = {
        "SOURCE": report.source,
        "VERDICT": report.verdict,
        "EXIT_CODE": report.exit_code,
        "BUNDLE": report.bundle or "",
        "FOLDER": report.folder or "",
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
