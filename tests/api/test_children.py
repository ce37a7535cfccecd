"""Child executions in the API: parent and child name each other."""

from __future__ import annotations

from typing import Any

from perdure.engine.core import ids
from tests.api.conftest import PROCESS, WAITING, Api


def calling(workflow_id: str, pattern: str = ".sync:2") -> dict[str, Any]:
    """A definition that awaits a run of that workflow, in a branch of its own."""
    call = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::states:startExecution{pattern}",
        "Parameters": {"StateMachineArn": workflow_id, "Name": "CHILD"},
        "OutputPath": "$.Output",
        "End": True,
    }
    return {
        "StartAt": "Both",
        "States": {
            "Both": {"Type": "Parallel", "Branches": [{"StartAt": "Call", "States": {"Call": call}}], "End": True}
        },
    }


async def family(api: Api) -> tuple[str, str, str, str]:
    """A waiting child and the parent that awaits it: workflow and execution of each."""
    child = await api.workflow(WAITING)
    parent = await api.workflow(calling(child))
    execution_id = await api.trigger(parent)
    await api.settled()
    await api.settled()
    page = await api.ok("GET", f"{PROCESS}/getWorkflowExecutionHistory", params={"workflow_id": child})
    return parent, execution_id, child, str(page["items"][0]["workflow_execution_id"])


async def test_parent_and_child_name_each_other(api: Api) -> None:
    """A child shows its parent wherever it is shown, and the parent's log the child; what is no child shows none."""
    parent, execution_id, child, child_id = await family(api)
    assert (await api.item(child, child_id))["parent_execution_id"] == execution_id
    assert "parent_execution_id" not in await api.item(parent, execution_id)
    page = await api.ok("GET", f"{PROCESS}/getOrganizationExecutions")
    shown = {item["workflow_execution_id"]: item.get("parent_execution_id") for item in page["items"]}
    assert shown == {child_id: execution_id, execution_id: None}
    log = (await api.item(parent, execution_id))["workflow_event_log"]["events"]
    assert [event["child"] for event in log if "child" in event] == [child_id]
    began = (await api.item(child, child_id))["workflow_event_log"]["events"][0]
    assert (began["actor"], began["parent"]["execution"]) == (f"execution:{execution_id}", execution_id)


async def test_a_child_that_is_not_awaited_names_its_parent_too(api: Api) -> None:
    """In the history and by itself, however its parent has gone on."""
    child = await api.workflow(WAITING)
    execution_id = await api.trigger(await api.workflow(calling(child, "")))
    await api.settled()
    await api.settled()
    page = await api.ok("GET", f"{PROCESS}/getWorkflowExecutionHistory", params={"workflow_id": child})
    (shown,) = page["items"]
    item = await api.item(child, shown["workflow_execution_id"])
    assert [shown["parent_execution_id"], item["parent_execution_id"]] == [execution_id] * 2


async def test_a_child_is_a_run_like_any_other(api: Api) -> None:
    """It has a process id and a trigger type of the process API, and is resumed by it; then its parent goes on."""
    parent, execution_id, child, child_id = await family(api)
    item = await api.item(child, child_id)
    assert (item["process_id"], item["workflow_trigger_type"], item["status"]) == ("CHILD", "REQUEST", "waiting")
    assert (await api.item(parent, execution_id))["status"] == "running"
    await api.resume("CHILD")
    await api.settled()
    await api.settled()
    done = await api.item(parent, execution_id)
    assert (done["status"], done["workflow_output_payload"][0]["answer"]["source"]) == ("completed", "SAP")


async def test_terminating_the_parent_ends_the_child(api: Api) -> None:
    """In its name, as the child's item says."""
    _, execution_id, child, child_id = await family(api)
    await api.terminate(execution_id)
    await api.settled()
    await api.settled()
    item = await api.item(child, child_id)
    assert (item["status"], item["modified_by"]) == ("terminated", f"execution:{execution_id}")
    assert (await api.terminate("CHILD")).json() == {"message": "already terminated"}


async def test_a_step_that_nobody_serves_is_found_however_deep(api: Api) -> None:
    """Creating a workflow names each place, in branches and iterations too, and what this engine cannot do yet."""

    def nested(name: str) -> dict[str, Any]:
        return {"StartAt": name, "States": {name: {"Type": "Task", "Resource": "nobody", "End": True}}}

    definition = {
        "StartAt": "P",
        "States": {
            "P": {"Type": "Parallel", "Branches": [nested("A")], "Next": "M"},
            "M": {"Type": "Map", "ItemProcessor": nested("B"), "Next": "D"},
            "D": {
                "Type": "Map",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    **nested("C"),
                },
                "End": True,
            },
        },
    }
    response = await api.post("/v1/workflows", json={"name": "n", "definition": definition})
    assert response.status_code == 400
    paths = [error["path"] for error in response.json()["error"]["details"]["errors"]]
    assert sorted(paths) == [
        "/States/D",
        "/States/D/ItemProcessor/States/C/Resource",
        "/States/M/ItemProcessor/States/B/Resource",
        "/States/P/Branches/0/States/A/Resource",
    ]
    assert (await api.ok("GET", "/v1/workflows"))["meta"]["total"] == 0


async def test_a_child_of_nobody_known_is_created_and_fails_when_it_runs(api: Api) -> None:
    """A target may come later, so a definition may name one that is not there yet."""
    workflow_id = await api.workflow(calling(ids.text(bytes(16))))
    execution_id = await api.trigger(workflow_id)
    await api.settled()
    await api.settled()
    assert (await api.item(workflow_id, execution_id))["status"] == "failed"
