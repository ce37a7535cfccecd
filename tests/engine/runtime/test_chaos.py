"""Many clients, a store that refuses and delays, and crashes in between: what was told stays true."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.errors import PerdureError
from perdure.engine.steps import Registry, StepFailed
from perdure.store.errors import StoreFull

from .conftest import Bench, eventually, rest

APPROVAL: dict[str, Any] = {
    "StartAt": "Reserve",
    "States": {
        "Reserve": {"Type": "Task", "Resource": "reserve", "ResultPath": "$.reserved", "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.answer", "Next": "Rest"},
        "Rest": {"Type": "Wait", "Seconds": 5, "Next": "Book"},
        "Book": {"Type": "Task", "Resource": "reserve", "End": True},
    },
}


KEPT = {"n.$": "$.n", "items.$": "$.items"}
"""What every branch and iteration is given, so that all of them can do the same."""

PARTS: tuple[dict[str, Any], ...] = (
    {"Type": "Task", "Resource": "reserve"},
    {"Type": "Task", "Resource": "shake", "Retry": [{"ErrorEquals": ["Shaken"], "BackoffRate": 1, "MaxAttempts": 99}]},
    {"Type": "Wait", "Seconds": 2},
    {"Type": "Parallel"},
    {"Type": "Map", "ItemsPath": "$.items", "ItemSelector": KEPT, "MaxConcurrency": 2},
)
ASK = {"Type": "Task", "Resource": "wait_for_resume"}


class Nested:
    """Makes definitions that nest, and that ask exactly once."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.names = itertools.count(1)

    def machine(self, depth: int, *, asks: bool) -> dict[str, Any]:
        """A chain of states, one of which asks, or has a branch that does."""
        parts = [dict(self.chance.choice(PARTS[: 5 if depth else 3])) for _ in range(self.chance.randrange(1, 4))]
        asking = self.chance.randrange(len(parts)) if asks else None
        states: dict[str, Any] = {}
        for index, part in enumerate(parts):
            is_asking = index == asking
            made: dict[str, Any] = (
                part if not is_asking else {"Type": "Parallel"} if depth and self.chance.random() < 0.7 else dict(ASK)
            )
            if made["Type"] == "Parallel":
                made["Branches"] = [self.machine(depth - 1, asks=is_asking), self.machine(depth - 1, asks=False)]
            elif made["Type"] == "Map":
                made["ItemProcessor"] = self.machine(depth - 1, asks=False)
            if made["Type"] != "Wait":
                made["ResultPath"] = None
            states[f"S{next(self.names)}"] = made
        names = list(states)
        for name, following in zip(names, [*names[1:], None], strict=True):
            states[name] |= {"End": True} if following is None else {"Next": following}
        return {"StartAt": names[0], "States": states}


SEEDS = int(os.environ.get("PERDURE_SEEDS", "24"))


class World:
    """Clients that write down what they were told, and a chaos that is drawn from a seed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.chance = random.Random(seed)
        self.started: dict[str, str] = {}
        self.restarted: dict[str, list[int]] = {}
        self.steps = Registry()
        self.steps.step("reserve")(self.reserve)
        self.steps.step("shake")(self.shake)
        self.workflow = ""
        self.definition = Nested(self.chance).machine(2, asks=True) if seed % 2 else APPROVAL

    async def reserve(self, value: Any) -> Any:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        return value if value.get("answer") else {"n": value["n"]}

    async def shake(self, value: Any) -> Any:
        await self.reserve(value)
        if self.chance.random() < 0.3:
            raise StepFailed("Shaken")
        return value

    async def client(self, engine: Engine, number: int) -> None:
        """Trigger and resume over and over, with answers written down."""
        for turn in range(6):
            name = f"P-{self.chance.randrange(8)}"
            try:
                execution = await engine.trigger(self.workflow, {"n": name, "items": [1, 2]}, process_id=name)
                assert self.started.setdefault(name, execution.id) == execution.id
                answer = await engine.resume(name, {"by": number * 100 + turn}, hold=0)
                if answer == "restarted":
                    self.restarted.setdefault(name, []).append(number * 100 + turn)
            except PerdureError:
                pass
            for _ in range(self.chance.randrange(6)):
                await asyncio.sleep(0)

    async def life(self, *, is_last: bool) -> None:
        """One life of a process: it starts, serves, and is killed at a moment that nobody chose."""
        engine = await self.bench.start(self.steps)
        if not self.workflow:
            self.workflow = (await engine.create_workflow("approval", self.definition)).id
        clients = [asyncio.create_task(self.client(engine, n)) for n in range(6)]
        for _ in range(self.chance.randrange(5, 60)):
            await asyncio.sleep(0)
            if self.chance.random() < 0.05:
                self.bench.store.fail_next.append(StoreFull("full"))
            if self.chance.random() < 0.1:
                self.bench.clock.push(self.chance.randrange(3000))
        if is_last:
            await asyncio.gather(*clients)
            return
        for client in clients:
            client.cancel()
        await self.bench.crash(engine)
        await asyncio.gather(*clients, return_exceptions=True)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_was_told_stays_true(bench: Bench, seed: int) -> None:
    """Whatever is refused, delayed or killed: no answer is taken back, no wait ends twice, every run comes to rest."""
    world = World(bench, seed)
    lives = world.chance.randrange(1, 5)
    async with asyncio.timeout(20):
        for number in range(lives):
            await world.life(is_last=number == lives - 1)
    bench.store.fail_next.clear()
    engine = bench.engines[0]
    for _ in range(60):
        await bench.push(engine, 1000)
        await eventually(lambda: not engine.node.tasks.running)
    await eventually(lambda: not engine.node.tasks.running)
    await rest(engine)

    for name, execution_id in world.started.items():
        recorded = [item async for item in engine.events(execution_id)]
        resumed = [item for item in recorded if type(item.event).__name__ == "WaitResumed"]
        told = world.restarted.get(name, [])
        assert len(told) <= 1
        assert len(resumed) <= 1
        if told and resumed[0].payload is not None:
            assert resumed[0].payload["result"] == {"by": told[0]}
    page = await engine.executions(limit=100)
    assert len(page.items) == len({item.process_id for item in page.items})
    assert {item.status for item in page.items} <= {"waiting", "completed"}
