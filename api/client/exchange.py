"""One call from its description to its outcome, without I/O: what to send, whether to repeat it, what an answer means.

`exchange` is a generator that both clients drive: it yields what is to be sent, or how long to pause, and is given the
answer, or the `Unreachable` or `NoAnswer` that came instead. So every rule is here, and a test needs no network.

A call is repeated if that can do no harm. Nothing was done if no connection was made, or if a rate limit was named.
Otherwise (no whole answer, 503, or a gateway's 502 and 504) it may have been done: then only what changes nothing, what
comes to the same a second time, and what carries an idempotency key is sent again. Pauses grow exponentially with full
jitter, so that many clients of one server do not come back together, and are never shorter than the server's
`Retry-After`. Who follows events is told to come again for as long as the server is full: that counts as no try.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec
from msgspec import UNSET

from perdure.api.client.calls import Call
from perdure.api.client.errors import (
    BY_STATUS,
    REFUSALS,
    ClientError,
    NoAnswer,
    RateLimited,
    Refusal,
    StrangeAnswer,
    Unavailable,
    Unreachable,
)
from perdure.api.client.results import Data, Item

T = TypeVar("T")

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
KEY_MAX: Final = 255

_log = logging.getLogger("perdure.client")  # names routes and kinds of errors: no ids, keys or tokens


class Request(NamedTuple):
    """What is sent. `target` is path and query as they stand in the request line; it may hold a secret."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_s: float
    """For all of one try, from the first byte that is sent to the last that comes."""

    def __repr__(self) -> str:
        return f"Request({self.method})"


class Pause(NamedTuple):
    """So long nothing is done."""

    seconds: float


class Answer(NamedTuple):
    """What came: header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and for how long, a call is tried. `attempts_max` 1: once.

    No try begins later than `elapsed_max_s` after the first. The n-th pause is drawn from 0 to `pause_base_s` · 2ⁿ⁻¹,
    at most `pause_max_s`; a longer `Retry-After` is added to it.
    """

    attempts_max: int = 5
    elapsed_max_s: float = 60.0
    pause_base_s: float = 0.1
    pause_max_s: float = 10.0

    def pause(self, error: ClientError, attempts: int, elapsed_s: float, chance: float) -> float | None:
        """How long to wait before the next try after so many; null: there is none. `chance` is from 0 to 1."""
        if attempts >= self.attempts_max:
            return None
        pause = self.drawn(attempts, chance) + (error.retry_after_s or 0.0)
        return pause if elapsed_s + pause <= self.elapsed_max_s else None

    def drawn(self, attempts: int, chance: float) -> float:
        """The part of that pause which is not the server's word."""
        return chance * min(self.pause_max_s, self.pause_base_s * 2.0 ** min(attempts - 1, 60))


class Outside(NamedTuple):
    """What a client asks for beside its server; tests give their own."""

    now_s: Callable[[], float]
    chance: Callable[[], float]
    new_id: Callable[[], str]


class Settings(NamedTuple):
    """How a client calls."""

    api_key: str
    timeout_s: float
    retries: Retries
    outside: Outside

    def __repr__(self) -> str:
        return f"Settings(timeout_s={self.timeout_s}, retries={self.retries})"


def exchange(call: Call[T], settings: Settings) -> Generator[Request | Pause, Answer | None, T]:
    """Send a call until it has an outcome. Raises `ClientError`, and `ValueError` for what cannot be sent."""
    outside = settings.outside
    request = _request(call, settings)
    is_safe = call.is_safe or "Idempotency-Key" in request.headers
    began = outside.now_s()
    attempts = refusals = 0
    while True:
        attempts += 1
        try:
            answer = yield request
            assert answer is not None  # noqa: S101 a request is answered, or an error is thrown in
            return _read(call, answer)
        except ClientError as error:
            error.request_id = error.request_id or request.headers["X-Request-Id"]
            pause = None
            if call.is_patient and isinstance(error, Unavailable | RateLimited) and error.retry_after_s is not None:
                refusals += 1
                pause = settings.retries.drawn(refusals, outside.chance()) + error.retry_after_s
                attempts, began = 0, outside.now_s() + pause
            elif _may_repeat(error, is_safe=is_safe):
                pause = settings.retries.pause(error, attempts, outside.now_s() - began, outside.chance())
            if pause is None:
                raise
            _log.info("%s %s: %s; again in %.1f s", call.method, call.path, type(error).__name__, pause)
        yield Pause(pause)


