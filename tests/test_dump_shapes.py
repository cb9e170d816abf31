"""Dumps that are no strict JSON, or that have an assistant in other words than the API's."""

from __future__ import annotations

import json
import pprint
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdall.dumps import Dump, read_dumps
from holdall.errors import UsageFault
from holdall.model import is_invented
from tests.test_dumps import read

A, B = "asst_Rk2mWq8LzT5vXc9Bn3Hd7Jf1", "asst_Zt6pLk3Nw9Qx2Vb8Yc5Md4Hs"
F, G = "file-Pq7Lm2Xn9Rt4Vb6Yc8Wd1K5z", "file-Hs3Jf8Gd5Kt2Zx7Nv9Bm4Qw6"
DESK: dict[str, Any] = {
    "id": A,
    "object": "assistant",
    "created_at": 1718000000,
    "name": "Skipper's desk",
    "description": None,
    "model": "gpt-4o",
    "instructions": 'Answer "briefly".\nSee http://a.example//x # not a comment',
    "tools": [],
    "metadata": {"k": "v"},
    "temperature": 1.0,
}
FERRY = {**DESK, "id": B, "name": "Ferry"}


def records(dump: Dump) -> list[Any]:
    return [json.loads(record.raw) for record in dump.assistants]


def one(text: str | bytes) -> dict[str, Any]:
    (found,) = records(read(text))
    assert isinstance(found, dict)
    return found


def printed(value: Any) -> str:
    """As the Python SDK prints its objects."""
    if isinstance(value, dict) and "object" in value:
        return f"Assistant({', '.join(f'{key}={printed(item)}' for key, item in value.items())})"
    return repr(value)


def logged(value: Any) -> str:
    """As console.log prints objects, as deep as they go."""
    if isinstance(value, dict):
        return "{\n  " + ",\n  ".join(f"{key}: {logged(item)}" for key, item in value.items()) + "\n}"
    if isinstance(value, list):
        return f"[ {', '.join(map(logged, value))} ]" if value else "[]"
    if isinstance(value, str):
        quote = next(mark for mark in "'\"`" if mark not in value)
        lines = value.replace("\\", "\\\\").split("\n")
        return " +\n  ".join(
            f"{quote}{line}{'' if last else chr(92) + 'n'}{quote}"
            for line, last in zip(lines, [False] * (len(lines) - 1) + [True], strict=True)
        )
    return {None: "null", True: "true", False: "false"}.get(value, str(value))


def commented(value: Any) -> str:
    lines = json.dumps(value, indent=2).splitlines()
    return (
        "// ours\n"
        + "".join(
            f"{line} /* a, b */\n" if line.endswith(("{", "[", ",")) else f"{line}, // live\n" for line in lines[:-1]
        )
        + lines[-1]
    )


