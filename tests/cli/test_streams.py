"""Standard streams that are full, closed, or read by nobody, and a machine that is too small: never a traceback."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdall.errors import OutOfResources, RemoteError, exhausted
from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.sweep import sweep
from tests.test_kill_import import environment

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")

SHORT = ["help", "version", "usage", "inspect", "extract", "verify --json"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    code: int
    out: str
    err: str


class Shell:
    """Runs commands as a shell does, with streams as it is told."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder, self._environ = folder, environ

    def __call__(self, words: str, streams: str, *, before: str = "", end: str = "", **environ: str) -> Ended:
        script = f"{before} {sys.executable} -m holdall {words} {streams} {end}"
        out, err = self._folder / "out.txt", self._folder / "err.txt"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            code = subprocess.run(
                ["bash", "-c", script],
                stdout=stdout,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                env={**self._environ, **environ},
                check=False,
            ).returncode
        return Ended(code=code, out=out.read_text("utf-8", "replace"), err=err.read_text("utf-8", "replace"))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("box"), behaviour=Behaviour(serve_assistants_files=True)) as running:
        with Hand(running.url, "sk-source-0001") as hand:
            hand.assistant("Helper", files=[hand.file("words.txt", b"some words")])
        yield running


@pytest.fixture
def shell(tmp_path: Path, box: Running) -> Shell:
    urls = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url}
    keys = {"OPENAI_SRC_API_KEY": "sk-source-0001", "OPENAI_DST_API_KEY": f"sk-{tmp_path.name}-0001"}
    source = '[[source]]\nname = "acme"\nkey_env = "OPENAI_SRC_API_KEY"\n'
    (tmp_path / "backup.toml").write_text(f'folder = "backups"\nbase_url = "{box.url}"\n{source}')
    (tmp_path / "backups").mkdir()
    return Shell(tmp_path, environment(**urls, **keys))


def commands(bundle: Path) -> dict[str, str]:
    """Every command, by what it is called here, in an order in which each finds what it needs."""
    plain = {
        "help": "--help",
        "nothing": "",
        "version": "--version",
        "usage": "import",
        "inspect": f"inspect {bundle}",
        "verify": f"verify {bundle}",
        "rehearse": f"verify --rehearse {bundle}",
        "extract": f"extract {bundle} --force --to extracted",
        "supply": f"supply {bundle} --force --originals . -o supplied.tar.zst",
        "unpack": f"unpack {bundle} unpacked",
        "pack": "pack unpacked --force",
        "export": "export --env-file none --parent none --force -o exported.tar.zst",
        "preview": "export --env-file none --dry-run",
        "plan": f"plan --env-file none {bundle}",
        "import": f"import --env-file none {bundle}",
        "against": f"verify --against dst --env-file none {bundle}",
        "runs": "runs --env-file none",
        "diff": f"diff {bundle} {bundle} --env-file none",
        "list": f"list {bundle} --grep .",
        "prune": f"prune {bundle.parent} --keep-last 99",
        "backup": "backup --config backup.toml",
        "remap": "remap out/mapping.json extracted",
        "undo": "undo --env-file none --yes latest",
        "clone": "clone --env-file none",
        "doctor": "doctor --env-file none",
    }
    in_json = {f"{name} --json": f"{words} --json" for name, words in plain.items() if words and "-" not in words[:2]}
    return {**plain, **in_json, "demo": "demo --dir demo"}


def chosen(bundle: Path, names: list[str]) -> dict[str, str]:
    every = commands(bundle)
    return {name: every[name] for name in names or every}


# Some commands, and on demand all of them.
some_or_all = pytest.mark.parametrize("names", [SHORT, pytest.param([], marks=pytest.mark.slow, id="all")])


@some_or_all
@sweep("streams", [">/dev/full", ">&-"])
def test_a_result_that_cannot_be_written_is_exit_15(bundle: Path, shell: Shell, names: list[str], streams: str) -> None:
    wrong = []
    for name, words in chosen(bundle, names).items():
        done = shell(words, streams)
        lost = "can't write to standard output: " in done.err
        if "Traceback" in done.err or "Exception ignored" in done.err or (lost and done.code != 15):
            wrong.append((name, done))
        # Whoever prints nothing there loses nothing.
        if not lost and name not in ("usage", "supply", "remap"):
            wrong.append((name, done))
    assert wrong == []


