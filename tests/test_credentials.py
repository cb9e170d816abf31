from __future__ import annotations

import json
import string
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.credentials import Scan, Suspect
from holdall.model import Kind, Record, SourceId
from tests.growth import assert_linear
from tests.sweep import examples, sweep

BODY = "Zq7Rw2Kd9Xb4Nc8Lm5Tp3Vg6Hs1Jf0YaEuIoQtWzPkBvCxGrDnMl7Sh3Aj9Fy2Te6Ui4Ow8"


def key(head: str, length: int) -> str:
    """Put together here, so that nobody's scanner takes this file for a leak."""
    return head + (BODY * 2)[:length]


SPECIMENS = {
    "an Anthropic key": key("sk-" + "ant-api03-", 80),
    "an OpenAI key": key("sk-" + "proj-", 60),
    "an AWS access key": "AKIA" + "Q3EGRZ5JX2LMTN7A",
    "a GitHub token": key("ghp" + "_", 36),
    "a GitLab token": key("glpat" + "-", 20),
    "a Google key": key("AIza" + "Sy", 33),
    "a Slack token": key("xoxb" + "-71234567812-", 24),
    "a Slack webhook": "https://hooks.slack" + ".com/services/T0AB12CD3/B0EF45GH6/" + BODY[:24],
    "a Stripe key": key("sk_" + "live_", 24),
    "a Hugging Face token": key("hf" + "_", 34),
    "an npm token": key("npm" + "_", 36),
    "a SendGrid key": "SG" + f".{BODY[:22]}.{BODY[:43]}",
    "an Azure OpenAI key": BODY[:52] + "JQQJ" + "99" + BODY[:26],
    "an Azure connection string": "AccountName=acme;Account" + f"Key={BODY}{BODY[:14]}==;",
    "an Azure client secret": "aB3" + "8Q~" + BODY[:34],
    "an Azure signature": "https://acme.blob.core.windows.net/c?sv=2024&" + f"sig={BODY[:44]}%3D",
    "a JSON web token": "ey" + f"J{BODY[:30]}.ey" + f"J{BODY[:40]}.{BODY[:43]}",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "a bearer token": "Authorization: Bearer " + BODY[:40],
    "a URL with a password": "postgres://app:" + "hunter2Zq7R@db.acme.internal/prod",
}
PLACES: list[tuple[str, Any]] = [
    ("instructions", lambda text: {"instructions": f"Call it with {text} and answer."}),
    ("description", lambda text: {"description": text}),
    ("metadata.note", lambda text: {"metadata": {"note": text}}),
    ("tools[1].function.description", lambda text: {"tools": [{}, {"function": {"description": f"'{text}'"}}]}),
    ("tools[0].headers.x", lambda text: {"tools": [{"type": "mcp", "headers": {"x": text}}]}),
    ("attributes.a", lambda text: {"attributes": {"a": text}}),
]


def suspects(records: Iterable[Record]) -> list[Suspect]:
    scan = Scan()
    for record in records:
        scan.look(record)
    return scan.found


def found(fields: dict[str, Any], kind: Kind = Kind.ASSISTANT) -> list[Suspect]:
    raw = json.dumps({"id": "x_1", **fields}).encode()
    return suspects([Record(kind=kind, id=SourceId("x_1"), raw=raw)])


@pytest.mark.parametrize("what", SPECIMENS)
def test_a_key_of_a_known_form_is_named_by_its_field_and_never_shown(what: str) -> None:
    for field, place in PLACES:
        several = found(place(SPECIMENS[what]))
        assert what in {one.looks_like for one in several}
        assert {one.field for one in several} == {field}
        assert not any(SPECIMENS[what][12:20] in str(one) for one in several)


def test_a_key_in_the_place_of_a_name_is_not_shown_either() -> None:
    secret = SPECIMENS["an OpenAI key"]
    (one,) = found({"metadata": {secret: "x"}}, Kind.AGENT)
    assert (one.kind, one.field) == (Kind.AGENT, "metadata.(a key)")
    assert secret not in str(one)