WRAPPINGS = {
    "as it is": json.dumps,
    "comments and trailing commas": commented,
    "control characters in strings": lambda value: json.dumps(value).replace("\\n", "\n"),
    "Python's print": repr,
    "Python's pprint": lambda value: pprint.pformat(value, width=60),
    "the SDK's print": printed,
    "the SDK's print of a page": lambda value: f"SyncCursorPage[Assistant](data=[{printed(value)}], has_more=False)",
    "console.log": logged,
    "console.log of a page": lambda value: f"AssistantsPage {{\n  options: [Object],\n  data: [ {logged(value)} ]\n}}",
    "in a log": lambda value: f"2024-06-10 08:00:00 [info] created: {json.dumps(value)} (812 ms)\n[info] done\n",
    "after a curl": lambda value: (
        f"$ curl -s https://api.example/v1/assistants\n< HTTP/2 200\n\n{json.dumps(value, indent=2)}\n# real 0m1.2s"
    ),
    "in Markdown": lambda value: (
        f"# Ours\n\nIt's *this* one (see [there](x)):\n\n```json\n{json.dumps(value, indent=1)}\n```\n"
    ),
    "in an answer's text": lambda value: json.dumps(
        {"result": {"content": [{"type": "text", "text": json.dumps(value, indent=2)}]}}
    ),
    "in a string in a string": lambda value: json.dumps({"body": json.dumps({"details": json.dumps(value)})}),
    "in a notebook's output": lambda value: json.dumps(
        {"cells": [{"outputs": [{"text": json.dumps(value, indent=1).splitlines(keepends=True)}]}]}
    ),
    "as bytes in a log": lambda value: f"DEBUG body={json.dumps(value, ensure_ascii=False).encode()!r}",
    "escaped in a log": lambda value: f"DEBUG body={json.dumps(json.dumps(value))} ok",
    "as a list of one, in Terraform": lambda value: json.dumps({"resources": [{"instances": [{"attributes": value}]}]}),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_gives_the_same_assistant(wrapping: str) -> None:
    text = WRAPPINGS[wrapping](DESK)
    assert one(text) == DESK, text
    if "[Object]" not in text and not text.startswith("SyncCursorPage"):
        assert records(read(text + "\n" + WRAPPINGS[wrapping](FERRY))) == [DESK, FERRY]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
definitions = st.fixed_dictionaries(
    {
        "id": st.just(A),
        "object": st.just("assistant"),
        "name": st.text(max_size=30),
        "model": st.text(min_size=1, max_size=10),
        "instructions": st.text(max_size=200),
        "metadata": st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3),
        "response_format": st.fixed_dictionaries(
            {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"schema": json_values})}
        ),
    }
)


@given(
    value=definitions,
    wrapping=st.sampled_from(
        [
            "as it is",
            "comments and trailing commas",
            "Python's print",
            "in a log",
            "in an answer's text",
            "in a string in a string",
            "in Markdown",
        ]
    ),
)
def test_any_definition_comes_out_of_any_wrapping_as_it_was(value: dict[str, Any], wrapping: str) -> None:
    assert one(WRAPPINGS[wrapping](value)) == value


@given(
    st.text(alphabet="{}[]()<>'\"`\\/*#:=,.\n abinOe1-@", max_size=400)
    | st.text(max_size=100)
    | st.lists(
        st.sampled_from(
            ['{"id":', '"asst_1"', "Assistant(", "[Object]", "'", "{", "}", "]", "...", "// ", "/*", "model="]
        )
    ).map("".join)
)
@example("{/*" * 2000)
@example("[" * 5000)
@example("{'" * 3000)
@example('{"a":' * 5000)
@example("[Circular" * 3000)
@example("A[" * 3000 + "A(" * 3000)
@example('"{' * 4000)
def test_garbage_is_refused_in_words(text: str) -> None:
    said = ""
    try:
        read(text)
    except UsageFault as error:
        said = error.message
    # By chance it may be a definition.
    assert "dump0.json" in said or "no assistant found" in said or (not said and "asst_" in text)


@given(st.binary(max_size=200))
def test_bytes_are_refused_in_words(content: bytes) -> None:
    with pytest.raises(UsageFault):
        read(content)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{ data: [ [Object], [Object] ], hasMore: false }", "JSON.stringify"),
        (f"{{ id: '{A}', object: 'assistant', model: 'm', tools: [ [Object] ] }}", "JSON.stringify"),
        (f"@{{id={A}; object=assistant; model=gpt-4o}}", "ConvertTo-Json -Depth 100"),
        (f"id           : {A}\nobject       : assistant\nmodel        : gpt-4o\n", "ConvertTo-Json"),
        ("---\nname: &a Desk\nmodel: gpt-4o\ntools:\n- type: file_search\n---\n\nAnswer.\n", "YAML"),
        ("---\ntitle: Our notes\n---\n\nAnswer.\n", "YAML"),
        ("name: Desk\nmodel: gpt-4o\n", "YAML"),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        ("[<openai.types.beta.assistant.Assistant object at 0x7f12>]", "model_dump_json"),
        (f"Assistant{{id={A}, createdAt=1, model=gpt-4o}}", "Java"),
    ],
)
def test_what_is_refused_is_named_with_the_way_to_json(text: str, hint: str) -> None:
    with pytest.raises(UsageFault) as caught:
        read(text)
    assert hint in caught.value.hint + caught.value.message
    assert "cut off" not in caught.value.hint


