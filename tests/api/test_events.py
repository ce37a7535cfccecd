"""Events over HTTP: those of a run, whole and in pages, and the log of an organization, without a gap."""

from __future__ import annotations

import asyncio
import os
import platform
from typing import Any

import httpx2
import pytest

from perdure.engine.core import ids
from perdure.engine.services import event_log
from tests.api.conftest import ENDING, TWO_QUESTIONS, WAITING, WITH_TOKEN, Api, eventually

LOG = "/v1/events"


async def page(api: Api, path: str, **query: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    body = await api.ok("GET", path, params=query)
    return body["data"], body["meta"]


async def walk(api: Api, path: str, *, key: str | None = None, **query: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    found: list[dict[str, Any]] = []
    while True:
        body = await api.ok("GET", path, params=query, key=key or api.key)
        found += body["data"]
        query["after"] = body["meta"]["after"]
        if not body["meta"]["has_more"]:
            return found


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events]


# --- a run -------------------------------------------------------------------------------------------------------


async def test_a_run_s_events_are_told_whole(api: Api) -> None:
    """By process id and by execution id; what is long is not cut, and a digest stands for it if that is asked for."""
    run_input = {"process_id": "A/7", "text": "ü" * 5_000}
    execution_id = await api.trigger(await api.workflow(), run_input)
    events, meta = await page(api, "/v1/executions/A%2F7/events")
    assert [event["type"] for event in events] == await api.events(execution_id)
    assert events[0]["payload"] == {"input": run_input, "process_id": "A/7"}
    assert events[0]["data"]["kind"] == "execution"
    assert events[0]["actor_name"] == "bootstrap"
    assert (meta["execution_id"], meta["status"], meta["has_more"], meta["after"]) == (
        execution_id,
        "waiting",
        False,
        len(events),
    )
    digests, _ = await page(api, f"/v1/executions/{execution_id}/events", payloads="digest")
    assert "payload" not in digests[0]
    assert digests[0]["payload_digest"] == events[0]["payload_digest"]


async def test_what_the_server_does_by_itself_tells_nobody_where_it_runs(api: Api) -> None:
    """Its actor is the node's id, which its own table, and its log lines, map to host and process."""
    node = api.engine.node
    execution_id = await api.trigger(await api.workflow(WITH_TOKEN))
    await api.settled()
    await api.push(3_600_000)
    events, _ = await page(api, f"/v1/executions/{execution_id}/events")
    own = {event["actor"] for event in events if event["actor"].startswith("engine:")}
    assert own == {f"engine:{ids.text(node.id)}"}
    assert api.store._nodes[node.id].name == node.parts.sender.name == f"{platform.node()}:{os.getpid()}"
    assert not any(node.parts.sender.name in (event["actor_name"] or "") for event in events)


async def test_a_run_is_walked_in_either_direction(api: Api) -> None:
    """With any size of page each event comes once, also where many are passed over for their type."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS))
    for _ in range(2):
        await api.resume(execution_id)
    path = f"/v1/executions/{execution_id}/events"
    count = len(await api.events(execution_id))
    for limit in (1, 2, 3, 1000):
        assert seqs(await walk(api, path, limit=limit)) == list(range(1, count + 1))
        assert seqs(await walk(api, path, limit=limit, order="desc")) == list(range(count, 0, -1))
    resumed = await walk(api, path, limit=1, types="WaitResumed,ExecutionSucceeded")
    assert [event["type"] for event in resumed] == ["WaitResumed", "WaitResumed", "ExecutionSucceeded"]


async def test_a_page_holds_so_much_text(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long event stands on a page of its own; none is cut or left out."""
    monkeypatch.setattr(event_log, "PAGE_BYTES_MAX", 2_000)
    monkeypatch.setattr(event_log, "AT_ONCE", 2)
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS), {"a": "x" * 3_000})
    for _ in range(2):
        await api.resume(execution_id, {"payload": {"source": "SAP", "text": "y" * 1_500}})
    path = f"/v1/executions/{execution_id}/events"
    first, meta = await page(api, path)
    assert (len(first), meta["has_more"]) == (1, True)
    assert seqs(await walk(api, path)) == list(range(1, len(await api.events(execution_id)) + 1))
    positions = [event["position"] for event in await walk(api, LOG)]
    assert positions == list(range(1, positions[-1] + 1))


async def test_a_type_that_no_run_has_is_refused(api: Api) -> None:
    """With the one that was meant, and all that there are."""
    execution_id = await api.trigger(await api.workflow())
    response = await api.get(f"/v1/executions/{execution_id}/events?types=WaitResume")
    assert response.status_code == 400
    assert "Did you mean 'WaitResumed'" in response.json()["error"]["message"]


async def held(api: Api, path: str, **more: Any) -> asyncio.Task[httpx2.Response]:
    """A call that waits for events."""
    watchers = api.engine.node.processor.watchers
    call = asyncio.create_task(api.get(path, **more))
    await eventually(lambda: watchers._watches or watchers._by_organization)
    await api.settled()
    assert not call.done()
    return call


