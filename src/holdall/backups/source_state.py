"""What is kept of a source between runs, in a folder of its own: ``.holdall-backup/NAME`` beside the bundles.

It has the lock, the unfinished bundle, ``state.json``, and in ``newest`` the bundle of a source that is kept as an
unpacked folder only. If the state is lost, times are lost, but no bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from holdall.bundle.durable import cannot_write, write_whole
from holdall.bundle.layout import SUFFIX
from holdall.errors import BundleInUse
from holdall.safe_open import Closing, FileLock, open_regular

FOLDER = ".holdall-backup"
_STATE = "state.json"
_LONGEST = 1 << 20
_REMEMBERED = 1000


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