def test_prose_with_colons_is_not_called_yaml() -> None:
    for text in ("Our assistants:\nSupport: answers.\n\nSee the wiki.\n", "hello: world\n", "Notes\n\na: b\nc: d\n"):
        with pytest.raises(UsageFault) as caught:
            read(text)
        assert "YAML" not in caught.value.hint + caught.value.message
        assert caught.value.hint


def test_only_a_text_that_ends_inside_a_value_was_cut_off() -> None:
    whole = json.dumps({"object": "list", "data": [DESK, FERRY]})
    dump = read(whole[: whole.index("Ferry")])
    assert records(dump) == [DESK]
    assert dump.truncated == {"dump0.json": "ends in the middle of the value that starts in line 1"}
    assert [found.id for found in dump.unread] == [B]
    with pytest.raises(UsageFault) as caught:
        read(json.dumps(DESK)[:90])
    assert caught.value.hint == "check that the file was downloaded completely"


def test_what_is_passed_over_is_said() -> None:
    request = {"model": "gpt-4o", "name": "Skipper's desk", "instructions": "Answer."}
    dump = read(f"$ curl -d '{json.dumps(request)}'\n200 OK\n{json.dumps(DESK)}\n")
    assert records(dump) == [DESK]
    assert any("they are requests" in note for note in dump.notes)
    assert any("characters of other text" in note for note in dump.notes)
    # In plain JSON, too: what was asked for beside what was answered.
    asked = {key: DESK[key] for key in ("name", "model", "instructions", "tools")}
    assert records(read(json.dumps([{"request": asked, "response": DESK}]))) == [DESK]
    # But a second assistant without an id stays one.
    assert len(records(read(json.dumps([{**asked, "name": "Other"}, DESK])))) == 2


def test_all_of_a_notebook() -> None:
    shown = {"data": {"application/json": DESK, "text/plain": ["<IPython.core.display.JSON object>"]}}
    out = {"name": "stdout", "text": [json.dumps(FERRY) + "\n"]}
    assert {r["id"] for r in records(read(json.dumps({"cells": [{"outputs": [shown]}, {"outputs": [out]}]})))} == {A, B}


PLAIN = {"name": "Desk", "model": "gpt-4o", "instructions": "Answer.", "tools": [{"type": "code_interpreter"}]}


@pytest.mark.parametrize("key", ["assistantId", "assistant_id", "assistant", "openaiAssistantId", "AssistantID", "ref"])
@pytest.mark.parametrize(
    "extra", [{"object": "assistant"}, {}, {"id": 4}, {"id": "6f1c5c0e-2f6b-4a55-9d0f-5f7f4f0e1a11"}]
)
def test_the_id_under_another_key(key: str, extra: dict[str, Any]) -> None:
    found = one(json.dumps({**PLAIN, key: A, **extra}))
    assert found["id"] == A
    assert key not in found


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"createdAt": "2024-06-10T08:00:00.000Z"}, {"created_at": "2024-06-10T08:00:00.000Z"}),
        ({"files": [F, G]}, {"tool_resources": {"code_interpreter": {"file_ids": [F, G]}}}),
        ({"fileIds": [F]}, {"tool_resources": {"code_interpreter": {"file_ids": [F]}}}),
        ({"files": [{"id": F, "filename": "a.txt"}]}, {"tool_resources": {"code_interpreter": {"file_ids": [F]}}}),
        (
            {"toolResources": {"codeInterpreter": {"fileIds": [F]}}},
            {"tool_resources": {"code_interpreter": {"file_ids": [F]}}},
        ),
        (
            {"tool_resources": [{"file_search": [{"vector_store_ids": ["vs_1"]}]}]},
            {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}},
        ),
        ({"vectorStoreIds": ["vs_1"]}, {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}),
        ({"vector_store_id": "vs_1"}, {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}),
        (
            {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
            {"tools": [{"type": "file_search"}], "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}},
        ),
        ({"tools": ["file_search"]}, {"tools": [{"type": "file_search"}]}),
        ({"tools": '[{"type": "fileSearch"}]'}, {"tools": [{"type": "file_search"}]}),
        ({"tools": "", "metadata": ""}, {"tools": [], "metadata": {}}),
        (
            {"topP": 0.5, "responseFormat": {"type": "json_schema", "jsonSchema": {"name": "n", "schema": {"aB": 1}}}},
            {
                "top_p": 0.5,
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"aB": 1}}},
            },
        ),
        ({"metadata": {"camelKey": "v"}}, {"metadata": {"camelKey": "v"}}),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"fileIds": {}}}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"fileIds": {}}}}]},
        ),
    ],
)
def test_other_names_and_shapes_of_fields(fields: dict[str, Any], want: dict[str, Any]) -> None:
    assert one(json.dumps({"id": A, **PLAIN, **fields})) == {"id": A, **PLAIN, **want}


