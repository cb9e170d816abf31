"""Reports a backup run to its machine: a Prometheus textfile for all sources, and the on-failure command.

The textfile is made anew of the remembered states whenever a source ended, so runs of some of the sources, also at the
same time, leave the values of all. The command is run for each source whose exit code isn't 0, without a shell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence

from holdall.backups.backup_config import BackupConfig
from holdall.backups.source_state import SourceReport, SourceState, load_state
from holdall.legible import flat, printable
from holdall.model import Fidelity
from holdall.progress import Progress
from holdall.safe_files import write_whole
from holdall.variables import KEY_VARIABLES

_HELP = {
    "last_success_timestamp_seconds": "When the last good backup ended.",
    "last_run_timestamp_seconds": "When the last run ended, good or not.",
    "last_run_exit_code": "Exit code of the last run; 0 is good.",
    "last_run_duration_seconds": "Duration of the last run.",
    "bundle_bytes": "Size of the bundle of the last good backup.",
    "files": "Files of the last good backup, by fidelity.",
    "losses": "What the project had and the last good backup lacks.",
    "new_losses": "Losses of the last good backup that the one before did not have.",
    "last_unpack_timestamp_seconds": "When the folder of the source was last brought up to date.",
    "last_proof_timestamp_seconds": "When a bundle of the source was last verified or rehearsed.",
    "last_proof_age_seconds": "Seconds since then, when this file was written.",
}
_PATIENCE = 60.0
"""Seconds after which the command is killed, so that the other sources are not held up."""


def write_metrics(config: BackupConfig, now: float) -> None:
    """Replace the config's textfile, atomically; nothing without one. ``now`` in Unix seconds. Raises CannotWrite."""
    written = None
    # Another run may have replaced it by values that it read before this one's were there, or the other way round.
    while config.metrics and (fresh := rendered(_states(config), now)) != written:
        write_whole(config.metrics, fresh.encode())
        written = fresh


def _states(config: BackupConfig) -> dict[str, SourceState]:
    return {one.name: load_state(config.folder, one.name) for one in config.sources}


def rendered(states: Mapping[str, SourceState], now: float) -> str:
    """The text for these sources. A source that never ran has no values, one that never succeeded only those of a
    run."""
    lines: dict[str, list[str]] = {name: [] for name in _HELP}
    for source, state in states.items():
        for name, labels, value in _values(state, now):
            more = "".join(f',{key}="{said}"' for key, said in labels.items())
            lines[name].append(f'holdall_{name}{{source="{source}"{more}}} {value}\n')
    return "".join(
        f"# HELP holdall_{name} {_HELP[name]}\n# TYPE holdall_{name} gauge\n{''.join(found)}"
        for name, found in lines.items()
        if found
    )


def _values(state: SourceState, now: float) -> Iterator[tuple[str, Mapping[str, str], float | int]]:
    if state.ran is not None:
        yield "last_run_timestamp_seconds", {}, state.ran
        yield "last_run_exit_code", {}, state.exit_code
        yield "last_run_duration_seconds", {}, state.seconds
    if state.succeeded is not None:
        yield "last_success_timestamp_seconds", {}, state.succeeded
        yield "bundle_bytes", {}, state.bytes
        for fidelity in Fidelity:
            yield "files", {"fidelity": fidelity.value}, state.files.get(fidelity.value, 0)
        yield "losses", {}, state.losses
        yield "new_losses", {}, state.new_losses
    if state.unpacked is not None:
        yield "last_unpack_timestamp_seconds", {}, state.unpacked
    if state.verified is not None:
        yield "last_proof_timestamp_seconds", {}, state.verified
        yield "last_proof_age_seconds", {}, max(0, int(now) - state.verified)


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
