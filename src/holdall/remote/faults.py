"""An HTTP answer that is an error, read as one of ours.

Pure: status, headers and body in, a RemoteError out. Error bodies come as ``{"error": {...}}`` from OpenAI and in
every other form from servers that call themselves compatible and from proxies on the way.
"""

from __future__ import annotations

import email.utils
import html
import math
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.endpoint import Endpoint
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
from holdall.redaction import MARK, redactor
from holdall.remote import hints, refusals
from holdall.remote.hints import RequestTarget
from holdall.untrusted import read_json

__all__ = ["from_answer", "is_page", "page_title", "redacted", "retry_after", "until_reset"]

_KEYLIKE = re.compile(r"(?i)\b(?:sk|pk|sess|rk)-[a-z0-9_*.-]{4,}|\bBearer\s+\S+|\beyJ[a-z0-9_-]{10,}[a-z0-9_.-]*")
_UNSEEN = ("script", "style", "head")
_PAGE = re.compile(r"\ufeff?\s*<(!doctype\s+html|html|head|body)\b", re.I)
_LONGEST_DETAIL = 300
_LONGEST_TITLE = 80
_LONGEST_WORD = 200
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def redacted(text: str, keys: str | tuple[str, ...] = ()) -> str:
    """``text`` without anything that looks like a key or token, and without ``keys`` themselves in any encoding."""
    return _KEYLIKE.sub(MARK, redactor((keys,) if isinstance(keys, str) else keys).text(text))


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds that the server asks to wait (``retry-after-ms``, ``retry-after`` as number or date), or None.

    A date counts from the server's own clock where it tells that, else from ``now`` in Unix seconds.
    """
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "")[:_LONGEST_WORD]
        if not value:
            continue
        try:
            seconds = float(value) / divisor
        except ValueError:
            if name != "retry-after" or (date := _date(value)) is None:
                continue
            seconds = date - _servers_now(headers, now)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _servers_now(headers: Mapping[str, str], now: float | None) -> float:
    date = _date(headers.get("date", "")[:_LONGEST_WORD])
    if date is not None:
        return date
    return time.time() if now is None else now


def _date(text: str) -> float | None:
    try:
        date = email.utils.parsedate_tz(text)
        return email.utils.mktime_tz(date) if date else None
    except (ValueError, OverflowError, IndexError):  # there is no such day
        return None


def until_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limits that are used up are renewed (``x-ratelimit-reset-*``), or None where none is.

    OpenAI writes ``120ms``, ``1s``, ``6m0s``; others a plain number of seconds. A limit of which something remains is
    not what the request was refused for.
    """
    waits = []
    for name, value in headers.items():
        if not name.startswith("x-ratelimit-reset-"):
            continue
        remaining = headers.get(name.replace("-reset-", "-remaining-"), "0")
        seconds = _seconds(value[:_LONGEST_WORD].strip())
        if seconds is not None and remaining.strip() == "0":
            waits.append(seconds)
    return max(waits, default=None)


def _seconds(text: str) -> float | None:
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return float(text) if _NUMBER.fullmatch(text) else None


def _body(text: str) -> tuple[str, str | None, str | None, str | None]:
    """(message, code, type, param) of an error body in any of the forms that were seen."""
    try:
        body: Any = read_json(text.encode(), lenient=True)
    except ValueError:
        return " ".join(_seen(text).split()), None, None, None
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if isinstance(body, dict):
        message = next((body[k] for k in ("message", "error", "detail", "title") if body.get(k)), "")
        if not isinstance(message, str):
            message = msgspec.json.encode(message).decode()
        fields = (body.get("code"), body.get("type"), body.get("param"))
        code, kind, param = (_word(value) if value not in (None, "") else None for value in fields)
        return message, code, kind, param
    return ("" if body is None else _word(body)), None, None, None


