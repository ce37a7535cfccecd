"""Bodies that are under way: how many bytes of them are kept, in all and of one workspace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure.api.http import body_budget
from perdure.api.http.body_budget import BodyBudget, CountedBody
from perdure.api.settings import Settings
from perdure.engine.errors import RateLimited
from tests.api.conftest import Start

A, B, C = b"a", b"b", b"c"
PART = b" " * 18_000


def taken_by(budget: BodyBudget, workspace: bytes) -> int:
    """Take what there is for a workspace, a hundredth at a time; how many hundredths that was."""
    for count in range(1000):
        try:
            budget.take(workspace, budget.most // 100)
        except RateLimited:
            return count
    raise AssertionError("there is no end to it")


def test_a_workspace_has_as_much_as_is_left_for_all_others() -> None:
    """Half of all if it is alone, then half of what that left: there is always room for the next one."""
    budget = BodyBudget(1024 * 1024)
    assert [taken_by(budget, each) for each in (A, B, C)] == [50, 25, 12]
    assert taken_by(budget, A) == 0
    budget.give_back(A, budget.most // 2)
    assert taken_by(budget, C) == 25


def test_the_longest_body_fits_whatever_the_setting() -> None:
    """Two of them, of one workspace."""
    budget = BodyBudget(1024**3)
    budget.take(A, 2 * 1024**3)
    with pytest.raises(RateLimited):
        budget.take(A, 1)


def test_what_was_taken_is_given_back_whatever_happens() -> None:
    """When the request has been answered, or was refused halfway."""
    budget = BodyBudget(1)
    with CountedBody(budget, A) as counted:
        counted.take(1000)
        assert budget.taken == 1000
        with pytest.raises(RateLimited):
            counted.take(budget.most)
    assert budget.taken == 0
    with pytest.raises(ZeroDivisionError), CountedBody(budget, A) as counted:
        counted.take(1 // 0)
    assert budget.taken == 0


async def test_slow_bodies_of_one_workspace_leave_room_for_others(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many bytes of it are 429 with Retry-After; what it declares is not counted, but what has come."""
    monkeypatch.setattr(body_budget, "BYTES_MIN", 100_000)
    api = await start(Settings(body_max_bytes=25_000))
    other = await api.new_key(organization="B")
    go_on, come = asyncio.Event(), asyncio.Semaphore(0)

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"definition": {"Type": "Succeed"}' + PART
        come.release()
        await go_on.wait()
        yield b"}"

    def send(**more: str) -> asyncio.Task[int]:
        async def sent() -> int:
            response = await api.post("/v1/test-state", content=slowly(), headers={"Content-Length": "25000"}, **more)
            assert (response.status_code == 429) == ("Retry-After" in response.headers)
            return response.status_code

        return asyncio.create_task(sent())

    slow = [send() for _ in range(2)]
    for _ in slow:
        await come.acquire()
    assert await send() == 429
    theirs = send(key=other)
    await come.acquire()
    go_on.set()
    assert await asyncio.gather(theirs, *slow) == [200] * 3
    assert await send() == 200