def test_a_maps_keys_are_the_names_or_the_ids() -> None:
    unnamed = {key: value for key, value in PLAIN.items() if key != "name"}
    found = records(read(json.dumps({"Harbour desk": {"id": A, **unnamed}, "Ferry desk": {"id": B, **unnamed}})))
    assert [(one["id"], one["name"]) for one in found] == [(A, "Harbour desk"), (B, "Ferry desk")]
    assert one(json.dumps({A: PLAIN})) == {**PLAIN, "id": A}
    assert "name" not in one(json.dumps({"assistant": {"id": A, **unnamed}}))
    assert one(json.dumps({"x": {"id": A, **unnamed, "name": None}}))["name"] is None


def test_a_table_out_of_a_database() -> None:
    table = (
        "id,openai_assistant_id,name,model,instructions,tools,file_ids,temperature\r\n"
        f'4,{A},Desk,gpt-4o,"Answer ""briefly"".\nTwo lines, one cell.",'
        f'"[{{""type"": ""code_interpreter""}}]","[""{F}""]",0.5\r\n'
        f"5,{B},Ferry,gpt-4o,Answer.,[],,\r\n"
    )
    first, second = records(read(table))
    assert first["instructions"] == 'Answer "briefly".\nTwo lines, one cell.'
    assert first["tool_resources"] == {"code_interpreter": {"file_ids": [F]}}
    assert (first["id"], first["temperature"], second["id"], second["name"]) == (A, 0.5, B, "Ferry")


def test_markdown_with_its_fields_before_the_text() -> None:
    found = one(
        "---\nname: Harbour desk\nobject: assistant\nmodel: gpt-4o # ours\ntemperature: 1.0\nmetadata: {}\n"
        "description: |-\n  Two\n  lines\ntools:\n- type: file_search\n- type: function\n  function:\n    name: f\n"
        "    description: 'It''s long\n      and goes on'\n    parameters: {\"type\": \"object\"}\n    strict: null\n"
        'tool_resources:\n  file_search:\n    vector_store_ids:\n      - "vs_1"\n---\n\n# Answer\n\nbriefly.\n'
    )
    assert found == {
        "id": found["id"],
        "name": "Harbour desk",
        "object": "assistant",
        "model": "gpt-4o",
        "temperature": 1.0,
        "metadata": {},
        "description": "Two\nlines",
        "tools": [
            {"type": "file_search"},
            {
                "type": "function",
                "function": {"name": "f", "description": "It's long and goes on", "parameters": {"type": "object"}},
            },
        ],
        "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}},
        "instructions": "# Answer\n\nbriefly.",
    }


@given(st.text(alphabet="ab:-'\"{}[]|># \n", max_size=200))
def test_odd_yaml_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageFault):
        read(f"---\n{text}\n---\nx")


