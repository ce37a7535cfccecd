"""Steps of the acceptance tests, loaded by real servers: they write down each call, and hang until they are let go."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from perdure.engine.steps import Registry, StepContext, StepFailed

registry = Registry()
FOLDER = Path(os.environ.get("PERDURE_TEST_FOLDER", "."))


@registry.step("hold")
async def hold(value: Any, context: StepContext) -> Any:
    """Hang until the file `open` is there."""
    with (FOLDER / "calls").open("a") as calls:
        calls.write(json.dumps([context.idempotency_key, value]) + "\n")
    while not (FOLDER / "open").exists():  # noqa: ASYNC110 the file is made by another process
        await asyncio.sleep(0.02)
    return {"held": value["n"]}


@registry.step("count")
async def count(value: Any) -> Any:
    """Give the input back."""
    return value


@registry.step("flaky")
async def flaky(value: Any, context: StepContext) -> Any:
    """Fail until the file `open` is there; of each attempt the call is written down."""
    with (FOLDER / "calls").open("a") as calls:
        calls.write(json.dumps([context.idempotency_key, value]) + "\n")
    if not (FOLDER / "open").exists():
        raise StepFailed("Flaky", f"attempt {context.attempt}")
    return {"attempt": context.attempt}


@registry.step("in_turn")
async def in_turn(value: Any) -> Any:
    """Take one of as many locks as may be had at once, which end with the process; write it down if none is free."""
    held = None
    for number in range(value["limit"]):
        lock = os.open(FOLDER / f"lock-{value['key']}-{number}", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            held = lock
            break
    with (FOLDER / ("calls" if held is not None else "too-many")).open("a") as calls:
        calls.write(json.dumps(value) + "\n")
    await asyncio.sleep(0.002)
    if held is not None:
        os.close(held)
    return value["n"]
