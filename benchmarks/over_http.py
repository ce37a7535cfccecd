"""Over HTTP: triggers and resumes, so many at once, and pages of runs one by one; every answer durable.

Beside each, in the same run, the ceiling: the HTTP server alone, asked the same.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from benchmarks.latency import WAITING
from benchmarks.serving import Measured, Served, ceiling, perdure, request

CONNECTIONS: Final = 50
ROWS: Final = 30
"""So many runs are on a page."""

PREFIX: Final = "/v2/workflows/"


class Figures(NamedTuple):
    """What requests cost, and what the HTTP server alone takes for the same."""

    ours: Measured
    alone: Measured


def _triggers(workflow: str, total: int) -> list[bytes]:
    path = f"{PREFIX}triggerworkflow/{workflow}"
    return [request("POST", f"{path}?process_id=P-{number}", {"n": number}) for number in range(total)]


async def _workflow(server: Served) -> str:
    created = await server.send([request("POST", "/v1/workflows", {"name": "waiting", "definition": WAITING})], 1)
    return str(created.answers[0]["data"]["id"])


async def _beside(server: Served, requests: Sequence[bytes], connections: int) -> Figures:
    ours = await server.send(requests, connections)
    with ceiling() as alone:
        return Figures(ours, await alone.send(requests, connections))


async def triggers(total: int = 3000, connections: int = CONNECTIONS) -> Figures:
    """Start runs that come to a wait."""
    with perdure() as server:
        return await _beside(server, _triggers(await _workflow(server), total), connections)


async def resumes(total: int = 3000, connections: int = CONNECTIONS) -> Figures:
    """End the waits of runs which are not in memory."""
    with perdure() as server:
        await server.send(_triggers(await _workflow(server), total), connections)
        payload = {"payload": {"source": "SAP", "ok": True}}
        requests = [request("POST", f"{PREFIX}resumeWorkflow/P-{number}", payload) for number in range(total)]
        return await _beside(server, requests, connections)


async def pages(total: int = 200, rows: int = ROWS) -> Figures:
    """Read the newest runs, over and over."""
    with perdure() as server:
        await server.send(_triggers(await _workflow(server), 2 * rows), 1)
        requests = [request("GET", f"{PREFIX}getOrganizationExecutions?limit={rows}")] * total
        return await _beside(server, requests, 1)


def _print(what: str, figures: Figures) -> None:
    for name, found in (("", figures.ours), ("the HTTP server alone: ", figures.alone)):
        p99 = statistics.quantiles(found.times, n=100)[98]
        print(
            f"  {name}{found.per_second:,.0f} {what} a second, p50 {statistics.median(found.times):.2f} ms, "
            f"p99 {p99:.2f} ms, {found.cpu_us:,.0f} µs of CPU each"
        )
    print(f"    that is {figures.ours.per_second / figures.alone.per_second:.1%} of the ceiling")


def _told(answers: Sequence[Any], message: str) -> int:
    return int(any(answer["message"] != message for answer in answers))


def trigger() -> int:
    """Print the figures of triggers."""
    print(f"trigger_http: SQLite, WAL, synchronous=FULL, {CONNECTIONS} at once")
    figures = asyncio.run(triggers())
    _print("triggers", figures)
    return _told(figures.ours.answers, "success")


def resume() -> int:
    """Print the figures of resumes."""
    print(f"resume_http: SQLite, WAL, synchronous=FULL, {CONNECTIONS} at once, of runs that are not in memory")
    figures = asyncio.run(resumes())
    _print("resumes", figures)
    return _told(figures.ours.answers, "restarted")


def page() -> int:
    """Print the figures of pages."""
    print(f"pages: SQLite, pages of {ROWS} runs, one by one")
    figures = asyncio.run(pages())
    _print("pages", figures)
    return int(any(len(answer["items"]) != ROWS for answer in figures.ours.answers))
