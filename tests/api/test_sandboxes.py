"""Sandboxes: the same workflows on both sides, runs of its own on each, and nothing changed outside from within."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.api.app import ROUTES
from perdure.api.http.routing import Route
from perdure.engine import Engine
from perdure.engine.audit.store_audit import verify
from perdure.engine.core import ids
from perdure.engine.services.access import BEYOND_SANDBOX, SCOPES
from perdure.engine.steps import Registry
from perdure.engine.testing import ManualClock
from tests.api.conftest import ENDING, KEY, PROCESS, SLEEPING, WAITING, WITH_TOKEN, Api, Start, eventually
from tests.api.test_isolation import Owned, ask, owned
from tests.present import present

NO_BODY = {"status": 200, "headers": {}, "body": None}
INSIDE = tuple(scope for scope in SCOPES if scope not in BEYOND_SANDBOX)


def task(resource: str, **more: Any) -> dict[str, Any]:
    """A definition with one Task state."""
    return {"StartAt": "Pay", "States": {"Pay": {"Type": "Task", "Resource": resource, **more, "End": True}}}


class Outside:
    """Something outside that steps change, in a server with steps that do."""

    def __init__(self) -> None:
        self.charged: list[Any] = []
        self.registry = Registry()
        self.registry.step("charge")(self._charge)
        self.registry.step("look_up", has_effects=False)(self._look_up)
        self.registry.step("charge_slowly")(self._charge_in_a_thread)

    async def _charge(self, given: Any) -> Any:
        self.charged.append(given)
        return {"charged": True}

    async def _look_up(self, given: Any) -> Any:
        return {"found": given}

    def _charge_in_a_thread(self, given: Any) -> Any:
        self.charged.append(given)
        return {"charged": True}


@pytest.fixture
def outside() -> Outside:
    """What steps change."""
    return Outside()


@pytest.fixture
async def api(start: Start, outside: Outside) -> AsyncIterator[Api]:
    """A server with steps that change something outside, whose log is found right afterwards."""
    served = await start(steps=outside.registry)
    yield served
    assert (await verify(served.store)).breaks == []


async def sandbox_key(api: Api, *scopes: str) -> str:
    """A test key, with all scopes that one may have unless some are named."""
    return await api.new_key(*(scopes or INSIDE), mode="test")


async def shown(api: Api, execution_id: str, *, key: str) -> dict[str, Any]:
    """A run as the API shows it, after all that can go on has."""
    await api.settled()
    found = await api.ok("GET", "/v1/executions", params={"process_id_prefix": execution_id}, key=key)
    (only,) = found["data"]
    item: dict[str, Any] = await api.item(only["workflow_id"], execution_id, key=key)
    return item


# --- the same workflows ------------------------------------------------------------------------------------------


async def test_both_sides_see_change_and_publish_the_same_workflows(api: Api) -> None:
    """One object under one id, whoever made it: what one side changes the other has at once."""
    key = await sandbox_key(api)
    live = await api.workflow(ENDING, name="from live")
    test = await api.workflow(ENDING, name="from test", key=key)
    for each in (KEY, key):
        rows = (await api.ok("GET", "/v1/workflows", key=each))["data"]
        assert {row["id"] for row in rows} == {live, test}
        versions = (await api.ok("GET", f"{PROCESS}/getOrganizationWorkflows", key=each))["items"]
        assert {row["workflow_id"] for row in versions} == {live, test}
    await api.ok("PATCH", f"/v1/workflows/{live}", json={"definition": WAITING}, key=key)
    seen = (await api.ok("GET", f"/v1/workflows/{live}"))["data"]
    assert (seen["version"], seen["definition"]) == (2, WAITING)
    applied = await api.ok("PUT", "/v1/workflows/by-name/from test", json={"definition": WAITING})
    assert applied["data"]["id"] == test
    again = await api.ok("PUT", "/v1/workflows/by-name/from live", json={"definition": WAITING}, key=key)
    assert again["data"]["id"] == live
    await api.ok("DELETE", f"/v1/workflows/{live}", key=key)
    assert (await api.ok("GET", f"/v1/workflows/{live}"))["data"]["status"] == "archived"


# --- runs of its own ---------------------------------------------------------------------------------------------

OF_A_RUN = [
    route for route in ROUTES if route.scope and any(f"{{{name}}}" in route.path for name in ("process_id", "token"))
]


@pytest.mark.parametrize("route", OF_A_RUN, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("is_live", [True, False], ids=["the live one's", "the sandbox's"])
async def test_a_run_of_the_other_side_is_not_there(api: Api, route: Route, is_live: bool) -> None:
    """404 on every route that is about a run, and nothing changes."""
    key = await sandbox_key(api)
    mine = await owned(api)
    if is_live:
        asking = key
    else:
        execution_id = await api.trigger(mine.workflow_id, {"process_id": "OURS"}, key=key)
        await api.settled()
        mine = mine._replace(
            process_id="OURS", workflow_execution_id=execution_id, token=await api.token_of(execution_id)
        )
        asking = KEY
    before = await api.events(mine.workflow_execution_id)
    response = await ask(api, route, mine, asking)
    assert response.status_code == 404, response.text
    assert await api.events(mine.workflow_execution_id) == before


async def ids_seen(api: Api, mine: Owned, key: str) -> list[set[str]]:
    """The runs that each list shows to a key, and those that are counted."""
    of_workflow = {"workflow_id": mine.workflow_id}
    history = await api.ok("GET", f"{PROCESS}/getWorkflowExecutionHistory", params=of_workflow, key=key)
    organization = await api.ok("GET", f"{PROCESS}/getOrganizationExecutions", key=key)
    found = await api.ok("GET", "/v1/executions", key=key)
    filtered = await api.ok("GET", "/v1/executions", params=of_workflow | {"status": "waiting"}, key=key)
    waits = await api.ok("GET", "/v1/waits", key=key)
    return [
        {item["workflow_execution_id"] for item in history["items"]},
        {item["workflow_execution_id"] for item in organization["items"]},
        {item["execution_id"] for item in found["data"]},
        {item["execution_id"] for item in filtered["data"]},
        {item["execution_id"] for item in waits["data"]},
    ]


async def test_each_side_lists_and_counts_its_own_runs(api: Api) -> None:
    """In every list; also the organization's, which has none of a sandbox."""
    key = await sandbox_key(api)
    mine = await owned(api)
    ours = {await api.trigger(mine.workflow_id, key=key) for _ in range(3)}
    await api.settled()
    assert await ids_seen(api, mine, key) == [ours] * 5
    assert await ids_seen(api, mine, KEY) == [{mine.workflow_execution_id}] * 5
    for each, count in ((KEY, 1), (key, 3)):
        counted = await api.ok("GET", "/v1/executions/counts", params={"workflow_id": mine.workflow_id}, key=each)
        assert counted["data"]["total"] == count
    log = await api.ok("GET", "/v1/events", params={"limit": 1000}, key=key)
    assert {event["stream_id"] for event in log["data"]} == ours


