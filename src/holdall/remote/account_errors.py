"""Maps every failure of a request to one of our errors: refusals, unusable answers, no answer.

Error bodies come as ``{"error": {...}}`` from OpenAI and in every other form from servers that call themselves
compatible and from proxies on the way.
"""

from __future__ import annotations

import email.utils
import html
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import msgspec

from holdall.errors import (
    AnswerTooLong,
    AuthenticationFailed,
    ConnectionLost,
    ConnectionMisconfigured,
    NotFound,
    NotTheApi,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
    Unreachable,
)
from holdall.redaction import redacted
from holdall.remote import hints, refusals
from holdall.remote.hints import RequestTarget
from holdall.remote.transport import BadRedirect, TooLong, is_web_page
from holdall.untrusted import read_json

_UNSEEN = ("script", "style", "head")
_LONGEST_DETAIL = 300
_LONGEST_TITLE = 80
_LONGEST_WORD = 200
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


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
            servers_now = _date(headers.get("date", "")[:_LONGEST_WORD])
            if servers_now is None:
                servers_now = time.time() if now is None else now
            seconds = date - servers_now
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


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


def _body(text: str) -> tuple[str, Mapping[str, object]]:
    """The message of an error body in any of the forms that were seen, and the fields that stand beside it."""
    try:
        body: Any = read_json(text.encode(), lenient=True)
    except ValueError:
        return " ".join(_seen(text).split()), {}
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if isinstance(body, dict):
        return _word(next((body[key] for key in ("message", "error", "detail", "title") if body.get(key)), "")), body
    return ("" if body is None else _word(body)), {}


