"""What a destination doesn't take is known before the first write: mended or left out, said, and never refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Why
from holdall.dialects.rules import Form
from holdall.importer.plan.bundle_summary import summarize
from holdall.importer.plan.choices import Choices
from holdall.importer.plan.planner import plan
from holdall.importer.runs.runreport import Report, Status
from holdall.model import Kind
from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from holdall.selection import Selection
from tests.importer.foundry_rig import TOKEN, Project
from tests.importer.rig import run
from tests.importer.shelf import Shelf
from tests.project import Hand
from tests.sweep import examples, sweep

FORMS = tuple(Form)
OBJECT = {"type": "object", "properties": {}}
CLOSED = {**OBJECT, "required": [], "additionalProperties": False}
A = {"a": {"type": "string"}}
LIST = {"type": "object", "properties": {"a": {"type": "array"}}}
Fields = dict[str, Any]
Told = list[tuple[Why, str]]


def function(**of: Any) -> Fields:
    return {"tools": [{"type": "function", "function": {"name": "f", **of}}]}


def schema(**of: Any) -> Fields:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", **of}}}


# What Foundry's agents take otherwise: no limit of instructions is known, and the real name goes into the metadata.
FOUNDRY: dict[str, Told] = {"instructions": [], "name": [(Why.NAME_CHANGED, "name")]}


F, S, N = "tools[0].function", "response_format.json_schema", "tools[0].file_search"
MANY = [{"type": "function", "function": {"name": f"f{n}"}} for n in range(130)]

ROWS: dict[str, tuple[Fields, Told]] = {
    # Lengths.
    "instructions": ({"instructions": "x" * 256_001}, [(Why.TRUNCATED, "instructions")]),
    "name": ({"name": "x" * 257}, [(Why.OVER_LIMIT, "name")]),
    "description": ({"description": "x" * 513}, [(Why.OVER_LIMIT, "description")]),
    "a number for a text": ({"description": 5}, [(Why.VALUE_CHANGED, "description")]),
    "no text at all": ({"description": ["x"]}, [(Why.UNFIT_VALUE, "description")]),
    # Metadata.
    "metadata: a number": ({"metadata": {"version": 3}}, [(Why.VALUE_CHANGED, "metadata.version")]),
    "metadata: an object": ({"metadata": {"a": {"b": [1]}}}, [(Why.VALUE_CHANGED, "metadata.a")]),
    "metadata: null": ({"metadata": {"a": None}}, []),
    "metadata: too long": ({"metadata": {"k": "v" * 513}}, [(Why.OVER_LIMIT, "metadata.k")]),
    "metadata: a long key": ({"metadata": {"k" * 65: "v"}}, [(Why.OVER_LIMIT, f"metadata.{'k' * 65}")]),
    "metadata: too many": ({"metadata": {f"k{n}": n for n in range(17)}}, [
        *[(Why.VALUE_CHANGED, f"metadata.k{n}") for n in range(16)], (Why.OVER_LIMIT, "metadata.k16"),
        (Why.MARKS_LEFT_OUT, "metadata"),
    ]),
    # Numbers.
    "a number as a text": ({"temperature": " 0.5 "}, [(Why.VALUE_CHANGED, "temperature")]),
    "a number that is too large": ({"temperature": 3}, [(Why.UNFIT_VALUE, "temperature")]),
    "no number": ({"top_p": True}, [(Why.UNFIT_VALUE, "top_p")]),
    "a share above one": ({"top_p": "1.5"}, [(Why.UNFIT_VALUE, "top_p")]),
    # What a model refuses.
    "sampling where the model reasons": ({"model": "o3", "temperature": 0.2, "top_p": 0.5}, [
        (Why.MODEL_REFUSES, "temperature"), (Why.MODEL_REFUSES, "top_p"),
    ]),
    "an effort where it doesn't": ({"reasoning_effort": "low"}, [(Why.MODEL_REFUSES, "reasoning_effort")]),
    "an effort that nobody knows": ({"model": "o3", "reasoning_effort": "huge"}, [
        (Why.UNFIT_VALUE, "reasoning_effort"),
    ]),
    # Tools.
    "tool: another API's": ({"tools": [{"type": "web_search_preview"}]}, [(Why.UNKNOWN_TOOL, "tools[0]")]),
    "tool: no type": ({"tools": [{"function": {}}]}, [(Why.UNKNOWN_TOOL, "tools[0]")]),
    "tool: twice": ({"tools": [{"type": "code_interpreter"}] * 2}, [(Why.OVER_LIMIT, "tools[1]")]),
    "tool: more members": ({"tools": [{"type": "code_interpreter", "x": 1}]}, [(Why.UNKNOWN_FIELD, "tools[0].x")]),
    "tools: too many": ({"tools": MANY}, [(Why.LEFT_OUT, "tools[128]"), (Why.LEFT_OUT, "tools[129]")]),
    # Functions.
    "function: a dot in its name": (function(name="tide.get"), [(Why.UNKNOWN_TOOL, "tools[0]")]),
    "function: a long name": (function(name="f" * 65), [(Why.UNKNOWN_TOOL, "tools[0]")]),
    "function: one name twice": ({"tools": [*MANY[:2], {**MANY[0], "function": {"name": "f0", "strict": False}}]}, [
        (Why.LEFT_OUT, "tools[2]"),
    ]),
    "function: nulls": (function(description=None, parameters=None, strict=None), []),
    "function: no parameters, strict": (function(strict=True), []),
    "function: empty parameters": (function(parameters={}), [(Why.VALUE_CHANGED, f"{F}.parameters")]),
    "function: empty, strict": (function(parameters={}, strict=True), [(Why.VALUE_CHANGED, f"{F}.parameters")]),
    "function: strict as a text": (function(strict="True"), [(Why.VALUE_CHANGED, f"{F}.strict")]),
    "function: parameters as a text": (function(parameters=json.dumps(OBJECT)), [
        (Why.VALUE_CHANGED, f"{F}.parameters"),
    ]),
    "function: parameters of no object": (function(parameters={"type": "string"}), [
        (Why.UNFIT_VALUE, f"{F}.parameters"),
    ]),
    "function: a list of nothing": (function(parameters=LIST), [(Why.VALUE_CHANGED, f"{F}.parameters")]),
    "function: strict and open": (function(parameters={**OBJECT, "properties": A, "required": ["a"]}, strict=True), [
        (Why.VALUE_CHANGED, f"{F}.parameters"),
    ]),
    "function: strict and optional": (function(parameters={**OBJECT, "properties": A}, strict=True), [
        (Why.VALUE_CHANGED, f"{F}.strict"),
    ]),
    # Response formats.
    "schema: its name": (schema(name="tide table", schema=OBJECT), [(Why.VALUE_CHANGED, f"{S}.name")]),
    "schema: no name": (schema(name="", schema=OBJECT), [(Why.VALUE_CHANGED, f"{S}.name")]),
    "schema: null": (schema(schema=OBJECT, description=None, strict=None), []),
    "schema: strict and optional": (schema(schema={**CLOSED, "properties": A}, strict=True), [
        (Why.VALUE_CHANGED, f"{S}.strict"),
    ]),
    "format: a word": ({"response_format": "text"}, [(Why.VALUE_CHANGED, "response_format")]),
    "format: unknown": ({"response_format": {"type": "yaml"}}, [(Why.UNFIT_VALUE, "response_format")]),
}  # fmt: skip


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The strict sandbox, with both APIs."""
    with Running(tmp_path_factory.mktemp("box"), behaviour=Behaviour()) as running:
        yield running


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Projects with the models of the rows."""
    profile = PROFILES["foundry-new"]
    behaviour = msgspec.structs.replace(profile, deployments=(*profile.deployments, "gpt-5.1"))
    with Running(tmp_path_factory.mktemp("foundry"), behaviour=behaviour) as running:
        yield running


@pytest.fixture
def box(request: pytest.FixtureRequest) -> Running:
    """What has the form that a test is about, if it is about one."""
    of = getattr(getattr(request.node, "callspec", None), "params", {})
    return request.getfixturevalue("foundry" if of.get("form") is Form.FOUNDRY else "openai")  # type: ignore[no-any-return]


Keys = Callable[[], str]


@pytest.fixture(scope="module")
def keys() -> Keys:
    """A project of its own for each import."""
    numbers = iter(range(10**6))
    return lambda: f"sk-limits-{next(numbers)}"


def told(shelf: Shelf, form: Form) -> list[tuple[Why, str | None]]:
    planned = plan(summarize(cast(BundleReader, shelf)), Selection(), choices=Choices(form=form))
    return [(loss.why, loss.field) for loss in planned.losses()]


def imported(shelf: Shelf, box: Running, key: str, out: Path, form: Form = Form.ASSISTANTS) -> Report:
    """Import it; nothing may be refused, nothing come otherwise than it was sent, no request be refused either."""
    box.forget_requests()
    # A Foundry project is named by its address, and every token is good for it.
    where = {"key": TOKEN, "url": Project(box, key).url} if form is Form.FOUNDRY else {"key": key}
    report = run(shelf, box, out, form=form, **where)
    assert [each for each in box.requests() if each.status >= 400 and each.method != "GET"] == []
    assert [loss for loss in report.losses() if loss.why in (Why.REFUSED, Why.NOT_KEPT)] == []
    if form is Form.RESPONSES:
        with Hand(box.url, key) as hand:
            for result in report.assistants:
                if result.target:
                    hand.post("/responses", **json.loads((out / result.target).read_text()), input="json?")
    return report


def counts(box: Running, key: str, form: Form) -> dict[str, int]:
    """How much a project has; its agents count as assistants."""
    if form is not Form.FOUNDRY:
        with Hand(box.url, key) as hand:
            return hand.counts()
    with Project(box, key) as project:
        found = {kind: len(project.ids(f"/openai/v1/{kind}")) for kind in ("vector_stores", "files")}
        return {"assistants": len(project.agents()), **found}


@pytest.mark.parametrize("form", FORMS)
@sweep("row", ROWS)
def test_each_row(row: str, form: Form, box: Running, keys: Keys, tmp_path: Path) -> None:
    fields, expected = ROWS[row]
    shelf = Shelf()
    shelf.assistant("a1", **fields)
    if form is Form.RESPONSES:
        # What is kept beside the request has no limit, and there are no marks in it.
        expected = [
            (why, field)
            for why, field in expected
            if field not in ("name", "description", "instructions") and why is not Why.MARKS_LEFT_OUT
        ]
    if form is Form.FOUNDRY:
        expected = FOUNDRY.get(row, expected)
    assert told(shelf, form) == expected
    report = imported(shelf, box, keys(), tmp_path, form)
    assert [result.status for result in report.results] == [
        Status.PARTIAL if any(why.weighs for why, _ in expected) else Status.SUCCESS
    ]


def made(shelf: Shelf, box: Running, key: str, out: Path) -> Any:
    imported(shelf, box, key, out)
    with Hand(box.url, key) as hand:
        return hand.everything("/assistants")[0]


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        ("name", "name", "x" * 256),
        ("metadata: a number", "metadata", {"version": "3"}),
        ("metadata: an object", "metadata", {"a": '{"b":[1]}'}),
        ("a number as a text", "temperature", 0.5),
        ("schema: its name", "response_format", schema(name="tide_table", schema=OBJECT)["response_format"]),
        ("function: empty, strict", "tools", function(parameters=CLOSED, strict=True)["tools"]),
        ("function: no parameters, strict", "tools", function(parameters=CLOSED, strict=True)["tools"]),
        ("function: strict and optional", "tools", function(parameters={**OBJECT, "properties": A})["tools"]),
    ],
)
def test_what_is_mended_is_there(row: str, field: str, value: Any, box: Running, keys: Keys, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.assistant("a1", **ROWS[row][0])
    found = made(shelf, box, keys(), tmp_path)[field]
    match field:
        case "metadata":
            found = {key: item for key, item in found.items() if key not in ("cloned_from", "holdall_op")}
        case "tools":
            value[0]["function"].setdefault("strict", False)
    assert found == value


def test_a_key_that_every_store_has_is_as_limited_as_any(box: Running, keys: Keys, tmp_path: Path) -> None:
    """Whether such a key is the server's shows with the first store; then it is set, as far as it may be."""
    shelf = Shelf()
    for name in ("vs1", "vs2"):
        shelf.store(name, metadata={"k" * 65: "v", "team": 3})
    key = keys()
    imported(shelf, box, key, tmp_path)
    with Hand(box.url, key) as hand:
        found = [one["metadata"] for one in hand.everything("/vector_stores")]
    assert [{key: item for key, item in each.items() if "_" not in key} for each in found] == [{"team": "3"}] * 2