async def test_process_ids_and_idempotency_keys_are_the_sides_own(api: Api) -> None:
    """The same name is another run, and the same key another request."""
    key = await sandbox_key(api)
    workflow_id = await api.workflow()
    again = {"headers": {"Idempotency-Key": "K"}}
    runs = [await api.trigger(workflow_id, {"process_id": "INV-7"}, key=each, **again) for each in (KEY, key) * 2]
    assert runs[:2] == runs[2:]
    assert runs[0] != runs[1]
    await api.settled()
    assert (await api.resume("INV-7", key=key)).json() == {"message": "restarted"}
    assert (await api.resume("INV-7")).json() == {"message": "restarted"}


async def test_a_mock_payload_comes_from_the_sides_own_runs(api: Api) -> None:
    """The newest completed run of the other side shows nothing of its input."""
    key = await sandbox_key(api)
    workflow_id = await api.workflow(ENDING)
    for each, said in ((KEY, "live"), (key, "test")):
        await api.trigger(workflow_id, {"said": said}, key=each)
    await api.settled()
    query = {"workflow_id": workflow_id, "workflow_version": 1}
    for each, said in ((KEY, "live"), (key, "test")):
        seen = await api.ok("GET", f"{PROCESS}/getWorkflowSchemaById", params=query, key=each)
        assert seen["item"]["workflow_mock_payload"] == {"said": said}


