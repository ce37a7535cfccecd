"""Second chances over HTTP: redrives, reruns and forks, what refuses them, and where a run comes from."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api

RUN = "/v1/executions"
ASK = {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}


async def ended(api: Api) -> str:
    """A run that waited, and was terminated; its process id is INV/7."""
    execution_id = await api.trigger(await api.workflow(ASK), {"process_id": "INV/7", "amount": 1})
    await api.settled()
    await api.ok("POST", f"{RUN}/INV%2F7/terminate", json={})
    return execution_id


async def made(api: Api, path: str, **body: Any) -> dict[str, str]:
    answer = await api.ok("POST", path, json=body)
    data: dict[str, str] = answer["data"]
    return data


async def test_a_run_is_redriven_by_its_process_id_or_its_execution_id(api: Api) -> None:
    """It goes on where it was, with who did it and why in its log; once more is a conflict."""
    execution_id = await ended(api)
    answer = await api.ok("POST", f"{RUN}/INV%2F7/redrive", json={"reason": "entered once, after all"})
    assert answer == {"success": True, "data": {"message": "redriven"}}
    again = await api.post(f"{RUN}/{execution_id}/redrive")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")
    assert again.json()["error"]["details"] == {"status": "waiting"}
    assert (await api.events(execution_id))[-3:] == ["ExecutionRedriven", "WaitOpened", "CommandRefused"]
    page = await api.ok("GET", f"{RUN}/{execution_id}/events?types=ExecutionRedriven")
    (event,) = page["data"]
    assert event["payload"] == {"reason": "entered once, after all"}
    assert event["actor"].startswith("key:")
    assert (await api.resume("INV%2F7")).status_code == 200


async def test_a_run_is_rerun_and_forked_and_all_of_them_know_of_each_other(api: Api) -> None:
    """The origin names both, and both the origin, by seq and hash."""
    execution_id = await ended(api)
    rerun = await made(api, f"{RUN}/INV%2F7/rerun", input={"amount": 2}, version="latest", process_id="INV/7b")
    fork = await made(api, f"{RUN}/INV%2F7/fork", seq=1, input={"amount": 3}, reason="what if")
    assert rerun["process_id"] == "INV/7b"
    assert fork["process_id"] == fork["execution_id"]
    origin = (await api.ok("GET", f"{RUN}/{execution_id}/lineage"))["data"]
    assert (origin["status"], origin["redrives"], origin["origin"], origin["has_more"]) == (
        "terminated",
        0,
        None,
        False,
    )
    assert [run["execution_id"] for run in origin["reruns"]] == [rerun["execution_id"]]
    assert [run["process_id"] for run in origin["forks"]] == [fork["execution_id"]]
    first = (await api.ok("GET", f"{RUN}/{execution_id}/events?limit=1"))["data"][0]
    for run, kind in ((rerun, "rerun"), (fork, "fork")):
        told = (await api.ok("GET", f"{RUN}/{run['execution_id']}/lineage"))["data"]
        assert told["origin"] == {"kind": kind, "execution_id": execution_id, "seq": 1, "hash": first["hash"]}


@pytest.mark.parametrize(
    ("what", "body", "status", "says"),
    [
        ("rerun", {"input": [1]}, 400, "input"),
        ("rerun", {"version": 0}, 400, "version"),
        ("rerun", {"version": "newest"}, 400, "'latest'"),
        ("rerun", {"version": 9}, 404, "version 9"),
        ("rerun", {"process_id": "INV/7"}, 409, "process_id: it belongs to execution"),
        ("rerun", {"process_id": ".."}, 400, "process_id"),
        ("rerun", {"reason": "x" * 1025}, 400, "reason"),
        ("rerun", {"seq": 1}, 400, "seq"),
        ("fork", {}, 400, "seq: it is missing"),
        ("fork", {"seq": 0}, 400, "seq"),
        ("fork", {"seq": 3}, 409, "the last event that works is 2"),
        ("fork", {"seq": 4}, 400, "has 3 events so far"),
        ("fork", {"seq": 2001}, 400, "at most 2,000 events"),
        ("redrive", {"reason": 7}, 400, "reason"),
        ("redrive", {"because": "x"}, 400, "because"),
    ],
)
async def test_what_is_refused_says_why(api: Api, what: str, body: dict[str, Any], status: int, says: str) -> None:
    """It names the field, and what would be accepted; and nothing was started or changed."""
    execution_id = await ended(api)
    before = await api.events(execution_id)
    response = await api.post(f"{RUN}/INV%2F7/{what}", json=body)
    assert response.status_code == status, response.text
    assert says in response.json()["error"]["message"]
    assert await api.events(execution_id) == before
    assert (await api.ok("GET", f"{RUN}/INV%2F7/lineage"))["data"]["reruns"] == []


@pytest.mark.parametrize("what", ["redrive", "rerun", "fork", "lineage"])
async def test_who_may_not_is_told_so(api: Api, what: str) -> None:
    """403 names the scope that is missing; 404 for a run that is not there."""
    await ended(api)
    method, scope = ("GET", "runs.view") if what == "lineage" else ("POST", "workflows.run")
    more: dict[str, Any] = {} if what == "lineage" else {"json": {"seq": 1} if what == "fork" else {}}
    narrow = await api.new_key("runs.resume")
    response = await api.send(method, f"{RUN}/INV%2F7/{what}", key=narrow, **more)
    assert (response.status_code, response.json()["error"]["details"]) == (403, {"scope": scope})
    assert (await api.send(method, f"{RUN}/nobody/{what}", **more)).status_code == 404


@pytest.mark.parametrize(("what", "body"), [("redrive", {}), ("rerun", {}), ("fork", {"seq": 2})])
async def test_a_repeated_call_gets_its_first_answer(api: Api, what: str, body: dict[str, Any]) -> None:
    """With an idempotency key; with another body it is a conflict."""
    await ended(api)
    key = {"Idempotency-Key": "once"}
    first, second = [await api.post(f"{RUN}/INV%2F7/{what}", json=body, headers=key) for _ in range(2)]
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    other = await api.post(f"{RUN}/INV%2F7/{what}", json={**body, "reason": "x"}, headers=key)
    assert other.status_code == 409
