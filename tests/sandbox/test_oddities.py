"""Each oddity, seen over the wire beside what the true server says."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.layer import ANSWERS, REQUESTS
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from holdall.sandbox.service.switches import Variation
from tests.sandbox.wire import KEY, Answer, ask, form, upload
from tests.waiting import STANDSTILL

TEXT = " ".join(f"word{number}" for number in range(900))


class Clock:
    """Stands still, so that a second upload is within the second."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Shelf:
    """A project with one of everything, and a true and an odd look at it."""

    def __init__(self, box: Running) -> None:
        self.box = box
        box.behave(index_failures=("broken*",))
        self.files = [upload(box.url, f"Prüf {n}.txt", TEXT.encode()).json()["id"] for n in range(5)]
        self.files.append(upload(box.url, "broken.txt", b"x").json()["id"])
        metadata = {"purpose": "y" * 100}
        self.store = self.post("/vector_stores", {"name": "s", "file_ids": self.files, "metadata": metadata})["id"]
        schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
        self.assistant = self.post(
            "/assistants", {"model": "gpt-4o", "response_format": schema, "instructions": "z" * 100, "metadata": {}}
        )["id"]
        self.text = f"/vector_stores/{self.store}/files/{self.files[0]}/content"

    def post(self, path: str, body: object) -> Any:
        answer = ask(self.box.url, "POST", path, body)
        assert answer.status in (200, 201), answer.body
        return answer.json()

    def get(self, path: str) -> Any:
        answer = ask(self.box.url, "GET", path)
        assert answer.status == 200, answer.body
        return answer.json()

    def raw(self, method: str, path: str, body: object = None) -> Answer:
        return ask(self.box.url, method, path, body)

    def ids(self, query: str = "") -> list[str]:
        return [each["id"] for each in self.get(f"/vector_stores/{self.store}/files{query}")["data"]]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with Running(tmp_path_factory.mktemp("oddities"), clock=Clock()) as box:
        yield Shelf(box)


@pytest.fixture(autouse=True)
def true_again(shelf: Shelf) -> Iterator[None]:
    yield
    shelf.box.behave(**msgspec.structs.asdict(Behaviour()) | {"index_failures": ("broken*",)})


Check = Callable[[Shelf], None]
CHECKS: dict[Oddity, Check] = {}


def shows(oddity: Oddity) -> Callable[[Check], Check]:
    def kept(check: Check) -> Check:
        CHECKS[oddity] = check
        return check

    return kept


@pytest.mark.parametrize("oddity", list(Oddity), ids=str)
def test_each(shelf: Shelf, oddity: Oddity) -> None:
    shelf.box.behave(oddities=frozenset({oddity}))
    CHECKS[oddity](shelf)


@shows(Oddity.LIST_NO_HAS_MORE)
def _(shelf: Shelf) -> None:
    assert set(shelf.get("/assistants")) == {"object", "data"}


@shows(Oddity.LIST_NO_OBJECT)
def _(shelf: Shelf) -> None:
    assert set(shelf.get("/files")) == {"data", "has_more", "first_id", "last_id"}


@shows(Oddity.LIST_ALWAYS_MORE)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/vector_stores?after={shelf.store}") == {
        "object": "list",
        "data": [],
        "has_more": True,
        "first_id": None,
        "last_id": None,
    }


@shows(Oddity.LIST_CURSOR_EMPTY)
def _(shelf: Shelf) -> None:
    assert shelf.ids("?limit=2&order=asc") == shelf.files[:2]
    assert shelf.ids(f"?limit=2&order=asc&after={shelf.files[1]}") == []


@shows(Oddity.LIST_CURSOR_FIRST_PAGE)
def _(shelf: Shelf) -> None:
    assert shelf.ids(f"?limit=2&order=asc&after={shelf.files[1]}") == shelf.files[:2]


@shows(Oddity.LIST_CURSOR_REFUSED)
def _(shelf: Shelf) -> None:
    for name in ("after", "before"):
        refused = shelf.raw("GET", f"/assistants?{name}={shelf.assistant}")
        assert (refused.status, refused.error["param"]) == (400, name)


