"""Faults on demand: each does what it says to the requests that it was meant for, and to no others."""

from __future__ import annotations

import http.client

import pytest

from holdall.sandbox.behaviour import (
    Bomb,
    BombKind,
    CutBody,
    Doubled,
    Fail,
    FaultRule,
    Gone,
    NoQuota,
    RateLimit,
    Reset,
    Slow,
    Stall,
    Storm,
    WrongLength,
)
from holdall.sandbox.faults.fault_rules import Faults
from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, upload
from tests.sweep import sweep


def assistants(box: Running) -> int:
    return len(ask(box.url, "GET", "/assistants").json()["data"])


def create(box: Running) -> int:
    return ask(box.url, "POST", "/assistants", {"model": "gpt-4o"}).status


def test_rate_limits(box: Running) -> None:
    box.fault(RateLimit(retry_after=1.5), "POST", "/assistants")
    box.fault(RateLimit(), "POST", "/assistants")
    body = {"model": "gpt-4o"}
    answer = ask(box.url, "POST", "/assistants", body)
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (429, "rate_limit_exceeded", "1.5")
    answer = ask(box.url, "POST", "/assistants", body)
    assert answer.status == 429
    assert "retry-after" not in answer.headers
    assert answer.headers["openai-project"]
    assert assistants(box) == 0
    assert create(box) == 200


def test_a_rate_limit_says_when_in_more_ways_than_one(box: Running) -> None:
    box.fault(RateLimit(retry_after=0.12, header="retry-after-ms"))
    box.fault(RateLimit(retry_after=0.12, header="x-ratelimit-reset"))
    assert ask(box.url, "GET", "/files").headers["retry-after-ms"] == "120"
    headers = ask(box.url, "GET", "/files").headers
    assert (headers["x-ratelimit-reset-requests"], headers["x-ratelimit-remaining-requests"]) == ("120ms", "0")
    assert ask(box.url, "GET", "/files").headers["x-ratelimit-remaining-requests"] == "9999"


def test_no_quota(box: Running) -> None:
    box.fault(NoQuota(), times=2)
    for _ in range(2):
        error = ask(box.url, "GET", "/files").error
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert ask(box.url, "GET", "/files").status == 200


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_errors_before_execution(box: Running, status: int) -> None:
    box.fault(Fail(status=status), "POST")
    answer = ask(box.url, "POST", "/assistants", {"model": "gpt-4o"})
    assert (answer.status, answer.error["type"]) == (status, "server_error")
    assert assistants(box) == 0


def test_a_server_error_in_html_after_execution(box: Running) -> None:
    box.fault(Fail(status=502, html=True, executed=True), "POST")
    answer = ask(box.url, "POST", "/assistants", {"model": "gpt-4o"})
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert b"<h1>502</h1>" in answer.body
    assert assistants(box) == 1


@pytest.mark.parametrize("executed", [False, True])
def test_resets(box: Running, executed: bool) -> None:
    box.fault(Reset(executed=executed), "POST", "/assistants")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        create(box)
    assert assistants(box) == int(executed)
    lost = next(entry for entry in box.requests() if entry.method == "POST")
    assert (lost.status, lost.executed, lost.is_write) == (0, executed, executed)


def test_an_upload_whose_reply_is_lost_was_made(box: Running) -> None:
    box.fault(Reset(executed=True), "POST", "/files")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        upload(box.url, "a.txt", b"x" * 300_000)
    assert [file["bytes"] for file in ask(box.url, "GET", "/files").json()["data"]] == [300_000]


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_bodies_that_are_cut(box: Running, size: int) -> None:
    box.behave(serve_assistants_files=True)
    file = upload(box.url, "a.txt", b"x" * size).json()["id"]
    box.fault(CutBody(after=900), "GET", "/files/*/content")
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(box.url, "GET", f"/files/{file}/content")
    assert (len(caught.value.partial), caught.value.expected) == (900, size - 900)
    box.fault(WrongLength(missing=7), "GET", "/files/*/content")
    answer = ask(box.url, "GET", f"/files/{file}/content")
    assert (len(answer.body), answer.headers["content-length"]) == (size - 7, str(size - 7))
    assert len(ask(box.url, "GET", f"/files/{file}/content").body) == size


def test_a_rule_passes_some_and_then_hits_some(box: Running) -> None:
    box.fault(Fail(), "GET", "/files", skip=1, times=2)
    statuses = [ask(box.url, "GET", "/files").status for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]
    box.fault(Fail(), "GET", "/files", times=100)
    box.clear_faults()
    assert ask(box.url, "GET", "/files").status == 200


