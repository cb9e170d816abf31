"""The recipes of docs/backups.md, each by its own linter; one that isn't installed is skipped."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from holdall.backups.backup_config import read_config

PAGE = Path(__file__).parents[1] / "docs" / "backups.md"
FENCES = [
    (token.info, token.content)
    for token in MarkdownIt().parse(PAGE.read_text(encoding="utf-8"))
    if token.type == "fence"
]
# Each begins with a comment that has the name of its file.
RECIPES = {
    text.partition("\n")[0].removeprefix("# ").rpartition("/")[2]: text for info, text in FENCES if info != "crontab"
}


def program(name: str) -> str:
    """Beside Python or on PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def lint(words: Sequence[str | Path]) -> str:
    """What the linter says; its exit code must be 0."""
    done = subprocess.run([str(word) for word in words], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def write(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_text(RECIPES[name], encoding="utf-8")
    return path


def test_each_recipe_has_a_test() -> None:
    assert sorted(RECIPES) == [
        "backup.toml",
        "backup.yml",
        "holdall-backup.service",
        "holdall-backup.timer",
        "holdall-cronjob.yaml",
        "holdall-projects.yaml",
    ]


def test_config() -> None:
    config = read_config(RECIPES["backup.toml"].encode(), Path("/etc/holdall/backup.toml"))
    assert config.sources[0].keep


def test_systemd(tmp_path: Path) -> None:
    verify = program("systemd-analyze")
    units = [write(f"holdall-backup.{kind}", tmp_path) for kind in ("service", "timer")]
    # It reads the machine's other units too, and speaks of what they lack.
    assert "holdall" not in lint([verify, "verify", "--man=no", *units])


def test_github_schema(tmp_path: Path) -> None:
    checker = ["check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(write("backup.yml", tmp_path))]
    lint([sys.executable, "-m", *checker])


def test_github_actionlint(tmp_path: Path) -> None:
    assert lint([program("actionlint"), "-no-color", write("backup.yml", tmp_path)]) == ""


def test_github_zizmor(tmp_path: Path) -> None:
    assert "No findings" in lint([program("zizmor"), "--offline", "--no-progress", write("backup.yml", tmp_path)])


@pytest.mark.parametrize("name", ["holdall-cronjob.yaml", "holdall-projects.yaml"])
def test_kubernetes(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("no kubernetes-validate here")
    said = lint([program("kubernetes-validate"), "--strict", write(name, tmp_path)])
    # A file that it can't read as a resource is no error to it.
    assert re.fullmatch(rf"INFO \S+/{name} passed for resource \S+ against version \S+\n", said), said


def test_cron() -> None:
    """No linter of crontabs is in PyPI, npm or Debian: five fields, and no % that cron would make a line end of."""
    (text,) = [text for info, text in FENCES if info == "crontab"]
    comment, shell, job = text.strip().split("\n")
    assert (comment[0], shell) == ("#", "SHELL=/bin/bash")
    minute, hour, day, month, weekday, command = job.split(" ", 5)
    assert int(minute) in range(60)
    assert int(hour) in range(24)
    assert {day, month, weekday} == {"*"}
    assert "%" not in command
