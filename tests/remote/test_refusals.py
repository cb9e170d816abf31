"""The reason of a refusal, out of the words that servers have for it."""

from __future__ import annotations

import pytest

from holdall.errors import RequestRefused
from holdall.remote.refusals import Refusal, RefusalReason, missing_scopes, read

FIELDS = ["temperature", "top_p", "reasoning_effort"]


@pytest.mark.parametrize(
    ("param", "said", "fields"),
    [
        ("temperature", "", ["temperature"]),
        ("body.temperature", "top_p is fine", ["temperature"]),
        ("model", "Unsupported parameter: 'temperature' is not supported with this model.", ["temperature"]),
        (None, "Unsupported parameter: 'top_p' is not supported with this model.", ["top_p"]),
        (None, "`top_p` and temperature can't be combined", ["top_p"]),
        (None, '[{"loc":["body","reasoning_effort"],"msg":"Extra inputs are not permitted"}]', ["reasoning_effort"]),
        ("model", "this model takes no temperature", ["temperature"]),
        (None, "no such file", []),
        ("model", "no such model", []),
        (None, "a temperature_unit is missing", []),
        ("tools[0].function.parameters.temperature", "Invalid schema", []),
    ],
)
def test_the_fields_that_are_to_blame(param: str | None, said: str, fields: list[str]) -> None:
    assert Refusal(reason=RefusalReason.OTHER, said=said, param=param).blames(FIELDS) == fields


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Invalid extension xyz. Supported formats: c, md", RefusalReason.TYPE),
        ("Files of the ending .PDF can't be searched.", RefusalReason.TYPE),
        ("Unsupported file type: .zip", RefusalReason.TYPE),
        ("Files with extensions [.PNG] are not supported for retrieval.", RefusalReason.TYPE),
        ("The file format is not supported", RefusalReason.TYPE),
        ("Expected an array with at most 100 files, got 200 files", RefusalReason.TOO_MUCH),
        ("File is too large", RefusalReason.TOO_MUCH),
        ("The file is in the store already", RefusalReason.ALREADY),
        ("", RefusalReason.UNTOLD),
        ("no", RefusalReason.OTHER),
    ],
)
def test_the_reason(said: str, reason: RefusalReason) -> None:
    assert read(RequestRefused("can't", status=400, detail=said)).reason is reason


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        ("file_size_exceeded", "The file is 600 MB.", RefusalReason.TOO_MUCH),
        ("tool_limit_exceeded", "", RefusalReason.TOO_MUCH),
        ("token_limit_exceeded", "no", RefusalReason.TOO_MUCH),
        ("content_size_exceeded", "no", RefusalReason.TOO_MUCH),
        ("UserError", "An agent can have at most 1,000 versions.", RefusalReason.TOO_MUCH),
        ("DeploymentNotFound", "The API deployment for this resource does not exist.", RefusalReason.MODEL),
        ("invalid_parameters", "Must start and end with alphanumeric characters", RefusalReason.OTHER),
    ],
)
def test_the_reason_in_foundry_s_words(code: str, said: str, reason: RefusalReason) -> None:
    assert read(RequestRefused("can't", status=400, code=code, detail=said)).reason is reason


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Files with extensions [.png, .GIF] are not supported for retrieval. See https://x.y/a.md", {"png", "GIF"}),
        ('Invalid extension xyz. Supported formats: "c", "md"', {"Invalid", "extension", "xyz"}),
        ("Unsupported file type: .zip. Supported types are .md and .txt", {"zip"}),
    ],
)
def test_the_endings_that_are_accused(message: str, found: set[str]) -> None:
    assert Refusal(reason=RefusalReason.TYPE, said=message).endings() == found


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ("You have insufficient permissions. Missing scopes: api.files.read, api.files.write.", 2),
        ("Missing scopes", 0),
        ("not allowed", None),
    ],
)
def test_the_permissions_that_a_key_lacks(said: str, scopes: int | None) -> None:
    found = missing_scopes(RequestRefused("can't", status=403, detail=said))
    assert (None if found is None else len(found)) == scopes
