"""Metadata keys that are a server's and not their owner's. Pure.

Some servers put keys of their own into the metadata of what they make (which provider holds a store, which model
embeds it), so a bundle has them, and another server, or the same, refuses them or sets others. By the bundle alone they
look like any key that an owner gives to all of his objects. So only what the destination itself puts into an object
that was made without it counts as its own; what may be such a key is what all objects of a kind have in common.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from holdall.dialects.marks import unmarked
from holdall.dialects.reading import read_fields
from holdall.importer.plan.steps import BundleSummary
from holdall.kinds import DEFINITIONS
from holdall.model import Kind, Record

__all__ = ["keys_of", "matching", "shared_keys", "without_keys", "without_record_keys"]


def keys_of(record: Record) -> set[str]:
    """The owner's and the server's keys of one object, without our own marks."""
    return set(unmarked(read_fields(record).get("metadata")))


def shared_keys(catalogue: BundleSummary, keep: Container[str] = ()) -> dict[Kind, list[str]]:
    """By kind, the keys that every object of it has, where there are several; not those to ``keep``."""
    found = {}
    for kind, records in _kinds(catalogue):
        if len(records) > 1 and (keys := set.intersection(*map(keys_of, records))):
            found[kind] = sorted(key for key in keys if key not in keep)
    return {kind: keys for kind, keys in found.items() if keys}


def matching(catalogue: BundleSummary, globs: Sequence[str]) -> set[str]:
    """The keys in the bundle that one of ``globs`` fits."""
    if not globs:
        return set()
    keys = {key for _, records in _kinds(catalogue) for record in records for key in keys_of(record)}
    return {key for key in keys if any(fnmatchcase(key, glob) for glob in globs)}


def without_keys(catalogue: BundleSummary, keys: Container[str]) -> BundleSummary:
    """The same, with records that lack ``keys`` in their metadata."""
    if not keys:
        return catalogue
    return msgspec.structs.replace(
        catalogue,
        whole={
            kind: [without_record_keys(record, keys) for record in records] for kind, records in catalogue.whole.items()
        },
        stores={id: without_record_keys(record, keys) for id, record in catalogue.stores.items()},
    )


def without_record_keys(record: Record, keys: Container[str]) -> Record:
    """The record without ``keys`` in its metadata; everything else stays as it was written."""
    if not any(key in keys for key in keys_of(record)):
        return record
    try:
        fields: dict[str, Any] = msgspec.json.decode(record.raw, type=dict[str, msgspec.Raw])
        metadata: dict[str, Any] = msgspec.json.decode(fields["metadata"], type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:  # half a surrogate pair in a key
        fields = read_fields(record)
        metadata = fields["metadata"]
    fields["metadata"] = {k: v for k, v in metadata.items() if k not in keys}
    return msgspec.structs.replace(record, raw=msgspec.json.encode(fields))


def _kinds(catalogue: BundleSummary) -> Iterable[tuple[Kind, list[Record]]]:
    return ((kind, catalogue.records(kind)) for kind in DEFINITIONS)
