"""What earlier runs made and left at a destination, read out of the folders that they left behind.

A journal is trusted before a mapping: it has what a run did, also where that run was cut off, how it left things, and
which bytes each file was uploaded with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from holdall.endpoint import title
from holdall.errors import CannotWrite, ImportFailed, UsageFault
from holdall.importer.runs.runfolder import past_runs
from holdall.importer.runs.runreport import MAPPING, RunMapping, read_mapping
from holdall.importer.runs.runstate import RunState
from holdall.kinds import DEFINITIONS, WHOLE, noun
from holdall.model import Kind, SourceId, TargetId

__all__ = ["History", "history"]


class History:
    """What is known of the copies of earlier runs. Ids lead to candidates: whether they live, only a look tells."""

    def __init__(self) -> None:
        self.definitions: dict[Kind, dict[SourceId, list[TargetId]]] = {kind: {} for kind in DEFINITIONS}
        self.files: dict[SourceId, list[TargetId]] = {}
        """Candidates under the source's ids, the newest last."""
        self.copies: dict[SourceId, list[TargetId]] = {}
        """Second uploads of files, as text, which only stores have."""
        self.hashes: dict[TargetId, str] = {}
        """The sha256 of the bundle's entry that a file was uploaded from."""
        self.images: dict[TargetId, dict[str, str]] = {}
        """How assistants and stores were left (``fingerprint.image``)."""
        self.attached: dict[TargetId, dict[TargetId, str]] = {}
        """By store, the files that were put into it, with the fingerprints of their attributes."""
        self.unkept: dict[TargetId, set[str]] = {}
        """Fields that the account didn't keep as they were sent, by assistant, agent and store."""
        self.unkept_files: dict[TargetId, set[TargetId]] = {}
        """By store, the files in it whose attributes were not kept."""
        self.added: set[str] = set()
        """Metadata keys that the server puts in by itself."""
        self.notes: list[str] = []
        """What could not be read, in words."""
        self._dropped: dict[Kind, dict[str, None]] = {}

    def __bool__(self) -> bool:
        return any(self.definitions.values()) or bool(self.files)

    @property
    def assistants(self) -> dict[SourceId, list[TargetId]]:
        return self.definitions[Kind.ASSISTANT]

    @property
    def stores(self) -> dict[SourceId, list[TargetId]]:
        return self.definitions[Kind.STORE]

    def add(self, run: RunState, *, prefix: str) -> None:
        """What one run did. Its assistants and agents count if they were made with the same ``prefix``."""
        same = run.opened is not None and run.opened.options.get("prefix", "") == prefix
        others = set() if same else {made.target for made in run.made if made.kind in WHOLE}
        for made in run.made:
            if made.target not in others:
                self._made(self._of(made.kind, is_copy=made.is_copy), made.source, made.target)
            if made.sha256 is not None:
                self.hashes[made.target] = made.sha256
        self.images.update((target, image) for target, image in run.images.items() if target not in others)
        for store, files in run.members.items():
            inside = self.attached.setdefault(store, {})
            inside.update((file, left) for file, left in files.items() if left is not None)
            for file in [file for file, left in files.items() if left is None]:
                inside.pop(file, None)
        self.added.update(run.added)
        for line in run.shown:
            if line.image is not None:
                self.unkept[line.target] = set(line.unkept)
            if line.files is not None:
                self.unkept_files.setdefault(line.target, set()).update(line.files)
            if fields := [*line.unkept, *(["attributes"] if line.files else [])]:
                self._dropped.setdefault(line.kind, {}).update(dict.fromkeys(fields))
        if not run.keeps_marks and DROPS_METADATA not in self.notes:
            self.notes.append(DROPS_METADATA)

    def _of(self, kind: Kind, *, is_copy: bool) -> dict[SourceId, list[TargetId]]:
        if is_copy:
            return self.copies
        return self.definitions.get(kind, self.files)

    def try_again(self) -> None:
        """What the account didn't keep is to be sent once more: it counts as any other difference."""
        self.unkept.clear()
        self.unkept_files.clear()

    def dropped(self) -> list[str]:
        """What earlier runs found that the server doesn't keep, in words."""
        return [
            f"an earlier run found that this server does not keep all that it is sent: of {noun(kind)}s "
            f"{', '.join(fields)}; what it did not keep will be named"
            for kind, fields in self._dropped.items()
        ]

    def mapped(self, found: RunMapping, *, prefix: str | None) -> None:
        """What a mapping says; its assistants and agents count where their names have the same ``prefix`` (None:
        any)."""
        if prefix is None or found.choices.prefix == prefix:
            for kind in WHOLE:
                for source, target in found.placed(kind).items():
                    self._made(self.definitions[kind], source, target)
        for source, target in found.stores.items():
            self._made(self.stores, source, target)
        for source, target in found.files.items():
            if target != found.copies.get(source):
                self._made(self.files, source, target)
        for source, target in found.copies.items():
            self._made(self.copies, source, target)
        self.added.update(found.added)

    @staticmethod
    def _made(where: dict[SourceId, list[TargetId]], source: SourceId, target: TargetId) -> None:
        known = where.setdefault(source, [])
        if target in known:
            known.remove(target)
        known.append(target)


def history(
    output: Path, *, destination: Mapping[str, str | None], prefix: str, mapping: Path | None = None
) -> History:
    """What the runs below OUTPUT_DIR did at this destination, and what ``mapping``, asked for by the user, says.

    Assistants and agents count where they were made with the same ``prefix``. Raises UsageFault for a ``mapping``
    that can't be read or is of another project, CannotWrite.
    """
    found = History()
    latest = read_mapping(output / MAPPING)
    if latest and latest.is_at(destination, output) and all(run.name != latest.run for run in past_runs(output)):
        found.mapped(latest, prefix=prefix)
    for run in past_runs(output, destination):
        if run.is_undone:  # then things are as the runs before it left them
            continue
        try:
            if its := read_mapping(run.folder / MAPPING):
                found.mapped(its, prefix=prefix)
            found.add(run.state(), prefix=prefix)
        except (CannotWrite, ImportFailed) as error:
            found.notes.append(f"{error.message}; what that run did is not known")
    if mapping is not None:
        asked = read_mapping(mapping)
        if asked is None:
            raise UsageFault(f"can't use --mapping {mapping}: it isn't a mapping.json")
        if not asked.is_at(destination, output):
            raise UsageFault(
                f"can't use --mapping {mapping}: it is of {title(asked.destination.account)}, "
                f"the destination is {title(destination)}"
            )
        found.mapped(asked, prefix=None)
    return found


DROPS_METADATA = (
    "an earlier run found that this server drops metadata: after a lost answer a vector store or an assistant has the "
    "promise of a file only, at most one more, and listed"
)
