"""The rows of the table: what is measured, against which floor, and what the aim is."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec

from tests.bench.inputs import many, mixed
from tests.bench.measure import Command, Pairs, measure

__all__ = ["ROWS", "Bench", "Line"]

_ROOT = Path(__file__).parents[2]
_SEED = 6
_KEY = "sk-bench"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``floor`` and ``work`` are medians; ``value`` is what the aim is about."""

    work: str
    floor: str
    value: str
    aim: str
    met: bool
    note: str = ""


class Bench:
    """Where the rows find their inputs: made when the first row asks for them, from 1 (the real size) downwards."""

    def __init__(self, folder: Path, *, scale: float, rounds: int) -> None:
        self.folder, self.scale, self.rounds = folder, scale, rounds

    def count(self, real: int) -> int:
        return max(20, round(real * self.scale))

    def place(self, name: str) -> Path:
        """A path below the folder where nothing is."""
        path = self.folder / name
        for left in (path, path.with_name(f"{name}.partial")):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
        return path

    @cached_property
    def mixed(self) -> Path:
        """1 GB in files from 2 KB to 200 MB."""
        folder = self.folder / "mixed"
        folder.mkdir()
        mixed(folder, max(200_000, round(1_000_000_000 * self.scale)), _SEED)
        return folder

    @cached_property
    def many(self) -> Path:
        """50,000 files of 20 KB."""
        folder = self.folder / "many"
        folder.mkdir()
        many(folder, self.count(50_000), 20_000, _SEED)
        return folder

    @cached_property
    def mixed_bundle(self) -> Path:
        """The bundle of ``mixed``."""
        target = self.folder / "mixed.tar.zst"
        _python("pack", str(self.mixed), str(target))
        return target

    @cached_property
    def large_bundle(self) -> Path:
        """5 GB in 100,000 files of 50 KB."""
        target = self.folder / "large.tar.zst"
        _python("build", str(target), str(self.count(100_000)), "50000")
        return target

    @cached_property
    def small_bundle(self) -> Path:
        """2,000 files of 20 KB, to be imported."""
        target = self.folder / "small.tar.zst"
        _python("build", str(target), str(self.count(2_000)), "20000")
        return target

    @cached_property
    def one_bundle(self) -> Path:
        """One file of 512 MB, to be imported."""
        target = self.folder / "one.tar.zst"
        _python("build", str(target), "1", str(round(512_000_000 * self.scale)))
        return target

    @cached_property
    def numerous_bundle(self) -> Path:
        """100,000 files of 1 KB, to be imported."""
        target = self.folder / "numerous.tar.zst"
        _python("build", str(target), str(self.count(100_000)), "1000")
        return target

    # -- commands --------------------------------------------------------------------------------------

    def command(self, *words: str, clear: Sequence[str] = ()) -> Command:
        """A command in the bench's folder; what is there of the names in ``clear`` is taken away before each run."""

        @contextmanager
        def within() -> Iterator[Sequence[str]]:
            for name in clear:
                self.place(name)
            yield ()

        return Command(words=words, folder=self.folder, within=within)

    def holdall(self, *words: str, clear: Sequence[str] = ()) -> Command:
        return self.command(sys.executable, "-m", "holdall", *words, clear=clear)

    def bench(self, *words: str, clear: Sequence[str] = ()) -> Command:
        return self.command(sys.executable, str(Path(__file__).with_name("works.py")), *words, clear=clear)

    def against(self, command: Command, server: Sequence[str], *, side: str = "") -> Command:
        """``command`` with a server of its own, whose base URL is its last word, or the setting of ``side``."""

        @contextmanager
        def within() -> Iterator[Sequence[str]]:
            with command.within(), _server(*server) as url:
                yield (url,)

        @contextmanager
        def with_settings() -> Iterator[Sequence[str]]:
            with command.within(), _server(*server) as url:
                settings = self.folder / ".env.bench"
                settings.write_text(f"OPENAI_{side}_API_KEY={_KEY}\nOPENAI_{side}_BASE_URL={url}\n")
                yield ("--env-file", str(settings))

        return msgspec.structs.replace(command, within=with_settings if side else within)


