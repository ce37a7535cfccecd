"""Keys: who may do what, in either header and either spelling; made, listed, revoked and expired."""

from __future__ import annotations

from typing import Any

import freezegun
import httpx2
import pytest

from api.app import ROUTES, create_app
from api.settings import Settings
from engine import Engine
from engine.runtime.access import SCOPES
from store.memory import MemoryStore
from tests.api.conftest import KEY, PROCESS, Api

UNKNOWN = "01977420-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"X-API-KEY": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}"},
        {"x-api-key": KEY, "Authorization": f"Bearer {KEY}"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/workflows", f"{PROCESS}/getOrganizationExecutions"])
async def test_a_key_is_taken_from_either_header(api: Api, headers: dict[str, str], path: str) -> None:
    """On every dialect, also from both if they agree."""
    assert (await api.get(path, key=None, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "nobody"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {KEY} {KEY}"},
        {"x-api-key": KEY, "Authorization": "Bearer other"},
        {"x-api-key": "\xff\xfe"},
    ],
)
async def test_without_a_known_key_there_is_no_answer(api: Api, headers: dict[str, str]) -> None:
    """401 in the dialect's envelope, and the header that says how to ask."""
    raw = [(name, value.encode("latin-1")) for name, value in headers.items()]
    enveloped = await api.get("/v1/workflows", key=None, headers=raw)
    process = await api.get(f"{PROCESS}/getOrganizationExecutions", key=None, headers=raw)
    assert enveloped.status_code == process.status_code == 401
    assert enveloped.json()["error"]["code"] == process.json()["error"]["code"] == "UNAUTHORIZED"
    assert enveloped.json()["success"] is False
    assert process.json()["message"] == enveloped.json()["error"]["message"]
    assert enveloped.headers["www-authenticate"].startswith("Bearer")


async def test_the_key_is_asked_for_before_anything_is_looked_at(api: Api) -> None:
    """A caller without a key learns nothing about what its request lacks."""
    response = await api.post("/v1/workflows?x=1", key=None, content=b"{")
    assert response.status_code == 401


@pytest.mark.parametrize("route", [r for r in ROUTES if r.scope], ids=lambda r: f"{r.method} {r.path}")
async def test_every_route_asks_for_its_scope(api: Api, route: Any) -> None:
    """A key with all scopes but the route's is 403, which names the scope; one with that scope alone passes."""
    path = route.path.replace("{workflow_id}", UNKNOWN).replace("{id}", UNKNOWN).replace("{workflow_version}", "1")
    path = path.replace("{process_id}", "A")
    without = await api.new_key(*(scope for scope in SCOPES if scope not in (route.scope, "operator")))
    refused = await api.send(route.method, path, key=without)
    assert refused.status_code == 403
    assert refused.json()["error"] == {
        **refused.json()["error"],
        "code": "FORBIDDEN",
        "details": {"scope": route.scope},
    }
    assert route.scope in refused.text
    alone = await api.new_key(route.scope)
    assert (await api.send(route.method, path, key=alone)).status_code not in (401, 403)


# --- making keys -------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once(api: Api) -> None:
    """201 with its text; the list has all but that."""
    body = {"name": "erp", "scopes": ["runs.view", "runs.view", "runs.resume"], "expires_at": "2030-01-01T00:00:00"}
    response = await api.post("/v1/keys", json=body)
    assert response.status_code == 201
    made = response.json()["data"]
    assert made["scopes"] == ["runs.view", "runs.resume"]
    assert made["expires_at"] == "2030-01-01T00:00:00.000Z"
    text = made.pop("key")
    listed = (await api.ok("GET", "/v1/keys"))["data"]
    assert made in listed
    assert text not in str(listed)
    assert (await api.get(f"{PROCESS}/getOrganizationExecutions", key=text)).status_code == 200


async def test_scopes_may_be_written_as_seed_004_does(api: Api) -> None:
    """With the prefix `service.workflows.` they are the same scopes."""
    key = await api.new_key("service.workflows.runs.view", "service.workflows.workflows.run")
    listed = (await api.ok("GET", "/v1/keys"))["data"][-1]
    assert listed["scopes"] == ["runs.view", "workflows.run"]
    assert (await api.get(f"{PROCESS}/getOrganizationExecutions", key=key)).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "runs.view"},
        {"scopes": [7]},
        {"name": ""},
        {"name": "a\rb"},
        {"expires_at": "tomorrow"},
        {"expires_at": 1_900_000_000_000},
        {"expires_at": "2025-06-15T15:06:40Z"},
        {"expires_at": "0001-01-01T00:00:00"},
        {"expires_at": "9999-12-31T23:59:59-10:00"},
        {"organization": ""},
        {"org": "x"},
    ],
)
async def test_a_key_that_cannot_be_is_not_made(api: Api, fields: dict[str, Any]) -> None:
    """400, naming the field; one that has expired before it is made is among them."""
    response = await api.post("/v1/keys", json={"name": "k", "scopes": ["runs.view"], **fields})
    assert response.status_code == 400
    assert next(iter(fields)) in response.json()["error"]["message"]
    assert len((await api.ok("GET", "/v1/keys"))["data"]) == 1


