"""External sorting: sorted runs in a temporary file, merged when read."""

from __future__ import annotations

import heapq
import struct
import weakref
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO, Generic, TypeVar, cast

import msgspec

from holdall.safe_open import Closing

T = TypeVar("T")

_RUN_BYTES = 8 << 20
_OVERHEAD = 150  # what two small bytes objects in a tuple in a list cost beyond their bytes
_LENGTHS = struct.Struct("<II")
_key = itemgetter(0)
_encode = msgspec.json.Encoder().encode


class Sorter(Closing):
    """Pairs of bytes in, the same pairs out by ascending key; equal keys keep the order in which they came.

    Not thread-safe. May be iterated again and again, but not added to after the first time.
    """

    def __init__(self, *, run_bytes: int = _RUN_BYTES) -> None:
        self._run: list[tuple[bytes, bytes]] = []
        self._run_bytes, self._limit = 0, run_bytes
        self._file: BinaryIO | None = None
        self._runs: list[tuple[int, int]] = []

    def add(self, key: bytes, value: bytes = b"") -> None:
        self._run.append((key, value))
        self._run_bytes += len(key) + len(value) + _OVERHEAD
        if self._run_bytes > self._limit:
            self._write_run()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        self._run.sort(key=_key)
        if not self._runs:
            return iter(self._run)
        return heapq.merge(*(self._read_run(*run) for run in self._runs), self._run, key=_key)

    def keys(self) -> Iterator[bytes]:
        return map(_key, self)

    def close(self) -> None:
        """Delete the temporary file."""
        if self._file:
            self._file.close()

    def _write_run(self) -> None:
        if self._file is None:
            import tempfile  # most bundles are sorted in memory

            self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - lives as long as the sorter
            weakref.finalize(self, self._file.close)
        self._run.sort(key=_key)
        start = self._file.seek(0, 2)
        self._file.writelines(_LENGTHS.pack(len(key), len(value)) + key + value for key, value in self._run)
        self._runs.append((start, self._file.tell()))
        self._run, self._run_bytes = [], 0

    def _read_run(self, position: int, end: int) -> Iterator[tuple[bytes, bytes]]:
        """The pairs of one run, read a piece at a time: all runs share one file, so each seeks for itself."""
        file, buffer, at = self._file, b"", 0
        assert file is not None
        while position < end or at < len(buffer):
            if at + _LENGTHS.size > len(buffer) or at + _LENGTHS.size + sum(_LENGTHS.unpack_from(buffer, at)) > len(
                buffer
            ):
                file.seek(position)
                more = file.read(min(max(64 << 10, len(buffer)), end - position))
                position += len(more)
                buffer, at = buffer[at:] + more, 0
                continue
            key_length, value_length = _LENGTHS.unpack_from(buffer, at)
            middle = at + _LENGTHS.size + key_length
            yield buffer[at + _LENGTHS.size : middle], buffer[middle : middle + value_length]
            at = middle + value_length


class ValueSorter(Closing, Generic[T]):
    """Values of one type, stored as JSON, by ascending text or number: ids, paths, offsets."""

    def __init__(self, of: type[T]) -> None:
        self._sorter, self._decode = Sorter(), msgspec.json.Decoder(of).decode

    def add(self, key: str | int, value: T) -> None:
        """Keys of one sorter are all texts, or all numbers below 2^64."""
        raw = key.to_bytes(8, "big") if isinstance(key, int) else key.encode("utf-8", "surrogatepass")
        self._sorter.add(raw, _encode(value))

    def __iter__(self) -> Iterator[T]:
        return (self._decode(value) for _, value in self._sorter)

    def items(self) -> Iterator[tuple[bytes, T]]:
        """Each value behind its key, a text in UTF-8."""
        return ((key, self._decode(value)) for key, value in self._sorter)

    def by_text(self) -> Iterator[tuple[str, Iterator[T]]]:
        """The values of each key together, which must be read before those of the next."""
        for key, group in groupby(self.items(), key=_key):
            yield key.decode("utf-8", "surrogatepass"), map(itemgetter(1), group)

    def close(self) -> None:
        self._sorter.close()
