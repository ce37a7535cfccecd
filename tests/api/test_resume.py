"""Resuming: one winner, early and late answers, and calls that are held."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from perdure.api.settings import Settings
from tests.api.conftest import APPROVED, ENDING, PROCESS, SLEEPING, TWO_QUESTIONS, Api, Start

UNKNOWN = "01977420-0000-7000-8000-000000000000"


def code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_the_payload_becomes_the_output_of_the_state(api: Api) -> None:
    """All of the payload is kept, members that nobody declared too."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id, {"process_id": "A"})
    payload = {"source": "TEAMS", "deep": {"er": [1, None, "ü"]}}
    assert (await api.resume("A", {"payload": payload})).json() == {"message": "restarted"}
    item = await api.item(workflow_id, execution_id)
    assert item["status"] == "completed"
    assert item["workflow_output_payload"] == {"process_id": "A", "answer": payload}


async def test_of_64_resumes_one_wins(api: Api) -> None:
    """One is told `restarted`, 63 `already restarted`, and the log has one `WaitResumed`."""
    execution_id = await api.trigger(await api.workflow(), {"process_id": "A"})
    responses = await asyncio.gather(*(api.resume("A") for _ in range(64)))
    assert {response.status_code for response in responses} == {200}
    told = sorted(response.json()["message"] for response in responses)
    assert told == ["already restarted"] * 63 + ["restarted"]
    assert (await api.events(execution_id)).count("WaitResumed") == 1


async def test_the_execution_id_is_the_process_id_where_none_was_chosen(api: Api) -> None:
    """In any case of its letters."""
    execution_id = await api.trigger(await api.workflow())
    assert (await api.resume(execution_id.upper())).json() == {"message": "restarted"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "payload: it is missing"),
        ({"payload": {}}, "payload.source: it is missing"),
        ({"payload": {"source": "sap"}}, "payload.source: 'sap'"),
        ({"payload": {"source": None}}, "payload.source: null"),
        ({"payload": {"source": ["SAP"]}}, "payload.source: a list"),
        ({"payload": '{"source": "SAP"}'}, "payload: it is a JSON string"),
        ({"payload": None}, "payload: null"),
        ({"payload": [1]}, "payload: a list"),
        ({**APPROVED, "payloads": {}}, "payloads: there is no such field (did you mean payload?)"),
    ],
)
async def test_a_payload_must_be_an_object_with_a_source(api: Api, body: Any, says: str) -> None:
    """What is wrong is said in words, and nothing is recorded."""
    execution_id = await api.trigger(await api.workflow())
    before = await api.events(execution_id)
    response = await api.post(f"{PROCESS}/resumeWorkflow/{execution_id}", json=body)
    assert code(response) == (400, "VALIDATION_ERROR")
    assert response.json()["message"].startswith(says)
    assert await api.events(execution_id) == before


async def test_there_must_be_a_body(api: Api) -> None:
    """Without a body there is no payload."""
    response = await api.post(f"{PROCESS}/resumeWorkflow/A")
    assert code(response) == (400, "VALIDATION_ERROR")


async def test_an_unknown_process_is_404(api: Api) -> None:
    """A process id that nobody chose, and an execution id that nobody got."""
    for process_id in ("never", UNKNOWN):
        assert code(await api.resume(process_id)) == (404, "NOT_FOUND")


# --- early calls -------------------------------------------------------------------------------------------------


