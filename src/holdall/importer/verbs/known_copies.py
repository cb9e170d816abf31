"""The verb known: which objects earlier imports made of which, for a comparison of any two states. Reads only."""

from __future__ import annotations

from pathlib import Path

import msgspec

from holdall.errors import UsageFault
from holdall.importer.plan.choices import model_map
from holdall.importer.runs.runfolder import mappings
from holdall.importer.runs.runreport import RunMapping, read_mapping
from holdall.kinds import DEFINITIONS
from holdall.model import Kind, SourceId, TargetId

__all__ = ["KnownCopies", "known_copies"]


class KnownCopies(msgspec.Struct, frozen=True, kw_only=True):
    """By kind, the source of each copy; the prefixes of the names, the models (old and new) and the metadata keys that
    copies have besides."""

    origins: dict[Kind, dict[str, str]]
    prefixes: tuple[str, ...]
    models: tuple[tuple[str, str], ...]
    added: frozenset[str]


def known_copies(output: Path, mapping: Path | None = None) -> KnownCopies:
    """What the mappings below OUTPUT_DIR say, the newest first, or the one ``mapping`` alone.

    Raises UsageFault for a ``mapping`` that isn't one; CannotWrite.
    """
    if mapping is not None:
        asked = read_mapping(mapping)
        if asked is None:
            raise UsageFault(f"can't use --mapping {mapping}: not a mapping.json")
        found = [asked]
    else:
        found = [one for _, one in mappings(output)]
    origins: dict[Kind, dict[str, str]] = {kind: {} for kind in (*DEFINITIONS, Kind.FILE)}
    for one in found:
        for kind in DEFINITIONS:
            _add(origins[kind], one.placed(kind))
        _add(origins[Kind.FILE], one.files)
        _add(origins[Kind.FILE], one.copies)
    return KnownCopies(
        origins=origins,
        prefixes=tuple(dict.fromkeys(one.choices.prefix for one in found if one.choices.prefix)),
        models=tuple(dict.fromkeys(rule for one in found for rule in _models(one))),
        added=frozenset().union(*(one.added for one in found)),
    )


def _models(found: RunMapping) -> tuple[tuple[str, str], ...]:
    return model_map(found.choices.map_model).rules


def _add(origins: dict[str, str], copies: dict[SourceId, TargetId]) -> None:
    for source, copy in copies.items():
        if str(source) != str(copy):
            first = origins.setdefault(copy, source)
            # A copy of several equal files is of one origin, and so are they.
            if first != source:
                origins.setdefault(source, first)
