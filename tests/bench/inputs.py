"""What the rows work on: the same bytes for the same seed, on every machine.

A text compresses three times, as prose and JSON do; noise not at all, as what lies in a PDF or an archive doesn't.
Both are cut at random places out of a pool that is larger than a compressor's window, so that nothing comes again
within its sight.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Self

__all__ = ["Pool", "many", "mixed", "sizes"]

_POOL = 32 << 20
_LETTERS = "etaoinshrdlucmfwypvbgk"
_PIECE = 1 << 20


class Pool:
    """Text and noise to cut inputs from."""

    def __init__(self, seed: int, *, size: int = _POOL) -> None:
        chance = random.Random(seed)
        words = ["".join(chance.choices(_LETTERS, k=max(2, round(chance.gauss(6, 2.5))))) for _ in range(20_000)]
        common = list(accumulate(1 / (place + 5) for place in range(len(words))))
        phrases = [" ".join(chance.choices(words, cum_weights=common, k=chance.randint(1, 6))) for _ in range(100_000)]
        common = list(accumulate(1 / (place + 200) for place in range(len(phrases))))
        mean = sum(len(phrase) + 2 for phrase in phrases) // len(phrases)
        self.text = ". ".join(chance.choices(phrases, cum_weights=common, k=size // mean)).encode()
        self.noise = chance.randbytes(size)

    def keep(self, folder: Path) -> None:
        """Keep it in ``folder``: making it takes seconds."""
        (folder / "text").write_bytes(self.text)
        (folder / "noise").write_bytes(self.noise)

    @classmethod
    def kept(cls, folder: Path) -> Self:
        """The one in ``folder``."""
        pool = cls.__new__(cls)
        pool.text, pool.noise = (folder / "text").read_bytes(), (folder / "noise").read_bytes()
        return pool

    def pieces(self, size: int, chance: random.Random, *, text: bool) -> Iterator[memoryview]:
        """``size`` bytes in pieces of at most 1 MiB, each from a place of its own."""
        source = memoryview(self.text if text else self.noise)
        while size:
            length = min(size, _PIECE)
            start = chance.randrange(len(source) - length)
            yield source[start : start + length]
            size -= length


def sizes(total: int) -> list[int]:
    """Sizes from 2 KB to a fifth of ``total``, spread evenly over the orders of magnitude, that add up to ``total``."""
    least, most = math.log(2_000), math.log(total / 5)
    count = max(2, round(total / ((total / 5 - 2_000) / (most - least))))
    found = [round(math.exp(least + (most - least) * place / (count - 1))) for place in range(count)]
    found[-2] += total - sum(found)
    return found


def mixed(folder: Path, total: int, seed: int) -> None:
    """Files of ``sizes(total)``: every other one is text."""
    pool, chance = Pool(seed), random.Random(seed)
    spread = sizes(total)
    for number, size in enumerate(spread):
        with (folder / f"{number:04d}.{'txt' if number % 2 else 'bin'}").open("wb") as file:
            for piece in pool.pieces(size, chance, text=number % 2 == 1):
                file.write(piece)


def many(folder: Path, count: int, size: int, seed: int) -> None:
    """``count`` files of ``size`` bytes: every other one is text."""
    pool, chance = Pool(seed), random.Random(seed)
    for number in range(count):
        if number % 1000 == 0:
            below = folder / f"{number // 1000:04d}"
            below.mkdir()
        data = b"".join(pool.pieces(size, chance, text=number % 2 == 1))
        (below / f"{number:06d}.{'txt' if number % 2 else 'bin'}").write_bytes(data)
