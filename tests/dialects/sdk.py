"""What the SDK's own types say of a request for the Responses API."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import TypeAdapter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
    from openai.types.responses.tool_param import ToolParam

_request: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)
_tools: TypeAdapter[Any] = TypeAdapter(list[ToolParam])


def accept(request: dict[str, Any]) -> None:
    """Fail unless ``responses.create(**request, input=…)`` is well typed, and each key, also far inside, is known.

    Validation drops what the types don't know, so what comes out must be what went in.
    """
    known = ResponseCreateParamsNonStreaming.__required_keys__ | ResponseCreateParamsNonStreaming.__optional_keys__
    assert request.keys() <= known - {"input"}
    rest = {key: value for key, value in request.items() if key != "tools"}
    assert _request.validate_python({**rest, "input": "hello"}, strict=True) == {**rest, "input": "hello"}
    assert _tools.validate_python(request.get("tools", []), strict=True) == request.get("tools", [])
