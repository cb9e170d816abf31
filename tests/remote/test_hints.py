"""Each kind of failure has the hint that is about it, and what a setting can't change is not tried again."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx2
import openai
import pytest

from holdall.endpoint import Names, endpoint
from holdall.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionMisconfigured,
    NotFound,
    PermissionDenied,
    RemoteError,
    ServerFailed,
    Unreachable,
)
from holdall.remote.account_errors import AccountErrors
from holdall.remote.client import Account
from holdall.remote.hints import RequestTarget, for_page

AT = endpoint("sk-test-000001", "https://api.example/v1")


def from_below(*causes: BaseException) -> Exception:
    """The SDK's error with ``causes`` one below the other, as the transport raises them."""
    request = httpx2.Request("GET", "https://api.example/v1")
    error: BaseException = openai.APIConnectionError(request=request)
    top = error
    for cause in causes:
        error.__cause__ = cause
        error = cause
    assert isinstance(top, Exception)
    return top


def certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


def several(*errors: OSError) -> OSError:
    made = OSError("All connection attempts failed")
    made.__cause__ = ExceptionGroup("multiple connection attempts failed", errors)
    return made


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")


@pytest.mark.parametrize(
    ("causes", "cls", "hint"),
    [
        ([httpx2.ConnectError("x"), certificate(20)], ConnectionMisconfigured, "SSL_CERT_FILE"),
        ([httpx2.ConnectError("x"), certificate(18)], ConnectionMisconfigured, "REQUESTS_CA_BUNDLE"),
        ([httpx2.ConnectError("x"), certificate(10)], ConnectionMisconfigured, "date"),
        ([httpx2.ConnectError("x"), certificate(62)], ConnectionMisconfigured, "OPENAI_SRC_BASE_URL"),
        (
            [httpx2.ConnectError("x"), tls("WRONG_VERSION_NUMBER")],
            ConnectionMisconfigured,
            "for a server without TLS use http://",
        ),
        ([httpx2.ConnectError("x"), tls("UNEXPECTED_EOF_WHILE_READING")], Unreachable, "check the network"),
        ([httpx2.ConnectError("x"), socket.gaierror(-2, "not known")], Unreachable, "check the host"),
        ([httpx2.ConnectError("x"), OSError("all"), REFUSED], Unreachable, "is the server running"),
        ([httpx2.ConnectError("x"), several(REFUSED, REFUSED)], Unreachable, "is the server running"),
        ([httpx2.ConnectError("x"), OSError(errno.ENETUNREACH, "x")], Unreachable, "firewall"),
        ([httpx2.ConnectTimeout("x")], Unreachable, "firewall"),
        ([httpx2.ReadTimeout("x")], Unreachable, "did not answer"),
        ([httpx2.ProxyError("407 Proxy Authentication Required")], ConnectionMisconfigured, "USER:PASSWORD@"),
        ([httpx2.ProxyError("503 Service Unavailable")], Unreachable, "NO_PROXY"),
        ([httpx2.RemoteProtocolError("closed")], ConnectionLost, "check the network"),
    ],
)
def test_where_no_answer_came(
    monkeypatch: pytest.MonkeyPatch, causes: list[Exception], cls: type[RemoteError], hint: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    found = Account(AT).mapped("can't GET /files", from_below(*causes))
    assert type(found) is cls
    assert hint in found.hint
    assert "can't reach api.example" in found.message


def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hidden@proxy.corp:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    account = Account(AT)
    for causes in ([httpx2.ConnectError("x"), REFUSED], [httpx2.ProxyError("403 Forbidden")]):
        hint = account.mapped("can't GET /files", from_below(*causes)).hint
        assert "proxy.corp:3128" in hint
        assert "hidden" not in hint
    monkeypatch.setenv("NO_PROXY", "api.example")
    assert "proxy.corp" not in Account(AT).mapped("can't GET", from_below(httpx2.ConnectError("x"), REFUSED)).hint


def refused(
    status: int, text: str, *, kind: str = "application/json", url: str = AT.base_url, side: str = "source", **ids: str
) -> RemoteError:
    prefix = "DST" if side == "destination" else "SRC"
    names = Names(organization=f"OPENAI_{prefix}_ORG_ID from .env", project=f"--{prefix.lower()}-project-id")
    at = endpoint("sk-test-000001", url, names=names, insecure_http=True, **ids)
    errors = AccountErrors(RequestTarget(side=side, endpoint=at), lambda: ())
    return errors.refused("can't GET /files", status, {"content-type": kind}, text)


def body(message: str, code: str | None = None) -> str:
    said = "null" if code is None else f'"{code}"'
    return f'{{"error": {{"message": "{message}", "type": "invalid_request_error", "param": null, "code": {said}}}}}'


MISMATCH = "OpenAI-Organization header should match organization for API key"


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, body(MISMATCH, "mismatched_organization")),
        (401, body("The header is not the one of this key", "mismatched_organization")),
        (401, body("No such organization: org-x.", "invalid_organization")),
        (400, body("no such organization : null")),
        (401, body("You must be a member of an organization to use the API")),
    ],
)
def test_an_organisation_that_is_not_the_keys(status: int, text: str, side: str) -> None:
    prefix = "OPENAI_DST" if side == "destination" else "OPENAI_SRC"
    wrong = refused(status, text, side=side, organization="org-x")
    assert f"{prefix}_ORG_ID from .env is org-x" in wrong.hint
    missing = refused(status, text, side=side)
    assert f"set {prefix}_ORG_ID" in missing.hint


