"""``holdall sandbox`` itself: what it prints, and that its flags arrive."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdall.cli.console import Console
from holdall.cli.main import run
from holdall.sandbox import server
from holdall.sandbox.behaviour import Behaviour, Storm
from holdall.sandbox.profiles import PROFILES
from tests.sandbox.wire import ask


def test_it_says_where_it_is_and_how_to_use_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdall", "sandbox", "--port", "0", "--data", str(tmp_path / "data")]
    flags = [
        "--profile",
        "openai-today",
        "--oddity",
        "id-hex",
        "--oddity",
        "list-no-object",
        "--index-delay",
        "2.5",
        "--rate-limits",
        "--max-file-bytes",
        "7",
        "--control",
    ]
    with subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stderr is not None
            url = running.stdout.readline().strip()
            told = "".join(running.stderr.readline() for _ in range(5))
            door = url.removesuffix("/v1") + "/_sandbox"
            behaviour = ask(door, "GET", "/behaviour").json()
        finally:
            running.kill()
    assert f"OPENAI_SRC_BASE_URL={url} OPENAI_SRC_API_KEY=sk-" in told
    assert f"OPENAI_DST_BASE_URL={url} OPENAI_DST_API_KEY=sk-" in told
    assert "Ctrl-C stops it." in told
    assert str(tmp_path / "data") in told
    changed = {"index_delay": 2.5, "rate_limits": True, "max_file_bytes": 7}
    expected = PROFILES["openai-today"]
    assert {name: behaviour[name] for name in changed} == changed
    assert sorted(behaviour["oddities"]) == ["id-hex", "list-no-object"]
    assert (behaviour["assistants_api"], behaviour["models_as_of"]) == (False, expected.models_as_of)


def test_its_address_in_json_does_not_wait_for_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdall", "sandbox", "--port", "0", "--data", str(tmp_path / "data"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as running:
        assert running.stdout is not None
        lines = [running.stdout.readline()]
        while lines[-1] not in ("}\n", ""):
            lines.append(running.stdout.readline())
        document = json.loads("".join(lines))
        ask(document["result"]["base_url"], "GET", "/files")
        running.terminate()
        assert running.stdout.read() == "", "a second document"
    assert (document["command"], document["ok"]) == ("sandbox", True)


def test_a_storm_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(server, "serve", lambda data, **options: given.update(options))
    assert run(["sandbox", "--data", str(tmp_path), "--storm", "7"], Console(stdout=io.StringIO())) == 0
    assert given["fault"] == Storm(seed=7, rate=0.3)


@pytest.mark.parametrize("profile", ["foundry-classic", "foundry-new"])
def test_a_foundry_project_is_shown_as_source_and_another_as_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    def served(data: Path, *, behaviour: Behaviour, ready: Callable[[str], None], **options: object) -> None:
        with server.Running(data, behaviour=behaviour) as box:
            ready(box.url)
            urls.append(box.url)

    urls: list[str] = []
    monkeypatch.setattr(server, "serve", served)
    err = io.StringIO()
    arguments = ["sandbox", "--data", str(tmp_path), "--profile", profile]
    assert run(arguments, Console(stdout=io.StringIO(), stderr=err)) == 0
    assert f"OPENAI_SRC_BASE_URL='{urls[0]}' OPENAI_SRC_API_KEY=eyJ" in err.getvalue()
    other = urls[0].replace("/projects/sandbox", "/projects/destination")
    assert f"OPENAI_DST_BASE_URL='{other}' OPENAI_DST_API_KEY=eyJ" in err.getvalue()
    assert ("api-version" in other) is (profile == "foundry-classic")


def test_an_oddity_that_nobody_has(tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    code = run(["sandbox", "--data", str(tmp_path), "--oddity", "list-no-more"], Console(stdout=out, stderr=err))
    assert code == 2
    assert "unknown oddity 'list-no-more'" in err.getvalue()
    assert "list-no-has-more" in err.getvalue()


def test_help_opens_no_server() -> None:
    program = "import sys; from holdall.cli.main import run; from holdall.cli.console import Console; "
    program += "run(['sandbox', '--help'], Console()); assert not {'uvicorn', 'starlette', 'openai'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
