"""The dialects beside each other over HTTP: what it takes to start a run through each, and to read one of many steps.

All are asked in turn in each round, so that what else the machine does meanwhile is shared by all of them. The service
API starts a workflow's runs half a minute apart: it and the process API start those of a workflow each for comparison.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from benchmarks.latency import WAITING
from benchmarks.serving import Measured, Served, perdure, request
from perdure.api.app import ROUTES

CONNECTIONS: Final = 20
ROUNDS: Final = 9
PROCESS: Final = "process"
APART: Final = "process, a workflow each"
LEAST: Final = 0.85
"""The least of the process API's throughput that any dialect's may be."""

READ_CPU_MS_MAX: Final = 50.0
"""The most CPU time that reading a run of a thousand steps may take."""

SERVICE: Final = "/api/v1/services/workflows"
_EXECUTE: Final = "/v1/workflows/{id}/execute"
_STARTS: Final = {
    PROCESS: "/v2/workflows/triggerworkflow/{id}",
    "runs": "/api/v1/workflows/{id}/run",
    "resource": _EXECUTE,
    APART: "/v2/workflows/triggerworkflow/{id}",
    "service": f"{SERVICE}/workflows/{{id}}/run",
}
_READS: Final = {
    PROCESS: "/v2/workflows/getWorkflowExecutionById?workflow_id={of}&workflow_execution_id={id}",
    "runs": "/api/v1/runs/{id}",
    "resource": "/v1/executions/{id}",
    "service": f"{SERVICE}/runs/{{id}}",
}
_HAS_EXECUTE: Final = any(route.path == _EXECUTE for route in ROUTES)
STARTS: Final = {name: path for name, path in _STARTS.items() if name != "resource" or _HAS_EXECUTE}
"""By dialect, where a run is started."""
READS: Final = {name: path for name, path in _READS.items() if name != "resource" or _HAS_EXECUTE}
"""By dialect, where a run is read."""


class Rounds(NamedTuple):
    """What a dialect's starts came to, round by round, and those that it is compared with."""

    own: list[Measured]
    beside: list[Measured]

    @property
    def ratio(self) -> float:
        """Its throughput as a share of the other's: the median of the rounds."""
        pairs = zip(self.own, self.beside, strict=True)
        return statistics.median(own.per_second / other.per_second for own, other in pairs)

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a request: the least of the rounds, which no neighbour adds to."""
        return min(each.cpu_us for each in self.own)


async def starts(total: int = 200, rounds: int = ROUNDS, connections: int = CONNECTIONS) -> dict[str, Rounds]:
    """Start so many runs that come to a wait through each dialect, in each round."""
    found: dict[str, list[Measured]] = {name: [] for name in STARTS}
    with perdure() as server:
        (one,) = await _workflows(server, 1)
        for number in range(rounds):
            apart = {name: await _workflows(server, total) for name in (APART, "service")}
            names = list(STARTS)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                wanted = apart.get(name, [one] * total)
                requests = [request("POST", STARTS[name].format(id=each)) for each in wanted]
                found[name].append(await server.send(requests, connections))
    return {name: Rounds(own, found[APART if name == "service" else PROCESS]) for name, own in found.items()}


async def _workflows(server: Served, count: int) -> list[str]:
    body = {"name": "waiting", "definition": WAITING}
    made = await server.send([request("POST", "/v1/workflows", body)] * count, min(count, CONNECTIONS))
    return [answer["data"]["id"] for answer in made.answers]


def chain(count: int) -> dict[str, Any]:
    """A machine of so many tasks, one after the other, which all do something."""
    task = {"Type": "Task", "Resource": "transform", "Parameters": {"value": {"name": "Ann", "total": 12.5}}}
    states = {f"S{number}": {**task, "Next": f"S{number + 1}"} for number in range(count - 1)}
    return {"StartAt": "S0", "States": {**states, f"S{count - 1}": {**task, "End": True}}}


async def reads(steps: int = 1000, times: int = 40) -> dict[str, Measured]:
    """Read a run of so many steps through each dialect, one read after the other."""
    with perdure() as server:
        body = {"name": "chain", "definition": chain(steps)}
        made = await server.send([request("POST", "/v1/workflows", body)], 1)
        workflow = made.answers[0]["data"]["id"]
        started = await server.send([request("POST", STARTS[PROCESS].format(id=workflow))], 1)
        run = started.answers[0]["looply_execution_id"]
        read = {name: request("GET", path.format(id=run, of=workflow)) for name, path in READS.items()}
        while (await server.send([read["runs"]], 1)).answers[0]["data"]["status"] != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return {name: await server.send([each] * times, 1) for name, each in read.items()}


def _slower(found: Mapping[str, Rounds]) -> Sequence[str]:
    return [name for name, rounds in found.items() if name != APART and rounds.ratio < LEAST]


def main() -> int:
    """Print the figures; not 0 if a dialect is slower than it may be."""
    print(f"dialects: SQLite, WAL, synchronous=FULL, {CONNECTIONS} at once, {ROUNDS} rounds in turn")
    started = asyncio.run(starts())
    for name, rounds in started.items():
        rate = statistics.median(each.per_second for each in rounds.own)
        other = APART if name == "service" else PROCESS
        share = "" if name == other else f", {rounds.ratio:.1%} of {other}"
        print(f"  {name}: {rate:,.0f} runs a second{share}, {rounds.cpu_us:,.0f} µs of CPU each")
    print("  a run of 1,000 steps, read:")
    read = asyncio.run(reads())
    for name, measured in read.items():
        print(f"    {name}: {statistics.median(measured.times):.1f} ms, {measured.cpu_us / 1000:.1f} ms of CPU")
    too_slow = [*_slower(started), *(name for name, each in read.items() if each.cpu_us / 1000 > READ_CPU_MS_MAX)]
    print(f"  slower than they may be: {', '.join(too_slow) or 'none'}")
    return int(bool(too_slow))