@contextmanager
def _server(*words: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.server", *words],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.stdin.close()
        process.stdout.read()
        process.stdout.close()
        process.wait()


def _python(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "tests.bench.works", *words], cwd=_ROOT, check=True)


def _seconds(runs: Sequence[float]) -> float:
    return statistics.median(runs)


def _ratio(pairs: Pairs, aim: float, *, note: str = "") -> Line:
    work, floor = (_seconds([run.seconds for run in runs]) for runs in (pairs.works, pairs.floors))
    cpu, least = (_seconds([run.processor for run in runs]) for runs in (pairs.works, pairs.floors))
    return Line(
        work=f"{work:.2f} s",
        floor=f"{floor:.2f} s",
        value=f"{pairs.ratio:.2f} x",
        aim=f"{aim:.2f} x",
        met=pairs.ratio <= aim,
        note=note or f"processor {cpu:.2f} s, {least:.2f} s: {cpu / least:.2f} x",
    )


def _peak(bench: Bench, work: Command, aim: int) -> Line:
    peak = max(run.peak for run in measure(None, work, 1).works) / 1_000_000
    return Line(work=f"{peak:.0f} MB", floor="", value=f"{peak:.0f} MB", aim=f"{aim} MB", met=peak <= aim)


def _tar(bench: Bench, folder: Path) -> Command:
    # Reading the files and writing the archive in one pipeline, as who knows these tools does it.
    line = f"tar -cf - -C '{folder}' . | zstd -T0 -3 -q -f -o '{bench.folder / 'floor.zst'}'"
    return bench.command("/bin/sh", "-c", line, clear=["floor.zst"])


def pack_mixed(bench: Bench) -> Line:
    work = bench.bench("pack", str(bench.mixed), str(bench.folder / "work.tar.zst"), clear=["work.tar.zst"])
    return _ratio(measure(_tar(bench, bench.mixed), work, bench.rounds), 1.15)


def pack_many(bench: Bench) -> Line:
    work = bench.bench("pack", str(bench.many), str(bench.folder / "work.tar.zst"), clear=["work.tar.zst"])
    return _ratio(measure(_tar(bench, bench.many), work, bench.rounds), 1.25)


def verify(bench: Bench) -> Line:
    bundle = str(bench.mixed_bundle)
    zstd = shutil.which("zstd") or "zstd"
    return _ratio(measure(bench.command(zstd, "-t", "-q", bundle), bench.holdall("verify", bundle), bench.rounds), 1.3)


def _files(bench: Bench, count: int) -> list[str]:
    return ["--files", str(bench.count(count)), "--size", "20000", "--latency", "0.05"]


def export_files(bench: Bench) -> Line:
    served = _files(bench, 2_000)
    floor = bench.against(bench.bench("sdk-export"), served)
    work = bench.holdall("export", "--concurrency", "32", "-o", "work.tar.zst", clear=["work.tar.zst"])
    return _ratio(measure(floor, bench.against(work, served, side="SRC"), bench.rounds), 1.2)


def import_files(bench: Bench) -> Line:
    count, latency = bench.count(2_000), ["--latency", "0.05"]
    floor = bench.against(bench.bench("sdk-import", str(count), "20000"), latency)
    work = bench.holdall("import", str(bench.small_bundle), "--concurrency", "32", clear=["out"])
    return _ratio(measure(floor, bench.against(work, latency, side="DST"), bench.rounds), 1.2)


def _export_one(bench: Bench, *more: str) -> Line:
    served = ["--files", "1", "--size", str(round(1_000_000_000 * bench.scale)), *more]
    work = bench.holdall("export", "-o", "work.tar.zst", clear=["work.tar.zst"])
    floor = bench.against(bench.bench("sdk-stream"), served)
    return _ratio(measure(floor, bench.against(work, served, side="SRC"), bench.rounds), 1.25)


