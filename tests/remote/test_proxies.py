"""Which proxy is taken, and which hosts need none."""

from __future__ import annotations

import os

import pytest

from holdall.errors import UsageFault
from holdall.remote.transport import proxy_for


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("value", ["http://user:hidden@proxy.corp:3128/", "user:hidden@proxy.corp:3128"])
def test_a_proxy_is_named_without_its_password(environ: pytest.MonkeyPatch, name: str, value: str) -> None:
    environ.setenv(name, value)
    found = proxy_for("https://api.example/v1")
    assert str(found) == f"proxy.corp:3128 ({name})"
    assert found is not None
    assert "hidden" not in repr(found)
    assert "user:hidden@" in found.url.reveal()
    assert (proxy_for("http://api.example") is None) == ("HTTPS" in name.upper())


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/v1", "http://127.9.9.9", "https://localhost", "http://[::1]:1", "http://[::ffff:127.0.0.1]"],
)
def test_this_machine_is_reached_without_one(environ: pytest.MonkeyPatch, url: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        environ.setenv(name, "nonsense://nowhere")
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("listed", "url", "exempt"),
    [
        ("*", "https://api.example", True),
        ("api.example", "https://api.example", True),
        ("example", "https://api.example", True),
        (".example", "https://api.example", True),
        ("*.example", "https://api.example", True),
        ("x, API.example", "https://api.example", True),
        ("api.example:443", "https://api.example:443", True),
        ("api.example:444", "https://api.example:443", False),
        ("pi.example", "https://api.example", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("fd00::/8", "https://[fd00::1]:8443", True),
        ("[fd00::1]", "https://[fd00::1]", True),
        ("localhost,127.0.0.1", "https://api.example", False),
    ],
)
def test_hosts_that_need_none(environ: pytest.MonkeyPatch, listed: str, url: str, exempt: bool) -> None:
    environ.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    environ.setenv("NO_PROXY", listed)
    assert (proxy_for(url) is None) == exempt


def test_an_empty_variable_names_none(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    environ.setenv("https_proxy", "")
    assert proxy_for("https://api.example") is None


@pytest.mark.parametrize("value", ["http://user:1#hidden@x:1", "ftp://hidden", "http://x:hidden", "http://hid\x07den"])
def test_one_that_cannot_be_used_is_not_shown(environ: pytest.MonkeyPatch, value: str) -> None:
    environ.setenv("ALL_PROXY", value)
    with pytest.raises(UsageFault, match="ALL_PROXY") as caught:
        proxy_for("https://api.example")
    assert "hid" not in caught.value.message + caught.value.hint
