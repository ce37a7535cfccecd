"""Task tokens: one answer each, told to whoever holds one, and nothing to anybody else."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, Invalid, NotFound, WaitExpired
from tests.api.conftest import WAITING, WITH_TOKEN, Api

UNKNOWN = "01977420-0000-7000-8000-000000000000"
SECRET = "A" * 43


def code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def answer(api: Api, token: str, what: str = "success", body: Any = ..., **more: Any) -> httpx2.Response:
    """Send an answer; an output of its own unless told otherwise."""
    given = {"output": {"approved": True}} if body is ... and what == "success" else body
    content = {} if given is ... else {"json": given}
    return await api.post(f"/v1/tasks/{token}/{what}", **content, **more)


async def status(api: Api, execution_id: str) -> tuple[str, Any]:
    view = await api.engine.services.queries.execution(await api.engine._caller(), ids.parse(execution_id))
    return view.row.status, view.output


@pytest.mark.parametrize("output", [{"a": [1, None]}, None, [], "text", 7, False])
async def test_the_output_of_whoever_has_the_token_is_the_task_s(api: Api, output: Any) -> None:
    """Any JSON value, null too; the answer rests on the log."""
    execution_id, token = await api.token()
    response = await answer(api, token, body={"output": output})
    assert response.json() == {"success": True, "data": {"message": "completed"}}
    assert int(response.headers["x-log-position"]) == await api.store.position()
    assert await status(api, execution_id) == ("completed", output)


async def test_the_log_says_which_token_it_was_and_not_what_it_says(api: Api) -> None:
    """The actor is the token's wait; of the secret the log has only the digest, and what the task handed out."""
    execution_id, token = await api.token()
    wait, secret = token.split(".")
    await answer(api, token)
    recorded = await api.engine.services.queries.events(ids.parse(execution_id))
    assert [each.actor for each in recorded if type(each.event).__name__ == "WaitResumed"] == [f"token:{wait}"]
    keeping = [type(each.event).__name__ for each in recorded if secret in str(each.payload)]
    assert keeping == ["WaitOpened", "TaskSubmitted"]  # the parameters, and what the step gave back
    assert not [each for each in recorded if secret in str(each.event)]


async def test_a_failure_is_the_task_s(api: Api) -> None:
    """With an error that Catch can name and a cause; both may be left out. The answer says what follows."""
    task = {**WITH_TOKEN["States"]["Ask"], "Catch": [{"ErrorEquals": ["Approval.Refused"], "Next": "Refused"}]}
    definition = {"StartAt": "Ask", "States": {"Ask": task, "Refused": {"Type": "Succeed"}}}
    execution_id, token = await api.token(definition)
    response = await answer(api, token, "failure", {"error": "Approval.Refused", "cause": "no contract"})
    assert response.json()["data"] == {"message": "completed", "then": {"kind": "catch", "next": "Refused"}}
    assert await status(api, execution_id) == ("completed", {"Error": "Approval.Refused", "Cause": "no contract"})
    for body in (..., {}, {"error": None, "cause": None}):
        execution_id, token = await api.token()
        failed = await answer(api, token, "failure", body)
        assert failed.json()["data"] == {"message": "completed", "then": {"kind": "end"}}
        assert (await status(api, execution_id))[0] == "failed"


async def test_a_failure_that_is_tried_again_says_when(api: Api) -> None:
    """Also when it is repeated under its key: the first answer is kept whole."""
    retry = [{"ErrorEquals": ["Approval.Busy"], "IntervalSeconds": 90}]
    task = {**WITH_TOKEN["States"]["Ask"], "Retry": retry}
    _, token = await api.token({"StartAt": "Ask", "States": {"Ask": task}})
    for _ in range(2):
        response = await api.post(
            f"/v1/tasks/{token}/failure", json={"error": "Approval.Busy"}, headers={"Idempotency-Key": "busy"}
        )
        then = {"kind": "retry", "retry_at": "2025-06-15T15:08:10.000Z"}
        assert response.json()["data"] == {"message": "completed", "then": then}


async def test_heartbeats_keep_a_task_alive(api: Api) -> None:
    """Each gives it its time again; without one it ends, and then the token is worth nothing."""
    execution_id, token = await api.token()
    for _ in range(3):
        await api.push(599_000)
        response = await answer(api, token, "heartbeat")
        assert response.json() == {"success": True, "data": {"message": "alive"}}
        assert "x-log-position" in response.headers
    await api.push(600_000)
    assert (await status(api, execution_id))[0] == "failed"
    for what in ("heartbeat", "success", "failure"):
        response = await answer(api, token, what)
        assert code(response) == (409, "WAIT_EXPIRED")
        assert "x-log-position" in response.headers


