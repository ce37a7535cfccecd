"""Bodies: reading JSON strictly, so that what is recorded is exactly what was sent.

A member that stands twice, a number that is none, half a character or a nesting without end are refused with the place
where they stand; nothing of such a request is recorded (`api/CONTRACT.md`, "Bodies"). A body that holds a definition
may be YAML: then it is the JSON text that it means, under the same rules.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive

from perdure.api.http.problems import PayloadTooLarge, UnsupportedType
from perdure.engine.errors import Invalid
from perdure.engine.fairness import FairThread
from perdure.engine.log.codec import encode_json
from perdure.engine.shown import shown, shown_name
from perdure.engine.yaml_text import read_yaml

JSON: Final = "application/json"
YAML: Final = "application/yaml"

DEPTH_MAX: Final = 64

IN_LOOP_MAX: Final = 64 * 1024
"""Longer bodies are parsed in a thread.

There they hold up others for one call into Python's parser at a time: 13 ms for 0.95 MB of small numbers. msgspec would
take a third of that, but it lets a member pass that stands twice. (The collector of cycles, if it is not tuned, adds up
to 0.2 s; to turn it off meanwhile would concern the whole process.)
"""

WAITING_MAX: Final = 64

_JSON_THREAD: Final = FairThread("perdure-json")
_YAML_THREAD: Final = FairThread("perdure-yaml")
"""Another one: YAML takes a hundred times as long."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_AT_BYTE = re.compile(r"(?:JSON is malformed: )?(?P<problem>.*) \(byte (?P<at>\d+)\)")
_JSON_TYPE = re.compile(r"\s*application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_YAML_TYPE = re.compile(r"\s*(?:(?:application|text)/(?:x-)?yaml|application/[\w.+-]+\+yaml)\s*(?:;.*)?", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*\"?(?P<name>[^\s;\"]+)", re.IGNORECASE)


async def read_body(receive: Receive, headers: Headers, limit: int, take: Callable[[int], None]) -> bytes:
    """The bytes of a body of at most `limit`, each of them taken from a budget before it is kept.

    Raises `PayloadTooLarge` and what `take` raises; whoever answers drops the rest.
    """
    declared = headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in _chunks(receive):
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        take(len(chunk))
        body += chunk
    return bytes(body)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("the connection was cut before the body had come")  # nobody is there to read this
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is longer than {limit} bytes, which is the most", {"limit": limit})


async def parse_object(
    raw: bytes, headers: Headers, *, limit: int, whose: bytes = b"", may_be_yaml: bool = False
) -> dict[str, Any] | None:
    """The JSON object that a body holds; null if there is no body. Raises `Invalid`, `UnsupportedType`, `RateLimited`.

    `whose`: the workspace that it came from. What YAML means has at most `limit` bytes as JSON, as a body has: else
    `PayloadTooLarge`.
    """
    if not raw.strip(b" \t\r\n"):
        return None
    is_yaml = _check_type(headers.get("content-type"), may_be_yaml=may_be_yaml)
    _check_coding(headers.get("content-encoding"))
    if is_yaml:
        _YAML_THREAD.check(whose, WAITING_MAX)
        raw = await _YAML_THREAD.do(whose, json_of, raw, limit)
    if len(raw) <= IN_LOOP_MAX:
        value = parse(raw)
    else:
        _JSON_THREAD.check(whose, WAITING_MAX)
        value = await _JSON_THREAD.do(whose, parse, raw)
    if not isinstance(value, dict):
        raise Invalid(f"the body is {_kind_of(value)}; it must be a JSON object")
    return value


def json_of(raw: bytes, limit: int) -> bytes:
    """The JSON text of at most `limit` bytes that a YAML body means. Raises `Invalid`, `PayloadTooLarge`."""
    try:
        text = encode_json(read_yaml(raw, limit))
    except Invalid as problem:
        raise Invalid(f"the body, read as YAML: {problem.message}") from None
    if len(text) > limit:
        raise PayloadTooLarge(f"the body means more than {limit} bytes of JSON, which is the most", {"limit": limit})
    return text


def _check_type(content_type: str | None, *, may_be_yaml: bool) -> bool:
    """Whether it is YAML, and not JSON. Raises `UnsupportedType`."""
    if content_type is None or not content_type.strip():
        return False
    is_yaml = may_be_yaml and _YAML_TYPE.fullmatch(content_type) is not None
    if not is_yaml and not _JSON_TYPE.fullmatch(content_type):
        accepted = f"{JSON} or {YAML}" if may_be_yaml else JSON
        raise UnsupportedType(f"Content-Type: {shown(content_type)} is not accepted; send {accepted}")
    charset = _CHARSET.search(content_type)
    if charset and charset["name"].lower() not in ("utf-8", "utf8", "us-ascii"):
        named = "YAML" if is_yaml else "JSON"
        raise UnsupportedType(f"Content-Type: charset {shown(charset['name'])} is not accepted; {named} is UTF-8")
    return is_yaml


