"""Dialects: whose API a route belongs to, and what of an answer depends on that.

All dialects are tables of routes over the same services (`api/CONTRACT.md`, "Dialects"). A `Dialect` says what they do
not have in common; whoever would look at the beginning of a path asks for it here instead. A new one is such a value
and a table of routes that belong to it, named in `api.app`: its refusals, those of requests that no route sees too,
then come in its envelope, in its codes and its casing, and the document describes them.

How it pages stands in the types of its queries and answers (`api.http.paging`), and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from perdure.engine.errors import Invalid, PerdureError
from perdure.engine.services.access import SCOPES
from perdure.engine.suggestions import did_you_mean

ErrorEnvelope: TypeAlias = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]
"""The body of a refusal: from its code, its message and its details, which may be none."""


def as_written(name: str) -> str:
    """The casing of a dialect that names members as this code does: in snake_case."""
    return name


def camel_case(name: str) -> str:
    """`wait_id` as `waitId`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class ScopeSpelling(NamedTuple):
    """The spelling of scopes in a dialect: with an optional prefix, or in words of its own (its word: ours)."""

    prefix: str = ""
    words: Mapping[str, str] = {}

    def plain(self, scope: str) -> str:
        """A scope in our spelling; what is none stays as it is."""
        return self.words.get(scope) or scope.removeprefix(self.prefix)


class Deprecation(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a route, or of a dialect, foretold: since when it should not be used, and until when it is there.

    `page` is the address of what tells what to use instead. After `sunset_on` nothing changes by itself.
    """

    deprecated_on: date
    sunset_on: date | None = None
    page: str

    def __post_init__(self) -> None:
        """Raises `ValueError` for a sunset before the deprecation (RFC 9745, section 4)."""
        if self.sunset_on is not None and self.sunset_on < self.deprecated_on:
            message = f"sunset_on: {self.sunset_on} is before deprecated_on, {self.deprecated_on}"
            raise ValueError(message)

    def headers(self) -> dict[str, str]:
        """The headers of each answer (RFC 9745, RFC 8594)."""
        headers = {
            "Deprecation": f"@{int(_midnight(self.deprecated_on).timestamp())}",
            "Link": f'<{self.page}>; rel="deprecation"; type="text/html"',
        }
        if self.sunset_on is not None:
            headers["Sunset"] = format_datetime(_midnight(self.sunset_on), usegmt=True)
        return headers


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class Dialect(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An API of its own, as far as it differs from the others.

    `prefix` is where it is mounted: a path belongs to the dialect with the longest prefix that it begins with.
    `error_schema` is the type of what `error_envelope` makes, and `error_code_at` where the code stands in that;
    `error_codes` are its words for our codes, where they differ, and `error_codes_of` for errors of some types, where
    one code of ours is two of its. `casing` is that of the members of a refusal's
    details; bodies are cased by their types. `request_id_headers` are names besides `X-Request-Id` under which a
    caller may name a request, and is told its name. `deprecation` holds for all routes that say none. `tags` are the
    headings of the document, each with what it is about; a route that names none has the first. `document_prefix`
    is what the document puts in front of the names of its operations and types, so that they are no other dialect's.
    `field_names` are its words for what services call otherwise, beside those that the types of its requests say.
    """

    name: str
    prefix: str
    error_envelope: ErrorEnvelope
    error_schema: type[msgspec.Struct]
    error_code_at: Sequence[str] = ("error", "code")
    error_codes: Mapping[str, str] = {}
    error_codes_of: Mapping[type[PerdureError], str] = {}
    casing: Callable[[str], str] = as_written
    scope_spelling: ScopeSpelling = ScopeSpelling()
    request_id_headers: Sequence[str] = ()
    deprecation: Deprecation | None = None
    tags: Mapping[str, str]
    document_prefix: str = ""
    field_names: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        """Raises `ValueError` unless the prefix is of whole segments: `/v1` would be the beginning of `/v10`, too."""
        if not (self.prefix.startswith("/") and self.prefix.endswith("/")):
            message = f"dialect {self.name}: prefix: {self.prefix!r} is not accepted; it must begin and end with /"
            raise ValueError(message)

    def code(self, code: str) -> str:
        """The dialect's word for a code of ours."""
        return self.error_codes.get(code, code)

    def codes(self, code: str) -> tuple[str, ...]:
        """All of the dialect's words for a code of ours."""
        return (self.code(code), *(word for kind, word in self.error_codes_of.items() if kind.code == code))

    def refusal(self, error: PerdureError) -> dict[str, Any]:
        """The body of a refusal."""
        own = (self.error_codes_of[kind] for kind in type(error).__mro__ if kind in self.error_codes_of)
        return self.error_envelope(next(own, self.code(error.code)), error.message, self._cased(error.details))

    def _cased(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {self.casing(name): self._cased(member) for name, member in value.items()}
        return [self._cased(item) for item in value] if isinstance(value, list) else value


class Dialects:
    """The dialects of a server. One of them is at the root, and has every path that no other has."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        by_prefix = {dialect.prefix: dialect for dialect in dialects}
        if ROOT not in by_prefix:
            message = f"dialects: none of them is mounted at {ROOT}; one must be, for paths that are nobody's"
            raise ValueError(message)
        self.all: Sequence[Dialect] = tuple(by_prefix.values())
        self._root = by_prefix[ROOT]
        self._longest_first = sorted(self.all, key=lambda dialect: -len(dialect.prefix))

    def of(self, path: str) -> Dialect:
        """The dialect that a path belongs to, whether or not there is such a route."""
        return next((dialect for dialect in self._longest_first if path.startswith(dialect.prefix)), self._root)

    def plain_scopes(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """Scopes in our spelling, whichever dialect's they are in; each once, in the order given.

        Raises `Invalid` for one that is none.
        """
        plain = {scope: self._plain(scope) for scope in scopes}
        for given, scope in plain.items():
            if scope not in SCOPES:
                raise self._no_scope(given)
        return tuple(dict.fromkeys(plain.values()))

    def _no_scope(self, given: str) -> Invalid:
        spellings = [dialect.scope_spelling for dialect in self.all]
        words = dict.fromkeys(word for each in spellings for word in each.words)
        prefixes = list(dict.fromkeys(each.prefix for each in spellings if each.prefix))
        prefixed = [prefix + scope for prefix in prefixes for scope in SCOPES]
        near = did_you_mean(given, [*SCOPES, *words, *prefixed])
        spelled = "".join(f", each also with {prefix!r} before it" for prefix in prefixes)
        others = f"; or {', '.join(words)}" if words else ""
        message = f"scopes: {given!r} is no scope.{near} There are: {', '.join(SCOPES)}{spelled}{others}"
        return Invalid(message, {"field": "scopes", "scope": given})

    def _plain(self, scope: str) -> str:
        for dialect in self.all:
            scope = dialect.scope_spelling.plain(scope)
        return scope

    def scope_pattern(self, scopes: Sequence[str]) -> str:
        """A regular expression for these scopes of ours, in any spelling."""
        spellings = [dialect.scope_spelling for dialect in self.all]
        prefixes = "|".join(dict.fromkeys(re.escape(each.prefix) for each in spellings if each.prefix))
        ours = f"{f'({prefixes})?' if prefixes else ''}({'|'.join(map(re.escape, scopes))})"
        words = list(dict.fromkeys(re.escape(word) for each in spellings for word in each.words))
        return f"^({'|'.join([ours, *words])})$" if words else f"^{ours}$"


ROOT: Final = "/"
