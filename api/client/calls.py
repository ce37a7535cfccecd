"""Calls and walks as data, and how a method that describes one becomes a method of both clients.

An operation is written once, as a function that builds a `Call`. As an attribute of a `Client` it makes the call and
gives what came of it; as one of an `AsyncClient` it gives an awaitable of the same. Type checkers follow both.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from types import MethodType
from typing import Any, Concatenate, Final, Generic, Literal, ParamSpec, TypeVar, overload
from urllib.parse import quote, urlencode

import msgspec
from msgspec import UNSET

P = ParamSpec("P")
T = TypeVar("T")

_NO_SEGMENT: Final = frozenset({"", ".", ".."})


class Call(msgspec.Struct, Generic[T], frozen=True):
    """A request that a server can be sent, and the type of its answer. Nothing of it has happened yet."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """A template, as the server's document has it: `/v1/keys/{id}`."""

    reply: Any
    """The type of what is given, inside its envelope."""

    envelope: Literal["data", "item"] | None = None
    values: Mapping[str, str | int] = {}
    query: Mapping[str, Any] = {}
    body: Any = UNSET
    headers: Mapping[str, str] = {}
    idempotency_key: str | bool = False
    """True: the client makes one, so that the call can be repeated."""

    is_safe: bool = False
    """Whether it may be repeated as it is, because it changes nothing or comes to the same the second time."""

    held_s: int = 0
    """So long the server may hold it on purpose, beyond any time-out."""

    is_patient: bool = False
    """Whether a server that has no room for it, and says when it may have some, is asked until it has."""

    def __repr__(self) -> str:  # what stands in it may be a token, or somebody's data
        return f"Call({self.method} {self.path})"

    def target(self) -> str:
        """Path and query, percent-encoded. Raises `ValueError` for a value that no path can have."""
        path = self.path
        for name, value in self.values.items():
            if str(value) in _NO_SEGMENT:
                raise ValueError(f"{name}: {value!r} is not accepted; it must be a text other than '.' and '..'")
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        query = {name: _text(value) for name, value in self.query.items() if value is not None}
        return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def given(**members: Any) -> dict[str, Any]:
    """The members that were given: all that are not null."""
    return {name: value for name, value in members.items() if value is not None}


class Walk(msgspec.Struct, Generic[T], frozen=True):
    """Pages, one after the other: the first call, the items of an answer, and the call after it, if there is one."""

    first: Call[Any]
    items: Callable[[Any], Sequence[T]]
    then: Callable[[Any], Call[Any] | None]


class Blocking(ABC):
    """Who makes a call and waits for its answer."""

    @abstractmethod
    def perform(self, call: Call[T]) -> T:
        """Make a call, again if need be and allowed. Raises `ClientError`."""


class Awaiting(ABC):
    """Who makes a call while others go on."""

    @abstractmethod
    async def perform(self, call: Call[T]) -> T:
        """Make a call, again if need be and allowed. Raises `ClientError`."""


class Operation(Generic[P, T]):
    """A method that makes one call."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._build = build
        functools.update_wrapper(self, build)  # type: ignore[arg-type]

    @overload
    def __get__(self, client: None, owner: type | None = None) -> Callable[..., Call[T]]: ...
    @overload
    def __get__(self, client: Blocking, owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type | None = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type | None = None) -> Any:
        if client is None:
            return self._build

        build = MethodType(self._build, client)

        @functools.wraps(build)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.perform(build(*args, **kwargs))

        return call


class Iteration(Generic[P, T]):
    """A method that walks over pages, and gives their items as it comes to them."""

    def __init__(self, build: Callable[Concatenate[Any, P], Walk[T]]) -> None:
        self._build = build
        functools.update_wrapper(self, build)  # type: ignore[arg-type]

    @overload
    def __get__(self, client: None, owner: type | None = None) -> Callable[..., Walk[T]]: ...
    @overload
    def __get__(self, client: Blocking, owner: type | None = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type | None = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type | None = None) -> Any:
        if client is None:
            return self._build

        build = MethodType(self._build, client)

        @functools.wraps(build)
        def walk(*args: P.args, **kwargs: P.kwargs) -> Any:
            built = build(*args, **kwargs)
            return _blocking(client, built) if isinstance(client, Blocking) else _awaiting(client, built)

        return walk


def _blocking(client: Blocking, walk: Walk[T]) -> Iterator[T]:
    call: Call[Any] | None = walk.first
    while call is not None:
        page = client.perform(call)
        yield from walk.items(page)
        call = walk.then(page)


async def _awaiting(client: Awaiting, walk: Walk[T]) -> AsyncIterator[T]:
    call: Call[Any] | None = walk.first
    while call is not None:
        page = await client.perform(call)
        for item in walk.items(page):
            yield item
        call = walk.then(page)
