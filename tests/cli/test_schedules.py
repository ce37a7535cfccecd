"""Schedules on the command line: when one is due, before there is one; and those of a workflow, wherever it is."""

from __future__ import annotations

import asyncio
import json

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.services.schedules import GivenSchedule
from tests.cli.conftest import KEY, NAME, Perdure


def test_a_preview_tells_utc_and_local_time(perdure: Perdure) -> None:
    """The slots strictly after an instant, over a gap, in both times."""
    cron = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28T01:30:00Z", "--count", "2")
    assert json.loads(perdure("schedules", "preview", *cron, "--json").stdout) == [
        {"utc": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00"},
        {"utc": "2026-03-30T00:30:00Z", "local": "2026-03-30T02:30:00+02:00"},
    ]
    said = perdure("schedules", "preview", *cron)
    assert "At 02:30 (Europe/Berlin)" in said.stderr
    assert "2026-03-29T03:00:00+02:00" in said.stdout


def test_what_is_refused(perdure: Perdure) -> None:
    """A line says what is wrong, and with what."""
    said = perdure("schedules", "preview", "--cron", "0 25 * * *", exits=1).stderr
    assert "--cron: hour: 25 is not from 0 to 23" in said
    said = perdure("schedules", "preview", "--cron", "0 2 * * *", "--timezone", "Europe/Berln", exits=1).stderr
    assert "--timezone: there is no time zone" in said
    assert "Did you mean 'Europe/Berlin'" in said
    said = perdure("schedules", "preview", "--cron", "0 2 * * *", "--from", "tomorrow", exits=1).stderr
    assert "--from: 'tomorrow' is no instant" in said


async def _scheduled(database: str) -> None:
    async with Engine.open(database) as engine:
        caller = await engine._caller()
        (workflow,) = await engine.store.workflows_named(caller.workspace_id, NAME)
        given = GivenSchedule(cron="30 2 1 1 *", timezone="Europe/Berlin", input={"amount": 1})
        await engine.services.schedules.add(caller, workflow.workflow_id, given)


@pytest.mark.parametrize("is_served", [False, True], ids=["a database", "a server"])
def test_schedules_are_listed_switched_and_run(
    perdure: Perdure, request: pytest.FixtureRequest, *, is_served: bool
) -> None:
    """Alike in a database and over HTTP."""
    asyncio.run(_scheduled("sqlite:///runs.db"))
    there = ("--server", request.getfixturevalue("served"), "--key", KEY) if is_served else ()
    (schedule,) = json.loads(perdure("schedules", "list", NAME, "--json", *there).stdout)["items"]
    shown = perdure("schedules", "list", NAME, *there).stdout
    assert schedule["id"] in shown
    assert "-01-01T02:30:00+01:00" in shown
    for command, status in (("pause", "paused"), ("play", "active")):
        for named in ((), (schedule["id"],)):
            assert perdure("schedules", command, NAME, *named, *there).stdout == f"{schedule['id']}  {status}\n"
    run = perdure("schedules", "run-now", NAME, *there).stdout.strip()
    told = json.loads(perdure("schedules", "run-now", NAME, schedule["id"], "--json", *there).stdout)
    assert told["process_id"] == f"schedule:{schedule['id']}@{told['execution_id']}"
    found = {each["execution_id"] for each in json.loads(perdure("history", "--json", *there).stdout)["items"]}
    assert {run, told["execution_id"]} <= found


def test_a_workflow_without_a_schedule(perdure: Perdure, folder: object) -> None:
    """There is nothing to list, to pause or to run; an id that is none is wrong usage."""
    assert json.loads(perdure("schedules", "list", NAME, "--json").stdout) == {"items": []}
    assert "has no schedule" in perdure("schedules", "pause", NAME, exits=1).stderr
    assert "has no schedule" in perdure("schedules", "run-now", NAME, exits=1).stderr
    other = ids.text(bytes(16))
    assert f"has no schedule {other}" in perdure("schedules", "play", NAME, other, exits=1).stderr
    assert "not a UUID" in perdure("schedules", "play", NAME, "first", exits=2).stderr