async def test_an_early_call_is_held_until_the_wait_opens(api: Api) -> None:
    """It ends the wait as soon as it opens, if that is within the time that it may be held."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    early = await api.held(execution_id, headers={"Prefer": "wait=30"})
    await api.push(30_000)
    assert code(await early) == (409, "NOT_WAITING")
    await api.push(1)
    held = await api.held(execution_id, headers={"Prefer": "wait=30"})
    await api.push(29_998)
    assert not held.done()
    await api.push(1)
    response = await held
    assert response.json() == {"message": "restarted"}
    assert response.headers["preference-applied"] == "wait=30"


@pytest.mark.parametrize("prefer", [None, "wait=31", "wait=-1", "wait=x", "wait", "respond-async", "wait=1.5", ";;"])
async def test_a_call_is_held_for_two_seconds_by_default(api: Api, prefer: str | None) -> None:
    """A preference that is none counts as none (RFC 7240); the refusal says when to come back, and where the run is."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    held = await api.held(execution_id, headers={} if prefer is None else {"Prefer": prefer})
    await api.push(1_999)
    assert not held.done()
    await api.push(1)
    response = await held
    assert code(response) == (409, "NOT_WAITING")
    assert response.json()["error"]["details"] == {"status": "running", "state": "Sleep"}
    assert int(response.headers["retry-after"]) >= 1
    assert "preference-applied" not in response.headers


@pytest.mark.parametrize(
    "prefer", ["wait=0", "respond-async, wait=0", 'WAIT="0"', "wait = 0; x=1", "foo, wait=0, wait=9"]
)
async def test_a_call_need_not_be_held(api: Api, prefer: str) -> None:
    """With `wait=0`, however it is written, the answer comes at once."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    assert code(await api.resume(execution_id, headers={"Prefer": prefer})) == (409, "NOT_WAITING")


async def test_the_refused_payload_of_an_early_call_is_not_kept(api: Api) -> None:
    """The log has the refusal, without a payload."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    await api.resume(execution_id, headers={"Prefer": "wait=0"})
    assert await api.events(execution_id) == ["ExecutionStarted", "TimerSet", "CommandRefused"]
    assert not [row async for _, row in api.store.log() if "approved" in (row.payload or "")]


async def test_a_held_call_is_answered_when_the_run_ends(api: Api) -> None:
    """A run that is terminated meanwhile is a conflict at once."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    held = await api.held(execution_id)
    await api.terminate(execution_id)
    assert code(await held) == (409, "CONFLICT")


async def test_a_held_call_is_answered_503_when_the_server_drains(start: Start) -> None:
    """At once, and a new one too; readiness is red, liveness is not."""
    api = await start()
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    held = await api.held(execution_id, headers={"Prefer": "wait=30"})
    draining = asyncio.create_task(api.engine.node.drain(0))
    for response in (await held, await api.resume(execution_id)):
        assert code(response) == (503, "UNAVAILABLE")
        assert "retry-after" in response.headers
        assert "x-log-position" in response.headers
    assert code(await api.get("/health/ready", key=None)) == (503, "UNAVAILABLE")
    assert (await api.get("/health/live", key=None)).status_code == 200
    await draining


async def test_a_run_that_ended_without_a_wait_is_not_waited_for(api: Api) -> None:
    """No wait can open any more, so the answer comes at once."""
    execution_id = await api.trigger(await api.workflow(ENDING))
    response = await api.resume(execution_id)
    assert code(response) == (409, "NOT_WAITING")
    assert response.json()["error"]["details"]["status"] == "completed"
    assert "retry-after" not in response.headers  # it stays as it is


# --- late calls, and which wait is meant -------------------------------------------------------------------------


async def test_a_late_answer_to_one_question_does_not_answer_the_next(api: Api) -> None:
    """`state` names the question: the first one's answer, repeated, leaves the second one open."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS))
    url = f"{execution_id}?state=First"
    assert (await api.resume(url)).json() == {"message": "restarted"}
    assert (await api.resume(url)).json() == {"message": "already restarted"}
    assert (await api.resume(f"{execution_id}?state=Second")).json() == {"message": "restarted"}


