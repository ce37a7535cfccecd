"""Runs as the process API shows them: all of its fields, both logs, and their bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from perdure.engine.steps import Registry, StepFailed
from tests.api.conftest import ENDING, PROCESS, WAITING, Api, Start, eventually

CONTRACT = (Path(__file__).parents[2] / "api" / "CONTRACT.md").read_text(encoding="utf-8")
UNKNOWN = "01977420-0000-7000-8000-000000000000"
SEED_ITEM = {
    *("workflow_current_state", "organization_id", "workspace_id", "workflow_execution_id", "workflow_id"),
    *("workflow_version", "modified_by", "created_on", "workflow_trigger_type", "workflow_input_payload"),
    *("workflow_output_payload", "workflow_event_log", "condensed_logs", "workflow_details"),
}
SEED_LISTED = {
    *("workflow_id", "workflow_current_state", "modified_on", "organization_id", "workflow_execution_id"),
    *("modified_by", "workflow_version", "workflow_event_log", "workflow_trigger_type", "workspace_id"),
    *("created_on", "workflow_details"),
}

LOOP: dict[str, Any] = {
    "StartAt": "Count",
    "States": {
        "Count": {"Type": "Task", "Resource": "count", "Next": "Enough"},
        "Enough": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.n", "NumericLessThan": 600, "Next": "Count"}],
            "Default": "Done",
        },
        "Done": {"Type": "Succeed"},
    },
}


async def test_a_run_is_shown_with_all_fields_of_the_seed(api: Api) -> None:
    """And with process id, status and times, in milliseconds."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id, {"process_id": "INV-7", "amount": 120})
    await api.push(5_000)
    await api.resume("INV-7")
    item = await api.item(workflow_id, execution_id)
    assert set(item) == SEED_ITEM | {"modified_on", "process_id", "status"}
    assert item["workflow_id"] == workflow_id
    assert item["workflow_execution_id"] == execution_id
    assert item["process_id"] == "INV-7"
    assert item["status"] == "completed"
    assert item["workflow_current_state"] == "Done"
    assert item["modified_on"] - item["created_on"] == 5_000
    assert item["modified_by"].startswith("key:")


async def test_a_run_that_went_on_by_itself_ended_later_than_it_was_modified(api: Api) -> None:
    """As the contract and the document say; the last event tells when that was."""
    pausing = {"StartAt": "Pause", "States": {"Pause": {"Type": "Wait", "Seconds": 5, "End": True}}}
    workflow_id = await api.workflow(pausing)
    execution_id = await api.trigger(workflow_id)
    await api.push(5_000)
    item = await api.item(workflow_id, execution_id)
    assert (item["status"], item["modified_on"]) == ("completed", item["created_on"])
    assert item["workflow_event_log"]["events"][-1]["at"] - item["modified_on"] == 5_000
    described = (await api.get("/openapi.json", key=None)).json()["components"]["schemas"]["RunItem"]["description"]
    assert "`modified_on`" in described
    assert "## Who changed a run last" in CONTRACT


async def test_a_live_run_shows_the_output_of_the_last_state_left(api: Api) -> None:
    """Or null before any was left."""
    definition = {
        "StartAt": "Set",
        "States": {"Set": {"Type": "Pass", "Result": {"ready": True}, "Next": "Ask"}, **WAITING["States"]},
    }
    passed, waiting = await api.workflow(definition), await api.workflow()
    item = await api.item(passed, await api.trigger(passed))
    assert item["workflow_output_payload"] == {"ready": True}
    item = await api.item(waiting, await api.trigger(waiting))
    assert item["workflow_output_payload"] is None


async def test_the_event_log_has_every_event_in_order(api: Api) -> None:
    """Each with seq, type, time and actor, and the state that it is about."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id)
    await api.resume(execution_id)
    log = (await api.item(workflow_id, execution_id))["workflow_event_log"]
    assert (log["count"], log["truncated"]) == (5, False)
    assert [event["seq"] for event in log["events"]] == [1, 2, 3, 4, 5]
    assert [event["type"] for event in log["events"]] == await api.events(execution_id)
    assert log["events"][1]["state"] == "Ask"
    assert all({"at", "actor"} <= set(event) for event in log["events"])


async def test_the_condensed_logs_have_a_step_for_each_entry_of_a_state(api: Api) -> None:
    """With input and output, and when it was entered and left."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id, {"a": 1})
    await api.push(1_000)
    await api.resume(execution_id)
    logs = (await api.item(workflow_id, execution_id))["condensed_logs"]
    assert (logs["count"], logs["truncated"]) == (2, False)
    asked, done = logs["steps"]
    assert (asked["state"], done["state"]) == ("Ask", "Done")
    assert asked["exited_on"] - asked["entered_on"] == 1_000
    assert asked["input"] == {"a": 1}
    assert asked["output"] == done["input"] == done["output"]


async def test_a_failed_step_shows_its_error(start: Start) -> None:
    """In the condensed logs; the run's status is `failed`, and its output null."""
    registry = Registry()

    @registry.step("fail")
    async def fail(_value: Any) -> Any:
        raise StepFailed("Billing.Declined", "no money")

    api = await start(steps=registry)
    workflow_id = await api.workflow(
        {"StartAt": "F", "States": {"F": {"Type": "Task", "Resource": "fail", "End": True}}}
    )
    execution_id = await api.trigger(workflow_id)
    await api.engine.result(execution_id)
    item = await api.item(workflow_id, execution_id)
    assert (item["status"], item["workflow_output_payload"]) == ("failed", None)
    step = item["condensed_logs"]["steps"][0]
    assert (step["error"], step["attempts"]) == ("Billing.Declined", 1)


