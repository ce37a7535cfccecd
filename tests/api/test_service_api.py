"""The service API: what is taken, refused and shown, page by page, and runs that start apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine.steps import Registry, StepFailed
from tests.api.conftest import ENDING, WAITING, Api, Start

BASE = "/api/v1/services/workflows"
LOG = [{"step_type": "log", "step_config": {"message": "m"}}]
DAY_MS = 24 * 3600 * 1000


async def made(api: Api, **fields: Any) -> dict[str, Any]:
    """A workflow as it is answered when it is made; by hand, unless it is said otherwise."""
    body = {"name": "w", "steps": LOG, **({} if "schedule" in fields else {"trigger_type": "manual"}), **fields}
    answer: dict[str, Any] = (await api.ok("POST", f"{BASE}/workflows", json=body))["data"]
    return answer


async def refused(api: Api, method: str, path: str, **more: Any) -> dict[str, Any]:
    """The error of a request that must be refused as invalid."""
    response = await api.send(method, f"{BASE}/{path}", **more)
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == "validation_failed"
    return error


async def changed(api: Api, workflow_id: str, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api.ok("PATCH", f"{BASE}/workflows/{workflow_id}", json=fields))["data"]
    return answer


# --- what is taken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"nmae": "x"}, "nmae", "did you mean name?"),
        ({}, "cron_expression", "it is missing"),
        ({"schedule": "0 9 * * *", "cron_expression": "0 9 * * *"}, "schedule", "give one of them"),
        ({"schedule": "0 9 * * *", "trigger_type": "manual"}, "cron_expression", "belongs to the trigger_type"),
        ({"schedule": "0 9 * *"}, "cron_expression", "must have 5 fields"),
        ({"schedule": "0 9 * * *", "timezone": "Mars"}, "timezone", "'Mars'"),
        ({"trigger_type": "manual", "shared_role_ids": ["r"]}, "shared_role_ids", "visibility shared"),
        ({"trigger_type": "manual", "definition": {}}, "definition", "not supported yet"),
    ],
)
async def test_a_workflow_that_is_not_right_is_refused(
    api: Api, fields: dict[str, Any], field: str, words: str
) -> None:
    """By the name of the field, with what is wrong; and nothing is made."""
    error = await refused(api, "POST", "workflows", json={"name": "w", "steps": LOG, **fields})
    assert error["details"][0].get("field", error["details"][0].get("path", "")).removeprefix("/") == field
    assert words in error["message"]
    assert (await api.ok("GET", f"{BASE}/workflows"))["data"] == []


async def test_every_problem_of_the_steps_is_told(api: Api) -> None:
    """Each with its place; a type that comes later by name, with what it comes with."""
    steps = [{"type": "send_email"}, {"step_type": "lgo"}, {"type": "log", "config": {"mesage": "m"}}, 7]
    error = await refused(api, "POST", "workflows", json={"name": "w", "trigger_type": "manual", "steps": steps})
    told = {each["path"]: each["message"] for each in error["details"]}
    assert told["/steps/0/type"] == "send_email is not there yet: it comes with notifications"
    assert "'log'" in told["/steps/1/step_type"]
    assert any(path.startswith("/steps/2/config") for path in told)
    assert "/steps/3" in told


async def test_one_made_paused_starts_nothing_until_it_is_resumed(api: Api) -> None:
    """By no slot of its schedule, and by no call; and what was skipped is not made up for."""
    workflow = await made(api, schedule="0 9 * * *", status="paused")
    assert (workflow["status"], workflow["next_run_at"]) == ("paused", None)
    await api.push(3 * DAY_MS)
    response = await api.post(f"{BASE}/workflows/{workflow['id']}/run")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert "Retry-After" not in response.headers
    resumed = (await api.ok("POST", f"{BASE}/workflows/{workflow['id']}/resume"))["data"]
    assert (resumed["status"], resumed["next_run_at"] is None) == ("active", False)
    assert (await api.ok("GET", f"{BASE}/runs"))["data"] == []
    await api.push(DAY_MS)
    runs = (await api.ok("GET", f"{BASE}/runs"))["data"]
    assert [run["trigger"] for run in runs] == ["schedule"]


async def test_a_change_keeps_what_it_does_not_name(api: Api) -> None:
    """Steps and schedule are versions; name, visibility and status are not."""
    workflow = await made(api, schedule="0 9 * * *", timezone="Europe/London", description="d")
    workflow_id = workflow["id"]
    assert (await changed(api, workflow_id, name="n", visibility="private"))["version"] == 1
    other = await changed(api, workflow_id, steps=[*LOG, *LOG])
    assert (other["version"], len(other["steps"]), other["cron_expression"]) == (2, 2, "0 9 * * *")
    assert (other["name"], other["timezone"], other["description"]) == ("n", "Europe/London", "d")
    later = await changed(api, workflow_id, schedule="0 10 * * *")
    assert (later["version"], len(later["steps"]), later["cron_expression"]) == (3, 2, "0 10 * * *")
    by_hand = await changed(api, workflow_id, trigger_type="manual", status="paused")
    assert (by_hand["cron_expression"], by_hand["next_run_at"], by_hand["status"]) == (None, None, "paused")
    again = await changed(api, workflow_id, cron_expression="0 11 * * *", status="active")
    assert (again["trigger_type"], again["status"]) == ("schedule", "active")
    assert again == {**(await api.ok("GET", f"{BASE}/workflows/{workflow_id}"))["data"], "warnings": []}
    error = await refused(api, "PATCH", f"workflows/{workflow_id}", json={"trigger_type": "schedule", "schedule": None})
    assert error["details"] == [{"field": "cron_expression"}]


async def test_who_sees_it_is_changed_by_itself(api: Api) -> None:
    """Names stay while it is shared, and go when it is not."""
    workflow_id = (await made(api, visibility="shared", shared_user_ids=["ann"], shared_role_ids=["r"]))["id"]
    assert (await changed(api, workflow_id, shared_user_ids=["bob", "bob"]))["shared_user_ids"] == ["bob"]
    shown = (await api.ok("GET", f"{BASE}/workflows/{workflow_id}"))["data"]
    assert (shown["visibility"], shown["shared_role_ids"]) == ("shared", ["r"])
    shown = await changed(api, workflow_id, visibility="tenant")
    assert (shown["shared_user_ids"], shown["shared_role_ids"]) == ([], [])


async def test_a_workflow_of_another_form_is_shown_as_steps(api: Api) -> None:
    """It can be renamed and paused here; its schedule changes only with its steps."""
    workflow_id = await api.workflow(WAITING)
    shown = (await api.ok("GET", f"{BASE}/workflows/{workflow_id}"))["data"]
    assert shown["steps"]
    assert (shown["trigger_type"], shown["status"]) == ("manual", "active")
    assert (await changed(api, workflow_id, name="n", status="paused"))["status"] == "paused"
    error = await refused(api, "PATCH", f"workflows/{workflow_id}", json={"schedule": "0 9 * * *"})
    assert error["details"] == [{"field": "steps"}]
    shown = await changed(api, workflow_id, schedule="0 9 * * *", steps=LOG)
    assert (shown["version"], shown["cron_expression"]) == (2, "0 9 * * *")


async def test_a_deleted_workflow_is_archived(api: Api) -> None:
    """It is shown, and nothing of it starts."""
    workflow_id = (await made(api, schedule="0 9 * * *"))["id"]
    gone = (await api.ok("DELETE", f"{BASE}/workflows/{workflow_id}"))["data"]
    assert (gone["status"], gone["next_run_at"]) == ("archived", None)
    assert (await api.post(f"{BASE}/workflows/{workflow_id}/run")).status_code == 409
    archived = await api.ok("GET", f"{BASE}/workflows", params={"status": "archived"})
    assert [each["id"] for each in archived["data"]] == [workflow_id]
    assert (await api.ok("GET", f"{BASE}/workflows", params={"status": "active"}))["data"] == []


async def test_step_types_that_come_later_are_listed_as_such(api: Api) -> None:
    """Each says what it comes with; the rest of the catalog is there when it is asked for, and can be run."""
    eight = (await api.ok("GET", f"{BASE}/action-catalog"))["data"]
    later = [each for each in eight if not each["available"]]
    assert all(f"{each['step_type']} is not there yet" in each["description"] for each in later)
    summaries = {each["step_type"] for each in eight if each["is_summary"] and each["needs_delivery"]}
    assert {"invoicing_ar_summary", "forms_submission_digest", "payments_summary"} >= summaries
    everything = (await api.ok("GET", f"{BASE}/action-catalog?all=true"))["data"]
    names = [each["step_type"] for each in everything]
    assert len(set(names)) == len(names)
    assert all(each["available"] for each in everything[8:])


# --- runs --------------------------------------------------------------------------------------------------------


async def test_of_fifty_calls_at_once_one_starts_a_run(api: Api) -> None:
    """The others are 409 with `Retry-After`; 30 seconds later it may be again, as the engine's clock says."""
    path = f"{BASE}/workflows/{(await made(api))['id']}/run"
    responses = await asyncio.gather(*(api.post(path) for _ in range(50)))
    assert sorted(response.status_code for response in responses) == [201, *[409] * 49]
    late = [response for response in responses if response.status_code == 409]
    assert {response.headers["Retry-After"] for response in late} == {"30"}
    assert {response.json()["error"]["code"] for response in late} == {"conflict"}
    await api.push(29_999)
    assert (await api.post(path)).headers["Retry-After"] == "1"
    await api.push(1)
    assert (await api.post(path)).status_code == 201