async def test_a_wait_can_be_named_by_its_id(api: Api) -> None:
    """Ids come from the list of waits; that of an ended wait is `already restarted`, an unknown one not waiting."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS))
    first = (await api.ok("GET", "/v1/waits"))["data"][0]["wait_id"]
    assert (await api.resume(f"{execution_id}?wait_id={first.upper()}")).json() == {"message": "restarted"}
    assert (await api.resume(f"{execution_id}?wait_id={first}")).json() == {"message": "already restarted"}
    assert code(await api.resume(f"{execution_id}?wait_id={UNKNOWN}")) == (409, "NOT_WAITING")
    assert code(await api.resume(f"{execution_id}?wait_id=x")) == (400, "VALIDATION_ERROR")


async def test_a_state_that_cannot_wait_is_refused_at_once(api: Api) -> None:
    """A name that is none of the definition's waits opens none, however long the call is held."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    assert code(await api.resume(f"{execution_id}?state=Nowhere")) == (409, "NOT_WAITING")
    assert code(await api.resume(f"{execution_id}?state=")) == (400, "VALIDATION_ERROR")


async def test_a_terminated_run_is_a_conflict(api: Api) -> None:
    """Also after an earlier resume."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS))
    await api.resume(execution_id)
    await api.terminate(execution_id)
    assert code(await api.resume(execution_id)) == (409, "CONFLICT")


async def test_the_winner_is_told_so_again_under_its_key(api: Api) -> None:
    """The repeated call can never end a later wait; under the same key another call is a conflict."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS))
    headers = {"Idempotency-Key": "r-1"}
    responses = await asyncio.gather(*(api.resume(execution_id, headers=headers) for _ in range(16)))
    assert [response.json() for response in responses] == [{"message": "restarted"}] * 16
    assert (await api.events(execution_id)).count("WaitResumed") == 1
    other = {"payload": {"source": "TEAMS"}}
    assert code(await api.resume(execution_id, other, headers=headers)) == (409, "CONFLICT")
    assert code(await api.resume(f"{execution_id}?state=Second", headers=headers)) == (409, "CONFLICT")


async def test_a_repeated_loser_is_told_the_same_under_its_key(api: Api) -> None:
    """`already restarted` is remembered as well, though a later wait is open by then."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS))
    url, headers = f"{execution_id}?state=First", {"Idempotency-Key": "r-2"}
    await api.resume(url)
    for _ in range(2):
        assert (await api.resume(url, headers=headers)).json() == {"message": "already restarted"}


# --- the log's position ------------------------------------------------------------------------------------------


async def test_every_answer_says_where_the_log_stood(api: Api) -> None:
    """Answers and refusals alike carry `X-Log-Position`; what rests on the log, the position that it rests on."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS))
    positions = []
    for url, more in (
        (f"{execution_id}?state=First", {}),
        (f"{execution_id}?state=First", {}),
        (f"{execution_id}?state=Nowhere", {}),
        (execution_id, {"body": {"payload": 7}}),
        ("never", {}),
        (execution_id, {"headers": {"Content-Type": "text/plain"}}),
    ):
        response = await api.resume(url, **more)
        positions.append(int(response.headers["x-log-position"]))
    stands_at = await api.store.position()
    assert positions[0] == stands_at - 1  # the refusal of the third call is an event too
    assert positions[2:] == [stands_at] * 4


PARALLEL: dict[str, Any] = {
    "StartAt": "Both",
    "States": {
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": name, "States": {name: {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}
                for name in ("Left", "Right")
            ],
            "End": True,
        }
    },
}
EXPIRING: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": "wait_for_resume",
            "TimeoutSeconds": 10,
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Sleep"}],
            "End": True,
        },
        "Sleep": {"Type": "Wait", "Seconds": 1000, "End": True},
    },
}


async def after_a_resume(api: Api, definition: Any = TWO_QUESTIONS) -> str:
    execution_id = await api.trigger(await api.workflow(definition))
    await api.resume(f"{execution_id}?state=First", headers={"Idempotency-Key": "k"})
    return execution_id


async def expired(api: Api) -> str:
    execution_id = await api.trigger(await api.workflow(EXPIRING))
    await api.push(10_000)
    return execution_id


async def terminated(api: Api) -> str:
    execution_id = await after_a_resume(api)
    await api.terminate(execution_id)
    return execution_id


