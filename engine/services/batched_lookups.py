"""Batched look-ups: those requested while a read is in progress share the next read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BatchedReads(Generic[K, V]):
    """Batches look-ups of keys into calls of `read`, which leaves out keys that do not exist.

    Each is looked up by a read that begins after it was asked for, so what was committed before is found.
    """

    def __init__(self, read: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._wanted: list[tuple[K, asyncio.Future[V | None]]] = []
        self._job: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """The value of a key; null if there is none. Raises what `read` raises."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[V | None] = loop.create_future()
        self._wanted.append((key, found))
        if self._job is None:
            self._job = loop.create_task(self._go())
        return await found

    async def _go(self) -> None:
        """Read until nothing is wanted any more."""
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, []
                await self._answer(wanted)
        finally:
            self._job = None

    async def _answer(self, wanted: list[tuple[K, asyncio.Future[V | None]]]) -> None:
        try:
            found = await self._read(list(dict.fromkeys(key for key, _ in wanted)))
        except Exception as error:  # noqa: BLE001 told to who asked; the next are looked up all the same
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
        else:
            for key, future in wanted:
                if not future.done():  # whoever asked may be gone
                    future.set_result(found.get(key))


class BatchedLookups(BatchedReads[tuple[bytes, bytes, str], V]):
    """Batched look-ups of names in workspaces, given with their organizations: one read for each workspace."""

    def __init__(self, read: Callable[[bytes, bytes, list[str]], Awaitable[Mapping[str, V]]]) -> None:
        async def read_each(wanted: list[tuple[bytes, bytes, str]]) -> dict[tuple[bytes, bytes, str], V]:
            names: dict[tuple[bytes, bytes], list[str]] = {}
            for organization_id, workspace_id, name in wanted:
                names.setdefault((organization_id, workspace_id), []).append(name)
            found: dict[tuple[bytes, bytes, str], V] = {}
            for workspace, some in names.items():
                found |= {(*workspace, name): row for name, row in (await read(*workspace, some)).items()}
            return found

        super().__init__(read_each)
