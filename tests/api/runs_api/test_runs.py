"""Runs of the runs API: started, read step by step, waited for, answered, cancelled and retried."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pytest

from perdure.engine.steps import Registry, StepContext, StepFailed
from tests.api.conftest import KEY, PROCESS, WAITING, Start
from tests.api.runs_api.conftest import ASK, LOG, RunsApi

TWO: Final = {**ASK, "config": {**ASK["config"], "required": 2}}


def failing(times: int) -> Registry:
    """Steps of which `charge` fails so many times in each run."""
    registry = Registry()

    @registry.step("charge")
    async def charge(value: Any, context: StepContext) -> Any:
        """Charge somebody."""
        if context.attempt < times:
            raise StepFailed("Card", f"attempt {context.attempt} is declined")
        return {"charged": value}

    return registry


def step(**more: Any) -> dict[str, Any]:
    return {"id": "charge", "type": "action", "action": "charge", "config": {"amount": "{{ input.amount }}"}, **more}


@pytest.fixture
async def declined(start: Start) -> RunsApi:
    """The runs API where cards are declined twice."""
    return RunsApi(await start(steps=failing(2)))


async def waiting(runs: RunsApi, *steps: Mapping[str, Any], **more: Any) -> tuple[str, str]:
    """A run that asks for an approval, and the id of that."""
    run_id = await runs.run(await runs.workflow(*(steps or (LOG, ASK)), **more), {"name": "Al"})
    return run_id, (await runs.shown(run_id))["approvals"][0]["id"]


async def answer(runs: RunsApi, run_id: str, approval_id: str, decision: str = "approve", **more: Any) -> Any:
    found = await runs.ok("POST", f"runs/{run_id}/approvals/{approval_id}", {"decision": decision}, **more)
    await runs.api.settled()
    return found


# --- started -----------------------------------------------------------------------------------------------------


async def test_a_run_is_started_and_shown(runs: RunsApi) -> None:
    """201 with where it stands; then every field of it, by any spelling of its id."""
    workflow_id = await runs.workflow()
    started = await runs.send("POST", f"workflows/wf_{workflow_id}/run", {"input": {"name": "Al"}})
    assert started.status_code == 201
    run_id = started.json()["data"].pop("runId")
    assert run_id is not None
    expected = {"runId": run_id, "status": "pending", "workflowId": workflow_id, "workflowVersion": 1}
    assert started.json()["data"] == expected
    await runs.api.settled()
    found = await runs.shown(f"run_{run_id}")
    assert found == await runs.shown(run_id)
    (first,) = found.pop("steps")
    times = [found.pop(name) for name in ("startedAt", "completedAt", "createdAt")]
    assert len(set(times)) == 1
    assert times[0].endswith(".000Z")
    output = {"hello": "Al", "result": {"hello": "Al"}}
    assert found == {
        "id": run_id,
        "workflowId": workflow_id,
        "workflowVersion": 1,
        "status": "completed",
        "suspended": False,
        "waitingFor": [],
        "triggerType": "api",
        "input": {"name": "Al"},
        "output": output,
        "error": None,
        "approvals": [],
        "durationMs": 0,
    }
    assert (first["id"], first["type"], first["status"], first["attempts"]) == ("greet", "transform", "completed", 1)
    assert (first["input"], first["output"], len(first["attemptLog"])) == ({"name": "Al"}, output, 1)


async def test_a_repeated_run_is_the_first_one(runs: RunsApi) -> None:
    """By the key in the header, in the body, or in both; another request under it is 409, two keys are 400."""
    path = f"workflows/{await runs.workflow()}/run"
    header = {"Idempotency-Key": "k"}
    body = {"input": {"name": "Al"}}
    first = await runs.ok("POST", path, body, headers=header)
    for again, headers in (
        (body, header),
        ({**body, "idempotencyKey": "k"}, {}),
        ({**body, "idempotencyKey": "k"}, header),
    ):
        assert await runs.ok("POST", path, again, headers=headers) == first
    assert (await runs.refused(409, "POST", path, {"input": {}, "idempotencyKey": "k"}))["code"] == "CONFLICT"
    refused = await runs.refused(400, "POST", path, {**body, "idempotencyKey": "other"}, headers=header)
    assert refused["details"]["field"] == "idempotencyKey"
    assert (await runs.ok("POST", path, body))["runId"] != first["runId"]
    crowd = await asyncio.gather(*(runs.ok("POST", path, {**body, "idempotencyKey": "many"}) for _ in range(8)))
    assert len({each["runId"] for each in crowd}) == 1


async def test_a_workflow_is_made_once_under_a_key(runs: RunsApi) -> None:
    """And guarded by the tag that it was seen with."""
    body, header = {"name": "w", "steps": [LOG]}, {"Idempotency-Key": "k"}
    made = [(await runs.ok("POST", "workflows", body, headers=header))["id"] for _ in range(2)]
    assert made[0] == made[1]
    path = f"workflows/{made[0]}"
    seen = (await runs.send("GET", path)).headers["etag"]
    await runs.ok("PATCH", path, {"name": "theirs"}, headers={"If-Match": seen})
    for method, change in (("PATCH", {"name": "mine"}), ("PUT", {**body, "name": "mine"}), ("DELETE", None)):
        refused = await runs.refused(412, method, path, change, headers={"If-Match": seen})
        assert refused["code"] == "PRECONDITION_FAILED"
    assert (await runs.ok("GET", path))["name"] == "theirs"


async def test_an_input_fits_the_schema_or_nothing_runs(runs: RunsApi) -> None:
    """Every problem is told with its place; a retry with another input is held to it too."""
    properties = {"name": {"type": "string"}, "amount": {"type": "number"}}
    schema = {"type": "object", "required": ["name"], "properties": properties}
    workflow_id = await runs.workflow(inputSchema=schema)
    refused = await runs.refused(400, "POST", f"workflows/{workflow_id}/run", {"input": {"name": 7, "amount": "x"}})
    assert {each["path"] for each in refused["details"]["errors"]} == {"/name", "/amount"}
    assert (await runs.whole("GET", "runs"))["data"] == []
    run_id = await runs.run(workflow_id, {"name": "Al"})
    assert "errors" in (await runs.refused(400, "POST", f"runs/{run_id}/retry", {"input": {}}))["details"]


async def test_an_output_that_does_not_fit_fails_the_run(runs: RunsApi) -> None:
    """The error says so, and there is no output."""
    schema = {"type": "object", "required": ["total"]}
    found = await runs.done(LOG, outputSchema=schema, run_input={"name": "Al"})
    assert (found["status"], found["output"]) == ("failed", None)
    assert "total" in found["error"]["message"]


async def test_a_draft_s_test_has_the_mock_payload(runs: RunsApi) -> None:
    """If no input is given, be there a body or not."""
    workflow_id = await runs.api.workflow(WAITING, status="draft", mock_payload={"a": 1})
    for body in (None, {}, {"idempotencyKey": "k"}):
        started = await runs.ok("POST", f"workflows/{workflow_id}/run?test=true", body)
        assert (await runs.shown(started["runId"]))["input"] == {"a": 1}
    started = await runs.ok("POST", f"workflows/{workflow_id}/run?test=true", {"input": {"b": 2}})
    assert (await runs.shown(started["runId"]))["input"] == {"b": 2}


# --- statuses ----------------------------------------------------------------------------------------------------


async def test_runs_go_one_by_one(runs: RunsApi) -> None:
    """With a limit of 1: who queues is pending, with its place; it has started when it had its turn."""
    rest = {"id": "rest", "type": "wait", "config": {"duration": 60_000}}
    workflow_id = await runs.workflow(rest, settings={"concurrencyLimit": 1})
    first, second, third = [await runs.run(workflow_id) for _ in range(3)]
    assert (await runs.shown(first))["status"] == "running"
    for run_id, place in ((second, 1), (third, 2)):
        queued = await runs.shown(run_id)
        assert (queued["status"], queued["queuePosition"], queued["startedAt"]) == ("pending", place, None)
        assert queued["steps"][0]["status"] == "pending"
    assert (await runs.ok("POST", f"runs/{third}/cancel"))["status"] == "cancelled"
    cancelled = await runs.shown(third)
    assert (cancelled["status"], cancelled["startedAt"], cancelled["durationMs"]) == ("cancelled", None, 0)
    await runs.api.push(60_000)
    begun = await runs.shown(second)
    assert (await runs.shown(first))["durationMs"] == 60_000
    assert (begun["status"], begun["createdAt"] < begun["startedAt"]) == ("running", True)
    assert "queuePosition" not in begun
    await runs.api.push(60_000)
    assert (await runs.shown(second))["durationMs"] == 60_000


async def test_a_run_that_takes_too_long_is_timed_out(runs: RunsApi) -> None:
    """It says so in its status and its error."""
    rest = {"id": "rest", "type": "wait", "config": {"duration": 60_000}}
    run_id = await runs.run(await runs.workflow(rest, settings={"timeoutMs": 5_000}))
    await runs.api.push(5_000)
    found = await runs.shown(run_id)
    assert (found["status"], found["durationMs"], found["output"]) == ("timed_out", 5_000, None)
    assert found["error"]["code"]
    assert found["steps"][0]["status"] == "failed"


async def test_errors_are_handled_as_a_step_says(declined: RunsApi) -> None:
    """Fail, continue with the error as output, retry until it is used up, or a fallback."""
    found = await declined.done(step())
    assert (found["status"], found["error"]["step"], found["error"]["code"]) == ("failed", "charge", "Card")
    found = await declined.done(step(errorHandling="continue"), LOG)
    assert (found["status"], [each["status"] for each in found["steps"]]) == ("completed", ["failed", "completed"])
    assert found["steps"][0]["output"]["error"]["code"] == "Card"
    found = await declined.done(step(errorHandling={"strategy": "continue", "fallback": {"free": True}}))
    assert found["output"] == {"free": True}
    run_id = await declined.run(await declined.workflow(step(errorHandling="retry")), {"amount": 7})
    retrying = await declined.shown(run_id)
    assert (retrying["status"], retrying["steps"][0]["status"]) == ("running", "retrying")
    await declined.api.push(1_000)
    assert (await declined.shown(run_id))["steps"][0]["attempts"] == 2
    await declined.api.push(2_000)
    found = await declined.shown(run_id)
    assert (found["status"], found["output"], found["durationMs"]) == ("completed", {"charged": {"amount": 7}}, 3_000)
    assert ["error" in each for each in found["steps"][0]["attemptLog"]] == [True, True, False]
    run_id = await declined.run(
        await declined.workflow(step(errorHandling="retry", retryConfig={"maxAttempts": 2, "backoffMs": 10}))
    )
    await declined.api.push(10)
    found = await declined.shown(run_id)
    assert (found["status"], found["steps"][0]["attempts"], found["error"]["step"]) == ("failed", 2, "charge")


async def test_loops_and_branches_have_their_steps_in_parts(runs: RunsApi) -> None:
    """Each iteration and each branch by its number; what no path led to is skipped."""
    inner = {"id": "each", "type": "transform", "config": {"n": "{{ item }}"}}
    loop = {"id": "loop", "type": "loop", "config": {"collection": "{{ input.list }}", "steps": [inner]}}
    branches = [[{**inner, "id": name, "config": {"n": name}}] for name in ("left", "right")]
    both = {"id": "both", "type": "parallel", "config": {"branches": branches}}
    test = {"conditions": {"left": "{{ input.list.0 }}", "operator": "gt", "right": 5}, "then": ["large"]}
    asked = {"id": "asked", "type": "condition", "config": test}
    large = {**inner, "id": "large", "config": {"n": 1}}
    found = await runs.done(loop, both, asked, large, LOG, run_input={"list": [1, 2], "name": "Al"})
    by_id = {each["id"]: each for each in found["steps"]}
    assert [(each["kind"], each["number"]) for each in by_id["loop"]["parts"]] == [("iteration", 0), ("iteration", 1)]
    assert [each["steps"][0]["output"]["n"] for each in by_id["loop"]["parts"]] == [1, 2]
    assert [each["steps"][0]["id"] for each in by_id["both"]["parts"]] == ["left", "right"]
    assert (by_id["large"]["status"], by_id["greet"]["status"]) == ("skipped", "completed")


# --- approvals ---------------------------------------------------------------------------------------------------


async def test_a_run_that_asks_is_suspended(runs: RunsApi) -> None:
    """It says for what it waits; an answer lets it go on, and is shown with who gave it."""
    run_id, approval_id = await waiting(runs)
    found = await runs.shown(run_id)
    assert (found["status"], found["suspended"], found["output"]) == ("running", True, None)
    (one,) = found["waitingFor"]
    assert (one["kind"], one["id"], one["stepId"], one["title"]) == ("approval", approval_id, "ask", "May Al?")
    assert one["dueAt"] == "2025-06-15T15:07:40.000Z"
    decided = await answer(runs, run_id, approval_id)
    assert (decided["status"], decided["answers"][0]["decision"]) == ("approved", "approve")
    found = await runs.shown(run_id)
    assert (found["status"], found["suspended"], found["waitingFor"]) == ("completed", False, [])
    assert (found["output"]["approved"], found["output"]["approvedBy"]) == (True, decided["answers"][0]["by"])
    again = await runs.refused(409, "POST", f"runs/{run_id}/approvals/{approval_id}", {"decision": "reject"})
    assert (again["code"], again["details"]["status"]) == ("CONFLICT", "approved")


async def test_two_people_approve(runs: RunsApi) -> None:
    """The same one does not count twice; one who rejects ends it."""
    run_id, approval_id = await waiting(runs, LOG, TWO)
    assert (await answer(runs, run_id, approval_id))["status"] == "pending"
    path = f"runs/{run_id}/approvals/{approval_id}"
    assert (await runs.refused(409, "POST", path, {"decision": "approve"}))["details"]["required"] == 2
    other = await runs.api.new_key("runs.view", "runs.resume")
    decided = await answer(runs, run_id, approval_id, key=other)
    assert (decided["status"], len({each["by"] for each in decided["answers"]})) == ("approved", 2)
    assert (await runs.shown(run_id))["status"] == "completed"
    run_id, approval_id = await waiting(runs, LOG, TWO)
    assert (await answer(runs, run_id, approval_id, "reject"))["status"] == "rejected"


async def test_of_answers_that_race_one_counts(runs: RunsApi) -> None:
    """The others are told that it is decided; a repetition under its key hears its first answer."""
    run_id, approval_id = await waiting(runs)
    path = f"runs/{run_id}/approvals/{approval_id}"
    decisions = ["approve", "reject"] * 4
    answers = await asyncio.gather(*(runs.send("POST", path, {"decision": each}) for each in decisions))
    assert sorted(each.status_code for each in answers) == [200] + [409] * 7
    await runs.api.settled()
    won = next(each for each, told in zip(decisions, answers, strict=True) if told.status_code == 200)
    (approval,) = (await runs.shown(run_id))["approvals"]
    assert [each["decision"] for each in approval["answers"]] == [won]
    run_id, approval_id = await waiting(runs)
    header = {"Idempotency-Key": "once"}
    first, second = [await answer(runs, run_id, approval_id, headers=header) for _ in range(2)]
    assert first == second


@pytest.mark.parametrize(("policy", "status"), [("reject", "completed"), ("fail", "failed")])
async def test_an_approval_that_nobody_answers_ends(runs: RunsApi, policy: str, status: str) -> None:
    """As it says: rejected, or the run fails; an answer after that is too late."""
    ask = {**ASK, "config": {**ASK["config"], "onTimeout": policy}}
    run_id, approval_id = await waiting(runs, ask)
    await runs.api.push(60_001)
    found = await runs.shown(run_id)
    assert (found["status"], found["approvals"][0]["status"]) == (status, "expired")
    if status == "completed":
        assert found["output"]["approved"] is False
    late = await runs.refused(409, "POST", f"runs/{run_id}/approvals/{approval_id}", {"decision": "approve"})
    assert late["code"] == "WAIT_EXPIRED"


async def test_an_approval_is_its_run_s(runs: RunsApi) -> None:
    """Of another run it is 404; a cancelled run takes no answer; a pause is told as what is waited for."""
    run_id, approval_id = await waiting(runs)
    other, _ = await waiting(runs)
    wrong = await runs.refused(404, "POST", f"runs/{other}/approvals/{approval_id}", {"decision": "approve"})
    assert wrong["code"] == "NOT_FOUND"
    await runs.api.ok("POST", f"/v1/executions/{other}/pause", json={"reason": "look"})
    kinds = {each["kind"] for each in (await runs.shown(other))["waitingFor"]}
    assert kinds == {"approval", "pause"}
    await runs.ok("POST", f"runs/{run_id}/cancel", {"reason": "r"})
    late = await runs.refused(409, "POST", f"runs/{run_id}/approvals/{approval_id}", {"decision": "approve"})
    assert late["code"] == "WAIT_EXPIRED"


# --- cancelled and retried ---------------------------------------------------------------------------------------


async def test_a_run_is_cancelled_once(runs: RunsApi) -> None:
    """With a reason; again it stays so, and one that ended otherwise is a conflict."""
    run_id, _ = await waiting(runs)
    for _ in range(2):
        assert await runs.ok("POST", f"runs/{run_id}/cancel", {"reason": "r"}) == {"id": run_id, "status": "cancelled"}
    found = await runs.shown(run_id)
    assert (found["status"], found["error"]["message"], found["suspended"]) == ("cancelled", "r", False)
    done = await runs.run(await runs.workflow())
    assert (await runs.refused(409, "POST", f"runs/{done}/cancel"))["details"]["status"] == "completed"
    assert (await runs.shown(done))["status"] == "completed"


async def test_a_failed_run_goes_on_where_it_failed(declined: RunsApi) -> None:
    """Itself, with all that it had done before; one that is completed has nothing left."""
    run_id = await declined.run(await declined.workflow(LOG, step()), {"name": "Al"})
    assert (await declined.shown(run_id))["status"] == "failed"
    retried = await declined.ok("POST", f"runs/{run_id}/retry", {"reason": "the card is good now"})
    assert retried == {"runId": run_id, "kind": "redrive", "retryOf": run_id}
    await declined.api.settled()
    found = await declined.shown(run_id)
    assert found["steps"][0]["attempts"] == 1
    assert found["steps"][1]["attempts"] == 2
    done = await declined.run(await declined.workflow(LOG))
    assert (await declined.refused(409, "POST", f"runs/{done}/retry"))["code"] == "CONFLICT"


async def test_a_run_is_begun_again_from_a_step_or_an_input(runs: RunsApi) -> None:
    """As another run, and this one stays; a step that is none is refused by the name that the field has here."""
    run_id, approval_id = await waiting(runs)
    await answer(runs, run_id, approval_id)
    before = await runs.shown(run_id)
    forked = await runs.ok("POST", f"runs/{run_id}/retry", {"fromStep": "ask"})
    again = await runs.ok("POST", f"runs/{run_id}/retry", {"fromStep": "greet"})
    other = await runs.ok("POST", f"runs/run_{run_id}/retry", {"input": {"name": "Bo"}})
    assert [each["kind"] for each in (forked, again, other)] == ["fork", "rerun", "rerun"]
    assert {each["retryOf"] for each in (forked, again, other)} == {run_id}
    await runs.api.settled()
    assert [each["status"] for each in (await runs.shown(forked["runId"]))["steps"]] == ["completed", "running"]
    assert (await runs.shown(other["runId"]))["waitingFor"][0]["title"] == "May Bo?"
    assert await runs.shown(run_id) == before
    for body, field in (
        ({"fromStep": "gret"}, "fromStep"),
        ({"fromStep": "ask", "input": {}}, "input"),
        ({"from_step": "ask"}, "from_step"),
    ):
        refused = await runs.refused(400, "POST", f"runs/{run_id}/retry", body)
        assert (refused["details"]["field"], refused["message"].split(":")[0]) == (field, field)
    assert "from_step" not in str(await runs.refused(400, "POST", f"runs/{run_id}/retry", {"fromStep": "gret"}))


async def test_a_retry_is_made_once_under_a_key(runs: RunsApi) -> None:
    """However often it is sent."""
    run_id, approval_id = await waiting(runs)
    await answer(runs, run_id, approval_id)
    header = {"Idempotency-Key": "k"}
    made = [await runs.ok("POST", f"runs/{run_id}/retry", {"fromStep": "ask"}, headers=header) for _ in range(2)]
    assert made[0]["runId"] == made[1]["runId"]


# --- lists -------------------------------------------------------------------------------------------------------


async def test_runs_are_found_by_this_api_s_words(runs: RunsApi) -> None:
    """Those of Perdure and `suspended` are taken too; several are separated by commas."""
    workflow_id = await runs.workflow()
    done = await runs.run(workflow_id)
    asking, _ = await waiting(runs)
    gone, _ = await waiting(runs)
    await runs.ok("POST", f"runs/{gone}/cancel")
    rest = {"id": "rest", "type": "wait", "config": {"duration": 60_000}}
    resting = await runs.run(await runs.workflow(rest))
    for words, ids in (
        ("completed", {done}),
        ("cancelled", {gone}),
        ("terminated", {gone}),
        ("suspended", {asking}),
        ("waiting", {asking}),
        ("running", {asking, resting}),
        ("completed,suspended", {done, asking}),
        ("timed_out,failed,pending", set()),
    ):
        assert {each["id"] for each in (await runs.whole("GET", f"runs?status={words}"))["data"]} == ids, words
    refused = await runs.refused(400, "GET", "runs?status=canceled")
    assert (refused["details"]["field"], "Did you mean 'cancelled'" in refused["message"]) == ("status", True)
    assert [each["id"] for each in (await runs.whole("GET", f"runs?workflowId=wf_{workflow_id}"))["data"]] == [done]
    for name in ("from", "to", "workflowId", "cursor", "limit"):
        refused = await runs.refused(400, "GET", f"runs?{name}=x")
        assert (refused["details"]["field"], refused["message"].split(":")[0]) == (name, name)


async def test_runs_are_found_by_when_they_began(runs: RunsApi) -> None:
    """From an instant to another, both among them."""
    workflow_id = await runs.workflow()
    made = []
    for _ in range(3):
        made.append(await runs.run(workflow_id))
        await runs.api.push(60_000)
    second = (await runs.shown(made[1]))["createdAt"]
    for query, ids in (
        (f"from={second}", made[1:]),
        (f"to={second}", made[:2]),
        (f"from={second}&to={second}", made[1:2]),
    ):
        found = [each["id"] for each in (await runs.whole("GET", f"runs?{query}"))["data"]]
        assert found == list(reversed(ids)), query


async def test_pages_have_each_run_once_while_runs_are_added(runs: RunsApi) -> None:
    """Up to the one that was there first; a cursor of other filters is refused."""
    workflow_id = await runs.workflow()
    made = [await runs.run(workflow_id) for _ in range(7)]
    seen, query = list[str](), "limit=2"
    while True:
        page = await runs.whole("GET", f"runs?{query}")
        seen += [each["id"] for each in page["data"]]
        await runs.run(workflow_id)
        assert page["meta"]["hasMore"] is (page["meta"]["cursor"] is not None)
        if not page["meta"]["hasMore"]:
            break
        query = f"limit=2&cursor={page['meta']['cursor']}"
    assert seen == list(reversed(made))
    first = await runs.whole("GET", "runs?limit=2")
    refused = await runs.refused(400, "GET", f"runs?status=failed&cursor={first['meta']['cursor']}")
    assert (refused["details"]["field"], refused["message"].split(":")[0]) == ("cursor", "cursor")


async def test_what_a_run_has_in_order_is_paged(runs: RunsApi) -> None:
    """Steps, log lines and events: the pages together are all of them."""
    run_id, approval_id = await waiting(runs)
    await answer(runs, run_id, approval_id)
    for what in ("steps", "logs", "events"):
        whole = (await runs.whole("GET", f"runs/{run_id}/{what}?limit=100"))["data"]
        seen, page = list[Any](), {"meta": {"cursor": "0", "hasMore": True}}
        while page["meta"]["hasMore"]:
            page = await runs.whole("GET", f"runs/{run_id}/{what}?limit=1&cursor={page['meta']['cursor']}")
            seen += page["data"]
        assert (seen, page["meta"]["cursor"]) == (whole, None)
        assert (await runs.refused(400, "GET", f"runs/{run_id}/{what}?cursor=x"))["details"]["field"] == "cursor"


async def test_a_run_that_another_api_started_is_the_same(runs: RunsApi) -> None:
    """With steps for its states; and what this one answers, that one sees."""
    workflow_id = await runs.api.workflow(WAITING)
    execution = await runs.api.trigger(workflow_id, {"process_id": "INV-7"})
    await runs.api.settled()
    found = await runs.shown(execution)
    assert (found["suspended"], found["waitingFor"][0]["kind"], found["steps"][0]["id"]) == (True, "wait", "Ask")
    await runs.ok("POST", f"runs/{execution}/cancel", {"reason": "r"})
    answer_there = await runs.api.get(
        f"{PROCESS}/getWorkflowExecutionById?workflow_id={workflow_id}&workflow_execution_id={execution}", key=KEY
    )
    assert answer_there.json()["item"]["status"] == "terminated"