async def waiting(api: Api) -> str:
    return await api.trigger(await api.workflow())


async def in_two_places(api: Api) -> str:
    return await api.trigger(await api.workflow(PARALLEL))


KEYED = {"headers": {"Idempotency-Key": "k"}}
TOO_LARGE = {"content": b'{"payload": "' + b"x" * 1_048_576 + b'"}'}


@pytest.mark.parametrize(
    ("made", "url", "more", "wanted"),
    [
        (waiting, "{}", {}, (200, "restarted")),
        (after_a_resume, "{}?state=First", {}, (200, "already restarted")),
        (after_a_resume, "{}?state=First", KEYED, (200, "restarted")),
        (after_a_resume, "{}?state=Second", KEYED, (409, "CONFLICT")),
        (in_two_places, "{}", {}, (409, "AMBIGUOUS_WAIT")),
        (expired, "{}", {}, (409, "WAIT_EXPIRED")),
        (terminated, "{}", {}, (409, "CONFLICT")),
        (waiting, "{}?state=Nowhere", {}, (409, "NOT_WAITING")),
        (waiting, "unknown", {}, (404, "NOT_FOUND")),
        (waiting, UNKNOWN, {}, (404, "NOT_FOUND")),
        (waiting, "{}?wait_id=x", {}, (400, "VALIDATION_ERROR")),
        (waiting, "%FF", {}, (400, "VALIDATION_ERROR")),
        (waiting, "{}", {"headers": {"Idempotency-Key": "x" * 256}}, (400, "VALIDATION_ERROR")),
        (waiting, "{}", {"body": {"payload": "{}"}}, (400, "VALIDATION_ERROR")),
        (waiting, "{}", {"headers": {"Content-Type": "text/plain"}}, (415, "VALIDATION_ERROR")),
        (waiting, "{}", TOO_LARGE, (413, "PAYLOAD_TOO_LARGE")),
    ],
)
async def test_each_kind_of_answer_says_where_the_log_stood(
    api: Api, made: Any, url: str, more: dict[str, Any], wanted: tuple[int, str]
) -> None:
    """Also what is told from memory, and what is refused before the log is asked."""
    execution_id = await made(api)
    before = await api.store.position()
    if "content" in more:
        response = await api.post(f"{PROCESS}/resumeWorkflow/{execution_id}", **more)
    else:
        response = await api.resume(url.replace("{}", execution_id), **more)
    told = response.json()
    assert (response.status_code, told["error"]["code"] if "error" in told else told["message"]) == wanted
    assert before <= int(response.headers["x-log-position"]) <= await api.store.position()
    if wanted[1] == "restarted" and not more:
        assert int(response.headers["x-log-position"]) == await api.store.position()


async def test_a_key_of_another_place_is_told_the_position_too(api: Api) -> None:
    """404 where nothing may be seen, 403 where nothing may be done."""
    execution_id = await waiting(api)
    for key, status in (
        (await api.new_key("runs.resume", workspace="other"), 404),
        (await api.new_key("runs.view"), 403),
    ):
        response = await api.resume(execution_id, key=key)
        assert response.status_code == status
        assert int(response.headers["x-log-position"]) == await api.store.position()


# --- waits -------------------------------------------------------------------------------------------------------


