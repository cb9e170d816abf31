"""Backs up one source: export beside the folder, compare with the newest good bundle, then into the folder, unpack.

Nothing in the folder changes before the new bundle is whole and has lost no more than the policy allows. If a run is
killed during its export, the next run resumes the unfinished bundle. If it is killed after the bundle went into the
folder and before its result was reported, the next run compares with the bundle before that one, so that its new losses
are still reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from holdall.backups.backup_config import BackupSource, every
from holdall.backups.folder_record import note_verification, stamp_at
from holdall.backups.listing import ListedBundle, summaries
from holdall.backups.pruning import Fate, JudgedBundle, PruneOptions, prune
from holdall.backups.retention import RetentionPolicy
from holdall.backups.shrinkage import shrinkages
from holdall.backups.source_state import SourceFolder, SourceReport, described, load_state, shrunken
from holdall.bundle.layout import SUFFIX, Capture, source_identity
from holdall.bundle.layout import Source as BundleSource
from holdall.bundle.reader import BundleReader, open_bundle
from holdall.bundle.verification import verified, verify
from holdall.dumps import read_dumps
from holdall.endpoint import Endpoint, endpoint
from holdall.errors import (
    EXIT_DONE,
    EXIT_INCOMPLETE,
    AuthenticationFailed,
    DamagedBundle,
    HoldallError,
    NothingThere,
    PermissionDenied,
)
from holdall.exporter.earlier import where_to_write
from holdall.exporter.fallbacks import Fallbacks
from holdall.exporter.report import ExportReport, Policy
from holdall.exporter.roots import Roots
from holdall.exporter.run_export import ExportOptions, export
from holdall.folder.write_folder import unpack
from holdall.model import Fidelity
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.refusals import missing_scopes
from holdall.safe_files import cannot_write, read_regular, reading, rename_durably
from holdall.selection import Selection
from holdall.verdict import Verdict


class BackupMachine(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs of the machine. ``now`` gives Unix seconds, ``token`` a random word; ``rehearse`` restores a
    verified bundle into a sandbox and compares; ``explain`` makes one of our errors of any error."""

    now: Callable[[], float]
    token: Callable[[], str]
    environ: Mapping[str, str]
    rehearse: Callable[[BundleReader], Verdict]
    explain: Callable[[Exception], HoldallError]


