"""What the API answers when it says no: status, sentence, type, param and code, in the service's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class ApiError(Exception):
    """An answer other than 2xx, as the API words it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        error: dict[str, Any] = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return msgspec.json.format(msgspec.json.encode({"error": error}), indent=2)


def invalid(message: str, param: str | None, code: str | None = None) -> ApiError:
    """400 for a request whose content isn't accepted."""
    return ApiError(400, message, param=param, code=code)


def missing_parameter(name: str) -> ApiError:
    return invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def not_found(message: str, param: str | None = None) -> ApiError:
    return ApiError(404, message, param=param)


def url_unknown(method: str, path: str) -> ApiError:
    return ApiError(404, f"Invalid URL ({method} {path})")


def method_unknown(method: str, path: str) -> ApiError:
    return ApiError(
        405,
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
        code="method_not_supported",
    )


def bad_json() -> ApiError:
    return ApiError(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
        "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you "
        "have trouble figuring out how to fix this, please contact us through our help center at help.openai.com.)",
    )


def server_error(status: int = 500) -> ApiError:
    words = {
        502: "Bad gateway.",
        503: "The server is currently overloaded with other requests. Sorry about that! You can retry your request.",
    }
    message = words.get(
        status,
        "The server had an error processing your request. Sorry about that! You can retry your request, or contact "
        "us through our help center at help.openai.com if you keep seeing this error.",
    )
    return ApiError(status, message, kind="server_error")


def key_missing() -> ApiError:
    return ApiError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
        "auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're "
        "accessing the API from your browser and are prompted for a username and password. You can obtain an API "
        "key from https://platform.openai.com/account/api-keys.",
    )


def key_wrong(key: str) -> ApiError:
    """401 that echoes a part of the key, as the service does: clients have to redact it."""
    shown = f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}" if len(key) > 12 else "*" * len(key)
    return ApiError(
        401,
        f"Incorrect API key provided: {shown}. "
        "You can find your API key at https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def organization_mismatch() -> ApiError:
    return ApiError(
        401,
        "OpenAI-Organization header should match organization for API key",
        code="mismatched_organization",
    )


def project_mismatch() -> ApiError:
    return ApiError(401, "OpenAI-Project header should match project for API key", code="mismatched_project")


def model_missing(model: str) -> ApiError:
    return ApiError(404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found")


def model_disabled(project: str, model: str) -> ApiError:
    return ApiError(403, f"Project `{project}` does not have access to model `{model}`", code="model_not_found")


def scope_missing(scope: str) -> ApiError:
    return ApiError(
        403,
        f"You have insufficient permissions for this operation. Missing scopes: {scope}. Check that you have the "
        "correct role in your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a "
        "restricted API key, that it has the necessary scopes.",
        code="missing_scope",
    )


def quoted(values: Sequence[str], *, last: str = "and") -> str:
    """``'a', 'b', and 'c'``, as the API lists what it would have accepted."""
    shown = [f"'{value}'" for value in values]
    if len(shown) < 3:
        return f" {last} ".join(shown)
    return ", ".join(shown[:-1]) + f", {last} {shown[-1]}"
