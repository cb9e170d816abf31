"""The last look at a bundle that was just written, before it gets its name."""

from __future__ import annotations

from pathlib import Path

from holdall.bundle.fullscan import FullScan
from holdall.bundle.inventory import Inventory
from holdall.bundle.reader import BundleReader
from holdall.bundle.references import References
from holdall.bundle.seekable import FrameError
from holdall.errors import BundleError, CannotWrite
from holdall.progress import Silent

__all__ = ["require_readable"]


def require_readable(written: Path, target: Path) -> None:
    """Raises CannotWrite where the file ``written``, which is to become ``target``, is not one that every reader takes.

    Proved are all definitions, memberships, file objects, the ledger and the losses: each can be read, is within the
    limits and is what index, manifest, counts and digests say. Not proved are seal, seek table and the bytes of
    contents, which were hashed as they were written: ``verify`` reads those.
    """
    found: list[str] = []

    def report(code: str, entry: str | None, message: str) -> None:
        if not found:
            found.append(message)

    try:
        with BundleReader(written) as bundle, written.open("rb") as file:
            inventory = Inventory(bundle, FullScan(file, bundle.frames.frames, report, Silent()), report, quick=True)
            inventory.check_parts()
            inventory.check_manifest()
            References(bundle, report, None).check()
    except BundleError as error:
        report("damaged", None, error.message)
    except (FrameError, ValueError) as error:
        report("index", None, str(error))
    if found:
        raise CannotWrite(
            f"can't write {target}: it could not be read back: {found[0]}",
            hint=f"--no-resume exports all of it again; what was written stays in {target.name}.partial until then. "
            "If that fails too, look at the disk, or report a bug",
        )