@shows(Oddity.LIST_REPEATS_PAGE)
def _(shelf: Shelf) -> None:
    pages = [shelf.ids("?limit=2&order=asc")]
    for after in (1, 1, 3, 3, 5):
        pages.append(shelf.ids(f"?limit=2&order=asc&after={shelf.files[after]}"))
    first, second, third = shelf.files[:2], shelf.files[2:4], shelf.files[4:]
    assert pages == [first, first, second, second, third, third]


@shows(Oddity.LIST_DESC_SKIPS)
def _(shelf: Shelf) -> None:
    assert shelf.ids("?order=asc") == shelf.files
    newest = shelf.files[::-1]
    assert shelf.ids() == [newest[0], newest[0], newest[2], newest[2], newest[4], newest[4]]


@shows(Oddity.LIST_SHORT_PAGES)
def _(shelf: Shelf) -> None:
    page = shelf.get("/files?limit=100&order=asc")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (shelf.files[:3], True)


@shows(Oddity.LIST_EVERYTHING)
def _(shelf: Shelf) -> None:
    page = shelf.get("/files?limit=1&order=asc")
    assert [each["id"] for each in page["data"]] == shelf.files
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, shelf.files[0], shelf.files[-1])


@shows(Oddity.LIST_UNPAGED)
def _(shelf: Shelf) -> None:
    for query in ("", "?limit=1&order=asc", f"?after={shelf.files[0]}"):
        assert shelf.get(f"/files{query}").keys() == {"object", "data"}
        assert shelf.ids(query) == shelf.files[::-1]


@shows(Oddity.BATCH_IGNORES_FILES)
def _(shelf: Shelf) -> None:
    store = shelf.post("/vector_stores", {})["id"]
    batch = shelf.post(f"/vector_stores/{store}/file_batches", {"files": [{"file_id": shelf.files[0]}]})
    assert (batch["status"], batch["file_counts"]["total"]) == ("completed", 0)
    assert shelf.get(f"/vector_stores/{store}/file_batches/{batch['id']}")["file_counts"]["total"] == 0
    batch = shelf.post(f"/vector_stores/{store}/file_batches", {"file_ids": [shelf.files[0]]})
    assert batch["file_counts"]["total"] == 1


@shows(Oddity.STORE_IGNORES_FILES)
def _(shelf: Shelf) -> None:
    assert shelf.post("/vector_stores", {"file_ids": shelf.files})["file_counts"]["total"] == 0


@shows(Oddity.INLINE_STORES_IGNORED)
def _(shelf: Shelf) -> None:
    inline = {"file_search": {"vector_stores": [{"file_ids": shelf.files}]}}
    made = shelf.post("/assistants", {"model": "gpt-4o", "tool_resources": inline})
    assert made["tool_resources"] == {"file_search": {"vector_store_ids": []}}


@shows(Oddity.EXPIRES_AFTER_IGNORED)
def _(shelf: Shelf) -> None:
    assert (
        shelf.post("/vector_stores", {"expires_after": {"anchor": "last_active_at", "days": 1}})["expires_at"] is None
    )


@shows(Oddity.METADATA_IGNORED)
def _(shelf: Shelf) -> None:
    assert shelf.post("/assistants", {"model": "gpt-4o", "metadata": {"k": "v"}})["metadata"] == {}
    assert shelf.post("/vector_stores", {"metadata": {"k": "v"}})["metadata"] == {}


@shows(Oddity.DESCRIPTION_IGNORED)
def _(shelf: Shelf) -> None:
    assert shelf.post("/assistants", {"model": "gpt-4o", "description": "d"})["description"] is None


@shows(Oddity.REASONING_EFFORT_IGNORED)
def _(shelf: Shelf) -> None:
    assert shelf.post("/assistants", {"model": "o3", "reasoning_effort": "high"})["reasoning_effort"] == "medium"


@shows(Oddity.ATTRIBUTES_IGNORED)
def _(shelf: Shelf) -> None:
    store, file = shelf.post("/vector_stores", {})["id"], shelf.files[0]
    wanted = {"file_id": file, "attributes": {"a": 1}}
    assert shelf.post(f"/vector_stores/{store}/files", wanted)["attributes"] == {}
    shelf.post(f"/vector_stores/{store}/file_batches", {"files": [wanted]})
    shelf.post(f"/vector_stores/{store}/files/{file}", {"attributes": {"a": 1}})
    assert shelf.get(f"/vector_stores/{store}/files/{file}")["attributes"] == {}


