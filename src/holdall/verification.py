"""Verifies a bundle: every byte against the seal, every entry against index and manifest, every reference.

Reports all findings at once, each with a stable code, its entry if known, and a sentence. Declared losses aren't
damage; they are listed separately.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import msgspec

from holdall.bundle import layout
from holdall.bundle.frames import choose_frames
from holdall.bundle.fullscan import FullScan, Inventory, check_tail
from holdall.bundle.layout import HoldallInfo
from holdall.bundle.reader import BundleReader
from holdall.bundle.references import DeclaredLoss, References
from holdall.bundle.seekable import FRAME_MAGIC, FrameError, FrameTable, require_expansion
from holdall.bundle.totals import declared_verdict
from holdall.errors import EXIT_LOOK, DamagedBundle, NotABundle
from holdall.legible import KEPT, Capped
from holdall.progress import Progress, Silent
from holdall.safe_files import open_regular, reading
from holdall.verdict import COMPLETE, Verdict


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``code`` is one of those in docs/commands.md, ``entry`` a path in the bundle."""

    code: str
    entry: str | None
    message: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``sha256`` is over the whole file, None where not all of it was read; ``named`` is the one that
    the caller gave, if any.

    Of very many ``findings`` and ``losses`` the first thousand are kept; their totals count all of them.
    ``completeness`` says what the bundle lacks of what the project had when it was exported: no damage.
    """

    path: Path
    findings: Capped[Damage]
    losses: Capped[DeclaredLoss]
    info: HoldallInfo | None
    size: int
    sha256: str | None
    quick: bool
    completeness: Verdict = COMPLETE
    named: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether it is the file whose sha256 was given, if one was."""
        return self.named is None or self.sha256 == self.named

    @property
    def whole(self) -> bool:
        return not self.findings

    @property
    def exit_code(self) -> int:
        """0 for a whole bundle, also one with declared losses; that of a finding where it is whole but another file."""
        return DamagedBundle.exit_code if self.findings else 0 if self.is_named else EXIT_LOOK


def verify(
    path: str | Path, *, quick: bool = False, sha256: str | None = None, progress: Progress | None = None
) -> Verification:
    """Prove the bundle at ``path``, as ``verified`` does, and close it."""
    with verified(path, quick=quick, sha256=sha256, keep=False, progress=progress) as (verdict, _):
        return verdict


@contextmanager
def verified(
    path: str | Path,
    *,
    quick: bool = False,
    sha256: str | None = None,
    keep: bool = True,
    progress: Progress | None = None,
    file: BufferedReader | None = None,
) -> Iterator[tuple[Verification, BundleReader | None]]:
    """Prove the bundle at ``path``; the verdict, and the bundle, which stays open; None where it is damaged.

    The file is opened once, and the reader ``keep``s what proves each frame again: what is read from it is what was
    proved, also where the file has been replaced or written into since. (A ``quick`` proof read no content, and keeps
    nothing.)

    ``quick`` looks at structure and completeness only: seek table, index, manifest, counts; it reads no content.
    ``sha256`` is compared with that of the whole file. ``file`` is the bundle where it is open already, and ``path``
    what it is called; it is closed at the end. Raises NotABundle, NewerFormat and CannotWrite (can't be
    read); everything else is a finding.
    """
    path = Path(path)
    with reading(path):
        file = file or open_regular(path)
    with file:
        run = _Verification(path, file, quick=quick, sha256=sha256, keep=keep, progress=progress or Silent())
        with reading(path):
            verdict = run.run()
        yield verdict, run.bundle if verdict.whole else None


class _Verification:
    """One run. ``bundle`` is there afterwards where its last frame could be read."""

    def __init__(
        self, path: Path, file: BufferedReader, *, quick: bool, sha256: str | None, keep: bool, progress: Progress
    ) -> None:
        self._path, self._file, self._quick, self._expected = path, file, quick, sha256
        self._keep, self._progress = keep, progress
        self._findings: Capped[Damage] = Capped()
        self._seen: set[tuple[str, str | None, str]] = set()
        self.bundle: BundleReader | None = None
        self._references: References | None = None

    def run(self) -> Verification:
        file = self._file
        frames = choose_frames(file)
        size = file.seek(0, 2)
        file.seek(0)
        if not len(frames) and file.read(4) != FRAME_MAGIC:
            raise NotABundle(
                f"can't verify {self._path}: not a holdall bundle", hint="name a file that `holdall export` wrote"
            )
        try:
            require_expansion(frames, size)
        except FrameError as error:
            self._find("frame", None, str(error))
            return self._outcome(size, _sha256(file))
        # First, so that a bundle of another major version is refused before anything else of it is looked at.
        unreadable = self._open(frames)
        self._progress.stage(f"Verifying {self._path.name}")
        scan, sha256 = None, None
        if not self._quick:
            self._progress.expect(bytes=frames.size, last=True)
            scan = FullScan(file, frames, self._find, self._progress, keep=self._keep)
            sha256 = scan.run()
        else:
            check_tail(file, frames, None, self._find)
            if self._expected is not None:
                sha256 = _sha256(file)
        if unreadable:
            self._find(*unreadable)
        if self.bundle:
            self._check_records(self.bundle, scan)
        return self._outcome(size, sha256)

    def _outcome(self, size: int, sha256: str | None) -> Verification:
        info = self.bundle.info if self.bundle else None
        completeness, losses = declared_verdict(info) if info else COMPLETE, Capped[DeclaredLoss]()
        if self._references:
            completeness, losses = self._references.verdict, self._references.losses
        return Verification(
            path=self._path,
            findings=self._findings,
            losses=losses,
            info=info,
            size=size,
            sha256=sha256,
            quick=self._quick,
            completeness=completeness,
            named=self._expected and self._expected.lower(),
        )

    def _find(self, code: str, entry: str | None, message: str) -> None:
        """Take a finding; the same thing found twice is one finding, and one entry is damaged once."""
        key = (code, entry, "" if code == "damaged" else message)
        if key in self._seen:
            return
        # A liar's bundle could have us remember millions; beyond those that are kept, one may count twice.
        if len(self._seen) < KEPT:
            self._seen.add(key)
        self._findings.append(Damage(code=code, entry=entry, message=message))

    def _open(self, frames: FrameTable) -> tuple[str, str | None, str] | None:
        """Read ``holdall.json``; where that can't be read, the finding that says so."""
        try:
            self.bundle = BundleReader(self._path, frames=frames, file=self._file)
        except DamagedBundle as error:
            return "damaged", layout.INFO, error.message
        except NotABundle as error:
            return "cut-short", None, error.message
        return None

    def _check_records(self, bundle: BundleReader, scan: FullScan | None) -> None:
        if scan and self._keep:
            bundle.frames.hold(scan.seal)
        if scan:
            self._references = References(bundle, self._find, scan.cut)
        inventory = Inventory(bundle, scan, self._find)
        proven = inventory.check_parts()
        # Against an index that is damaged itself, nothing can be held.
        if layout.INDEX in proven:
            self._try(inventory.check_index)
            if layout.MANIFEST in proven:
                self._try(inventory.check_manifest)
        self._try(inventory.check_info)
        self._try(inventory.check_tags)
        if layout.INDEX in proven:
            self._try(self._references.check if self._references else inventory.check_totals)

    def _try(self, check: Callable[[], None]) -> None:
        """What a check can't read is a finding too, and the next check runs."""
        try:
            check()
        except DamagedBundle as error:
            self._find("damaged", error.entry, error.message)
        except (FrameError, ValueError, RecursionError) as error:
            self._find("index", None, f"can't read index or manifest: {error}")


def _sha256(file: BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