async def test_a_bulk_job_reaches_its_own_side_alone(api: Api) -> None:
    """All waiting runs of a workflow are those of the side; what it reruns stays there."""
    key = await sandbox_key(api)
    workflow_id = await api.workflow(SLEEPING)
    live, test = await api.trigger(workflow_id), await api.trigger(workflow_id, key=key)
    await api.push(61_000)
    body = {"action": "terminate", "filter": {"workflow_id": workflow_id}}
    await api.ok("POST", "/v1/bulk", json=body, key=key)
    for _ in range(20):
        await api.push(1_000)
    assert (await shown(api, live, key=KEY))["status"] == "waiting"
    assert (await shown(api, test, key=key))["status"] == "terminated"
    rerun = await api.ok("POST", f"/v1/executions/{test}/rerun", json={}, key=key)
    forked = await api.ok("POST", f"/v1/executions/{test}/fork", json={"seq": 2}, key=key)
    for made in (rerun, forked):
        execution_id = made["data"]["execution_id"]
        assert (await shown(api, execution_id, key=key))["status"] == "running"
        assert (await api.get(f"/v1/executions/{execution_id}/lineage")).status_code == 404


async def test_the_runs_of_schedules_are_live(api: Api) -> None:
    """Whoever made the schedule; and a test key starts none by hand."""
    key = await sandbox_key(api)
    workflow_id = await api.workflow(WAITING)
    path = f"/v1/workflows/{workflow_id}/schedules"
    made = await api.ok("POST", path, json={"interval": {"value": 1, "unit": "hours"}}, key=key)
    refused = await api.post(f"{path}/{made['data']['id']}/run-now", key=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    await api.push(3_600_000)
    for each, count in ((KEY, 1), (key, 0)):
        assert len((await api.ok("GET", "/v1/executions", key=each))["data"]) == count


async def test_a_sandbox_has_places_of_its_own(api: Api) -> None:
    """A run on one side does not hold up the other one's, and each side keeps to the limit."""
    key = await sandbox_key(api)
    workflow_id = await api.workflow(WAITING, settings={"concurrencyLimit": 1})
    await api.ok("PATCH", "/v1/organization", json={"settings": {"concurrencyLimit": 1}})
    runs = {each: [await api.trigger(workflow_id, key=each) for _ in range(2)] for each in (KEY, key)}
    for each, (first, second) in runs.items():
        assert (await shown(api, first, key=each))["status"] == "waiting"
        assert (await shown(api, second, key=each))["status"] == "pending"
    await api.terminate(runs[key][0], key=key)
    assert (await shown(api, runs[key][1], key=key))["status"] == "waiting"
    assert (await shown(api, runs[KEY][1], key=KEY))["status"] == "pending"


async def test_the_quota_of_open_runs_counts_each_side_by_itself(api: Api) -> None:
    """As many as it says on either."""
    key = await sandbox_key(api)
    workflow_id = await api.workflow(WAITING, settings={"quotas": {"openRuns": 2}})
    for each in (KEY, key):
        for _ in range(2):
            await api.trigger(workflow_id, key=each)
        refused = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", key=each)
        assert refused.status_code == 409


# --- what is not done --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "parameters", "result"),
    [
        ("charge", {"amount": 7}, {}),
        ("charge_slowly", {"amount": 7}, {}),
        (
            "http_request",
            {"url": "http://127.0.0.1:9/", "method": "post"},
            {"status": 200, "headers": {}, "body": None},
        ),
    ],
)
async def test_a_step_with_effects_is_not_called_in_a_sandbox(
    api: Api, outside: Outside, resource: str, parameters: dict[str, Any], result: Any
) -> None:
    """It succeeds with nothing; what it would have done stands in the log, and that it was not done."""
    key = await sandbox_key(api)
    workflow_id = await api.workflow(task(resource, Parameters=parameters))
    run = await api.trigger(workflow_id, key=key)
    item = await shown(api, run, key=key)
    assert (item["status"], item["workflow_output_payload"]) == ("completed", result)
    assert outside.charged == []
    told = item["workflow_event_log"]["events"]
    assert [event["type"] for event in told] == [
        *("ExecutionStarted", "TaskScheduled", "TaskSimulated", "TaskSucceeded", "ExecutionSucceeded")
    ]
    assert told[1]["parameters"] == parameters


