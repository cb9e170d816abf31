"""/agents/environments/templates, over the wire; ``test_agents`` asks through the official SDK, which loads slowly."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.project import Hand, skill_zip
from tests.sandbox.wire import KEY, Answer, ask

TODAY = PROFILES["openai-today"]
PLACE = "/agents/environments/templates"
BETA = {"OpenAI-Beta": "agents=v1"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("templates"), behaviour=TODAY, control=True) as running:
        yield running


@pytest.fixture
def server(shared: Running) -> Running:
    shared.behave(**{name: getattr(TODAY, name) for name in Behaviour.__struct_fields__})
    return shared


@pytest.fixture(scope="module")
def hand(shared: Running) -> Iterator[Hand]:
    with Hand(shared.url, KEY) as made:
        yield made


def call(server: Running, method: str, path: str, body: object = None, *, key: str = KEY) -> Answer:
    return ask(server.url, method, PLACE + path, body, headers=BETA, key=key)


def made(server: Running, body: object) -> Any:
    answer = call(server, "POST", "", body)
    assert answer.status == 200, answer.body
    return answer.json()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


SOURCE = {"type": "base64", "media_type": "application/zip", "data": encoded(skill_zip("inline"))}
INLINE = {"type": "inline", "name": "inline", "description": "d", "source": SOURCE}
FILE = {"type": "inline", "path": "/workspace/a/b", "data": encoded(b"secret bytes")}
REFERENCE = {"type": "skill_reference", "skill_id": "skill_1"}
SECRETS: dict[str, Any] = {
    "env": {"API_TOKEN": "hidden value"},
    "setup_commands": [{"command": "hidden command", "cwd": "/hidden/place"}, {"command": "hidden other"}],
    "network": {"access": "restricted", "blocked_domains": ["hidden.example"]},
    "files": [FILE],
    "skills": [INLINE],
    "plugins": [{**INLINE, "name": "plugin"}],
}


def test_a_template_that_refers_to_a_skill_and_a_file(server: Running, hand: Hand) -> None:
    file, skill = hand.file("rates.csv", b"a,b\n", "user_data"), hand.skill("rates", {}, {"more.txt": b"more"})
    found = call(server, "GET", f"/{hand.template('Desk', skills=[skill], files=[file])}").json()
    assert found == {
        "id": found["id"],
        "object": "agent.environment.template",
        "created_at": found["created_at"],
        "updated_at": found["created_at"],
        "name": "Desk",
        "packages": {"python": [], "system": [], "npm": []},
        "capability_directories": [],
        "network": {"access": "enabled", "allowed_domains": []},
        "files": [{"type": "file_id", "file_id": file, "path": f"/workspace/{file}"}],
        "skills": [{"type": "skill_reference", "skill_id": skill}],
        "plugins": [],
    }
    assert found in call(server, "GET", "").json()["data"]


def test_what_is_never_returned_is_kept(server: Running) -> None:
    body = {"name": "n", "desktop": {"enabled": True}, "capability_directories": ["/workspace/x"], **SECRETS}
    answers = [call(server, "POST", "", body)]
    id_ = answers[0].json()["id"]
    assert answers[0].json() == {
        **answers[0].json(),
        "capability_directories": ["/workspace/x"],
        "network": {"access": "restricted", "allowed_domains": []},
        "files": [{"type": "inline", "path": "/workspace/a/b", "size_bytes": 12}],
        "skills": [{"type": "inline", "name": "inline", "description": "d"}],
        "plugins": [{"type": "inline", "name": "plugin", "description": "d"}],
        "desktop": {"enabled": True},
    }
    answers += [call(server, "GET", f"/{id_}"), call(server, "GET", ""), call(server, "POST", f"/{id_}", {"name": "m"})]
    for answer in answers:
        for secret in (b"hidden", b"API_TOKEN", b'"env"', b"setup", b"blocked", FILE["data"].encode(), b"source"):
            assert secret not in answer.body
    assert server.stored_template(id_) == {**body, "name": "m"}
    control = server.url.removesuffix("/v1") + "/_sandbox"
    assert ask(control, "GET", f"/templates/{id_}").json() == {**body, "name": "m"}
    assert ask(control, "GET", "/templates/x").status == 404
    with pytest.raises(KeyError):
        server.stored_template("x")


def test_an_update_leaves_replaces_and_clears(server: Running) -> None:
    first = made(
        server,
        {
            "name": "n",
            "packages": {"python": ["a==1"], "npm": ["b"]},
            "skills": [{**REFERENCE, "version": "2"}, {**REFERENCE, "version": "latest"}],
            "network": {"access": "restricted", "allowed_domains": ["a.example"]},
            "desktop": {"enabled": True},
            "env": {"A": "1", "B": "2"},
        },
    )
    id_ = first["id"]
    assert [skill["version"] for skill in first["skills"]] == ["2", "latest"]

    def updated(body: object) -> Any:
        answer = call(server, "POST", f"/{id_}", body)
        assert answer.status == 200, answer.body
        assert call(server, "GET", f"/{id_}").json() == answer.json()
        return {key: value for key, value in answer.json().items() if key != "updated_at"}

    same = {key: value for key, value in first.items() if key != "updated_at"}
    assert updated({}) == same
    assert updated({"env": {"C": "3"}, "setup_commands": [{"command": "c"}]}) == same
    assert server.stored_template(id_)["env"] == {"C": "3"}
    assert updated({"packages": {"system": ["c"]}}) == {
        **same,
        "packages": {"python": [], "system": ["c"], "npm": []},
    }
    assert updated(dict.fromkeys(("name", "packages", "skills", "network", "desktop", "env"))) == {
        **same,
        "name": None,
        "packages": {"python": [], "system": [], "npm": []},
        "skills": [],
        "network": {"access": "enabled", "allowed_domains": []},
        "desktop": None,
    }
    stored = server.stored_template(id_)
    assert (stored["env"], stored["setup_commands"]) == (None, [{"command": "c"}])


def test_lists_and_deleting(server: Running) -> None:
    key = "sk-of-lists-0001"
    with Hand(server.url, key) as other:
        ids = [other.template("same name") for _ in range(3)]

    def listed(query: str) -> Any:
        found = call(server, "GET", query, key=key).json()
        return [each["id"] for each in found["data"]], found["has_more"]

    assert listed("?limit=2") == (ids[:0:-1], True)
    assert listed(f"?limit=2&after={ids[1]}") == (ids[:1], False)
    assert listed(f"?order=asc&after={ids[0]}") == (ids[1:], False)
    for query in ("?limit=0", "?limit=101", "?after=x", "?order=x"):
        assert call(server, "GET", query, key=key).status == 400
    assert call(server, "GET", f"/{ids[0]}").status == 404, "another project sees it"
    assert call(server, "DELETE", f"/{ids[0]}", key=key).json() == {
        "id": ids[0],
        "object": "agent.environment.template.deleted",
        "deleted": True,
    }
    for method in ("GET", "POST", "DELETE"):
        body = {} if method == "POST" else None
        assert "not found" in call(server, method, f"/{ids[0]}", body, key=key).error["message"]


def test_switches(server: Running, hand: Hand) -> None:
    server.behave(template_network="disabled")
    found = made(server, {"name": "switched"})
    assert found["network"] == {"access": "disabled", "allowed_domains": []}
    server.behave(template_network="enabled", unique_names=True)
    assert call(server, "GET", f"/{found['id']}").json()["network"]["access"] == "disabled"
    reset = call(server, "POST", f"/{found['id']}", {"name": "switched", "network": None}).json()
    assert reset["network"]["access"] == "enabled"
    assert call(server, "POST", "", {"name": "switched"}).error["param"] == "name"
    assert [call(server, "POST", "", {}).status for _ in range(2)] == [200, 200]


def many(count: int, item: Any) -> list[Any]:
    return [item] * count


@pytest.mark.parametrize(
    ("body", "param"),
    [
        *(({key: "x"}, key) for key in ("id", "object", "created_at", "metadata", "description", "container_size")),
        ({"name": "x" * 257}, "name"),
        ({"name": ""}, "name"),
        ({"packages": {"cargo": []}}, "packages.cargo"),
        ({"packages": {"python": "a"}}, "packages.python"),
        ({"capability_directories": ["x" * 4097]}, "capability_directories[0]"),
        ({"network": {}}, "network.access"),
        ({"network": {"access": "on"}}, "network.access"),
        ({"network": {"access": "enabled", "blocked_domains": ["a"]}}, "network.blocked_domains"),
        (
            {"network": {"access": "restricted", "allowed_domains": ["a"], "blocked_domains": ["b"]}},
            "network.blocked_domains",
        ),
        ({"network": {"access": "restricted", "blocked_domains": ["*.a"]}}, "network.blocked_domains"),
        ({"files": many(51, {"type": "file_id", "file_id": "f", "path": "/workspace/f"})}, "files"),
        ({"files": [{"type": "file_id", "file_id": "f" * 257, "path": "/workspace/f"}]}, "files[0].file_id"),
        ({"files": [{"file_id": "f", "path": "/workspace/f"}]}, "files[0].type"),
        ({"files": [{**FILE, "size_bytes": 12}]}, "files[0].size_bytes"),
        ({"files": [{**FILE, "data": "a-b_"}]}, "files[0].data"),
        ({"files": [{**FILE, "data": encoded(bytes(5 * 1024 * 1024 + 1))}]}, "files[0].data"),
        *(
            ({"files": [{**FILE, "path": path}]}, "files[0].path")
            for path in ("", "a", "/etc/x", "/workspace", "/workspace/", "/workspace/../x", "/workspace/" + "x" * 4096)
        ),
        ({"skills": many(201, REFERENCE)}, "skills"),
        ({"skills": [{**REFERENCE, "skill_id": "s" * 65}]}, "skills[0].skill_id"),
        *(({"skills": [{**REFERENCE, "version": each}]}, "skills[0].version") for each in (1, "0", "01", "v1", "")),
        ({"skills": [{"type": "inline", "name": "n", "description": "d"}]}, "skills[0].source"),
        ({"skills": [{**INLINE, "source": {**SOURCE, "media_type": "text/plain"}}]}, "skills[0].source.media_type"),
        ({"plugins": many(33, INLINE)}, "plugins"),
        ({"plugins": [REFERENCE]}, "plugins[0].type"),
        ({"plugins": [{**INLINE, "name": "n" * 65}]}, "plugins[0].name"),
        ({"env": {"A": 1}}, "env.A"),
        ({"env": {"A": "x" * (1024 * 1024 + 1)}}, "env.A"),
        ({"env": {"A" * 257: "x"}}, "env"),
        ({"env": {str(number): "x" for number in range(1025)}}, "env"),
        ({"setup_commands": many(17, {"command": "c"})}, "setup_commands"),
        ({"setup_commands": [{"command": "c" * 65_537}]}, "setup_commands[0].command"),
        ({"setup_commands": [{"command": "c", "cwd": "c" * 4097}]}, "setup_commands[0].cwd"),
        ({"setup_commands": ["c"]}, "setup_commands[0]"),
        ({"desktop": {}}, "desktop.enabled"),
    ],
)
def test_refusals(server: Running, body: dict[str, Any], param: str) -> None:
    for path in ("", f"/{made(server, {})['id']}"):
        answer = call(server, "POST", path, body)
        assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_everything_at_its_limit(server: Running) -> None:
    body = {
        "name": "x" * 256,
        "files": [
            {**FILE, "data": encoded(bytes(5 * 1024 * 1024))},
            *many(49, {"type": "file_id", "file_id": "file-gone", "path": "/workspace/a"}),
        ],
        "skills": many(200, {**REFERENCE, "skill_id": "s" * 64, "version": "10"}),
        "plugins": many(32, INLINE),
        "env": {"A" * 256: "x" * 1024 * 1024, **{str(number): "" for number in range(1023)}},
        "setup_commands": many(16, {"command": "c" * 65_536, "cwd": None}),
    }
    assert made(server, body)["files"][0]["size_bytes"] == 5 * 1024 * 1024


@pytest.mark.thorough
def test_a_zip_of_fifty_megabytes_in_a_template(server: Running) -> None:
    source = {**SOURCE, "data": encoded(bytes(50 * 1024 * 1024))}
    id_ = made(server, {"skills": [{**INLINE, "source": source}]})["id"]
    assert len(server.stored_template(id_)["skills"][0]["source"]["data"]) == len(source["data"])
    source["data"] = encoded(bytes(50 * 1024 * 1024 + 1))
    assert call(server, "POST", "", {"skills": [{**INLINE, "source": source}]}).status == 400
    assert call(server, "POST", "", b" " * ((80 << 20) + 1)).status == 413


def test_the_version_has_to_be_asked_for(server: Running) -> None:
    answer = ask(server.url, "GET", PLACE)
    assert (answer.status, answer.error["code"]) == (400, "invalid_beta")


def test_where_there_are_no_agents(box: Running) -> None:
    assert call(box, "GET", "").status == 404


def test_they_survive_a_restart(tmp_path: Path) -> None:
    with Running(tmp_path, behaviour=TODAY) as box:
        found = made(box, SECRETS)
    with Running(tmp_path, behaviour=TODAY) as box:
        assert call(box, "GET", f"/{found['id']}").json() == found
        assert box.stored_template(found["id"]) == SECRETS