def test_a_second_search_and_its_ranking(box: Running, keys: Keys, tmp_path: Path) -> None:
    shelf = Shelf()
    ranking = {"ranker": "default-2024-11-15", "hybrid_search": {"text_weight": 1}}
    search = {"max_num_results": 5.0, "ranking_options": ranking}
    shelf.store("vs")
    tools = [{"type": "file_search", "file_search": search}, {"type": "file_search"}]
    shelf.assistant("a1", tools=tools, tool_resources={"file_search": {"vector_store_ids": ["vs", "vs"]}})
    assert told(shelf, Form.ASSISTANTS) == [
        (Why.VALUE_CHANGED, f"{N}.ranking_options.ranker"),
        (Why.UNKNOWN_FIELD, f"{N}.ranking_options.hybrid_search"),
        (Why.OVER_LIMIT, "tools[1]"),
    ]
    assert made(shelf, box, keys(), tmp_path)["tools"] == [
        {
            "type": "file_search",
            "file_search": {"max_num_results": 5, "ranking_options": {"ranker": "auto", "score_threshold": 0}},
        }
    ]


@pytest.mark.parametrize(
    ("form", "most", "files"), [(Form.ASSISTANTS, 1, 20), (Form.RESPONSES, 2, 50), (Form.FOUNDRY, 1, 50)]
)
def test_no_more_stores_and_files_than_it_may_have(
    form: Form, most: int, files: int, box: Running, keys: Keys, tmp_path: Path
) -> None:
    shelf, key = Shelf(), keys()
    for number in range(52):
        shelf.file(f"f{number}", f"{number}.csv", b"a,%d\n" % number)
    for number in range(3):
        shelf.store(f"vs{number}", [])
    shelf.assistant("a1", stores=["vs0", "vs1", "vs2"], files=[f"f{n}" for n in range(52)])
    report = imported(shelf, box, key, tmp_path, form)
    assert [result.status for result in report.results] == [Status.PARTIAL]
    assert sum(loss.why is Why.LEFT_OUT for loss in report.losses()) == 3 - most + 52 - files
    assert counts(box, key, form) == {"assistants": form is not Form.RESPONSES, "vector_stores": most, "files": files}