async def test_of_64_answers_one_wins(api: Api) -> None:
    """One is told `completed`, the others that the token is used, and the log has one end of the wait."""
    execution_id, token = await api.token()
    responses = await asyncio.gather(*(answer(api, token, body={"output": n}) for n in range(64)))
    won = [n for n, response in enumerate(responses) if response.status_code == 200]
    assert len(won) == 1
    assert {code(response) for n, response in enumerate(responses) if n not in won} == {(409, "CONFLICT")}
    assert all("x-log-position" in response.headers for response in responses)
    assert (await api.events(execution_id)).count("WaitResumed") == 1
    assert await status(api, execution_id) == ("completed", won[0])


async def test_a_used_token_is_a_conflict(api: Api) -> None:
    """Whatever it was used for, and whatever it is used for again."""
    _, token = await api.token()
    await answer(api, token)
    for what in ("success", "failure", "heartbeat"):
        assert code(await answer(api, token, what)) == (409, "CONFLICT")


async def test_a_token_that_failed_its_task_is_used_too(api: Api) -> None:
    """Nothing more comes of it, whether or not its run goes on."""
    execution_id, token = await api.token()
    await answer(api, token, "failure")
    assert (await answer(api, token)).status_code == 409
    assert (await status(api, execution_id))[0] == "failed"


async def test_the_token_of_a_terminated_run_is_refused(api: Api) -> None:
    """Terminal is final."""
    execution_id, token = await api.token()
    await api.terminate(execution_id)
    assert code(await answer(api, token)) == (409, "CONFLICT")


async def test_a_retry_hands_out_another_token(api: Api) -> None:
    """The first attempt's token never answers the second one."""
    task = {**WITH_TOKEN["States"]["Ask"], "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]}
    execution_id, first = await api.token({"StartAt": "Ask", "States": {"Ask": task}})
    await answer(api, first, "failure", {"error": "Later"})
    await api.push(1000)
    second = await api.token_of(execution_id)
    assert second != first
    assert (await answer(api, first)).status_code == 409
    assert (await answer(api, second)).status_code == 200
    assert (await status(api, execution_id))[0] == "completed"


async def forged(api: Api, token: str, name: str) -> str:
    """Something that is not a token, though it looks like one."""
    wait, secret = token.split(".")
    if name == "of a bare wait":
        execution_id = await api.trigger(await api.workflow(WAITING))
        waits = await api.ok("GET", "/v1/waits", params={"process_id": execution_id})
        wait = str(waits["data"][0]["wait_id"])
    return {
        "another secret": f"{wait}.{SECRET}",
        "an unknown wait": f"{UNKNOWN}.{secret}",
        "of a bare wait": f"{wait}.{secret}",
        "a wait alone": wait,
        "longer": f"{token}A",
        "shorter": token[:-1],
        "in capitals": token.upper(),
        "nonsense": "nonsense",
        "no text": "%00",
        "a slash": "a%2Fb.c",
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "another secret",
        "an unknown wait",
        "of a bare wait",
        "a wait alone",
        "longer",
        "shorter",
        "in capitals",
        "nonsense",
        "no text",
        "a slash",
    ],
)
async def test_what_is_no_token_of_ours_tells_nothing(api: Api, name: str) -> None:
    """404 in the same words whatever is wrong, and nothing is recorded."""
    execution_id, token = await api.token()
    false = await forged(api, token, name)
    before = len(api.store._log)
    for what in ("success", "failure", "heartbeat"):
        response = await answer(api, false, what)
        assert code(response) == (404, "NOT_FOUND")
        assert response.json()["error"] == {"code": "NOT_FOUND", "message": "there is no such task"}
        assert int(response.headers["x-log-position"]) == await api.store.position()
    assert len(api.store._log) == before
    assert (await status(api, execution_id))[0] == "waiting"


async def test_another_workspace_s_token_is_none(api: Api) -> None:
    """The key says where a token may be used, and the scope whether; the right one still works afterwards."""
    _, token = await api.token()
    elsewhere = await api.new_key("runs.resume", workspace="other")
    weak = await api.new_key("runs.view")
    assert code(await answer(api, token, key=elsewhere)) == (404, "NOT_FOUND")
    assert code(await answer(api, token, key=weak)) == (403, "FORBIDDEN")
    assert code(await answer(api, token, key=None)) == (401, "UNAUTHORIZED")
    assert (await answer(api, token)).status_code == 200


