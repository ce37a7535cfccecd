"""Workflows: as they are written through the resource API, and as the process API shows them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure.engine import language
from perdure.engine.runtime.streams.bulky import IN_LOOP_MAX
from perdure.engine.services import documents
from tests.api.conftest import ENDING, PROCESS, WAITING, Api

UNKNOWN = "01977420-0000-7000-8000-000000000000"
NEW = {"name": "invoice approval", "definition": ENDING}
SENDING_BEFORE_WAITING = {
    "StartAt": "Send",
    "States": {
        "Send": {"Type": "Task", "Resource": "http_request", "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}


async def test_a_workflow_is_made(api: Api) -> None:
    """201, with what was given and what was made of it."""
    response = await api.post("/v1/workflows", json={**NEW, "description": "two\nlines", "settings": {}})
    assert response.status_code == 201
    body = response.json()
    assert body["success"] is True
    data = body["data"]
    assert data.items() >= {**NEW, "description": "two\nlines", "status": "published", "version": 1}.items()
    assert data["created_at"] == data["updated_at"] == "2025-06-15T15:06:40.000Z"
    assert data["warnings"] == []
    shown = (await api.ok("GET", f"/v1/workflows/{data['id']}"))["data"]
    assert data == {**shown, "warnings": []}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ""}, "name: '' is not accepted; it must be a text of 1 to 120 characters"),
        ({"name": "x" * 121}, "name: "),
        ({"name": "two\nlines"}, "name: "),
        ({"name": "nul\0"}, "name: "),
        ({"name": 7}, "name: 7"),
        ({"name": None}, "name: null"),
        ({"description": "x" * 501}, "description: "),
        ({"definition": [ENDING]}, "definition: a list"),
        ({"definition": "{}"}, "definition: it is a JSON string"),
        ({"status": "archived"}, "status: 'archived' is not accepted; it must be 'published' or 'draft'"),
        ({"trigger_type": "webhook"}, "trigger_type: "),
        ({"mock_payload": 7}, "mock_payload: "),
        ({"nmae": "x"}, "nmae: there is no such field (did you mean name?)"),
        ({"settings": {"timeout": 1}}, "settings.timeout: there is no such field"),
    ],
)
async def test_what_is_wrong_is_named(api: Api, fields: dict[str, Any], says: str) -> None:
    """With the field, its value, and what is accepted; nothing is made."""
    response = await api.post("/v1/workflows", json={**NEW, **fields})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(says)
    assert (await api.ok("GET", "/v1/workflows"))["meta"]["total"] == 0


SET = {"timeoutMs": 60_000, "concurrencyLimit": 3, "concurrencyKey": "$.customer", "concurrencyCounts": "active"}
UNSET = {
    "resume": "any",
    "timeoutMs": None,
    "concurrencyLimit": None,
    "concurrencyKey": None,
    "concurrencyCounts": "all",
    "quotas": dict.fromkeys(("events", "bytes", "transitionsPerSecond", "openRuns", "childDepth")),
}


async def test_settings_are_shown_and_changed_one_by_one(api: Api) -> None:
    """What is not sent stays, null takes one back, and each change makes a version that keeps the definition."""
    made = (await api.ok("POST", "/v1/workflows", json={**NEW, "settings": SET}))["data"]
    path = f"/v1/workflows/{made['id']}"
    assert made["settings"] == UNSET | SET

    changed = (await api.ok("PATCH", path, json={"settings": {"concurrencyLimit": 5}}))["data"]
    assert (changed["version"], changed["settings"]) == (2, UNSET | SET | {"concurrencyLimit": 5})
    same = (await api.ok("PATCH", path, json={"settings": {"concurrencyLimit": 5}}))["data"]
    assert same["version"] == 2
    back = (await api.ok("PATCH", path, json={"settings": dict.fromkeys(SET)}))["data"]
    assert (back["version"], back["settings"], back["definition"]) == (3, UNSET, made["definition"])


async def test_quotas_are_changed_one_by_one(api: Api) -> None:
    """Of a workflow and of the organization: what is not sent stays, and null takes back one, or all."""
    made = (await api.ok("POST", "/v1/workflows", json={**NEW, "settings": {"quotas": {"events": 500}}}))["data"]
    quotas: dict[str, Any] = dict.fromkeys(("events", "bytes", "transitionsPerSecond", "openRuns", "childDepth"))
    assert made["settings"]["quotas"] == quotas | {"events": 500}
    for path, before in ((f"/v1/workflows/{made['id']}", {"events": 500}), ("/v1/organization", {})):
        for change, shown in (
            ({"childDepth": 3}, before | {"childDepth": 3}),
            ({"events": None, "openRuns": 10}, {"childDepth": 3, "openRuns": 10}),
            ({}, {"childDepth": 3, "openRuns": 10}),
            (None, {}),
        ):
            answer = (await api.ok("PATCH", path, json={"settings": {"quotas": change}}))["data"]
            assert answer["settings"]["quotas"] == quotas | shown
            assert (await api.ok("GET", path))["data"]["settings"]["quotas"] == quotas | shown
    response = await api.send("PATCH", "/v1/organization", json={"settings": {"quotas": {"openRuns": 10**6}}})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["details"] == {"field": "settings.quotas.openRuns"}
    assert "more than the engine's own quota (workflow_open_runs_max) is not to be had" in error["message"]


async def test_beyond_its_open_runs_a_trigger_is_refused(api: Api) -> None:
    """With the quota in the details."""
    settings = {"quotas": {"openRuns": 1}}
    made = (await api.ok("POST", "/v1/workflows", json={**NEW, "definition": WAITING, "settings": settings}))["data"]
    await api.trigger(made["id"])
    response = await api.post(f"/v2/workflows/triggerworkflow/{made['id']}", json={})
    assert response.status_code == 409
    assert response.json()["error"] == {"code": "CONFLICT", "details": {"limit": 1}}
    assert "(quotas.openRuns of the workflow) is 1" in response.json()["message"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"timeoutMs": 0}, "settings.timeoutMs: 0 is not accepted; it must be "),
        ({"timeoutMs": "soon"}, "settings.timeoutMs: 'soon' is not accepted; it must be "),
        ({"concurrencyLimit": 100_001}, "settings.concurrencyLimit: 100001 is not accepted; it must be "),
        ({"concurrencyLimit": 1.5}, "settings.concurrencyLimit: 1.5 is not accepted; it must be "),
        ({"concurrencyLimit": 1, "concurrencyKey": ""}, "settings.concurrencyKey: '' is not accepted; it must be "),
        ({"concurrencyKey": "$.a"}, "settings.concurrencyKey: it needs settings.concurrencyLimit"),
        ({"concurrencyCounts": "some"}, "settings.concurrencyCounts: 'some' is not accepted; it must be 'all' or 'a"),
        ({"concurencyLimit": 1}, "settings.concurencyLimit: "),
        ({"quotas": {"events": 99}}, "settings.quotas.events: 99 is not accepted; it must be "),
        (
            {"quotas": {"events": 10**7}},
            "settings.quotas.events: 10000000 is not accepted; it must be a whole",
        ),
        ({"quotas": {"openRuns": 1.5}}, "settings.quotas.openRuns: 1.5 is not accepted; it must be "),
        ({"quotas": {"childDepths": 1}}, "settings.quotas.childDepths: "),
        ({"quotas": 7}, "settings.quotas: 7 is not accepted; it must be "),
    ],
)
async def test_settings_that_are_not_accepted_are_named(api: Api, settings: dict[str, Any], says: str) -> None:
    """With the member, its value, and what is accepted; nothing is made."""
    response = await api.post("/v1/workflows", json={**NEW, "settings": settings})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(says)
    assert (await api.ok("GET", "/v1/workflows"))["meta"]["total"] == 0


async def test_every_problem_of_a_definition_is_told(api: Api) -> None:
    """With a JSON Pointer to each, steps that nobody registered among them."""
    definition = {"StartAt": "Nowhere", "States": {"A": {"Type": "Task", "Resource": "nobody", "Next": "B"}}}
    response = await api.post("/v1/workflows", json={**NEW, "definition": definition})
    assert response.status_code == 400
    errors = response.json()["error"]["details"]["errors"]
    assert {"/StartAt", "/States/A/Next"} <= {error["path"] for error in errors}
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "nobody", "End": True}}}
    response = await api.post("/v1/workflows", json={**NEW, "definition": definition})
    assert response.json()["error"]["details"]["errors"][0]["path"] == "/States/A/Resource"


async def test_a_step_that_sends_before_a_bare_wait_is_warned_of(api: Api) -> None:
    """Its answer could come before the wait; the workflow is made all the same."""
    made = await api.ok("POST", "/v1/workflows", json={**NEW, "definition": SENDING_BEFORE_WAITING})
    assert len(made["data"]["warnings"]) == 1
    assert set(made["data"]["warnings"][0]) == {"path", "message"}


async def test_a_changed_definition_makes_the_next_version(api: Api) -> None:
    """The published one stays; the same definition again makes none; names change in place."""
    workflow_id = await api.workflow(ENDING)
    url = f"/v1/workflows/{workflow_id}"
    changed = (await api.ok("PATCH", url, json={"definition": WAITING, "name": "new name"}))["data"]
    assert (changed["version"], changed["name"], changed["status"]) == (2, "new name", "published")
    assert (await api.ok("PATCH", url, json={"definition": WAITING}))["data"]["version"] == 2
    assert (await api.ok("PATCH", url, json={"description": "d"}))["data"]["version"] == 2
    old = await api.ok("GET", f"{PROCESS}/getWorkflowById", params={"workflow_id": workflow_id, "workflow_version": 1})
    assert [step["name"] for step in old["item"]["workflow_steps"]] == ["Done"]


async def test_of_two_changes_at_once_none_undoes_the_other(api: Api) -> None:
    """Each makes a version that takes over what it does not name: so the second is 409 unless it has seen the first."""
    for _ in range(10):
        path = f"/v1/workflows/{await api.workflow(WAITING)}"
        answers = await asyncio.gather(
            api.send("PATCH", path, json={"settings": {"resume": "named"}}),
            api.send("PATCH", path, json={"definition": {**WAITING, "Comment": "changed"}}),
        )
        latest = (await api.ok("GET", path))["data"]
        accepted = [answer.status_code == 200 for answer in answers]
        assert [latest["settings"]["resume"] == "named", "Comment" in latest["definition"]] == accepted
        assert {answer.status_code for answer in answers} <= {200, 409}


async def test_a_draft_is_published(api: Api) -> None:
    """By a change of its status; a published version is no draft again."""
    workflow_id = await api.workflow(status="draft")
    url = f"/v1/workflows/{workflow_id}"
    assert (await api.ok("GET", url))["data"]["status"] == "draft"
    assert (await api.ok("PATCH", url, json={"status": "published"}))["data"]["status"] == "published"
    await api.trigger(workflow_id)
    assert (await api.send("PATCH", url, json={"status": "draft"})).status_code == 409


@pytest.mark.parametrize(
    "body",
    [{"name": None}, {"name": ""}, {"description": None}, {"status": "archived"}, {"definition": {}}, {"version": 3}],
)
async def test_a_change_is_checked_like_a_new_workflow(api: Api, body: dict[str, Any]) -> None:
    """And what is refused changes nothing."""
    workflow_id = await api.workflow(ENDING)
    before = await api.ok("GET", f"/v1/workflows/{workflow_id}")
    assert (await api.send("PATCH", f"/v1/workflows/{workflow_id}", json=body)).status_code == 400
    assert await api.ok("GET", f"/v1/workflows/{workflow_id}") == before


async def test_a_deleted_workflow_is_archived(api: Api) -> None:
    """Again is the same; it can still be read, and no longer be changed."""
    workflow_id = await api.workflow(ENDING)
    url = f"/v1/workflows/{workflow_id}"
    for _ in range(2):
        assert (await api.ok("DELETE", url))["data"]["status"] == "archived"
    assert (await api.ok("GET", url))["data"]["status"] == "archived"
    assert (await api.send("PATCH", url, json={"name": "x"})).status_code == 409


async def test_workflows_are_listed(api: Api) -> None:
    """Newest first, by page, status and a part of the name; `total` counts all that fit."""
    for name in ("Alpha", "Beta 100%", "alphabet"):
        await api.workflow(ENDING, name=name)
    await api.workflow(ENDING, name="a draft", status="draft")

    async def names(**query: Any) -> tuple[list[str], int]:
        page = await api.ok("GET", "/v1/workflows", params=query)
        assert page["meta"].items() >= {"page": query.get("page", 1), "limit": query.get("limit", 20)}.items()
        return [item["name"] for item in page["data"]], page["meta"]["total"]

    assert await names() == (["a draft", "alphabet", "Beta 100%", "Alpha"], 4)
    assert await names(page=2, limit=3) == (["Alpha"], 4)
    assert await names(page=1_000_000, limit=100) == ([], 4)
    assert await names(status="draft") == (["a draft"], 1)
    assert await names(search="ALPHA") == (["alphabet", "Alpha"], 2)
    assert await names(search="%") == (["Beta 100%"], 1)
    for wrong in ({"page": 0}, {"limit": 101}, {"status": "live"}, {"search": ""}, {"page": 10**12}):
        assert (await api.get("/v1/workflows", params=wrong)).status_code == 400


async def test_a_workflow_that_is_not_there_is_404(api: Api) -> None:
    """And an id that is none 400."""
    calls: tuple[tuple[str, dict[str, Any]], ...] = (("GET", {}), ("PATCH", {"json": {}}), ("DELETE", {}))
    for method, more in calls:
        assert (await api.send(method, f"/v1/workflows/{UNKNOWN}", **more)).status_code == 404
        assert (await api.send(method, "/v1/workflows/x", **more)).status_code == 400


# --- as the process API shows them -------------------------------------------------------------------------------


async def test_a_version_is_shown_with_all_fields_of_the_seed(api: Api) -> None:
    """Steps and connections, status words, and `latest` as a text."""
    workflow_id = await api.workflow()
    query = {"workflow_id": workflow_id, "workflow_version": 1}
    answer = await api.ok("GET", f"{PROCESS}/getWorkflowById", params=query)
    item = answer["item"]
    assert set(item) == {
        *("organization_id", "workflow_integrations", "workflow_name", "created_by", "workflow_status_version"),
        *("modified_by", "workflow_version", "workflow_steps", "workflow_id", "modified_on", "latest"),
        *("workflow_connections", "workflow_status", "workspace_id", "created_on", "workflow_schema"),
    }
    assert (item["workflow_status"], item["workflow_status_version"], item["latest"]) == ("ACTIVE", "ACTIVE_1", "true")
    assert item["created_by"].startswith("key:")
    assert item["created_on"] == 1_750_000_000_000


async def test_status_words_follow_the_version(api: Api) -> None:
    """`DRAFT`, `ACTIVE` and `ARCHIVED`; only the highest version is the latest."""
    workflow_id = await api.workflow(ENDING)
    await api.ok("PATCH", f"/v1/workflows/{workflow_id}", json={"definition": WAITING, "status": "draft"})

    async def rows() -> list[tuple[str, str]]:
        page = await api.ok("GET", f"{PROCESS}/getOrganizationWorkflows")
        return [(item["workflow_status_version"], item["latest"]) for item in page["items"]]

    assert await rows() == [("DRAFT_2", "true"), ("ACTIVE_1", "false")]
    await api.ok("DELETE", f"/v1/workflows/{workflow_id}")
    assert await rows() == [("ARCHIVED_2", "true"), ("ARCHIVED_1", "false")]


async def test_the_schema_is_of_the_mock_payload(api: Api) -> None:
    """The one given with the definition, with a JSON Schema for it."""
    workflow_id = await api.workflow(mock_payload={"amount": 5, "lines": ["a"]})
    query = {"workflow_id": workflow_id, "workflow_version": 1}
    item = (await api.ok("GET", f"{PROCESS}/getWorkflowSchemaById", params=query))["item"]
    assert set(item) == {
        *("workflow_id", "modified_on", "created_by", "workflow_mock_payload", "workflow_schema"),
        *("modified_by", "workflow_version", "created_on"),
    }
    assert item["workflow_mock_payload"] == {"amount": 5, "lines": ["a"]}
    assert item["workflow_schema"]["properties"]["amount"] == {"type": "integer"}


async def test_without_a_mock_payload_the_latest_finished_run_gives_it(api: Api) -> None:
    """To a key that may see runs; others are shown none."""
    workflow_id = await api.workflow(ENDING)
    query = {"workflow_id": workflow_id, "workflow_version": 1}
    url = f"{PROCESS}/getWorkflowSchemaById"
    item = (await api.ok("GET", url, params=query))["item"]
    assert (item["workflow_mock_payload"], item["workflow_schema"]) == (None, {})
    await api.trigger(workflow_id, {"amount": 7})
    assert (await api.ok("GET", url, params=query))["item"]["workflow_mock_payload"] == {"amount": 7}
    blind = await api.new_key("workflows.view")
    assert (await api.ok("GET", url, params=query, key=blind))["item"]["workflow_mock_payload"] is None


@pytest.mark.parametrize("path", ["getWorkflowById", "getWorkflowSchemaById"])
async def test_both_halves_of_a_version_are_required(api: Api, path: str) -> None:
    """A missing or wrong one is 400, an unknown one 404."""
    workflow_id = await api.workflow()
    for query, status in (
        ({"workflow_id": workflow_id}, 400),
        ({"workflow_version": 1}, 400),
        ({"workflow_id": workflow_id, "workflow_version": 0}, 400),
        ({"workflow_id": workflow_id, "workflow_version": 2}, 404),
        ({"workflow_id": UNKNOWN, "workflow_version": 1}, 404),
    ):
        assert (await api.get(f"{PROCESS}/{path}", params=query)).status_code == status, query


# --- applying under a name ---------------------------------------------------------------------------------------

BY_NAME = "/v1/workflows/by-name/invoice%2Fapproval"


async def test_a_definition_is_applied_under_a_name(api: Api) -> None:
    """Created at first, then the next version if anything differs, else nothing at all is written."""
    made = (await api.ok("PUT", BY_NAME, json={"definition": WAITING}))["data"]
    assert (made["name"], made["outcome"], made["version"], made["status"]) == (
        "invoice/approval",
        "created",
        1,
        "published",
    )
    position = await api.store.position()
    same = (await api.ok("PUT", BY_NAME, json={"definition": WAITING}))["data"]
    assert (same["outcome"], same["id"], same["version"]) == ("unchanged", made["id"], 1)
    assert await api.store.position() == position
    changes: list[tuple[dict[str, Any], int]] = [
        ({"definition": ENDING}, 2),
        ({"definition": ENDING, "settings": {"resume": "named"}}, 3),
        ({"definition": ENDING, "description": "d"}, 3),
    ]
    for body, version in changes:
        changed = (await api.ok("PUT", BY_NAME, json=body))["data"]
        assert (changed["outcome"], changed["id"], changed["version"]) == ("changed", made["id"], version)
    assert (await api.ok("PUT", BY_NAME, json={"definition": ENDING}))["data"]["outcome"] == "unchanged"


async def test_a_draft_is_applied_and_then_published(api: Api) -> None:
    """As a draft it runs nothing new; applied without that it is published, and a draft again it is not."""
    await api.ok("PUT", BY_NAME, json={"definition": WAITING})
    draft = {"definition": ENDING, "status": "draft"}
    for outcome in ("changed", "unchanged"):
        applied = (await api.ok("PUT", BY_NAME, json=draft))["data"]
        assert (applied["outcome"], applied["version"], applied["published_at"]) == (outcome, 2, None)
    published = (await api.ok("PUT", BY_NAME, json={"definition": ENDING}))["data"]
    assert (published["outcome"], published["version"]) == ("changed", 2)
    assert published["published_at"] is not None
    assert (await api.ok("PUT", BY_NAME, json=draft))["data"]["outcome"] == "unchanged"


async def test_twenty_apply_at_once(api: Api) -> None:
    """One of them creates the workflow; there is one, with one version."""
    answers = await asyncio.gather(*(api.ok("PUT", BY_NAME, json={"definition": WAITING}) for _ in range(20)))
    outcomes = sorted(answer["data"]["outcome"] for answer in answers)
    assert outcomes == ["created"] + ["unchanged"] * 19
    assert len({answer["data"]["id"] for answer in answers}) == 1


async def test_a_name_that_several_have_is_not_applied_to(api: Api) -> None:
    """Both are named; an archived one does not count, and its name is free again."""
    first = await api.workflow(name="twice")
    body = {"name": "twice", "definition": WAITING}
    second = (await api.ok("POST", "/v1/workflows", json=body))["data"]
    assert first in second["warnings"][-1]["message"]
    response = await api.send("PUT", "/v1/workflows/by-name/twice", json={"definition": ENDING})
    assert response.status_code == 409
    assert first in response.json()["error"]["message"]
    assert second["id"] in response.json()["error"]["message"]
    await api.ok("DELETE", f"/v1/workflows/{first}")
    changed = (await api.ok("PUT", "/v1/workflows/by-name/twice", json={"definition": ENDING}))["data"]
    assert (changed["id"], changed["warnings"]) == (second["id"], [])
    await api.ok("DELETE", f"/v1/workflows/{second['id']}")
    created = (await api.ok("PUT", "/v1/workflows/by-name/twice", json={"definition": ENDING}))["data"]
    assert created["outcome"] == "created"


async def test_a_name_that_means_nothing_yet_is_a_warning(api: Api) -> None:
    """It stands where the name does; once there is such a workflow, the same definition is another version."""
    start = {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution", "End": True}
    definition = {"StartAt": "Call", "States": {"Call": {**start, "Parameters": {"StateMachineArn": "ship"}}}}
    made = (await api.ok("PUT", BY_NAME, json={"definition": definition}))["data"]
    (warning,) = made["warnings"]
    assert warning["path"] == "/States/Call/Parameters/StateMachineArn"
    assert "no workflow is named 'ship' yet" in warning["message"]
    await api.workflow(ENDING, name="ship")
    for outcome in ("changed", "unchanged"):
        again = (await api.ok("PUT", BY_NAME, json={"definition": definition}))["data"]
        assert (again["outcome"], again["shown_version"], again["warnings"]) == (outcome, 2, [])


async def test_what_is_applied_must_be_valid(api: Api) -> None:
    """The name as in a creation, the definition with every problem; nothing is written."""
    position = await api.store.position()
    for url, body, says in (
        ("/v1/workflows/by-name/a%0Ab", {"definition": ENDING}, "name: "),
        (f"/v1/workflows/by-name/{'x' * 121}", {"definition": ENDING}, "name: "),
        (BY_NAME, {"definition": {}}, "definition: "),
        (BY_NAME, {"definition": ENDING, "mock_payload": {}}, "mock_payload: "),
        (BY_NAME, {"definition": ENDING, "name": "other"}, "name: "),
    ):
        response = await api.send("PUT", url, json=body)
        assert response.status_code == 400, (url, body)
        assert response.json()["error"]["message"].startswith(says)
    assert await api.store.position() == position


async def test_an_earlier_version_is_shown(api: Api) -> None:
    """By its number; the workflow around it is as it is now."""
    made = (await api.ok("PUT", BY_NAME, json={"definition": WAITING}))["data"]
    await api.ok("PUT", BY_NAME, json={"definition": ENDING})
    shown = (await api.ok("GET", f"/v1/workflows/{made['id']}?version=1"))["data"]
    assert (shown["version"], shown["shown_version"], shown["definition"]) == (2, 1, WAITING)
    assert (await api.get(f"/v1/workflows/{made['id']}?version=3")).status_code == 404


async def test_an_apply_that_takes_long_holds_up_no_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those under its own name wait for it."""
    gate, problems = threading.Event(), language.problems

    def slow(definition: Any) -> Any:
        assert "Comment" not in definition or gate.wait(10)
        return problems(definition)

    monkeypatch.setattr(documents, "problems", slow)
    path, other = "/v1/workflows/by-name/one", await api.new_key(organization="B")
    large = {"Comment": "a" * IN_LOOP_MAX, "StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
    small = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
    first = asyncio.ensure_future(api.send("PUT", path, json={"definition": large}))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        assert (await api.send("PUT", path, json={"definition": small}, key=other)).status_code == 200
        assert (await api.send("PUT", f"{path}-more", json={"definition": small})).status_code == 200
    second = asyncio.ensure_future(api.send("PUT", path, json={"definition": small}))
    await asyncio.sleep(0.05)
    assert not second.done()
    gate.set()
    assert [each.json()["data"]["version"] for each in await asyncio.gather(first, second)] == [1, 2]
