"""The result of one source in one run: the content of its JSON line."""

from __future__ import annotations

from typing import Any

import msgspec

from holdall.errors import EXIT_DONE, EXIT_LOOK, HoldallError


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