@shows(Oddity.NULL_REFUSED)
def _(shelf: Shelf) -> None:
    function = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"default": None}}}}
    whole = {"model": "gpt-4o", "tools": [{"type": "function", "function": function}]}
    shelf.post("/assistants", whole)
    assert shelf.raw("POST", "/assistants", {**whole, "name": None}).status == 400
    assert shelf.raw("POST", "/vector_stores", {"expires_after": None}).status == 400
    function["strict"] = None
    assert shelf.raw("POST", "/assistants", whole).status == 400
    shelf.post(f"/assistants/{shelf.assistant}", {"name": None})


@shows(Oddity.UNKNOWN_FILE_ACCEPTED)
def _(shelf: Shelf) -> None:
    store = shelf.post("/vector_stores", {"file_ids": [shelf.files[0], "file-nowhere"]})["id"]
    listed = {each["id"]: each["status"] for each in shelf.get(f"/vector_stores/{store}/files")["data"]}
    assert listed == {shelf.files[0]: "completed", "file-nowhere": "failed"}
    assert shelf.raw("GET", "/files/file-nowhere").status == 404
    assert shelf.raw("GET", f"/vector_stores/{store}/files/file-nowhere/content").status == 404


@shows(Oddity.SAME_BYTES_SAME_ID)
def _(shelf: Shelf) -> None:
    first = upload(shelf.box.url, "a.txt", b"the same").json()
    assert upload(shelf.box.url, "b.txt", b"the same").json() == first
    assert upload(shelf.box.url, "b.txt", b"the game").json()["id"] != first["id"]


@shows(Oddity.ONE_UPLOAD_A_SECOND)
def _(shelf: Shelf) -> None:
    assert upload(shelf.box.url, "a.txt", b"1").status == 200
    refused = upload(shelf.box.url, "a.txt", b"2")
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert "retry-after" not in refused.headers


@shows(Oddity.UPLOAD_LOWER_CASE)
def _(shelf: Shelf) -> None:
    assert "Invalid extension TXT" in upload(shelf.box.url, "A.TXT", b"x").error["message"]
    assert upload(shelf.box.url, "A.txt", b"x").status == 200


def _attached(shelf: Shelf, filename: str) -> Answer:
    file = upload(shelf.box.url, filename, b"x").json()["id"]
    store = shelf.post("/vector_stores", {})["id"]
    return shelf.raw("POST", f"/vector_stores/{store}/files", {"file_id": file})


@shows(Oddity.SEARCH_LOWER_CASE)
def _(shelf: Shelf) -> None:
    assert _attached(shelf, "A.TXT").error["code"] == "unsupported_file"
    assert _attached(shelf, "A.txt").status == 200


@shows(Oddity.INDEX_LOWER_CASE)
def _(shelf: Shelf) -> None:
    assert _attached(shelf, "A.TXT").json()["last_error"]["code"] == "unsupported_file"
    assert _attached(shelf, "A.txt").json()["last_error"] is None


@shows(Oddity.BATCH_500)
def _(shelf: Shelf) -> None:
    where, file = f"/vector_stores/{shelf.post('/vector_stores', {})['id']}/file_batches", shelf.files[0]
    assert shelf.raw("POST", where, {"files": [{"file_id": file}]}).status == 500
    assert shelf.raw("POST", where, {"file_ids": [file]}).status == 200


@shows(Oddity.REFUSED_UPLOAD_BREAKS_LIST)
def _(shelf: Shelf) -> None:
    key = "sk-broken-0001"
    assert ask(shelf.box.url, "GET", "/files", key=key).status == 200
    assert upload(shelf.box.url, "a.txt", b"1", key=key, purpose="assistants_output").status == 400
    assert ask(shelf.box.url, "GET", "/files", key=key).status == 500
    assert shelf.raw("GET", "/files").status == 200


@shows(Oddity.FAILURES_COUNT_AS_COMPLETED)
def _(shelf: Shelf) -> None:
    counts = shelf.get(f"/vector_stores/{shelf.store}")["file_counts"]
    assert (counts["completed"], counts["failed"], counts["total"]) == (6, 0, 6)
    assert len(shelf.get(f"/vector_stores/{shelf.store}/files?filter=failed")["data"]) == 1


