"""The least permissions that the documents promise: with them a command works, without any one of them it doesn't."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand
from tests.sweep import sweep

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
FAMILIES = ("assistants", "files", "vector_stores", "model", "containers", "responses", "agents")
EVERYTHING = {f"api.{family}.{what}" for family in FAMILIES for what in ("read", "write")}
SOURCE = "sk-source-0001"


def table() -> dict[str, set[str]]:
    """By command, what the page says that its key has to be allowed."""
    page = PAGE.read_text(encoding="utf-8")
    lines = [line.strip("| \n").split("|") for line in page.splitlines() if line.startswith("| ")]
    heading = next(line for line in lines if line[0].strip() == "command" and "`/assistants`" in line[1])
    found: dict[str, set[str]] = {}
    for line in lines[lines.index(heading) + 2 :]:
        command = re.sub(r"[`]", "", line[0]).strip()
        if command == "clone":
            break
        scopes = set()
        for family, cell in zip(heading[1:], line[1:], strict=False):
            name = family.strip(" `/").replace("models", "model")
            if cell.strip() in ("read", "write"):
                scopes |= {f"api.{name}.read"} | ({f"api.{name}.write"} if cell.strip() == "write" else set())
        found[command] = scopes
    return found


@pytest.fixture
def holdall(monkeypatch: pytest.MonkeyPatch, box: Running) -> Terminal:
    box.behave(serve_assistants_files=True, agents_api=True)
    with Hand(box.url, SOURCE) as hand:
        text, table = hand.file("a.txt", b"some words"), hand.file("b.csv", b"a,b")
        store = hand.post("/vector_stores", name="Store", file_ids=[text])["id"]
        hand.post(
            "/assistants",
            model="gpt-5.5",
            name="Reader",
            tools=[{"type": "file_search"}, {"type": "code_interpreter"}],
            tool_resources={
                "file_search": {"vector_store_ids": [store]},
                "code_interpreter": {"file_ids": [table]},
            },
        )
        hand.sdk.beta.agents.create(model="gpt-5.5", name="Clerk")
    return Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_BASE_URL": box.url,
            "OPENAI_SRC_API_KEY": SOURCE,
            "HOLDALL_SETTLE": "0",
        },
    )


COMMANDS = {
    "export": ("export", "-o", "another.tar.zst"),
    "plan, import --dry-run": ("plan", "it.tar.zst"),
    "import": ("import", "it.tar.zst"),
    "verify --against dst": ("verify", "it.tar.zst", "--against", "dst"),
    "undo": ("undo", "latest", "--yes"),
}
BEFORE = {"export": 0, "plan, import --dry-run": 1, "import": 1, "verify --against dst": 2, "undo": 2}


def test_every_command_of_the_table_is_tried() -> None:
    assert set(table()) == set(COMMANDS)


@sweep("name", COMMANDS)
def test_the_least_permissions(
    holdall: Terminal, box: Running, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*argv: str, allowed: set[str]) -> Done:
        box.behave(missing_scopes=tuple(EVERYTHING - allowed))
        return holdall(*argv, "--env-file", "none", OPENAI_DST_API_KEY=f"sk-destination-{Path.cwd().name}")

    least = table()[name]
    needed = {scope for scope in least if scope.endswith("write") or scope.replace("read", "write") not in least}
    # A list of models makes an import know more beforehand; it does without.
    for place, scope in enumerate([None, *sorted(needed - {"api.model.read"})]):
        (tmp_path / f"try-{place}").mkdir()
        monkeypatch.chdir(tmp_path / f"try-{place}")
        for argv in [("export", "-o", "it.tar.zst"), ("import", "it.tar.zst")][: BEFORE[name]]:
            assert run(*argv, allowed=EVERYTHING).code == 0
        done = run(*COMMANDS[name], allowed=least - {scope})
        if scope is None:
            assert done.code == (3 if name.startswith("plan") else 0), done.err
        else:
            assert done.code not in (0, 70), (scope, done.out, done.err)
            assert scope in done.out + done.err, (done.out, done.err)
