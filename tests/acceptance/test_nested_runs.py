"""Nested runs on a real server that is really killed: branches, iterations, retries, tokens and children go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Server
from .test_real_processes import check_log, lines, many, statuses, task, until

pytestmark = pytest.mark.real_process

RUNS = 20
ITEMS = 5

CHILD = {"StartAt": "Ask", "States": {"Ask": task("wait_for_resume")}}


def parent(child: str) -> dict[str, Any]:
    """A run that is in every nested phase at once: held steps of a Map, a retry's delay, and a child that waits."""
    held = {"StartAt": "Hold", "States": {"Hold": task("hold")}}
    retried = task("flaky", Retry=[{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 3, "MaxAttempts": 3}])
    start = {"StateMachineArn": child, "Name.$": "States.Format('{}-child', $.name)"}
    each = {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": held, "End": True}
    branches = [
        {"StartAt": "Each", "States": {"Each": each}},
        {"StartAt": "Flaky", "States": {"Flaky": retried}},
        {
            "StartAt": "Child",
            "States": {"Child": task("arn:aws:states:::states:startExecution.sync:2", Parameters=start)},
        },
    ]
    return {"StartAt": "All", "States": {"All": {"Type": "Parallel", "Branches": branches, "End": True}}}


async def test_nested_runs_survive_a_kill(server: Server) -> None:
    """Twenty runs of three branches each end with the results of all of them, each step called under one key."""
    child = await server.create("child", CHILD)
    workflow = await server.create("parent", parent(child))
    await many(
        [
            lambda n=n: server.client.trigger(  # type: ignore[misc]
                workflow, {"name": f"P-{n}", "items": [{"n": i} for i in range(ITEMS)]}, process_id=f"P-{n}"
            )
            for n in range(RUNS)
        ]
    )
    await until(lambda: lines(server.folder / "calls", RUNS * (ITEMS + 1)))
    await until(lambda: _children(server, child))
    await server.kill()

    (server.folder / "open").touch()
    await server.start()
    resumed = await many(
        [
            lambda n=n: server.client.resume_workflow(f"P-{n}-child", {"source": "SAP", "n": n})  # type: ignore[misc]
            for n in range(RUNS)
        ]
    )
    assert {answer.message for answer in resumed} == {"restarted"}
    await until(lambda: _ended(server, workflow))
    seen: dict[str, set[str]] = {}
    for line in (server.folder / "calls").read_text().splitlines():
        key, value = json.loads(line)
        seen.setdefault(key, set()).add(json.dumps(value, sort_keys=True))
    assert len(seen) == RUNS * (ITEMS + 1)
    assert all(len(values) == 1 for values in seen.values())
    for item in await server.executions(workflow):
        shown = await server.client.execution(workflow, item.workflow_execution_id)
        each, flaky, told = shown.workflow_output_payload
        assert (len(each), told["Status"]) == (ITEMS, "SUCCEEDED")
        assert flaky is not None
    await check_log(server)


async def _children(server: Server, child: str) -> bool:
    found = await statuses(server, child)
    return len(found) == RUNS and set(found) == {"waiting"}


async def _ended(server: Server, workflow: str) -> bool:
    found = await statuses(server, workflow)
    return len(found) == RUNS and set(found) == {"completed"}
