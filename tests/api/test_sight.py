"""Sight: what is private to one person, or shared with some, is not there for others of the same workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from perdure.api.app import ROUTES
from perdure.api.http.routing import ANY_KEY, Route
from perdure.engine.core import ids
from perdure.engine.core.workflow import Sharing
from perdure.engine.services.access import SCOPES
from perdure.engine.services.authoring import Authored
from perdure.engine.services.documents import GivenDocument
from perdure.store.sqlite import open_sqlite
from tests.api.conftest import ENDING, KEY, PROCESS, WITH_TOKEN, Api, Start
from tests.api.test_isolation import Owned, ask

PLAIN = tuple(scope for scope in SCOPES if scope not in ("operator", "organization.view"))
FOR_AUDITS = {"/v1/events"}
"""The log is for who audits a workspace: it leaves nothing out."""


class People(NamedTuple):
    """The keys of three people of one workspace, and what Ann has for herself."""

    ann: str
    bob: str
    nobody: str
    mine: Owned


async def private(api: Api, key: str, definition: Any, name: str, sharing: Sharing) -> str:
    principal = await api.engine.services.access.principal(key)
    assert principal is not None
    wanted = Authored(GivenDocument("asl", definition), name=name, is_published=True, sharing=sharing)
    saved = await api.engine.services.authoring.create(principal.caller, wanted)
    return ids.text(saved.workflow.workflow_id)


async def people(api: Api, sharing: Sharing | None = None) -> People:
    ann = await api.new_key(*PLAIN, user_id="ann")
    bob = await api.new_key(*PLAIN, user_id="bob", role_ids=["auditor"])
    nobody = await api.new_key(*PLAIN)
    workflow_id = await private(api, ann, WITH_TOKEN, "the secret workflow", sharing or Sharing("private"))
    execution_id = await api.trigger(workflow_id, {"process_id": "SECRET-7"}, key=ann)
    await api.settled()
    wait = (await api.ok("GET", "/v1/waits", key=ann))["data"][0]
    made = await api.ok(
        "POST", f"/v1/workflows/{workflow_id}/schedules", json={"cron_expression": "0 9 1 1 *"}, key=ann
    )
    own = (await api.ok("GET", "/v1/me", key=ann))["data"]
    mine = Owned(
        workflow_id,
        execution_id,
        "SECRET-7",
        wait["wait_id"],
        own["key_id"],
        ids.text(bytes(16)),
        own["organization_id"],
        made["data"]["id"],
        "no.token",
        execution_id,
        wait["wait_id"],
        (workflow_id, execution_id, wait["wait_id"], "secret workflow", "SECRET"),
    )
    return People(ann, bob, nobody, mine)


ABOUT_RUNS = [
    route
    for route in ROUTES
    if route.scope not in (None, ANY_KEY)
    and route.path not in FOR_AUDITS
    and not route.path.startswith(("/v1/keys", "/v1/organization", "/v1/clock", "/v1/bulk", "/v1/tasks", "/v1/actions"))
]


@pytest.mark.parametrize("route", ABOUT_RUNS, ids=lambda r: f"{r.method} {r.path}")
async def test_what_is_private_is_not_there_for_others(api: Api, route: Route) -> None:
    """On every route about workflows and runs: not for another person, and not for who is nobody."""
    seen = await people(api)
    before = await api.events(seen.mine.workflow_execution_id)
    for other in (seen.bob, seen.nobody):
        response = await ask(api, route, seen.mine, other)
        said = response.text if response.status_code < 400 else ""
        assert not [secret for secret in seen.mine.secrets if secret in said], said
        assert response.status_code < 500
        if any(name in route.path for name in ("{id}", "{process_id}", "{workflow_id}")):
            assert response.status_code == 404 or (response.status_code == 400 and route.dialect.name == "runs")
    assert await api.events(seen.mine.workflow_execution_id) == before


async def test_counts_waits_and_pages_leave_out_what_is_not_seen(api: Api) -> None:
    """Without a hole: pages are full of what is seen, and totals are of it; its owner sees all."""
    seen = await people(api)
    open_id = await api.workflow(ENDING, name="for all")
    for _ in range(3):
        await api.trigger(open_id)
        await api.trigger(seen.mine.workflow_id, key=seen.ann)
    for key, total in ((seen.bob, 3), (seen.nobody, 3), (KEY, 3), (seen.ann, 7)):
        counted = (await api.ok("GET", "/v1/executions/counts", key=key))["data"]
        assert counted["total"] == total
        found, after = [], ""
        while True:
            page = await api.ok("GET", f"/v1/executions?limit=2{after}", key=key)
            found += page["data"]
            if not page["meta"]["has_more"]:
                break
            after = f"&after={page['meta']['after']}"
        assert len(found) == total
        page = await api.ok("GET", f"{PROCESS}/getOrganizationExecutions?limit=2", key=key)
        assert (page["count"], "lastKey" in page) == (2, True)
        waits = (await api.ok("GET", "/v1/waits?limit=1", key=key))["data"]
        assert len(waits) == (1 if key == seen.ann else 0)
        assert len((await api.ok("GET", "/api/v1/runs", key=key))["data"]) == total


async def test_a_change_of_who_sees_it_is_seen_at_once(api: Api) -> None:
    """Shared with a role, its runs are there for who has the role, and for nobody else."""
    seen = await people(api)
    url = f"/v1/executions/{seen.mine.process_id}/events"
    assert (await api.get(url, key=seen.bob)).status_code == 404
    principal = await api.engine.services.access.principal(seen.ann)
    assert principal is not None
    shared = Authored(sharing=Sharing("shared", (), ("auditor",)))
    await api.engine.services.authoring.change(principal.caller, ids.parse(seen.mine.workflow_id), shared)
    assert (await api.get(url, key=seen.bob)).status_code == 200
    assert (await api.get(url, key=seen.nobody)).status_code == 404


async def test_a_bulk_job_touches_nothing_that_who_asked_does_not_see(api: Api) -> None:
    """Neither in its count nor when it is done, though the node does it."""
    seen = await people(api)
    order = {"action": "terminate", "filter": {"status": "waiting"}}
    tried = await api.ok("POST", "/v1/bulk", json={**order, "dry_run": True}, key=seen.bob)
    assert tried["data"]["matching"] == 0
    job = (await api.ok("POST", "/v1/bulk", json=order, key=seen.bob))["data"]["id"]
    await api.engine.node.jobs.settle()
    done = (await api.ok("GET", f"/v1/bulk/{job}", key=seen.bob))["data"]
    assert (done["status"], done["done"]) == ("completed", 0)
    assert "ExecutionTerminated" not in await api.events(seen.mine.workflow_execution_id)


def calling(target: str) -> dict[str, Any]:
    """A definition that starts a workflow and awaits it."""
    call = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": target, "Input": {}},
        "End": True,
    }
    return {"StartAt": "Call", "States": {"Call": call}}


@pytest.mark.parametrize("is_by_name", [True, False], ids=["by name", "by id"])
async def test_nobody_reaches_what_is_private_by_calling_it(api: Api, is_by_name: bool) -> None:
    """A workflow of Bob's that starts Ann's gets an error, as if there were none; one of hers starts it."""
    seen = await people(api)
    ends = await private(api, seen.ann, ENDING, "inner", Sharing("private"))
    calls = calling("inner" if is_by_name else ends)
    statuses = []
    for key in (seen.bob, seen.ann):
        run = await api.trigger(await api.workflow(calls, name=f"of {key}", key=key), key=key)
        for _ in range(5):
            await api.settled()
        view = await api.engine.services.queries.execution(await api.engine._caller(), ids.parse(run))
        statuses.append((view.row.status, view.error))
    assert statuses == [("failed", "StepFunctions.StateMachineDoesNotExistException"), ("completed", None)]


async def test_a_name_is_free_if_who_has_it_is_not_seen(api: Api) -> None:
    """Applied, warned of and called, it means what is seen: no id of another's is told, and none is in the way."""
    seen = await people(api)
    for _ in range(2):
        await private(api, seen.ann, ENDING, "bills", Sharing("private"))
    url, body = "/v1/workflows/by-name/bills", {"definition": ENDING}
    made = (await api.ok("PUT", url, json=body, key=seen.bob))["data"]
    assert (made["outcome"], made["warnings"]) == ("created", [])
    again = (await api.ok("PUT", url, json=body, key=seen.bob))["data"]
    assert (again["outcome"], again["id"]) == ("unchanged", made["id"])
    for _ in range(2):
        await private(api, seen.ann, ENDING, "bills", Sharing("private"))
    run = await api.trigger(await api.workflow(calling("bills"), key=seen.bob), key=seen.bob)
    for _ in range(5):
        await api.settled()
    view = await api.engine.services.queries.execution(await api.engine._caller(), ids.parse(run))
    assert view.row.status == "completed"


@pytest.fixture
async def stored(start: Start, tmp_path: Path) -> Api:
    """The app over a SQLite file."""
    return await start(store=await open_sqlite(tmp_path / "perdure.db"))


async def test_sqlite_leaves_out_what_is_not_seen(stored: Api) -> None:
    """Along every index that a page is found by."""
    seen = await people(stored)
    open_id = await stored.workflow(ENDING, name="for all")
    await stored.trigger(open_id)
    await stored.settled()
    for query in ("", "?status=waiting", "?status=waiting,completed", "?process_id_prefix=SECRET", "?sort=oldest"):
        theirs = (await stored.ok("GET", f"/v1/executions{query}", key=seen.bob))["data"]
        own = (await stored.ok("GET", f"/v1/executions{query}", key=seen.ann))["data"]
        assert [run["process_id"] for run in theirs if run["process_id"] == "SECRET-7"] == []
        assert [run["process_id"] for run in own if run["process_id"] == "SECRET-7"] == ["SECRET-7"]
