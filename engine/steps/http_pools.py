"""Connection pools of `http_request`, by workspace and host: a slow server blocks no other workspace or host."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver

PER_HOST_MAX: Final = 100
"""So many requests of a workspace are under way to one host; the others wait for a slot, and their time with them."""

POOLS_MAX: Final = 100
"""So many workspaces keep connections that are not in use."""

LOOKUP_THREADS: Final = 64

LOOKUPS_MAX: Final = 4
"""So many names are looked up for a workspace at once: a name server that never answers holds up its own questions."""


class Pools:
    """Connection pools, one for each workspace. `make` makes a session."""

    def __init__(self, make: Callable[[], aiohttp.ClientSession]) -> None:
        self._make = make
        self._pools: OrderedDict[str, _Pool] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def slot(self, workspace: str, host: str) -> AsyncIterator[aiohttp.ClientSession]:
        """The session to send one request by, once a slot is free."""
        async with self._pool(workspace).slot(host) as session:
            yield session

    def _pool(self, workspace: str) -> _Pool:
        pool = self._pools.get(workspace)
        if pool is None:
            pool = self._pools[workspace] = _Pool(self._make())
            self._let_go(workspace)
        self._pools.move_to_end(workspace)
        return pool

    def _let_go(self, but: str) -> None:
        """Close the connections that were used least recently and are not in use, if too many are kept."""
        if len(self._pools) > POOLS_MAX:
            idle = next((name for name, pool in self._pools.items() if not pool.hosts and name != but), None)
            if idle is not None:
                closing = asyncio.ensure_future(self._pools.pop(idle).session.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, OrderedDict()
        for pool in pools.values():
            await pool.session.close()
        await asyncio.gather(*self._closing)


class _Host:
    """The request slots of one host, and how many requests hold or await one."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(PER_HOST_MAX)
        self.users = 0


class _Pool:
    """The connections of one workspace, and the hosts that it has to do with now."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def slot(self, name: str) -> AsyncIterator[aiohttp.ClientSession]:
        host = self.hosts.setdefault(name, _Host())
        host.users += 1
        try:
            async with host.slots:
                yield self.session
        finally:
            host.users -= 1
            if not host.users:
                del self.hosts[name]


class Lookups:
    """DNS look-ups by the system's resolver, in threads of their own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="perdure-lookup")

    def share(self) -> AbstractResolver:
        """A resolver for one workspace."""
        return aiohttp.ThreadedResolver(_Share(self._threads))  # type: ignore[arg-type]  # of a loop it uses these two

    def close(self) -> None:
        """Start no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Share:
    """The two functions of an event loop that a resolver needs, in so many of the threads at the most."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._places = asyncio.Semaphore(LOOKUPS_MAX)

    async def getaddrinfo(self, host: str, port: int, **wanted: Any) -> Any:
        return await self._run(partial(socket.getaddrinfo, host, port, **wanted))

    async def getnameinfo(self, address: Any, flags: int) -> Any:
        return await self._run(partial(socket.getnameinfo, address, flags))

    async def _run(self, look_up: Callable[[], Any]) -> Any:
        """Run it in a thread, whose slot is taken until it is done, whether or not anybody waits for that."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()

        def leave(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits for a slot
                loop.call_soon_threadsafe(self._places.release)

        try:
            running = self._threads.submit(look_up)
        except BaseException:
            self._places.release()
            raise
        running.add_done_callback(leave)
        return await asyncio.wrap_future(running)
