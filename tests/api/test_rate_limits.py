"""Rate limits by plan: what is told, what is refused, what it costs, and that nothing but the plan decides."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from perdure.api.app import create_app
from perdure.api.settings import Settings
from perdure.engine.services.plans import DAY_MS, MINUTE_MS
from tests.api.conftest import ENDING, PROCESS, Api

TOLD = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


async def with_plan(api: Api, plan: str, *scopes: str) -> str:
    """A key of an organization of its own that has this plan."""
    key = await api.new_key(*scopes, organization="Acme")
    listed = await api.ok("GET", "/v1/organization", key=await api.new_key("organization.view", organization="Acme"))
    shown = await api.ok("PATCH", f"/v1/organizations/{listed['data']['id']}", json={"plan": plan})
    assert shown["data"]["plan"] == plan
    return key


def told(response: httpx2.Response) -> tuple[int, ...]:
    return tuple(int(response.headers[name]) for name in TOLD)


async def test_each_answer_tells_how_much_is_left(api: Api) -> None:
    """Refusals too, of every dialect, once the key is known; where it is not, nothing is told."""
    key = await with_plan(api, "free", "workflows.view", "runs.view")
    reset = api.clock.now() // 1000 + 60
    for left, (method, path, status) in enumerate(
        [
            ("GET", "/v1/waits", 200),
            ("HEAD", "/v1/waits", 200),
            ("GET", "/v1/keys", 403),
            ("GET", "/v1/workflows/no-id", 400),
            ("GET", f"{PROCESS}/getWorkflowById", 400),
            ("GET", f"{PROCESS}/getOrganizationExecutions", 200),
        ]
    ):
        response = await api.send(method, path, key=key)
        assert response.status_code == status, response.text
        assert told(response) == (60, 59 - left, reset)
    for path, other in (("/v1/waits", "pk_nobody"), ("/nowhere", key), ("/health/live", key), ("/openapi.json", key)):
        assert not set(TOLD) & set((await api.get(path, key=other)).headers), path
    assert (await api.send("OPTIONS", "/v1/waits", key=key)).status_code == 405
    assert told(await api.get("/v1/waits", key=key))[1] == 53


async def test_beyond_the_limit_nothing_is_done(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """429, which says until when, in the dialect's envelope; it reads and writes nothing, and does not count."""
    key = await with_plan(api, "free", "workflows.manage", "workflows.view", "runs.view")
    for _ in range(60):
        assert (await api.get("/v1/waits", key=key)).status_code == 200
    api.clock.push(10_000)
    before, log = api.engine.position, len(api.store._log)
    with monkeypatch.context() as patched:
        for name in ("organization", "api_key_by_digest", "workflow", "append"):
            patched.setattr(api.store, name, None)
        refused = await api.post("/v1/workflows", json={"name": "a", "definition": ENDING}, key=key)
        process = await api.get(f"{PROCESS}/getWorkflowById", key=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert refused.json()["error"]["message"] == (
        "the organization's plan allows 60 requests in a minute; repeat the call in 50 s"
    )
    assert (process.status_code, process.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert refused.headers["retry-after"] == "50"
    assert told(refused) == (60, 0, api.clock.now() // 1000 + 50)
    assert (api.engine.position, len(api.store._log)) == (before, log)
    api.clock.push(49_999)
    assert (await api.get("/v1/waits", key=key)).status_code == 429
    api.clock.push(1)
    assert told(await api.get("/v1/waits", key=key))[1] == 59


async def test_of_a_crowd_exactly_so_many_get_through(api: Api) -> None:
    """All at once, by two keys of the organization: they count together."""
    keys = [await with_plan(api, "free", "runs.view"), await api.new_key("runs.view", organization="Acme")]
    spent = 0
    answers = await asyncio.gather(*(api.get("/v1/waits", key=keys[number % 2]) for number in range(150)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (60 - spent, 90 + spent)
    left = sorted(told(answer)[1] for answer in answers if answer.status_code == 200)
    assert left == list(range(60))
    assert (await api.get("/v1/waits")).status_code == 200  # another organization's


async def test_the_day_has_a_limit_too(api: Api) -> None:
    """Whoever keeps to the minute's is refused when the day's is used up, until it is over."""
    key = await with_plan(api, "free", "runs.view")
    for sent in range(1_000):
        if sent % 60 == 59:
            api.clock.push(MINUTE_MS)
        assert (await api.get("/v1/waits", key=key)).status_code == 200
    api.clock.push(MINUTE_MS)
    refused = await api.get("/v1/waits", key=key)
    assert (refused.status_code, told(refused)[:2]) == (429, (1_000, 0))
    assert "1,000 requests in a day" in refused.json()["error"]["message"]
    api.clock.push(DAY_MS)
    assert (await api.get("/v1/waits", key=key)).status_code == 200


async def test_a_change_of_plan_holds_at_once(api: Api) -> None:
    """Larger, smaller, and none; it stands in the organization's log, and is shown."""
    key = await with_plan(api, "free", "runs.view", "organization.view")
    organization = (await api.ok("GET", "/v1/organization", key=key))["data"]
    assert organization["plan"] == "free"
    path = f"/v1/organizations/{organization['id']}"
    for plan, limit in (("pro", 300), ("business", 600), ("starter", 120)):
        await api.ok("PATCH", path, json={"plan": plan})
        assert told(await api.get("/v1/waits", key=key))[0] == limit
    assert (await api.ok("GET", path))["data"]["plan"] == "starter"
    await api.ok("PATCH", path, json={"plan": None})
    free = await api.get("/v1/organization", key=key)
    assert (free.json()["data"]["plan"], set(TOLD) & set(free.headers)) == ("unlimited", set())


async def test_a_plan_is_for_an_operator_to_set(api: Api) -> None:
    """Nobody else's key can, and another organization is not there for them; a plan that is none is refused."""
    key = await with_plan(api, "free", "organization.view")
    own = (await api.ok("GET", "/v1/organization", key=key))["data"]["id"]
    others = (await api.ok("GET", "/v1/organization"))["data"]["id"]
    assert (await api.send("PATCH", f"/v1/organizations/{own}", json={"plan": "pro"}, key=key)).status_code == 403
    assert (await api.get(f"/v1/organizations/{own}", key=key)).status_code == 200
    assert (await api.get(f"/v1/organizations/{others}", key=key)).status_code == 404
    wrong: Any = {"plan": "gold"}
    refused = await api.send("PATCH", "/v1/organization", json=wrong)
    assert (refused.status_code, refused.json()["error"]["details"]["field"]) == (400, "plan")
    nobody = "01890000-0000-7000-8000-000000000000"
    assert (await api.send("PATCH", f"/v1/organizations/{nobody}", json={"plan": "pro"})).status_code == 404
    kept = await api.ok("PATCH", "/v1/organization", json={"settings": {"concurrencyLimit": 3}, "plan": "pro"})
    assert (kept["data"]["plan"], kept["data"]["settings"]["concurrencyLimit"]) == ("pro", 3)


async def test_a_restart_forgets_what_was_counted(api: Api) -> None:
    """The plan stands in the log; the counts are in memory."""
    key = await with_plan(api, "free", "runs.view")
    statuses = [(await api.get("/v1/waits", key=key)).status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]
    transport = httpx2.ASGITransport(create_app(api.engine, Settings()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://a", headers={"x-api-key": key}) as anew:
        assert told(await anew.get("/v1/waits"))[1] == 59
