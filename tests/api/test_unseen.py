"""Visibility: of a workflow that a key may not see, and of its runs, no route of any dialect tells anything."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.api.app import ROUTES
from perdure.api.http.routing import Route
from tests.api.conftest import ENDING, PROCESS, WAITING, WITH_TOKEN, Api
from tests.api.test_isolation import LISTS, PLAIN, SERVICE, Owned, owned, request_for

ELSEWHERE = ("/v1/keys", "/v1/bulk", "/v1/organization", "/v1/clock", "/v1/actions", "/v1/me", "/v1/test-state")
"""What has nothing to do with a workflow, or is tried by itself below. A task's token is good for who has it."""

ASKED = [
    route
    for route in ROUTES
    if route.scope in PLAIN
    and not route.path.startswith((*ELSEWHERE, "/v1/tasks", "/v1/workflows/by-name"))
    and not route.path.endswith("/action-catalog")
]
LISTED = LISTS | {"/api/v1/runs", f"{SERVICE}/runs"}


async def hide(api: Api, workflow_id: str, **sharing: Any) -> None:
    """Let its owner alone see a workflow, or those whom it is shared with."""
    await api.ok("PATCH", f"{SERVICE}/workflows/{workflow_id}", json={"visibility": "private", **sharing})


async def hidden(api: Api) -> Owned:
    """The operator's workflow and run, which are the operator's alone."""
    mine = await owned(api)
    await hide(api, mine.workflow_id)
    return mine._replace(run_id=mine.workflow_execution_id)


@pytest.mark.parametrize("route", ASKED, ids=lambda route: f"{route.method} {route.path}")
async def test_what_is_not_to_be_seen_is_not_there(api: Api, route: Route) -> None:
    """404 to another key of the same workspace, or missing from the list; and nothing of it changes."""
    mine = await hidden(api)
    before = await api.item(mine.workflow_id, mine.workflow_execution_id)
    path, query, body = request_for(route, mine)
    if route.path in LISTED:
        query = {}
    more = {} if body is None else {"json": body}
    response = await api.send(route.method, path, params=query, key=await api.new_key(*PLAIN), **more)
    secrets = [mine.workflow_id, mine.workflow_execution_id, mine.wait_id, mine.schedule_id, "secret", "SECRET"]
    if route.path in LISTED:
        assert response.is_success, response.text
    else:
        assert response.status_code == 404, response.text
        secrets = ["the secret workflow"]  # ids are told as they were sent
    assert not [secret for secret in secrets if secret in response.text], response.text
    assert await api.item(mine.workflow_id, mine.workflow_execution_id) == before


async def test_who_may_see_it_is_told_of_it_on_the_same_routes(api: Api) -> None:
    """Its maker, and from the moment on that it is shared those whom it is shared with, by user or by role."""
    mine = await hidden(api)
    ann = await api.new_key(*PLAIN, user_id="ann")
    bob = await api.new_key(*PLAIN, user_id="bob", role_ids=["auditor"])
    path = f"{SERVICE}/runs/{mine.workflow_execution_id}"

    async def seen() -> list[int]:
        return [(await api.get(path, key=key)).status_code for key in (api.key, ann, bob)]

    assert await seen() == [200, 404, 404]
    await hide(api, mine.workflow_id, visibility="shared", shared_user_ids=["ann"])
    assert await seen() == [200, 200, 404]
    await hide(api, mine.workflow_id, visibility="shared", shared_user_ids=[], shared_role_ids=["auditor"])
    assert await seen() == [200, 404, 200]
    await hide(api, mine.workflow_id, visibility="tenant")
    assert await seen() == [200, 200, 200]


async def test_counts_waits_and_events_leave_it_out(api: Api) -> None:
    """Another key hears of the other runs only; the maker of all."""
    secret, plain = await api.workflow(name="secret"), await api.workflow(name="plain")
    runs = {name: [await api.trigger(each) for _ in range(3)] for name, each in (("s", secret), ("p", plain))}
    await hide(api, secret)
    other = await api.new_key(*PLAIN)
    for key, total in ((api.key, 6), (other, 3)):
        assert (await api.ok("GET", "/v1/executions/counts", key=key))["data"]["total"] == total
        waits = (await api.ok("GET", "/v1/waits", params={"limit": 5}, key=key))["data"]
        assert len(waits) == min(total, 5)
        events = (await api.ok("GET", "/v1/events", params={"limit": 1000}, key=key))["data"]
        told = [run for each in runs.values() for run in each if run in str(events)]
        assert told == (runs["s"] + runs["p"] if key == api.key else runs["p"])
        assert (secret in str(events)) is (key == api.key)


