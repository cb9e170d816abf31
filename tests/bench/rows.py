"""The rows of the table: what is measured, against which floor, and what the aim is."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec

from tests.bench.inputs import Pool, many, mixed
from tests.bench.measure import Command, Measured, Pairs, measure, median

__all__ = ["ON_DEMAND", "ROWS", "Bench", "Line"]

_ROOT = Path(__file__).parents[2]
_SEED = 6
_KEY = "sk-bench"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: medians of work and floor, the ratios of a pair, and what the aim is about."""

    work: Measured
    floor: Measured | None = None
    wall: float | None = None
    processor: float | None = None
    aim: str
    missed: str = ""


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
    def pool(self) -> Path:
        """What servers take contents from."""
        folder = self.folder / "pool"
        folder.mkdir()
        Pool(1).keep(folder)
        return folder

    @cached_property
    def few(self) -> Path:
        """2,000 files of 20 KB."""
        folder = self.folder / "few"
        folder.mkdir()
        many(folder, self.count(2_000), 20_000, _SEED)
        return folder

    @cached_property
    def large_bundle(self) -> Path:
        """1 GB in 100,000 files of 10 KB."""
        return self._built("large", self.count(100_000), 10_000)

    @cached_property
    def small_bundle(self) -> Path:
        """2,000 files of 20 KB, to be imported."""
        return self._built("small", self.count(2_000), 20_000)

    @cached_property
    def little_bundle(self) -> Path:
        """40 files of 20 KB."""
        return self._built("little", 40, 20_000)

    @cached_property
    def numerous_bundle(self) -> Path:
        """100,000 files of 1 KB, to be imported."""
        return self._built("numerous", self.count(100_000), 1_000)

    @cached_property
    def one_bundle(self) -> Path:
        """One file of 512 MB, to be imported."""
        return self._built("one", 1, round(512_000_000 * self.scale))

    @cached_property
    def longest_bundle(self) -> Path:
        """One file of 1 GB, to be imported."""
        return self._built("longest", 1, round(1_000_000_000 * self.scale))

    @cached_property
    def longest_file(self) -> Path:
        """The file in it."""
        name, target = "a file with a usual name 0.txt", self.folder / "longest"
        _holdall("extract", str(self.longest_bundle), f"file-{0:022d}", "--to", str(target))
        return next(target.rglob(name))

    def _built(self, name: str, count: int, size: int) -> Path:
        target = self.folder / f"{name}.tar.zst"
        _python("build", str(target), str(count), str(size))
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

    def shell(self, line: str, clear: Sequence[str] = ()) -> Command:
        """A pipeline of standard tools, which waits for all of its processes: the processor seconds are of all."""
        return self.command("/bin/sh", "-ec", f"{line}\nwait", "floor", clear=clear)

    def against(self, command: Command, server: Sequence[str], *, side: str = "", port: int = 0) -> Command:
        """``command`` with a server of its own, whose base URL is its last word, or the setting of ``side``."""
        pool = str(self.pool) if "--files" in server else ""

        @contextmanager
        def within() -> Iterator[Sequence[str]]:
            with command.within(), _server(*server, "--port", str(port), *(["--pool", pool] if pool else [])) as url:
                yield (url,)

        @contextmanager
        def with_settings() -> Iterator[Sequence[str]]:
            with within() as (url,):
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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _holdall(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "holdall", *words], check=True, capture_output=True)


def _python(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "tests.bench.works", *words], cwd=_ROOT, check=True)


def _pairs(pairs: Pairs, aim: float) -> Line:
    over = [name for name, ratio in (("wall", pairs.wall), ("cpu", pairs.processor)) if ratio > aim]
    return Line(
        work=median(pairs.works),
        floor=median(pairs.floors),
        wall=pairs.wall,
        processor=pairs.processor,
        aim=f"{aim:.2f} x",
        missed=", ".join(over),
    )


def _peak(bench: Bench, work: Command, aim: int) -> Line:
    found = median(measure(None, work, 1).works)
    return Line(work=found, aim=f"{aim} MB", missed="" if found.peak <= aim * 1_000_000 else "peak")


def _pack(bench: Bench, folder: Path, floor: str, aim: float) -> Line:
    work = bench.bench("pack", str(folder), str(bench.folder / "work.tar.zst"), clear=["work.tar.zst"])
    return _pairs(measure(bench.shell(floor, ["floor.zst", "to"]), work, bench.rounds), aim)


def pack_mixed(bench: Bench) -> Line:
    tar = f"tar -cf - -C '{bench.mixed}' ."
    return _pack(
        bench, bench.mixed, f"mkfifo to; zstd -T0 -3 -q -o floor.zst < to & {tar} | tee to | sha256sum", aim=1.0
    )


