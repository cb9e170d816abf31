"""Every command that a page shows is run as it stands there, section by section, on a sandbox on this machine.

A block of a page is run, or stands in ``NOT_RUN`` with the reason; any other is an error. What a section presumes is
laid out before it: its server, the keys that it doesn't set, ``july.json``, ``originals/``, bundles that it reads.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec
import pytest
from markdown_it import MarkdownIt

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.test_kill_import import environment

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
# What these blocks begin with, on which page ("" is any), and why nobody can run them here.
NOT_RUN = [
    ("", "python3 -m venv ", "installs from a registry: .ci/run runs the two of README.md as they stand"),
    ("", "pip install ", "installs from a registry: tests/test_distribution.py builds and installs"),
    ("", "pipx install ", "installs from a registry"),
    ("", "uvx ", "installs from a registry"),
    ("", ".venv/bin/", "the suite and its tools, in a clone; what they name is there (below)"),
    ("", "OPENAI_LIVE_API_KEY=", "asks an account of somebody's"),
    ("", "docker ", "needs Docker"),
    ("", "bash .ci/run", "is what runs this"),
    ("CONTRIBUTING.md", "git clone ", "needs the address of a repository"),
    (
        "backups.md",
        "restic backup ",
        "needs a repository, and a program that may be newer; tests/test_dedup.py has one",
    ),
    ("backups.md", "set -o pipefail", "needs age, rclone and a place to store; tests/cli/test_piped.py pipes"),
    (
        "backups.md",
        "holdall backup --config /etc/",
        "reads the machine's own configuration; tests/test_recipes.py has it",
    ),
    ("backups.md", "seq 8 ", "reads the machine's own configuration; tests/cli/test_backup.py runs shards"),
    ("backups.md", "aws ", "needs an account of somebody's"),
    ("commands.md", '{"schema"', "a document, no command"),
    ("commands.md", '{\n  "', "a document, no command"),
    ("commands.md", "INCOMPLETE: 13 files missing\n", "a screen"),
    ("commands.md", "! Tuned: ", "a screen"),
    ("commands.md", "warning: 7 models ", "a screen"),
    ("commands.md", "15 4 * * 1 ", "a line of a crontab; its command is run by tests/cli/test_rehearse.py"),
    ("development.md", "cli ──", "a drawing"),
    ("development.md", "holdall import acme.tar.zst\n  cli.import_", "a drawing"),
    ("format.md", "zstd frame ", "a table of bytes"),
    ("format.md", "5E 2A 4D 18", "a table of bytes"),
    ("performance.md", "python -m tests.bench ", "takes minutes; tests/bench/test_bench.py runs it in small"),
    ("development.md", "python -m tests.bench", "takes minutes; tests/bench/test_bench.py runs it in small"),
    ("responses.md", "out/responses/", "a list of files"),
    ("sandbox.md", "with Running(", "Python"),
]
# An address that a reader puts the own one in the place of.
AZURE = "https://RESOURCE.services.ai.azure.com/api/projects/PROJECT"


class Command(msgspec.Struct, frozen=True):
    line: str
    shown: str
    """What the page shows below it; empty where it shows nothing."""

    @property
    def code(self) -> int:
        """The exit code that belongs to the verdict that the page shows; what a whole bundle lacks is none."""
        if "as exported)" in self.shown:
            return 0
        verdicts = {r"(INCOMPLETE|incomplete)\b": 4, r"DAMAGED\b": 10, r"\d+ (DIFFERENCES?|differences?)\b": 3}
        return next((code for verdict, code in verdicts.items() if re.search(rf"^{verdict}", self.shown, re.M)), 0)


class Block(msgspec.Struct, frozen=True):
    page: str
    section: str
    text: str

    @property
    def commands(self) -> list[Command]:
        """Lines after ``$``, else all; one that ends in a backslash goes on."""
        text = self.text.replace("\\\n", "\\\0")
        if text.startswith("$ "):
            parts = re.split(r"^\$ ", text, flags=re.M)[1:]
            pairs = [(first, shown) for first, _, shown in (part.partition("\n") for part in parts)]
        else:
            pairs = [(line, "") for line in text.splitlines() if line.strip()]
        return [Command(line.replace("\0", "\n"), shown.replace("\0", "\n")) for line, shown in pairs]

    @property
    def not_run(self) -> str:
        """Why this block isn't run; empty where it is."""
        reasons = (why for page, start, why in NOT_RUN if page in ("", self.page) and self.text.startswith(start))
        return next(reasons, "")


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that may be typed: indented, or fenced in no other language."""
    section = ""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    for before, this in zip([tokens[0], *tokens], tokens, strict=False):
        if this.type == "inline" and before.type == "heading_open":
            section = this.content
        if this.type == "code_block" or (this.type == "fence" and this.info in ("", "sh", "bash", "shell", "console")):
            yield Block(page.name, section, this.content.strip())


def scenes() -> dict[tuple[str, str], list[Block]]:
    """The blocks that are run, of each section in order."""
    found: dict[tuple[str, str], list[Block]] = {}
    for block in (block for page in PAGES for block in blocks(page) if not block.not_run):
        found.setdefault((block.page, block.section), []).append(block)
    return found


SCENES = scenes()


def lay_out(box: Running, text: str, folder: Path) -> None:
    """The project that a section of these words is about: with a file that nobody gives back where it shows that."""
    lossy = re.search("incomplete:", text, re.IGNORECASE)
    with Hand(box.url, SOURCE) as hand:
        returns = b"Returns\n\nTea can be sent back within 30 days, unopened. We pay for the parcel.\n"
        store = hand.store("Policies", [hand.file("returns.md", returns)])
        hand.assistant("Support", stores=[store], instructions="Answer out of the policies.")
        if lossy:
            hand.assistant("Sales Bot", files=[hand.file("prices.csv", b"tea,7\n")])
        saved: Any = hand.get("/assistants")
    # The ids that the page's commands name.
    named = re.search(r"out/responses/([^/\n]*?)-(asst_\w+)\.json", text)
    for record in saved["data"]:
        if record["name"] == "Support" and named:
            record["name"], record["id"] = named[1], named[2]
    (folder / "july.json").write_text(json.dumps(saved), encoding="utf-8")
    (folder / "originals").mkdir()
    (folder / "originals" / "returns.md").write_bytes(returns)
    (folder / "src").mkdir()
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "responses.md").read_text("utf-8"), re.M | re.S)
    (folder / "run.py").write_text(code, encoding="utf-8")


def assistant_at_foundry(url: str) -> None:
    """Make one in a project that was just begun."""
    headers = {"authorization": f"Bearer {token(time.time() + 60)}", "content-type": "application/json"}
    where = f"{url.partition('?')[0]}/assistants?api-version=v1"
    urlopen(Request(where, b'{"model": "gpt-4o", "name": "Support"}', headers)).close()


class Scene:
    """A folder, a server and a shell in which the commands of a section follow each other."""

    def __init__(self, stack: ExitStack, folder: Path, text: str) -> None:
        self._stack, self._folder, self._text = stack, folder, text
        self._places: dict[str, str] = {}
        self.work = folder / "work"
        self.work.mkdir()
        foundry = AZURE in text
        named = "foundry-both" if "--as foundry" in text else "foundry-classic"
        profile = PROFILES[named] if foundry else Behaviour()
        self.box = stack.enter_context(Running(folder / "box", behaviour=profile, control=True))
        # No name outside of this machine leads anywhere.
        environ = environment(HTTPS_PROXY="http://127.0.0.1:9", HOME=str(self.work), HOLDALL_SETTLE="0")
        tools = folder / "tools"
        tools.mkdir()
        program = tools / "az"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -m holdall.sandbox.entra\n")
        program.chmod(0o755)
        environ["PATH"] = os.pathsep.join([str(tools), str(Path(sys.executable).parent), environ["PATH"]])
        self._places["127.0.0.1:8400"] = urlsplit(self.box.url).netloc
        if foundry:
            self._places[AZURE] = self.box.url
            assistant_at_foundry(self.box.url)
        else:
            lay_out(self.box, text, self.work)
            self.box.behave(**msgspec.structs.asdict(PROFILES["openai-today"]))
            # A page whose commands set a key or a server has none set for it.
            ambient = {
                "OPENAI_SRC_BASE_URL": self.box.url,
                "OPENAI_DST_BASE_URL": self.box.url,
                "OPENAI_BASE_URL": self.box.url,
                "OPENAI_SRC_API_KEY": SOURCE,
                "OPENAI_DST_API_KEY": DESTINATION,
            }
            environ |= {name: value for name, value in ambient.items() if f"{name}=" not in text}
        self._environ = environ

    def run(self, command: Command) -> tuple[int, str]:
        """The exit code of a command and what it printed. What it set or changed to stays for the next."""
        line = self._in_place(command.line)
        if line.startswith("holdall sandbox"):
            return self._serve(line)
        self._prepare(line)
        state = self._folder / "state"
        keep = f"code=$?; export -p >{state}; echo \"cd '$PWD'\" >>{state}; exit $code"
        script = f"[ -e {state} ] && . {state}\n{line}\n{keep}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.work, env=self._environ, capture_output=True, encoding="utf-8", check=False
        )
        self._name_as_shown(command.shown)
        return done.returncode, done.stdout + done.stderr

    def _in_place(self, line: str) -> str:
        """The line with a reader's own keys and address in it, and with a port that is free."""
        line = re.sub(
            r"(OPENAI_(SRC|DST)_API_KEY=)sk-…", lambda m: m[1] + (SOURCE if m[2] == "SRC" else DESTINATION), line
        )
        for said, meant in self._places.items():
            line = line.replace(said, meant)
        return line

    def _serve(self, line: str) -> tuple[int, str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self._places["127.0.0.1:8400"] = f"127.0.0.1:{port}"
        line = line.partition("#")[0].rstrip()
        line = re.sub(r"--port \d+", f"--port {port}", line) if "--port" in line else f"{line} --port {port}"
        with (self._folder / "served").open("wb") as said:
            served = subprocess.Popen(
                ["bash", "-c", f"exec {line}"], cwd=self.work, env=self._environ, stdout=said, stderr=said
            )
        self._stack.callback(served.wait)
        self._stack.callback(served.terminate)
        while served.poll() is None:
            try:
                urlopen(f"http://127.0.0.1:{port}/v1/models").close()
            except OSError as error:
                if hasattr(error, "code"):  # it answers
                    break
                time.sleep(0.05)
            else:
                break
        if "foundry" in line:
            assistant_at_foundry(f"http://127.0.0.1:{port}/api/projects/sandbox?api-version=v1")
        return served.poll() or 0, (self._folder / "served").read_text("utf-8", "replace")

    def _prepare(self, line: str) -> None:
        """Make the bundles that the line reads and that nobody made."""
        for name in re.findall(r"(?<!-o )(?<!--output )(?<![\w./])[\w./-]+\.tar\.zst", line):
            if not (self.work / name).exists() and not Path(name).is_absolute():
                (self.work / name).parent.mkdir(exist_ok=True)
                self._holdall("export", "--from-dump", "july.json", "--parent", "none", "--label", "acme", "-o", name)
        if "out/" in line and not (self.work / "out").exists():
            self._holdall("export", "--from-dump", "july.json", "-o", "before.tar.zst")
            self._holdall("import", "before.tar.zst")

    def _holdall(self, *words: str) -> None:
        ours = {name: value for name, value in self._environ.items() if name.startswith("OPENAI_")}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.work)
            done = Terminal(patch, ours)(*words, "--env-file", "none")
        assert done.code in (0, 4), done.err

    def _name_as_shown(self, shown: str) -> None:
        """Lay a bundle that has the time in its name beside itself under the name that the page shows."""
        for name in re.findall(r"archives/[\w-]+?-\d{8}T\d{6}Z\.tar\.zst", shown):
            made = sorted(self.work.glob(re.sub(r"\d{8}T\d{6}Z", "*", name)))
            if made and not (self.work / name).exists():
                shutil.copyfile(made[-1], self.work / name)