async def test_nobody_grants_a_scope_that_they_lack(api: Api) -> None:
    """403, naming the scope."""
    key = await api.new_key("keys.manage", "runs.view")
    response = await api.post("/v1/keys", json={"name": "k", "scopes": ["runs.view", "runs.resume"]}, key=key)
    assert response.status_code == 403
    assert "runs.resume" in response.json()["error"]["message"]


async def test_only_an_operator_names_another_place(api: Api) -> None:
    """Organizations and workspaces are made if they are not there, the workspace `default` where none is named."""
    manager = await api.new_key("keys.manage", "runs.view")
    for place in ({"organization": "acme"}, {"workspace": "other"}):
        response = await api.post("/v1/keys", json={"name": "k", "scopes": ["runs.view"], **place}, key=manager)
        assert response.status_code == 403
        assert "operator" in response.json()["error"]["message"]
    body = {"name": "k", "scopes": ["runs.view"], "organization": "acme"}
    one = (await api.ok("POST", "/v1/keys", json=body))["data"]
    other = (await api.ok("POST", "/v1/keys", json={**body, "workspace": "default"}))["data"]
    assert one["organization_id"] == other["organization_id"]
    assert one["workspace_id"] == other["workspace_id"]


async def test_a_revoked_key_is_unknown(api: Api) -> None:
    """At once; revoking it again is the same, and a key that is not there 404."""
    key = await api.new_key("runs.view")
    row = (await api.ok("GET", "/v1/keys"))["data"][-1]
    assert (await api.get("/v1/waits", key=key)).status_code == 200
    first = await api.ok("DELETE", f"/v1/keys/{row['id']}")
    assert first["data"]["revoked_at"] is not None
    assert await api.ok("DELETE", f"/v1/keys/{row['id']}") == first
    assert (await api.get("/v1/waits", key=key)).status_code == 401
    assert (await api.send("DELETE", f"/v1/keys/{UNKNOWN}")).status_code == 404


async def test_an_expired_key_is_unknown(api: Api) -> None:
    """To the millisecond."""
    key = await api.new_key("runs.view", expires_at="2025-06-15T15:06:50Z")
    await api.push(9_999)
    assert (await api.get("/v1/waits", key=key)).status_code == 200
    await api.push(1)
    assert (await api.get("/v1/waits", key=key)).status_code == 401


async def test_a_key_expires_by_the_computers_clock() -> None:
    """The same through the engine's own clock, which is the computer's."""
    with freezegun.freeze_time("2025-06-15T12:00:00", real_asyncio=True, tick=False) as frozen:
        engine = await Engine.start(MemoryStore())
        await engine.access.bootstrap(KEY, "cli:test")
        transport = httpx2.ASGITransport(create_app(engine, Settings()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://perdure.test") as client:
            body = {"name": "k", "scopes": ["runs.view"], "expires_at": "2025-06-15T14:00:00+02:00"}
            late = await client.post("/v1/keys", json=body, headers={"x-api-key": KEY})
            assert late.status_code == 400
            body["expires_at"] = "2025-06-15T14:00:01+02:00"
            made = await client.post("/v1/keys", json=body, headers={"x-api-key": KEY})
            headers = {"x-api-key": made.json()["data"]["key"]}
            assert (await client.get("/v1/waits", headers=headers)).status_code == 200
            frozen.tick(1)
            assert (await client.get("/v1/waits", headers=headers)).status_code == 401
        await engine.close(grace_s=0)
