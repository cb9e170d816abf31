"""The demo, whole, as its user runs it; and what its child processes may see."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdall import settings
from holdall.cli import subprocesses
from holdall.errors import HoldallError
from holdall.legible import columns
from tests.sweep import sweep
from tests.waiting import Ended, holdall, naming, until

HOSTILE = {
    "OPENAI_API_KEY": "sk-mark-without_settings",
    "OPENAI_SRC_API_KEY": "sk-mark-without_settings",
    "OPENAI_DST_API_KEY": "sk-mark-without_settings",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_SRC_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_ORG_ID": "org-mark",
    "OPENAI_PROJECT_ID": "proj-mark",
    "OPENAI_CUSTOM_HEADERS": "X-Mark: mark",
    "CLONE_MODE": "by_id",
    "DRY_RUN": "true",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}
DOTENV = "OPENAI_SRC_API_KEY=sk-mark-dotenv\nINCLUDE_FILE_SEARCH=false\nOUTPUT_DIR=elsewhere\nLOG_LEVEL=debug\n"


def demo(folder: Path, *arguments: str) -> Ended:
    with holdall(
        "demo", *arguments, cwd=folder, env={**os.environ, **HOSTILE, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}
    ) as child:
        return child.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a user stands who has settings of every kind, and a folder of the name that the demo would take."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / ".env").write_text(DOTENV)
    (folder / "holdall-demo").mkdir()
    (folder / "holdall-demo" / "mine.txt").write_text("mine")
    return folder


def it_ends_with_no_differences(folder: Path, ran: Ended) -> None:
    assert ran.code == 0, ran.err
    assert ran.out == "COMPLETE: the imported copy equals the bundle, field by field\n"
    assert "47 files" in ran.err
    assert "47 original" in ran.err


def it_names_the_report(folder: Path, ran: Ended) -> None:
    report = Path("holdall-demo-2") / "out" / "report.md"
    assert f"Report: {report}" in ran.err
    assert (folder / report).exists()


def it_shows_the_commands_it_runs(folder: Path, ran: Ended) -> None:
    shown = re.sub(r" \\\n +", " ", ran.err)
    for command in ("sandbox --port 0", "export -o", "verify holdall-demo-2", "import holdall-demo-2"):
        assert re.search(rf"^\$ .*holdall {command}", shown, re.MULTILINE), command
    assert re.search(r"^\$ OPENAI_DST_API_KEY=sk-\S+ .*--against dst", shown, re.MULTILINE) or os.name == "nt"


def it_writes_into_a_folder_of_its_own_and_touches_nothing_else(folder: Path, ran: Ended) -> None:
    assert ran.code == 0
    assert sorted(path.name for path in folder.iterdir()) == [".env", "holdall-demo", "holdall-demo-2"]
    assert [path.name for path in (folder / "holdall-demo").iterdir()] == ["mine.txt"]
    assert (folder / "holdall-demo-2" / "larkmoor.tar.zst").exists()


def no_setting_of_the_user_has_a_say(folder: Path, ran: Ended) -> None:
    assert "-mark" not in ran.out + ran.err
    for path in (folder / "holdall-demo-2").rglob("*"):
        if path.is_file():
            assert b"-mark" not in path.read_bytes(), path


def nothing_is_left_running(folder: Path, ran: Ended) -> None:
    url = re.search(r"http://127\.0\.0\.1:\d+/v1", ran.err)
    assert url is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(url[0]).port or 0))


def every_screen_fits_80_columns_and_12_lines(folder: Path, ran: Ended) -> None:
    # What is to be copied is not broken: paths, and commands to type.
    whole = re.compile(r"  (Next: .*|\S+)|\$ .*")
    assert [line for line in ran.err.splitlines() if columns(line) > 80 and not whole.fullmatch(line)] == []
    # The steps, each after its command.
    screens = re.split(r"^== .*\n\$ (?:.*\\\n)*.*\n", ran.err, flags=re.MULTILINE)[1:]
    lengths = [len(re.findall(r"^  .+", screen.split("\n\n")[0], re.MULTILINE)) for screen in screens]
    export, verify, imported, compare = lengths
    assert max(export, verify, compare) <= 12, ran.err
    assert imported <= 20, ran.err


def the_commands_to_try_next_work(folder: Path, ran: Ended) -> None:
    said = re.sub(r" \\\n +", " ", ran.err)
    lines = [line.strip() for line in said.splitlines() if re.match(r"  \S+ -m holdall (inspect|extract)", line)]
    assert len(lines) == 2
    for line in lines:
        words = line.replace("'", "").replace('"', "").split(" -m holdall ", 1)[1].split()
        with holdall(*words, cwd=folder) as child:
            done = child.end()
        assert done.code == 0, done.err
    assert len(list((folder / "holdall-demo-2" / "pdf").rglob("*.pdf"))) == 5


def test_the_demo(folder: Path) -> None:
    """All of it of one demo, which is the dearest thing in the suite."""
    ran = demo(folder)
    for check in (
        it_ends_with_no_differences,
        it_names_the_report,
        it_shows_the_commands_it_runs,
        it_writes_into_a_folder_of_its_own_and_touches_nothing_else,
        no_setting_of_the_user_has_a_say,
        nothing_is_left_running,
        every_screen_fits_80_columns_and_12_lines,
        the_commands_to_try_next_work,
    ):
        check(folder, ran)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    ended = demo(tmp_path, "--json", "--dir", "full")
    assert ended.code == 13
    assert "it isn't empty" in json.loads(ended.out)["error"]["message"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.name == "nt", reason="a process can't be sent Ctrl-C alone on Windows")
@pytest.mark.parametrize("sent", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
@pytest.mark.thorough
def test_ctrl_c_stops_every_process(tmp_path: Path, sent: str) -> None:
    with holdall("demo", cwd=tmp_path, env=subprocesses.without_settings(os.environ)) as child:
        child.says("== 1.")
        child.process.send_signal(getattr(signal, sent))
        done = child.end()
    assert done.code == 130, done.out + done.err
    port = next(urlsplit(line.strip()).port for line in done.err.splitlines() if line.startswith("  http://"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0))


# -- child processes --------------------------------------------------------------------------------------


def test_children_see_no_setting_and_no_key() -> None:
    source = Path(settings.__file__).read_text(encoding="utf-8")
    named = set(re.findall(r'"([A-Z][A-Z_]{5,})"', source))
    assert {"CLONE_MODE", "OUTPUT_DIR", "DRY_RUN"} <= named
    environ = dict.fromkeys(
        [*named, *HOSTILE, "SRC_PROJECT_API_KEY", "DST_PROJECT_API_KEY", "https_proxy", "openai_api_key"], "mark"
    )
    left = subprocesses.without_settings({**environ, "PATH": "/bin", "HOME": "/home/u"})
    assert left == {"PATH": "/bin", "HOME": "/home/u", "PYTHONIOENCODING": "utf-8"}


def test_a_command_line_can_be_pasted_into_a_shell() -> None:
    keys = {"OPENAI_SRC_API_KEY": "sk-demo"}
    arguments = [
        "export",
        "-o",
        "a folder/x.tar.zst",
        "--env-file",
        "none",
        "--src-base-url",
        "http://127.0.0.1:40000/v1",
    ]
    lines = subprocesses.command_line("holdall", arguments, keys, windows=False)
    assert all(len(line) <= 80 for line in lines)
    assert lines == [
        "OPENAI_SRC_API_KEY=sk-demo holdall export -o 'a folder/x.tar.zst' \\",
        "    --env-file none --src-base-url http://127.0.0.1:40000/v1",
    ]


def test_a_command_line_for_powershell_sets_its_key_first() -> None:
    lines = subprocesses.command_line("holdall", ["export"], {"OPENAI_SRC_API_KEY": "sk-demo"}, windows=True)
    assert lines == ['$env:OPENAI_SRC_API_KEY = "sk-demo"', "holdall export"]


def test_a_program_is_shown_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    called = tmp_path / "holdall"
    called.write_text("#!/bin/sh\n")
    called.chmod(0o755)
    other = tmp_path / "venv" / "holdall"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    assert subprocesses.program("/somewhere/holdall/__main__.py").split(" -m ")[0].strip("'\"") == sys.executable
    if os.name != "nt":
        assert subprocesses.program(str(called)) == "holdall"
        assert subprocesses.program(str(other)) == str(other)
    assert subprocesses.program("/usr/bin/pytest") == "holdall"


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = ["sandbox", "--port", port, "--data", str(tmp_path / "data")]
        with (
            pytest.raises(HoldallError, match="can't start holdall sandbox: Error: the sandbox can't listen"),
            subprocesses.serving(arguments, subprocesses.without_settings(os.environ), tmp_path / "log"),
        ):
            pytest.fail("it started")


def test_a_run_gives_its_lines_and_its_exit_code() -> None:
    heard: list[str] = []
    assert subprocesses.run(["no-such-command"], subprocesses.without_settings(os.environ), heard.append) == 2
    assert any("no-such-command" in line for line in heard)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
@sweep("step", ["Created 8", "== 1.", "== 3."])
def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path, step: str) -> None:
    with holdall("demo", cwd=tmp_path, env={**os.environ, "A_MARK_OF_THIS_DEMO": str(tmp_path)}) as child:
        child.says(step)
        assert len(naming(str(tmp_path))) >= 2
        child.process.kill()
        until(lambda: not naming(str(tmp_path)))