def test_the_request_log(box: Running) -> None:
    create(box)
    ask(box.url, "GET", "/files?limit=3")
    ask(box.url, "POST", "/assistants", {})
    ask(box.url, "GET", "/files", key="nonsense")
    assert [(entry.method, entry.path, entry.query, entry.status) for entry in box.requests()] == [
        ("POST", "/v1/assistants", "", 200),
        ("GET", "/v1/files", "limit=3", 200),
        ("POST", "/v1/assistants", "", 400),
        ("GET", "/v1/files", "", 401),
    ]
    assert box.requests()[3].project is None
    assert box.requests()[0].project == box.requests()[1].project is not None
    assert box.writes() == 1
    box.forget_requests()
    assert box.requests() == []


def test_a_body_that_falls_silent(box: Running) -> None:
    file = upload(box.url, "a.png", b"0123456789", purpose="vision").json()["id"]
    box.fault(Stall(after=4, seconds=0.01), path="/files/*/content", times=2)
    box.fault(CutBody(after=99), path="/files/*/content")
    for came in (b"0123", b"0123", b"012345678"):
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(box.url, "GET", f"/files/{file}/content")
        assert caught.value.partial == came
    assert ask(box.url, "GET", f"/files/{file}/content").body == b"0123456789"


def test_a_slow_answer_is_executed_first(box: Running) -> None:
    box.fault(Slow(seconds=0.01), "POST")
    assert create(box) == 200
    assert assistants(box) == 1


def test_items_that_come_twice_and_items_that_are_gone(box: Running) -> None:
    create(box)
    create(box)
    box.fault(Doubled(), path="/assistants")
    ids = [each["id"] for each in ask(box.url, "GET", "/assistants").json()["data"]]
    assert ids == [ids[0], ids[0], ids[2], ids[2]]
    box.fault(Gone(), path="/assistants/*")
    assert ask(box.url, "GET", f"/assistants/{ids[0]}").status == 404
    assert ask(box.url, "GET", f"/assistants/{ids[0]}").status == 200


def fates(seed: int, rate: float = 0.3) -> list[object]:
    faults = Faults()
    faults.add(FaultRule(fault=Storm(seed=seed, rate=rate)))
    asked = [("GET", "/files"), ("GET", "/files/file-1"), ("POST", "/files"), ("GET", "/files/file-1/content")]
    return [faults.take(method, path, None) for _ in range(250) for method, path in asked]


def test_a_storm_is_the_same_under_the_same_seed_and_hits_as_many_as_it_says() -> None:
    one = fates(1)
    assert fates(1) == one
    assert fates(2) != one
    hit = [fate for fate in one if fate is not None]
    assert 240 < len(hit) < 360
    assert {type(fate) for fate in hit} == {RateLimit, Fail, Reset, CutBody, Stall, Slow, WrongLength, Doubled}
    assert {fate.status for fate in hit if isinstance(fate, Fail)} == {500, 502, 503}
    assert len(set(filter(None, fates(1, 1.0)))) > 300
    assert not any(fates(1, 0.0))
    lists, others = one[::4], one[1::4] + one[2::4] + one[3::4]
    assert any(isinstance(fate, Doubled) for fate in lists)
    assert not any(isinstance(fate, Doubled) for fate in others)


def test_a_storm_goes_on_until_it_is_forgotten(box: Running) -> None:
    box.fault(Storm(rate=1.0, kinds=("fail",)))
    assert {ask(box.url, "GET", "/files").status for _ in range(20)} == {500, 502, 503}
    box.clear_faults()
    assert ask(box.url, "GET", "/files").status == 200


@sweep(("kind", "status", "at_least"), [("page", 400, 300_000), ("deep", 200, 200_000), ("packed", 200, 200_000)])
def test_an_answer_that_nobody_can_hold(box: Running, kind: BombKind, status: int, at_least: int) -> None:
    box.fault(Bomb(kind=kind), "POST", "/assistants")
    answer = ask(box.url, "POST", "/assistants", {"model": "gpt-4o"})
    assert answer.status == status
    assert len(answer.body) >= at_least
    assert assistants(box) == 0


def test_a_list_without_end(box: Running) -> None:
    box.fault(Bomb(kind="endless_list"), "GET", "/files", times=2)
    first, second = (ask(box.url, "GET", "/files").json() for _ in range(2))
    assert first["has_more"]
    assert not {each["id"] for each in first["data"]} & {each["id"] for each in second["data"]}