@pytest.mark.parametrize("form", FORMS)
def test_without_a_model_nothing_of_it_is_made(form: Form, box: Running, keys: Keys, tmp_path: Path) -> None:
    shelf, key = Shelf(), keys()
    shelf.store("vs")
    shelf.assistant("a1", stores=["vs"], model=None)
    report = imported(shelf, box, key, tmp_path, form)
    assert [result.status for result in report.results] == [Status.FAILED]
    assert "model" in str(report.results[0].error)
    assert counts(box, key, form)["vector_stores"] == 0


DAY = 86_400


@pytest.mark.parametrize(
    ("fields", "why", "field", "there"),
    [
        ({"metadata": {"n": 1.5}}, Why.VALUE_CHANGED, "metadata.n", {}),
        ({"metadata": {"k": "v" * 513}}, Why.OVER_LIMIT, "metadata.k", {}),
        *[
            (
                {"expires_after": {"anchor": "last_active_at", "days": days}},
                Why.VALUE_CHANGED,
                "expires_after.days",
                {"expires_after": {"anchor": "last_active_at", "days": 7}},
            )
            for days in ("7", 7 * DAY, 7 * DAY * 1000)
        ],
        (
            {"expires_after": {"anchor": "last_active_at", "days": 400}},
            Why.UNFIT_VALUE,
            "expires_after",
            {"expires_after": None},
        ),
        ({"expires_after": {"anchor": "created_at", "days": 4}}, Why.UNFIT_VALUE, "expires_after", {}),
    ],
)
def test_each_row_of_a_store(
    fields: Fields, why: Why, field: str, there: Fields, box: Running, keys: Keys, tmp_path: Path
) -> None:
    shelf, key = Shelf(), keys()
    shelf.store("vs", **fields)
    assert told(shelf, Form.ASSISTANTS) == [(why, field)]
    imported(shelf, box, key, tmp_path)
    with Hand(box.url, key) as hand:
        (store,) = hand.everything("/vector_stores")
    assert {name: store[name] for name in there} == there


