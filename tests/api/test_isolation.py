"""Isolation: nothing of one place shows in another's answers, on any route there is."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from perdure.api.app import ROUTES
from perdure.api.http.routing import ANY_KEY, Route
from perdure.api.validation import members
from perdure.engine.services.access import SCOPES
from tests.api.conftest import APPROVED, ENDING, PROCESS, WITH_TOKEN, Api

SERVICE = "/api/v1/services/workflows"
SERVICE_STEPS = {
    "name": "mine",
    "trigger_type": "manual",
    "steps": [{"type": "log", "config": {"message": "m"}}],
}
STEPS = {"name": "mine", "steps": [{"id": "a", "type": "transform", "config": {"b": 1}}]}
PLAIN = tuple(scope for scope in SCOPES if scope not in ("operator", "organization.view"))


class Owned(NamedTuple):
    """What A has, by the name of the parameter that asks for it."""

    workflow_id: str
    workflow_execution_id: str
    process_id: str
    wait_id: str
    key_id: str
    bulk_id: str
    organization_id: str
    schedule_id: str
    token: str
    run_id: str
    approval_id: str
    secrets: tuple[str, ...]


async def owned(api: Api) -> Owned:
    """A workflow, a run that waits for who has its token, and a key of the operator's own, with names of their own."""
    workflow_id = await api.workflow(WITH_TOKEN, name="the secret workflow", mock_payload={"secret": 1})
    execution_id = await api.trigger(workflow_id, {"process_id": "SECRET-7"})
    await api.settled()
    wait = (await api.ok("GET", "/v1/waits"))["data"][0]
    await api.new_key("runs.view", name="a secret key")
    key = (await api.ok("GET", "/v1/keys"))["data"][-1]
    item = await api.item(workflow_id, execution_id)
    made = await api.ok("POST", f"/v1/workflows/{workflow_id}/schedules", json={"cron_expression": "0 9 1 1 *"})
    schedule_id = made["data"]["id"]
    body = {"action": "terminate", "filter": {"process_id_prefix": "nobody's"}}
    job = (await api.ok("POST", "/v1/bulk", json=body))["data"]["id"]
    places = (item["organization_id"], item["workspace_id"])
    run_id, approval_id = await api.approval()
    ids = (workflow_id, execution_id, wait["wait_id"], key["id"], job, schedule_id, run_id, approval_id, *places)
    return Owned(
        workflow_id,
        execution_id,
        "SECRET-7",
        wait["wait_id"],
        key["id"],
        job,
        item["organization_id"],
        schedule_id,
        await api.token_of(execution_id),
        run_id,
        approval_id,
        (*ids, "secret", "SECRET"),
    )


