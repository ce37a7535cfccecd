"""The stores that keep the contract. To bind another: a context manager that opens it, and its name below."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from perdure.store.memory import MemoryStore
from perdure.store.protocols import Store
from perdure.store.sqlite import open_sqlite
from perdure.store.sqlite.writer.writer import Writer


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Store]:
    store = MemoryStore()
    yield store
    await store.close()


@cache
def migrated() -> bytes:
    """An empty database, so that not every test needs to migrate one."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "perdure.db")
        path.touch()
        Writer(str(path)).close()
        return path.read_bytes()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Store]:
    await asyncio.to_thread((folder / "perdure.db").write_bytes, migrated())
    store = await open_sqlite(folder / "perdure.db")
    yield store
    await store.close()


@asynccontextmanager
async def sqlite_process(folder: Path) -> AsyncIterator[Store]:
    await asyncio.to_thread((folder / "perdure.db").write_bytes, migrated())
    store = await open_sqlite(folder / "perdure.db", writer="process")
    yield store
    await store.close()


BACKENDS = [memory, sqlite]

BY_A_PROCESS = {"test_append", "test_claims", "test_nodes", "test_rebuild"}
"""What is written, and so passes between two processes if the writer has its own; reading is the same for both."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store" in metafunc.fixturenames:
        is_writing = metafunc.module.__name__.rpartition(".")[2] in BY_A_PROCESS
        backends = [*BACKENDS, sqlite_process] if is_writing else BACKENDS
        metafunc.parametrize("store", backends, ids=lambda backend: backend.__name__, indirect=True)


@pytest.fixture
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: AbstractAsyncContextManager[Store] = request.param(tmp_path)
    async with opened as backend:
        yield backend
