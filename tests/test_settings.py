"""Flags over environment over .env; every value knows where it comes from; a bad one is named."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.endpoint import DEFAULT_BASE_URL, endpoint
from holdall.errors import AuthenticationFailed, UsageFault
from holdall.selection import Selection
from holdall.settings import (
    DestinationSettings,
    Lookup,
    SourceSettings,
    both_settings,
    destination_settings,
    source_settings,
)

KEYS = {"OPENAI_SRC_API_KEY": "sk-src-000001", "OPENAI_DST_API_KEY": "sk-dst-000001"}


def source(
    flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, dotenv: dict[str, str] | None = None
) -> SourceSettings:
    return source_settings(Lookup(flags or {}, {**KEYS, **(environ or {})}, dotenv or {}, "/x/.env"))


def destination(
    flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, dotenv: dict[str, str] | None = None
) -> DestinationSettings:
    return destination_settings(Lookup(flags or {}, {**KEYS, **(environ or {})}, dotenv or {}, "/x/.env"))


def test_flag_beats_environment_beats_dotenv() -> None:
    assert source(dotenv={"MAX_CONCURRENCY": "5"}).concurrency == 5
    assert source(environ={"MAX_CONCURRENCY": "6"}, dotenv={"MAX_CONCURRENCY": "5"}).concurrency == 6
    assert source({"--concurrency": 7}, {"MAX_CONCURRENCY": "6"}, {"MAX_CONCURRENCY": "5"}).concurrency == 7
    assert source().concurrency == 3
    assert source(environ={"MAX_CONCURRENCY": ""}, dotenv={"MAX_CONCURRENCY": "5"}).concurrency == 5


def test_both_names_of_a_key_and_none_of_the_sdk() -> None:
    other = source_settings(Lookup({}, {"SRC_PROJECT_API_KEY": "sk-other-0001"}, {}))
    assert other.endpoint.key.reveal() == "sk-other-0001"
    with pytest.raises(AuthenticationFailed, match="OPENAI_SRC_API_KEY is not set"):
        source_settings(Lookup({}, {"OPENAI_API_KEY": "sk-ambient-1", "OPENAI_DST_API_KEY": "sk-dst-1"}, {}))
    with pytest.raises(AuthenticationFailed, match="OPENAI_DST_API_KEY is not set"):
        destination_settings(Lookup({}, {"OPENAI_SRC_API_KEY": "sk-src-1"}, {}))


def test_what_narrows_the_work_is_told_with_its_origin() -> None:
    settings = source(environ={"INCLUDE_FILE_SEARCH": "false"}, dotenv={"CLONE_MODE": "by_id", "CLONE_IDS": "a, b"})
    assert settings.selection.only == ("asst:a", "asst:b")
    assert not settings.file_search
    assert settings.code_interpreter
    assert settings.notices == [
        "CLONE_MODE=by_id from /x/.env, CLONE_IDS=a,b from /x/.env",
        "INCLUDE_FILE_SEARCH=false from the environment",
    ]
    assert destination(dotenv={"DRY_RUN": "TRUE"}).notices == ["DRY_RUN=true from /x/.env"]
    assert destination({"--dry-run": True}).notices == []


def test_flags_make_the_clone_mode_mute() -> None:
    dotenv = {"CLONE_MODE": "by_id", "CLONE_IDS": "a"}
    assert source({"--all": True}, dotenv=dotenv).selection == Selection()
    assert source({"--name": ("S*",), "--id": ()}, dotenv=dotenv).selection.only == ("asst:S*",)
    with pytest.raises(UsageFault, match="--all"):
        source({"--all": True, "--id": ("x",)})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("CLONE_MODE", "some", r"all \| by_id \| by_name"),
        ("INCLUDE_FILE_SEARCH", "maybe", "true or false"),
        ("MAX_CONCURRENCY", "0", "1 to 256"),
        ("MAX_CONCURRENCY", "many", "1 to 256"),
        ("LOG_LEVEL", "loud", "debug"),
    ],
)
def test_a_bad_value_names_the_variable_its_origin_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(UsageFault, match=rf"{name}='{value}' from /x/.env: must be .*{allowed}"):
        source(dotenv={name: value})


def test_a_mode_without_its_list_is_refused() -> None:
    with pytest.raises(UsageFault, match="CLONE_NAMES is not set"):
        source(environ={"CLONE_MODE": "by_name"})


def test_a_query_in_the_base_url_goes_on_every_request_and_the_path_keeps_no_slash() -> None:
    found = endpoint("sk-abcdef", "https://x.example/api/v1/?api-version=v1&a=b")
    assert found.base_url == "https://x.example/api/v1"
    assert found.query == {"api-version": "v1", "a": "b"}
    assert endpoint("sk-abcdef").base_url == DEFAULT_BASE_URL


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com/v1",
        "ftp://x/v1",
        "https://",
        "https://u:p@x/v1",
        "http://[x/v1",
        "http://x:99999/v1",
        "http://x:y",
    ],
)
def test_a_base_url_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(UsageFault, match="base URL"):
        endpoint("sk-abcdef", url)


@pytest.mark.parametrize("key", ["", "sk-a b", "sk-a\nb", "sk-ü"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(UsageFault) as caught:
        endpoint(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_SRC_BASE_URL", "127.0.0.1:8400/v1"),
        ("OPENAI_SRC_API_KEY", "sk-a b"),
        ("OPENAI_SRC_ORG_ID", "org-ö"),
        ("OPENAI_SRC_PROJECT_ID", "proj_a\nb"),
    ],
)
def test_a_part_of_an_account_that_cannot_be_meant_is_named_with_its_origin(name: str, value: str) -> None:
    with pytest.raises(UsageFault, match=f"can't use {name} from the environment: "):
        source(environ={name: value})


def test_a_secret_never_prints_itself() -> None:
    found = endpoint("sk-abcdef")
    assert "abcdef" not in repr(found)
    assert "abcdef" not in f"{found.key} {found.key!r}"


def test_a_token_command_comes_from_flag_or_environment_and_never_from_a_file() -> None:
    command = {"OPENAI_SRC_TOKEN_COMMAND": "az account get-access-token --scope 'a b'"}
    words = ("az", "account", "get-access-token", "--scope", "a b")
    found = source_settings(Lookup({}, command, {})).endpoint
    assert found is not None
    assert found.token_command == words
    flagged = source_settings(Lookup({"--src-token-command": "printtoken"}, {}, {})).endpoint
    assert flagged is not None
    assert flagged.token_command == ("printtoken",)
    assert destination(environ={"OPENAI_DST_TOKEN_COMMAND": "t d"}).endpoint.token_command == ("t", "d")
    assert destination(flags={"--dst-token-command": "printtoken"}).endpoint.token_command == ("printtoken",)
    with pytest.raises(AuthenticationFailed) as caught:
        source_settings(Lookup({}, {}, command, "/x/.env"))
    assert "OPENAI_SRC_TOKEN_COMMAND from /x/.env is ignored" in caught.value.hint
    with pytest.raises(UsageFault, match="OPENAI_SRC_TOKEN_COMMAND"):
        source_settings(Lookup({}, {"OPENAI_SRC_TOKEN_COMMAND": "'unclosed"}, {}))


def test_both_sides_are_those_that_have_a_key() -> None:
    both = both_settings(Lookup({}, KEYS, {}))
    assert both.source
    assert both.destination
    command = both_settings(Lookup({"--src-token-command": "print-token"}, {}, {}))
    assert (command.source is None, command.destination is None) == (False, True)
    with pytest.raises(AuthenticationFailed, match="neither"):
        both_settings(Lookup({}, {"OPENAI_API_KEY": "sk-ambient-0001"}, {}))


def test_variables_that_nothing_reads_are_named_with_their_origin() -> None:
    environ = {"OPENAI_ORG_ID": "org", "OPENAI_SRC_KEY": "sk-mistyped", "OPENAI_DST_ORG_ID": "org", "OPENAI_LOG": ""}
    ignored = both_settings(Lookup({}, KEYS | environ, {"OPENAI_API_KEY": "sk-x", "MODEL": "x"}, "/x/.env")).ignored
    assert ignored == [
        ("OPENAI_ORG_ID", "environment"),
        ("OPENAI_SRC_KEY", "environment"),
        ("OPENAI_API_KEY", "/x/.env"),
    ]


@pytest.mark.parametrize(
    ("said", "both"),
    [
        ({"CLONE_NAMES": "S*"}, "can't use CLONE_NAMES from /x/.env: CLONE_MODE is not set"),
        ({"CLONE_IDS": "asst_1"}, "can't use CLONE_IDS from /x/.env: CLONE_MODE is not set"),
        ({"CLONE_IDS": "asst_1", "CLONE_MODE": "all"}, "can't use CLONE_IDS from /x/.env: CLONE_MODE is all"),
        (
            {"CLONE_IDS": "asst_1", "CLONE_NAMES": "S*", "CLONE_MODE": "by_name"},
            "can't use CLONE_IDS from /x/.env: CLONE_MODE is by_name",
        ),
    ],
)
def test_a_list_without_its_mode_is_refused(said: dict[str, str], both: str) -> None:
    with pytest.raises(UsageFault) as caught:
        source(dotenv=said)
    assert both in caught.value.message
    assert f"CLONE_MODE={'by_id' if 'CLONE_IDS' in both else 'by_name'}" in caught.value.hint
    # A flag says it all, so that the file's list isn't ignored silently but on purpose.
    assert source({"--all": True}, dotenv=said).selection == Selection()


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "CLONE_MODE": "some",
        "CLONE_NAMES": "S*",
        "INCLUDE_FILE_SEARCH": "flase",
        "INCLUDE_CODE_INTERPRETER": "ture",
        "MAX_CONCURRENCY": "0",
        "LOG_LEVEL": "loud",
        "OPENAI_SRC_BASE_URL": "api.example/v1",
        "OPENAI_SRC_ORG_ID": "org a",
        "OPENAI_SRC_PROJECT_ID": "proj a",
    }
    with pytest.raises(UsageFault) as caught:
        source({"--only": ("store:",)}, environ={"OPENAI_SRC_API_KEY": "sk-a b"}, dotenv=wrong)
    # --only makes the mode and its lists mute.
    named = [name for name in wrong if not name.startswith("CLONE_")]
    assert len(caught.value.mistakes) == len(named) + 2
    for name in (*named, "OPENAI_SRC_API_KEY", "store:"):
        assert name in caught.value.message
    assert "sk-a b" not in caught.value.message
    with pytest.raises(UsageFault) as caught:
        destination(
            dotenv={"DRY_RUN": "yep", "HOLDALL_SETTLE": "-1", "OPENAI_DST_BASE_URL": "x", "MAX_CONCURRENCY": "y"}
        )
    assert len(caught.value.mistakes) == 4


def test_a_key_that_is_missing_keeps_its_class_where_nothing_else_is_wrong() -> None:
    with pytest.raises(AuthenticationFailed):
        source_settings(Lookup({}, {}, {}))
    with pytest.raises(UsageFault) as caught:
        source_settings(Lookup({}, {"MAX_CONCURRENCY": "x", "OPENAI_SRC_BASE_URL": "x"}, {}))
    assert [type(each) for each in caught.value.mistakes].count(AuthenticationFailed) == 1
    assert len(caught.value.mistakes) == 3