def request_for(route: Route, mine: Owned) -> tuple[str, dict[str, Any], Any]:
    """Path, query and body of a request that asks for A's."""
    values = {
        **mine._asdict(),
        "workflow_version": "1",
        "version": "1",
        "approval_id": mine.wait_id,
        "name": "log" if "actions" in route.path else "mine",
        "id": _id(route, mine),
        "approvalId": mine.approval_id,
        "n": "1",
    }
    path = route.path
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", str(value))
    query = {
        member.encode_name: values[member.name]
        for member in members(route.query)
        if member.name in values and not (member.name == "process_id" and route.method == "POST")
    }
    bodies = {
        f"{PROCESS}/resumeWorkflow/{{process_id}}": APPROVED,
        f"{PROCESS}/terminateWorkflow/{{process_id}}": {},
        "/v1/executions/{process_id}/resume": {"payload": 7},
        "/v1/executions/{process_id}/terminate": {},
        "/v1/executions/{process_id}/redrive": {},
        "/v1/executions/{process_id}/rerun": {},
        "/v1/executions/{process_id}/fork": {"seq": 1},
        "/v1/executions/{process_id}/pause": {"reason": "look"},
        "/v1/executions/{process_id}/unpause": {},
        "/v1/workflows": {"name": "mine", "definition": ENDING},
        "/v1/workflows/{id}": {"name": "taken"},
        "/v1/workflows/validate": {"document": ENDING},
        "/v1/workflows/convert": {"document": ENDING, "from": "asl", "to": "graph"},
        "/v1/workflows/{id}/execute": {"input": {}},
        "/v1/executions/{process_id}/approvals/{approval_id}": {"decision": "approve"},
        "/v1/executions/{process_id}/retry": {},
        "/v1/workflows/{id}/schedules": {"interval": {"value": 1, "unit": "days"}},
        "/v1/workflows/{id}/schedules/{schedule_id}": {"overlap": "skip"},
        f"{PROCESS}/toggleScheduledWorkflow": {
            "workflow_id": mine.workflow_id,
            "workflow_version": 1,
            "action": "PAUSE",
        },
        "/v1/workflows/by-name/{name}": {"definition": ENDING},
        "/v1/bulk": {"action": "terminate", "filter": {"workflow_id": mine.workflow_id}, "dry_run": True},
        "/v1/keys": {"name": "mine", "scopes": ["runs.view"]},
        "/v1/tasks/{token}/success": {"output": 1},
        "/v1/test-state": {"definition": {"Type": "Succeed"}},
        "/v1/clock/accept": {},
        "/v1/organization": {"settings": {"concurrencyLimit": 7}},
        "/v1/organizations/{id}": {"plan": "business"},
        "/api/v1/workflows": STEPS,
        "/api/v1/workflows/{id}": {"name": "taken"} if route.method == "PATCH" else STEPS,
        f"{SERVICE}/workflows": SERVICE_STEPS,
        f"{SERVICE}/workflows/{{id}}": {"name": "taken"},
        "/api/v1/runs/{id}/retry": {"input": {}},
        "/api/v1/runs/{id}/approvals/{approvalId}": {"decision": "approve"},
    }
    return path, query, bodies.get(route.path) if route.body else None


def _id(route: Route, mine: Owned) -> str:
    others = {"keys": mine.key_id, "bulk": mine.bulk_id, "organizations": mine.organization_id}
    if route.path.startswith("/api/v1/runs/"):
        return mine.run_id
    return others.get(route.path.split("/")[2], mine.workflow_id)


async def ask(api: Api, route: Route, mine: Owned, key: str) -> Any:
    path, query, body = request_for(route, mine)
    more = {} if body is None else {"json": body}
    return await api.send(route.method, path, params=query, key=key, **more)


LISTS = {
    f"{PROCESS}/getOrganizationExecutions",
    f"{PROCESS}/getOrganizationWorkflows",
    "/v1/workflows",
    "/v1/keys",
    "/v1/waits",
    "/v1/events",
    "/v1/executions",
    "/v1/executions/counts",
    "/v1/bulk",
    "/api/v1/workflows",
    f"{SERVICE}/workflows",
}
PLACELESS = {
    f"{SERVICE}/action-catalog",
    *("/v1/actions", "/v1/actions/{name}", "/v1/test-state", "/v1/workflows/validate", "/v1/workflows/convert"),
    *("/v1/workflows/by-name/{name}", "/v1/organization", "/v1/organizations/{id}", "/v1/me"),
}
"""Routes that ask for nothing that anybody else has: a workflow under a name, the organization, are its own."""