HARMLESS = [
    "Ask for the key; it begins with sk- or AKIA, and is secret.",
    "Put OPENAI_API_KEY=sk-your-key-goes-here-0123456789abcdef into .env",
    "sk-proj-" + "x" * 48,
    "AKIA" + "IOSFODNN7EXAMPLE",
    "The task-force-managing-international-logistics-operations-2024 met.",
    "risk-proj-analysis-of-the-second-quarter-of-2024-in-europe",
    "asst_abc123def456ghi789jkl012, vs_68f0c1d2e3a4b5c6d7e8f9a0b1c2d3e4, file-9aGZk3xRb7QmYt2LpWv8Ns",
    "0123456789abcdef0123456789abcdef01234567 is a commit, 8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60 a uuid",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
    "https://user:password@example.com/ and https://<user>:<pass>@host/, mailto:a@b.c",
    "See https://docs.acme.com/a?x=1&signature=none or http://127.0.0.1:8080/path@2",
    "The bearer of this letter is entitled to a refund of whatever was paid.",
    "Authorization: Bearer YOUR_ACCESS_TOKEN_GOES_RIGHT_HERE",
    "-----BEGIN PUBLIC KEY----- MIIB -----BEGIN CERTIFICATE-----",
    "glpat-, ghp_, xoxb- and hf_ are how they begin; npm_config_registry_of_the_company_is_elsewhere",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_speaks_of_keys_is_none(text: str) -> None:
    assert found({"instructions": text, "metadata": {text: text}}) == []


@examples(100, derandomize=True, database=None)
@given(st.text(alphabet=string.ascii_letters + string.digits + " .,:;/-_@=?&%'\n", max_size=300))
def test_text_without_the_beginning_of_a_key_has_none(text: str) -> None:
    heads = (
        "sk-",
        "AKIA",
        "ASIA",
        "eyJ",
        "://",
        "sig=",
        "_live_",
        "Bearer",
        "bearer",
        "xox",
        "AIza",
        "hf_",
        "npm_",
        "ghp_",
    )
    if not any(head in text for head in heads):
        assert found({"instructions": text}) == []


def test_what_nobody_can_read_is_passed_over() -> None:
    deep = b'{"x": "sk-' + BODY.encode() + b'", "y":' + b"[" * 5000 + b"]" * 5000 + b"}"
    for raw in (b'["sk-', b'{"x": "sk-\xff"}', deep):
        assert (suspects([Record(kind=Kind.FILE, id=SourceId("f"), raw=raw)])) == []


HEADS = (
    "-eyJ",
    "eyJ" + "a" * 16 + ".eyJ" + "b" * 20 + ".",
    "sk-proj-",
    "-sk-ant-a-",
    "aa://b:ccccccc",
    "a.a.",
    "?sig=a",
)
HEADS += ("-----BEGIN A ", "bearer ", "SG." + "a" * 25 + ".", "aaa8Q~", "A" * 52 + "JQQJ99", "\n", " ", "xoxb-")


@sweep("head", HEADS)
def test_a_text_full_of_beginnings_is_looked_through_once(head: str) -> None:
    hints = " sk- eyJ :// AKIA gh SG. JQQJ99 8Q~ sig= -----BEGIN earer EARER xox"
    assert_linear(found, lambda n: {"instructions": head * n + hints}, 50_000 // len(head))


def test_a_long_key_is_not_repeated_for_each_field_below_it() -> None:
    specimen = SPECIMENS["an AWS access key"]
    several = found({"k" * 100_000: [[specimen]] * 50_000, "x": specimen})
    assert len(several) <= 20
    assert all(len(one.field) <= 201 for one in several)


def test_of_more_than_can_be_searched_for_the_field_the_record_is_named() -> None:
    raw = json.dumps({"a": SPECIMENS["an AWS access key"], "b": "x" * (3 << 20)}).encode()
    several = suspects(Record(kind=Kind.ASSISTANT, id=SourceId(str(n)), raw=raw) for n in range(4))
    assert [(one.id, one.field) for one in several] == [
        ("0", "a"),
        ("1", "a"),
        ("2", "the record"),
        ("3", "the record"),
    ]


@pytest.mark.parametrize("written", [r"\n%s", r"\u0026%s", r"a\/%s", r"\\%s", r"\"%s\""])
def test_an_escape_in_the_json_hides_no_key(written: str) -> None:
    raw = (
        ('{"x": "' + written % "sig=" + BODY[:44] + '"}').encode()
        if "0026" in written
        else ('{"x": "' + written % SPECIMENS["an AWS access key"] + '"}').encode()
    )
    assert [one.field for one in suspects([Record(kind=Kind.ASSISTANT, id=SourceId("a"), raw=raw)])] == ["x"]


def test_of_very_many_the_first_are_kept_and_all_are_counted() -> None:
    scan, raw = Scan(), json.dumps({"a": SPECIMENS["an AWS access key"]}).encode()
    for n in range(1500):
        scan.look(Record(kind=Kind.ASSISTANT, id=SourceId(str(n)), raw=raw))
    assert (len(scan.found), scan.found.total) == (1000, 1500)