def pack_many(bench: Bench) -> Line:
    hashes = f"find '{bench.many}' -type f -print0 | xargs -0 -s 2000000 sha256sum"
    return _pack(bench, bench.many, f"{hashes}\ntar -cf - -C '{bench.many}' . | zstd -T0 -3 -q -o floor.zst", aim=1.3)


def verify(bench: Bench) -> Line:
    bundle = str(bench.mixed_bundle)
    floor = bench.shell(f"zstd -dcq '{bundle}' | sha256sum & sha256sum '{bundle}'")
    return _pairs(measure(floor, bench.holdall("verify", bundle), bench.rounds), 1.0)


def verify_little(bench: Bench) -> Line:
    floor = bench.command(sys.executable, "-c", "import click, msgspec, zstandard")
    work = bench.holdall("verify", str(bench.little_bundle))
    return _pairs(measure(floor, work, max(bench.rounds, 5)), 1.5)


def _files(bench: Bench, count: int) -> list[str]:
    return ["--files", str(bench.count(count)), "--size", "20000"]


def export_files(bench: Bench) -> Line:
    served = [*_files(bench, 2_000), "--latency", "0.05"]
    floor = bench.against(bench.bench("sdk-export", "floor.zst", clear=["floor.zst"]), served)
    work = bench.holdall("export", "--concurrency", "32", "-o", "work.tar.zst", clear=["work.tar.zst"])
    return _pairs(measure(floor, bench.against(work, served, side="SRC"), bench.rounds), 1.0)


def import_files(bench: Bench) -> Line:
    latency = ["--latency", "0.05"]
    floor = bench.against(bench.bench("sdk-import", str(bench.few)), latency)
    work = bench.holdall("import", str(bench.small_bundle), "--concurrency", "32", clear=["out"])
    return _pairs(measure(floor, bench.against(work, latency, side="DST"), bench.rounds), 1.0)


def export_little(bench: Bench) -> Line:
    served = ["--files", "40", "--size", "20000", "--assistants", "8"]
    floor = bench.command(sys.executable, "-c", "import openai")
    work = bench.holdall("export", "-o", "work.tar.zst", clear=["work.tar.zst"])
    return _pairs(measure(floor, bench.against(work, served, side="SRC"), max(bench.rounds, 5)), 1.5)


def _again(bench: Bench, *more: str) -> Line:
    served, port = _files(bench, 1_000), _free_port()
    first = bench.against(bench.holdall("export", "-o", "parent.tar.zst"), served, side="SRC", port=port)
    bench.place("parent.tar.zst")
    measure(None, first, 1)
    floor = bench.against(bench.bench("sdk-lists"), served, port=port)
    again = ("--parent", "parent.tar.zst", "-o", "work.tar.zst", *more)
    work = bench.against(bench.holdall("export", *again, clear=["work.tar.zst"]), served, side="SRC", port=port)
    return _pairs(measure(floor, work, bench.rounds), 1.2)


def export_again(bench: Bench) -> Line:
    return _again(bench)


def export_unchanged(bench: Bench) -> Line:
    return _again(bench, "--skip-if-unchanged")


def _export_one(bench: Bench, aim: float, *more: str) -> Line:
    served = ["--files", "1", "--size", str(round(1_000_000_000 * bench.scale)), *more]
    work = bench.holdall("export", "-o", "work.tar.zst", clear=["work.tar.zst"])
    got = f'curl -sS "$1/files/file-{0:022d}/content"'
    line = f"mkfifo to; sha256sum < to & {got} | tee to | zstd -T0 -3 -q -o floor.zst"
    floor = bench.against(bench.shell(line, ["floor.zst", "to"]), served)
    return _pairs(measure(floor, bench.against(work, served, side="SRC"), bench.rounds), aim)


def export_one_text(bench: Bench) -> Line:
    return _export_one(bench, 1.0)


def export_one_noise(bench: Bench) -> Line:
    return _export_one(bench, 1.15, "--noise")


def import_one(bench: Bench) -> Line:
    bundle, file = bench.longest_bundle, bench.longest_file
    line = f"zstd -dcq '{bundle}' > /dev/null & curl -sS -H Expect: -T '{file}' \"$1/files/f\""
    work = bench.holdall("import", str(bundle), clear=["out"])
    return _pairs(measure(bench.against(bench.shell(line), []), bench.against(work, [], side="DST"), bench.rounds), 1.2)


def inspect(bench: Bench) -> Line:
    found = median(measure(None, bench.holdall("inspect", str(bench.large_bundle)), bench.rounds).works)
    return Line(work=found, aim="1 s", missed="" if found.seconds <= 1 else "wall")