def fast_or_thorough() -> Iterator[Any]:
    """README.md's in every run; those of the other pages before a change lands."""
    for page, section in SCENES:
        marks = [] if page == "README.md" else [pytest.mark.thorough]
        yield pytest.param(page, section, id=f"{page}: {section}", marks=marks)


def needs(commands: Sequence[Command]) -> list[str]:
    """Programs that these commands start and that this machine lacks."""
    words = {
        word
        for command in commands
        for word in re.findall(r"^(?:curl|zstd|tar|sha256sum|fish|ssh-keygen)\b", command.line)
    }
    words |= {"zstd"} if any("--zstd" in command.line for command in commands) else set()
    return [word for word in words if shutil.which(word) is None]


@pytest.mark.parametrize(("page", "section"), list(fast_or_thorough()))
def test_a_section_does_what_it_says(page: str, section: str, tmp_path: Path) -> None:
    commands = [command for block in SCENES[page, section] for command in block.commands]
    if missing := needs(commands):
        pytest.skip(f"not installed: {missing}")
    with ExitStack() as stack:
        scene = Scene(stack, tmp_path, "\n".join(block.text for block in SCENES[page, section]))
        for command in commands:
            code, printed = scene.run(command)
            assert code == command.code, f"{command.line}\n{printed}"


def test_what_is_not_run_is_said_with_its_reason_and_nothing_else_is() -> None:
    everything = [block for page in PAGES for block in blocks(page)]
    used = {block.not_run for block in everything}
    # Ways to install that a page may offer.
    assert [why for _, start, why in NOT_RUN if why not in used and start not in ("pipx install ", "uvx ")] == []
    programs = r"(\$ )?(([A-Z_]+=\S+ )*(holdall|python|curl|tar|export|echo|mkdir|cd|man|ssh-keygen)\b)"
    strange = [block for block in everything if not block.not_run and not re.match(programs, block.text)]
    assert strange == [], "run it, or say in NOT_RUN why not"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_for_a_clone_name_what_is_there(page: Path) -> None:
    for block in blocks(page):
        for name in re.findall(r"\btests/[\w/.]+", block.text):
            assert (ROOT / name).exists(), name
        for name in re.findall(r"-m (tests\.[\w.]+)", block.text):
            place = ROOT / name.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name