@shows(Oddity.STORE_STAYS_IN_PROGRESS)
def _(shelf: Shelf) -> None:
    store = shelf.post("/vector_stores", {})["id"]
    assert shelf.get(f"/vector_stores/{store}")["status"] == "completed"
    shelf.post(f"/vector_stores/{store}", {"name": "t"})
    assert shelf.get(f"/vector_stores/{store}")["status"] == "in_progress"
    assert {each["id"] for each in shelf.get("/vector_stores")["data"] if each["status"] == "in_progress"} == {store}


@shows(Oddity.COUNTS_CONTRADICT)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/vector_stores/{shelf.store}")["file_counts"]["total"] == 8
    assert len(shelf.ids()) == 6


@shows(Oddity.METADATA_OWN_KEYS)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/assistants/{shelf.assistant}")["metadata"] == {"_server_revision": "1"}


@shows(Oddity.METADATA_RESERVED)
def _(shelf: Shelf) -> None:
    assert {"provider_id", "embedding_model", "purpose"} <= set(shelf.get(f"/vector_stores/{shelf.store}")["metadata"])
    refused = shelf.raw("POST", "/vector_stores", {"metadata": {"embedding_model": "m"}})
    assert (refused.status, refused.error["param"]) == (400, "metadata")


@shows(Oddity.METADATA_MANY_KEYS)
def _(shelf: Shelf) -> None:
    assert len(shelf.get(f"/vector_stores/{shelf.store}")["metadata"]) == 21


@shows(Oddity.NUMBERS_AS_FLOATS)
def _(shelf: Shelf) -> None:
    answer = shelf.raw("GET", f"/vector_stores/{shelf.store}/files/{shelf.files[0]}")
    assert b'"max_chunk_size_tokens":800.0' in answer.body
    assert b'"bytes":1.0' in shelf.raw("GET", f"/files/{shelf.files[-1]}").body


@shows(Oddity.STRINGS_CUT)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/assistants/{shelf.assistant}")["instructions"] == "z" * 60
    assert shelf.get("/vector_stores?order=asc")["data"][0]["metadata"] == {"purpose": "y" * 60}


@shows(Oddity.SCHEMA_RENAMED)
def _(shelf: Shelf) -> None:
    wanted = shelf.get(f"/assistants/{shelf.assistant}")["response_format"]["json_schema"]
    assert (wanted["schema_"], "schema" in wanted) == ({"type": "object"}, False)


@shows(Oddity.TOOLS_NULL)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/assistants/{shelf.assistant}")["tools"] is None


@shows(Oddity.RESOURCES_NULL)
def _(shelf: Shelf) -> None:
    expected = {"code_interpreter": None, "file_search": None}
    assert shelf.get(f"/assistants/{shelf.assistant}")["tool_resources"] == expected


@shows(Oddity.COUNTS_ZERO)
def _(shelf: Shelf) -> None:
    assert set(shelf.get(f"/vector_stores/{shelf.store}")["file_counts"].values()) == {0}


@shows(Oddity.COUNTS_LEFT_OUT)
def _(shelf: Shelf) -> None:
    assert "file_counts" not in shelf.get(f"/vector_stores/{shelf.store}")


@shows(Oddity.ATTRIBUTES_OWN_KEYS)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/vector_stores/{shelf.store}/files/{shelf.files[0]}")["attributes"] == {"_server_revision": 1}


@shows(Oddity.DEFAULTS_LEFT_OUT)
def _(shelf: Shelf) -> None:
    shown = shelf.get(f"/assistants/{shelf.assistant}")
    assert shown.keys() == {"id", "object", "created_at", "model", "response_format", "instructions"}
    body = {"model": "gpt-4o", "temperature": 0.5, "tools": [{"type": "file_search"}]}
    assert shelf.post("/assistants", body).keys() == {"id", "object", "created_at", "model", "temperature", "tools"} | {
        "tool_resources"
    }


@shows(Oddity.SEARCH_OWN_IDS)
def _(shelf: Shelf) -> None:
    found = shelf.post(f"/vector_stores/{shelf.store}/search", {"query": "word1"})["data"]
    assert {hit["file_id"][:6] for hit in found} == {"chunk-"}
    assert {hit["filename"] for hit in found} <= {f"Prüf {n}.txt" for n in range(5)}