async def test_a_repeated_answer_under_its_key_gets_the_first_one(api: Api) -> None:
    """The winner is told so again; the same key with another answer is a conflict."""
    execution_id, token = await api.token()
    headers = {"Idempotency-Key": "a-1"}
    responses = await asyncio.gather(*(answer(api, token, headers=headers) for _ in range(16)))
    assert [response.json()["data"] for response in responses] == [{"message": "completed"}] * 16
    assert all("x-log-position" in response.headers for response in responses)
    assert (await api.events(execution_id)).count("WaitResumed") == 1
    assert code(await answer(api, token, body={"output": 2}, headers=headers)) == (409, "CONFLICT")
    assert code(await answer(api, token, "failure", headers=headers)) == (409, "CONFLICT")
    elsewhere = await api.new_key("runs.resume", workspace="other")
    assert code(await answer(api, token, headers=headers, key=elsewhere)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("success", {}, "output"),
        ("success", {"output": 1, "outptu": 2}, "outptu"),
        ("failure", {"error": "x" * 257}, "error"),
        ("failure", {"error": 7}, "error"),
        ("failure", {"cause": "x" * 32_769}, "cause"),
        ("failure", {"reason": "x"}, "reason"),
        ("heartbeat", {"alive": True}, "alive"),
    ],
)
async def test_a_wrong_answer_is_refused_by_the_name_of_its_field(api: Api, what: str, body: Any, field: str) -> None:
    """400, and the task goes on waiting."""
    execution_id, token = await api.token()
    response = await answer(api, token, what, body)
    assert code(response) == (400, "VALIDATION_ERROR")
    assert response.json()["error"]["details"]["field"] == field
    assert "x-log-position" in response.headers
    assert (await status(api, execution_id))[0] == "waiting"


async def test_what_just_fits_is_accepted(api: Api) -> None:
    """An error of 256 and a cause of 32,768 characters, of more than one byte each."""
    _, token = await api.token()
    assert (await answer(api, token, "failure", {"error": "ü" * 256, "cause": "ü" * 32_768})).status_code == 200


async def test_a_token_works_after_a_restart(api: Api) -> None:
    """What it opens is on disk."""
    execution_id, token = await api.token()
    await api.engine.node.drain(0)
    again = await Engine.start(api.store, clock=api.clock)
    await again.complete_task(token, "after")
    assert await status(api, execution_id) == ("completed", "after")
    await again.node.drain(0)


async def test_open_waits_show_until_when(api: Api) -> None:
    """A wait with a limit has `due_at`, which heartbeats move; one without has null."""
    execution_id, token = await api.token()
    bare = await api.trigger(await api.workflow())

    async def due(process_id: str) -> Any:
        return (await api.ok("GET", "/v1/waits", params={"process_id": process_id}))["data"][0]["due_at"]

    assert (await due(bare), await due(execution_id)) == (None, "2025-06-15T15:16:40.000Z")
    await api.push(60_000)
    await answer(api, token, "heartbeat")
    assert await due(execution_id) == "2025-06-15T15:17:40.000Z"


# --- embedded ----------------------------------------------------------------------------------------------------


async def embedded(api: Api) -> tuple[str, str]:
    """The same without HTTP: a run in the embedded engine's own workspace, and its token."""
    workflow = await api.engine.create_workflow("ask", WITH_TOKEN)
    execution = await api.engine.trigger(workflow.id)
    await api.settled()
    return execution.id, await api.token_of(execution.id)


async def test_the_embedded_engine_answers_too(api: Api) -> None:
    """The same rules, with exceptions for refusals."""
    engine = api.engine
    execution_id, token = await embedded(api)
    await engine.heartbeat(token)
    with pytest.raises(Invalid):
        await engine.complete_task(token, {"a", "set"})
    with pytest.raises(Invalid):
        await engine.fail_task(token, "x" * 257)
    for _ in range(2):
        await engine.complete_task(token, (1, 2), idempotency_key="c-1")
    assert (await engine.result(execution_id)).output == [1, 2]
    with pytest.raises(Conflict):
        await engine.fail_task(token, "Late")
    for false in (f"{token}A", "", "\ud800", f"{token.split('.')[0]}.\ud800"):
        with pytest.raises(NotFound) as refused:
            await engine.heartbeat(false)
        assert refused.value.position is not None


async def test_the_embedded_engine_fails_a_task(api: Api) -> None:
    """And is told when its task is over."""
    execution_id, token = await embedded(api)
    await api.engine.fail_task(token, "Paper.Jam", "wet")
    result = await api.engine.result(execution_id)
    assert (result.status, result.error, result.cause) == ("failed", "Paper.Jam", "wet")
    _, late = await embedded(api)
    await api.push(600_000)
    with pytest.raises(WaitExpired):
        await api.engine.complete_task(late, 1)
