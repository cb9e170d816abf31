"""The frame of the command line: help, exit codes, one JSON document, nothing imported that isn't needed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import click
import pytest

from holdall import errors
from holdall.cli import main as entry
from holdall.cli.console import Console, human_size, printable
from tests.waiting import Child


def run(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = entry.run(argv, Console(stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


def test_help_leads_with_three_examples_and_ends_with_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["--help"], Console()) == 0
    text = capsys.readouterr().out
    assert text.startswith("Back up:")
    assert text.index("Restore:") < text.index("Move:") < text.index("Usage:")
    commands = [name for section in entry.COMMANDS.values() for name in section]
    assert commands[-2:] == ["sandbox", "demo"]
    tail = text[text.index("Exit codes:") :]
    for code, meaning in errors.exit_codes().items():
        assert any(line.split(None, 1)[0] == str(code) for line in tail.splitlines()[1:] if line.strip()), meaning


def test_every_exit_code_is_in_its_range() -> None:
    ranges = {errors.BundleError: range(10, 20), errors.RemoteError: range(20, 30)}

    def walk(cls: type[errors.HoldallError]) -> list[type[errors.HoldallError]]:
        return [cls, *(leaf for sub in cls.__subclasses__() for leaf in walk(sub))]

    for parent, allowed in ranges.items():
        for cls in walk(parent)[1:]:
            assert cls.exit_code in allowed, cls
    assert set(errors.exit_codes()) == {cls.exit_code for cls in walk(errors.HoldallError)} | {0, 3, 4, 70}


def test_every_command_that_help_lists_exists() -> None:
    for section in entry.COMMANDS.values():
        for name in section:
            command = entry.cli.get_command(click.Context(entry.cli), name)
            assert isinstance(command, click.Command)
            assert command.help


@pytest.mark.parametrize("argv", [["frobnicate"], ["export", "--nope"], ["--nope"], ["export", "--nope", "--json"]])
def test_a_wrong_command_line_ends_in_two_with_a_hint(argv: list[str]) -> None:
    code, out, err = run(*argv)
    assert code == 2
    assert err.startswith("Error: ")
    assert "--help" in err
    assert "Traceback" not in err
    if "--json" in argv:
        document = json.loads(out)
        assert document["ok"] is False
        assert document["exit_code"] == 2
    else:
        assert out == ""


def test_a_bug_says_so_and_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(entry.cli, "main", broken)
    code, _, err = run("export")
    assert code == 70
    assert "a bug in holdall" in err
    assert "HOLDALL_TRACEBACK=1" in err
    assert "Traceback" not in err


def test_names_from_outside_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[2Jb\u202e\x00\udc80é中\n\t") == "a\\x1b[2Jb\\u202e\\x00\\udc80é中\n\t"


def test_sizes_for_people() -> None:
    shown = [human_size(n) for n in (0, 999, 1000, 1440, 12_345, 999_499, 1_000_000, 5_370_000_000)]
    assert shown == ["0 B", "999 B", "1.0 kB", "1.4 kB", "12 kB", "999 kB", "1.0 MB", "5.4 GB"]


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["inspect", "--help"], ["verify", "--help"], ["export", "--help"]]
)
def test_help_imports_nothing_that_is_slow_to_import(argv: list[str]) -> None:
    slow = {"openai", "starlette", "dotenv", "tqdm", "difflib", "tempfile"}
    if "export" not in argv:
        slow |= {"asyncio", "logging", "traceback", "holdall.settings"}
    assert [name for name in at_the_end(argv)["modules"] if name in slow] == []


def test_an_export_imports_what_few_exports_need_only_with_it() -> None:
    few = ["dumps", "originals", "word_match", "skill_zip", "cli.piped", "pages", "importer", "folder"]
    code = f"""
import sys
import holdall.cli.export, holdall.exporter.run_export
sys.exit(", ".join(name for name in {few!r} if f"holdall.{{name}}" in sys.modules) or None)
"""
    with Child([sys.executable, "-c", code]) as child:
        done = child.end()
    assert done.code == 0, done.err


@pytest.mark.parametrize("modules", [[], ["holdall.cli.export", "holdall.exporter.run_export"]])
def test_garbage_is_looked_for_neither_during_the_start_nor_at_the_end(modules: list[str]) -> None:
    end = at_the_end(["--help"], modules)
    assert end["collections"] == 0
    # Out of tens of thousands.
    assert end["objects"] < 1000


def at_the_end(argv: list[str], also: Sequence[str] = ()) -> dict[str, Any]:
    """What a process of the program has come to when the interpreter ends it: its modules, the collections of garbage
    since ``main`` was called, and the objects that the interpreter's last collections will look at. Its command imports
    the modules ``also``, too."""
    code = """
import atexit, gc, importlib, json, sys
also, sys.argv = sys.argv[1].split(), ["holdall", *sys.argv[2:]]
def collections():
    return sum(generation["collections"] for generation in gc.get_stats())
def report():
    found = {"modules": [*sys.modules], "collections": collections() - before, "objects": len(gc.get_objects())}
    sys.stderr.write(json.dumps(found))
atexit.register(report)
class Early:
    # Whatever is imported behind the start of main().
    def find_spec(self, name, path, target=None):
        if name == "holdall.cli.main":
            sys.meta_path.remove(self)
            for each in also:
                importlib.import_module(each)
import holdall.__main__
sys.meta_path.insert(0, Early())
before = collections()
holdall.__main__.main()
"""
    with Child([sys.executable, "-c", code, " ".join(also), *argv]) as child:
        done = child.end()
    assert done.code == 0, done.out + done.err
    found: dict[str, Any] = json.loads(done.err)
    return found


def test_a_reader_that_goes_away_is_no_bug() -> None:
    argv = [sys.executable, "-m", "holdall", "--json", "frobnicate"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        assert "Traceback" not in child.stderr.read()
