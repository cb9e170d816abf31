"""Wheel and sdist as they would be published: all that belongs in them, and tests that the sdist brings along whole."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="building needs hatchling: pip install -e '.[dev]'")

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[1]


def python(arguments: Sequence[str], *, cwd: Path, program: str = sys.executable, **environ: str) -> str:
    """What Python prints. Nothing is asked of a package registry."""
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environ},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    python(["-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)], cwd=ROOT)
    (archive,) = folder.glob("holdall-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel, built from the sdist, as pip would."""
    python(["-m", "hatchling", "build", "-t", "wheel", "-d", str(sdist.parent)], cwd=sdist)
    (found,) = sdist.parent.glob("holdall-*.whl")
    return found


def test_the_wheel_has_the_package_its_format_and_its_manual(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*") if path.is_file()}
    version = wheel.name.split("-")[1]
    rest = {name for name in names if not name.startswith(f"holdall-{version}.dist-info/")}
    assert rest == {name for name in ours if "__pycache__" not in name} | {
        "holdall/bundle/FORMAT.md",
        f"holdall-{version}.data/data/share/man/man1/holdall.1",
    }


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Docker gets to see: the files that .dockerignore excepts from being ignored."""
    folder = tmp_path_factory.mktemp("docker") / "src"
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / name)
    return folder


def test_the_docker_image_is_built_of_the_same_wheel(context: Path, wheel: Path, tmp_path: Path) -> None:
    """What the Dockerfile's first step does, without Docker and without the packages that holdall needs."""
    (step,) = re.findall(r"^RUN (pip wheel .+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    *words, source = shlex.split(step.replace("/wheels", str(tmp_path)).replace("/src", str(context)))
    python(["-m", *words, "--no-deps", "--no-build-isolation", source], cwd=tmp_path)
    (built,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(built).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_an_installed_sdist_runs_and_its_tests_are_all_collected(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    # What holdall needs comes from this environment, holdall itself from the new one.
    venv.create(tmp_path / "venv", with_pip=False, symlinks=os.name != "nt")
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    program = str(scripts / "python")
    python(["-m", "pip", "--python", program, "install", "--no-deps", "--no-build-isolation", str(wheel)], cwd=tmp_path)
    packages = python(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=tmp_path).strip()
    said = python(["-m", "holdall", "--version"], cwd=tmp_path, program=program, PYTHONPATH=packages)
    assert wheel.name.split("-")[1] in said
    assert list((tmp_path / "venv").glob("share/man/man1/holdall.1"))

    collect = ["-m", "pytest", "--collect-only", "-q", "-n", "0", "-m", "slow or not slow", "-p", "no:cacheprovider"]
    printed = python(collect, cwd=sdist, program=program, PYTHONPATH=packages)
    where = python(["-c", "import holdall; print(holdall.__file__)"], cwd=sdist, program=program, PYTHONPATH=packages)
    assert where.startswith(str(tmp_path / "venv"))
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"^(tests/[^:\s]+\.py)", printed, re.MULTILINE)) == files
