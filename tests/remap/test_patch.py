"""The diff: what the standard tool makes of it is what ``write`` would write."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from holdall.remap.files import Change, unified
from tests.sweep import examples

OLD, NEW = "asst_oldoldoldoldoldold01", "asst_newnewnewnewnewnew01"


def change(text: str, name: str = "a.txt", encoding: str = "latin-1") -> Change:
    return Change(path=Path(name), count=1, before=text, after=text.replace(OLD, NEW), encoding=encoding, stamp=(0, 0))


def test_the_form() -> None:
    lines = [f"line {n}" for n in range(1, 21)]
    lines[1], lines[2], lines[18] = OLD, f"{OLD} é", OLD
    assert b"".join(unified(change("\n".join(lines), "my file.txt"))).decode("latin-1") == (
        "--- a/my file.txt\t\n+++ b/my file.txt\t\n"
        f"@@ -1,6 +1,6 @@\n line 1\n-{OLD}\n-{OLD} é\n+{NEW}\n+{NEW} é\n line 4\n line 5\n line 6\n"
        f"@@ -16,5 +16,5 @@\n line 16\n line 17\n line 18\n-{OLD}\n+{NEW}\n line 20\n\\ No newline at end of file\n"
    )


def test_utf_16_is_shown_in_utf_8() -> None:
    assert f"+{NEW} 語\n".encode() in list(unified(change(f"{OLD} 語\n", encoding="utf-16-le")))


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
@examples(15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([OLD, "x", "é\r", "", f"{OLD} {OLD}"]), min_size=1, max_size=40), st.booleans())
def test_patch_takes_it(tmp_path: Path, lines: list[str], ends: bool) -> None:
    text = "\n".join([OLD, *lines]) + ("\n" if ends else "")
    made = change(text)
    (tmp_path / "a.txt").write_bytes(text.encode("latin-1"))
    subprocess.run(["patch", "-p1", "--binary", "-s"], input=b"".join(unified(made)), cwd=tmp_path, check=True)
    assert (tmp_path / "a.txt").read_bytes() == made.after.encode("latin-1")
