"""``mapping.json`` as it is read: which thing of a bundle went where, at which destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from holdall.dialects.forms import Form
from holdall.endpoint import same_account
from holdall.errors import CannotWrite
from holdall.importer.runs.pastruns import PastRun, past_runs
from holdall.importer.runs.runfolder import MAPPING
from holdall.model import SourceId, TargetId
from holdall.opening import read_regular

__all__ = ["Placed", "mappings", "read_mapping"]


class _Party(msgspec.Struct, frozen=True, kw_only=True):
    base_url: str | None = None
    org_id: str | None = None
    project_id: str | None = None


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    src: SourceId = msgspec.field(name="srcId")
    dst: TargetId | None = msgspec.field(name="dstId", default=None)


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    prefix: str = ""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    map_model: tuple[str, ...] = ()


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """One mapping, as far as it leads to copies."""

    party: _Party = msgspec.field(name="destination", default=_Party())
    mappings: list[_Row]
    agents: dict[SourceId, TargetId] = {}
    vector_stores: dict[SourceId, TargetId] = {}
    files: dict[SourceId, TargetId] = {}
    text_copies: dict[SourceId, TargetId] = {}
    server_metadata: frozenset[str] = frozenset()
    options: _Options = _Options()
    bundle: dict[str, str] = {}
    run: str = ""
    form: Form = msgspec.field(name="as", default=Form.ASSISTANTS)

    @property
    def assistants(self) -> dict[SourceId, TargetId]:
        return {row.src: row.dst for row in self.mappings if row.dst is not None}

    @property
    def destination(self) -> dict[str, str | None]:
        """As journals name it. Mappings of earlier versions have no base URL."""
        return {
            "base_url": self.party.base_url,
            "organization": self.party.org_id,
            "project": self.party.project_id,
        }

    def is_at(self, destination: Mapping[str, str | None], output: Path) -> bool:
        """Whether it is of this destination, by what it says or else by the journal of its run below ``output``."""
        if self.party.base_url is None and self.run and (its := PastRun(output / "runs" / self.run).opened):
            return same_account(its.destination, destination)
        return same_account(self.destination, destination)


def read_mapping(path: Path) -> Placed | None:
    """The mapping; None where there is none, or what is there isn't one. Raises CannotWrite where it can't be read."""
    try:
        return msgspec.json.decode(read_regular(path), type=Placed)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):  # another tool's, or of a run that was cut off
        return None
    except OSError as error:
        raise CannotWrite(f"can't read {path}: {error.strerror or error}") from None


def mappings(output: Path, destination: Mapping[str, str | None] | None = None) -> Iterator[tuple[Path, Placed]]:
    """The mappings there are of ``destination`` (None: of any), the newest first: that in OUTPUT_DIR, then those of the
    runs, but of runs that are undone. Raises CannotWrite."""
    folders = (run.folder for run in reversed(past_runs(output)) if not run.is_undone)
    for folder in (output, *folders):
        found = read_mapping(folder / MAPPING)
        if found is not None and (destination is None or found.is_at(destination, output)):
            yield folder / MAPPING, found
