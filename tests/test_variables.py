"""Which variable was meant by a name that nobody reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdall.settings import Lookup
from holdall.variables import VARIABLES, meant


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("MAX_CONCURENCY", "MAX_CONCURRENCY"),
        ("MAX_CONCURRENT", "MAX_CONCURRENCY"),
        ("CLONE_NAME", "CLONE_NAMES"),
        ("CLONE_ID", "CLONE_IDS"),
        ("OPENAI_SRC_KEY", "OPENAI_SRC_API_KEY"),
        ("OPENAI_SRC_APIKEY", "OPENAI_SRC_API_KEY"),
        ("OPENAI_SCR_API_KEY", "OPENAI_SRC_API_KEY"),
        ("OPENAI_DST_PROJECT", "OPENAI_DST_PROJECT_ID"),
        ("OPENAI_DST_ORGANIZATION", "OPENAI_DST_ORG_ID"),
        ("SRC_PROJECT_KEY", "SRC_PROJECT_API_KEY"),
        ("INCLUDE_FILESEARCH", "INCLUDE_FILE_SEARCH"),
        ("INCLUDE_CODE_INTERPRETOR", "INCLUDE_CODE_INTERPRETER"),
        ("DRYRUN", "DRY_RUN"),
        ("OUTPUTDIR", "OUTPUT_DIR"),
        ("max_concurrency", "MAX_CONCURRENCY"),
    ],
)
def test_a_near_miss(name: str, ours: str) -> None:
    assert meant(name) == ours


@pytest.mark.parametrize(
    "name",
    [
        *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_LOG"),
        *("AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY", "PATH", "HOME", "TMPDIR", "LOGLEVEL", "RUST_LOG", "SRC_DIR"),
        *(
            "NPM_CONFIG_LOGLEVEL",
            "INCLUDE",
            "INCLUDE_PATH",
            "CLONE_URL",
            "CLONE_DEPTH",
            "DST_DIR",
            "MAX_CONTENT_LENGTH",
        ),
        *("PYTHONPATH", "OUTPUT", "OUT_DIR", "LOG_FILE", "GIT_CLONE_PROTECTION_ACTIVE", "MAX_WORKERS", "HTTPS_PROXY"),
        *("HOLDALL_TRACEBACK", *sorted(VARIABLES)),
    ],
)
def test_names_of_ours_and_of_others(name: str) -> None:
    assert meant(name) is None


def test_the_line_names_both_and_where() -> None:
    lookup = Lookup({}, {"OPENAI_SRC_COLOUR": "red", "MAX_CONCURENCY": ""}, {"CLONE_NAME": "x"}, "/x/.env")
    assert lookup.near_misses() == [
        "OPENAI_SRC_COLOUR from the environment is ignored",
        "CLONE_NAME from /x/.env is ignored: did you mean CLONE_NAMES?",
    ]


def test_the_example_has_no_variable_that_is_not_read() -> None:
    example = (Path(__file__).parents[1] / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^([A-Z_]+)=", example, re.M)) <= VARIABLES
