"""Skills, of which nobody outside OpenAI knows everything: for most of what fails here, the sandbox has a switch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.endpoints import Endpoint
from tests.project import skill_zip
from tests.sandbox.wire import Answer, parts

SANDBOX = "docs/sandbox.md"
NAME = "holdall-contract"
FIRST = skill_zip(NAME, {"notes.txt": b"first"})
SECOND = skill_zip(f"{NAME}-2", {"notes.txt": b"second"})


def sent(endpoint: Endpoint, path: str, data: bytes, **fields: str) -> Answer:
    body, headers = parts([("files", "skill.zip", data)], **fields)
    return endpoint.ask("POST", path, body, headers=headers)


@pytest.fixture
def skill(endpoint: Endpoint) -> Any:
    """A skill with two versions, of which the first is the default, as it was made."""
    made = sent(endpoint, "/skills", FIRST)
    if made.status == 404:
        pytest.skip("no skills there")
    assert made.status == 200, made.body[:1000]
    assert sent(endpoint, f"/skills/{made.json()['id']}/versions", SECOND).status == 200
    return made.json()


@pytest.mark.fact(SANDBOX, "a skill is called as its SKILL.md says, and its versions are counted from 1")
def test_a_skill(endpoint: Endpoint, skill: Any) -> None:
    assert set(skill) == {"id", "object", "name", "description", "created_at", "default_version", "latest_version"}
    assert (skill["object"], skill["name"], skill["default_version"], skill["latest_version"]) == (
        "skill",
        NAME,
        "1",
        "1",
    )
    version = endpoint.get(f"/skills/{skill['id']}/versions/2")
    assert (version["object"], version["skill_id"], version["version"]) == ("skill.version", skill["id"], "2")
    listed = endpoint.get(f"/skills/{skill['id']}/versions?order=asc&limit=1")
    assert ([each["version"] for each in listed["data"]], listed["has_more"]) == (["1"], True)
    rest = endpoint.get(f"/skills/{skill['id']}/versions?order=asc&after={listed['last_id']}")
    assert ([each["version"] for each in rest["data"]], rest["has_more"]) == (["2"], False)


@pytest.mark.fact(
    SANDBOX, "skill_zips_repacked: a version's zip comes back byte for byte; without a number, the default's"
)
def test_the_zips_of_a_skill(endpoint: Endpoint, skill: Any) -> None:
    found = [
        endpoint.ask("GET", f"/skills/{skill['id']}{of}/content").body for of in ("/versions/1", "/versions/2", "")
    ]
    assert found == [FIRST, SECOND, FIRST]


@pytest.mark.fact(SANDBOX, "new_skill_version_is_default and skill_named_by: a new version changes neither")
def test_a_new_version_of_a_skill(endpoint: Endpoint, skill: Any) -> None:
    shown = endpoint.get(f"/skills/{skill['id']}")
    assert (shown["default_version"], shown["latest_version"], shown["name"]) == ("1", "2", NAME)
    changed = endpoint.create(f"/skills/{skill['id']}", {"default_version": "2"})
    assert (changed["default_version"], changed["name"]) == ("2", f"{NAME}-2")


@pytest.mark.fact(SANDBOX, "the default version is not deleted, and a number is not used again")
def test_deleting_a_version_of_a_skill(endpoint: Endpoint, skill: Any) -> None:
    versions = f"/skills/{skill['id']}/versions"
    assert endpoint.ask("DELETE", f"{versions}/1").status == 400
    gone = endpoint.ask("DELETE", f"{versions}/2")
    assert gone.json() == {**gone.json(), "object": "skill.version.deleted", "deleted": True, "version": "2"}
    assert sent(endpoint, versions, SECOND).json()["version"] == "3"


@pytest.mark.fact(SANDBOX, "unique_names: names of skills may repeat")
def test_a_second_skill_of_a_name(endpoint: Endpoint, skill: Any) -> None:
    assert sent(endpoint, "/skills", FIRST).json()["name"] == skill["name"]


@pytest.mark.fact(f"{SANDBOX}, What is refused", "a skill without SKILL.md in its single top-level folder: 400")
@pytest.mark.parametrize("path", ["SKILL.md", "a/b/SKILL.md", "a/README.md"])
def test_a_folder_that_is_no_skill(endpoint: Endpoint, skill: Any, path: str) -> None:
    body, headers = parts([("files[]", path, b"---\nname: x\ndescription: d\n---\n")])
    answer = endpoint.ask("POST", "/skills", body, headers=headers)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
