"""Refusals, in every form in which servers write them, become the right error of ours, without a secret in it."""

from __future__ import annotations

import re

import openai
import pytest

from holdall.endpoint import endpoint
from holdall.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
)
from holdall.remote.account_errors import AccountErrors, redacted, retry_after, until_reset
from holdall.remote.hints import RequestTarget

KEY = "sk-proj-THISISSECRET0123456789"


def answer(status: int, text: str, headers: dict[str, str] | None = None) -> RemoteError:
    target = RequestTarget(side="source", endpoint=endpoint(KEY))
    return AccountErrors(target, lambda: (KEY,)).refused("can't list assistants", status, headers or {}, text)


@pytest.mark.parametrize(
    ("status", "body", "cls"),
    [
        (
            401,
            '{"error":{"message":"Incorrect API key","type":"x","code":"invalid_api_key","param":null}}',
            AuthenticationFailed,
        ),
        (403, '{"error":{"message":"Missing scopes","type":null,"code":null,"param":null}}', PermissionDenied),
        (403, '{"error":{"message":"stop","code":"project_spend_limit_exceeded"}}', QuotaExhausted),
        (402, "Payment required", QuotaExhausted),
        (404, "null", NotFound),
        (429, '{"error":{"message":"slow","code":"rate_limit_exceeded"}}', RateLimited),
        (429, '{"error":{"message":"slow","code":"slow_down"}}', RateLimited),
        (429, '{"error":{"message":"slow","code":"files_api_rate_limit_exceeded"}}', RateLimited),
        (429, '{"error":{"message":"pay","type":"insufficient_quota","code":null}}', QuotaExhausted),
        (429, '{"error":{"message":"pay","code":"credit_balance_exhausted"}}', QuotaExhausted),
        (429, '{"error":{"message":"pay","code":"organization_spend_limit_exceeded"}}', QuotaExhausted),
        (429, '{"error":{"message":"pay","code":"monthly_usage_limit_exceeded"}}', QuotaExhausted),
        (429, '{"error":{"message":"pay","code":"billing_hard_limit_reached"}}', QuotaExhausted),
        (400, '{"error":"plain text"}', RequestRefused),
        (409, '{"detail":"busy"}', RequestRefused),
        (422, '{"detail":[{"loc":["body"]}]}', RequestRefused),
        (408, "", ServerFailed),
        (500, "<html><head><title>x</title></head><body><h1>Bad &amp; broken</h1></body></html>", ServerFailed),
        (503, "", ServerFailed),
        (302, "", UnexpectedAnswer),
    ],
)
def test_every_refusal_has_its_class(status: int, body: str, cls: type[RemoteError]) -> None:
    error = answer(status, body)
    assert type(error) is cls
    assert error.status == status
    assert error.message.startswith("can't list assistants: ")
    assert error.ambiguous == (status >= 500 or status == 408)


def test_foundry_s_refusals() -> None:
    said = "Files [assistant-1] were not found due to ownership verification failure"
    gone = answer(400, f'{{"error":{{"code":null,"param":null,"message":"{said}"}}}}')
    assert (type(gone), gone.status, gone.detail) == (NotFound, 400, said)
    assert type(answer(400, '{"error":{"message":"ownership is unclear"}}')) is RequestRefused
    body = '{"error":{"code":"UserError","message":"no","additionalInfo":{"request_id":"r-1"},"debugInfo":{}}}'
    assert (answer(400, body).code, answer(400, body).request_id) == ("UserError", "r-1")
    assert answer(400, '{"error":{"code":"UserError","message":"no","additionalInfo":[1]}}').request_id is None
    missing = answer(404, '{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}')
    assert "--map-model OLD=DEPLOYMENT" in missing.hint


