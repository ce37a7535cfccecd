"""Runaways: how long others' runs take beside a loop without an end, and beside a workflow that starts itself.

Each is measured with nothing beside it, beside the runaway while no quota stops it, and with the quotas as set; then
also how far the runaway came. On SQLite, every step durable.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.database import open_store
from perdure.engine.limits import DEFAULT_LIMITS, Limits
from perdure.engine.steps import Registry

SECONDS: Final = 8
EVERY_S: Final = 0.02
"""A run of others' is triggered so often."""

UNBOUNDED: Final = Limits(
    run_events_max=10**9,
    run_bytes_max=2**40,
    run_transitions_per_s_max=10**9,
    child_depth_max=10**6,
    workflow_open_runs_max=10**9,
)

OTHERS: Final[dict[str, Any]] = {
    "StartAt": "Look",
    "States": {
        "Look": {"Type": "Task", "Resource": "look", "Next": "Note"},
        "Note": {"Type": "Task", "Resource": "look", "End": True},
    },
}
LOOP: Final[dict[str, Any]] = {
    "StartAt": "Again",
    "States": {
        "Again": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.done", "IsPresent": True, "Next": "Done"}],
            "Default": "Work",
        },
        "Work": {"Type": "Pass", "Next": "Again"},
        "Done": {"Type": "Succeed"},
    },
}
ITSELF: Final[dict[str, Any]] = {
    "StartAt": "Itself",
    "States": {
        "Itself": {
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution.sync:2",
            "Parameters": {"StateMachineArn": "runaway", "Input": {}},
            "End": True,
        }
    },
}
RUNAWAYS: Final = {"nothing": None, "a loop without an end": LOOP, "a workflow that starts itself": ITSELF}


class Beside(NamedTuple):
    """The latencies of others' runs (s), and how far the runaway came: runs, events, and its pause or end, if any."""

    latencies: Sequence[float]
    runs: int
    events: int
    stopped: str

    def ms(self, share: float) -> float:
        """A quantile of the latencies, in milliseconds."""
        return 1000 * sorted(self.latencies)[int(share * (len(self.latencies) - 1))]


def registry() -> Registry:
    """The step of others' runs, which ends at once."""
    steps = Registry()

    @steps.step("look")
    async def look(value: Any) -> Any:
        return value

    return steps


async def measure(path: Path, runaway: dict[str, Any] | None, limits: Limits, seconds: float = SECONDS) -> Beside:
    """Others' runs for some seconds, beside a runaway."""
    store = await open_store(f"sqlite:///{path}")
    async with Engine.open(store, steps=registry(), limits=limits) as engine:
        others = await engine.create_workflow("others", OTHERS)
        workflow = None
        if runaway is not None:
            made = await engine.create_workflow("runaway", runaway)
            await engine.trigger(made.id)
            workflow = ids.parse(made.id)
        latencies: list[float] = []
        end = time.perf_counter() + seconds
        jobs = set[asyncio.Task[None]]()
        while time.perf_counter() < end:
            job = asyncio.get_running_loop().create_task(_one(engine, others.id, latencies))
            jobs.add(job)
            job.add_done_callback(jobs.discard)
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*jobs)
        counts = await store.paused_counts()
        of = None if workflow is None else await store.workflow(workflow)
        rows = (
            []
            if of is None
            else await store.execution_page(workflow_id=of.workflow_id, workspace_id=of.workspace_id, limit=100_000)
        )
        events, status = sum(row.seq for row in rows), rows[-1].status if rows else "none"
        stopped = f"paused by {next(iter(counts))}" if counts else status
    return Beside(latencies, len(rows), events, stopped)


async def _one(engine: Engine, workflow: str, latencies: list[float]) -> None:
    started = time.perf_counter()
    run = await engine.trigger(workflow, {"n": 1})
    await engine.result(run.id, timeout=60)
    latencies.append(time.perf_counter() - started)


def main() -> int:
    """Print what others' runs take beside each runaway, without quotas and with them."""
    for name, runaway in RUNAWAYS.items():
        for quotas, limits in (("no quotas", UNBOUNDED), ("quotas as set", DEFAULT_LIMITS)):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "runaway.db"
                found = asyncio.run(measure(path, runaway, limits))
                size = path.stat().st_size / 1e6
            print(
                f"beside {name}, {quotas}: {len(found.latencies)} runs of others, p50 {found.ms(0.5):.1f} ms, "
                f"p99 {found.ms(0.99):.1f} ms; the runaway: {found.runs} runs, {found.events:,} events, "
                f"{size:.0f} MB in all, {found.stopped}"
            )
    return 0