async def test_a_run_by_schedule_counts(api: Api) -> None:
    """So does one that another API has started, which itself is never too soon."""
    workflow_id = (await made(api, schedule="0 9 * * *"))["id"]
    await api.push(DAY_MS)
    assert [run["trigger"] for run in (await api.ok("GET", f"{BASE}/runs"))["data"]] == ["schedule"]
    assert (await api.post(f"{BASE}/workflows/{workflow_id}/run")).status_code == 409
    await api.push(30_000)
    assert (await api.post(f"{BASE}/workflows/{workflow_id}/run")).status_code == 201
    await api.trigger(workflow_id)
    await api.push(30_000)
    await api.trigger(workflow_id)
    assert (await api.post(f"{BASE}/workflows/{workflow_id}/run")).status_code == 409


async def test_a_run_that_failed_says_where(start: Start) -> None:
    """With its code, its message and its step; and the step with its own error."""
    registry = Registry()

    @registry.step("charge")
    async def charge(value: Any) -> Any:
        raise StepFailed("Card.Declined", f"no funds for {value}")

    api = await start(steps=registry)
    workflow_id = (await made(api, steps=[*LOG, {"type": "charge", "config": {"n": 1}}, *LOG]))["id"]
    run_id = (await api.ok("POST", f"{BASE}/workflows/{workflow_id}/run"))["data"]["run_id"]
    await api.settled()
    run = (await api.ok("GET", f"{BASE}/runs/{run_id}"))["data"]
    assert (run["status"], run["status_detail"], run["error"]["step"]) == ("failed", "failed", "step_2")
    assert "no funds" in run["error"]["message"]
    assert [step["status"] for step in run["steps"]] == ["completed", "failed", "skipped"]
    listed = (await api.ok("GET", f"{BASE}/workflows/{workflow_id}/runs"))["data"][0]
    assert listed == {**run, "steps": [{k: v for k, v in step.items() if k != "output"} for step in run["steps"]]}