def _extract(bench: Bench, *chosen: str) -> Line:
    work = bench.holdall("extract", str(bench.large_bundle), *chosen, "--to", "extracted", clear=["extracted"])
    pairs = measure(bench.command(sys.executable, "-c", "pass"), work, bench.rounds)
    found, floor = median(pairs.works), median(pairs.floors)
    missed = "" if found.seconds - floor.seconds <= 0.3 else "wall"
    return Line(work=found, floor=floor, aim="+0.30 s", missed=missed)


def extract_path(bench: Bench) -> Line:
    number = bench.count(100_000) // 2
    return _extract(bench, f"data/files/file-{number:022d}/a file with a usual name {number}.txt")


def extract_id(bench: Bench) -> Line:
    return _extract(bench, f"file-{bench.count(100_000) // 3:022d}")


def help(bench: Bench) -> Line:
    floor = bench.command(sys.executable, "-c", "import click")
    return _pairs(measure(floor, bench.holdall("--help"), max(bench.rounds, 5)), 2.0)


def memory_one_out(bench: Bench) -> Line:
    served = ["--files", "1", "--size", str(round(512_000_000 * bench.scale))]
    work = bench.holdall("export", "-o", "work.tar.zst", clear=["work.tar.zst"])
    return _peak(bench, bench.against(work, served, side="SRC"), 150)


def memory_one_in(bench: Bench) -> Line:
    work = bench.holdall("import", str(bench.one_bundle), clear=["out"])
    return _peak(bench, bench.against(work, [], side="DST"), 150)


def _numerous_out(bench: Bench, count: int, aim: int) -> Line:
    served = ["--files", str(bench.count(count)), "--size", "1000"]
    work = bench.holdall("export", "--concurrency", "32", "-o", "numerous-out.tar.zst", clear=["numerous-out.tar.zst"])
    return _peak(bench, bench.against(work, served, side="SRC"), aim)


def memory_many_out(bench: Bench) -> Line:
    return _numerous_out(bench, 100_000, 250)


def memory_many_in(bench: Bench) -> Line:
    work = bench.holdall("import", str(bench.numerous_bundle), "--concurrency", "32", clear=["out"])
    return _peak(bench, bench.against(work, [], side="DST"), 250)


def memory_million_out(bench: Bench) -> Line:
    return _numerous_out(bench, 1_000_000, 400)


def memory_million_verify(bench: Bench) -> Line:
    if not (bundle := bench.folder / "numerous-out.tar.zst").exists():
        memory_million_out(bench)
    return _peak(bench, bench.holdall("verify", str(bundle)), 400)


ROWS: dict[str, tuple[str, Callable[[Bench], Line]]] = {
    "pack": ("1 GB of mixed files; tar | tee >(zstd -T0 -3) | sha256sum", pack_mixed),
    "pack-many": ("50,000 files of 20 KB; sha256sum of each, then tar | zstd -T0 -3", pack_many),
    "verify": ("that 1 GB; zstd -dc | sha256sum, and sha256sum of the file, at once", verify),
    "verify-small": ("a bundle of 40 files; Python importing click, msgspec, zstandard", verify_little),
    "export": ("2,000 files of 20 KB at 50 ms, 32 at once; the SDK, hashing, compressing, writing", export_files),
    "import": ("the same; the SDK, reading and hashing", import_files),
    "export-small": ("8 assistants, 40 files; python -c 'import openai'", export_little),
    "export-again": ("1,000 unchanged files into a new bundle; the lists by the SDK", export_again),
    "export-unchanged": ("the same with --skip-if-unchanged; the same", export_unchanged),
    "export-text": ("one text of 1 GB; curl | tee >(sha256sum) | zstd -T0 -3", export_one_text),
    "export-noise": ("1 GB that can't be compressed; the same", export_one_noise),
    "import-one": ("1 GB that can't be compressed; curl -T of it, and zstd -dc of the bundle", import_one),
    "inspect": ("at 100,000 files", inspect),
    "extract-path": ("one file by path, of 100,000 and 1 GB; python", extract_path),
    "extract-id": ("the same by id", extract_id),
    "help": ("holdall --help; import click", help),
    "memory-one-out": ("a file of 512 MB out", memory_one_out),
    "memory-one-in": ("and in", memory_one_in),
}

ON_DEMAND: dict[str, tuple[str, Callable[[Bench], Line]]] = {
    "memory-many-out": ("100,000 files out (5 minutes)", memory_many_out),
    "memory-many-in": ("and in (7 minutes)", memory_many_in),
    "memory-million-out": ("1,000,000 files of 1 KB out (an hour)", memory_million_out),
    "memory-million-verify": ("and verified", memory_million_verify),
}