@pytest.mark.parametrize(
    ("member", "expected", "there"),
    [
        ({"attributes": {"a": [1], "b": None, "c": 3.5, "d": True}}, [(Why.VALUE_CHANGED, "attributes.a")],
         {"attributes": {"a": "[1]", "c": 3.5, "d": True}}),
        ({"attributes": {f"k{n}": n for n in range(17)}}, [(Why.OVER_LIMIT, "attributes.k16")],
         {"attributes": {f"k{n}": n for n in range(16)}}),
        ({"attributes": {"k": "v" * 513}}, [(Why.OVER_LIMIT, "attributes.k")], {"attributes": {}}),
        ({"chunking_strategy": {"type": "static",
                                "static": {"max_chunk_size_tokens": 8000, "chunk_overlap_tokens": 4000}}},
         [(Why.VALUE_CHANGED, "chunking_strategy.static.max_chunk_size_tokens"),
          (Why.VALUE_CHANGED, "chunking_strategy.static.chunk_overlap_tokens")],
         {"chunking_strategy": {"type": "static",
                                "static": {"max_chunk_size_tokens": 4096, "chunk_overlap_tokens": 2048}}}),
        ({"chunking_strategy": {"type": "static",
                                "static": {"max_chunk_size_tokens": "200", "chunk_overlap_tokens": 150}}},
         [(Why.VALUE_CHANGED, "chunking_strategy.static.max_chunk_size_tokens"),
          (Why.VALUE_CHANGED, "chunking_strategy.static.chunk_overlap_tokens")],
         {"chunking_strategy": {"type": "static",
                                "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100}}}),
        ({"chunking_strategy": {"type": "static", "static": {}}},
         [(Why.UNFIT_VALUE, "chunking_strategy.static")], {}),
    ],
)  # fmt: skip
def test_each_row_of_a_stores_file(
    member: Fields, expected: Told, there: Fields, box: Running, keys: Keys, tmp_path: Path
) -> None:
    shelf, key = Shelf(), keys()
    shelf.file("f1", "a.md")
    shelf.store("vs", [{"id": "f1", **member}])
    assert told(shelf, Form.ASSISTANTS) == expected
    imported(shelf, box, key, tmp_path)
    with Hand(box.url, key) as hand:
        (store,) = hand.everything("/vector_stores")
        (found,) = hand.everything(f"/vector_stores/{store['id']}/files")
    assert {name: found[name] for name in there} == there


def test_null_is_not_sent_where_absence_says_the_same(tmp_path: Path, keys: Keys) -> None:
    shelf = Shelf()
    shelf.store("vs", expires_after=None)
    nulls = dict.fromkeys(("description", "instructions", "temperature", "top_p", "response_format", "metadata"))
    tools = function(description=None, strict=None)["tools"]
    shelf.assistant("a1", stores=["vs"], name=None, tools=tools, **nulls)
    with Running(tmp_path / "box", behaviour=Behaviour(oddities=frozenset({Oddity.NULL_REFUSED}))) as odd:
        report = imported(shelf, odd, keys(), tmp_path / "out")
    assert [result.status for result in report.assistants] == [Status.SUCCESS]


# -- whatever there is -------------------------------------------------------------------------------------

leaf = st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
anything = st.recursive(
    leaf | words | st.sampled_from(["0.5", "2", "true", "{}", "x" * 600]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def some(shape: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={key: value | anything for key, value in shape.items()}) | anything


pairs = st.dictionaries(words | st.just("k" * 65), anything | words, max_size=20)
part = st.recursive(
    some({"type": st.sampled_from(["object", "string", "array", ["object", "null"]])}),
    lambda inner: some(
        {
            "type": st.just("object"),
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
            "additionalProperties": st.booleans(),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "$defs": st.dictionaries(st.sampled_from("ab"), inner, max_size=1),
        }
    ),
    max_leaves=4,
)
functions = some(
    {
        "name": st.sampled_from(["f", "g", "a.b", "x" * 65]) | words,
        "description": words | st.just("x" * 1025),
        "parameters": part,
        "strict": st.booleans(),
    }
)
searches = some(
    {
        "max_num_results": st.integers(0, 60),
        "ranking_options": some({"ranker": st.sampled_from(["auto", "odd"]), "score_threshold": st.floats(0, 1)}),
    }
)
kinds = st.sampled_from(["file_search", "code_interpreter", "function", "mcp"])
tool = st.fixed_dictionaries(
    {}, optional={"type": kinds, "file_search": searches, "function": functions, "more": anything}
)
formats = some(
    {
        "type": st.sampled_from(["text", "json_object", "json_schema"]),
        "json_schema": some({"name": words, "schema": part, "strict": st.booleans(), "description": words}),
    }
)
definitions = st.fixed_dictionaries(
    {},
    optional={
        "name": words | st.just("n" * 300),
        "description": anything,
        "model": st.sampled_from(["gpt-4o", "o3", "gpt-5.1"]),
        "temperature": st.floats(0, 2) | anything,
        "top_p": st.floats(0, 1) | anything,
        "reasoning_effort": st.sampled_from(["low", "none", "odd"]) | anything,
        "response_format": st.just("auto") | formats,
        "metadata": pairs,
        "tools": st.lists(tool, max_size=4),
        "more": anything,
    },
)
stores = st.fixed_dictionaries(
    {},
    optional={
        "metadata": pairs,
        "description": anything,
        "expires_after": st.dictionaries(st.sampled_from(["anchor", "days", "x"]), anything, max_size=3)
        | st.fixed_dictionaries({"anchor": st.just("last_active_at"), "days": st.integers(0, 10**9)}),
        "more": anything,
    },
)
members = st.fixed_dictionaries(
    {},
    optional={
        "attributes": pairs,
        "chunking_strategy": st.fixed_dictionaries(
            {"type": st.sampled_from(["static", "other"])},
            optional={
                "static": some(
                    {"max_chunk_size_tokens": st.integers(0, 5000), "chunk_overlap_tokens": st.integers(0, 5000)}
                )
            },
        ),
    },
)


@pytest.mark.parametrize("form", FORMS)
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(definition=definitions, store=stores, member=members, uses=st.integers(0, 3))
def test_whatever_a_bundle_holds_no_server_refuses_what_the_plan_did_not_foresee(
    form: Form,
    box: Running,
    keys: Keys,
    tmp_path_factory: pytest.TempPathFactory,
    definition: Fields,
    store: Fields,
    member: Fields,
    uses: int,
) -> None:
    shelf = Shelf()
    shelf.file("f1", "a.md")
    for number in range(uses):
        shelf.store(f"vs{number}", [{"id": "f1", **member}] if number == 0 else [], **store)
    names = [f"vs{number}" for number in range(uses)]
    resources = {"file_search": {"vector_store_ids": names}, "code_interpreter": {"file_ids": ["f1"]}}
    shelf.assistant("a1", **{**definition, "tool_resources": resources})
    foreseen = told(shelf, form)
    report = imported(shelf, box, keys(), tmp_path_factory.mktemp("wild"), form)
    assert [result.status for result in report.of(Kind.ASSISTANT, Kind.FOUNDRY_AGENT)] == [
        Status.PARTIAL if any(why.weighs for why, _ in foreseen) else Status.SUCCESS
    ]


flat_tool = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["function", "file_search", "code_interpreter", "web_search", "mcp", "openapi", "odd"]),
        "name": st.sampled_from(["f", "g", "a.b", "x" * 65]) | words,
        "description": words,
        "parameters": part,
        "strict": st.booleans(),
        "vector_store_ids": st.lists(st.sampled_from(["vs0", "{{store}}", "gone"]), max_size=2),
        "max_num_results": st.integers(0, 60),
        "container": some({"type": st.just("auto"), "file_ids": st.lists(st.sampled_from(["f1", "gone"]))}),
        "server_label": words,
        "server_url": words,
        "more": anything,
    },
)
flat_definitions = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["gpt-4o", "o3"]),
        "instructions": words,
        "temperature": st.floats(0, 2) | anything,
        "top_p": st.floats(0, 1) | anything,
        "reasoning": some({"effort": st.sampled_from(["low", "none", "odd"])}),
        "text": some({"format": formats, "verbosity": st.sampled_from(["low", "medium", "odd"])}),
        "tools": st.lists(flat_tool, max_size=3),
        "tool_choice": st.sampled_from(["auto", "required", "odd"]) | anything,
        "structured_inputs": some({"mood": some({"description": words, "default_value": anything})}),
        "more": anything,
    },
)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(definition=flat_definitions, metadata=pairs)
def test_whatever_agents_a_bundle_holds_a_project_refuses_none_that_the_plan_did_not_foresee(
    foundry: Running, keys: Keys, tmp_path_factory: pytest.TempPathFactory, definition: Fields, metadata: Fields
) -> None:
    shelf = Shelf()
    shelf.agent("agent_1", **definition, metadata=metadata)
    foreseen = told(shelf, Form.FOUNDRY)
    report = imported(shelf, foundry, keys(), tmp_path_factory.mktemp("wild"), Form.FOUNDRY)
    assert [result.status for result in report.of(Kind.FOUNDRY_AGENT)] == [
        Status.PARTIAL if any(why.weighs for why, _ in foreseen) else Status.SUCCESS
    ]


@pytest.mark.parametrize("drops", [False, True])
def test_what_nobody_knows_of_an_agent_is_tried_and_told(
    drops: bool, foundry: Running, keys: Keys, tmp_path: Path
) -> None:
    """A project that knows no such key drops or refuses it."""
    shelf, key = Shelf(), keys()
    shelf.foundry_agent("desk", {"instructions": "Be brief.", "portal": {"x": 1}})
    with Project(foundry, key) as project, project.behaving(drops_unknown_keys=drops):
        report = run(shelf, foundry, tmp_path, key=TOKEN, url=project.url, form=Form.FOUNDRY)
        assert project.agents()["desk"]["definition"]["instructions"] == "Be brief."
    assert [result.status for result in report.results] == [Status.PARTIAL]
    why = Why.NOT_KEPT if drops else Why.REFUSED
    assert [(loss.why, loss.field) for loss in report.losses()] == [(why, "portal")]
