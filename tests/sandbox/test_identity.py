"""Keys and projects."""

from __future__ import annotations

from pathlib import Path

from holdall.sandbox.server import Running
from tests.sandbox.wire import Answer, ask, upload

SOURCE, DESTINATION, USER = "sk-source-0001", "sk-destination-0001", "sk-user-0001"


def who(answer: Answer) -> tuple[str, str]:
    return answer.headers["openai-organization"], answer.headers["openai-project"]


def test_each_key_is_a_project(box: Running) -> None:
    file = upload(box.url, "a.txt", b"x", key=SOURCE).json()["id"]
    store = ask(box.url, "POST", "/vector_stores", {}, key=SOURCE).json()["id"]
    assistant = ask(box.url, "POST", "/assistants", {"model": "gpt-4o"}, key=SOURCE).json()["id"]
    for path, id_ in (("/files", file), ("/vector_stores", store), ("/assistants", assistant)):
        assert ask(box.url, "GET", path, key=DESTINATION).json()["data"] == []
        assert ask(box.url, "GET", f"{path}/{id_}", key=DESTINATION).status == 404
        assert ask(box.url, "DELETE", f"{path}/{id_}", key=DESTINATION).status == 404
        assert ask(box.url, "GET", f"{path}/{id_}", key=SOURCE).status == 200
    assert ask(box.url, "POST", "/vector_stores", {"file_ids": [file]}, key=DESTINATION).status == 404


def test_headers_of_an_answer(box: Running) -> None:
    first, second = ask(box.url, "GET", "/files"), ask(box.url, "GET", "/files/file-x")
    assert who(first) == who(second)
    organization, project = who(first)
    assert organization.startswith("org-")
    assert project.startswith("proj_")
    for answer in (first, second):
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["openai-version"] == "2020-10-01"
        assert int(answer.headers["openai-processing-ms"]) >= 0
        assert int(answer.headers["x-ratelimit-limit-requests"]) > 0
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert not set(who(ask(box.url, "GET", "/files", key=DESTINATION))) & {organization, project}


def test_a_project_is_the_same_after_a_restart_and_another_in_another_folder(tmp_path: Path) -> None:
    seen = []
    for folder in ("a", "a", "b"):
        with Running(tmp_path / folder) as box:
            seen.append(who(ask(box.url, "GET", "/files")))
    assert seen[0] == seen[1]
    assert not set(seen[0]) & set(seen[2])


def test_keys_that_are_refused(box: Running) -> None:
    assert ask(box.url, "GET", "/files", key=None).error["message"].startswith("You didn't provide an API key.")
    for key in ("sk-short", "pk-something-long-enough", "sk-with space-0001"):
        answer = ask(box.url, "GET", "/files", key=key)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert "openai-organization" not in answer.headers
    answer = ask(box.url, "GET", "/files", key="xk-1234567890abcdef")
    assert "xk-12345*******cdef" in answer.error["message"]


def test_a_revoked_key_is_refused_and_its_project_stays(box: Running) -> None:
    upload(box.url, "a.txt", b"x", key=SOURCE)
    box.revoke(SOURCE)
    assert ask(box.url, "GET", "/files", key=SOURCE).status == 401
    assert ask(box.url, "GET", "/files", key=DESTINATION).status == 200


def test_a_project_key_fits_its_own_headers_only(box: Running) -> None:
    organization, project = who(ask(box.url, "GET", "/files", key=SOURCE))
    other_organization, other = who(ask(box.url, "GET", "/files", key=DESTINATION))
    own = {"OpenAI-Organization": organization, "OpenAI-Project": project}
    assert ask(box.url, "GET", "/files", headers=own).status == 200
    wrong = ask(box.url, "GET", "/files", headers={"OpenAI-Project": other})
    assert (wrong.status, wrong.error["code"]) == (401, "mismatched_project")
    wrong = ask(box.url, "GET", "/files", headers={"OpenAI-Organization": other_organization})
    assert (wrong.status, wrong.error["code"]) == (401, "mismatched_organization")


def test_a_user_key_chooses_its_project(box: Running) -> None:
    file = upload(box.url, "a.txt", b"x", key=SOURCE).json()["id"]
    organization, project = who(ask(box.url, "GET", "/files", key=SOURCE))
    chosen = ask(box.url, "GET", f"/files/{file}", key=USER, headers={"OpenAI-Project": project})
    assert (chosen.status, who(chosen)) == (200, (organization, project))
    own = ask(box.url, "GET", f"/files/{file}", key=USER)
    assert own.status == 404
    assert who(own)[1] != project
    unknown = ask(box.url, "GET", "/files", key=USER, headers={"OpenAI-Project": "proj_nowhere"})
    assert (unknown.status, unknown.error["code"]) == (401, "invalid_project")
