"""Triggering and terminating: one run for one process id, one answer for one idempotency key."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from perdure.engine.core import ids
from tests.api.conftest import ENDING, PROCESS, WAITING, Api

UNKNOWN = "01977420-0000-7000-8000-000000000000"


async def test_a_run_starts_with_the_body_as_its_input(api: Api) -> None:
    """The body is the run's input, and the answer has the run's id."""
    workflow_id = await api.workflow()
    answer = await api.ok("POST", f"{PROCESS}/triggerworkflow/{workflow_id}", json={"amount": 120, "more": [1.5]})
    assert set(answer) == {"message", "looply_execution_id"}
    assert answer["message"] == "success"
    item = await api.item(workflow_id, answer["looply_execution_id"])
    assert item["workflow_input_payload"] == {"amount": 120, "more": [1.5]}
    assert item["process_id"] == answer["looply_execution_id"]
    assert item["workflow_trigger_type"] == "REQUEST"


async def test_without_a_body_the_input_is_an_empty_object(api: Api) -> None:
    """No body and white space alone both mean `{}`."""
    workflow_id = await api.workflow()
    bodies: tuple[dict[str, Any], ...] = ({}, {"content": b" \n"})
    for more in bodies:
        execution_id = await api.trigger(workflow_id, **more)
        assert (await api.item(workflow_id, execution_id))["workflow_input_payload"] == {}


async def test_a_version_can_be_named(api: Api) -> None:
    """With a version in the path that one runs, else the latest that is published."""
    workflow_id = await api.workflow(ENDING)
    await api.ok("PATCH", f"/v1/workflows/{workflow_id}", json={"definition": WAITING})
    old = await api.ok("POST", f"{PROCESS}/triggerworkflow/{workflow_id}/1")
    new = await api.ok("POST", f"{PROCESS}/triggerworkflow/{workflow_id}")
    assert (await api.item(workflow_id, old["looply_execution_id"]))["workflow_version"] == 1
    assert (await api.item(workflow_id, new["looply_execution_id"]))["workflow_version"] == 2


@pytest.mark.parametrize(
    ("path", "status", "names"),
    [
        (f"{UNKNOWN}", 404, UNKNOWN),
        ("WORKFLOW/2", 404, "version 2"),
        ("not-an-id", 400, "workflow_id"),
        ("WORKFLOW/0", 400, "workflow_version"),
        ("WORKFLOW/-1", 400, "workflow_version"),
        ("WORKFLOW/1.0", 400, "workflow_version"),
        ("WORKFLOW/99999999999999999999999", 400, "workflow_version"),
        ("WORKFLOW/9999999999", 400, "workflow_version"),
        ("WORKFLOW/%D9%A3", 400, "workflow_version"),
    ],
)
async def test_what_is_not_there_is_not_triggered(api: Api, path: str, status: int, names: str) -> None:
    """An unknown workflow or version is 404, what can be none 400; the message names it."""
    path = path.replace("WORKFLOW", await api.workflow())
    response = await api.post(f"{PROCESS}/triggerworkflow/{path}")
    assert response.status_code == status
    assert names in response.json()["message"]


async def test_a_process_id_has_one_run_for_ever(api: Api) -> None:
    """The same process id with the same input gives the same run, also after its end; another input is a conflict."""
    workflow_id = await api.workflow()
    body = {"process_id": "INV-7", "amount": 1}
    first = await api.trigger(workflow_id, body)
    assert await api.trigger(workflow_id, {"amount": 1.0, "process_id": "INV-7"}) == first
    await api.resume("INV-7")
    assert await api.trigger(workflow_id, body) == first
    other = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", json={**body, "amount": 2})
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "CONFLICT"


async def test_many_triggers_of_one_process_id_start_one_run(api: Api) -> None:
    """However many calls come at once, there is one run, and all are told its id."""
    workflow_id = await api.workflow()
    started = await asyncio.gather(*(api.trigger(workflow_id, {"process_id": "INV-7"}) for _ in range(64)))
    assert len(set(started)) == 1
    listed = await api.ok("GET", f"{PROCESS}/getOrganizationExecutions")
    assert listed["count"] == 1


async def test_the_process_id_may_stand_in_body_or_query(api: Api) -> None:
    """In the body it stays in the input; in the query it does not; in both it must be the same."""
    workflow_id = await api.workflow()
    in_query = await api.trigger(workflow_id, {"a": 1}, params={"process_id": "Q 1"})
    assert (await api.item(workflow_id, in_query))["workflow_input_payload"] == {"a": 1}
    assert (await api.item(workflow_id, in_query))["process_id"] == "Q 1"
    in_both = await api.trigger(workflow_id, {"process_id": "B"}, params={"process_id": "B"})
    assert (await api.item(workflow_id, in_both))["workflow_input_payload"] == {"process_id": "B"}
    different = await api.post(
        f"{PROCESS}/triggerworkflow/{workflow_id}", json={"process_id": "B"}, params={"process_id": "C"}
    )
    assert different.status_code == 400


@pytest.mark.parametrize("process_id", ["", ".", "..", "x" * 129, "a\nb", 7, None, True, ["a"], {}])
async def test_a_process_id_is_a_short_printable_text(api: Api, process_id: Any) -> None:
    """Anything else is refused, naming the field, and nothing starts."""
    workflow_id = await api.workflow()
    response = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", json={"process_id": process_id})
    assert response.status_code == 400
    assert response.json()["message"].startswith("process_id: ")
    assert (await api.ok("GET", f"{PROCESS}/getOrganizationExecutions"))["count"] == 0


@pytest.mark.parametrize("process_id", ["INV/7", "a b", "Ü/ß?#%", "100%", "a+b", "%2F", "流程"])
async def test_a_process_id_in_a_path_is_percent_encoded(api: Api, process_id: str) -> None:
    """Whatever characters it has, its percent-encoded form names it and nothing else."""
    workflow_id = await api.workflow()
    await api.trigger(workflow_id, {"process_id": process_id})
    assert (await api.resume(quote(process_id, safe=""))).json() == {"message": "restarted"}
    assert (await api.terminate(quote(process_id + "x", safe=""))).status_code == 404


async def test_a_draft_runs_in_tests_only(api: Api) -> None:
    """A draft is a conflict; with `test=true` it runs, on the mock payload where no body is sent."""
    workflow_id = await api.workflow(status="draft", mock_payload={"amount": 5})
    url = f"{PROCESS}/triggerworkflow/{workflow_id}"
    assert (await api.post(url)).json()["error"]["code"] == "CONFLICT"
    assert (await api.post(f"{url}/1")).status_code == 409
    mocked = await api.trigger(workflow_id, params={"test": "true"})
    assert (await api.item(workflow_id, mocked))["workflow_input_payload"] == {"amount": 5}
    given = await api.trigger(workflow_id, {}, params={"test": "true"})
    assert (await api.item(workflow_id, given))["workflow_input_payload"] == {}
    assert (await api.post(url, params={"test": "yes"})).status_code == 400


async def test_an_archived_workflow_starts_no_run(api: Api) -> None:
    """An archived workflow is a conflict, but a repeated trigger still gets its run, and history stays readable."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id, {"process_id": "A"})
    await api.ok("DELETE", f"/v1/workflows/{workflow_id}")
    assert (await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}")).status_code == 409
    assert await api.trigger(workflow_id, {"process_id": "A"}) == execution_id
    assert (await api.item(workflow_id, execution_id))["status"] == "waiting"