def test_records_one_by_one_what_powershell_cut_is_named() -> None:
    cut = {**DESK, "tools": "@{type=file_search; file_search=}", "metadata": "", "tool_resources": "@{file_search=}"}
    dump = read(
        json.dumps(
            {
                "object": "list",
                "data": [cut, {**FERRY, "tools": ["@{type=code_interpreter}"]}, {**DESK, "id": "asst_3"}],
            }
        )
    )
    assert [record.id for record in dump.assistants] == ["asst_3"]
    assert [found.id for found in dump.unread] == [A, B]
    assert all("ConvertTo-Json -Depth 100" in found.message for found in dump.unread)
    with pytest.raises(UsageFault, match="ConvertTo-Json -Depth 100"):
        read(json.dumps([cut]))


@pytest.mark.parametrize(
    "bad", [{"model": 5}, {"tools": 3}, {"tool_resources": {"file_search": "x"}}, {"metadata": [1]}]
)
def test_an_assistant_of_no_known_shape_is_a_loss_not_the_end(bad: dict[str, Any]) -> None:
    dump = read(json.dumps([{**DESK, **bad}, FERRY]))
    assert ([record.id for record in dump.assistants], [found.id for found in dump.unread]) == ([B], [A])
    # It is in another dump whole: nothing is lost.
    assert read(json.dumps([{**DESK, **bad}, FERRY]), json.dumps(DESK)).unread == []


def test_an_assistant_that_only_has_its_name_is_a_loss() -> None:
    dump = read(
        json.dumps([DESK, {"id": B, "name": "Ferry"}, {"id": "asst_9", "object": "assistant.deleted", "deleted": True}])
    )
    assert [found.id for found in dump.unread] == [B]


def test_links_by_name_are_links_by_id() -> None:
    def lead(name: str) -> dict[str, Any]:
        link = {"name": "stock", "name_from_id": name, "description": "Ask it."}
        return {
            "object": "assistant",
            "name": "Lead",
            "model": "m",
            "tools": [{"type": "connected_agent", "connected_agent": link}],
        }

    keeper = {"object": "assistant", "name": "Stock-Keeper", "model": "m", "tools": []}
    dump = read(json.dumps(lead("Stock-Keeper")), json.dumps(keeper))
    first, second = records(dump)
    assert is_invented(second["id"])
    assert first["tools"] == [
        {"type": "connected_agent", "connected_agent": {"id": second["id"], "name": "stock", "description": "Ask it."}}
    ]
    # Nobody of that name, or two: it stays as it is.
    for others in ([], [keeper, {**keeper, "model": "n"}]):
        found = records(read(json.dumps([lead("Stock-Keeper"), *others])))[0]
        assert found["tools"][0]["connected_agent"]["name_from_id"] == "Stock-Keeper"


def test_files_that_no_tool_reads_are_kept_all_the_same() -> None:
    dump = read(json.dumps({**DESK, "tools": [], "file_ids": [F]}))
    assert records(dump)[0]["tool_resources"] == {"code_interpreter": {"file_ids": [F]}}
    assert "no tool to read them" in dump.notes[-1]


def test_what_was_made_is_called_by_ids_that_no_server_gives() -> None:
    dump = read(json.dumps({**DESK, "tools": [{"type": "retrieval"}], "file_ids": [F]}))
    (made,) = dump.stores
    assert is_invented(made.id)
    assert records(dump)[0]["tool_resources"]["file_search"] == {"vector_store_ids": [made.id]}
    assert dump.memberships.keys() == {made.id}
    bare = {key: value for key, value in DESK.items() if key != "id"}
    assert is_invented(read(json.dumps(bare)).assistants[0].id)


def test_nothing_is_run() -> None:
    with pytest.raises(UsageFault):
        read(f"__import__('os').system('true') or Assistant(id='{A}'.upper(), model=open('/etc/passwd').read())")
    assert read_dumps([("d", json.dumps(DESK).encode())]).assistants