async def test_a_filter_takes_its_words_and_ours(api: Api) -> None:
    """`failed` is whatever did not end well; a word of nobody's is refused with those that there are."""
    waiting, ended = await api.workflow(WAITING), await api.workflow(ENDING)
    first, second = await api.trigger(waiting), await api.trigger(ended)
    third = await api.trigger(waiting)
    await api.settled()
    await api.terminate(third)

    async def found(status: str, **more: str) -> list[str]:
        answer = await api.ok("GET", f"{BASE}/runs", params={"status": status, **more})
        return [run["run_id"] for run in answer["data"]]

    assert (await found("running"), await found("waiting"), await found("suspended")) == ([first], [first], [first])
    assert (await found("completed"), await found("failed,completed")) == ([second], [third, second])
    assert (await found("terminated"), await found("queued")) == ([third], [])
    assert await found("failed", workflow_id=ended) == []
    assert "queued" in (await refused(api, "GET", "runs?status=done"))["message"]


# --- pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["workflows", "runs"])
async def test_pages_by_offset_and_by_cursor_are_the_same(api: Api, path: str) -> None:
    """Each item once, in one order; `has_more` and the cursor say whether there is another page."""
    for _ in range(7):
        await api.trigger(await api.workflow(ENDING))
    url = f"{BASE}/{path}"
    key = "id" if path == "workflows" else "run_id"
    everything = [each[key] for each in (await api.ok("GET", url))["data"]]
    assert len(everything) == 7
    for limit in (1, 3, 7, 100):
        found: list[str] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            by_offset = await api.ok("GET", url, params={"limit": limit, "offset": len(found)})
            page = await api.ok("GET", url, params=query)
            assert page["data"] == by_offset["data"]
            meta = by_offset["meta"]
            assert meta["offset"] == len(found)
            assert (meta["limit"], meta["has_more"]) == (limit, len(found) + limit < 7)
            assert page["meta"]["cursor"] == meta["cursor"]
            found += [each[key] for each in page["data"]]
            if not meta["has_more"]:
                break
            query = {"limit": limit, "cursor": meta["cursor"]}
        assert found == everything
    beyond = await api.ok("GET", url, params={"offset": 10_000})
    assert (beyond["data"], beyond["meta"]["has_more"], beyond["meta"]["cursor"]) == ([], False, None)


