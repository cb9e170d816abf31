"""Azure's addresses, as they are copied from its portal: understood, or refused with the right one."""

from __future__ import annotations

import pytest

from holdall.endpoint import endpoint, same_account
from holdall.errors import UsageFault

HOST = "https://acme.services.ai.azure.com"
PROJECT = f"{HOST}/api/projects/p"
GATEWAY = "http://127.0.0.1:8400/gate/api/projects/p"


@pytest.mark.parametrize("query", ["", "?api-version=v1", "?api-version=2025-05-01", "?API-Version=2025-05-01"])
@pytest.mark.parametrize("tail", ["", "/", "/openai", "/openai/", "/openai/v1", "/openai/v1/"])
@pytest.mark.parametrize("base", [PROJECT, GATEWAY])
def test_a_project_has_one_base_url_whichever_part_of_it_is_given(base: str, tail: str, query: str) -> None:
    found = endpoint("token", f"{base}{tail}{query}")
    assert (found.base_url, found.is_foundry) == (base, True)
    name, _, version = query[1:].partition("=")
    assert found.query == ({name: version} if version else {"api-version": "v1"})
    assert found.title == f"{found.host} (p)"
    assert found.is_same(endpoint("another", base.replace("acme", "ACME")))
    found.require_project()


@pytest.mark.parametrize(
    ("url", "query"),
    [
        (f"{HOST}/openai/v1", {}),
        (f"{HOST}/openai/v1/?api-version=v1", {}),
        ("https://acme.openai.azure.com/openai/v1?api-version=preview&a=b", {"a": "b"}),
        ("https://acme.cognitiveservices.azure.com/openai/v1", {}),
        ("https://acme.openai.azure.com/openai?api-version=2024-05-01-preview", {"api-version": "2024-05-01-preview"}),
        ("https://x.example/openai/v1?api-version=v1", {"api-version": "v1"}),
        ("https://x.example/api/projects/42/v1", {}),
    ],
)
def test_an_account_s_models_are_a_server_like_any_other_but_no_project(url: str, query: dict[str, str]) -> None:
    found = endpoint("key", url)
    assert found.base_url == url.partition("?")[0].rstrip("/")
    assert (found.query, found.is_foundry) == (query, False)
    with pytest.raises(UsageFault, match="is not the address of a Foundry project") as caught:
        found.require_project()
    account = "acme" if "acme" in url else "ACCOUNT"
    assert caught.value.hint == f"it has the form https://{account}.services.ai.azure.com/api/projects/PROJECT"


@pytest.mark.parametrize(
    "url",
    [
        HOST,
        f"{HOST}/",
        f"{HOST}?api-version=v1",
        f"{HOST}/api/projects",
        f"{PROJECT}/agents/support/endpoint/protocols/openai/responses",
        "https://acme.openai.azure.com/",
        "https://acme.cognitiveservices.azure.com",
    ],
)
def test_an_address_without_an_api_is_refused_with_the_right_ones(url: str) -> None:
    with pytest.raises(UsageFault, match="can't use the base URL: no API") as caught:
        endpoint("token", url)
    assert f"{HOST}/api/projects/PROJECT" in caught.value.hint
    assert f"https://{url.split('/')[2].partition('?')[0]}/openai/v1" in caught.value.hint


@pytest.mark.parametrize("end", ["us", "cn"])
def test_the_other_clouds_keep_their_ending(end: str) -> None:
    with pytest.raises(UsageFault) as caught:
        endpoint("token", f"https://acme.openai.azure.{end}")
    assert f"use https://acme.services.ai.azure.{end}/api/projects/PROJECT" in caught.value.hint


@pytest.mark.parametrize(
    ("journal", "same"),
    [
        (PROJECT, True),
        (f"{PROJECT}/openai/v1", True),
        ("https://ACME.services.ai.azure.com/api/projects/p", True),
        (f"{HOST}/api/projects/q", False),
        (f"{HOST}/openai/v1", False),
        ("http://[x", False),
    ],
)
def test_a_journal_of_a_project_stays_one_of_it(journal: str, same: bool) -> None:
    now = endpoint("token", f"{PROJECT}/openai/v1?api-version=v1").base_url
    assert same_account({"base_url": journal}, {"base_url": now}) is same