@pytest.mark.parametrize("route", [r for r in ROUTES if r.scope], ids=lambda r: f"{r.method} {r.path}")
@pytest.mark.parametrize(
    ("place", "scopes"),
    [({"organization": "B"}, (*PLAIN, "organization.view")), ({"workspace": "B"}, PLAIN)],
    ids=["another organization", "another workspace"],
)
async def test_what_is_another_s_is_not_there(
    api: Api, route: Route, place: dict[str, str], scopes: tuple[str, ...]
) -> None:
    """On every route: 404, an empty list, or what is nobody's; never a word of the other's, and none of it changes."""
    mine = await owned(api)
    before = await api.item(mine.workflow_id, mine.workflow_execution_id)
    other = await api.new_key(*scopes, **place)
    response = await ask(api, route, mine, other)
    if route.scope == "operator" or route.scope not in (*scopes, None):  # of the whole server, or more than the key has
        assert response.status_code == 403, response.text
    elif route.path in LISTS | PLACELESS:
        assert response.status_code in (200, 201, 404)
    else:
        assert response.status_code == 404, response.text
    told = response.text
    echoed = {mine.process_id, mine.workflow_id, mine.workflow_execution_id, mine.key_id, mine.bulk_id}
    echoed |= {mine.run_id, mine.approval_id}
    echoed |= {mine.organization_id}
    hidden = [secret for secret in mine.secrets if secret not in echoed and secret != "SECRET"]
    if response.is_success:
        hidden = list(mine.secrets)
        if "workspace" in place:  # its organization is the same
            hidden.remove(mine.organization_id)
    assert not [secret for secret in hidden if secret in told], told
    assert await api.item(mine.workflow_id, mine.workflow_execution_id) == before


@pytest.mark.parametrize("route", [r for r in ROUTES if r.scope], ids=lambda r: f"{r.method} {r.path}")
async def test_the_request_of_the_matrix_is_a_real_one(api: Api, route: Route) -> None:
    """Sent by its owner it succeeds: so the 404 above is for the place, and not for the request."""
    mine = await owned(api)
    if route.path.endswith("/release"):
        await api.set_aside(mine.process_id)
    if "{version}" in route.path:
        await api.ok("PATCH", f"/v1/workflows/{mine.workflow_id}", json={"definition": ENDING})
    if "{approval_id}" in route.path:
        run, approval = await api.approval()
        mine = mine._replace(process_id=run, wait_id=approval)
    if route.path.endswith(("/redrive", "/retry")):
        await api.ok("POST", f"/v1/executions/{mine.process_id}/terminate", json={})
    if route.path.startswith(SERVICE) and route.path.endswith("/run"):  # one has begun a moment ago
        await api.push(30_000)
    if route.path.endswith("/restore"):  # the latest version is no earlier one
        await api.ok("PATCH", f"/v1/workflows/{mine.workflow_id}", json={"definition": ENDING})
    response = await ask(api, route, mine, api.key)
    assert response.is_success, response.text


@pytest.mark.parametrize("path", ["getOrganizationExecutions", "getOrganizationWorkflows"])
async def test_organization_view_widens_two_lists(api: Api, path: str) -> None:
    """They then show all workspaces of the organization, rows that no other route would show; and no other one."""
    mine = await owned(api)
    foreign = await api.new_key(organization="B")
    await api.trigger(await api.workflow(key=foreign), key=foreign)
    narrow = await api.new_key(*PLAIN, workspace="other")
    wide = await api.new_key(*PLAIN, "organization.view", workspace="other")
    assert (await api.ok("GET", f"{PROCESS}/{path}", key=narrow))["count"] == 0
    page = await api.ok("GET", f"{PROCESS}/{path}", key=wide)
    assert mine.workflow_id in [item["workflow_id"] for item in page["items"]]
    assert len(page["items"]) == 2  # and what asks for an approval
    assert "the secret workflow" in str(page)
    for route in ROUTES:
        if route.scope not in (None, "operator") and path not in route.path and route.path not in LISTS | PLACELESS:
            assert (await ask(api, route, mine, wide)).status_code == 404, route.path


async def test_what_may_be_done_everywhere_needs_no_key(api: Api) -> None:
    """Only health and the documentation are open to everybody, and say nothing of anybody."""
    open_paths = {"/health/live", "/health/ready", "/openapi.json", "/openapi/{dialect}.json", "/docs"}
    assert {route.path for route in ROUTES if route.scope is None} == open_paths
    assert {route.path for route in ROUTES if route.scope == ANY_KEY} == {"/v1/me"}
