"""What the documents promise is what the program has."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from holdall import open_bundle
from holdall.bundle.verification import verify
from holdall.cli.main import COMMANDS, cli
from holdall.errors import exit_codes
from holdall.model import Fidelity

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_files_that_contributing_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/.]+\.(?:py|md))`", text)
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).is_file() or (ROOT / "src" / "holdall" / name).is_file(), name


def test_the_examples_in_docstrings_are_true() -> None:
    files = [path for path in (ROOT / "src" / "holdall").rglob("*.py") if ">>>" in path.read_text(encoding="utf-8")]
    assert len(files) > 10
    for path in sorted(files):
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        assert doctest.testmod(importlib.import_module(name)).failed == 0, name


def test_every_room_is_described_and_every_described_room_is_there() -> None:
    text = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    rooms = {name for row in re.findall(r"^\| (`[a-z_.`, ]+`)", text, re.M) for name in re.findall(r"`([\w.]+)`", row)}
    package = ROOT / "src" / "holdall"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert {name for name in rooms if "." not in name} == there - {"__init__", "__main__"}
    for name in rooms:
        path = package / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_the_workflow_is_one() -> None:
    checker = [
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        str(ROOT / ".github/workflows/ci.yml"),
    ]
    done = subprocess.run([sys.executable, "-m", *checker], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (\d+) \| (.+) \|$", text, re.M))
    assert listed == {str(code): meaning for code, meaning in exit_codes().items()}


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for section in COMMANDS.values():
        for name in section:
            assert re.search(rf"^\| `{name}\b", text, re.M), name


def test_every_option_is_documented_and_every_documented_one_is_there() -> None:
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for section in COMMANDS.values() for name in section]
    ours = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    options: set[str] = set()
    for param in (param for command in (cli, *commands) if command for param in command.params):
        for names in filter(None, (param.opts, param.secondary_opts)):
            if isinstance(param, click.Option):
                options.update(names)
                said = any(re.search(rf"(?<![\w-]){name}(?![\w-])", ours) for name in names)
                assert said or "--version" in names, names
    text = "\n".join(re.findall(r"holdall [^`\n]*", ours))
    # Of the commands that a token command may be.
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text)) - options <= {"--help", "--scope", "--query"}


def test_every_variable_is_in_the_example_file() -> None:
    settings = (ROOT / "src" / "holdall" / "settings.py").read_text(encoding="utf-8")
    read = {
        name
        for name in re.findall(r"\"([A-Z][A-Z_]{5,})\"", settings)
        if name not in ("OPENAI_", "API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID")
    }
    read |= {
        f"OPENAI_{side}_{name}" for side in ("SRC", "DST") for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID")
    }
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert {name for name in read if not re.search(rf"^{name}=", example, re.M)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_has_the_two_commands_whole() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    start = "python3 -m venv .venv && .venv/bin/pip install"
    assert f"    {start} '.[sandbox]' && .venv/bin/holdall demo\n" in text
    assert f"    {start} -e '.[dev]' && .venv/bin/pytest\n" in text


def test_the_sample_bundle_is_whole_and_shows_what_openai_gives() -> None:
    """The bundle that the documents use: a project of OpenAI's as it comes out, mostly as parsed text."""
    bundle = ROOT / "archives" / "sample.tar.zst"
    assert verify(bundle).findings == []
    with open_bundle(bundle) as reader:
        assert reader.info.format == "1.0"
        assert reader.info.counts["assistants"] == 8
        assert {line.fidelity for line in reader.ledger()} == {Fidelity.ORIGINAL, Fidelity.TEXT, Fidelity.UNAVAILABLE}


def test_the_lowest_versions_are_those_that_the_project_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = [*project["dependencies"], *project["optional-dependencies"]["sandbox"]]
    lowest = (ROOT / "tests" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    assert [bound.split(",")[0].replace(">=", "==") for bound in bounds] == [
        line for line in lowest if not line.startswith("#")
    ]


def test_every_promise_of_the_security_page_has_its_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    everything = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`((?:tests/)?[\w/]*test_\w+(?:\.py)?)`", page))
    assert len(named) > 30
    for name in named:
        if name.endswith(".py"):
            assert name.rpartition("/")[2] in files, name
        else:
            assert f"def {name}(" in everything, name