@pytest.mark.parametrize("path", ["/v1/executions", f"{SERVICE}/runs", f"{PROCESS}/getOrganizationExecutions"])
async def test_a_walk_yields_each_other_run_once(api: Api, path: str) -> None:
    """Whichever runs stand between, and whatever the size of its pages."""
    secret, plain = await api.workflow(ENDING, name="secret"), await api.workflow(ENDING, name="plain")
    turns = [plain, secret, secret, plain, secret, plain, secret, secret, secret, plain, secret]
    made = [(await api.trigger(each), each) for each in turns]
    await hide(api, secret)
    other = await api.new_key(*PLAIN)
    wanted = [run for run, each in reversed(made) if each == plain]
    for limit in (1, 2, 3, 20):
        assert await walked(api, path, other, limit) == wanted


async def walked(api: Api, path: str, key: str, limit: int) -> list[str]:
    """The ids of all runs, page by page."""
    found: list[str] = []
    query: dict[str, Any] | None = {}
    while query is not None:
        page = await api.ok("GET", path, params={"limit": limit, **query}, key=key)
        items = page.get("items", page.get("data"))
        found += [item.get("workflow_execution_id") or item.get("execution_id") or item["run_id"] for item in items]
        meta = page.get("meta", {})
        position = {"after": meta.get("after"), "cursor": meta.get("cursor"), **page.get("lastKey", {})}
        query = {name: value for name, value in position.items() if value} or None
    return found


async def test_a_bulk_job_touches_none_of_it(api: Api) -> None:
    """It is counted and done without: the job looks as the key does that asked for it."""
    secret, plain = await api.workflow(WAITING, name="secret"), await api.workflow(WAITING, name="plain")
    runs = [await api.trigger(each) for each in (secret, plain, secret)]
    await api.settled()
    await hide(api, secret)
    other = await api.new_key(*PLAIN)
    order = {"action": "terminate", "filter": {"status": "waiting"}}
    tried = await api.ok("POST", "/v1/bulk", json={**order, "dry_run": True}, key=other)
    assert tried["data"]["matching"] == 1
    await api.ok("POST", "/v1/bulk", json=order, key=other)
    await api.engine.node.jobs.settle()
    await api.settled()
    shown = (await api.ok("GET", f"{SERVICE}/runs"))["data"]
    assert {run["run_id"]: run["status_detail"] for run in shown} == dict(
        zip(runs, ["waiting", "terminated", "waiting"], strict=True)
    )


async def test_a_key_of_the_organization_sees_no_more_of_it(api: Api) -> None:
    """`organization.view` widens a list to other workspaces, and not to what is private there."""
    mine = await hidden(api)
    wide = await api.new_key(*PLAIN, "organization.view", workspace="other")
    page = await api.ok("GET", f"{PROCESS}/getOrganizationExecutions", key=wide)
    assert mine.workflow_execution_id not in str(page)
    await hide(api, mine.workflow_id, visibility="tenant")
    page = await api.ok("GET", f"{PROCESS}/getOrganizationExecutions", key=wide)
    assert mine.workflow_execution_id in str(page)


async def test_where_all_is_for_everybody_nothing_is_read_for_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at the workflows that are not for all, and from then on none, however many runs are read."""
    looks = 0
    read = api.store.restricted_workflows

    async def counted(organization_id: bytes) -> Any:
        nonlocal looks
        looks += 1
        return await read(organization_id)

    monkeypatch.setattr(api.store, "restricted_workflows", counted)
    workflow_id = await api.workflow(WITH_TOKEN)
    for _ in range(5):
        run = await api.trigger(workflow_id)
        await api.ok("GET", f"{SERVICE}/runs/{run}")
        await api.ok("GET", f"{SERVICE}/runs")
    await api.workflow(ENDING)
    await api.ok("GET", f"{SERVICE}/runs")
    assert looks == 1
