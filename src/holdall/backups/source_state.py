"""What is known of a source: the result of one run, which is the content of its JSON line; and what is kept between
runs, in a folder of its own: ``.holdall-backup/NAME`` beside the bundles.

The folder has the lock, the unfinished bundle, ``state.json``, and in ``newest`` the bundle of a source that is kept as
an unpacked folder only. If the state is lost, times are lost, but no bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.layout import SUFFIX
from holdall.errors import EXIT_DONE, EXIT_LOOK, BundleInUse, HoldallError
from holdall.safe_files import Closing, FileLock, cannot_write, open_regular, write_whole

FOLDER = ".holdall-backup"
_STATE = "state.json"
_LONGEST = 1 << 20
_REMEMBERED = 1000


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one source in one run.

    ``verdict`` is a sentence, ``exit_code`` the one of a run of this source alone. ``ended`` is an ISO time, UTC;
    ``seconds`` the duration. ``bundle`` is the path of the newest bundle if the run succeeded, None if there is no good
    one; ``unchanged``: it is an earlier one. ``bytes`` is its size, ``sha256`` None if it is unchanged. ``counts`` are
    the objects by kind, ``files`` the number of files by fidelity. ``losses`` counts what the project had and the
    bundle lacks, ``new_losses`` those of them that the newest good backup did not have. ``shrunk`` lists what
    disappeared, whether or not it exceeded the limit. ``folder`` is the unpacked folder, if it equals the bundle.
    ``verified`` and ``rehearsed`` are bundles that were checked in this run, ``pruned`` those that were deleted.
    ``error`` is what stopped the work.
    """

    source: str
    ended: str = ""
    verdict: str
    exit_code: int
    seconds: float = 0.0
    bundle: str | None = None
    unchanged: bool = False
    bytes: int = 0
    sha256: str | None = None
    counts: dict[str, int] = {}
    files: dict[str, int] = {}
    losses: int = 0
    new_losses: int = 0
    shrunk: list[str] = []
    reused: int = 0
    parent: str | None = None
    folder: str | None = None
    verified: str | None = None
    rehearsed: str | None = None
    pruned: list[str] = []
    error: dict[str, Any] | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the source was backed up, with losses or without."""
        return self.bundle is not None and self.error is None

    @property
    def is_held_back(self) -> bool:
        """Whether the source was not backed up because of what disappeared."""
        return bool(self.shrunk) and self.bundle is None and self.error is None


def failed(source: str, error: HoldallError) -> SourceReport:
    """The result of a source whose backup was stopped by an error."""
    return SourceReport(
        source=source,
        verdict=f"FAILED: {error.message}",
        exit_code=error.exit_code,
        error=described(error),
    )


def described(error: HoldallError) -> dict[str, Any]:
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}


def shrunken(source: str, shrunk: list[str]) -> SourceReport:
    """The result of a source that has lost too much."""
    return SourceReport(source=source, verdict=f"SHRUNK: {'; '.join(shrunk)}", exit_code=EXIT_LOOK, shrunk=shrunk)


def exit_code_of(reports: list[SourceReport]) -> int:
    """That of the run: the highest of its sources'."""
    return max((one.exit_code for one in reports), default=EXIT_DONE)


class SourceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered of a source. Times are seconds since 1970.

    ``succeeded`` is when the last backup ended that was put into the folder, or found nothing changed; ``verified`` and
    ``rehearsed`` when a bundle of the source was last proved; ``verifications`` and ``rehearsals`` the same by the
    bundle's seal; ``unpacked`` when its folder was last made equal to a bundle.
    ``unreported`` is a bundle whose run was killed after it put it into the folder and before it reported. ``bytes``,
    ``files`` (by fidelity), ``losses`` and ``new_losses`` are of the last success; ``ran``, ``exit_code`` and
    ``seconds`` of the last run.
    """

    succeeded: int | None = None
    verified: int | None = None
    rehearsed: int | None = None
    unpacked: int | None = None
    verifications: dict[str, int] = {}
    rehearsals: dict[str, int] = {}
    unreported: str | None = None
    bytes: int = 0
    files: dict[str, int] = {}
    losses: int = 0
    new_losses: int = 0
    ran: int | None = None
    exit_code: int = 0
    seconds: float = 0.0

    def verifying(self, seal: str, now: int) -> SourceState:
        """The state once the bundle with this seal is verified."""
        return msgspec.structs.replace(self, verified=now, verifications=_with(self.verifications, seal, now))

    def rehearsing(self, seal: str, now: int) -> SourceState:
        """The state once the bundle with this seal is rehearsed."""
        return msgspec.structs.replace(self, rehearsed=now, rehearsals=_with(self.rehearsals, seal, now))


def _with(times: Mapping[str, int], seal: str, now: int) -> dict[str, int]:
    newest = sorted({**times, seal: now}.items(), key=lambda one: -one[1])
    return dict(newest[:_REMEMBERED])


class SourceFolder(Closing):
    """The folder of one source, locked for as long as this is open. A context manager."""

    def __init__(self, bundles: Path, name: str) -> None:
        """Raises BundleInUse where another process backs up this source, CannotWrite."""
        self.path = _folder(bundles, name)
        self.newest = self.path / "newest"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(
                self.path / "lock",
                busy=BundleInUse(f"can't back up {name}: another process is doing it", hint="wait for it to end"),
            )
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def close(self) -> None:
        self._lock.release()

    def clear(self) -> None:
        """Delete bundles that a run finished and did not put into the bundles' folder. Raises CannotWrite."""
        for path in self.path.glob(f"*{SUFFIX}"):
            try:
                path.unlink()
            except OSError as error:
                raise cannot_write(path, error) from None

    def save(self, state: SourceState) -> None:
        """Durable on return. Raises CannotWrite."""
        write_whole(self.path / _STATE, msgspec.json.encode(state))


def load_state(bundles: Path, name: str) -> SourceState:
    """The state of a source; an empty one where none can be read."""
    try:
        with open_regular(_folder(bundles, name) / _STATE) as file:
            return msgspec.json.decode(file.read(_LONGEST), type=SourceState)
    except (OSError, ValueError, RecursionError):
        return SourceState()


def _folder(bundles: Path, name: str) -> Path:
    return bundles / FOLDER / name
