"""What restic keeps of a hundred snapshots by twelve policies, for ``test_retention``.

``python -m tests.backups.restic_choices`` makes ``restic_choices.json`` anew.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

RESTIC = shutil.which("restic")
FROZEN = Path(__file__).with_suffix(".json")

POLICIES = [
    "--keep-last 5",
    "--keep-hourly 12",
    "--keep-daily 14",
    "--keep-weekly 9",
    "--keep-monthly 24",
    "--keep-yearly 10",
    "--keep-last 3 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --keep-yearly 3",
    "--keep-daily unlimited",
    "--keep-within 1y5m7d2h",
    "--keep-within-hourly 3d --keep-within-daily 1m --keep-within-weekly 6m --keep-within-monthly 2y "
    "--keep-within-yearly 20y",
    "--keep-within 1m --keep-daily 3 --keep-within-yearly 4y",
    "--keep-last 1 --keep-monthly -1 --keep-within 36h",
]

Choice = list[tuple[str, list[str]]]
"""The times that are kept, the newest first, each with restic's reasons."""


def times() -> list[str]:
    """A hundred times, UTC: of six years, some in one hour, around years' ends and leap days, two in the future."""
    draw = random.Random(14)
    newest = datetime(2024, 3, 31, 12, tzinfo=UTC)  # a month before is a day that February doesn't have
    found = [newest, newest.replace(minute=30, hour=11), datetime(2090, 1, 1, tzinfo=UTC)]
    found += [datetime(2090, 1, 1, 5, tzinfo=UTC), newest - timedelta(hours=36), newest - timedelta(days=31)]
    found += [datetime(2024, 3, 2, 12, tzinfo=UTC), datetime(2024, 3, 2, 12, 0, 1, tzinfo=UTC)]
    found += [datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2020, 2, 29, 1, tzinfo=UTC)]
    for year in (2019, 2020, 2021, 2022, 2023):
        found += [datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)]
        found += [datetime(year, 12, 29, 3, tzinfo=UTC), datetime(year + 1, 1, 3, 22, tzinfo=UTC)]
    while len(found) < 60:
        found.append(newest - timedelta(minutes=draw.randrange(60 * 24 * 60)))
    while len(found) < 100:
        found.append(newest - timedelta(minutes=draw.randrange(6 * 365 * 24 * 60)))
    draw.shuffle(found)
    return [one.strftime("%Y-%m-%d %H:%M:%S") for one in found]


class Repository:
    """A repository with a snapshot for each time."""

    def __init__(self, folder: Path, snapshots: Sequence[str]) -> None:
        self._folder = folder
        (folder / "source").mkdir()
        (folder / "source" / "file").write_text("the same each day")
        version = re.search(r"restic (\d+)\.(\d+)", self._run("version"))
        assert version
        self.version = int(version[1]), int(version[2])
        self._run("init")
        for time in snapshots:
            self._run("backup", "--no-cache", "--time", time, "source")

    def choice(self, policy: str) -> Choice:
        if self.version < (0, 16):  # it took -1 for none
            policy = re.sub(r"(?<= )(unlimited|-1)", "100000", policy)
        (group,) = json.loads(self._run("forget", "--no-cache", "--dry-run", "--json", *policy.split()))
        kept = [(_plain(reason["snapshot"]["time"]), reason["matches"]) for reason in group["reasons"] or []]
        assert len(kept) == len(group["keep"] or [])
        return sorted(kept, reverse=True)

    def _run(self, *words: str) -> str:
        assert RESTIC
        environ = {"PATH": os.environ["PATH"], "TZ": "UTC", "HOME": str(self._folder), "RESTIC_PASSWORD": "none"}
        environ["RESTIC_REPOSITORY"] = str(self._folder / "repository")
        done = subprocess.run([RESTIC, *words], cwd=self._folder, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _plain(time: str) -> str:
    return time.replace("T", " ").removesuffix("Z").removesuffix("+00:00")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder), times())
        found: list[dict[str, Any]] = [{"policy": each, "kept": repository.choice(each)} for each in POLICIES]
    FROZEN.write_text(json.dumps({"times": times(), "choices": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
