"""Conditional requests: tags of what is shown, 304 for what is had, and changes of nothing but what was seen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers

from perdure.api.app import ROUTES
from perdure.api.http.conditional import is_known, tag_of, wanted_tags
from perdure.api.http.routing import Route
from perdure.engine.errors import Invalid
from tests.api.conftest import ENDING, PROCESS, WAITING, Api

NOBODY = '"AAAA"'
DAILY = {"interval": {"value": 1, "unit": "days"}}


async def tag(api: Api, path: str, **more: Any) -> str:
    response = await api.get(path, **more)
    assert response.status_code == 200, response.text
    return str(response.headers["etag"])


SERVICE = "/api/v1/services/workflows"


async def paths_of_one(api: Api) -> list[str]:
    """A path of each route that shows one thing."""
    workflow = await api.workflow()
    run = await api.trigger(workflow)
    await api.settled()
    schedule = (await api.ok("POST", f"/v1/workflows/{workflow}/schedules", json=DAILY))["data"]["id"]
    job = (await api.ok("POST", "/v1/bulk", json={"action": "terminate", "filter": {"process_id_prefix": "x"}}))["data"]
    own = (await api.ok("GET", "/v1/organization"))["data"]["id"]
    key = (await api.ok("POST", "/v1/keys", json={"name": "k", "scopes": ["runs.view"]}))["data"]["id"]
    await api.settled()
    return [
        *(f"/v1/workflows/{workflow}", f"/v1/workflows/{workflow}/schedules/{schedule}", f"/v1/bulk/{job['id']}"),
        *("/v1/organization", f"/v1/organizations/{own}", f"/v1/keys/{key}"),
        *(f"/api/v1/workflows/{workflow}", f"/api/v1/runs/{run}", f"/v1/executions/{run}"),
        *(f"{SERVICE}/workflows/{workflow}", f"{SERVICE}/runs/{run}"),
        f"{PROCESS}/getWorkflowExecutionById?workflow_id={workflow}&workflow_execution_id={run}",
        f"{PROCESS}/getWorkflowById?workflow_id={workflow}&workflow_version=1",
        f"{PROCESS}/getWorkflowSchemaById?workflow_id={workflow}&workflow_version=1",
    ]


async def test_what_the_caller_has_is_not_sent_again(api: Api) -> None:
    """Each GET of one thing has a tag; sent back it gets 304 without a body, by HEAD too, and another tag the thing."""
    paths = await paths_of_one(api)
    assert len(paths) == sum(route.is_of_one for route in ROUTES)
    for path in paths:
        first = await api.get(path)
        found = first.headers["etag"]
        for known in (found, f"W/{found}", f'{NOBODY}, {found}, "b"', "*"):
            again = await api.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", found), path
            assert "x-request-id" in again.headers
        head = await api.send("HEAD", path, headers={"If-None-Match": found})
        assert (head.status_code, head.headers["etag"]) == (304, found)
        for other in (NOBODY, "no tag", found.strip('"')):
            sent = await api.get(path, headers={"If-None-Match": other})
            assert (sent.status_code, sent.json()) == (200, first.json())


async def test_a_tag_changes_with_what_is_shown(api: Api) -> None:
    """By a step of a run, or another name of its workflow."""
    workflow = await api.workflow(WAITING)
    run = await api.trigger(workflow)
    await api.settled()
    path = f"{PROCESS}/getWorkflowExecutionById?workflow_id={workflow}&workflow_execution_id={run}"
    waiting, shown = await tag(api, path), await tag(api, f"/v1/workflows/{workflow}")
    assert await tag(api, path) == waiting
    await api.resume(run)
    await api.settled()
    assert await tag(api, path) != waiting
    assert await tag(api, f"/v1/workflows/{workflow}") == shown
    await api.ok("PATCH", f"/v1/workflows/{workflow}", json={"name": "other"})
    assert await tag(api, f"/v1/workflows/{workflow}") != shown


async def test_no_update_is_lost(api: Api) -> None:
    """A change of what somebody else has changed since is 412 and does nothing; from what is there now it is made."""
    path = f"/v1/workflows/{await api.workflow()}"
    seen = await tag(api, path)
    await api.ok("PATCH", path, json={"name": "theirs"}, headers={"If-Match": seen})
    log = len(api.store._log)
    changes: tuple[tuple[str, dict[str, Any]], ...] = (("PATCH", {"json": {"name": "mine"}}), ("DELETE", {}))
    for method, body in changes:
        refused = await api.send(method, path, headers={"If-Match": seen}, **body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (412, "PRECONDITION_FAILED")
        assert refused.json()["error"]["details"] == {"etag": await tag(api, path)}
    assert len(api.store._log) == log
    now = f'"b", {await tag(api, path)}'
    assert (await api.ok("PATCH", path, json={"name": "mine"}, headers={"If-Match": now}))["data"]["name"] == "mine"
    await api.ok("PATCH", path, json={"name": "any"}, headers={"If-Match": "*"})
    weak = f"W/{await tag(api, path)}"
    assert (await api.send("DELETE", path, headers={"If-Match": weak})).status_code == 412


@pytest.mark.parametrize("crowd", [2, 12])
async def test_of_racing_changes_one_wins(api: Api, crowd: int) -> None:
    """However close together: what is decided second finds that the first has happened."""
    workflow = await api.workflow()
    path = f"/v1/workflows/{workflow}"
    own = (await api.ok("GET", "/v1/organization"))["data"]["id"]
    schedule = (await api.ok("POST", f"{path}/schedules", json=DAILY))["data"]["id"]
    changes: list[tuple[str, Any]] = [
        (path, lambda number: {"name": f"name {number}"}),
        (f"{path}/schedules/{schedule}", lambda number: {"interval": {"value": number + 2, "unit": "days"}}),
        (f"/v1/organizations/{own}", lambda number: {"settings": {"concurrencyLimit": number + 1}}),
    ]
    for thing, change in changes:
        headers = {"If-Match": await tag(api, thing)}
        answers = await asyncio.gather(
            *(api.send("PATCH", thing, json=change(number), headers=headers) for number in range(crowd))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * (crowd - 1), thing


async def test_what_is_not_shown_stops_no_change(api: Api) -> None:
    """A workflow's stream moves on with each of its schedules' slots; what was seen of it is as it was."""
    workflow = await api.workflow(ENDING)
    path = f"/v1/workflows/{workflow}"
    await api.ok("POST", f"{path}/schedules", json={"interval": {"value": 1, "unit": "minutes"}})
    seen, log = await tag(api, path), len(api.store._log)
    await api.push(180_000)
    await api.settled()
    assert len(api.store._log) > log
    answers = await asyncio.gather(
        api.send("PATCH", path, json={"name": "mine"}, headers={"If-Match": seen}), api.push(60_000)
    )
    assert answers[0].status_code == 200, answers[0].text


async def test_a_key_and_a_schedule_are_guarded_too(api: Api) -> None:
    """A DELETE by a tag that is no longer so leaves both as they were."""
    key = (await api.ok("POST", "/v1/keys", json={"name": "k", "scopes": ["runs.view"]}))["data"]["id"]
    workflow = await api.workflow()
    made = await api.ok("POST", f"/v1/workflows/{workflow}/schedules", json=DAILY)
    for path in (f"/v1/keys/{key}", f"/v1/workflows/{workflow}/schedules/{made['data']['id']}"):
        assert (await api.send("DELETE", path, headers={"If-Match": NOBODY})).status_code == 412
        seen = await tag(api, path)
        assert (await api.send("DELETE", path, headers={"If-Match": seen})).status_code == 200


@pytest.mark.parametrize("given", ["", "abc", '"a', 'W"a"', '"a" "b"', "W/"])
async def test_a_condition_that_is_none_is_refused(api: Api, given: str) -> None:
    """And where it would guard against nothing: silence would be taken for a promise."""
    path = f"/v1/workflows/{await api.workflow()}"
    refused = await api.send("PATCH", path, json={"name": "mine"}, headers={"If-Match": given})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert refused.json()["error"]["message"].startswith("If-Match: ")
    body = {"name": "k", "scopes": ["runs.view"]}
    nowhere = await api.post("/v1/keys", json=body, headers={"If-Match": NOBODY})
    assert (nowhere.status_code, "leave it out" in nowhere.text) == (400, True)


async def test_a_thing_that_is_not_there_is_404(api: Api) -> None:
    """Whatever tag it should have."""
    path = "/v1/workflows/01890000-0000-7000-8000-000000000000"
    assert (await api.send("DELETE", path, headers={"If-Match": NOBODY})).status_code == 404
    assert (await api.get(path, headers={"If-None-Match": "*"})).status_code == 404


def test_each_change_has_a_get_with_a_tag() -> None:
    """At the same path, which takes no parameter that it needs."""
    shown = {route.path: route for route in ROUTES if route.is_of_one}
    changing = [route for route in ROUTES if route.changes is not None]
    assert len(changing) >= 7
    for route in changing:
        shown[route.path].query()
    unguarded = {route.path for route in ROUTES if route.method in ("PATCH", "PUT", "DELETE") and route.changes is None}
    assert unguarded == {"/v1/workflows/by-name/{name}"}
    some = changing[0]
    with pytest.raises(ValueError, match="only a GET has a tag"):
        Route(dialect=some.dialect, method="PATCH", path=some.path, handler=some.handler, is_of_one=True)


def test_lists_of_tags_are_read_as_they_are_written() -> None:
    """With commas within tags, and several headers of one name."""
    one = tag_of(b"a")
    assert one != tag_of(b"b")
    several = Headers(raw=[(b"if-match", b'"a,b" ,'), (b"if-match", b'W/"c"')])
    assert wanted_tags(several) == ['"a,b"', 'W/"c"']
    assert wanted_tags(Headers({})) is None
    assert is_known(Headers({"if-none-match": f'"x,y", W/{one}'}), one)
    assert not is_known(Headers({}), one)
    with pytest.raises(Invalid):
        wanted_tags(Headers({"if-match": '*, "a"'}))
