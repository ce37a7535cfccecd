"""Schedules over HTTP: given with a workflow or by themselves, shown, switched, run at once; and paused workflows."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine.audit.store_audit import verify
from perdure.engine.testing import ManualClock
from tests.api.conftest import ENDING, PROCESS, WAITING, Api

MINUTE = 60_000
NEW = {"name": "w", "definition": ENDING}


async def pushed(api: Api, ms: int) -> None:
    """Let time pass, and what it sets off come to rest."""
    clock = api.engine.clock
    assert isinstance(clock, ManualClock)
    clock.push(ms)
    for _ in range(4):
        await api.settled()


async def scheduled(api: Api, **fields: Any) -> tuple[str, dict[str, Any]]:
    """A workflow with a schedule, and that as it is shown."""
    workflow_id = await api.workflow(ENDING)
    body = {"cron_expression": "* * * * *", **fields}
    made = await api.post(f"/v1/workflows/{workflow_id}/schedules", json=body)
    assert made.status_code == 201, made.text
    return workflow_id, made.json()["data"]


async def listed(api: Api, workflow_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.ok("GET", f"/v1/workflows/{workflow_id}/schedules"))["data"]
    return found


async def test_a_workflow_is_created_with_a_schedule(api: Api) -> None:
    """`cron_expression` is its main one; it is shown with the workflow, in words, and with the next five slots."""
    zone = {"cron_expression": "30  8 * * mon-fri", "timezone": "Europe/Berlin"}
    made = (await api.ok("POST", "/v1/workflows", json={**NEW, **zone, "trigger_type": "schedule"}))["data"]
    shown = {"trigger_type": "schedule", "cron_expression": "30 8 * * mon-fri", "timezone": "Europe/Berlin"}
    assert {name: made[name] for name in shown} == shown
    (page,) = (await api.ok("GET", "/v1/workflows"))["data"]
    assert {name: page[name] for name in shown} == shown
    (schedule,) = await listed(api, made["id"])
    assert (schedule["is_main"], schedule["status"], schedule["overlap"], schedule["catch_up"]) == (
        *(True, "active"),
        *("allow", "latest"),
    )
    assert schedule["in_words"] == "At 08:30, Monday through Friday"
    assert schedule["next_slots"][0] == {"utc": "2025-06-16T06:30:00Z", "local": "2025-06-16T08:30:00+02:00"}
    assert len(schedule["next_slots"]) == 5


async def test_a_slot_shows_what_was_decided_of_it(api: Api) -> None:
    """With the run that it started, which the process API shows as scheduled."""
    workflow_id, schedule = await scheduled(api, input={"amount": 5})
    await pushed(api, MINUTE)
    (decision,) = (await listed(api, workflow_id))[0]["last_decisions"]
    assert (decision["outcome"], decision["count"], decision["reason"]) == ("fired", 1, None)
    item = await api.item(workflow_id, decision["execution_id"])
    assert (item["workflow_trigger_type"], item["workflow_input_payload"]) == ("SCHEDULE", {"amount": 5})
    assert item["process_id"] == f"schedule:{schedule['id']}@2025-06-15T15:07:00Z"
    assert item["modified_by"] == f"schedule:{schedule['id']}"


async def test_schedules_are_switched_by_the_process_api(api: Api) -> None:
    """Both ways, again and again; what a pause skips is recorded, and only a workflow without a schedule is refused."""
    workflow_id, _ = await scheduled(api)
    toggle = {"workflow_id": workflow_id, "workflow_version": 1, "action": "PAUSE"}
    told = {"message": "success", "workflow_id": workflow_id, "workflow_version": 1, "status": "PAUSED"}
    for _ in range(2):
        assert await api.ok("POST", f"{PROCESS}/toggleScheduledWorkflow", json=toggle) == told
    version = {"workflow_id": workflow_id, "workflow_version": 1}
    shown = (await api.ok("GET", f"{PROCESS}/getWorkflowById", params=version))["item"]
    assert (shown["workflow_status"], shown["workflow_status_version"]) == ("PAUSED", "PAUSED_1")
    await pushed(api, 3 * MINUTE)
    await api.trigger(workflow_id)  # it stops slots, and nothing else
    played = {**toggle, "action": "PLAY"}
    assert (await api.ok("POST", f"{PROCESS}/toggleScheduledWorkflow", json=played))["status"] == "ACTIVE"
    (decision,) = (await listed(api, workflow_id))[0]["last_decisions"]
    assert (decision["outcome"], decision["count"]) == ("skipped_paused", 3)
    (item,) = (await api.ok("GET", f"{PROCESS}/getOrganizationWorkflows"))["items"]
    assert item["workflow_status"] == "ACTIVE"
    for body, status, said in (
        ({**toggle, "workflow_version": 2}, 404, "has no version 2"),
        ({**toggle, "workflow_id": await api.workflow(ENDING)}, 409, "has no schedule"),
        ({**toggle, "action": "STOP"}, 400, "action: 'STOP' is not accepted; it must be 'PAUSE' or 'PLAY'"),
        ({"workflow_id": workflow_id}, 400, "workflow_version: it is missing"),
    ):
        refused = await api.post(f"{PROCESS}/toggleScheduledWorkflow", json=body)
        assert refused.status_code == status, refused.text
        assert said in refused.json()["message"]


async def test_a_paused_workflow_starts_nothing(api: Api) -> None:
    """A trigger is 409 and says so, a repeated one gets its run; what runs goes on. Both calls may be repeated."""
    workflow_id = await api.workflow(WAITING)
    started = await api.trigger(workflow_id, {"process_id": "P-1"})
    for _ in range(2):
        paused = (await api.ok("POST", f"/v1/workflows/{workflow_id}/pause"))["data"]
        assert paused["status"] == "paused"
    refused = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", json={"process_id": "P-2"})
    assert refused.status_code == 409
    assert refused.json()["message"] == f"workflow {workflow_id} is paused: no run of it starts until it is resumed"
    assert await api.trigger(workflow_id, {"process_id": "P-1"}) == started
    assert [each["id"] for each in (await api.ok("GET", "/v1/workflows?status=paused"))["data"]] == [workflow_id]
    await api.ok("POST", "/v1/executions/P-1/resume", json={"payload": 1})
    for _ in range(2):
        resumed = (await api.ok("POST", f"/v1/workflows/{workflow_id}/resume"))["data"]
        assert resumed["status"] == "published"
    await api.trigger(workflow_id, {"process_id": "P-2"})
    await api.ok("DELETE", f"/v1/workflows/{workflow_id}")
    for name in ("pause", "resume"):
        response = await api.post(f"/v1/workflows/{workflow_id}/{name}")
        assert response.status_code == 409
        assert "archived" in response.json()["error"]["message"]


async def test_a_schedule_is_changed_run_and_removed(api: Api) -> None:
    """What is not said stays; one that is not there is 404."""
    workflow_id, schedule = await scheduled(api, input={"amount": 5}, overlap="skip")
    path = f"/v1/workflows/{workflow_id}/schedules/{schedule['id']}"
    changed = (await api.ok("PATCH", path, json={"catch_up": "none", "enabled": "false", "timezone": "Asia/Tokyo"}))[
        "data"
    ]
    assert {name: changed[name] for name in ("catch_up", "overlap", "status", "input", "timezone")} == {
        "catch_up": "none",
        "overlap": "skip",
        "status": "paused",
        "input": {"amount": 5},
        "timezone": "Asia/Tokyo",
    }
    changed = (await api.ok("PATCH", path, json={"interval": {"value": 2, "unit": "hours"}, "input": None}))["data"]
    assert (changed["cron_expression"], changed["interval"], changed["input"]) == (
        *(None, {"value": 2, "unit": "hours"}),
        None,
    )
    ran = await api.post(f"{path}/run-now")
    assert ran.status_code == 201
    run = ran.json()["data"]
    assert run["process_id"] == f"schedule:{schedule['id']}@{run['execution_id']}"
    assert (await api.item(workflow_id, run["execution_id"]))["status"] == "completed"
    assert (await api.ok("DELETE", path))["data"] == {"id": schedule["id"], "removed": True}
    assert await listed(api, workflow_id) == []
    assert (await api.send("PATCH", path, json={})).status_code == 404
    assert (await api.send("DELETE", path)).status_code == 404
    assert (await api.post(f"{path}/run-now")).status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"cron_expression": "0 0 30 2 *"}, "cron_expression: '0 0 30 2 *' is never due"),
        ({"cron_expression": "0 0 * * * *"}, "cron_expression: it must have five fields"),
        ({"cron_expression": "0 9 * * *", "timezone": "Mars"}, "timezone: there is no time zone 'Mars'"),
        ({}, "cron_expression: it is needed, or interval"),
        ({"interval": {"value": 0, "unit": "days"}}, "interval.value: 0 is not accepted; it must be an integer from 1"),
        ({"interval": {"value": 1, "unit": "months"}}, "interval.unit: 'months' is not accepted; it must be 'days'"),
        ({"cron_expression": "0 9 * * *", "interval": {"value": 1, "unit": "days"}}, "interval: a schedule has either"),
        ({"cron_expression": "0 9 * * *", "overlap": "queue"}, "overlap: 'queue' is not accepted"),
        ({"cron_expression": "0 9 * * *", "catch_up": "some"}, "catch_up: 'some' is not accepted"),
        ({"cron_expression": "0 9 * * *", "input": {"a.$": "$.x"}}, "input: "),
        ({"cron_expression": "0 9 * * *", "end_at": "2020-01-01T00:00:00Z"}, "end_at: the schedule has no slot"),
        ({"interval": {"value": 525_600, "unit": "weeks"}}, "interval: the schedule has no slot"),
        ({"cron": "0 9 * * *"}, "cron: there is no such field; there are: cron_expression"),
    ],
)
async def test_what_is_wrong_with_a_schedule(api: Api, body: dict[str, Any], said: str) -> None:
    """It is refused when it is made, by its field; with a workflow by its place in the list."""
    workflow_id = await api.workflow(ENDING)
    response = await api.post(f"/v1/workflows/{workflow_id}/schedules", json=body)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]
    assert await listed(api, workflow_id) == []
    response = await api.post("/v1/workflows", json={**NEW, "schedules": [{"cron_expression": "* * * * *"}, body]})
    assert response.status_code == 400
    message = response.json()["error"]["message"]
    assert message.startswith("schedules[1]")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"trigger_type": "schedule"}, "cron_expression: it is needed"),
        ({"trigger_type": "manual", "cron_expression": "0 9 * * *"}, "cron_expression: a workflow of trigger_type"),
        ({"timezone": "UTC"}, "timezone: it goes with cron_expression"),
        ({"trigger_type": "webhook"}, "trigger_type: 'webhook' is not accepted; it must be 'manual' or 'schedule'"),
        ({"cron_expression": "0 9 * *"}, "cron_expression: it must have five fields"),
    ],
)
async def test_what_does_not_go_together(api: Api, fields: dict[str, Any], said: str) -> None:
    """Nothing is accepted and ignored."""
    response = await api.post("/v1/workflows", json={**NEW, **fields})
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]
    assert (await api.ok("GET", "/v1/workflows"))["meta"]["total"] == 0


async def test_the_schedules_of_a_workflow_are_patched(api: Api) -> None:
    """The main one by `cron_expression`, the others as a list; `manual` removes them all."""
    workflow_id = await api.workflow(ENDING)
    path = f"/v1/workflows/{workflow_id}"

    async def patched(**body: Any) -> dict[str, Any]:
        changed: dict[str, Any] = (await api.ok("PATCH", path, json=body))["data"]
        return changed

    assert (await patched(cron_expression="0 9 * * *"))["trigger_type"] == "schedule"
    assert (await patched(timezone="Asia/Tokyo"))["timezone"] == "Asia/Tokyo"
    daily, weekly = ({"interval": {"value": 1, "unit": unit}} for unit in ("days", "weeks"))
    await patched(schedules=[daily, weekly])
    main, *others = await listed(api, workflow_id)
    assert (main["is_main"], main["cron_expression"], main["timezone"]) == (True, "0 9 * * *", "Asia/Tokyo")
    await patched(schedules=[{"id": others[1]["id"], "enabled": False}, {"cron_expression": "5 * * * *"}])
    shown = [(each["id"], each["status"], each["in_words"]) for each in await listed(api, workflow_id)]
    assert shown[:2] == [(main["id"], "active", "At 09:00"), (others[1]["id"], "paused", "Every week")]
    assert len(shown) == 3
    assert (await patched(cron_expression=None))["cron_expression"] is None
    for body, said in (
        ({"trigger_type": "manual", "schedules": [daily]}, "'manual' removes all schedules"),
        ({"timezone": "UTC"}, "timezone: it goes with cron_expression, which the workflow does not have"),
        ({"schedules": [{"id": main["id"]}]}, "schedules[0].id: the workflow has no such schedule"),
        ({"trigger_type": "schedule", "schedules": []}, "cron_expression: it is needed"),
    ):
        response = await api.send("PATCH", path, json=body)
        assert response.status_code == 400, response.text
        assert said in response.json()["error"]["message"]
    assert (await patched(trigger_type="manual"))["trigger_type"] == "manual"
    assert await listed(api, workflow_id) == []
    refused = await api.send(
        "PUT", "/v1/workflows/by-name/w", json={"definition": ENDING, "cron_expression": "* * * * *"}
    )
    assert "cron_expression: it is not supported" in refused.json()["error"]["message"]


async def test_a_start_or_end_where_dates_end(api: Api) -> None:
    """A schedule that begins too late has no slot; one that ends there goes on."""
    workflow_id = await api.workflow(ENDING)
    path, cron = f"/v1/workflows/{workflow_id}/schedules", {"cron_expression": "* * * * *"}
    for last in ("9990-01-01T00:00:01Z", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-14:00"):
        for given in (cron, {"interval": {"value": 1, "unit": "weeks"}}):
            refused = await api.post(path, json={**given, "start_at": last})
            assert refused.status_code == 400, refused.text
        made = await api.post(path, json={**cron, "end_at": last})
        assert made.status_code == (400 if last.endswith("-14:00") else 201), "the year 10000 cannot be written"


async def test_run_now_is_answered_once_for_an_idempotency_key(api: Api) -> None:
    """The same request gets the same run; the same key for another schedule is refused."""
    workflow_id, schedule = await scheduled(api, enabled=False)
    _, other = await scheduled(api, enabled=False)
    path = f"/v1/workflows/{workflow_id}/schedules/{schedule['id']}/run-now"
    first, again = [(await api.post(path, headers={"Idempotency-Key": "k"})) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["data"] == again.json()["data"]
    assert (await api.post(path)).json()["data"] != first.json()["data"]
    elsewhere = f"/v1/workflows/{other['workflow_id']}/schedules/{other['id']}/run-now"
    refused = await api.post(elsewhere, headers={"Idempotency-Key": "k"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await verify(api.engine.store)).breaks == []


async def test_a_schedule_is_shown_as_paused_with_its_workflow(api: Api) -> None:
    """It is enabled still, and active again when the workflow is resumed; archived, both have ended."""
    workflow_id, _ = await scheduled(api)

    async def shown() -> tuple[str, bool, int]:
        (each,) = await listed(api, workflow_id)
        return each["status"], each["enabled"], len(each["next_slots"])

    await api.ok("POST", f"/v1/workflows/{workflow_id}/pause")
    assert await shown() == ("paused", True, 5)
    await api.ok("POST", f"/v1/workflows/{workflow_id}/resume")
    assert await shown() == ("active", True, 5)
    await api.ok("DELETE", f"/v1/workflows/{workflow_id}")
    assert await shown() == ("ended", True, 0)
