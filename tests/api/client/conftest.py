"""Both clients, as one that waits: whatever holds of one is asked of the other, too."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from perdure.api.client import AsyncClient, Client
from perdure.api.client.calls import Call
from tests.cli.conftest import KEY, folder, made, served, token  # noqa: F401 fixtures


class Recording(Client):
    """A client that notes its calls."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.calls: list[Call[Any]] = []

    def perform(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        return super().perform(call)


class RecordingAsync(AsyncClient):
    """An awaited one that notes its calls."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.calls: list[Call[Any]] = []

    async def perform(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        return await super().perform(call)


class Awaited:
    """An `AsyncClient` on a loop of its own, called like a `Client`."""

    def __init__(self, *args: Any, sleep: Any = None, **more: Any) -> None:
        if sleep is not None:

            async def slept(seconds: float) -> None:
                sleep(seconds)

            more["sleep"] = slept
        self._client = RecordingAsync(*args, **more)
        self._loop = asyncio.new_event_loop()
        self.calls = self._client.calls

    def __repr__(self) -> str:
        return repr(self._client)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        @functools.wraps(method)
        def call(*args: Any, **more: Any) -> Any:
            under_way = method(*args, **more)
            if hasattr(under_way, "__anext__"):
                return self._items(under_way)
            return self._loop.run_until_complete(under_way)

        return call

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._loop.run_until_complete(anext(items))
            except StopAsyncIteration:
                return

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


Connect = Callable[..., Any]


@pytest.fixture(params=[Recording, Awaited], ids=["blocking", "awaiting"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of an address, and closes them."""
    with ExitStack() as stack:

        def make(url: str, key: str = KEY, **more: Any) -> Any:
            client = request.param(url, key, **more)
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def client(connect: Connect, request: pytest.FixtureRequest) -> Any:
    """A client of a server on the folder's database."""
    if "token" in request.fixturenames:
        request.getfixturevalue("token")  # first: a server lets nobody else write
    return connect(request.getfixturevalue("served"))