async def test_open_waits_are_listed(api: Api) -> None:
    """Oldest first, page by page, of all or of one process or workflow; each with what a resume needs."""
    one, other = await api.workflow(), await api.workflow(TWO_QUESTIONS)
    for number in range(3):
        await api.trigger(one, {"process_id": f"A{number}"})
    execution_id = await api.trigger(other)
    everything = (await api.ok("GET", "/v1/waits"))["data"]
    assert [wait["process_id"] for wait in everything] == ["A0", "A1", "A2", execution_id]
    assert everything[3].items() >= {"state": "First", "workflow_id": other, "execution_id": execution_id}.items()
    assert everything[3]["opened_at"] == "2025-06-15T15:06:40.000Z"
    by_process = (await api.ok("GET", "/v1/waits", params={"process_id": "A1"}))["data"]
    by_workflow = (await api.ok("GET", "/v1/waits", params={"workflow_id": other}))["data"]
    assert [wait["process_id"] for wait in by_process + by_workflow] == ["A1", execution_id]
    seen: list[Any] = []
    after: dict[str, Any] = {}
    while True:
        page = await api.ok("GET", "/v1/waits", params={"limit": 1, **after})
        seen += page["data"]
        if not page["meta"]["has_more"]:
            break
        after = {"after": page["meta"]["after"]}
    assert seen == everything
    await api.resume("A0")
    assert len((await api.ok("GET", "/v1/waits"))["data"]) == 3


async def test_waits_of_what_is_not_there_are_404(api: Api) -> None:
    """An unknown process or workflow is no empty list."""
    assert code(await api.get("/v1/waits?process_id=never")) == (404, "NOT_FOUND")
    assert code(await api.get(f"/v1/waits?workflow_id={UNKNOWN}")) == (404, "NOT_FOUND")


# --- naming the wait ---------------------------------------------------------------------------------------------

NAMED: dict[str, Any] = {"settings": {"resume": "named"}}