def _may_repeat(error: ClientError, *, is_safe: bool) -> bool:
    if isinstance(error, Unreachable | RateLimited):
        return error.retryable
    is_lost = isinstance(error, NoAnswer | Unavailable) or (isinstance(error, StrangeAnswer) and error.retryable)
    return is_safe and is_lost


# --- requests ----------------------------------------------------------------------------------------------------


@functools.cache
def user_agent() -> str:
    """Who asks: program, version, Python."""
    from importlib import metadata  # noqa: PLC0415 a fifth of the client's own time, and only a call needs it

    return f"perdure-client/{metadata.version('perdure')} python/{sys.version_info.major}.{sys.version_info.minor}"


def _request(call: Call[Any], settings: Settings) -> Request:
    headers = {
        "x-api-key": settings.api_key,
        "Accept-Encoding": "identity",
        "Accept": "text/*" if call.reply is str else "application/json",
        "User-Agent": user_agent(),
        "X-Request-Id": settings.outside.new_id(),
        **call.headers,
    }
    if call.idempotency_key:
        key = settings.outside.new_id() if call.idempotency_key is True else call.idempotency_key
        if not (key.isascii() and key.isprintable() and len(key) <= KEY_MAX):
            raise ValueError("idempotency_key: it must be a text of 1 to 255 printable ASCII characters")
        headers["Idempotency-Key"] = key
    body = None
    if call.body is not UNSET:
        headers["Content-Type"] = "application/json"
        body = _encoded(call.body)
    return Request(call.method, call.target(), headers, body, settings.timeout_s + call.held_s)


def _encoded(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"what is to be sent is no JSON: {error}") from None


# --- answers -----------------------------------------------------------------------------------------------------


def _read(call: Call[T], answer: Answer) -> T:
    if not 200 <= answer.status < 300:  # noqa: PLR2004 2xx
        raise _refusal(answer)
    if call.reply is str:
        return cast("T", answer.body.decode("utf-8", "replace"))
    try:
        found: Any = decoder(call.reply, call.envelope).decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StrangeAnswer(
            f"the server answered {answer.status}, and not as expected: {error}", answer.status
        ) from None
    return cast("T", found if call.envelope is None else getattr(found, call.envelope))


@functools.cache
def decoder(reply: Any, envelope: str | None) -> msgspec.json.Decoder[Any]:
    """What reads the answers of a call."""
    around: Any = {None: reply, "data": Data[reply], "item": Item[reply]}[envelope]
    return msgspec.json.Decoder(around)


class _Said(msgspec.Struct, frozen=True):
    """What an error says, in either envelope."""

    code: str
    message: str | None = None
    details: dict[str, Any] | None = None


class _Envelope(msgspec.Struct, frozen=True):
    error: _Said
    message: str | None = None


_envelope = msgspec.json.Decoder(_Envelope)


def _refusal(answer: Answer) -> ClientError:
    retry_after_s = _seconds(answer.headers.get("retry-after", ""))
    try:
        body = _envelope.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message = f"the server answered {answer.status}, and not as Perdure does: is it one?"
        return StrangeAnswer(message, answer.status, retry_after_s)
    said = body.error
    kind = REFUSALS.get(said.code) or BY_STATUS.get(answer.status, Refusal)
    message = body.message or said.message or said.code
    error = kind(message, said.code, answer.status, said.details, retry_after_s)
    error.request_id = answer.headers.get("x-request-id")
    return error


def _seconds(retry_after: str) -> float | None:
    """Of the two forms (RFC 9110, section 10.2.3) a date is left alone: servers of ours send seconds."""
    return float(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else None