def test_bodies_of_look_alikes_are_read() -> None:
    assert answer(400, '{"error":"plain text"}').detail == "plain text"
    assert answer(400, '{"message":"m","code":"c"}').detail == "m"
    assert answer(400, '{"message":"m","code":"c"}').code == "c"
    assert answer(400, '{"detail":"d"}').detail == "d"
    assert (
        answer(400, "<html><head><style>a{}</style></head><body><p>Bad &amp; broken</p></body></html>").detail
        == "Bad & broken"
    )
    assert answer(404, '{"error": {"code": "404", "message": "Azure says"}}').code == "404"
    assert answer(400, "[1]").detail == "[1]"
    assert answer(400, '{"error":{"message":null,"type":null,"param":null,"code":null}}').detail == ""


@pytest.mark.parametrize("text", [f"Incorrect API key provided: {KEY}.", "key sk-pr*****1234 is off", "Bearer abc.def"])
def test_no_key_survives_in_a_message(text: str) -> None:
    error = answer(401, f'{{"error":{{"message":"{text}"}}}}')
    for shown in (error.message, error.detail, error.hint, str(error)):
        assert "SECRET" not in shown
        assert "1234" not in shown
        assert "abc.def" not in shown


def test_redacted_takes_out_a_key_of_no_known_form() -> None:
    assert redacted("token hunter2secret was refused", "hunter2secret") == "token [key] was refused"


def test_retry_after_in_all_its_forms() -> None:
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=50) == 10
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=90) is None
    for nonsense in ("nan", "inf", "-3", "soon", ""):
        assert retry_after({"retry-after": nonsense}) is None
    assert retry_after({}) is None


def test_a_date_counts_from_the_servers_own_clock() -> None:
    headers = {"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT", "date": "Thu, 01 Jan 1970 00:00:53 GMT"}
    assert retry_after(headers, now=2_000_000_000) == 7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("120ms", 0.12),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("12.5", 12.5),
        ("", None),
        ("soon", None),
        ("1x", None),
        ("-1s", None),
    ],
)
def test_the_reset_of_a_limit_in_all_its_forms(value: str, seconds: float | None) -> None:
    headers = {"x-ratelimit-reset-requests": value, "x-ratelimit-remaining-requests": "0"}
    assert until_reset(headers) == seconds
    assert answer(429, "{}", headers).retry_after == seconds
    assert answer(500, "{}", headers).retry_after is None
    assert answer(429, "{}", {**headers, "retry-after": "5"}).retry_after == 5


def test_only_a_limit_that_is_used_up_is_waited_for() -> None:
    headers = {"x-ratelimit-reset-requests": "6ms", "x-ratelimit-remaining-requests": "9999"}
    assert until_reset(headers) is None
    tokens = {"x-ratelimit-reset-tokens": "7s", "x-ratelimit-remaining-tokens": "0"}
    assert until_reset({**headers, **tokens}) == 7
    assert until_reset({"x-ratelimit-reset-tokens": "7s", "x-ratelimit-reset-requests": "9s"}) == 9


def test_the_servers_wish_about_trying_again_is_read() -> None:
    assert answer(503, "", {"x-should-retry": "false"}).should_retry is False
    assert answer(409, "", {"x-should-retry": "True"}).should_retry is True
    assert answer(409, "", {"x-should-retry": "perhaps"}).should_retry is None


def test_every_status_error_of_the_sdk_is_known() -> None:
    """The SDK's classes, walked: each HTTP status that has a class of its own maps to one of ours."""

    def leaves(cls: type[Exception]) -> list[type[Exception]]:
        return [cls, *(leaf for sub in cls.__subclasses__() for leaf in leaves(sub))]

    statuses = {
        int(digits)
        for cls in leaves(openai.APIStatusError)
        for digits in re.findall(r"Literal\[(\d+)\]", str(cls.__annotations__.get("status_code")))
    }
    assert {400, 401, 403, 404, 409, 422, 429} <= statuses
    for status in statuses:
        assert type(answer(status, "")) not in (RemoteError, UnexpectedAnswer), status