@pytest.mark.parametrize("path", ["workflows", "runs"])
async def test_an_offset_that_is_too_large_is_told_of_the_cursor(api: Api, path: str) -> None:
    """And a page has one of the two, and a limit of at most 100."""
    error = await refused(api, "GET", f"{path}?offset=10001")
    assert "cursor" in error["message"]
    assert (await refused(api, "GET", f"{path}?limit=101"))["details"] == [{"field": "limit"}]
    cursor = "01977420-dc00-7000-8000-000000000001"
    assert (await refused(api, "GET", f"{path}?offset=1&cursor={cursor}"))["details"] == [{"field": "offset"}]
    assert (await refused(api, "GET", f"{path}?cursor=x"))["details"] == [{"field": "cursor"}]


# --- refusals ----------------------------------------------------------------------------------------------------


async def test_codes_are_this_api_s_own(api: Api) -> None:
    """Two for a key that is missing or wrong, and two for what is in the way; others are told as ever elsewhere."""
    codes = {}
    url = f"{BASE}/workflows"
    workflow_id = (await made(api))["id"]
    narrow = await api.new_key("runs.view")
    for name, response in {
        "no key": await api.get(url, key=None),
        "wrong key": await api.get(url, key="sk_live_wrong"),
        "scope": await api.get(url, key=narrow),
        "nothing": await api.get(f"{BASE}/nowhere"),
        "method": await api.send("PUT", url),
        "tag": await api.send("PATCH", f"{url}/{workflow_id}", json={"name": "n"}, headers={"If-Match": '"x"'}),
        "large": await api.post(url, content=b"x" * 2_000_000),
    }.items():
        codes[name] = (response.status_code, response.json()["error"]["code"])
    assert codes == {
        "no key": (401, "missing_authorization"),
        "wrong key": (401, "invalid_api_key"),
        "scope": (403, "insufficient_scope"),
        "nothing": (404, "not_found"),
        "method": (405, "method_not_allowed"),
        "tag": (412, "precondition_failed"),
        "large": (413, "payload_too_large"),
    }
    body = {"name": "w", "trigger_type": "manual", "steps": LOG}
    first = await api.post(url, json=body, headers={"Idempotency-Key": "k"})
    other = await api.post(url, json={**body, "name": "x"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_conflict")
    assert (await api.post(url, json=body, headers={"Idempotency-Key": "k"})).json() == first.json()
    plain = await api.post("/v1/workflows", json={"name": "x", "definition": ENDING}, headers={"Idempotency-Key": "k"})
    assert (plain.status_code, plain.json()["error"]["code"]) == (409, "CONFLICT")


async def test_a_change_is_guarded_by_the_tag_of_what_was_read(api: Api) -> None:
    """Of two changes from one reading one is refused, and all of the other is done."""
    url = f"{BASE}/workflows/{(await made(api, schedule='0 9 * * *'))['id']}"
    tag = {"If-Match": (await api.get(url)).headers["ETag"]}
    first = await api.send("PATCH", url, json={"schedule": "0 8 * * *", "status": "paused"}, headers=tag)
    assert (first.status_code, first.json()["data"]["status"]) == (200, "paused")
    assert (await api.send("PATCH", url, json={"name": "n"}, headers=tag)).status_code == 412