async def test_a_live_run_calls_them(api: Api, outside: Outside) -> None:
    """Nothing is simulated outside a sandbox, even where there is a mock payload."""
    run = await api.trigger(await api.workflow(task("charge"), mock_payload={"steps": {"Pay": 1}}), {"amount": 7})
    assert (await shown(api, run, key=KEY))["workflow_output_payload"] == {"charged": True}
    assert outside.charged == [{"amount": 7}]
    assert "TaskSimulated" not in await api.events(run)


async def test_what_only_computes_or_reads_is_called(api: Api) -> None:
    """A transform, or a step registered so, gives its result; a request that reads is sent, and refused here."""
    key = await sandbox_key(api)
    computing = await api.workflow(task("transform", Parameters={"value": {"a": 1}}))
    run = await api.trigger(computing, key=key)
    assert (await shown(api, run, key=key))["workflow_output_payload"] == {"a": 1}
    run = await api.trigger(await api.workflow(task("look_up", Parameters={"id": 7})), key=key)
    assert (await shown(api, run, key=key))["workflow_output_payload"] == {"found": {"id": 7}}
    reading = await api.workflow(task("http_request", Parameters={"url": "http://127.0.0.1:9/"}))
    run = await api.trigger(reading, key=key)
    assert "TaskSimulated" not in await api.events(run)
    assert (await shown(api, run, key=key))["status"] == "failed"


async def test_a_mock_payload_says_what_a_step_gives(api: Api, outside: Outside) -> None:
    """By the state's name; of a function the result is wrapped as ever."""
    key = await sandbox_key(api)
    function = task("arn:aws:states:::lambda:invoke", Parameters={"FunctionName": "charge"})
    for definition, wanted in (
        (task("charge"), {"charged": "as if"}),
        (function, {"ExecutedVersion": "$LATEST", "Payload": {"charged": "as if"}, "StatusCode": 200}),
    ):
        mock = {"steps": {"Pay": {"charged": "as if"}}}
        run = await api.trigger(await api.workflow(definition, mock_payload=mock), key=key)
        assert (await shown(api, run, key=key))["workflow_output_payload"] == wanted
    assert outside.charged == []


async def test_a_question_that_is_not_sent_is_waited_for(api: Api, outside: Outside) -> None:
    """With `.waitForResume` the wait is there, and a test key ends it."""
    key = await sandbox_key(api)
    run = await api.trigger(await api.workflow(task("charge.waitForResume")), key=key)
    assert (await shown(api, run, key=key))["status"] == "waiting"
    assert "TaskSimulated" in await api.events(run)
    assert (await api.resume(run, key=key)).json() == {"message": "restarted"}
    assert (await shown(api, run, key=key))["status"] == "completed"
    assert outside.charged == []


