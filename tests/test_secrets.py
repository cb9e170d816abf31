"""Keys go to the server that they are for, and nowhere else: whatever goes wrong, in whatever command.

Every key is marked. A server that answers with what it was sent, in each form that an answer may have, is asked by
every command; then the mark is looked for in all that was printed, logged, reported and written.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zstandard

from holdall.bundle import writer
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from holdall.variables import KEY_VARIABLES, VARIABLES
from tests.bundle.packing import File, pack
from tests.cli.terminal import Done, Terminal
from tests.clock import Clock
from tests.project import Hand
from tests.sweep import sweep
from tests.test_redaction import WAYS, written

MARK = "MARKEDmarked"
# One looks like a key of OpenAI's, the other like nothing at all.
SOURCE = f"sk-proj-{MARK}0{MARK}1{MARK}"
AMBIENT = f"sk-{MARK}4{MARK}5"
DESTINATION = f"zq{MARK}2{MARK}3{MARK}"

Answer = tuple[int, dict[str, str], bytes]


def _error(status: int, **fields: Any) -> Callable[[str], Answer]:
    def answer(key: str) -> Answer:
        filled = {
            name: value.replace("KEY", key) if isinstance(value, str) else value for name, value in fields.items()
        }
        return status, {"content-type": "application/json"}, json.dumps({"error": filled}).encode()

    return answer


def _plain(status: int, body: str, **headers: str) -> Callable[[str], Answer]:
    def answer(key: str) -> Answer:
        named = {name.replace("_", "-"): value.replace("KEY", key) for name, value in headers.items()}
        return status, named, body.replace("KEY", key).encode()

    return answer


ANSWERS: dict[str, Callable[[str], Answer]] = {
    "401 that echoes the key": _error(401, message="Incorrect API key provided: KEY.", code="invalid_api_key"),
    "401 with the key in every field": _error(401, message="no", code="KEY", type="KEY", param="KEY"),
    "403 with the key in an address": _error(403, message="see https://x.test/?api-key=KEY&a=1 or Bearer KEY"),
    "400 with a part of the key": _error(400, message="not a key: " + "KEY"[:3] + "…", detail="KEY"),
    "400 in HTML": _plain(400, "<html><head><title>KEY</title></head><body>you sent <b>KEY</b></body></html>"),
    "404 in plain text": _plain(404, "no KEY here", x_request_id="KEY"),
    "200 that is no JSON": _plain(200, "KEY", x_request_id="KEY"),
    "200 with the key as a list": _plain(200, '{"object": "list", "data": "KEY"}', openai_organization="KEY"),
    "200 with the key as an id": _plain(200, '{"object": "list", "data": [{"id": 7, "x": "KEY"}]}'),
    "200 of a type that isn't JSON": _plain(200, '{"KEY": ', content_type="text/html"),
    "200 with objects whose ids are the key": _plain(
        200, '{"id": "KEY", "object": "list", "data": [{"id": "KEY", "name": "KEY", "model": "m"}], "has_more": false}'
    ),
    "200 with objects that have the key in them": _plain(
        200,
        '{"id": "thing_1", "object": "list", "has_more": false, "filename": "KEY", "status": "completed", "data": '
        '[{"id": "thing_1", "name": "to KEY", "model": "m", "KEY": "KEY", "purpose": "KEY", '
        '"metadata": {"KEY": "KEY"}}]}',
    ),
    "302 to elsewhere": _plain(302, "", location="http://127.0.0.1:9/?key=KEY"),
    # A host is told in small letters.
    "302 to a host that is the key": _plain(302, "", location="https://KEY/"),
    "302 to a port that is the key": _plain(302, "", location="https://a.test:KEY/"),
    "302 to a scheme that is the key": _plain(302, "", location="KEY://a.test/"),
}


class Echo(BaseHTTPRequestHandler):
    """Answers everything with what came in its Authorization or api-key header."""

    answer: Callable[[str], Answer]
    before: Callable[[], None] | None = None

    def _do(self) -> None:
        if type(self).before:
            type(self).before()
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        key = (self.headers.get("authorization") or self.headers.get("api-key") or "").removeprefix("Bearer ")
        status, headers, body = type(self).answer(key)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _do

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[Callable[..., str]]:
    """Starts servers that echo; gives their base URLs."""
    running = []

    def start(answer: Callable[[str], Answer], before: Callable[[], None] | None = None) -> str:
        handler = type("Handler", (Echo,), {"answer": staticmethod(answer), "before": before and staticmethod(before)})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def holdall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    Clock().rule(monkeypatch)
    pack(tmp_path / "b.tar.zst", [File(id="file-1"), File(id="file-2", data=None)])
    (tmp_path / "code.py").write_text("x = 'asst_1'\n")
    return Terminal(
        monkeypatch, {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION, "LOG_LEVEL": "debug"}
    )


COMMANDS = [
    ["export", "-o", "new.tar.zst"],
    ["plan", "b.tar.zst"],
    ["import", "b.tar.zst"],
    ["import", "b.tar.zst", "--dry-run", "--as", "responses"],
    ["clone"],
    ["doctor"],
    ["verify", "b.tar.zst", "--against", "dst"],
]
LOCAL = [
    ["inspect", "b.tar.zst"],
    ["verify", "b.tar.zst"],
    ["extract", "b.tar.zst", "--to", "out"],
    ["supply", "b.tar.zst", "--originals", "."],
    ["remap", "code.py"],
    ["undo", "none", "--yes"],
    ["inspect", "cut.tar.zst"],
    ["verify", "cut.tar.zst"],
    ["import", "cut.tar.zst"],
    ["extract", "cut.tar.zst", "--salvage", "--to", "saved"],
]


def _traces() -> Iterator[bytes]:
    """What has a dozen letters of a key in it, in whatever encoding; in small letters."""
    for key in (SOURCE, DESTINATION):
        raw = key.encode()
        for form, length in (
            (raw, 12),
            *((base64.b64encode(b" " * before + raw)[4:-4], 16) for before in range(3)),
            (raw.hex().encode(), 24),
            *(
                ("".join(sign % byte for byte in raw).encode(), 12 * len(sign % 0))
                for sign in ("%%%02x", "\\u%04x", "&#%02d;")
            ),
        ):
            yield from (form[place : place + length].lower() for place in range(len(form) - length + 1))


TRACES = frozenset(_traces())


def leaks(folder: Path, *done: Done, but: tuple[str, ...] = ()) -> list[str]:
    """Where a key is found: in what was printed, and in every file and its name, bundles unpacked."""

    def has_one(raw: bytes) -> bool:
        raw = raw.lower()
        return any(trace in raw for trace in TRACES)

    found = [f"printed: {text[-300:]}" for one in done for text in (one.out, one.err) if has_one(text.encode())]
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in but:
            raw = path.read_bytes()
            if path.name.endswith(".zst"):
                with path.open("rb") as file:
                    stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                    with suppress(zstandard.ZstdError):
                        raw += stream.read(1 << 24)
            if has_one(raw + str(path.relative_to(folder)).encode()):
                found.append(f"written: {path}")
    return found


# The others on demand: each makes every command try again and again.
IN_EVERY_RUN = (
    "401 with the key in every field",
    "200 with the key as a list",
    "200 with objects whose ids are the key",
    "200 with objects that have the key in them",
    "302 to a host that is the key",
)


@pytest.mark.parametrize(
    "name", [name if name in IN_EVERY_RUN else pytest.param(name, marks=pytest.mark.slow) for name in ANSWERS]
)
def test_a_server_that_echoes_keys_leaves_them_nowhere(
    holdall: Terminal, echo: Callable[..., str], tmp_path: Path, name: str
) -> None:
    url = echo(ANSWERS[name])
    where = {"OPENAI_SRC_BASE_URL": url, "OPENAI_DST_BASE_URL": url}
    done = []
    for number, argv in enumerate(COMMANDS):
        formats = [["--json"], []] if name not in IN_EVERY_RUN else [["--json"] if number % 2 else []]
        done += [holdall(*argv, "--env-file", "none", *how, **where) for how in formats]
    assert not leaks(tmp_path, *done)
    assert {one.code for one in done} & set(range(20, 40)), "no command met the answer"
    assert 70 not in {one.code for one in done}, [one.err for one in done if one.code == 70]


@sweep("way", WAYS)
def test_nor_does_one_that_echoes_them_in_an_encoding(
    holdall: Terminal, echo: Callable[..., str], tmp_path: Path, way: str
) -> None:
    def answer(status: int, before: str, behind: str) -> Callable[[str], Answer]:
        def answered(key: str) -> Answer:
            said = dict(written(key))[way].replace("\r", "\\r").replace("\n", "\\n")
            return status, {"x-request-id": said[:100].split("\\")[0]}, f"{before}{said}{behind}".encode()

        return answered

    refusing = echo(answer(401, '{"error": {"message": "not a key: ', '", "code": "invalid_api_key"}}'))
    listing = echo(
        answer(200, '{"object": "list", "has_more": false, "data": [{"id": "asst_1", "model": "m", "name": "', '"}]}')
    )
    done = [
        holdall("export", "-o", "new.tar.zst", "--env-file", "none", OPENAI_SRC_BASE_URL=url)
        for url in (refusing, listing)
    ]
    assert not leaks(tmp_path, *done)
    assert done[0].code == 20, done[0].err
    assert done[1].code in (4, 24, 28), done[1].err


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{closed.getsockname()[1]}"


def test_settings_that_cannot_be_meant_are_not_repeated(holdall: Terminal, tmp_path: Path, nowhere: str) -> None:
    ways = [
        {"OPENAI_SRC_BASE_URL": f"http://user:{MARK}@{nowhere}/v1"},
        {"OPENAI_SRC_BASE_URL": f"ftp://user:{MARK}@{nowhere}"},
        {"OPENAI_SRC_BASE_URL": MARK},
        {"OPENAI_SRC_API_KEY": f"{SOURCE} {SOURCE}"},
        {"OPENAI_SRC_API_KEY": f"\x1b{SOURCE}"},
        {"OPENAI_SRC_API_KEY": f"{SOURCE}\u00e9"},
        {"OPENAI_SRC_ORG_ID": f"{MARK}\n{MARK}"},
        *({name: SOURCE} for name in sorted(VARIABLES - set(KEY_VARIABLES)) if "TOKEN_COMMAND" not in name),
        {"OPENAI_SRC_BASE_URL": f"http://{nowhere}/{SOURCE}/v1?x=1"},
        {"OPENAI_SRC_BASE_URL": f"http://{DESTINATION}.test/v1"},
        {"OPENAI_SRC_LABEL": f"of {AMBIENT}", "OPENAI_API_KEY": AMBIENT},
        {"OPENAI_SRC_LABEL": f"acme-{base64.b64encode(DESTINATION.encode()).decode()}"},
        {"OUTPUT_DIR": f"/tmp/{SOURCE[:20]}"},
        {"MAX_CONCURRENCY": "none"},
        {"LOG_LEVEL": "loud"},
    ]
    for way in ways:
        done = holdall("export", "--env-file", "none", **{"OPENAI_SRC_BASE_URL": f"http://{nowhere}/v1", **way})
        assert not leaks(tmp_path, done), way
        assert done.code == 2, done.err


@sweep(
    "argv",
    [
        ["export", "--label", SOURCE],
        ["export", f"--label={SOURCE}"],
        ["export", SOURCE],
        ["export", "--nothing", DESTINATION],
        ["export", "-o", f"archives/{SOURCE}.tar.zst"],
        ["export", "--only", f"asst:{SOURCE}"],
        ["import", "b.tar.zst", "--dst-project-id", DESTINATION],
        ["inspect", f"{DESTINATION}.tar.zst"],
        ["extract", "b.tar.zst", "--to", SOURCE],
        ["sandbox", "--data", SOURCE],
        ["remap", "--", SOURCE],
    ],
)
def test_nor_is_a_key_on_the_command_line(holdall: Terminal, tmp_path: Path, argv: list[str]) -> None:
    for json_too in ([], ["--json"]):
        done = holdall(*json_too, *argv) if argv[-2] == "--" else holdall(*argv, *json_too)
        assert not leaks(tmp_path, done)
        assert done.code == 2, done.err
        assert "it contains" in done.err
    if argv[1].startswith("--label"):
        assert "--label" in done.err


def test_labels_that_only_look_a_little_like_keys_are_taken(holdall: Terminal, nowhere: str) -> None:
    for label in ("sk-test", "sk-source", "project-2024-acme", "EMPTY"):
        done = holdall(
            "export",
            "--env-file",
            "none",
            OPENAI_SRC_API_KEY="EMPTY",
            OPENAI_SRC_LABEL=label,
            OPENAI_SRC_BASE_URL=f"http://{nowhere}/v1",
        )
        assert done.code not in (2, 70), done.err


@pytest.mark.slow
def test_what_cannot_be_reached_leaves_them_nowhere(holdall: Terminal, tmp_path: Path, nowhere: str) -> None:
    server = {"OPENAI_SRC_BASE_URL": f"http://{nowhere}/v1", "OPENAI_DST_BASE_URL": f"http://{nowhere}/v1"}
    proxied = {
        **{f"OPENAI_{side}_BASE_URL": "http://there.test/v1" for side in ("SRC", "DST")},
        **{f"OPENAI_{side}_INSECURE_HTTP": "true" for side in ("SRC", "DST")},
    }
    ways = [
        server,
        {**server, "OPENAI_SRC_BASE_URL": f"http://{nowhere}/v1?api-key={MARK}"},
        {**proxied, "HTTP_PROXY": f"http://user:{MARK}@{nowhere}", "NO_PROXY": ""},
        {**proxied, "HTTP_PROXY": f"nonsense://user:{MARK}@{nowhere}", "NO_PROXY": ""},
    ]
    for way in ways:
        for argv in COMMANDS:
            done = holdall(*argv, "--env-file", "none", **way)
            assert not leaks(tmp_path, done), (argv, way)
            assert done.code not in (0, 70), done.err


def test_a_dotenv_and_token_commands_leave_them_nowhere(
    holdall: Terminal, echo: Callable[..., str], tmp_path: Path
) -> None:
    url = echo(ANSWERS["401 that echoes the key"])
    holdall.environ = {"OPENAI_SRC_BASE_URL": url, "LOG_LEVEL": "debug"}
    (tmp_path / ".env").write_text(f"OPENAI_SRC_API_KEY={SOURCE}\nOPENAI_DST_API_KEY='{DESTINATION}\nX{MARK}==\n")
    done = [holdall(*COMMANDS[0]), holdall(*COMMANDS[5], "--json")]
    speaking = [
        f"printf %s {DESTINATION}",
        f"sh -c 'echo {SOURCE} >&2; exit 3'",
        f"printf '%s %s' {DESTINATION} {SOURCE}",
        f'printf \'{{"token": {{"x": "{DESTINATION}"}}}}\'',
        f"{MARK} --not-a-program",
    ]
    for command in speaking[: 4 if os.name != "nt" else 0]:
        done.append(holdall("export", "-o", "c.tar.zst", "--env-file", "none", OPENAI_SRC_TOKEN_COMMAND=command))
    assert not leaks(tmp_path, *done, but=(".env",))
    assert {one.code for one in done} <= {2, 3, 20, 27}, [one.err for one in done]


def test_commands_without_an_account_and_damaged_bundles_leave_them_nowhere(holdall: Terminal, tmp_path: Path) -> None:
    raw = (tmp_path / "b.tar.zst").read_bytes()
    (tmp_path / "cut.tar.zst").write_bytes(raw[:-100])
    done = [holdall(*argv, *json_too) for argv in LOCAL for json_too in ([], ["--json"])]
    assert not leaks(tmp_path, *done)
    assert 70 not in {one.code for one in done}


@pytest.mark.parametrize("argv", [COMMANDS[0], COMMANDS[2]])
def test_ctrl_c_leaves_them_nowhere(
    holdall: Terminal, echo: Callable[..., str], tmp_path: Path, argv: list[str]
) -> None:
    url = echo(ANSWERS["401 that echoes the key"], lambda: os.kill(os.getpid(), signal.SIGINT))
    done = holdall(*argv, "--env-file", "none", OPENAI_SRC_BASE_URL=url, OPENAI_DST_BASE_URL=url)
    assert not leaks(tmp_path, done)
    assert done.code == 130


def test_the_log_of_the_sdk_is_not_turned_on(echo: Callable[..., str], tmp_path: Path) -> None:
    where = {"OPENAI_SRC_BASE_URL": echo(ANSWERS["404 in plain text"]), "OPENAI_SRC_API_KEY": SOURCE}
    argv = [sys.executable, "-m", "holdall", "doctor", "--env-file", "none"]
    environ = {**os.environ, **where, "OPENAI_LOG": "debug", "NO_PROXY": "127.0.0.1"}
    ran = subprocess.run(argv, env=environ, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert not leaks(tmp_path, Done(code=ran.returncode, out=ran.stdout, err=ran.stderr))
    assert "DEBUG" not in ran.stderr


@pytest.mark.parametrize("is_echoed", [False, True])
def test_what_goes_right_leaves_them_nowhere(holdall: Terminal, box: Running, tmp_path: Path, is_echoed: bool) -> None:
    where = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": SOURCE}
    box.behave(serve_assistants_files=True, oddities=frozenset({Oddity.ECHOES_KEY}) if is_echoed else frozenset())
    (tmp_path / "saved.json").write_text('[{"id": "asst_saved", "name": "Saved", "model": "gpt-4o", "tools": []}]')
    done = [
        holdall("plan", "b.tar.zst", "--env-file", "none", **where),
        holdall("import", "b.tar.zst", "--env-file", "none", **where),
        holdall("export", "-o", "new.tar.zst", "--env-file", "none", "--json", **where),
        holdall("verify", "b.tar.zst", "--against", "dst", "--env-file", "none", **where),
        holdall("verify", "b.tar.zst", "--rehearse"),
        holdall("inspect", "new.tar.zst", "--all"),
        holdall("export", "--from-dump", "saved.json", "-o", "saved.tar.zst", "--env-file", "none", **where),
        holdall("verify", "new.tar.zst"),
        holdall("extract", "new.tar.zst", "--to", "taken"),
        holdall("supply", "new.tar.zst", "--originals", "taken"),
        holdall("doctor", "--env-file", "none", **where),
        holdall("clone", "--env-file", "none", **{**where, "OPENAI_DST_API_KEY": DESTINATION.replace("zq", "sk-")}),
    ]
    old = next(iter(json.loads((tmp_path / "out" / "mapping.json").read_text())["vector_stores"]))
    lines = ["A=1", f"OPENAI_API_KEY={SOURCE}", "B=2", f"ASSISTANT={old}", "C=3", f"OTHER={SOURCE}", f"D={old}"]
    (tmp_path / ".env").write_text("\n".join(lines))
    ran = min((tmp_path / "out" / "runs").iterdir(), key=lambda run: run.stat().st_ctime_ns)
    done.append(holdall("remap", "out/mapping.json", ".env", **where))
    assert "+ASSISTANT=" in done[-1].out
    done.append(holdall("undo", ran.name, "--yes", "--env-file", "none", **where))
    # The sandbox tells its projects apart by their keys.
    assert not leaks(tmp_path, *done, but=(".env", *(path.name for path in (tmp_path / "sandbox").rglob("*"))))
    assert {one.code for one in done} <= {0, 3, 4}, [one.err[-300:] for one in done if one.code not in (0, 3, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 4, 12, 24, 48])
def test_a_full_disk_leaves_them_nowhere(
    monkeypatch: pytest.MonkeyPatch, box: Running, mounted: Callable[[str], Path], room: int
) -> None:
    """With ``room`` kB left, every command, at a server that sends the key back in what it stores."""
    monkeypatch.setattr(writer, "_require_space", lambda *_: None)
    disk = mounted("size=400k")
    monkeypatch.chdir(disk)
    urls = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url}
    keys = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION.replace("zq", "sk-")}
    holdall = Terminal(monkeypatch, {**urls, **keys, "LOG_LEVEL": "debug", "HOLDALL_SETTLE": "0.3"})
    with Hand(box.url, SOURCE) as hand:
        store = hand.store("Shared", [hand.file("one.txt", os.urandom(50_000).hex().encode())])
        hand.assistant("Helper", stores=[store])
    box.behave(serve_assistants_files=True, oddities=frozenset({Oddity.ECHOES_KEY}))
    pack(disk / "b.tar.zst", [File(id="file-1"), File(id="file-2", data=os.urandom(30_000))])
    (disk / "code.py").write_text("x = 'asst_1'\n")
    commands = [*COMMANDS, ["plan", "b.tar.zst", "-o", "p.json"], ["verify", "b.tar.zst", "--rehearse"], *LOCAL[:6]]
    done = []
    for argv in commands:
        left = os.statvfs(disk).f_bavail * 4096 - (room << 10)
        (disk / "filler").write_bytes(bytes(max(left, 0)))
        accounts = () if argv[0] in {name for name, *_ in LOCAL} or "--rehearse" in argv else ("--env-file", "none")
        done.append(holdall(*argv, *accounts))
        assert not leaks(disk, done[-1]), argv
        (disk / "filler").unlink()
    codes = {one.code for one in done}
    assert codes <= {0, 2, 3, 4, 14, 15, *range(20, 40)}, [(one.code, one.err[-300:]) for one in done]
    assert 15 in codes, "no command met the full disk"
