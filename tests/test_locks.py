"""A lock ends with its process, and keeps everybody else out until then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdall.errors import CannotWrite, OutputLocked
from holdall.importer.runs.runfolder import locked
from holdall.safe_files import FileLock

BUSY = OutputLocked("busy")

HOLD = """
import sys
from pathlib import Path
from holdall.errors import OutputLocked
from holdall.safe_files import FileLock
lock = FileLock(Path(sys.argv[1]), busy=OutputLocked("busy"))
print("held", flush=True)
sys.stdin.read()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    first = FileLock(tmp_path / "lock", busy=BUSY)
    with pytest.raises(OutputLocked):
        FileLock(tmp_path / "lock", busy=BUSY)
    first.release()
    FileLock(tmp_path / "lock", busy=BUSY).release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputLocked):
        FileLock(tmp_path / "lock", busy=BUSY)
    holder.kill()
    holder.communicate()
    FileLock(tmp_path / "lock", busy=BUSY).release()


def test_the_lock_of_an_output_folder_that_is_made_for_it(tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        with pytest.raises(OutputLocked) as caught, locked(tmp_path / "out"):
            pass
        assert "--output-dir" in caught.value.hint
    with locked(tmp_path / "out"):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotWrite), locked(tmp_path / "file"):
        pass