def _check_coding(coding: str | None) -> None:
    if coding is not None and coding.strip().lower() not in ("", "identity"):
        raise UnsupportedType(f"Content-Encoding: {shown(coding)} is not accepted; send the body as it is")


# --- JSON --------------------------------------------------------------------------------------------------------


class _Odd:
    """What JSON has no room for, kept where it stood until its place is known."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


class _Parser:
    """Python's parser, told to notice what it would let pass."""

    def __init__(self) -> None:
        self.is_odd = False

    def parse(self, text: str) -> Any:
        return json.loads(text, object_pairs_hook=self._object, parse_float=self._float, parse_constant=self._constant)

    def _object(self, pairs: list[tuple[str, Any]]) -> Any:
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        return self._odd(f"the member {shown(twice)} stands twice")

    def _float(self, text: str) -> Any:
        number = float(text)
        return number if math.isfinite(number) else self._odd(f"the number {shown(text)} is out of range")

    def _constant(self, name: str) -> Any:
        return self._odd(f"{name} is no JSON")

    def _odd(self, problem: str) -> _Odd:
        self.is_odd = True
        return _Odd(problem)


def parse(raw: bytes) -> Any:
    """The JSON value that bytes hold. Raises `Invalid`, saying what is wrong and where."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"the body is not UTF-8: byte {error.start} fits nothing") from None
    parser = _Parser()
    if len(raw) > IN_LOOP_MAX:
        _check_syntax(raw)
    try:
        value = parser.parse(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Invalid(f"the body is not JSON: {error.msg.lower()} at {where}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # Python reads integers of so many digits only
        raise Invalid("the body has an integer of more than 4300 digits") from None
    # Only what may hold a problem is walked through; a bracket may also stand in a text.
    is_suspect = raw.count(b"[") + raw.count(b"{") > DEPTH_MAX or b"\\u" in raw
    if parser.is_odd or is_suspect:
        _check(value)
    return value


def _check_syntax(raw: bytes) -> None:
    """Raise `Invalid` for what is no JSON, in a hundredth of the time that Python's parser holds up all threads."""
    try:
        msgspec.json.decode(_ESCAPED_SURROGATE.sub(rb"\\u0041", raw), type=msgspec.Raw)
    except msgspec.DecodeError as error:
        found = _AT_BYTE.fullmatch(str(error))
        if found is None:
            raise Invalid("the body is not JSON: it ends too early") from None
        before = raw[: int(found["at"])]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise Invalid(f"the body is not JSON: {found['problem']} at line {line}, byte {column}") from None
    except RecursionError:
        raise _too_deep() from None


def _check(value: Any) -> None:
    """Raise `Invalid` for the first problem, naming its place as a JSON Pointer."""
    waiting: list[tuple[Any, _Place | None, int]] = [(value, None, 1)]
    while waiting:
        item, place, depth = waiting.pop()
        if isinstance(item, _Odd):
            raise Invalid(f"{_pointer(place)}: {item.problem}")
        if isinstance(item, str):
            _check_text(item, place)
        if not isinstance(item, dict | list):
            continue
        if depth > DEPTH_MAX:
            raise _too_deep()
        for name, member in _members(item):
            if isinstance(name, str):
                _check_text(name, place)
            waiting.append((member, (name, place), depth + 1))


_Place = tuple[str | int, Any]
"""A member's name or index, and the place that it is in."""


def _members(item: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    return iter(item.items()) if isinstance(item, dict) else enumerate(item)


def _check_text(text: str, place: _Place | None) -> None:
    if not text.isascii() and _SURROGATE.search(text):
        raise Invalid(f"{_pointer(place)}: the text {shown(text)} has half of a surrogate pair, which is no character")


def _pointer(place: _Place | None) -> str:
    """A place as a JSON Pointer (RFC 6901)."""
    tokens: list[str] = []
    while place is not None:
        name, place = place
        tokens.append(shown_name(str(name).replace("~", "~0").replace("/", "~1")))
    return "the body" if not tokens else "/" + "/".join(reversed(tokens))


def _too_deep() -> Invalid:
    return Invalid(f"the body is nested deeper than {DEPTH_MAX} levels")


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "a JSON text (an object that was made a text twice?)"
    if isinstance(value, list):
        return "a JSON list"
    return "JSON null" if value is None else f"the JSON value {shown(value)}"