# --- idempotency keys --------------------------------------------------------------------------------------------


async def test_an_idempotency_key_gives_the_first_answer_again(api: Api) -> None:
    """The same request under the same key starts nothing; as JSON values it is the same whatever its bytes are."""
    workflow_id = await api.workflow()
    headers = {"Idempotency-Key": "k-1"}
    first = await api.trigger(workflow_id, {"a": 1, "b": 2}, headers=headers)
    again = await api.trigger(workflow_id, headers=headers, content=b'{ "b": 2.0, "a": 1 }')
    assert again == first
    prefer = await api.trigger(workflow_id, {"a": 1, "b": 2}, headers={**headers, "Prefer": "wait=1"})
    assert prefer == first


async def test_many_requests_under_one_key_start_one_run(api: Api) -> None:
    """However many come at once, one run starts."""
    workflow_id = await api.workflow()
    headers = {"Idempotency-Key": "k-1"}
    started = await asyncio.gather(*(api.trigger(workflow_id, {"a": 1}, headers=headers) for _ in range(64)))
    assert len(set(started)) == 1


async def test_an_idempotency_key_belongs_to_one_request(api: Api) -> None:
    """Another body, query, path or method under the same key is a conflict, and nothing starts."""
    workflow_id, other_id = await api.workflow(), await api.workflow()
    headers = {"Idempotency-Key": "k-1"}
    await api.trigger(workflow_id, {"a": 1}, headers=headers)
    requests: list[tuple[str, dict[str, Any]]] = [
        (f"triggerworkflow/{workflow_id}", {"json": {"a": 2}}),
        (f"triggerworkflow/{workflow_id}/1", {"json": {"a": 1}}),
        (f"triggerworkflow/{workflow_id}?process_id=x", {"json": {"a": 1}}),
        (f"triggerworkflow/{other_id}", {"json": {"a": 1}}),
    ]
    for path, more in requests:
        response = await api.post(f"{PROCESS}/{path}", headers=headers, **more)
        assert (response.status_code, response.json()["error"]["code"]) == (409, "CONFLICT"), path
    assert (await api.ok("GET", f"{PROCESS}/getOrganizationExecutions"))["count"] == 1