async def test_where_a_wait_must_be_named_a_repeated_answer_ends_one_question(api: Api) -> None:
    """Twenty times the same: one is told `restarted`, 19 `already restarted`, and the second question stays open."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS, **NAMED))
    for more in ({"params": {"state": "First"}}, {"headers": {"Idempotency-Key": "the answer to the second"}}):
        responses = await asyncio.gather(*(api.resume(execution_id, **more) for _ in range(20)))
        assert {response.status_code for response in responses} == {200}
        told = sorted(response.json()["message"] for response in responses)
        if "params" in more:
            assert told == ["already restarted"] * 19 + ["restarted"]
        else:
            assert told == ["restarted"] * 20
        assert (await api.events(execution_id)).count("WaitResumed") == 1 + ("headers" in more)


async def test_a_call_that_names_no_wait_is_told_which_are_open(api: Api) -> None:
    """409 `NAME_THE_WAIT`, at once; by the id that it lists the wait can be ended."""
    execution_id = await api.trigger(await api.workflow(TWO_QUESTIONS, **NAMED))
    refused = await api.resume(execution_id, headers={"Prefer": "wait=30"})
    assert code(refused) == (409, "NAME_THE_WAIT")
    (wait,) = refused.json()["error"]["details"]["waits"]
    assert wait["state"] == "First"
    assert "First" in refused.json()["message"]
    answered = await api.resume(execution_id, params={"wait_id": wait["wait_id"]})
    assert answered.json() == {"message": "restarted"}


async def test_runs_keep_the_rule_of_the_version_that_they_began_with(api: Api) -> None:
    """Another rule makes the next version, with the same definition and mock payload; what runs is not touched."""
    workflow_id = await api.workflow(TWO_QUESTIONS, mock_payload={"a": 1})
    before = await api.trigger(workflow_id)
    changed = (await api.ok("PATCH", f"/v1/workflows/{workflow_id}", json=NAMED))["data"]
    assert (changed["version"], changed["mock_payload"], changed["settings"]["resume"]) == (2, {"a": 1}, "named")
    assert (await api.ok("PATCH", f"/v1/workflows/{workflow_id}", json=NAMED))["data"]["version"] == 2
    kept = await api.ok("PATCH", f"/v1/workflows/{workflow_id}", json={"definition": {**TWO_QUESTIONS, "Comment": "x"}})
    assert (kept["data"]["version"], kept["data"]["settings"]["resume"]) == (3, "named")
    after = await api.trigger(workflow_id)
    assert (await api.resume(before)).json() == {"message": "restarted"}
    assert code(await api.resume(after)) == (409, "NAME_THE_WAIT")


async def test_a_definition_that_can_ask_twice_is_created_with_a_warning(api: Api) -> None:
    """It says what to do; who has done it gets none, and neither does who asks once."""
    cases: list[tuple[Any, Any, int]] = [
        (TWO_QUESTIONS, {}, 1),
        (TWO_QUESTIONS, {"resume": "named"}, 0),
        (TWO_QUESTIONS, {"resume": "any"}, 1),
        (SLEEPING, {}, 0),
    ]
    for number, (definition, settings, expected) in enumerate(cases):
        body = {"name": f"asks {number}", "definition": definition, "settings": settings}
        warnings = (await api.ok("POST", "/v1/workflows", json=body))["data"]["warnings"]
        assert len(warnings) == expected
        assert all('settings.resume to "named"' in each["message"] for each in warnings)


async def test_a_rule_that_is_none_is_refused(api: Api) -> None:
    """By its name, with what is accepted."""
    body = {"name": "asks", "definition": ENDING, "settings": {"resume": "all"}}
    response = await api.post("/v1/workflows", json=body)
    assert code(response) == (400, "VALIDATION_ERROR")
    assert response.json()["error"]["message"].startswith("settings.resume: 'all' is not accepted; it must be 'any' or")


# --- sources -----------------------------------------------------------------------------------------------------


async def test_the_sources_are_a_setting(start: Start) -> None:
    """What it names is taken and nothing else, and the document says which."""
    api = await start(Settings(resume_sources="SAP,ServiceNow"))
    execution_id = await api.trigger(await api.workflow())
    refused = await api.resume(execution_id, {"payload": {"source": "TEAMS"}})
    assert code(refused) == (400, "VALIDATION_ERROR")
    assert refused.json()["message"].endswith("it must be 'SAP' or 'ServiceNow'")
    assert (await api.resume(execution_id, {"payload": {"source": "ServiceNow"}})).json() == {"message": "restarted"}
    schemas = (await api.ok("GET", "/openapi.json"))["components"]["schemas"]
    assert schemas["Resume"]["properties"]["payload"]["properties"]["source"] == {"enum": ["SAP", "ServiceNow"]}


@pytest.mark.parametrize("payload", [None, True, 0, "yes", [1], {}, {"source": "TELEX"}])
async def test_an_execution_is_resumed_with_any_payload(api: Api, payload: Any) -> None:
    """By its process id and by its execution id; the payload becomes the state's output as it is."""
    workflow_id = await api.workflow()
    execution_id = await api.trigger(workflow_id, {"process_id": "A/7"})
    path = "/v1/executions/A%2F7/resume?state=Ask"
    answered = await api.post(path, json={"payload": payload})
    assert answered.json() == {"success": True, "data": {"message": "restarted"}}
    assert int(answered.headers["x-log-position"]) > 0
    again = await api.post(f"/v1/executions/{execution_id}/resume", json={"payload": payload})
    assert again.json()["data"] == {"message": "already restarted"}
    assert (await api.item(workflow_id, execution_id))["workflow_output_payload"]["answer"] == payload


async def test_an_execution_is_resumed_by_the_same_rules(api: Api) -> None:
    """It is held, remembered under a key, and refused as by the process API, in the envelope of its own dialect."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    early = {"headers": {"Prefer": "wait=0", "Idempotency-Key": "k"}, "json": {"payload": 1}}
    refused = await api.post(f"/v1/executions/{execution_id}/resume", **early)
    assert code(refused) == (409, "NOT_WAITING")
    assert refused.json()["success"] is False
    await api.push(60_000)
    for _ in range(2):
        answered = await api.post(f"/v1/executions/{execution_id}/resume", **early)
        assert answered.json()["data"] == {"message": "restarted"}
    assert code(await api.post(f"/v1/executions/{execution_id}/resume", json={})) == (400, "VALIDATION_ERROR")
    assert code(await api.post("/v1/executions/never/terminate")) == (404, "NOT_FOUND")