@shows(Oddity.SEARCH_BARE)
def _(shelf: Shelf) -> None:
    found = shelf.post(f"/vector_stores/{shelf.store}/search", {"query": "word1"})["data"]
    assert {hit["file_id"][:6] for hit in found} == {"chunk-"}
    assert not any("filename" in hit for hit in found)


@shows(Oddity.EXTRA_KEYS)
def _(shelf: Shelf) -> None:
    page = shelf.get("/vector_stores?order=asc")
    assert "tenant" in page
    assert "tenant" in page["data"][0]
    assert "tenant" in page["data"][0]["file_counts"]
    assert "tenant" not in page["data"][0]["metadata"]
    assert "tenant" in shelf.get(shelf.text)["data"][0]


@shows(Oddity.ECHOES_KEY)
def _(shelf: Shelf) -> None:
    echo = shelf.get("/vector_stores?order=asc")["data"][0]["x_caller"]
    assert echo["key"] == KEY
    assert base64.b64decode(echo["authorization"].removeprefix("Basic ")).decode() == f"user:{KEY}"
    assert unquote(echo["url"]) == KEY


@shows(Oddity.ID_UNDERSCORE)
def _(shelf: Shelf) -> None:
    file = upload(shelf.box.url, "a.txt", b"x").json()["id"]
    assert file.startswith("file_")
    assert shelf.get(f"/files/{file}")["id"] == file


@shows(Oddity.ID_HEX)
def _(shelf: Shelf) -> None:
    assert len(bytes.fromhex(shelf.post("/vector_stores", {})["id"])) == 12


@shows(Oddity.ID_UUID)
def _(shelf: Shelf) -> None:
    assert shelf.post("/assistants", {"model": "gpt-4o"})["id"].count("-") == 4


@shows(Oddity.ID_ASSISTANT)
def _(shelf: Shelf) -> None:
    assert upload(shelf.box.url, "a.txt", b"x").json()["id"].startswith("assistant-")


@shows(Oddity.CREATED_IN_MILLISECONDS)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/files/{shelf.files[0]}")["created_at"] == Clock.now * 1000


@shows(Oddity.CREATED_AS_FLOAT)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/assistants/{shelf.assistant}")["created_at"] == Clock.now + 0.123456


@shows(Oddity.BYTES_WRONG)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/files/{shelf.files[-1]}")["bytes"] == 8


@shows(Oddity.FILENAMES_ASCII)
def _(shelf: Shelf) -> None:
    assert shelf.get(f"/files/{shelf.files[0]}")["filename"] == "Prf 0.txt"


@shows(Oddity.TEXT_OVERLAPS)
def _(shelf: Shelf) -> None:
    left, right = (item["text"] for item in shelf.get(shelf.text)["data"][:2])
    assert left[-1600:] == right[:1600]


@shows(Oddity.TEXT_CUT_BY_BYTES)
def _(shelf: Shelf) -> None:
    file = upload(shelf.box.url, "umlauts.txt", ("x" + "ö" * 3000).encode()).json()["id"]
    store = shelf.post("/vector_stores", {"name": "t", "file_ids": [file]})["id"]
    left, right = (item["text"] for item in shelf.get(f"/vector_stores/{store}/files/{file}/content")["data"][:2])
    assert (left[-1], right[0]) == ("\ufffd", "\ufffd")
    assert left[-700:-1] == right[1:700]


@shows(Oddity.TEXT_OTHER_SHAPE)
def _(shelf: Shelf) -> None:
    answer = shelf.get(shelf.text)
    assert set(answer) == {"file_id", "filename", "attributes", "content"}
    assert "".join(item["text"] for item in answer["content"]) == TEXT


@shows(Oddity.TEXT_501)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", shelf.text).status == 501


@shows(Oddity.TEXT_404)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", shelf.text).status == 404


@shows(Oddity.TEXT_TOKEN_STUCK)
def _(shelf: Shelf) -> None:
    first = shelf.get(shelf.text)
    assert first["has_more"] is True
    assert shelf.get(f"{shelf.text}?page={first['next_page']}") == first


