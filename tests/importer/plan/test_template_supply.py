"""What is supplied of templates: a strict shape, and no value of it in anything that is printed or kept."""

from __future__ import annotations

import base64
import traceback
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.dialects.loss import Loss, Why
from holdall.errors import CannotRead, HoldallError, UsageFault
from holdall.importer.plan.template_supply import TemplateSupply, read_supply, without_supplied
from holdall.model import Kind, Record, SourceId

VALUE = "hunter2-hunter2"
DATA = base64.b64encode(b"PK" + VALUE.encode()).decode()
TEMPLATE = {
    "id": "t1",
    "name": "python",
    "network": {"access": "restricted", "allowed_domains": []},
    "files": [{"type": "inline", "path": "/workspace/a", "size_bytes": 3}],
    "skills": [{"type": "inline", "name": "s", "description": "does s"}],
    "plugins": [{"type": "inline", "name": "p", "description": "does p"}],
}
WHOLE: dict[str, Any] = {
    "env": {"TOKEN": VALUE},
    "setup_commands": [{"command": f"login {VALUE}", "cwd": "/workspace"}, {"command": "true"}],
    "blocked_domains": [f"{VALUE}.example"],
    "files": [{"path": "/workspace/a", "data": DATA}],
    "skills": [{"name": "s", "data": DATA}],
    "plugins": [{"name": "p", "data": DATA}],
}


def records(*templates: dict[str, Any]) -> list[Record]:
    kind = Kind.TEMPLATE
    return [Record(kind=kind, id=SourceId(one["id"]), raw=msgspec.json.encode(one)) for one in templates]


def supply(tmp_path: Path, content: object) -> TemplateSupply:
    path = tmp_path / "supply.json"
    path.write_bytes(msgspec.json.encode(content))
    return read_supply(path)


@pytest.mark.parametrize("key", ["t1", "python"])
def test_what_is_supplied_goes_into_the_request_as_the_api_takes_it(tmp_path: Path, key: str) -> None:
    found = supply(tmp_path, {key: WHOLE}).of(records(TEMPLATE))[SourceId("t1")]
    network = {"access": "restricted", "allowed_domains": []}
    body = found.into({"name": "python", "network": network, "files": [{"type": "file_id"}], "skills": []})
    source = {"type": "base64", "media_type": "application/zip", "data": DATA}
    assert body == {
        "name": "python",
        "env": WHOLE["env"],
        "setup_commands": WHOLE["setup_commands"],
        "network": {**network, "blocked_domains": WHOLE["blocked_domains"]},
        "files": [{"type": "file_id"}, {"type": "inline", "path": "/workspace/a", "data": DATA}],
        "skills": [{"type": "inline", "name": "s", "description": "does s", "source": source}],
        "plugins": [{"type": "inline", "name": "p", "description": "does p", "source": source}],
    }
    lost = ["env", "setup_commands", "blocked_domains", "files./workspace/a", "skills.s", "plugins.p"]
    assert found.names == lost
    kind = Kind.TEMPLATE
    losses = [Loss(why=Why.NEVER_SHOWN, kind=kind, id=SourceId("t1"), field=field) for field in [*lost, "files.b"]]
    assert [loss.field for loss in without_supplied(losses, found.names)] == ["files.b"]


def test_nothing_of_it_prints(tmp_path: Path) -> None:
    found = supply(tmp_path, {"t1": WHOLE})
    one = found.of(records(TEMPLATE))[SourceId("t1")]
    given = vars(found) if hasattr(found, "__dict__") else found._by_key
    for text in (repr(found), repr(one), str(one), repr(given), repr(one._given.files)):
        assert VALUE not in text
        assert DATA not in text
    with pytest.raises(TypeError):
        msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "Expected `object`"),
        ({"t1": {"environment": {"TOKEN": VALUE}}}, "unknown field `environment`"),
        ({"t1": {"env": {"TOKEN": 3}}}, "Expected `str`, got `int`"),
        ({"t1": {"setup_commands": [{"cwd": VALUE}]}}, "missing required field `command`"),
        ({"t1": {"setup_commands": [{"command": VALUE}] * 17}}, "setup_commands has more than 16 entries"),
        ({"t1": {"env": {"TOKEN": VALUE, "": VALUE}}}, "env, entry 2"),
        ({"t1": {"files": [{"path": "/workspace/a", "data": f"!{VALUE}"}]}}, "data is not base64"),
        ({"t1": {"files": [{"path": "/workspace/a", "data": "A" * 8_000_000}]}}, "more than 5 MiB"),
        ({"t2": {"env": {"TOKEN": VALUE}}}, "t2: no template has that id or name"),
        ({"twin": {"env": {"TOKEN": VALUE}}}, "twin: several templates have that name; use the id"),
        ({"t1": {}, "python": {"env": {"TOKEN": VALUE}}}, "t1 is supplied twice"),
        ({"t1": {"files": [{"path": "/workspace/z", "data": DATA}]}}, "the template has no files./workspace/z"),
        ({"t3": {"blocked_domains": [VALUE]}}, "the template has no blocked_domains"),
        ({"t1": {"plugins": [{"name": "p", "data": DATA}] * 2}}, "is there twice"),
    ],
)
def test_another_shape_is_refused_without_a_value_in_the_message(tmp_path: Path, content: object, why: str) -> None:
    others = [{"id": id, "name": "twin", "network": {"access": "enabled"}} for id in ("t3", "t4")]
    with pytest.raises(UsageFault) as caught:
        supply(tmp_path, content).of(records(TEMPLATE, *others))
    said = "".join(traceback.format_exception(caught.value))
    assert why in said
    assert VALUE not in caught.value.message


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[" * 9999, b'{"t1": ' + VALUE.encode()])
def test_what_is_no_json_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "supply.json"
    path.write_bytes(raw)
    with pytest.raises(UsageFault) as caught:
        read_supply(path)
    assert VALUE not in caught.value.message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(HoldallError) as caught:
            read_supply(path)
        assert isinstance(caught.value, CannotRead)
