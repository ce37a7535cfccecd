"""Runs by filter, and counts of them: what is let through, how pages go on, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.api.http.instants import iso
from tests.api.conftest import WAITING, Api

REFUSING: dict[str, Any] = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "CardDeclined"}}}
NAPPING: dict[str, Any] = {
    "StartAt": "Nap",
    "States": {"Nap": {"Type": "Wait", "Seconds": 1, "Next": "No"}, **REFUSING["States"]},
}
PATH = "/v1/executions"


async def found(api: Api, **filters: str) -> list[str]:
    """The process ids on a page."""
    return [each["process_id"] for each in (await api.ok("GET", PATH, params=filters))["data"]]


@pytest.fixture
async def runs(api: Api) -> dict[str, str]:
    """Two workflows: runs that wait, one that was terminated, and one that failed; a minute between them."""
    waiting, refusing = await api.workflow(WAITING), await api.workflow(REFUSING, name="refusing")
    for name in ("A-1", "A-2", "B-1"):
        await api.trigger(waiting, {"process_id": name})
        await api.push(60_000)
    await api.terminate("A-2")
    await api.trigger(refusing, {"process_id": "C-1"})
    await api.settled()
    return {"waiting": waiting, "refusing": refusing}


async def test_each_filter_lets_through_what_it_says(api: Api, runs: dict[str, str]) -> None:
    """Each alone, and several together: a run must match them all."""
    started = int(api.clock.now())
    assert await found(api) == ["C-1", "B-1", "A-2", "A-1"]
    assert await found(api, sort="oldest") == ["A-1", "A-2", "B-1", "C-1"]
    assert await found(api, status="waiting") == ["B-1", "A-1"]
    assert await found(api, status="terminated,failed") == ["C-1", "A-2"]
    assert await found(api, workflow_id=runs["refusing"]) == ["C-1"]
    assert await found(api, state="No") == ["C-1"]
    assert await found(api, trigger="REQUEST", process_id_prefix="A-") == ["A-2", "A-1"]
    assert await found(api, trigger="SCHEDULE") == []
    assert await found(api, error="CardDeclined") == ["C-1"]
    assert await found(api, error="CardDeclined", workflow_id=runs["waiting"]) == []
    first = {"from": str(iso(started - 180_000)), "to": str(iso(started - 120_000))}
    assert await found(api, **first) == ["A-2", "A-1"]
    assert await found(api, **{"from": str(iso(started)).removesuffix("Z")}) == ["C-1"]


async def test_a_run_is_shown_as_it_is(api: Api, runs: dict[str, str]) -> None:
    """With its names, and an error that the definition has."""
    (shown,) = (await api.ok("GET", PATH, params={"status_detail": "failed"}))["data"]

    assert {name: shown[name] for name in ("process_id", "workflow_name", "status", "state", "error", "trigger")} == {
        "process_id": "C-1",
        "workflow_name": "refusing",
        "status": "failed",
        "state": "No",
        "error": "CardDeclined",
        "trigger": "REQUEST",
    }
    assert shown["workflow_id"] == runs["refusing"]
    assert shown["created_at"] == shown["ended_at"] == iso(api.clock.now())


@pytest.mark.parametrize("sort", ["newest", "oldest"])
async def test_pages_go_on_where_they_ended(api: Api, runs: dict[str, str], sort: str) -> None:
    """Whatever is added meanwhile, and however often the same cursor is sent."""
    query = {"sort": sort, "workflow_id": runs["waiting"], "limit": "1"}
    names, after, cursors = [], None, []
    while True:
        page = await api.ok("GET", PATH, params={**query, **({} if after is None else {"after": after})})
        names += [each["process_id"] for each in page["data"]]
        after = page["meta"]["after"]
        assert page["meta"] == {"limit": 1, "has_more": after is not None, "after": after, "next_cursor": after}
        if after is None:
            break
        cursors.append(after)
    assert names == (["B-1", "A-2", "A-1"] if sort == "newest" else ["A-1", "A-2", "B-1"])
    assert await found(api, **query, after=cursors[0]) == [names[1]]
    assert await found(api, **{**query, "limit": "5"}, after=cursors[0]) == names[1:]


async def test_a_cursor_belongs_to_its_filters(api: Api, runs: dict[str, str]) -> None:
    """With other ones, or the other way round, it is refused; the order of several statuses is none."""
    query = {"status": "waiting,terminated", "limit": "1"}
    after = (await api.ok("GET", PATH, params=query))["meta"]["after"]
    assert await found(api, status="terminated,waiting", after=after) == ["A-2", "A-1"]
    for other in ({"status": "waiting"}, {**query, "sort": "oldest"}, {**query, "workflow_id": runs["waiting"]}, {}):
        refused = await api.get(PATH, params={**other, "after": after})
        assert refused.status_code == 400
        assert "belongs to a page of other filters" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("status", "done", "status: 'done' is not accepted; it must be one or several of pending, running, completed,"),
        ("status_detail", "suspended", "it must be one or several of pending, running, waiting, completed, failed,"),
        ("page", "502", "page: at most 10,000 runs may come before a page; a cursor goes on further"),
        ("page", "0", "page: '0' is not accepted; it must be an integer from 1 to"),
        ("cursor", "x", "cursor: 'x' is not accepted; it must be `next_cursor` of the `meta` of a page"),
        ("status", "failed,", "status: '' is not accepted; it must be one or several of"),
        ("workflow_id", "7", "workflow_id: '7' is not accepted; it must be a UUID"),
        ("state", "", "state: '' is not accepted; it must be the name of a state, of 1 to 80 characters"),
        ("trigger", "request", "trigger: 'request' is not accepted; it must be one of REQUEST, SCHEDULE,"),
        ("process_id_prefix", "x" * 129, "it must be the beginning of a process id, of 1 to 128 characters"),
        ("error", "", "error: '' is not accepted; it must be the name of an error, of 1 to 1024 characters"),
        ("from", "yesterday", "from: 'yesterday' is not accepted; it must be a time such as 2030-01-31T12:00:00Z"),
        ("to", "1969-12-31T23:59:59Z", "it must be a time such as 2030-01-31T12:00:00Z, from 1970 on"),
        ("to", "9999-12-31T23:59:59-23:00", "it must be a time such as"),
        ("sort", "up", "sort: 'up' is not accepted; it must be 'newest' or 'oldest'"),
        ("after", "x", "after: 'x' is not accepted; it must be what the `meta` of a page has"),
        ("after", "ÄÖ", "it must be what the `meta` of a page has"),
        ("limit", "101", "limit: '101' is not accepted; it must be an integer from 1 to 100"),
        ("offset", "3", "offset: there is no such query parameter"),
    ],
)
async def test_what_is_refused(api: Api, name: str, value: str, message: str) -> None:
    """The field is named, and what it takes."""
    refused = await api.get(PATH, params={name: value})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert message in refused.json()["error"]["message"]


async def test_runs_are_counted(api: Api, runs: dict[str, str]) -> None:
    """By status and by workflow, as they are now; of one workflow if it is asked for."""
    counted = (await api.ok("GET", f"{PATH}/counts"))["data"]
    of_waiting = {
        "workflow_id": runs["waiting"],
        "workflow_name": "invoice approval",
        "total": 3,
        "by_status": {"waiting": 2, "terminated": 1},
    }
    assert counted["total"] == 4
    assert counted["by_status"] == {"waiting": 2, "failed": 1, "terminated": 1}
    assert of_waiting in counted["by_workflow"]
    assert len(counted["by_workflow"]) == 2

    await api.resume("B-1")
    await api.settled()

    counted = (await api.ok("GET", f"{PATH}/counts", params={"workflow_id": runs["waiting"]}))["data"]
    assert (counted["total"], counted["by_status"]) == (3, {"waiting": 1, "completed": 1, "terminated": 1})
    assert [each["workflow_id"] for each in counted["by_workflow"]] == [runs["waiting"]]


async def test_counts_are_of_a_workspace(api: Api, runs: dict[str, str]) -> None:
    """Another one's key counts nothing, finds nothing, and does not see the workflow."""
    other = await api.new_key(workspace="B")
    nothing = {"total": 0, "by_status": {}, "by_workflow": []}
    assert (await api.ok("GET", f"{PATH}/counts", key=other))["data"] == nothing
    assert (await api.ok("GET", PATH, key=other, params={"process_id_prefix": "A"}))["data"] == []
    for path in (PATH, f"{PATH}/counts"):
        refused = await api.get(path, key=other, params={"workflow_id": runs["waiting"]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_counts_hold_whatever_happens(api: Api, runs: dict[str, str]) -> None:
    """After any of it they are as many as there are."""
    assert await api.store.miscounted() == []
    await api.resume("A-1")
    await api.trigger(await api.workflow(NAPPING, name="napping"))
    await api.settled()
    assert await api.store.miscounted() == []
    await api.push(1000)
    await api.engine.node.timers.settle()
    await api.settled()
    assert await api.store.miscounted() == []
    assert (await api.ok("GET", f"{PATH}/counts"))["data"]["by_status"]["failed"] == 2
    del runs
