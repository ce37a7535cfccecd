"""A thread in which everybody has a turn."""

from __future__ import annotations

import asyncio
import threading

import pytest

from perdure.engine.errors import RateLimited
from perdure.engine.fairness import FairThread

A, B = b"a", b"b"


async def test_turns_go_round_by_workspace() -> None:
    """Whoever comes second waits for one piece of the first one's work; the first one's own order is kept."""
    thread, gate, done = FairThread("fair"), threading.Event(), list[str]()
    first = asyncio.ensure_future(thread.do(A, gate.wait))
    waiting = [asyncio.ensure_future(thread.do(A, done.append, f"a{n}")) for n in range(4)]
    waiting += [asyncio.ensure_future(thread.do(B, done.append, f"b{n}")) for n in range(2)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *waiting)
    assert done == ["b0", "a0", "b1", "a1", "a2", "a3"]
    thread.close()


async def test_so_much_of_one_workspace_waits_and_no_more() -> None:
    """Others are not told of it, and it may come again when it has been done."""
    thread, gate = FairThread("fair"), threading.Event()
    tasks = [asyncio.ensure_future(thread.do(A, gate.wait)) for _ in range(3)]
    await asyncio.sleep(0.05)  # the first of them runs
    thread.check(A, 3)
    with pytest.raises(RateLimited, match="2 calls of this workspace") as refused:
        thread.check(A, 2)
    assert refused.value.retry_after_s > 0
    thread.check(B, 1)
    gate.set()
    await asyncio.gather(*tasks)
    thread.check(A, 1)
    thread.close()


async def test_what_is_raised_is_raised_and_what_is_cancelled_is_not_begun() -> None:
    """The thread goes on with the next one."""
    thread, gate, done = FairThread("fair"), threading.Event(), list[int]()
    running = asyncio.ensure_future(thread.do(A, gate.wait))
    dropped = asyncio.ensure_future(thread.do(A, done.append, 1))
    wrong = asyncio.ensure_future(thread.do(A, [].index, 1))
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(ValueError, match="not in list"):
        await wrong
    await running
    assert await thread.do(A, lambda: 5) == 5
    assert done == []
    thread.close()


async def test_what_waits_when_it_is_closed_is_cancelled() -> None:
    """Nobody waits for ever."""
    thread, gate = FairThread("fair"), threading.Event()
    running = asyncio.ensure_future(thread.do(A, gate.wait))
    waiting = asyncio.ensure_future(thread.do(B, gate.wait))
    await asyncio.sleep(0.05)
    thread.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    assert await running