async def test_a_follower_is_told_of_what_is_added(api: Api) -> None:
    """The call is held until there is something, or its time is up; after the run's end it is answered at once."""
    execution_id = await api.trigger(await api.workflow())
    path = f"/v1/executions/{execution_id}/events"
    after = (await page(api, path))[1]["after"]
    call = await held(api, f"{path}?after={after}&wait=30")
    await api.push(30_000)
    assert (await call).json()["data"] == []
    call = await held(api, f"{path}?after={after}&wait=30")
    await api.resume(execution_id)
    told = (await call).json()
    assert told["data"][0]["type"] == "WaitResumed"
    events, meta = await page(api, path, after=len(await api.events(execution_id)), wait=30)
    assert (events, meta["status"]) == ([], "completed")


# --- the log -----------------------------------------------------------------------------------------------------


async def test_the_log_has_no_gap(api: Api) -> None:
    """While runs are added and go on, a reader of small pages sees every position once and in order."""
    workflow_id = await api.workflow(TWO_QUESTIONS)
    seen: list[int] = []

    async def read() -> None:
        after = 0
        while not writing.done() or after < api.engine.node.processor.position:
            events, meta = await page(api, LOG, after=after, limit=7)
            seen.extend(event["position"] for event in events)
            after = meta["after"]
            await asyncio.sleep(0)

    async def write(number: int) -> None:
        execution_id = await api.trigger(workflow_id, {"process_id": f"P-{number}"})
        await api.resume(execution_id)
        await api.resume(execution_id)

    writing = asyncio.gather(*(write(number) for number in range(12)))
    await asyncio.gather(read(), writing)
    assert seen == list(range(1, api.engine.node.processor.position + 1))


async def test_one_organization_never_sees_another_s_events(api: Api) -> None:
    """Nor one workspace another's, unless the key may see its organization; all of them together are the whole log."""
    keys = {
        "mine": await api.new_key("audit.read", "runs.view", workspace="mine"),
        "wide": await api.new_key("audit.read", "organization.view", workspace="mine"),
        "other": await api.new_key("audit.read", "workflows.manage", "workflows.run", organization="B"),
        "other, wide": await api.new_key("audit.read", "organization.view", organization="B"),
    }
    here = await api.trigger(await api.workflow())
    there = await api.trigger(await api.workflow(key=keys["other"]), key=keys["other"])
    logs = {name: await walk(api, LOG, key=key, limit=3) for name, key in keys.items()}
    streams = {name: {event["stream_id"] for event in events} for name, events in logs.items()}
    assert streams["mine"] == set()
    assert here in streams["wide"]
    assert there not in streams["wide"]
    assert there in streams["other"]
    assert here not in streams["other"] | streams["other, wide"]
    positions = [event["position"] for name in ("wide", "other, wide") for event in logs[name]]
    assert sorted(positions) == list(range(1, api.engine.node.processor.position + 1))
    operator = (await api.ok("GET", "/v1/keys"))["data"][0]["id"]
    assert operator not in str(logs["other, wide"])
    assert "operator:elsewhere" in {event["actor"] for event in logs["other, wide"]}
    assert "sha256" not in str([event["data"] for event in logs["wide"] if event["type"] == "KeyCreated"])


async def test_a_reader_of_the_log_waits_for_its_own(api: Api) -> None:
    """Another organization's commit does not answer it; one of its own does, at once."""
    other = await api.new_key("workflows.manage", "workflows.run", organization="B")
    mine, elsewhere = await api.workflow(ENDING), await api.workflow(ENDING, key=other)
    after = (await page(api, LOG, limit=1000))[1]["after"]
    call = await held(api, f"{LOG}?after={after}&wait=30")
    await api.trigger(elsewhere, key=other)
    await api.settled()
    assert not call.done()
    execution_id = await api.trigger(mine)
    told = (await call).json()
    assert {event["stream_id"] for event in told["data"]} == {execution_id}
    call = await held(api, f"{LOG}?after={told['meta']['after']}&wait=3")
    await api.push(3_000)
    assert (await call).json()["data"] == []


async def test_a_position_that_the_log_has_not_reached_is_refused(api: Api) -> None:
    """Whoever sends it has it from another database: to wait for it would leave out what comes until then."""
    response = await api.get(LOG, params={"after": api.engine.node.processor.position + 1})
    assert response.status_code == 400
    assert "has no position" in response.json()["error"]["message"]


async def test_a_revoked_key_is_told_nothing_more(api: Api) -> None:
    """Also in a call that was held when it was revoked."""
    key = await api.new_key("audit.read")
    key_id = (await api.ok("GET", "/v1/keys"))["data"][-1]["id"]
    workflow_id = await api.workflow(WAITING)
    after = api.engine.node.processor.position
    call = await held(api, f"{LOG}?after={after}&wait=30", key=key)
    await api.ok("DELETE", f"/v1/keys/{key_id}")
    await api.trigger(workflow_id)
    assert (await call).status_code == 401


async def test_who_waits_is_answered_when_the_server_drains(api: Api) -> None:
    """At once, with what there is; nobody is kept until the time is up."""
    after = (await page(api, LOG, limit=1000))[1]["after"]
    call = await held(api, f"{LOG}?after={after}&wait=30")
    api.engine.node.begin_drain()
    response = await call
    assert (response.status_code, response.json()["data"]) == (200, [])
