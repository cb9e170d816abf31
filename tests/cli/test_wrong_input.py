"""Every command on wrong input, on a narrow ASCII stream that is no terminal: an error of ours, and one document."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from holdall.cli.console import Console
from holdall.cli.main import COMMANDS, run
from holdall.sandbox.server import Running
from tests.project import Hand
from tests.sweep import sweep
from tests.test_kill_import import environment

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
NAMES = [name for section in COMMANDS.values() for name in section]
WITH_ENV_FILE = ["export", "plan", "import", "clone", "runs", "undo", "doctor"]


class Row(msgspec.Struct, frozen=True):
    words: list[str]
    environ: Mapping[str, str] = {}


# Files that are not what is asked for; good.tar.zst is.
NOT_BUNDLES = ["gone.tar.zst", "empty.tar.zst", "cut.tar.zst", "flipped.tar.zst", "text.tar.zst", "folder", "plain.tar",
               "zipped.zip", "dump.json", "gonefolder/b.tar.zst", "été.tar.zst"]  # fmt: skip
ON_BUNDLES = {
    "inspect": ["inspect", "BUNDLE"],
    "diff": ["diff", "good.tar.zst", "BUNDLE", "--env-file", "none"],
    "list": ["list", "BUNDLE", "--grep", "nothing like it"],
    "backup": ["backup", "--config", "BUNDLE"],
    "html": ["inspect", "BUNDLE", "--html", "page.html"],
    "verify": ["verify", "BUNDLE"],
    "complete": ["verify", "BUNDLE", "--complete"],
    "against": ["verify", "BUNDLE", "--against", "dst", "--env-file", "none"],
    "rehearse": ["verify", "BUNDLE", "--rehearse"],
    "extract": ["extract", "BUNDLE", "--to", "out of it"],
    "salvage": ["extract", "BUNDLE", "--salvage", "--to", "salvaged"],
    "supply": ["supply", "BUNDLE", "--originals", "folder", "-o", "supplied.tar.zst"],
    "unpack": ["unpack", "BUNDLE", "unpacked"],
    "plan": ["plan", "BUNDLE", "--env-file", "none"],
    "import": ["import", "BUNDLE", "--env-file", "none"],
    "parent": ["export", "--parent", "BUNDLE", "--env-file", "none", "-o", "child.tar.zst"],
}
ACCOUNTS: dict[str, list[str]] = {
    "export": ["export", "-o", "mine.tar.zst"],
    "preview": ["export", "--dry-run"],
    "plan": ["plan", "good.tar.zst"],
    "import": ["import", "good.tar.zst"],
    "clone": ["clone", "--dry-run"],
    "against": ["verify", "good.tar.zst", "--against", "dst"],
    "undo": ["undo", "latest", "--yes"],
    "diff": ["diff", "src:", "dst:"],
    "doctor": ["doctor"],
}
SETTINGS: dict[str, dict[str, str]] = {
    "no keys": {"OPENAI_SRC_API_KEY": "", "OPENAI_DST_API_KEY": ""},
    "keys that don't exist": {"OPENAI_SRC_API_KEY": "sk-revoked-0001", "OPENAI_DST_API_KEY": "sk-revoked-0001"},
    "keys of two lines": {"OPENAI_SRC_API_KEY": "sk-a\nb", "OPENAI_DST_API_KEY": "sk-ü"},
    "no addresses": {"OPENAI_SRC_BASE_URL": "here", "OPENAI_DST_BASE_URL": "http://[x/v1"},
    "ids that can't be sent": {"OPENAI_SRC_ORG_ID": "org-ö", "OPENAI_DST_PROJECT_ID": "a\nb"},
    "bad numbers": {"MAX_CONCURRENCY": "²", "HOLDALL_SETTLE": "nan"},
    "bad words": {"LOG_LEVEL": "lout", "DRY_RUN": "vielleicht", "CLONE_MODE": "by_name", "INCLUDE_FILE_SEARCH": "jein"},
    "a bad proxy": {"HTTPS_PROXY": "socks9://x", "OPENAI_SRC_BASE_URL": "https://x.invalid/v1",
                    "OPENAI_DST_BASE_URL": "https://x.invalid/v1"},
    "no certificates": {"SSL_CERT_FILE": "gone.pem"},
    "a folder of results that is a file": {"OUTPUT_DIR": "text.tar.zst"},
}  # fmt: skip
OTHERS: list[list[str]] = [
    *(
        ["export", "--env-file", "none", "--from-dump", name]
        for name in ("gone.json", "empty.tar.zst", "folder", "random")
    ),
    ["export", "--env-file", "none", "--from-dump", ""],
    ["export", "--env-file", "none", "--originals", "gone"],
    ["export", "--env-file", "none", "-o", "folder"],
    ["export", "--env-file", "none", "-o", "gone/b.tar.zst"],
    ["export", "--env-file", "none", "-o", "good.tar.zst"],
    ["export", "--env-file", "none", "-o", "text.tar.zst/b.tar.zst"],
    ["export", "--env-file", "none", "-o", "x" * 300],
    ["export", "--env-file", "none", "--label", "../\u202e"],
    ["export", "--env-file", "none", "--only", "nobody", "--exclude", "["],
    ["export", "--env-file", "none", "--token-command", "gone-program"],
    ["export", "--env-file", "none", "--token-command", "'"],
    ["import", "good.tar.zst", "--env-file", "none", "--mapping", "dump.json"],
    ["import", "good.tar.zst", "--env-file", "none", "--mapping", "random"],
    *(
        ["import", "good.tar.zst", "--env-file", "none", "--plan", name]
        for name in ("gone", "folder", "dump.json", "random")
    ),
    ["import", "good.tar.zst", "--env-file", "none", "--map-model", "="],
    ["plan", "good.tar.zst", "--env-file", "none", "-o", "gone/p"],
    ["plan", "good.tar.zst", "--env-file", "none", "-o", "folder"],
    *(
        ["list", *words]
        for words in (["gone"], ["x" * 300], [""], ["good.tar.zst", "--grep", "("], [".", "--grep", "x"])
    ),
    ["inspect", "good.tar.zst", "--html", "gone/page.html"],
    ["inspect", "good.tar.zst", "--html", "folder"],
    ["verify", "good.tar.zst", "--sha256", "beef"],
    ["verify", "good.tar.zst", "--against", "src"],
    ["extract", "good.tar.zst", "*.nothing", "--to", "nothing"],
    ["extract", "good.tar.zst", "--to", "text.tar.zst"],
    ["prune", "gone", "--keep-last", "1"],
    ["prune", "good.tar.zst", "--keep-last", "1"],
    ["prune", "x" * 300, "--keep-last", "1"],
    ["prune", "folder"],
    ["prune", "folder", "--keep-last", "-2", "--keep-within", "7w"],
    ["supply", "good.tar.zst", "--originals", "gone"],
    ["supply", "good.tar.zst", "--originals", "folder", "-o", "good.tar.zst"],
    *(["undo", "--env-file", "none", "--yes", run] for run in ("latest", "", "2026", "folder", "good.tar.zst", "ü")),
    ["undo", "--env-file", "none", "latest"],
    *(["runs", "--env-file", "none", "--output-dir", name] for name in ("text.tar.zst", "x" * 300)),
    *(["remap", mapping, "folder"] for mapping in ("gone.json", "folder", "dump.json", "random", "empty.tar.zst")),
    ["remap", "dump.json", "gone"],
    ["sandbox", "--port", "70000"],
    ["sandbox", "--profile", "nobody"],
    ["sandbox", "--data", "text.tar.zst"],
    ["sandbox", "--storm", "x"],
    ["demo", "--dir", "text.tar.zst"],
    ["demo", "--dir", "folder"],
    ["exprot"],
    ["--nonsense"],
    ["--", "export"],
    [""],
]


def rows() -> Iterator[tuple[str, Row]]:
    for name, words in ON_BUNDLES.items():
        for file in NOT_BUNDLES:
            yield f"{name} {file}", Row([file if word == "BUNDLE" else word for word in words])
    for said, environ in SETTINGS.items():
        for name, words in ACCOUNTS.items():
            yield f"{name}: {said}", Row([*words, "--env-file", "none"], environ)
    for name in NAMES:
        yield f"{name} and a flag that nobody has", Row([name, "--nonsense=1"])
        yield f"{name} and too many words", Row([name, *"abcdefgh"])
        yield f"{name} and nothing after its last flag", Row([name, "--env-file" if name in WITH_ENV_FILE else "--to"])
    for name in WITH_ENV_FILE:
        for file in ("gone.env", "folder", "random", "nul.env"):
            yield f"{name} --env-file {file}", Row([name, *(["x"] if name in ("plan", "import", "undo") else []),
                                                    "--env-file", file])  # fmt: skip
    for number, words in enumerate(OTHERS):
        yield f"{number} {' '.join(words)[:50]!a}", Row(words)


ROWS = dict(rows())


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("box")) as running:
        with Hand(running.url, SOURCE) as hand:
            hand.assistant("Helper", stores=[hand.store("words", [hand.file("words.txt", b"some words")])])
        running.revoke("sk-revoked-0001")
        yield running


@pytest.fixture
def work(box: Running, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files of every kind in it."""
    good = bundle.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 3] ^= 0xFF
    folder = tmp_path / "work"
    folder.mkdir()
    contents = {
        "good.tar.zst": good,
        "cut.tar.zst": good[: len(good) // 2],
        "flipped.tar.zst": bytes(flipped),
        "été.tar.zst": good[:1000],
        "empty.tar.zst": b"",
        "text.tar.zst": b"no bundle\n",
        "plain.tar": b"\0" * 10240,
        "zipped.zip": b"PK\x03\x04" + b"\0" * 100,
        "dump.json": b'{"mappings": 7, "data": [1, null, {"id": []}]}',
        "nul.env": b"OUTPUT_DIR=a\0b\nMAX_CONCURRENCY=2\n",
        "random": bytes(range(256)) * 4,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "folder" / "a.txt").write_text("asst_1 file-1")
    monkeypatch.chdir(folder)
    return folder


def environ(box: Running, more: Mapping[str, str]) -> dict[str, str]:
    return environment(
        **{
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_BASE_URL": box.url,
            "OPENAI_SRC_API_KEY": SOURCE,
            "OPENAI_DST_API_KEY": DESTINATION,
            "HOLDALL_SETTLE": "0",
            "COLUMNS": "40",
            "PYTHONIOENCODING": "ascii",
            **more,
        }
    )


def in_process(words: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str, str]:
    """The exit code of a command, what it printed, and its errors, on streams as ``streams.repair`` leaves them."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(variables):
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        code = run(words, Console(stdout=out, stderr=err))
    for stream in (out, err):
        stream.seek(0)
    return code, out.read(), err.read()


def wrong(code: int, out: str, err: str, *, is_json: bool) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    if "Traceback" in out + err or "Exception ignored" in err:
        return "a traceback"
    if code not in {*range(2, 5), *range(10, 17), *range(20, 37)}:
        return f"exit {code}"
    if is_json:
        try:
            if (said := json.loads(out)["exit_code"]) != code:
                return f"the document says {said}, the exit code is {code}"
        except ValueError:
            return f"not one document: {out!r}"
    return ""


# What is wrong there is no matter to them: contents that they don't read, settings of the other side.
FINE = {
    *(f"{name} flipped.tar.zst" for name in ("inspect", "html", "supply", "parent", "diff")),
    *(f"{name}: a folder of results that is a file" for name in ("export", "preview")),
    *(name for name, row in ROWS.items() if row.words[0] == "runs" and "text.tar.zst" in row.words),
    *(name for name, row in ROWS.items() if row.words[-1] in ("../\u202e", "folder") and row.words[0] == "export"),
    *(name for name, row in ROWS.items() if row.words == ["--", "export"]),
}


@sweep("name", list(ROWS))
def test_wrong_input_ends_in_an_error_of_ours(name: str, box: Running, work: Path) -> None:
    row = ROWS[name]
    variables = environ(box, row.environ)
    for is_json in (False, True):
        words = _with_json(row.words) if is_json else row.words
        code, out, err = in_process(words, variables)
        said = wrong(code, out, err, is_json=is_json)
        assert not said or (said == "exit 0" and name in FINE), f"{words}: {said}\n{out}{err}"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no shell with such streams here")
@pytest.mark.parametrize("is_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full"])
@pytest.mark.parametrize("name", list(ROWS))
def test_and_so_it_does_with_streams_that_are_closed(
    name: str, streams: str, is_json: bool, box: Running, work: Path
) -> None:
    row = ROWS[name]
    words = _with_json(row.words) if is_json else row.words
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {streams}', "bash", sys.executable, "-m", "holdall", *words],
        env=environ(box, row.environ), capture_output=True, stdin=subprocess.DEVNULL, check=False, encoding="utf-8",
    )  # fmt: skip
    said = wrong(done.returncode, done.stdout, done.stderr, is_json=is_json and streams.startswith("2>"))
    assert not said or (said == "exit 0" and name in FINE), (said, done)


def _with_json(words: list[str]) -> list[str]:
    return ["--json", *words] if words[0] == "--" else [words[0], "--json", *words[1:]]


def test_a_document_is_json_in_every_encoding_of_a_terminal(box: Running, work: Path) -> None:
    variables = environ(box, {})
    code, out, _ = in_process(["inspect", "--json", "été.tar.zst"], variables)
    assert (code, json.loads(out)["exit_code"]) == (10, 10)
    assert "\\u00e9t\\u00e9.tar.zst" in out
