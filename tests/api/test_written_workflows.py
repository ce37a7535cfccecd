"""Workflows as documents: written as graphs and steps, shared, checked, converted, versioned and restored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import ENDING, Api

PATH = "/v1/workflows"
NODES: list[dict[str, Any]] = [
    {"id": "a", "type": "log", "config": {"message": "{{ variables.who }}"}},
    {"id": "b", "type": "log", "config": {"message": "b"}},
]
EDGES = [{"source": "a", "target": "b"}]
GRAPH: dict[str, Any] = {"name": "g", "nodes": NODES, "edges": EDGES, "variables": {"who": "x"}}
DAILY = {"id": "t", "type": "trigger", "config": {"type": "schedule", "cron": "0 9 * * *", "timezone": "Asia/Tokyo"}}


async def made(api: Api, **more: Any) -> dict[str, Any]:
    """A workflow of the graph, and what else is said."""
    saved: dict[str, Any] = (await api.ok("POST", PATH, json={**GRAPH, **more}))["data"]
    return saved


async def refused(api: Api, method: str, path: str, body: dict[str, Any], status: int = 400) -> dict[str, Any]:
    """The error of a request that must be refused."""
    response = await api.send(method, path, json=body)
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


async def test_a_part_of_a_graph_is_changed_and_the_rest_stays(api: Api) -> None:
    """Its edges alone, or its variables: each makes the next version of the same graph."""
    path = f"{PATH}/{(await made(api))['id']}"
    turned = [{"source": "b", "target": "a"}]
    changed = (await api.ok("PATCH", path, json={"edges": turned, "change_summary": "the other way"}))["data"]
    assert (changed["nodes"], changed["edges"], changed["variables"]) == (NODES, turned, {"who": "x"})
    assert (changed["version"], changed["change_summary"], changed["status"]) == (2, "the other way", "draft")
    assert (await api.ok("PATCH", path, json={"variables": {"who": "y"}}))["data"]["edges"] == turned


async def test_a_definition_becomes_a_graph(api: Api) -> None:
    """Nodes that are sent for it make a version of that format, which runs."""
    path = f"{PATH}/{await api.workflow(ENDING)}"
    changed = (await api.ok("PATCH", path, json={"nodes": NODES, "edges": EDGES, "variables": {"who": "x"}}))["data"]
    assert (changed["format"], changed["status"], "definition" in changed) == ("graph", "published", False)
    shown = (await api.ok("GET", path, params={"version": 1, "expand": "document"}))["data"]
    assert (shown["format"], shown["document"], shown["definition"]) == ("asl", ENDING, ENDING)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"name": "n"}, "definition", "definition: it is missing, and so are nodes and steps"),
        ({**GRAPH, "steps": []}, "steps", "steps: it cannot be sent together with nodes; a workflow is written in one"),
        ({**GRAPH, "definition": ENDING}, "variables", "variables: it cannot be sent together with definition"),
        ({**GRAPH, "cron_expression": "0 9 * * *"}, "cron_expression", "a node of type trigger says when the workflow"),
        ({**GRAPH, "shared_user_ids": ["ann"]}, "shared_user_ids", "it goes with visibility 'shared'"),
        ({**GRAPH, "visibility": "shared"}, "shared_user_ids", "at least one user or role is named"),
        ({**GRAPH, "visibility": "public"}, "visibility", "it must be 'private', 'tenant' or 'shared'"),
        ({**GRAPH, "nodes": "[]"}, "nodes", "it must be a list of nodes"),
    ],
)
async def test_what_does_not_go_together_is_refused(api: Api, body: dict[str, Any], field: str, message: str) -> None:
    """By the name of the field, saying why; and nothing is made."""
    error = await refused(api, "POST", PATH, body)
    assert (error["code"], error["details"]["field"]) == ("VALIDATION_ERROR", field)
    assert message in error["message"]
    assert (await api.ok("GET", PATH))["meta"]["total"] == 0


async def test_every_problem_of_a_graph_is_told_in_its_place(api: Api) -> None:
    """With pointers into what was sent."""
    nodes = [{"id": "a", "type": "lg"}, {"id": "a", "type": "log", "config": {"message": "m"}}]
    error = await refused(api, "POST", PATH, {"name": "g", "nodes": nodes, "edges": []})
    assert {each["path"] for each in error["details"]["errors"]} == {"/nodes/0/type", "/nodes/1/id"}


async def test_a_draft_may_be_empty_and_is_not_published_so(api: Api) -> None:
    """It can be tried out, and ends at once."""
    blank = {"name": "blank", "nodes": [], "edges": []}
    saved = (await api.ok("POST", PATH, json=blank))["data"]
    assert saved["warnings"][0]["path"] == "/nodes"
    run = await api.ok("POST", f"{PATH}/{saved['id']}/execute", params={"test": True}, json={"input": {"n": 1}})
    await api.settled()
    assert (await api.ok("GET", f"/v1/executions/{run['data']['execution_id']}"))["data"]["output"] == {"n": 1}
    for method, path, body in (
        ("PATCH", f"{PATH}/{saved['id']}", {"status": "published"}),
        ("POST", PATH, {**blank, "status": "published"}),
    ):
        error = await refused(api, method, path, body)
        assert error["details"]["errors"] == [{"path": "/nodes", "message": "must be a list of 1 to 1000 nodes"}]


async def test_a_trigger_of_the_graph_is_the_schedule(api: Api) -> None:
    """It comes with it, and goes with it; applied by name, too."""
    scheduled = {"nodes": [DAILY, *NODES], "edges": [{"source": "t", "target": "a"}, *EDGES]}
    saved = await made(api, **scheduled, status="published")
    assert (saved["trigger_type"], saved["cron_expression"], saved["timezone"]) == (
        *("schedule", "0 9 * * *", "Asia/Tokyo"),
    )
    changed = (await api.ok("PATCH", f"{PATH}/{saved['id']}", json={"nodes": NODES, "edges": EDGES}))["data"]
    assert changed["trigger_type"] == "manual"
    body = {name: {**GRAPH, **scheduled}[name] for name in ("nodes", "edges", "variables")}
    applied = (await api.ok("PUT", f"{PATH}/by-name/other", json={**body, "change_summary": "daily"}))["data"]
    assert (applied["cron_expression"], applied["change_summary"]) == ("0 9 * * *", "daily")
    body |= {"nodes": NODES, "edges": EDGES}
    applied = (await api.ok("PUT", f"{PATH}/by-name/other", json=body))["data"]
    assert (applied["outcome"], applied["trigger_type"], applied["change_summary"]) == ("changed", "manual", None)


async def test_who_sees_a_workflow_is_changed(api: Api) -> None:
    """What is not said of it stays; others do not find it."""
    ann = await api.new_key("workflows.view", "workflows.manage", user_id="ann")
    bob = await api.new_key("workflows.view", user_id="bob")
    saved = (await api.ok("POST", PATH, json={**GRAPH, "visibility": "private"}, key=ann))["data"]
    assert (saved["visibility"], saved["owner_user_id"]) == ("private", "ann")
    path = f"{PATH}/{saved['id']}"
    assert (await api.get(path, key=bob)).status_code == 404
    shared = {"visibility": "shared", "shared_user_ids": ["bob"], "shared_role_ids": ["finance"]}
    assert (await api.ok("PATCH", path, json=shared, key=ann))["data"]["shared_role_ids"] == ["finance"]
    changed = (await api.ok("PATCH", path, json={"shared_role_ids": []}, key=ann))["data"]
    assert (changed["shared_user_ids"], changed["shared_role_ids"]) == (["bob"], [])
    assert (await api.ok("GET", path, key=bob))["data"]["name"] == "g"
    assert (await api.ok("PATCH", path, json={"visibility": "tenant"}, key=ann))["data"]["shared_user_ids"] == []


async def test_a_graph_is_applied_by_name(api: Api) -> None:
    """Sent again it changes nothing."""
    body = {name: GRAPH[name] for name in ("nodes", "edges", "variables")}
    outcomes = [(await api.ok("PUT", f"{PATH}/by-name/g", json=body))["data"]["outcome"] for _ in range(2)]
    assert outcomes == ["created", "unchanged"]


async def test_versions_are_listed_and_restored(api: Api) -> None:
    """Newest first, a page at a time; an earlier one becomes the next, as it was written."""
    path = f"{PATH}/{(await made(api, status='published', change_summary='first'))['id']}"
    await api.ok("PATCH", path, json={"definition": ENDING})
    page = await api.ok("GET", f"{path}/versions", params={"limit": 1})
    assert [(each["version"], each["format"]) for each in page["data"]] == [(2, "asl")]
    assert page["meta"] == {"limit": 1, "has_more": True, "next_cursor": "2"}
    rest = await api.ok("GET", f"{path}/versions", params={"cursor": "2"})
    assert [(each["version"], each["change_summary"]) for each in rest["data"]] == [(1, "first")]

    restored = (await api.ok("POST", f"{path}/versions/1/restore"))["data"]
    assert (restored["version"], restored["format"], restored["nodes"]) == (3, "graph", NODES)
    assert restored["change_summary"] == "restored from version 1"
    assert (await api.post(f"{path}/versions/3/restore")).status_code == 409
    assert (await api.post(f"{path}/versions/9/restore")).status_code == 404
    assert "version: 'x' is not accepted" in (await api.post(f"{path}/versions/x/restore")).text
    assert (await api.get(f"{path}/versions", params={"cursor": "x"})).json()["error"]["details"]["field"] == "cursor"


@pytest.mark.parametrize(
    ("body", "paths", "warned"),
    [
        ({"document": ENDING}, [], []),
        ({"document": {"StartAt": "A", "States": {}}}, ["/StartAt", "/States"], []),
        (
            {"document": {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "no", "End": True}}}},
            ["/States/A/Resource"],
            [],
        ),
        ({"format": "graph", "document": {"nodes": []}, "is_draft": True}, [], ["/nodes"]),
        ({"format": "graph", "document": {"nodes": []}}, ["/nodes"], []),
        ({"format": "steps", "document": {"name": "s", "steps": [{"id": "x", "type": "lgo"}]}}, ["/steps/0/type"], []),
        ({"format": "service", "document": {"steps": []}}, ["", "", "/steps"], []),
    ],
)
async def test_a_document_is_checked(api: Api, body: dict[str, Any], paths: list[str], warned: list[str]) -> None:
    """In any format: every problem in its place, and warnings; nothing is kept."""
    told = (await api.ok("POST", f"{PATH}/validate", json=body))["data"]
    assert [each["path"] for each in told["problems"]] == paths
    assert told["valid"] is (not paths)
    assert [each["path"] for each in told["warnings"]] == warned
    assert (await api.ok("GET", PATH))["meta"]["total"] == 0


async def test_a_document_is_converted(api: Api) -> None:
    """A graph to what it compiles to, and that to a graph again, which is the same machine."""
    document = {name: GRAPH[name] for name in ("nodes", "edges", "variables")}
    asl = (await api.ok("POST", f"{PATH}/convert", json={"from": "graph", "to": "asl", "document": document}))["data"]
    assert asl["format"] == "asl"
    back = {"from": "asl", "to": "graph", "document": asl["document"]}
    graph = (await api.ok("POST", f"{PATH}/convert", json=back))["data"]["document"]
    again = {"from": "graph", "to": "asl", "document": graph}
    assert (await api.ok("POST", f"{PATH}/convert", json=again))["data"] == asl
    error = await refused(api, "POST", f"{PATH}/convert", {**again, "document": {"nodes": []}})
    assert error["details"]["errors"][0]["path"] == "/nodes"
    error = await refused(api, "POST", f"{PATH}/convert", {**again, "to": "yaml"})
    assert error["details"]["field"] == "to"


async def test_a_page_has_a_number_or_a_cursor(api: Api) -> None:
    """Not both; and a cursor must be one."""
    for query, field in (({"page": 1, "cursor": ""}, "cursor"), ({"cursor": "x"}, "cursor")):
        response = await api.get(PATH, params=query)
        assert (response.status_code, response.json()["error"]["details"]["field"]) == (400, field)