async def test_long_payloads_are_cut_in_the_logs_only(api: Api) -> None:
    """Above 1,024 bytes a log shows the beginning, and says so; the run's own input stays whole."""
    workflow_id = await api.workflow(ENDING)
    run_input = {"text": "ü" * 2_000}
    item = await api.item(workflow_id, await api.trigger(workflow_id, run_input))
    assert item["workflow_input_payload"] == run_input
    shown = item["workflow_event_log"]["events"][0]["input"]
    assert shown["truncated"] is True
    assert len(shown["preview"].encode()) <= 1_024
    assert item["condensed_logs"]["steps"][0]["input"]["truncated"] is True


async def test_of_a_long_log_the_first_and_last_events_are_shown(start: Start) -> None:
    """Above 1,000 events 500 from each end, marked; and the condensed logs within the same bounds."""
    registry = Registry()

    @registry.step("count")
    async def count(value: Any) -> Any:
        return {"n": value.get("n", 0) + 1}

    api = await start(steps=registry)
    workflow_id = await api.workflow(LOOP)
    execution_id = await api.trigger(workflow_id)
    await api.engine.result(execution_id)
    item = await api.item(workflow_id, execution_id)
    log = item["workflow_event_log"]
    assert log["truncated"] is True
    assert log["count"] == len(await api.events(execution_id)) > 1_000
    seqs = [event["seq"] for event in log["events"]]
    assert seqs == [*range(1, 501), *range(log["count"] - 499, log["count"] + 1)]
    assert item["condensed_logs"]["truncated"] is True
    assert len(item["condensed_logs"]["steps"]) <= 1_000


async def test_a_workflow_is_shown_with_its_run(api: Api) -> None:
    """Its name, its steps with their own fields, and the connections between them."""
    workflow_id = await api.workflow()
    details = (await api.item(workflow_id, await api.trigger(workflow_id)))["workflow_details"]
    assert details["workflow_name"] == "invoice approval"
    assert details["workflow_steps"][1] == {"name": "Done", "type": "Succeed"}
    assert details["workflow_connections"] == [{"from": "Ask", "to": "Done", "kind": "next"}]


async def test_a_run_belongs_to_its_workflow(api: Api) -> None:
    """A run of another workflow, or none, is 404; a missing or malformed id 400."""
    mine, other = await api.workflow(), await api.workflow()
    execution_id = await api.trigger(mine)
    for query, status in (
        ({"workflow_id": other, "workflow_execution_id": execution_id}, 404),
        ({"workflow_id": mine, "workflow_execution_id": UNKNOWN}, 404),
        ({"workflow_id": UNKNOWN, "workflow_execution_id": execution_id}, 404),
        ({"workflow_id": mine}, 400),
        ({"workflow_execution_id": execution_id}, 400),
        ({"workflow_id": "x", "workflow_execution_id": execution_id}, 400),
    ):
        response = await api.get(f"{PROCESS}/getWorkflowExecutionById", params=query)
        assert response.status_code == status, query


@pytest.mark.parametrize("path", ["getWorkflowExecutionHistory?workflow_id=ID", "getOrganizationExecutions?"])
async def test_a_listed_run_has_the_fields_of_the_seed(api: Api, path: str) -> None:
    """With the last 10 events and the workflow's name; no payload but those in the log."""
    workflow_id = await api.workflow()
    for number in range(12):
        await api.trigger(workflow_id, {"process_id": f"P{number}"})
    for _ in range(12):
        await api.resume("P11?state=Nowhere")
    page = await api.ok("GET", f"{PROCESS}/{path.replace('ID', workflow_id)}")
    assert set(page) == {"message", "count", "items"}
    assert (page["message"], page["count"]) == ("success", 12)
    newest = page["items"][0]
    assert set(newest) == SEED_LISTED | {"process_id", "status"}
    assert newest["process_id"] == "P11"
    assert newest["workflow_details"] == {"workflow_name": "invoice approval"}
    log = newest["workflow_event_log"]
    assert (log["count"], log["truncated"], len(log["events"])) == (14, True, 10)
    assert log["events"][-1]["seq"] == 14


async def test_slow_expressions_of_one_workspace_hold_up_no_other(api: Api) -> None:
    """They are decided in one thread, in turns: before another's come the one that runs, and one that is next."""
    pattern = '{% $match("' + "a" * 40 + 'b", /^(a+)+$/) %}'
    slow = {
        "StartAt": "Compute",
        "States": {"Compute": {"Type": "Pass", "QueryLanguage": "JSONata", "Output": pattern, "End": True}},
    }
    other = await api.new_key("workflows.manage", "workflows.run", organization="B")
    mine, theirs = await api.workflow(slow), await api.workflow(slow, key=other)
    ended: list[str] = []

    async def run(workflow_id: str, name: str, **key: str) -> None:
        response = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", json={}, **key)
        assert response.status_code == 200
        ended.append(name)

    many = [asyncio.ensure_future(run(mine, "mine")) for _ in range(5)]
    await eventually(lambda: api.engine.node.processor._deferred.waiting == 5)
    await asyncio.gather(run(theirs, "theirs", key=other), *many)
    assert ended.index("theirs") <= 2