@some_or_all
@sweep("streams", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_without_stderr_a_command_does_what_it_does(bundle: Path, shell: Shell, names: list[str], streams: str) -> None:
    wrong = []
    for name, words in chosen(bundle, names).items():
        done = shell(words, streams)
        if done.code not in (2 if name in ("usage", "nothing", "usage --json") else 0, 3, 4):
            wrong.append((name, done))
        if "--json" in words and json.loads(done.out)["exit_code"] != done.code:
            wrong.append((name, done))
    assert wrong == []


def test_a_file_does_not_get_the_number_of_a_closed_stream(bundle: Path, shell: Shell, tmp_path: Path) -> None:
    """Or what is meant for the stream would stand in the file."""
    for streams in ("2>&-", ">&- 2>&-", ">&- 2>&- <&-"):
        shell(f"extract {bundle} --to whole", "")
        done = shell(f"extract {bundle} --to {streams.count('-')}", streams)
        assert done.code in (0, 15)
        for path in (tmp_path / str(streams.count("-"))).rglob("*"):
            if path.is_file():
                whole = tmp_path / "whole" / path.relative_to(tmp_path / str(streams.count("-")))
                assert path.read_bytes() == whole.read_bytes()


@some_or_all
def test_a_reader_that_goes_away(bundle: Path, shell: Shell, names: list[str]) -> None:
    wrong = []
    for name, words in chosen(bundle, names).items():
        done = shell(words, "", end="| true; exit ${PIPESTATUS[0]}")
        if done.code == 70 or "Traceback" in done.err or "Exception ignored" in done.err:
            wrong.append((name, done))
    assert wrong == []


@some_or_all
@pytest.mark.thorough
def test_names_beyond_ascii_where_there_is_no_locale(bundle: Path, shell: Shell, names: list[str]) -> None:
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    responses = f"import --env-file none {bundle} --as responses --force --output-dir requests"
    wrong = []
    for name, words in (chosen(bundle, names) | {"responses": responses}).items():
        done = shell(words, "", **plain)
        # A diff has the files' own bytes.
        if done.code not in (0, 2, 3, 4) or not (done.out.isascii() or name == "remap"):
            wrong.append((name, done))
    assert wrong == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("can't start new thread"), "out of threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "out of threads"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
    ],
)
def test_a_machine_that_is_too_small_is_no_bug(
    error: Exception, said: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("holdall.bundle.reader.open_bundle", fails)
    done = Terminal(monkeypatch, {})("inspect", str(bundle), "--json")
    assert done.code == 15
    assert f"Error: {said}" in done.err
    assert done.document["error"]["type"] == "OutOfResources"
    # Also where it is the cause of another error, or one of several.
    for outer in (RemoteError("down"), ExceptionGroup("several", [ValueError("x"), error])):
        if isinstance(outer, RemoteError):
            outer.__cause__ = error
        assert isinstance(exhausted(outer), OutOfResources)
    assert exhausted(ValueError("x")) is None


def test_what_a_connection_was_lost_for_is_seen_through_libraries_that_do_not_say_from() -> None:
    lost = ConnectionError("lost")
    lost.__context__ = OSError("broken")
    lost.__context__.__cause__ = MemoryError()
    assert isinstance(exhausted(lost), OutOfResources)


@pytest.mark.skipif(sys.platform != "linux", reason="limits differ elsewhere")
@sweep("files", [9, 7, 11, 14])
def test_too_few_open_files_for_a_connection(bundle: Path, shell: Shell, files: int) -> None:
    """It says nothing of the server, so it isn't the server that is down, and nothing is tried again and again."""
    done = shell(f"import --env-file none {bundle} --output-dir out", "", before=f"ulimit -n {files};")
    assert done.code in (0, 15), done
    assert "Traceback" not in done.err
    assert not done.code or "open files" in done.err, done


@pytest.mark.skipif(sys.platform != "linux", reason="limits differ elsewhere")
@sweep("command", ["verify --rehearse", "sandbox --port 0"])
def test_too_few_open_files_for_a_sandbox(bundle: Path, shell: Shell, command: str) -> None:
    words = f"{command} {bundle}" if command.startswith("verify") else command
    done = shell(words, "", before="ulimit -n 24;")
    assert done.code == 15
    assert "Error: too many open files" in done.err
    assert "Traceback" not in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="limits differ elsewhere")
@pytest.mark.parametrize(
    ("limit", "names"),
    [
        # Where a new thread finds no memory at all, CPython 3.11 waits for it without end: a rehearsal, which starts
        # many, is tried on demand.
        (120, ["verify --json"]),
        *(pytest.param(limit, [], marks=pytest.mark.slow) for limit in (80, 120, 200, 400)),
    ],
)
def test_too_little_memory_is_told_by_every_command(bundle: Path, shell: Shell, limit: int, names: list[str]) -> None:
    """And none waits for a thread or process that could not start."""
    wrong = []
    for name, words in chosen(bundle, names).items():
        done = shell(words, "", before=f"ulimit -v {limit}000;")
        if done.code not in (0, 2, 3, 4, 15) or "Traceback" in done.err:
            wrong.append((name, done))
        # An earlier command had no memory to make the file that is missing here.
        if done.code == 15 and not any(why in done.err for why in ("out of memory", "out of threads", "No such file")):
            wrong.append((name, done))
    assert wrong == []