def _word(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _seen(text: str) -> str:
    """What a page shows: its text without tags, and without what is between some. In linear time, whatever it is."""
    first, *rest = text.split("<")
    shown, unseen = [first], ""
    hidden: list[str] = []
    for piece in rest:
        tag, closed, after = piece.partition(">")
        name = tag.split(None, 1)[0].lower() if tag.strip() else ""
        if not closed:
            after = f"<{piece}"
        elif unseen and name == f"/{unseen}":
            unseen, hidden = "", []
        elif not unseen and name in _UNSEEN:
            unseen = name
        (hidden if unseen else shown).append(after)
    return _unescaped(" ".join([*shown, *hidden]))


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character of thousands of digits
        return text


def is_page(headers: Mapping[str, str], text: str) -> bool:
    """Whether an answer is a web page."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml") or _PAGE.match(text) is not None


def page_title(text: str, key: str | tuple[str, ...] = ()) -> str:
    """What the page calls itself, in quotes, or ``""``."""
    start = text.lower().find("<title")
    title = text[start:].partition(">")[2].partition("<")[0] if start >= 0 else ""
    title = " ".join(redacted(_unescaped(title), key).split())[:_LONGEST_TITLE]
    return f'"{title}"' if title else ""


def from_answer(
    what: str,
    status: int,
    headers: Mapping[str, str],
    text: str,
    *,
    key: str | tuple[str, ...],
    side: str,
    endpoint: Endpoint | None = None,
) -> RemoteError:
    """The error for one refused request. ``what`` reads ``can't list assistants``; ``side`` is source or destination.

    ``key`` is what must not be in it; ``endpoint`` is for hints alone.

    A 5xx (and 408) to a write is ambiguous: it may have been carried out before that failed. 501 says that it can't be.
    """
    message, code, kind, param = _body(text)
    detail = redacted(message, key).strip()
    if len(detail) > _LONGEST_DETAIL:
        detail = detail[:_LONGEST_DETAIL] + "…"
    code, kind, param, request_id = (
        value and redacted(value, key)[:_LONGEST_WORD] for value in (code, kind, param, headers.get("x-request-id"))
    )
    cls, why, hint = _verdict(status, code, kind, detail, side)
    place = RequestTarget(side=side, endpoint=endpoint)
    page = cls in _PAGES and is_page(headers, text)
    known = hints.for_refusal(status, code, detail, place) or (hints.for_page(place) if page else "")
    return cls(
        f"{what}: {why}",
        hint=known or hint,
        status=status,
        code=code,
        kind=kind,
        param=param,
        detail=detail,
        request_id=request_id,
        retry_after=_wait(status, headers),
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
        ambiguous=(status >= 500 and status != 501) or status == 408,
    )


# A page in place of one of these says that it isn't the API that refuses; servers that fail show pages too.
_PAGES = (AuthenticationFailed, NotFound, PermissionDenied, RequestRefused, UnexpectedAnswer)


def _wait(status: int, headers: Mapping[str, str]) -> float | None:
    asked = retry_after(headers)
    return until_reset(headers) if asked is None and status == 429 else asked


_BY_STATUS: Mapping[int, tuple[type[RemoteError], str, str]] = {
    403: (
        PermissionDenied,
        "the {side} key may not do this",
        "give the key the missing permission, or use a key that has it",
    ),
    404: (NotFound, "not found", ""),
    429: (RateLimited, "the {side} project is rate limited", "wait, or lower --concurrency (MAX_CONCURRENCY)"),
}


def _verdict(
    status: int, code: str | None, kind: str | None, detail: str, side: str
) -> tuple[type[RemoteError], str, str]:
    said = f" ({detail})" if detail else ""
    var = "OPENAI_DST_" if side == "destination" else "OPENAI_SRC_"
    if status == 401:
        named = {"organization": "organisation", "project": "project"}.get(refusals.scope(code, detail) or "")
        why = f"not one of the {named} that is asked for" if named else "not accepted"
        hint = f"check {var}API_KEY, and {var}BASE_URL if the key is for another server"
        return AuthenticationFailed, f"the {side} key is {why}{said}", hint
    if status == 402 or (status in (403, 429) and refusals.is_spent(code, kind)):
        return (
            QuotaExhausted,
            f"the {side} project has no quota, credit or budget left{said}",
            "add credit or raise the limit in the project's billing settings, then run the same command again",
        )
    if status in _BY_STATUS:
        cls, why, hint = _BY_STATUS[status]
        return cls, f"{why.format(side=side)}{said}", hint
    if status == 408 or status >= 500:
        return ServerFailed, f"the server failed with {status}{said}", "try again later"
    if 400 <= status < 500:
        return RequestRefused, f"refused with {status}{said}", ""
    return UnexpectedAnswer, f"answered with {status}{said}", ""
