"""The stores that keep the contract. To bind another: a context manager that opens it, and its name below."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from store.memory import MemoryStore
from store.protocols import Store
from store.sqlite import open_sqlite


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Store]:
    store = MemoryStore()
    yield store
    await store.close()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Store]:
    store = await open_sqlite(folder / "perdure.db")
    yield store
    await store.close()


BACKENDS = [memory, sqlite]


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__name__)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: AbstractAsyncContextManager[Store] = request.param(tmp_path)
    async with opened as backend:
        yield backend