def export_one_text(bench: Bench) -> Line:
    return _export_one(bench)


def export_one_noise(bench: Bench) -> Line:
    return _export_one(bench, "--noise")


def inspect(bench: Bench) -> Line:
    runs = measure(None, bench.holdall("inspect", str(bench.large_bundle)), bench.rounds).works
    seconds = _seconds([run.seconds for run in runs])
    return Line(work=f"{seconds:.2f} s", floor="", value=f"{seconds:.2f} s", aim="1 s", met=seconds <= 1)


def _extract(bench: Bench, *chosen: str) -> Line:
    work = bench.holdall("extract", str(bench.large_bundle), *chosen, "--to", "extracted", clear=["extracted"])
    pairs = measure(bench.command(sys.executable, "-c", "pass"), work, bench.rounds)
    work_, floor = (_seconds([run.seconds for run in runs]) for runs in (pairs.works, pairs.floors))
    over = work_ - floor
    return Line(work=f"{work_:.2f} s", floor=f"{floor:.2f} s", value=f"+{over:.2f} s", aim="+0.30 s", met=over <= 0.3)


def extract_path(bench: Bench) -> Line:
    number = bench.count(100_000) // 2
    return _extract(bench, f"data/files/file-{number:022d}/a file with a usual name {number}.txt")


def extract_id(bench: Bench) -> Line:
    return _extract(bench, f"file-{bench.count(100_000) // 3:022d}")


def help(bench: Bench) -> Line:
    floor = bench.command(sys.executable, "-c", "import click")
    return _ratio(measure(floor, bench.holdall("--help"), max(bench.rounds, 9)), 2.0)


def memory_one_out(bench: Bench) -> Line:
    served = ["--files", "1", "--size", str(round(512_000_000 * bench.scale))]
    work = bench.holdall("export", "-o", "work.tar.zst", clear=["work.tar.zst"])
    return _peak(bench, bench.against(work, served, side="SRC"), 150)


def memory_one_in(bench: Bench) -> Line:
    work = bench.holdall("import", str(bench.one_bundle), clear=["out"])
    return _peak(bench, bench.against(work, [], side="DST"), 150)


def memory_many_out(bench: Bench) -> Line:
    served = ["--files", str(bench.count(100_000)), "--size", "1000"]
    work = bench.holdall("export", "--concurrency", "32", "-o", "work.tar.zst", clear=["work.tar.zst"])
    return _peak(bench, bench.against(work, served, side="SRC"), 250)


def memory_many_in(bench: Bench) -> Line:
    work = bench.holdall("import", str(bench.numerous_bundle), "--concurrency", "32", clear=["out"])
    return _peak(bench, bench.against(work, [], side="DST"), 250)


ROWS: dict[str, tuple[str, Callable[[Bench], Line]]] = {
    "pack": ("pack 1 GB of mixed files / tar | zstd -T0 -3", pack_mixed),
    "pack-many": ("pack 50,000 files of 20 KB / tar | zstd -T0 -3", pack_many),
    "verify": ("verify that 1 GB / zstd -t", verify),
    "export": ("export 2,000 files of 20 KB at 50 ms / the SDK alone", export_files),
    "import": ("import 2,000 files of 20 KB at 50 ms / the SDK alone", import_files),
    "export-text": ("export one text of 1 GB / the SDK, into nothing", export_one_text),
    "export-noise": ("export one file of 1 GB that can't be compressed / the SDK, into nothing", export_one_noise),
    "inspect": ("inspect at 100,000 files", inspect),
    "extract-path": ("extract one file by path, 5 GB in 100,000 files / python", extract_path),
    "extract-id": ("the same by id", extract_id),
    "help": ("holdall --help / import click", help),
    "memory-one-out": ("peak memory: a file of 512 MB out", memory_one_out),
    "memory-one-in": ("peak memory: a file of 512 MB in", memory_one_in),
    "memory-many-out": ("peak memory: 100,000 files out", memory_many_out),
    "memory-many-in": ("peak memory: 100,000 files in", memory_many_in),
}