async def test_an_idempotency_key_is_looked_up_after_validation(api: Api) -> None:
    """A request that is wrong is told so, whatever its key was used for; and does not use the key up."""
    workflow_id = await api.workflow()
    headers = {"Idempotency-Key": "k-1"}
    url = f"{PROCESS}/triggerworkflow/{workflow_id}"
    assert (await api.post(url, headers=headers, json={"process_id": 7})).status_code == 400
    first = await api.trigger(workflow_id, {"a": 1}, headers=headers)
    assert (await api.post(url, headers=headers, json={"process_id": 7})).status_code == 400
    assert (await api.post(url, headers=headers, json={"a": 1}, key="nobody")).status_code == 401
    assert await api.trigger(workflow_id, {"a": 1}, headers=headers) == first


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ü", "\x7f"])
async def test_an_idempotency_key_is_printable_ascii(api: Api, key: str) -> None:
    """Anything else is 400."""
    workflow_id = await api.workflow()
    headers = [("Idempotency-Key", key.encode("latin-1"))]
    response = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", headers=headers)
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["message"]


async def test_an_idempotency_key_may_be_as_long_as_it_says(api: Api) -> None:
    """255 characters, blanks among them, are taken."""
    workflow_id = await api.workflow()
    headers = {"Idempotency-Key": "x " * 127 + "x"}
    assert await api.trigger(workflow_id, headers=headers) == await api.trigger(workflow_id, headers=headers)


async def test_two_workspaces_have_keys_and_process_ids_of_their_own(api: Api) -> None:
    """The same idempotency key and process id in another workspace are other ones."""
    other = await api.new_key(workspace="other")
    mine, theirs = await api.workflow(), await api.workflow(key=other)
    headers = {"Idempotency-Key": "k-1"}
    first = await api.trigger(mine, {"process_id": "A"}, headers=headers)
    second = await api.trigger(theirs, {"process_id": "A"}, headers=headers, key=other)
    assert first != second


# --- terminate ---------------------------------------------------------------------------------------------------


async def test_a_run_is_terminated_once(api: Api) -> None:
    """The first call is told `terminated`, the next `already terminated`; the reason is in the log."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id, {"process_id": "A"})
    body = {"payload": {"termination_reason": "Process has now expired."}}
    assert (await api.terminate("A", json=body)).json() == {"message": "terminated"}
    assert (await api.terminate("A", json=body)).json() == {"message": "already terminated"}
    item = await api.item(workflow_id, execution_id)
    assert item["status"] == "terminated"
    assert item["workflow_event_log"]["events"][-1]["reason"] == "Process has now expired."


@pytest.mark.parametrize("body", [None, {}, {"payload": {}}])
async def test_a_termination_needs_no_reason(api: Api, body: Any) -> None:
    """Without one it is the process API's."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id)
    more = {} if body is None else {"json": body}
    assert (await api.terminate(execution_id, **more)).status_code == 200
    item = await api.item(workflow_id, execution_id)
    assert item["workflow_event_log"]["events"][-1]["reason"] == "Workflow execution terminated by user."


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"payload": {"termination_reason": "x" * 1025}}, "payload.termination_reason"),
        ({"payload": {"termination_reason": 7}}, "payload.termination_reason"),
        ({"payload": {"termination_reason": None, "ticket": 7}}, "payload.termination_reason"),
        ({"payload": '{"termination_reason": "x"}'}, "payload"),
        ({"reason": "x"}, "reason"),
    ],
)
async def test_a_termination_says_only_what_it_may(api: Api, body: Any, field: str) -> None:
    """What is wrong is named, and the run goes on."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id)
    response = await api.terminate(execution_id, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["details"]["field"] == field
    assert (await api.item(workflow_id, execution_id))["status"] == "waiting"


@pytest.mark.parametrize("path", [f"{PROCESS}/terminateWorkflow/A", "/v1/executions/A/terminate"])
async def test_what_a_termination_says_beside_its_reason_is_kept(api: Api, path: str) -> None:
    """It is the caller's data: it stands in the event's payload, whole, and a run that has only a reason has none."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id, {"process_id": "A"})
    said = {"termination_reason": "expired", "ticket": {"id": 4711}, "": [None]}
    assert (await api.post(path, json={"payload": said})).status_code == 200
    ended = (await api.engine.services.queries.last_events(ids.parse(execution_id), 1))[0]
    assert ended.payload == {"reason": "expired", "data": {"ticket": {"id": 4711}, "": [None]}}
    other = await api.trigger(workflow_id)
    await api.terminate(other, json={"payload": {"termination_reason": "expired"}})
    assert (await api.engine.services.queries.last_events(ids.parse(other), 1))[0].payload == {"reason": "expired"}


async def test_what_has_ended_is_not_terminated(api: Api) -> None:
    """A run that ended another way is a conflict; one that never was is 404."""
    execution_id = await api.trigger(await api.workflow(ENDING))
    response = await api.terminate(execution_id)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await api.terminate("never")).status_code == 404


async def test_a_termination_is_idempotent_under_a_key(api: Api) -> None:
    """The repeated call gets its first answer; without the key it would be `already terminated`."""
    execution_id = await api.trigger(await api.workflow())
    headers = {"Idempotency-Key": "t-1"}
    for _ in range(2):
        assert (await api.terminate(execution_id, headers=headers)).json() == {"message": "terminated"}
    assert (await api.terminate(execution_id)).json() == {"message": "already terminated"}
