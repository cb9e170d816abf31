"""What Windows and macOS do differently, simulated on any system."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdall
from holdall import safe_files
from holdall.cli import streams
from holdall.errors import AlreadyExists, AuthenticationFailed, CannotWrite, OutputLocked, UsageFault
from holdall.importer.runs.runfolder import locked
from holdall.quoting import windows_words
from holdall.remote import tokens
from holdall.safe_files import AppendLog, FileLock
from holdall.settings import Lookup, source_settings
from tests.sweep import sweep

PACKAGE = Path(holdall.__file__).parent
posix = pytest.mark.skipif(os.name == "nt", reason="simulates Windows, or macOS, on another system")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")


# Command lines


@given(st.lists(st.text(alphabet="a\\\" \t[?='", max_size=8)))
def test_windows_words_undo_what_makes_a_windows_command_line(words: list[str]) -> None:
    assert windows_words(subprocess.list2cmdline(words)) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r'"C:\Program Files\Azure\az.cmd" account', [r"C:\Program Files\Azure\az.cmd", "account"]),
        (r"C:\az.cmd  --scope   https://x/.default", [r"C:\az.cmd", "--scope", "https://x/.default"]),
        (r'"C:\with space\\" next', ["C:\\with space\\", "next"]),
        ('print "" x', ["print", "", "x"]),
        ("  ", []),
    ],
)
def test_a_token_command_on_windows(windows: None, line: str, words: list[str]) -> None:
    def settings() -> tuple[str, ...]:
        found = source_settings(Lookup({}, {"OPENAI_SRC_TOKEN_COMMAND": line}, {})).endpoint
        assert found is not None
        return found.token_command

    if words:
        assert settings() == tuple(words)
    else:
        with pytest.raises(UsageFault, match="it is empty"):
            settings()


def test_a_quote_that_is_not_closed_on_windows(windows: None) -> None:
    with pytest.raises(UsageFault, match=r"OPENAI_SRC_TOKEN_COMMAND.*closing quotation"):
        source_settings(Lookup({}, {"OPENAI_SRC_TOKEN_COMMAND": '"C:\\az.cmd account'}, {}))


# Programs


@posix
def test_a_token_command_that_is_a_cmd_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "az.cmd"
    program.write_text('#!/bin/sh\necho "token-of-$1"\n')
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(program) if name == "az" else None)
    assert tokens.run(["az", "login"]).split() == ["token-of-login"]
    with pytest.raises(AuthenticationFailed, match="no such program"):
        tokens.run(["no-such-program-here"])


@posix
@pytest.mark.parametrize("found", [os.path.join(os.curdir, "az.CMD"), "az.cmd"])
def test_a_program_in_the_current_folder_is_not_run_by_its_name_alone(
    windows: None, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: found)
    with pytest.raises(AuthenticationFailed, match="use its full path"):
        tokens._program(["az"])
    assert tokens._program([os.path.join(os.curdir, "az.cmd")]) == found


# Files that others have open


class Held:
    """Renames as Windows does: refused ``times`` times, while another program has the file open."""

    def __init__(self, times: int, real: Callable[[Path, Path], None]) -> None:
        self.left, self._real = times, real

    def __call__(self, source: Path, target: Path) -> None:
        self.left -= 1
        if self.left >= 0:
            raise PermissionError(errno.EACCES, "Access is denied")
        self._real(source, target)


@pytest.mark.parametrize("times", [0, 1, 7])
def test_a_file_is_replaced_once_its_reader_lets_go(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    waits: list[float] = []
    source, target = tmp_path / "new", tmp_path / "old"
    source.write_text("new")
    target.write_text("old")
    monkeypatch.setattr(os, "replace", Held(times, os.replace))
    safe_files.replace(source, target, wait=waits.append)
    assert target.read_text() == "new"
    assert len(waits) == times
    assert sum(waits) < 1.5


def test_a_file_that_stays_open_elsewhere_is_an_error(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", Held(100, os.replace))
    waits: list[float] = []
    with pytest.raises(PermissionError):
        safe_files.replace(tmp_path / "new", tmp_path / "old", wait=waits.append)
    assert sum(waits) < 1.5
    assert "close it in other programs" in safe_files.cannot_write(tmp_path, PermissionError(errno.EACCES, "x")).hint


@posix
def test_elsewhere_a_refused_replace_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", Held(1, os.replace))
    waits: list[float] = []
    with pytest.raises(PermissionError):
        safe_files.replace(tmp_path / "new", tmp_path / "old", wait=waits.append)
    assert waits == []


def test_a_bundle_gets_its_name_on_windows(windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "stream", tmp_path / "b.tar.zst"
    source.write_text("new")

    def rename(old: Path, new: Path) -> None:
        if new.exists():
            raise FileExistsError(errno.EEXIST, "exists")
        Path(new).write_text(Path(old).read_text())
        Path(old).unlink()

    monkeypatch.setattr(os, "rename", Held(2, rename))
    safe_files.rename_durably(source, target, force=False)
    assert target.read_text() == "new"
    source.write_text("newer")
    with pytest.raises(AlreadyExists):
        safe_files.rename_durably(source, target, force=False)


# Durable


def test_one_module_makes_files_durable_and_replaces_them() -> None:
    """What calls the system itself would do neither on macOS and Windows as it has to be done there."""
    calls = ("os.fsync(", "os.fdatasync(", "os.replace(", "os.rename(")
    files = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    # The sandbox is a program of its own, and what it has need not survive a crash.
    found = {name for name, text in files.items() if any(call in text for call in calls) and "sandbox/" not in name}
    assert found == {"safe_files.py"}


@posix
def test_on_macos_everything_durable_goes_beyond_the_drives_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    asked: list[int] = []
    synced: list[int] = []

    def control(descriptor: int, what: int) -> int:
        asked.append(what)
        return 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", synced.append)
    safe_files.write_whole(tmp_path / "plan.json", b"x")
    assert asked == [51, 51], "the file, then its name in the folder"
    log = AppendLog(tmp_path / "journal.jsonl")
    log.append(b"line\n")
    log.close()
    assert asked == [51] * 3
    assert synced == []

    def unknown(descriptor: int, what: int) -> int:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "fcntl", unknown)
    safe_files.write_whole(tmp_path / "plan.json", b"y")
    assert len(synced) == 2, "a disk that doesn't know it gets the usual fsync"


# Locks


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("holdall.safe_files._lock", refused)
    with pytest.raises(OutputLocked, match="another import is using"), locked(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EIO])
def test_a_disk_without_locks_is_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("holdall.safe_files._lock", refused)
    with pytest.raises(CannotWrite) as caught, locked(tmp_path):
        pass
    assert os.strerror(number) in caught.value.message
    assert "another" not in f"{caught.value.message} {caught.value.hint}"
    assert "local disk" in caught.value.hint


@posix
def test_windows_locks_one_byte_and_does_not_wait(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    msvcrt = SimpleNamespace(LK_NBLCK=2, locking=lambda descriptor, mode, size: calls.append((mode, size)))
    monkeypatch.setattr("holdall.safe_files.msvcrt", msvcrt, raising=False)
    FileLock(tmp_path / "lock", busy=OutputLocked("busy")).release()
    assert calls == [(2, 1)]


# Standard streams


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="nothing here refuses a write with EINVAL")
@pytest.mark.parametrize(("platform", "error"), [("win32", BrokenPipeError), ("linux", CannotWrite)])
def test_a_pipe_that_nobody_reads_on_windows(
    monkeypatch: pytest.MonkeyPatch, platform: str, error: type[Exception]
) -> None:
    # As a pipe does there, an eventfd answers EINVAL to what it can't take.
    descriptor = os.eventfd(0)
    try:
        monkeypatch.setattr(sys, "platform", platform)
        stdout = streams._Stdout(descriptor, "w", closefd=False)
        with pytest.raises(error):
            stdout.write(b"line\n")
        assert stdout.write(b"next\n") == 5, "the first one says it"
    finally:
        os.close(descriptor)


def test_a_windows_console_that_cannot_print_a_character(windows: None) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    raw = Terminal()
    stream = streams._text(io.TextIOWrapper(raw, encoding="cp437"), streams._Stdout, 1)
    print("→ 名前", file=stream, flush=True)
    assert raw.getvalue().split() == [rb"\u2192", rb"\u540d\u524d"]


@sweep("encoding", ["ascii", "cp437", "cp1252:strict", "latin-1:strict", "utf-16", "shift_jis:strict"])
@pytest.mark.parametrize(
    "words", [["--help"], ["verify", "名前 → \U0001f9f3.tar.zst"], ["verify", "--json", "é名.zst"]]
)
def test_no_encoding_of_the_console_loses_a_line(encoding: str, words: list[str]) -> None:
    def run(encoding: str) -> tuple[int, str]:
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [sys.executable, "-m", "holdall", *words], env=environment, capture_output=True, check=False
        )
        name = encoding.partition(":")[0]
        return done.returncode, done.stdout.decode(name) + done.stderr.decode(name)

    code, whole = run("utf-8")
    ended, text = run(encoding)
    assert ended == code != 70
    if "--json" in words:
        decode = json.JSONDecoder().raw_decode
        assert decode(text)[0] == decode(whole)[0]
        return
    # What the encoding lacks is there as an escape.
    assert text.splitlines() == [
        line.encode(name := encoding.partition(":")[0], "backslashreplace").decode(name) for line in whole.splitlines()
    ]
