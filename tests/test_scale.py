"""A store of very many files: memory stays flat, requests stay few, looking at the bundle stays quick."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from holdall.bundle.reader import open_bundle
from holdall.sandbox.server import Running
from tests.project import Hand

KEY = "sk-source-0001"
MEGABYTE = 1_000_000


def fill(box: Running, count: int) -> None:
    """A store of ``count`` files, each in place of an upload: its row is the copy of one that was made properly."""
    with Hand(box.url, KEY) as hand:
        file = hand.file("a file with a name of usual length 0.txt", b"a few words to begin with")
        hand.assistant("A", stores=[hand.store("s", [file], {file: {"attributes": {"year": 2024}}})])
    database = sqlite3.connect(box.data / "state.sqlite3")
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1})"
    with database:
        for table, columns in (
            ("files", "project, blob, purpose, bytes, created_at, expires_at, text_bytes, error_code, error_message"),
            ("memberships", "store, created_at, ready_at, outcome, usage_bytes, attributes, chunking"),
        ):
            more, values = {
                "files": ("id, filename", "printf('file-%022d', i), printf('a file of a usual name %d.txt', i)"),
                "memberships": ("id, file", "printf('file-%022d', i), t.file + i"),
            }[table]
            database.execute(
                f"{numbers} INSERT INTO {table} ({columns}, {more}) SELECT {columns}, {values} FROM {table} AS t, n"
            )
        database.execute("UPDATE stores SET completed = ?", (count,))
    database.close()


# A process begins with the peak of the one that it was forked from, so a small one stands between.
LAUNCH = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def run(box: Running, folder: Path, *arguments: str) -> tuple[int, int, float, str]:
    """A command as a process of its own: (exit code, peak memory in bytes, seconds, stderr)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "CLONE_", "HOLDALL_"))}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, sys.executable, "-m", "holdall", *arguments],
        env={**kept, "OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    code, peak = map(int, done.stdout.split())
    return code, peak * (1 if sys.platform == "darwin" else 1024), time.perf_counter() - started, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="no way to ask for a process's peak memory here")
@pytest.mark.parametrize("refused", [False, True], ids=["bytes", "text"])
def test_a_store_of_many_files(box: Running, tmp_path: Path, refused: bool) -> None:
    count = int(os.environ.get("HOLDALL_SCALE", "100000"))
    box.behave(serve_assistants_files=not refused)
    fill(box, count)
    export = ("export", "--env-file", "none", "--concurrency", "8", "-o")
    box.forget_requests()
    code, peak, seconds, error = run(box, tmp_path, *export, "1.tar.zst")
    print(f"export of {count} files: {peak / MEGABYTE:.0f} MB, {seconds:.0f} s")
    assert code == 0, error
    requests = Counter(entry.path.rpartition("/")[2] == "content" for entry in box.requests())
    print(f"  {requests[True]} content requests, {requests[False]} others")
    assert requests[False] < count / 100 + count / 10_000 + 60
    assert peak < 300 * MEGABYTE

    code, peak, seconds, error = run(box, tmp_path, *export, "2.tar.zst")
    print(f"again with a parent: {peak / MEGABYTE:.0f} MB, {seconds:.0f} s")
    assert code == 0, error
    assert peak < 300 * MEGABYTE

    code, peak, seconds, error = run(box, tmp_path, *export, "3.tar.zst", "--skip-if-unchanged")
    print(f"skipped: {peak / MEGABYTE:.0f} MB, {seconds:.0f} s")
    assert code == 0, error
    assert peak < 300 * MEGABYTE

    started = time.perf_counter()
    with open_bundle(tmp_path / "2.tar.zst") as bundle:
        assert bundle.info.counts["memberships"] == count
        assert bundle.content(f"file-{count // 2:022d}") is not None
    print(f"opened in {time.perf_counter() - started:.3f} s")
    for command in ("inspect", "verify"):
        code, peak, seconds, error = run(box, tmp_path, command, "2.tar.zst")
        print(f"{command}: {peak / MEGABYTE:.0f} MB, {seconds:.1f} s")
        assert code == 0, error