@shows(Oddity.TEXT_MORE_WITHOUT_TOKEN)
def _(shelf: Shelf) -> None:
    answer = shelf.get(shelf.text)
    assert (answer["has_more"], answer["next_page"]) == (True, None)


@shows(Oddity.MISSING_400)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", "/files/file-x").status == 400
    assert shelf.raw("GET", "/nothing").status == 404


@shows(Oddity.MISSING_500)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", "/vector_stores/vs_x").status == 500


@shows(Oddity.MISSING_NULL)
def _(shelf: Shelf) -> None:
    answer = shelf.raw("GET", "/assistants/asst_x")
    assert (answer.status, answer.body) == (200, b"null")


@shows(Oddity.DELETES_ANYTHING)
def _(shelf: Shelf) -> None:
    assert shelf.raw("DELETE", "/files/file-x").json()["deleted"] is True
    assert shelf.raw("GET", "/files/file-x").status == 404


@shows(Oddity.DELETE_404)
def _(shelf: Shelf) -> None:
    assert shelf.raw("DELETE", f"/files/{shelf.files[0]}").status == 404
    assert shelf.raw("GET", f"/files/{shelf.files[0]}").status == 200


@shows(Oddity.DELETE_FALSE)
def _(shelf: Shelf) -> None:
    assert shelf.raw("DELETE", f"/files/{shelf.files[0]}").json()["deleted"] is False
    assert shelf.raw("GET", f"/files/{shelf.files[0]}").status == 200


@shows(Oddity.DELETE_IGNORED)
def _(shelf: Shelf) -> None:
    assert shelf.raw("DELETE", f"/files/{shelf.files[0]}").json()["deleted"] is True
    assert shelf.raw("GET", f"/files/{shelf.files[0]}").status == 200


@shows(Oddity.DELETE_204)
def _(shelf: Shelf) -> None:
    answer = shelf.raw("DELETE", f"/files/{shelf.files[0]}")
    assert (answer.status, answer.body) == (204, b"")
    assert shelf.raw("GET", f"/files/{shelf.files[0]}").status == 404


def _refusal(shelf: Shelf) -> Answer:
    answer = shelf.raw("GET", "/assistants/asst_x")
    assert answer.status == 404
    assert int(answer.headers["content-length"]) == len(answer.body)
    return answer


MESSAGE = "No assistant found with id 'asst_x'."


@shows(Oddity.ERROR_DETAIL)
def _(shelf: Shelf) -> None:
    assert _refusal(shelf).json() == {"detail": MESSAGE}


@shows(Oddity.ERROR_TEXT)
def _(shelf: Shelf) -> None:
    assert _refusal(shelf).json() == {"error": MESSAGE}


@shows(Oddity.ERROR_FLAT)
def _(shelf: Shelf) -> None:
    assert _refusal(shelf).json() == {"message": MESSAGE, "code": 404}


@shows(Oddity.ERROR_PLAIN)
def _(shelf: Shelf) -> None:
    assert _refusal(shelf).body == MESSAGE.encode()


@shows(Oddity.ERROR_HTML)
def _(shelf: Shelf) -> None:
    answer = _refusal(shelf)
    assert answer.headers["content-type"] == "text/html"
    assert b"<h1>No assistant found" in answer.body


@shows(Oddity.ERROR_EMPTY)
def _(shelf: Shelf) -> None:
    assert _refusal(shelf).body == b""


@shows(Oddity.UNKNOWN_405)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", "/agents").status == 405
    assert shelf.raw("GET", "/files/file-x").status == 404


@shows(Oddity.UNKNOWN_500)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", "/agents").status == 500
    assert shelf.raw("GET", "/files/file-x").status == 404


@shows(Oddity.UNKNOWN_501)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", "/nowhere").status == 501


@shows(Oddity.UNKNOWN_PAGE)
def _(shelf: Shelf) -> None:
    page = shelf.raw("GET", "/agents")
    assert (page.status, page.headers["content-type"]) == (200, "text/html")
    assert page.body.startswith(b"<!doctype html>")


@shows(Oddity.DELETE_NO_TYPE)
def _(shelf: Shelf) -> None:
    assert "Body cannot be empty" in shelf.raw("DELETE", "/assistants/asst_x").error["message"]


