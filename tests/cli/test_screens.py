"""What each command shows by default: few lines, none wider than the terminal, no id broken."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.cli.fill import fill
from holdall.endpoint import endpoint
from holdall.legible import columns, table, wrapped
from holdall.remote.client import Account
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.sample.definition import sample
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal

SOURCE, DESTINATION, OTHER, THIRD = "sk-source-0001", "sk-destination-0001", "sk-other-0001", "sk-third-0001"
FINE, WRONG = 12, 20


class Project:
    """The sample project on a server that gives its files and on one that refuses them, exported and imported."""

    def __init__(self, box: Running, holdall: Terminal) -> None:
        self.box, self.holdall = box, holdall

        async def make(key: str) -> None:
            async with Account(endpoint(key, box.url), concurrency=8) as account:
                await fill(account, sample())

        asyncio.run(make(SOURCE))
        box.behave(serve_assistants_files=True)
        self.does("export", "-o", "whole.tar.zst")
        self.does("import", "whole.tar.zst")
        box.behave(serve_assistants_files=False)
        self.does("export", "-o", "texts.tar.zst", "--parent", "none", code=4)
        damaged = bytearray(Path("whole.tar.zst").read_bytes())
        damaged[len(damaged) // 3] ^= 1
        Path("damaged.tar.zst").write_bytes(damaged)
        # Damage inside of a content is what `list` knows from `verify` only.
        self.does("verify", "damaged.tar.zst", code=10)
        (self.run,) = (path.name for path in Path("out/runs").iterdir())
        old = json.loads(Path("out/mapping.json").read_text())["mappings"][0]["srcId"]
        Path("code").mkdir()
        Path("code/settings.py").write_text(f'HELPER = "{old}"\n' * 30)
        Path("plain").mkdir()
        Path("plain/settings.py").write_text("HELPER = None\n")
        # Near misses: right names, wrong sizes.
        Path("near").mkdir()
        for document in sample().documents:
            Path("near", Path(document.name).name).write_bytes(b"another")
        Path("empty").mkdir()
        for name in ("packable", "broken"):
            assert holdall("unpack", "whole.tar.zst", name).code == 0
        for content in Path("broken/data/files").rglob("*.md"):
            content.write_bytes(b"other")
        for folder, days in {"backups": ("whole", "texts", "texts"), "mixed": ("whole", "texts", "damaged")}.items():
            Path(folder).mkdir()
            for day, name in enumerate(days):
                shutil.copy(f"{name}.tar.zst", f"{folder}/a-project-of-some-name-2026010{day}T031700Z.tar.zst")
        Path("mixed/foreign.tar.zst").write_bytes(b"another program's")
        Path("empty-not").mkdir()
        Path("empty-not/notes.txt").write_bytes(b"mine")

    def does(self, *argv: str, code: int = 0) -> None:
        done = self.holdall(*argv, *([] if argv[0] == "verify" else ["--env-file", "none"]))
        assert done.code == code, done.err


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("screens")
    with (
        Running(folder / "sandbox", behaviour=PROFILES["openai-2025"]) as box,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        monkeypatch.chdir(folder)
        for name in ("OPENAI_API_KEY", "NO_COLOR", "COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        environ = {f"OPENAI_{side}_BASE_URL": box.url for side in ("SRC", "DST")}
        keys = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION, "HOLDALL_SETTLE": "0.2"}
        yield Project(box, Terminal(monkeypatch, environ | keys))


# What is typed, and how it ends. RUN is the import's id.
NOTHING_WRONG = {
    "export": ("export -o again.tar.zst --force --parent none", 0),
    "export again": ("export -o other.tar.zst --force --parent whole.tar.zst", 0),
    "export --dry-run": ("export --dry-run", 0),
    "verify": ("verify whole.tar.zst", 0),
    "verify --quick": ("verify --quick whole.tar.zst", 0),
    "verify --rehearse": ("verify --rehearse whole.tar.zst", 0),
    "verify --against": ("verify whole.tar.zst --against dst", 0),
    "inspect": ("inspect whole.tar.zst", 0),
    "inspect --html": ("inspect whole.tar.zst --html page.html --force", 0),
    "extract": ("extract whole.tar.zst --to all --force", 0),
    "plan": ("plan whole.tar.zst", 0),
    "plan anew": ("plan whole.tar.zst --on-conflict duplicate", 3),
    "import anew": ("import whole.tar.zst --output-dir third", 0),
    "import again": ("import whole.tar.zst", 0),
    "runs": ("runs", 0),
    "list": ("list whole.tar.zst", 0),
    "prune": ("prune backups --keep-last 9", 0),
    "prune that would remove": ("prune backups --keep-last 1", 3),
    "diff": ("diff whole.tar.zst src:", 0),
    "undo --dry-run": ("undo RUN --dry-run", 3),
    "doctor": ("doctor", 0),
    "supply": ("supply whole.tar.zst --originals empty", 0),
    "remap": ("remap out plain", 0),
    "unpack": ("unpack whole.tar.zst folder", 0),
    "pack": ("pack packable -o packed.tar.zst --force", 0),
    "verify a folder": ("verify packable", 0),
}
SOMETHING_WRONG = {
    "export": ("export -o poor.tar.zst --force --parent none", 4),
    "export --dry-run": ("export --dry-run", 0),
    "verify": ("verify texts.tar.zst", 0),
    "verify --complete": ("verify --complete texts.tar.zst", 4),
    "verify --rehearse": ("verify --rehearse texts.tar.zst", 4),
    "verify --against": ("verify texts.tar.zst --against dst --output-dir none", 4),
    "verify damaged": ("verify damaged.tar.zst", 10),
    "verify another": (f"verify whole.tar.zst --sha256 {'0' * 64}", 3),
    "inspect": ("inspect texts.tar.zst", 0),
    "list": ("list texts.tar.zst damaged.tar.zst", 3),
    "prune": ("prune mixed --keep-last 1", 3),
    "diff": ("diff texts.tar.zst whole.tar.zst", 3),
    "extract --text": ("extract texts.tar.zst --text --to plain-text --force", 0),
    "extract --salvage": ("extract damaged.tar.zst --salvage --to salvaged --force", 3),
    "plan that stops": ("plan texts.tar.zst --output-dir none", 33),
    "import": ("import texts.tar.zst --output-dir poor --yes", 4),
    "import that fails": ("import whole.tar.zst --output-dir failed --yes", 4),
    "doctor": ("doctor", 3),
    "supply": ("supply texts.tar.zst --originals near", 4),
    "remap": ("remap out code", 3),
    "unpack": ("unpack whole.tar.zst empty-not", 13),
    "pack": ("pack broken", 10),
    "verify a folder": ("verify broken", 10),
}
# Keys of projects that are empty yet.
FRESH = {
    "import anew": "sk-fresh-0001",
    "plan anew": "sk-fresh-0002",
    "import that fails": "sk-fresh-0003",
    "import": "sk-fresh-0004",
}


def looked_at(project: Project, command: str, width: int = 80, **environ: str) -> Done:
    words = command.replace("RUN", project.run).split()
    offline = words[0] in ("inspect", "extract", "supply", "remap", "runs", "list", "prune", "unpack", "pack")
    own = ["--env-file", "none"] if not offline and (words[0] != "verify" or "--against" in words) else []
    return project.holdall.screen(*words, *own, columns=width, **environ)


def fits(done: Done, most: int, width: int = 80) -> None:
    lines = done.out.splitlines()
    # What is copied or read by a program stays on one line: a path, an id, a command to type.
    whole = re.compile(r"\s*(Next: .*|\S+)")
    assert [line for line in lines if columns(line) > width and not whole.fullmatch(line)] == [], done.out
    assert len(lines) <= most, done.out
    found = re.findall(r"\b(?:(asst_)|(vs_)|(file-)|(proj_)|(org-))(\w+)", done.out)
    lengths = {(kind, len(rest)) for *kinds, rest in found for kind in kinds if kind}
    assert lengths <= {("asst_", 24), ("vs_", 32), ("file-", 22), ("proj_", 24), ("org-", 24)}, done.out


@pytest.mark.parametrize("name", NOTHING_WRONG)
def test_a_screen_has_twelve_lines_where_nothing_is_wrong(project: Project, name: str) -> None:
    command, code = NOTHING_WRONG[name]
    project.box.behave(serve_assistants_files=True)
    done = looked_at(project, command, OPENAI_DST_API_KEY=FRESH.get(name, DESTINATION))
    assert done.code == code, done.out
    fits(done, FINE)


@pytest.mark.parametrize("name", SOMETHING_WRONG)
def test_a_screen_has_twenty_lines_where_something_is_wrong(project: Project, name: str) -> None:
    command, code = SOMETHING_WRONG[name]
    project.box.behave(serve_assistants_files=False)
    if name == "import that fails":
        project.box.fault(Fail(status=400), "POST", "/assistants", times=3)
    done = looked_at(project, command, OPENAI_DST_API_KEY=FRESH.get(name, DESTINATION))
    project.box.clear_faults()
    assert done.code == code, done.out
    fits(done, WRONG)


@pytest.mark.parametrize("name", ["export", "verify", "verify --against", "inspect", "extract", "doctor", "supply"])
def test_a_screen_is_not_broken_where_the_terminal_is_narrow(project: Project, name: str) -> None:
    command, code = NOTHING_WRONG[name]
    project.box.behave(serve_assistants_files=True)
    done = looked_at(project, command, width=40)
    assert done.code == code, done.out
    # A word that is longer than a line stands on one, and so does what is copied.
    wide = [line for line in done.out.splitlines() if columns(line) > 40 and not line.startswith("Next: ")]
    assert [line for line in wide if len(line.split()) > 1] == []


@pytest.mark.parametrize(
    ("command", "most"),
    [
        ("export -o again.tar.zst --force --parent none", 2),
        ("verify whole.tar.zst", 1),
        ("verify damaged.tar.zst", 8),
        ("verify --rehearse whole.tar.zst", 2),
        ("verify whole.tar.zst --against dst", 1),
        ("extract whole.tar.zst *.pdf --to pdf --force", 5),
        ("import whole.tar.zst", 2),
        ("supply whole.tar.zst --originals empty", 1),
        ("remap out plain", 1),
    ],
)
def test_quiet_leaves_the_verdict_and_the_result(project: Project, command: str, most: int) -> None:
    project.box.behave(serve_assistants_files=True)
    done = looked_at(project, f"{command} -q")
    assert 1 <= len(done.out.splitlines()) <= most, done.out
    assert "Next: " not in done.out


def test_a_rehearsal_says_one_line_on_stdout(project: Project) -> None:
    for bundle, code, verdict in (("whole", 0, "COMPLETE"), ("texts", 4, "INCOMPLETE: 13 files missing")):
        done = project.holdall("verify", "--rehearse", f"{bundle}.tar.zst")
        assert (done.code, len(done.out.splitlines())) == (code, 1)
        assert done.out.startswith(f"{verdict} ")
        assert "8 assistants" in done.out


@pytest.mark.parametrize(
    ("argv", "environ", "colored"),
    [
        ((), {"NO_COLOR": ""}, True),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": "", "TERM": "dumb"}, False),
        (("--color", "never"), {"NO_COLOR": ""}, False),
        (("--color", "always"), {"NO_COLOR": "1", "TERM": "dumb"}, True),
        (("--color", "auto"), {"NO_COLOR": ""}, True),
    ],
)
def test_the_verdict_has_a_color_on_a_terminal_that_wants_it(
    project: Project, argv: tuple[str, ...], environ: dict[str, str], colored: bool
) -> None:
    for bundle, color in (("whole", 32), ("texts", 33), ("damaged", 31)):
        done = project.holdall.screen("verify", f"{bundle}.tar.zst", *argv, **environ)
        assert (f"\x1b[1;{color}m" in done.out) == colored, done.out
        assert done.out.count("\x1b") == (2 * colored)


def test_a_pipe_gets_no_color_unless_it_is_asked_for(project: Project) -> None:
    assert "\x1b" not in project.holdall("verify", "whole.tar.zst").out
    assert project.holdall("verify", "whole.tar.zst", "--color", "always").out.startswith("\x1b[1;32mCOMPLETE")


def test_a_table_is_aligned_by_what_a_terminal_shows() -> None:
    names = [
        "茶 テイスティング",
        "Tasting Room",
        "e\u0301te\u0301",
        "한국어 이름",
        "a name that is far too long for its column",
    ]
    rows = [(name, "asst_0123456789abcdefghijklmn", "4 files") for name in names]
    lines = list(table(rows, width=60))
    assert {columns(line.partition("asst_")[0]) for line in lines} == {22}
    assert max(map(columns, lines)) <= 60
    assert lines[-1].startswith("a name that is far…")


def test_a_line_of_wide_characters_is_folded_by_the_columns_that_they_take() -> None:
    line = "- asst_64BqOz5TarXhzn5pMKHX6Bm0 → asst_2rhxcfR0OFiai43zxfOXUd1t (Tasting Room 茶)"
    assert len(line) == 80
    assert wrapped(line, 80) == [line.removesuffix(" 茶)"), "    茶)"]
