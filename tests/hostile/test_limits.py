"""The limits of the format: what is over one is named by a proof, and at one a bundle costs little."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdall.verify import verify
from tests.hostile.forge import canonical, forge, joined, ledger_line, record
from tests.hostile.lies import LIMITS
from tests.hostile.lies import info as info_lie

Lies = dict[str, Callable[[Any], Any]]

MOST_MEMORY, MOST_SECONDS = 300, 10  # MiB, and seconds of the processor, for a bundle of up to a megabyte
COST = """\
import resource, sys
from holdall.cli.main import run
from holdall.cli.console import Console
import io
console = Console(stdout=io.StringIO(), stderr=io.StringIO())
code = run(sys.argv[1:], console)
used = resource.getrusage(resource.RUSAGE_SELF)
print(code, used.ru_maxrss >> 10, used.ru_utime + used.ru_stime)
"""
LAUNCH = """\
import os, subprocess, sys
process = subprocess.Popen([sys.executable, *sys.argv[1:]])
process.wait()
"""


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_over_a_limit_is_named(name: str, tmp_path: Path) -> None:
    lies, said = LIMITS[name]
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**lies))
    messages = [finding.message for finding in verify(path).findings]
    assert any(said in message for message in messages), messages


# -- what a bundle costs that is as bad as it may be -------------------------------------------------------


def _padded(size: int = 900_000) -> Lies:
    """So much of noise, which makes room for other things."""
    noise = random.Random(1).randbytes(size)

    def contents(members: list[Any]) -> list[Any]:
        return [members[0], replace(members[1], data=noise), members[2]]

    def ledger(lines: list[Any]) -> list[Any]:
        return [lines[0], {**lines[1], "size": size, "expected": size}, *lines[2:]]

    return {"contents": contents, "ledger": ledger, **joined()}


def _assistants(count: int, *, noise: int = 900_000, **fields: Any) -> Lies:
    """The same assistant again and again: its index lines are nearly the same, too."""

    def definitions(members: list[Any]) -> list[Any]:
        first = record("assistants", "asst_9", **fields)
        return [*members, *(replace(first, path=f"data/assistants/{number:06}.json") for number in range(count))]

    return {"definitions": definitions, **_padded(noise)}


def _files(count: int) -> Lies:
    def lines(honest: list[Any]) -> list[Any]:
        return [*honest, *(f'{{"id":"file-9{number:06}"}}'.encode() for number in range(count))]

    def ledger(honest: list[Any]) -> list[Any]:
        more = [canonical(ledger_line(f"file-9{number:06}", None, status=404)) for number in range(count)]
        return [*_padded()["ledger"](honest), *more]

    return {**_padded(), "files": lines, "ledger": ledger, **info_lie(rungs={})}


def _losses(count: int) -> Lies:
    """Files that are not there, of the longest ids."""

    def definitions(members: list[Any]) -> list[Any]:
        ids = [["f" * 490 + f"{number}-{file}" for file in range(10_000)] for number in range(count)]
        more = [
            record("assistants", f"asst_9{number}", tool_resources={"code_interpreter": {"file_ids": one}})
            for number, one in enumerate(ids)
        ]
        return [*members, *more]

    return {"definitions": definitions, **_padded(800_000)}


def _named_by_all(count: int, *, noise: int = 900_000) -> Lies:
    ids = [f"f{number}" for number in range(10_000)]
    return _assistants(count, noise=noise, tool_resources={"code_interpreter": {"file_ids": ids}})


WORST: dict[str, Callable[[], Lies]] = {
    "an assistant with an id of 200 kB that names 20,000 files": lambda: {
        "definitions": lambda members: [
            replace(
                members[0],
                data=canonical(
                    {
                        "id": "a" * 200_000,
                        "tool_resources": {"code_interpreter": {"file_ids": [f"f{n}" for n in range(20_000)]}},
                    }
                ),
            ),
            *members[1:],
        ]
    },
    "millions of records in 100 kB": lambda: {
        "files": lambda lines: [*lines, b'{"id":"a"}'] + [b'{"id":"a"}'] * 2_000_000
    },
    "an index of line ends": lambda: {"index": lambda lines: [*lines, b"\n" * (60 << 20)], **_padded()},
    "as many lines as there may be": lambda: _files(55_000),
    "as many assistants as there may be": lambda: _assistants(50_000, noise=450_000),
    "as many references as there may be": lambda: _named_by_all(10),
    "a thousand assistants with 10,000 references": lambda: _named_by_all(1000, noise=300_000),
    "as many losses as there may be": lambda: _losses(11),
    "as many findings as there may be": lambda: {
        **_assistants(50_000, noise=500_000),
        "index": lambda lines: [{**line, "sha256": "0" * 64} for line in lines],
    },
    "as many values as there may be": lambda: _assistants(15, metadata={"x": [[]] * 60_000}),
    "many records of 8 MiB": lambda: _assistants(26, instructions="x" * ((8 << 20) - 100)),
    "many records of 8 MiB of brackets": lambda: _assistants(26, metadata={"x": [[]] * 2_790_000}),
}
COMMANDS = {"verify": ["verify", "--json"], "salvage": ["extract", "--salvage", "--to", "OUT"]}


def cost(folder: Path, *arguments: str) -> tuple[int, int, float]:
    """Exit code, MiB and processor seconds of a command. A small process stands between, whose peak it begins with."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, "-c", COST, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    code, memory, seconds = done.stdout.split()
    return int(code), int(memory), float(seconds)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the peak in kilobytes, as Linux does")
@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", WORST)
def test_the_worst_costs_little(name: str, command: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(forge(**WORST[name]()))
    assert path.stat().st_size < 1_100_000, "the test's own measure"
    words = [str(tmp_path / "out") if word == "OUT" else word for word in COMMANDS[command]]
    code, memory, seconds = cost(tmp_path, words[0], str(path), *words[1:])
    print(json.dumps([name, command, path.stat().st_size, code, memory, round(seconds, 1)]))
    assert code in (0, 3, 4, *range(10, 20))
    assert memory < MOST_MEMORY
    assert seconds < MOST_SECONDS
