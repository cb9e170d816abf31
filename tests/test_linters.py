"""What is no Python is checked too: the Dockerfile and the scripts. The workflow is in test_docs.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if path.is_file())


@pytest.mark.parametrize(
    ("linter", "file"),
    [("hadolint", ROOT / "Dockerfile"), *(("shellcheck", script) for script in SCRIPTS)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_it_has_no_lint(linter: str, file: Path) -> None:
    # Installed with '.[dev]' where there are wheels of them, beside Python or on PATH.
    program = shutil.which(linter, path=str(Path(sys.executable).parent)) or shutil.which(linter)
    if program is None:
        pytest.skip(f"no {linter} here")
    done = subprocess.run([program, str(file)], capture_output=True, encoding="utf-8", check=False)
    assert done.stdout + done.stderr == ""