def _word(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _seen(text: str) -> str:
    """The visible text of a web page. Takes linear time, whatever the page is."""
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


# A page in place of one of these says that it isn't the API that refuses; servers that fail show pages too.
_PAGES = (AuthenticationFailed, NotFound, PermissionDenied, RequestRefused, UnexpectedAnswer)

_BY_STATUS: Mapping[int, tuple[type[RemoteError], str, str]] = {
    403: (
        PermissionDenied,
        "the {side} key lacks permission",
        "add the permission to the key, or use another key",
    ),
    404: (NotFound, "not found", ""),
    429: (RateLimited, "the {side} project is rate limited", "wait, or lower --concurrency (MAX_CONCURRENCY)"),
}


class AccountErrors:
    """Makes the errors of one account. ``what`` begins each message: ``can't list assistants``.

    ``secrets`` gives the keys to take out of them: servers send keys back, and tokens change.
    """

    def __init__(self, target: RequestTarget, secrets: Callable[[], tuple[str, ...]]) -> None:
        self._target, self._secrets = target, secrets
        self._is_it_the_api = f"is {target.endpoint.base_url} an OpenAI-compatible API?"

    def clean(self, text: str) -> str:
        """``text`` without a secret."""
        return redacted(text, *self._secrets())

    # -- answers ---------------------------------------------------------------------------------------

    def refused(self, what: str, status: int, headers: Mapping[str, str], text: str) -> RemoteError:
        """The error for one refused request; the names of ``headers`` are in small letters."""
        message, fields = _body(text)
        detail = self.clean(message).strip()
        if len(detail) > _LONGEST_DETAIL:
            detail = detail[:_LONGEST_DETAIL] + "…"
        more = fields.get("additionalInfo")
        request = more.get("request_id") if isinstance(more, dict) else None  # Foundry's place for it
        said = (*map(fields.get, ("code", "type", "param")), headers.get("x-request-id") or request)
        code, kind, param, request_id = (
            None if value in (None, "") else self.clean(_word(value))[:_LONGEST_WORD] for value in said
        )
        cls, why, hint = self._verdict(status, code, kind, detail)
        known = hints.for_refusal(status, code, detail, self._target)
        if not known and cls in _PAGES and is_web_page(headers, text):
            known = hints.for_page(self._target)
        return cls(
            f"{what}: {why}{f' ({detail})' if detail else ''}",
            hint=known or hint,
            status=status,
            code=code,
            kind=kind,
            param=param,
            detail=detail,
            request_id=request_id,
            retry_after=_wait(status, headers),
            should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
            # It may have been carried out before the server failed. 501 says that it can't be.
            ambiguous=(status >= 500 and status != 501) or status == 408,
        )

    def _verdict(
        self, status: int, code: str | None, kind: str | None, detail: str
    ) -> tuple[type[RemoteError], str, str]:
        """(class, why, default hint)"""
        side = self._target.side
        if status == 401:
            named = {"organization": "organisation", "project": "project"}.get(refusals.scope(code, detail) or "")
            why = f"not for the {named} that was requested" if named else "not accepted"
            key, base_url = self._target.variable("API_KEY"), self._target.variable("BASE_URL")
            hint = f"check {key}; if the key is for another server, set {base_url}"
            return AuthenticationFailed, f"the {side} key is {why}", hint
        if status == 402 or (status in (403, 429) and refusals.is_spent(code, kind)):
            return (
                QuotaExhausted,
                f"the {side} project is out of quota, credit or budget",
                "add credit or raise the limit in the billing settings, then run the same command again",
            )
        if refusals.is_not_owned(status, detail):
            status = 404
        if status in _BY_STATUS:
            cls, why, hint = _BY_STATUS[status]
            return cls, why.format(side=side), hint
        if status == 408 or status >= 500:
            return ServerFailed, f"the server failed with {status}", "try again later"
        if 400 <= status < 500:
            return RequestRefused, f"refused with {status}", ""
        return UnexpectedAnswer, f"answered with {status}", ""

    def refused_elsewhere(self, what: str, status: int, origin: str) -> RemoteError:
        """The error for a file's content refused by another origin: it says nothing about the account or its key."""
        said = f"redirected to {origin}, which answered with {status}"
        cls = NotFound if status == 404 else ServerFailed if status >= 500 or status in (408, 429) else RequestRefused
        return cls(f"{what}: {said}", status=status, detail=said)

    def page(self, what: str, status: int, text: str) -> NotTheApi:
        """The error for a web page with a 2xx status."""
        start = text.lower().find("<title")
        title = text[start:].partition(">")[2].partition("<")[0] if start >= 0 else ""
        title = " ".join(self.clean(_unescaped(title)).split())[:_LONGEST_TITLE]
        named = f', "{title}"' if title else ""
        return NotTheApi(
            f"{what}: the answer is a web page{named}",
            hint=hints.for_page(self._target),
            status=status,
            ambiguous=True,
        )

    def unreadable(self, what: str, why: object, *, status: int, request_id: str | None) -> UnexpectedAnswer:
        """The error for a 2xx answer that can't be read."""
        return UnexpectedAnswer(
            f"{what}: invalid answer ({self.clean(str(why))})",
            hint=self._is_it_the_api,
            status=status,
            request_id=request_id,
            # The server did answer with success, so a write may have been carried out.
            ambiguous=True,
        )

    # -- no answer -------------------------------------------------------------------------------------

    def broken(self, what: str, error: BaseException) -> RemoteError:
        """The error for a missing or incomplete answer; ``error`` is the HTTP client's."""
        said = self.clean(str(error))
        if isinstance(error, BadRedirect):
            return NotTheApi(
                f"{what}: {said}",
                hint=hints.for_page(self._target, self.clean(error.moved_to)) if error.moved_to else "",
                status=error.status or None,
                ambiguous=error.ambiguous,
            )
        if isinstance(error, TooLong) or "Receive buffer too long" in said:  # h11's words
            why = said if isinstance(error, TooLong) else "its headers are longer than 100 KiB"
            return AnswerTooLong(
                f"{what}: the answer was not read to its end: {why}",
                hint=self._is_it_the_api,
                detail=why,
                ambiguous=True,
            )
        if isinstance(error, httpx2.TooManyRedirects):
            return NotTheApi(f"{what}: too many redirects", hint=hints.for_page(self._target), ambiguous=True)
        if isinstance(error, (httpx2.HTTPError, TimeoutError)) and not isinstance(error, httpx2.DecodingError):
            return self._unanswered(what, error, said)
        return UnexpectedAnswer(f"{what}: invalid answer ({said or type(error).__name__})", ambiguous=True)

    def _unanswered(self, what: str, error: Exception, said: str) -> Unreachable:
        kind = hints.trouble(error)
        timed_out = isinstance(error, (httpx2.TimeoutException, TimeoutError))
        # Only where no connection came about is it certain that nothing was carried out.
        unsent = isinstance(error, (httpx2.ProxyError, httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
        cls: type[Unreachable] = Unreachable if unsent or timed_out else ConnectionLost
        if unsent and kind in hints.LASTING:
            cls = ConnectionMisconfigured
        why = kind if timed_out else f"{kind} ({said or type(error).__name__})"
        return cls(
            f"{what}: can't reach {self._target.endpoint.host}: {why}",
            hint=hints.for_trouble(kind, self._target),
            ambiguous=not unsent,
        )


def _wait(status: int, headers: Mapping[str, str]) -> float | None:
    asked = retry_after(headers)
    return until_reset(headers) if asked is None and status == 429 else asked
