"""The verb backup: backs up one source after the other, independently."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from holdall.backups.back_up_source import BackupMachine, BackUpSource
from holdall.backups.backup_config import BackupConfig, BackupSource
from holdall.backups.monitoring import call_alert, write_metrics
from holdall.backups.source_state import SourceFolder, SourceReport, failed
from holdall.errors import CannotWrite, Interrupted, UsageFault
from holdall.progress import Progress


class BackupOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which sources of a config are backed up: those named in ``only``, of them the ``shard`` (i, n): every nth,
    beginning with the ith, which counts from 1. ``accept_shrink``: whatever has disappeared, the backup is good."""

    only: tuple[str, ...] = ()
    shard: tuple[int, int] = (1, 1)
    accept_shrink: bool = False


def chosen_sources(config: BackupConfig, options: BackupOptions) -> list[BackupSource]:
    """The sources to back up, in the config's order. Raises UsageFault where one that is named isn't there."""
    names = [one.name for one in config.sources]
    if unknown := [name for name in options.only if name not in names]:
        raise UsageFault(f"no source named {', '.join(unknown)} in the config", hint=f"its sources: {', '.join(names)}")
    wanted = [one for one in config.sources if not options.only or one.name in options.only]
    number, of = options.shard
    return wanted[number - 1 :: of]


def run_backup(
    config: BackupConfig,
    options: BackupOptions,
    machine: BackupMachine,
    progress: Progress,
    told: Callable[[SourceReport], None],
) -> list[SourceReport]:
    """Back up the chosen sources; ``told`` is called with the result of each as soon as it ended.

    An error of one source is its result, and the next source's turn comes. Raises UsageFault, Interrupted, and
    CannotWrite where there is no folder for the bundles or, in the end, the metrics could not be written.
    """
    sources = chosen_sources(config, options)
    if not config.folder.is_dir():
        raise CannotWrite(f"can't write to {config.folder}: no such folder", hint="make it, or mount it")
    run = _Run(config, options, machine, progress, told)
    reports = []
    unwritten: CannotWrite | None = None
    for source in sources:
        reports.append(run.back_up(source))
        try:
            write_metrics(config, machine.now())
            unwritten = None
        except CannotWrite as error:
            unwritten = error
    if unwritten:
        raise unwritten
    return reports


class _Run:
    def __init__(
        self,
        config: BackupConfig,
        options: BackupOptions,
        machine: BackupMachine,
        progress: Progress,
        told: Callable[[SourceReport], None],
    ) -> None:
        self._config, self._options, self._machine = config, options, machine
        self._progress, self._told = progress, told
        self._keys = {one.key_env for one in config.sources}

    def back_up(self, source: BackupSource) -> SourceReport:
        started = self._machine.now()
        self._progress.stage(f"Backing up {source.name}")
        try:
            folder = SourceFolder(self._config.folder, source.name)
        except Exception as error:
            return self._tell(failed(source.name, self._machine.explain(error)), started)
        with folder:
            accept = self._options.accept_shrink
            work = BackUpSource(
                source, self._config.folder, folder, self._machine, self._progress, accept_shrink=accept
            )
            try:
                report = work.back_up()
            except Interrupted:
                raise
            except Exception as error:  # whatever it is: one source failing stops none of the others
                report = failed(source.name, self._machine.explain(error))
            report = self._tell(report, started)
            state = replace(
                work.state, ran=int(self._machine.now()), exit_code=report.exit_code, seconds=report.seconds
            )
            # Not before its result has been reported.
            state = replace(state, unreported=None) if report.bundle else state
            try:
                folder.save(state)
            except CannotWrite as error:
                self._progress.note(error.message)
            return report

    def _tell(self, report: SourceReport, started: float) -> SourceReport:
        ended = self._machine.now()
        when = f"{datetime.fromtimestamp(int(ended), UTC):%Y-%m-%dT%H:%M:%SZ}"
        report = replace(report, ended=when, seconds=round(ended - started, 3))
        self._told(report)
        if report.exit_code and self._config.on_failure:
            call_alert(self._config.on_failure, report, self._machine.environ, self._keys, self._progress)
        return report