async def test_a_child_of_a_run_in_a_sandbox_is_in_it_too(api: Api, outside: Outside) -> None:
    """It is found by its name among the live workflows, is listed in the sandbox, and simulates."""
    key = await sandbox_key(api)
    await api.workflow(task("charge"), name="child")
    parent = task(
        "arn:aws:states:::states:startExecution.sync:2", Parameters={"StateMachineArn": "child", "Input": {"a": 1}}
    )
    run = await api.trigger(await api.workflow(parent), key=key)
    item = await shown(api, run, key=key)
    assert item["status"] == "completed", item
    assert item["workflow_output_payload"]["Output"] == {}
    assert len((await api.ok("GET", "/v1/executions", key=key))["data"]) == 2
    assert (await api.ok("GET", "/v1/executions"))["data"] == []
    assert outside.charged == []


async def test_a_run_stays_in_its_sandbox_after_a_restart(outside: Outside, tmp_path: Path) -> None:
    """That it is in one stands in its first event: what a server calls that takes it up is simulated, too."""
    database, clock = f"sqlite:///{tmp_path / 'runs.db'}", ManualClock()
    later = {"Type": "Wait", "Seconds": 60, "Next": "Pay"}
    definition = {"StartAt": "Later", "States": {"Later": later, **task("charge")["States"]}}
    engine = await Engine.start(database, steps=outside.registry, clock=clock)
    access = engine.services.access
    made = await access.make_key(await access.default_caller("cli:test"), "t", INSIDE, mode="test")
    caller = present(await access.principal(made.text)).caller
    saved = await engine.services.workflows.create(caller, "w", definition)
    run = str((await engine.services.runs.trigger(caller, saved.workflow.workflow_id, {})).answer)
    await engine.close()
    clock.push(61_000)
    engine = await Engine.start(database, steps=outside.registry, clock=clock)

    async def status() -> str:
        return (await engine.services.queries.execution(caller, ids.parse(run))).row.status

    async with asyncio.timeout(20):
        while await status() != "completed":  # noqa: ASYNC110 what is waited for sets no event of ours
            await asyncio.sleep(0.01)
    recorded = await engine.services.queries.events(ids.parse(run))
    assert "TaskSimulated" in [type(each.event).__name__ for each in recorded]
    assert outside.charged == []
    assert (await verify(engine.store)).breaks == []
    await engine.close()


async def test_a_token_is_good_on_its_own_side(api: Api) -> None:
    """A test key completes a task of the sandbox."""
    key = await sandbox_key(api)
    _, token = await api.token(WITH_TOKEN, key=key)
    assert (await api.post(f"/v1/tasks/{token}/success", json={"output": 1})).status_code == 404
    await api.ok("POST", f"/v1/tasks/{token}/success", json={"output": 1}, key=key)


async def test_what_changes_nothing_is_said_by_the_catalog(api: Api) -> None:
    """A step of the catalog without effects is called, and a request that changes something is not."""
    key = await sandbox_key(api)
    for resource, given, output in (
        ("webhook_reply", {"body": 7}, {"status": 200, "headers": {}, "body": 7}),
        ("http_request", {"url": "http://10.0.0.1/", "method": "POST"}, NO_BODY),
    ):
        run = await api.trigger(await api.workflow(task(resource, Parameters=given)), key=key)
        assert (await shown(api, run, key=key))["workflow_output_payload"] == output


@pytest.mark.parametrize("name", ["log", "transform", "http_request"])
async def test_a_step_of_one_s_own_is_simulated_whatever_its_name(start: Start, name: str) -> None:
    """One that has the name of a step of ours that changes nothing may change something itself."""
    called, registry = list[Any](), Registry()
    registry.step(name)(called.append)
    api = await start(steps=registry)
    workflow_id = await api.workflow(task(name, Parameters={"url": "https://example.com", "value": 1}))
    key = await sandbox_key(api)
    run = await api.trigger(workflow_id, key=key)
    assert (await shown(api, run, key=key))["status"] == "completed"
    assert called == []
    await api.trigger(workflow_id)
    await eventually(lambda: called)