class BackUpSource:
    """One source in one run. ``back_up`` is called once, while ``folder`` is open."""

    def __init__(
        self,
        source: BackupSource,
        bundles: Path,
        folder: SourceFolder,
        machine: BackupMachine,
        progress: Progress,
        *,
        accept_shrink: bool,
    ) -> None:
        self._source, self._folder = source, folder
        # With the folder form, the bundle is only there to compare with: users of the folder need not see it.
        self._bundles = folder.newest if source.form == "folder" else bundles
        self._unpacked = bundles / source.name
        # Both, as the form may have been another one before.
        self._places = (bundles, folder.newest)
        self._machine, self._progress = machine, progress
        self._accept_shrink = accept_shrink
        self._identity = source_identity(BundleSource(base_url="", label=source.name))
        self.state = load_state(bundles, source.name)

    def back_up(self) -> SourceReport:
        """Do all that is due. Raises HoldallError where there is no new backup."""
        self._folder.clear()
        there = self._listed()
        earlier = self._newest_good(there)
        try:
            exported = asyncio.run(self._export(earlier))
        except (NothingThere, PermissionDenied) as error:
            if earlier is None or self._accept_shrink:
                raise
            return self._lost_all(earlier, error)
        shrunk, excess = self._shrinkage(earlier, exported)
        if excess and not self._accept_shrink:
            self._folder.clear()
            return shrunken(self._source.name, excess)
        report = self._reported(exported, shrunk)
        if exported.unchanged_since is None:
            report = replace(report, bundle=str(self._put_into_folder(exported.bundle)))
        if self._source.form != "bundle":
            report = self._unpack(report)
            if report.error:
                return report
        self._succeed(report)
        report = self._prove(report)
        # After any other result a person should look before something is deleted.
        return self._prune(report) if report.exit_code in (EXIT_DONE, EXIT_INCOMPLETE) else report

    def _lost_all(self, earlier: Path, error: HoldallError) -> SourceReport:
        """The result for a project that can no longer be read, as a whole or in part."""
        if isinstance(error, PermissionDenied):
            report = shrunken(self._source.name, [])
            # The server's sentence is long, and what it takes to mend it stands at its end.
            lacks = ", ".join(missing_scopes(error) or ())
            said = f"the key lacks {lacks}" if lacks else error.message
            return replace(report, verdict=f"SHRUNK: {said}", error=described(error))
        with open_bundle(earlier) as reader:
            shrunk = [str(one) for one in shrinkages(reader, None)]
        return replace(shrunken(self._source.name, shrunk), error=described(error))

    # -- what is there -------------------------------------------------------------------------------

    def _listed(self) -> list[ListedBundle]:
        """The source's bundles, the newest first."""
        return [one for one in summaries(filter(Path.is_dir, self._places)) if one.source_identity == self._identity]

    def _newest_good(self, there: Iterable[ListedBundle]) -> Path | None:
        for one in there:
            if one.path.name == self.state.unreported or one.verified_ok is False:
                continue
            if verify(one.path, quick=True).whole:
                return one.path
            self._progress.note(f"{one.path} is damaged and not used")
        return None

    # -- export --------------------------------------------------------------------------------------

    async def _export(self, earlier: Path | None) -> ExportReport:
        source, now = self._source, self._machine.now

        def target(capture: Capture) -> Path:
            fresh = self._folder.path / self._fresh_name(int(now()))
            path, _ = where_to_write(fresh, capture, named=False, resume=True, now=now())
            return path

        async with Account(
            self._endpoint(), side="source", concurrency=source.concurrency, progress=self._progress
        ) as account:
            return await export(
                account,
                target,
                self._export_options(earlier),
                clock=now,
                parent=lambda path, capture: earlier,
                force=False,
                progress=self._progress,
            )

    def _endpoint(self) -> Endpoint:
        source = self._source
        key = self._machine.environ.get(source.key_env, "") if source.key_env else "(none)"
        if not key:
            raise AuthenticationFailed(
                f"no key for {source.where}: {source.key_env} is not set", hint=f"set {source.key_env}"
            )
        return endpoint(
            key,
            source.base_url,
            organization=source.organization,
            project=source.project,
            token_command=source.token_command,
            insecure_http=source.insecure_http,
            names=source.names(),
        )

    def _export_options(self, earlier: Path | None) -> ExportOptions:
        source, dumps = self._source, []
        for name in source.from_dump:
            with reading(Path(name)):
                dumps.append((name, read_regular(name)))
        lowest = Fidelity.UNAVAILABLE if source.min_fidelity == "any" else Fidelity(source.min_fidelity)
        return ExportOptions(
            start=Roots(
                selection=Selection(only=tuple(source.only), exclude=tuple(source.exclude)),
                file_search=source.file_search,
                code_interpreter=source.code_interpreter,
                assistants=source.assistants,
                unused=source.unused,
                all_versions=source.versions == "all",
                dump=read_dumps(dumps) if dumps else None,
            ),
            label=source.name,
            fallbacks=Fallbacks(
                originals=Path(source.originals) if source.originals else None,
                containers=f"holdall-backup-{self._machine.token()}" if source.via_container else None,
            ),
            policy=Policy(min_fidelity=lowest, allow_missing=frozenset(source.allow_missing)),
            accept_known_losses=True,
            skip_if_unchanged=source.skip_if_unchanged and earlier is not None and earlier.parent == self._bundles,
        )

    def _fresh_name(self, now: int) -> str:
        """A file name that no bundle of the folder has."""
        stem, number = f"{self._source.name}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}", 1
        name = f"{stem}{SUFFIX}"
        while (self._bundles / name).exists():
            number += 1
            name = f"{stem}-{number}{SUFFIX}"
        return name

    # -- into the folder -----------------------------------------------------------------------------

    def _shrinkage(self, earlier: Path | None, exported: ExportReport) -> tuple[list[str], list[str]]:
        """What disappeared since the newest good bundle, and which of it exceeds the limit."""
        if earlier is None or exported.unchanged_since is not None:
            return [], []
        with open_bundle(earlier) as old, open_bundle(exported.bundle) as new:
            found = shrinkages(old, new)
        return [str(one) for one in found], [str(one) for one in found if one.share > self._source.max_shrink]

    def _put_into_folder(self, bundle: Path) -> Path:
        target = self._bundles / bundle.name
        # Saved first: if the run is killed in between, the new losses must not count as known.
        self.state = replace(self.state, unreported=target.name)
        self._folder.save(self.state)
        try:
            self._bundles.mkdir(mode=0o700, exist_ok=True)
            rename_durably(bundle, target, force=False)
        except OSError as error:
            raise cannot_write(target, error) from None
        return target

    def _unpack(self, report: SourceReport) -> SourceReport:
        """Make the source's folder equal to the new bundle. Hand edits are not overwritten."""
        path, now = Path(report.bundle or ""), int(self._machine.now())
        before = stamp_at(path)
        try:
            with verified(path, progress=self._progress) as (found, reader):
                note_verification(path, before, ok=found.whole, now=now)
                if reader is None:
                    raise DamagedBundle(f"{path} is damaged: {found.findings[0].message}")
                unpack(reader, self._unpacked, progress=self._progress)
        except HoldallError as error:
            code = max(report.exit_code, error.exit_code)
            return replace(report, verdict=f"FAILED: {error.message}", exit_code=code, error=described(error))
        self.state = replace(self.state, unpacked=now)
        return replace(report, folder=str(self._unpacked))

    def _reported(self, exported: ExportReport, shrunk: list[str]) -> SourceReport:
        losses, accepted = (sum(each.values()) for each in (exported.verdict.counts, exported.verdict.accepted))
        return SourceReport(
            source=self._source.name,
            verdict=str(exported.verdict),
            exit_code=exported.verdict.exit_code,
            bundle=str(exported.bundle),
            unchanged=exported.unchanged_since is not None,
            bytes=exported.size,
            sha256=exported.sha256,
            counts=exported.counts,
            files=exported.fidelities,
            losses=losses,
            new_losses=losses - accepted,
            shrunk=shrunk,
            reused=exported.taken,
            parent=str(exported.parent) if exported.parent else None,
        )

    def _succeed(self, report: SourceReport) -> None:
        self.state = replace(
            self.state,
            succeeded=int(self._machine.now()),
            bytes=report.bytes,
            files=report.files,
            losses=report.losses,
            new_losses=report.new_losses,
        )

    # -- proofs --------------------------------------------------------------------------------------

    def _prove(self, report: SourceReport) -> SourceReport:
        """Rehearse and verify if due, each the bundle for which that is longest ago; one that never was comes first."""
        for rehearse, period in ((True, self._source.rehearse), (False, self._source.verify)):
            done = self.state.rehearsed if rehearse else self.state.verified
            seconds, now = every(period), self._machine.now()
            if seconds is None or (done is not None and now - done < seconds):
                continue
            # A proof of what is about to be deleted is worth nothing.
            leaving = {one.bundle.path for one in self._judged(delete=False) if one.fate is Fate.REMOVE}
            there = [one for one in self._listed() if one.path not in leaving]
            if there:
                ago = self._rehearsed_at if rehearse else self._verified_at
                chosen = min(there, key=lambda one: (ago(one), one.taken_at or 0))
                report = self._proved(report, chosen, rehearse=rehearse)
        return report

    def _rehearsed_at(self, bundle: ListedBundle) -> float:
        return self.state.rehearsals.get(bundle.seal or "", 0)

    def _verified_at(self, bundle: ListedBundle) -> float:
        return max(self.state.verifications.get(bundle.seal or "", 0), bundle.verified_at or 0)

    def _proved(self, report: SourceReport, bundle: ListedBundle, *, rehearse: bool) -> SourceReport:
        path, now = bundle.path, int(self._machine.now())
        before = stamp_at(path)
        with verified(path, keep=rehearse, progress=self._progress) as (found, reader):
            note_verification(path, before, ok=found.whole, now=now)
            if reader is None:
                return replace(
                    report,
                    exit_code=max(report.exit_code, DamagedBundle.exit_code),
                    verdict=f"DAMAGED: {path.name}: {found.findings[0].message}",
                    verified=str(path),
                )
            self.state = self.state.verifying(bundle.seal or "", now)
            report = replace(report, verified=str(path))
            if not rehearse:
                return report
            copied = self._machine.rehearse(reader)
        report = replace(report, rehearsed=str(path))
        if copied.exit_code:
            return replace(
                report,
                exit_code=max(report.exit_code, copied.exit_code),
                verdict=f"{report.verdict}; {path.name} restored: {copied}",
            )
        self.state = self.state.rehearsing(bundle.seal or "", now)
        return report

    def _prune(self, report: SourceReport) -> SourceReport:
        """Delete what the source's policy does not keep, by the rules of `holdall prune`."""
        judged = self._judged(delete=True)
        report = replace(report, pruned=[str(one.bundle.path) for one in judged if one.fate is Fate.REMOVED])
        if damaged := [one.bundle.path.name for one in judged if one.damaged]:
            code = max(report.exit_code, DamagedBundle.exit_code)
            return replace(report, exit_code=code, verdict=f"DAMAGED: {', '.join(damaged)}")
        return report

    def _judged(self, *, delete: bool) -> list[JudgedBundle]:
        """The source's bundles as its policy judges them; none without a policy."""
        policy = RetentionPolicy(last=1) if self._source.form == "folder" else self._source.keep
        if policy is None:
            return []
        wanted = PruneOptions(
            folder=self._bundles, policy=policy, now=self._machine.now(), delete=delete, source=self._identity
        )
        return prune(wanted, self._progress)
