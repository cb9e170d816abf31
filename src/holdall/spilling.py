"""A dict, a set of names and sorters that keep on disk what is too much for memory."""

from __future__ import annotations

import struct
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar, cast

import msgspec

from holdall.safe_files import MAX_NAME, Closing, numbered

if TYPE_CHECKING:
    from holdall.temporary import NumberTable
from holdall.safe_files import fold

K = TypeVar("K", str, int)
T = TypeVar("T")

_Pair = tuple[bytes, bytes]
# Entries of a dict, and bytes of a sorter's pairs, that are in memory before they go to disk.
_IN_MEMORY = 1 << 16
_RUN_BYTES = 8 << 20
_OVERHEAD = 150  # what two small bytes objects in a tuple in a list cost beyond their bytes
# A run is read in blocks of this size, of which there is one in memory for each run.
_BLOCK_BYTES = 64 << 10
_LENGTH = struct.Struct("<I")
_key_of = itemgetter(0)
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[_Pair]).decode


class SpillingDict(Generic[K]):
    """Numbers by their keys, all of one type. Up to 65,536 entries are in memory, more in a temporary file.

    A look into the file costs 3 µs, a new entry in it 4. Not thread-safe. Raises CannotWrite where the disk is full.
    """

    def __init__(self, *, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: dict[K, int] = {}
        self._table: NumberTable | None = None

    def __setitem__(self, key: K, number: int) -> None:
        self._recent[key] = number
        if len(self._recent) > self._in_memory:
            self._spill()

    def add(self, key: K) -> bool:
        """As of a set: a key without a number. Returns False if it is there already."""
        if key in self._recent or (self._table is not None and self._table.get(key) is not None):
            return False
        self[key] = 0
        return True

    def get(self, key: K) -> int | None:
        found = self._recent.get(key)
        return self._table.get(key) if found is None and self._table is not None else found

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def discard(self, key: K) -> None:
        self._recent.pop(key, None)
        if self._table is not None:
            self._table.discard(key)

    def __bool__(self) -> bool:
        return bool(self._recent or self._table)

    def _spill(self) -> None:
        if self._table is None:
            # Few have so many entries that they need it.
            from holdall.temporary import NumberTable

            self._table = NumberTable()
            weakref.finalize(self, self._table.close)
        self._table.put(self._recent)
        self._recent.clear()


class Sorter(Closing):
    """Pairs of bytes in, the same pairs out by ascending key; equal keys keep the order in which they came.

    Not thread-safe. May be iterated again and again, but not added to after the first time.
    """

    def __init__(self, *, run_bytes: int = _RUN_BYTES) -> None:
        self._run: list[_Pair] = []
        self._run_bytes, self._limit = 0, run_bytes
        self._file: BinaryIO | None = None
        self._runs: list[tuple[int, int]] = []

    def add(self, key: bytes, value: bytes = b"") -> None:
        self._run.append((key, value))
        self._run_bytes += len(key) + len(value) + _OVERHEAD
        if self._run_bytes > self._limit:
            self._write_run()

    def __iter__(self) -> Iterator[_Pair]:
        self._run.sort(key=_key_of)
        return self._merged() if self._runs else iter(self._run)

    def keys(self) -> Iterator[bytes]:
        return map(_key_of, self)

    def close(self) -> None:
        """Delete the temporary file."""
        if self._file:
            self._file.close()

    def _write_run(self) -> None:
        if self._file is None:
            import tempfile  # most bundles are sorted in memory

            self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - lives as long as the sorter
            weakref.finalize(self, self._file.close)
        self._run.sort(key=_key_of)
        start = self._file.seek(0, 2)
        block: list[_Pair] = []
        size = 0
        for pair in self._run:
            block.append(pair)
            size += len(pair[0]) + len(pair[1]) + _OVERHEAD
            if size > _BLOCK_BYTES:
                self._write_block(self._file, block)
                block, size = [], 0
        self._write_block(self._file, block)
        self._runs.append((start, self._file.tell()))
        self._run, self._run_bytes = [], 0

    def _write_block(self, file: BinaryIO, block: list[_Pair]) -> None:
        if block:
            packed = _pack(block)
            file.write(_LENGTH.pack(len(packed)))
            file.write(packed)

    def _blocks(self, position: int, end: int) -> Iterator[list[_Pair]]:
        """The blocks of one run: all runs share one file, so each seeks for itself."""
        assert self._file is not None
        while position < end:
            self._file.seek(position)
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            yield _unpack(self._file.read(length))
            position += _LENGTH.size + length

    def _merged(self) -> Iterator[_Pair]:
        """All runs in one, a block of each in memory.

        Whole stretches of blocks are sorted at once: one by one, the pairs would cost ten times as much.
        """
        sources = [*(self._blocks(*run) for run in self._runs), iter([self._run] if self._run else [])]
        blocks = [(source, block, 0) for source in sources if (block := next(source, None))]
        while blocks:
            # No block that is still to be read has a pair below this.
            bound = min(block[-1][0] for _, block, _ in blocks)
            below: list[_Pair] = []
            for number, (source, block, at) in enumerate(blocks):
                middle = bisect_left(block, bound, at, key=_key_of)
                below += block[at:middle]
                blocks[number] = source, block, middle
            below.sort(key=_key_of)
            yield from below
            # Those with this key may go on in further blocks, and those of earlier runs come first.
            left = []
            for source, block, at in blocks:
                rest: list[_Pair] | None = block
                while rest is not None:
                    end = bisect_right(rest, bound, at, key=_key_of)
                    yield from rest[at:end]
                    if end < len(rest):
                        left.append((source, rest, end))
                        break
                    rest, at = next(source, None), 0
            blocks = left


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
        for key, group in groupby(self.items(), key=_key_of):
            yield key.decode("utf-8", "surrogatepass"), map(itemgetter(1), group)

    def close(self) -> None:
        self._sorter.close()


class Taken:
    """The names taken, by the hash of their folded form."""

    def __init__(self) -> None:
        self._hashes = SpillingDict[int]()
        self._next: dict[str, int] = {}

    def add(self, path: str) -> bool:
        """Take ``path``. Returns False if it is taken already."""
        return self._hashes.add(_folded_hash(path))

    def give_back(self, path: str) -> None:
        """``path`` is free again."""
        self._hashes.discard(_folded_hash(path))
        self._next.clear()

    def first_free(self, folder: str, name: str, *, suffix: str = "", limit: int = MAX_NAME) -> str:
        """Take and return the first of ``name``, ``name-2``, ``name-3`` … that is free in ``folder``."""
        number, key = 1, ""
        while not self.add(path := f"{folder}{numbered(name, number, suffix=suffix, limit=limit)}"):
            # Where thousands clash, each goes on from where the last one found its number.
            key = key or fold(folder + name + suffix)
            number = self._next[key] = max(number, self._next.get(key, 1)) + 1
        return path


def _folded_hash(path: str) -> int:
    return hash(path.lower() if path.isascii() else fold(path))