def test_a_project_that_is_not_the_keys() -> None:
    text = body("OpenAI-Project header should match project for API key", "mismatched_project")
    assert "--src-project-id is proj_x" in refused(401, text, project="proj_x").hint
    assert "OPENAI_DST_PROJECT_ID" in refused(401, text, side="destination").hint
    for other in ("project_spend_limit_exceeded", "model_not_found", "missing_scope"):
        assert "PROJECT_ID" not in refused(403, body("no", other), project="proj_x").hint


def test_a_region_is_named_as_the_server_names_it() -> None:
    text = body(
        "Attempted to access resource with incorrect regional hostname. Please make your request to eu.api.openai.com",
        "incorrect_hostname",
    )
    assert refused(401, text).hint == "set OPENAI_SRC_BASE_URL=https://eu.api.openai.com/v1"


AZURE = "https://acme.openai.azure.com/openai"


@pytest.mark.parametrize(
    ("status", "text", "url"),
    [
        (400, body("Missing required query parameter: api-version"), "https://x.example/openai"),
        (404, '{"error":{"code":"404","message": "Resource not found"}}', AZURE),
        (404, '{ "statusCode": 404, "message": "Resource not found" }', AZURE),
    ],
)
def test_azure_without_its_version(status: int, text: str, url: str) -> None:
    assert f"OPENAI_SRC_BASE_URL='{url}?api-version=v1'" in refused(status, text, url=url).hint


def test_azure_with_a_version() -> None:
    gone = '{"error":{"code":"404","message": "Resource not found"}}'
    assert refused(404, gone, url=f"{AZURE}?api-version=v1").hint == ""
    assert refused(404, gone).hint == ""
    old = refused(400, body("API version not supported"), url=f"{AZURE}?API-Version=2020-01-01")
    assert "?api-version=2020-01-01" in old.hint
    project = refused(400, body("API version not supported"), url="https://x.example/api/projects/p")
    assert "asked with api-version=v1" in project.hint


def test_a_foundry_project_is_told_by_its_own_words() -> None:
    url = "https://acme.services.ai.azure.com/api/projects/p"
    ended = refused(401, body("Access token has expired.", "401"), url=url, side="destination")
    assert "https://ai.azure.com/.default" in ended.hint
    assert "OPENAI_DST_TOKEN_COMMAND" in ended.hint
    assert "Foundry User" in refused(403, body("no such project", "project_mismatch"), url=url).hint
    assert "PROJECT_ID" not in refused(404, body("no such project"), url=url).hint


@pytest.mark.parametrize(
    "text", ["<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>"
    "<body><center>The plain HTTP request was sent to HTTPS port</center></body></html>",
    "Client sent an HTTP request to an HTTPS server.\n"],
)  # fmt: skip
def test_plain_http_where_tls_is_spoken(text: str) -> None:
    found = refused(400, text, kind="text/html", url="http://x.example/v1")
    assert "use https:// instead of http://" in found.hint


PAGE = "<!doctype html><html><head><title>Sign in &amp; go</title></head><body><p>hello</p></body></html>"


@pytest.mark.parametrize(
    ("status", "cls"), [(401, AuthenticationFailed), (403, PermissionDenied), (404, NotFound), (503, ServerFailed)]
)
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain"])
def test_a_page_that_refuses(status: int, cls: type[RemoteError], kind: str) -> None:
    found = refused(status, PAGE, kind=kind, url="https://x.example")
    assert type(found) is cls
    assert ("is /v1 missing at its end" in found.hint) == (status != 503)


def test_a_page_behind_a_redirect_names_where_it_is() -> None:
    place = RequestTarget(side="destination", endpoint=AT)
    assert "login.corp.example" in for_page(place, "https://login.corp.example")
    assert "missing at its end" not in for_page(place)
    assert "OPENAI_DST_BASE_URL (https://api.example/v1)" in for_page(place)
