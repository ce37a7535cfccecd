"""Versions and drafts: a change makes the next version, publishing turns runs to it, and tests run drafts too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import ENDING, PROCESS, SLEEPING, TWO_QUESTIONS, WAITING, Api


async def version_of_a_run(api: Api, workflow_id: str, **query: Any) -> int:
    """Trigger a run; the version that it runs on."""
    execution_id = await api.trigger(workflow_id, params=query)
    return int((await api.item(workflow_id, execution_id))["workflow_version"])


async def change(api: Api, workflow_id: str, **fields: Any) -> tuple[int, str]:
    """The version and the status after a change."""
    data = (await api.ok("PATCH", f"/v1/workflows/{workflow_id}", json=fields))["data"]
    return data["version"], data["status"]


async def test_a_draft_beside_a_published_version_runs_in_tests_only(api: Api) -> None:
    """Other triggers go on with the version that is published; the draft asked for by its number is a conflict."""
    workflow_id = await api.workflow(ENDING)
    version, _ = await change(api, workflow_id, definition=WAITING, status="draft")
    assert version == 2
    assert await version_of_a_run(api, workflow_id) == 1
    assert await version_of_a_run(api, workflow_id, test="true") == 2
    assert await version_of_a_run(api, workflow_id, test="false") == 1
    url = f"{PROCESS}/triggerworkflow/{workflow_id}/2"
    assert (await api.post(url)).status_code == 409
    assert (await api.post(url, params={"test": "true"})).status_code == 200
    assert (await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}/3", params={"test": "true"})).status_code == 404


async def test_publishing_turns_new_runs_to_the_draft(api: Api) -> None:
    """A run in flight stays on its version, and ends by its states."""
    workflow_id = await api.workflow(TWO_QUESTIONS)
    old = await api.trigger(workflow_id)
    await change(api, workflow_id, definition=ENDING, status="draft")
    assert await change(api, workflow_id, status="published") == (2, "published")
    assert await version_of_a_run(api, workflow_id) == 2
    for _ in range(2):
        assert (await api.resume(old)).json() == {"message": "restarted"}
        await api.settled()
    item = await api.item(workflow_id, old)
    assert (item["workflow_version"], item["status"], item["workflow_current_state"]) == (1, "completed", "Second")


async def test_a_changed_draft_is_another_draft(api: Api) -> None:
    """No version ever changes, of drafts neither; only the latest is published."""
    workflow_id = await api.workflow(ENDING, status="draft")
    assert await change(api, workflow_id, definition=WAITING) == (2, "draft")
    assert await change(api, workflow_id, definition=WAITING) == (2, "draft")
    assert await change(api, workflow_id, definition=SLEEPING, status="published") == (3, "published")
    url = f"{PROCESS}/triggerworkflow/{workflow_id}"
    assert [(await api.post(f"{url}/{version}")).status_code for version in (1, 2, 3)] == [409, 409, 200]
    first = await api.ok("GET", f"{PROCESS}/getWorkflowById?workflow_id={workflow_id}&workflow_version=1")
    assert [step["name"] for step in first["item"]["workflow_steps"]] == ["Done"]
    assert first["item"]["workflow_status"] == "DRAFT"


async def test_publishing_again_changes_nothing(api: Api) -> None:
    """The same answer, and no event."""
    workflow_id = await api.workflow(status="draft")
    await change(api, workflow_id, status="published")
    position = len(api.store._log)
    assert await change(api, workflow_id, status="published") == (1, "published")
    assert len(api.store._log) == position


@pytest.mark.parametrize(
    ("fields", "body", "run_input"),
    [
        ({"status": "draft"}, None, {}),
        ({"status": "draft", "mock_payload": {"amount": 5}}, None, {"amount": 5}),
        ({"mock_payload": {"amount": 5}}, None, {"amount": 5}),
        ({"mock_payload": {"amount": 5}}, {}, {}),
        ({"mock_payload": {"amount": 5}}, {"amount": 7}, {"amount": 7}),
    ],
)
async def test_the_input_of_a_test(api: Api, fields: dict[str, Any], body: Any, run_input: Any) -> None:
    """Is the body if there is one, else the mock payload, else empty: of drafts and of published versions."""
    workflow_id = await api.workflow(ENDING, **fields)
    execution_id = await api.trigger(workflow_id, body, params={"test": "true"})
    assert (await api.item(workflow_id, execution_id))["workflow_input_payload"] == run_input


async def test_without_test_the_mock_payload_is_no_input(api: Api) -> None:
    """A real run without a body runs on an empty object."""
    workflow_id = await api.workflow(ENDING, mock_payload={"amount": 5})
    execution_id = await api.trigger(workflow_id)
    assert (await api.item(workflow_id, execution_id))["workflow_input_payload"] == {}


async def test_an_archived_workflow_does_not_run_in_tests_either(api: Api) -> None:
    """Published or draft."""
    for status in ("published", "draft"):
        workflow_id = await api.workflow(ENDING, status=status)
        await api.ok("DELETE", f"/v1/workflows/{workflow_id}")
        response = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", params={"test": "true"})
        assert response.status_code == 409


async def test_a_refused_change_makes_no_version(api: Api) -> None:
    """Neither a definition that is not valid, with all its problems, nor a draft of what is published."""
    workflow_id = await api.workflow(ENDING)
    url, position = f"/v1/workflows/{workflow_id}", len(api.store._log)
    broken = {"StartAt": "Nowhere", "States": {"A": {"Type": "Pass", "Next": "B"}, "C": {"Type": "Nothing"}}}
    response = await api.send("PATCH", url, json={"definition": broken, "name": "other"})
    assert response.status_code == 400
    paths = {error["path"] for error in response.json()["error"]["details"]["errors"]}
    assert {"/StartAt", "/States/A/Next", "/States/C/Type"} <= paths
    assert (await api.send("PATCH", url, json={"status": "draft", "name": "other"})).status_code == 409
    data = (await api.ok("GET", url))["data"]
    assert (data["version"], data["name"], len(api.store._log)) == (1, "invoice approval", position)


async def test_a_new_version_keeps_the_mock_payload(api: Api) -> None:
    """A changed definition makes the next version, with the mock payload of the version before."""
    workflow_id = await api.workflow(ENDING, mock_payload={"n": 1})
    await change(api, workflow_id, definition=WAITING)
    url = f"{PROCESS}/getWorkflowSchemaById?workflow_id={workflow_id}&workflow_version=2"
    assert (await api.ok("GET", url))["item"]["workflow_mock_payload"] == {"n": 1}
