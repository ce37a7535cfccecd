"""Bulk jobs over HTTP: one command for all runs that match, what came of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine.core import ids
from tests.api.conftest import Api

PATH = "/v1/bulk"
FIVE: dict[str, Any] = {
    "StartAt": "Left",
    "States": {
        "Left": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Right"},
        "Right": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}


@pytest.fixture
async def workflow(api: Api) -> str:
    """A workflow with seven runs that wait, of which one was terminated."""
    workflow_id = await api.workflow(FIVE)
    for number in range(7):
        await api.trigger(workflow_id, {"process_id": f"INV-{number}"})
    await api.settled()
    await api.terminate("INV-6")
    return workflow_id


async def started(api: Api, action: str, *, key: str | None = None, **more: Any) -> dict[str, Any]:
    """A job that was started, as it is once it has ended."""
    body = {"action": action, "filter": {"status": "waiting"}, **more}
    response = await api.post(PATH, json=body, key=key or api.key)
    assert response.status_code == 202, response.text
    await api.engine.node.jobs.settle()
    return await shown(api, response.json()["data"]["id"])


async def shown(api: Api, job: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ok("GET", f"{PATH}/{job}"))["data"]
    return found


async def statuses(api: Api) -> dict[str, int]:
    found: dict[str, int] = (await api.ok("GET", "/v1/executions/counts"))["data"]["by_status"]
    return found


async def test_all_that_match_are_terminated(api: Api, workflow: str) -> None:
    """And no others; each by who asked, with the reason, as if it had been asked for alone."""
    job = await started(api, "terminate", filter={"workflow_id": workflow, "process_id_prefix": "INV-"}, reason="twice")

    assert (job["status"], job["expected"], job["done"], job["unchanged"], job["failed"]) == ("completed", 6, 6, 0, 0)
    assert (job["filter"], job["reason"]) == ({"workflow_id": workflow, "process_id_prefix": "INV-"}, "twice")
    assert await statuses(api) == {"terminated": 7}
    run = (await api.ok("GET", "/v1/executions", params={"process_id_prefix": "INV-3"}))["data"][0]
    last = (await api.engine.services.queries.last_events(ids.parse(run["execution_id"]), 1))[0]
    assert (type(last.event).__name__, last.actor) == ("ExecutionTerminated", job["created_by"])
    assert last.payload is not None
    assert last.payload["reason"] == "twice"


async def test_each_wait_is_resumed_once(api: Api, workflow: str) -> None:
    """Every run goes on by one wait, with the payload; the wait that opens then is left alone."""
    job = await started(api, "resume", payload={"ok": True}, filter={"state": "Left"})

    assert (job["done"], job["failed"]) == (6, 0)
    runs = (await api.ok("GET", "/v1/executions", params={"status": "waiting"}))["data"]
    assert {run["state"] for run in runs} == {"Right"}
    assert len(runs) == 6
    assert (await started(api, "resume", filter={"state": "Left"}))["done"] == 0
    assert (await started(api, "resume"))["done"] == 6
    assert await statuses(api) == {"completed": 6, "terminated": 1}
    del workflow


async def test_a_dry_run_counts(api: Api, workflow: str) -> None:
    """How many match, and nothing else happens."""
    body = {"action": "terminate", "filter": {"workflow_id": workflow}, "dry_run": True}
    response = await api.post(PATH, json=body)

    assert response.json()["data"] == {"dry_run": True, "action": "terminate", "matching": 6, "is_exact": True}
    assert await statuses(api) == {"waiting": 6, "terminated": 1}
    assert (await api.ok("GET", PATH))["data"] == []


async def test_what_refuses_is_counted_by_code(api: Api, workflow: str) -> None:
    """The first ones are listed, each with what it said; the others are done."""
    await api.resume("INV-0")
    await api.resume("INV-0")
    await api.settled()
    job = await started(api, "terminate", filter={"status": ["completed", "waiting", "terminated"]})

    assert (job["done"], job["unchanged"], job["failed"]) == (5, 1, 1)
    assert job["failed_by_code"] == {"CONFLICT": 1}
    (failure,) = job["failures"]
    assert failure["code"] == "CONFLICT"
    assert "completed" in failure["message"]
    del workflow


async def test_runs_that_start_later_are_left_alone(api: Api, workflow: str) -> None:
    """A job is about what was there when it started."""
    body = {"action": "terminate", "filter": {"status": "waiting"}}
    job = (await api.ok("POST", PATH, json=body))["data"]["id"]
    await api.trigger(workflow, {"process_id": "LATER"})
    await api.engine.node.jobs.settle()

    assert (await shown(api, job))["done"] == 6
    assert await statuses(api) == {"waiting": 1, "terminated": 7}


async def test_jobs_are_listed_and_stopped(api: Api, workflow: str) -> None:
    """Newest first, in pages; what has completed stays so."""
    jobs = [(await started(api, "resume", filter={"state": state}))["id"] for state in ("A", "B", "C")]
    first = await api.ok("GET", PATH, params={"limit": 2})
    assert [job["id"] for job in first["data"]] == jobs[:0:-1]
    second = await api.ok("GET", PATH, params={"limit": 2, "after": first["meta"]["after"]})
    assert ([job["id"] for job in second["data"]], second["meta"]["has_more"]) == (jobs[:1], False)
    assert (await api.ok("POST", f"{PATH}/{jobs[0]}/stop"))["data"]["status"] == "completed"
    del workflow


async def test_a_stopped_job_goes_no_further(api: Api, workflow: str) -> None:
    """The reason stands in the log; to stop it again changes nothing."""
    body = {"action": "terminate", "filter": {"workflow_id": workflow}}
    job = (await api.ok("POST", PATH, json=body))["data"]["id"]
    stopped = (await api.ok("POST", f"{PATH}/{job}/stop", json={"reason": "wrong ones"}))["data"]
    await api.engine.node.jobs.settle()

    now = await shown(api, job)
    assert stopped["status"] in {"stopping", "stopped"}
    assert (now["status"], now["why"], now["done"] in {0, 6}) == ("stopped", "asked", True)
    assert (await api.ok("POST", f"{PATH}/{job}/stop"))["data"]["status"] == "stopped"
    assert (await statuses(api)).get("terminated", 0) == 1 + now["done"]


async def test_a_key_needs_the_scope_of_the_command(api: Api, workflow: str) -> None:
    """As for one run: to resume many is no right to terminate one, and to see them is no right to change any."""
    resuming = await api.new_key("runs.view", "runs.resume")
    for key, action, scope in (
        (resuming, "terminate", "runs.terminate"),
        (await api.new_key("runs.view"), "resume", "runs.resume"),
        (await api.new_key("runs.terminate"), "terminate", "runs.view"),
    ):
        refused = await api.post(PATH, json={"action": action, "filter": {"status": "waiting"}}, key=key)
        assert (refused.status_code, refused.json()["error"]["details"]["scope"]) == (403, scope)
    job = await started(api, "terminate")
    refused = await api.post(f"{PATH}/{job['id']}/stop", key=resuming)
    assert (refused.status_code, refused.json()["error"]["details"]["scope"]) == (403, "runs.terminate")
    del workflow


async def test_a_key_that_ends_ends_its_job(api: Api, workflow: str) -> None:
    """What it asked for goes no further than it does itself."""
    key = await api.new_key("runs.view", "runs.terminate")
    keys = (await api.ok("GET", "/v1/keys"))["data"]
    body = {"action": "terminate", "filter": {"workflow_id": workflow}}
    job = (await api.ok("POST", PATH, json=body, key=key))["data"]["id"]
    await api.ok("DELETE", f"/v1/keys/{keys[-1]['id']}")
    await api.engine.node.jobs.settle()

    now = await shown(api, job)
    assert (now["status"], now["why"]) in {("stopped", "key_ended"), ("completed", None)}
    assert (await statuses(api)).get("terminated", 0) == 1 + now["done"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"action": "delete"},
            "action: 'delete' is not accepted; it must be 'terminate' or 'resume' or 'pause' or 'unpause'",
        ),
        ({"filter": {}}, "filter: it is empty; name at least one, such as a status"),
        ({"filter": {"status": "done"}}, "filter.status: 'done' is not accepted; it must be one or several of"),
        ({"filter": {"status": []}}, "filter.status: '' is not accepted"),
        ({"filter": {"colour": "red"}}, "filter.colour: there is no such field"),
        ({"filter": "all"}, "filter: it is a JSON string; it must be an object"),
        ({"reason": ""}, "reason: '' is not accepted; it must be a text of 1 to 1024 characters"),
        ({"payload": 1}, "payload: it does not go with the action 'terminate'"),
        ({"dry_run": "maybe"}, "dry_run: 'maybe' is not accepted; it must be true or false"),
        ({"process_id": "INV-1"}, "process_id: there is no such field"),
    ],
)
async def test_what_is_refused(api: Api, change: dict[str, Any], message: str) -> None:
    """The field is named, and what it takes; nothing is started."""
    body = {"action": "terminate", "filter": {"status": "waiting"}, **change}
    refused = await api.post(PATH, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert message in refused.json()["error"]["message"]
    assert (await api.ok("GET", PATH))["data"] == []


async def test_what_is_another_s_is_not_there(api: Api, workflow: str) -> None:
    """A job belongs to a workspace, and so does the workflow that it names."""
    job = await started(api, "terminate")
    other = await api.new_key(workspace="B")
    for method, path in (("GET", f"{PATH}/{job['id']}"), ("POST", f"{PATH}/{job['id']}/stop")):
        assert (await api.send(method, path, key=other)).status_code == 404
    body = {"action": "terminate", "filter": {"workflow_id": workflow}}
    assert (await api.post(PATH, json=body, key=other)).status_code == 404
    assert (await api.ok("GET", PATH, key=other))["data"] == []
