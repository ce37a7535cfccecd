"""Trying out one state over HTTP."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure.api.dialects.resource.workflows import trials
from perdure.engine.fairness import FairThread
from tests.api.conftest import Api, eventually

CHARGE: dict[str, Any] = {
    "Type": "Task",
    "Resource": "charge",
    "Parameters": {"sum.$": "$.amount"},
    "Retry": [{"ErrorEquals": ["Bank.Busy"]}],
    "Next": "Ship",
}


async def test_a_state_is_tried_out(api: Api) -> None:
    """With a result, an error, and variables; nothing is called, and nothing is left in the log."""
    before = await api.store.position()
    given = {"definition": CHARGE, "input": {"amount": 7}, "result": {"receipt": 5}}
    response = await api.post("/v1/test-state", json=given)
    assert response.status_code == 200
    data = response.json()["data"]
    assert (data["status"], data["output"], data["next_state"]) == ("SUCCEEDED", {"receipt": 5}, "Ship")
    assert data["inspection"]["afterParameters"] == {"sum": 7}
    again = {"definition": CHARGE, "input": {"amount": 7}, "error": {"error": "Bank.Busy", "cause": "later"}}
    data = (await api.post("/v1/test-state", json=again)).json()["data"]
    assert (data["status"], data["error"], data["retry_delay_ms"]) == ("RETRIABLE", "Bank.Busy", 1000)
    data = (await api.post("/v1/test-state", json={"definition": CHARGE, "input": {"amount": 7}})).json()["data"]
    assert (data["status"], data["output"], data["inspection"]["afterParameters"]) == ("NEEDS_RESULT", None, {"sum": 7})
    assert await api.store.position() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "definition"),
        ({"definition": {"Type": "Nope"}}, "/Type"),
        ({"definition": {"Type": "Succeed"}, "result": 1}, "takes none"),
        ({"definition": CHARGE, "result": 1, "error": {}}, "together with result"),
        ({"definition": CHARGE, "result": 1, "retry_count": -1}, "retry_count"),
        ({"definition": CHARGE, "results": 1}, "results"),
        ({"definition": {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}, "state": "B"}, "no state 'B'"),
    ],
)
async def test_what_cannot_be_tried_is_said(api: Api, given: dict[str, Any], said: str) -> None:
    """A clear message that names the field, and 400."""
    response = await api.post("/v1/test-state", json=given)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert said in str(response.json()["error"])


async def test_a_hostile_expression_is_an_error_of_the_state(api: Api) -> None:
    """It fails the state, not the server."""
    state = {"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% [1..1e9] %}", "End": True}
    data = (await api.post("/v1/test-state", json={"definition": state})).json()["data"]
    assert (data["status"], data["error"]) == ("FAILED", "States.QueryEvaluationError")


async def test_the_trials_of_one_workspace_hold_up_no_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one's turn comes after the one that runs; of one's own some wait, and beyond that it is 429."""
    gate, thread, order = threading.Event(), FairThread("trials"), list[str]()

    def slow(body: Any, payload_max: int) -> Any:
        assert gate.wait(10)
        order.append(body.definition["Type"])
        return tested(body, payload_max)

    tested = trials._tested
    monkeypatch.setattr(trials, "_tested", slow)
    monkeypatch.setattr(trials, "_APART", thread)
    other = await api.new_key("workflows.view", organization="B")
    mine, theirs = {"definition": {"Type": "Pass", "End": True}}, {"definition": {"Type": "Fail"}}
    many = [asyncio.ensure_future(api.post("/v1/test-state", json=mine)) for _ in range(trials.WAITING_MAX + 1)]
    await eventually(lambda: [len(each) for each in thread._waiting._queues.values()] == [trials.WAITING_MAX])
    refused = await api.post("/v1/test-state", json=mine)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert int(refused.headers["Retry-After"]) > 0
    many.append(asyncio.ensure_future(api.post("/v1/test-state", json=theirs, key=other)))
    await eventually(lambda: len(thread._waiting._queues) == 2)
    gate.set()
    assert {each.status_code for each in await asyncio.gather(*many)} == {200}
    assert order.index("Fail") == 1
    thread.close()