@shows(Oddity.BETA_MISPLACED)
def _(shelf: Shelf) -> None:
    assert shelf.raw("GET", "/files").error["code"] == "invalid_beta"
    assert shelf.raw("GET", "/assistants").status == 200


@shows(Oddity.REFUSAL_NAMES_MODEL)
def _(shelf: Shelf) -> None:
    refused = shelf.raw("POST", "/assistants", {"model": "o3", "temperature": 1.0}).error
    assert (refused["param"], refused["code"]) == ("model", "unsupported_model")
    assert "'temperature'" in refused["message"]
    assert shelf.raw("POST", "/assistants", {"model": "gpt-4o", "tools": 3}).error["param"] == "tools"


@shows(Oddity.STATUS_201)
def _(shelf: Shelf) -> None:
    assert shelf.raw("POST", "/vector_stores", {}).status == 201
    assert upload(shelf.box.url, "a.txt", b"x").status == 201
    assert shelf.raw("GET", "/vector_stores").status == 200


@shows(Oddity.DROPS_AFTER_ERROR)
def _(shelf: Shelf) -> None:
    where = urlsplit(shelf.box.url)
    headers = {"Authorization": f"Bearer {KEY}"}
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=STANDSTILL)
    try:
        for _ in range(2):
            connection.request("GET", "/v1/files", headers=headers)
            assert len(connection.getresponse().read()) > 2
        connection.request("GET", "/v1/files/file-x", headers=headers)
        assert connection.getresponse().read()
        connection.auto_open = 0
        connection.request("GET", "/v1/files", headers=headers)
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            connection.getresponse()
    finally:
        connection.close()
    assert shelf.raw("GET", "/files").status == 200


@shows(Oddity.HALF_CHARACTERS)
def _(shelf: Shelf) -> None:
    file = upload(shelf.box.url, "odd \U0001f600.txt", "end \U0001f600".encode()).json()["id"]
    store = shelf.post("/vector_stores", {"file_ids": [file]})["id"]
    assert rb'"odd \ud83d.txt"' in shelf.raw("GET", f"/files/{file}").body
    assert rb'"end \ud83d"' in shelf.raw("GET", f"/vector_stores/{store}/files/{file}/content").body


@shows(Oddity.FILES_NAN)
def _(shelf: Shelf) -> None:
    assert b'"x_score": NaN' in shelf.raw("GET", "/files").body
    assert b"NaN" not in shelf.raw("GET", "/vector_stores").body


@shows(Oddity.FILES_LATIN_1)
def _(shelf: Shelf) -> None:
    assert "Prüf 1.txt".encode("latin-1") in shelf.raw("GET", f"/files/{shelf.files[1]}").body


@shows(Oddity.PADDED)
def _(shelf: Shelf) -> None:
    body = shelf.raw("GET", "/files").body
    assert body.startswith(b"\xef\xbb\xbf\n\n{")
    assert body.endswith(b"}\r\n")


def test_all_at_once_still_answer(shelf: Shelf) -> None:
    shelf.box.behave(oddities=frozenset(Oddity) - {Oddity.BETA_MISPLACED})
    assert shelf.raw("GET", "/assistants").status == 200
    assert shelf.raw("GET", "/files/file-x").status in (200, 400)
    assert shelf.raw("POST", "/vector_stores", {"name": "s"}).status == 201
    assert shelf.raw("POST", "/vector_stores", b"{").status == 400
    body, headers = form("a.txt", b"x", purpose="assistants")
    assert ask(shelf.box.url, "POST", "/files", body, headers=headers, key="sk-another-0001").status == 201


def test_a_body_that_is_no_json_is_refused_as_ever(shelf: Shelf) -> None:
    shelf.box.behave(oddities=frozenset({Oddity.DESCRIPTION_IGNORED}))
    assert "could not parse the JSON body" in shelf.raw("POST", "/assistants", b"{").error["message"]
    assert shelf.raw("POST", "/assistants", b"null").error["code"] == "invalid_type"


def test_every_oddity_is_done_somewhere() -> None:
    inside = {*Variation, Oddity.DROPS_AFTER_ERROR}
    assert {*REQUESTS, *ANSWERS, *inside} == {*Oddity}
