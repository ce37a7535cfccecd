"""Workflows of the runs API: drafted, changed, activated, paused, archived and restored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.conftest import ENDING, WAITING
from tests.api.runs_api.conftest import ASK, LOG, RunsApi

DAILY = {"type": "schedule", "cron": "0 9 * * *", "timezone": "Europe/Berlin"}
UNKNOWN = "018bcfe5-6800-7000-8000-000000000000"


async def path_of(runs: RunsApi, *steps: Any, **more: Any) -> str:
    """The path of an active workflow."""
    return f"workflows/{await runs.workflow(*steps, **more)}"


async def test_a_workflow_is_a_draft_until_it_is_activated(runs: RunsApi) -> None:
    """What is null is as if it were not there; a draft runs only as a test."""
    body = {"name": "w", "steps": [LOG], "description": "", "trigger": None, "settings": {"timeoutMs": None}}
    made = await runs.ok("POST", "workflows", body)
    assert (made["status"], made["version"], made["publishedAt"], made["format"]) == ("draft", 1, None, "steps")
    assert (made["steps"], made["trigger"], made["settings"], made["warnings"]) == ([LOG], {"type": "api"}, {}, [])
    path = f"workflows/{made['id']}"
    refused = await runs.refused(409, "POST", f"{path}/run", {"input": {}})
    assert (refused["code"], "is a draft" in refused["message"]) == ("CONFLICT", True)
    tried = await runs.ok("POST", f"{path}/run?test=true", {"input": {"name": "x"}})
    assert (tried["workflowId"], tried["workflowVersion"]) == (made["id"], 1)
    active = await runs.ok("POST", f"workflows/wf_{made['id']}/activate")
    assert (active["status"], active["version"]) == ("active", 1)
    assert active["publishedAt"] is not None
    assert await runs.ok("POST", f"{path}/activate") == active
    assert (await runs.send("POST", f"{path}/run")).status_code == 201


async def test_an_unready_draft_is_not_activated(runs: RunsApi) -> None:
    """Every problem is told, with its place."""
    steps = [{"id": "a", "type": "loop", "config": {}}, {"id": "a", "type": "condtion"}]
    refused = await runs.refused(400, "POST", "workflows", {"name": "w", "steps": steps})
    assert {each["path"] for each in refused["details"]["errors"]} >= {"/steps/0/config/steps", "/steps/1/id"}
    assert "Did you mean 'condition'" in str(refused)
    assert (await runs.whole("GET", "workflows"))["data"] == []


async def test_a_paused_workflow_takes_no_run(runs: RunsApi) -> None:
    """It is 409 until it is resumed, or activated."""
    path = await path_of(runs)
    for way_back in ("resume", "activate"):
        assert (await runs.ok("POST", f"{path}/pause"))["status"] == "paused"
        assert (await runs.refused(409, "POST", f"{path}/run"))["code"] == "CONFLICT"
        assert (await runs.ok("POST", f"{path}/{way_back}"))["status"] == "active"
        assert (await runs.send("POST", f"{path}/run")).status_code == 201


@pytest.mark.parametrize(("method", "word"), [("DELETE", ""), ("POST", "/archive")])
async def test_an_archived_workflow_is_only_read(runs: RunsApi, method: str, word: str) -> None:
    """Archiving it again changes nothing; whatever would change or run it is 409."""
    path = await path_of(runs)
    for _ in range(2):
        assert (await runs.ok(method, f"{path}{word}"))["status"] == "archived"
    for again in ("activate", "pause", "run", "resume"):
        assert (await runs.refused(409, "POST", f"{path}/{again}"))["code"] == "CONFLICT", again
    for change in ({"name": "z"}, {"steps": [ASK]}, {"settings": {"timeoutMs": 5}}):
        assert (await runs.refused(409, "PATCH", path, change))["code"] == "CONFLICT"
    assert (await runs.refused(409, "PUT", path, {"name": "z", "steps": [ASK]}))["code"] == "CONFLICT"
    assert (await runs.ok("GET", path))["status"] == "archived"


async def test_lists_are_filtered_and_paged(runs: RunsApi) -> None:
    """By this API's words, and a part of the name; from page to page each is there once, while others are made."""
    made = [await runs.workflow(name=f"number {number}") for number in range(5)]
    await runs.ok("POST", f"workflows/{made[0]}/pause")
    await runs.ok("DELETE", f"workflows/{made[1]}")
    draft = await runs.ok("POST", "workflows", {"name": "a draft", "steps": [LOG]})
    for status, ids in (("paused", [made[0]]), ("archived", [made[1]]), ("draft", [draft["id"]])):
        page = await runs.whole("GET", f"workflows?status={status}")
        assert [each["id"] for each in page["data"]] == ids
        assert {each["status"] for each in page["data"]} == {status}
        assert page["meta"] == {"cursor": None, "hasMore": False}
    assert len((await runs.whole("GET", "workflows?status=active"))["data"]) == 3
    assert [each["id"] for each in (await runs.whole("GET", "workflows?search=NUMBER%203"))["data"]] == [made[3]]
    seen, cursor = list[str](), ""
    while True:
        page = await runs.whole("GET", f"workflows?limit=2{cursor}")
        seen += [each["id"] for each in page["data"]]
        await runs.workflow(name="made meanwhile")
        if not page["meta"]["hasMore"]:
            break
        cursor = f"&cursor={page['meta']['cursor']}"
    assert seen == [draft["id"], *reversed(made)]


async def test_a_change_of_an_active_workflow_is_the_next_version_and_active(runs: RunsApi) -> None:
    """With its summary; a name is no version; a draft beside it waits to be activated."""
    path = await path_of(runs)
    changed = await runs.ok("PATCH", path, {"steps": [LOG, ASK], "changeSummary": "somebody is asked"})
    assert (changed["version"], changed["status"], changed["changeSummary"]) == (2, "active", "somebody is asked")
    named = await runs.ok("PATCH", path, {"name": "other", "description": "d"})
    assert (named["version"], named["name"], named["description"]) == (2, "other", "d")
    assert (await runs.ok("PATCH", path, {}))["version"] == 2
    draft = await runs.ok("PATCH", path, {"steps": [ASK], "status": "draft"})
    assert (draft["version"], draft["publishedAt"], draft["status"], draft["name"]) == (3, None, "active", "other")
    assert (await runs.ok("POST", f"{path}/run"))["workflowVersion"] == 2
    await runs.ok("POST", f"{path}/activate")
    assert (await runs.ok("POST", f"{path}/run"))["workflowVersion"] == 3
    page = await runs.whole("GET", f"{path}/versions?limit=2")
    assert [(each["version"], each["status"]) for each in page["data"]] == [(3, "published"), (2, "published")]
    assert page["data"][1]["changeSummary"] == "somebody is asked"
    rest = await runs.whole("GET", f"{path}/versions?limit=2&cursor={page['meta']['cursor']}")
    assert ([each["version"] for each in rest["data"]], rest["meta"]["hasMore"]) == ([1], False)


async def test_a_summary_of_nothing_is_refused(runs: RunsApi) -> None:
    """It would be lost: no version is made that could have it."""
    path = await path_of(runs)
    for body in ({"changeSummary": "s"}, {"name": "n", "changeSummary": "s"}):
        assert (await runs.refused(400, "PATCH", path, body))["details"]["field"] == "changeSummary"


async def test_settings_are_merged(runs: RunsApi) -> None:
    """Null takes one back to its default, null for all takes all back; PUT puts others in their place."""
    path = await path_of(runs, settings={"timeoutMs": 1000, "concurrencyLimit": 2})
    changed = await runs.ok("PATCH", path, {"settings": {"timeoutMs": 2000}})
    assert changed["settings"] == {"timeoutMs": 2000, "concurrencyLimit": 2}
    changed = await runs.ok("PATCH", path, {"settings": {"concurrencyLimit": None}})
    assert changed["settings"] == {"timeoutMs": 2000}
    put = await runs.ok("PUT", path, {"name": "n", "steps": [LOG], "settings": {"concurrencyLimit": 3}})
    assert put["settings"] == {"concurrencyLimit": 3}
    assert (await runs.ok("PATCH", path, {"settings": None}))["settings"] == {}
    await runs.ok("PATCH", path, {"settings": {"concurrencyLimit": 1}})
    assert (await runs.ok("PUT", path, {"name": "n", "steps": [LOG]}))["settings"] == {}
    refused = await runs.refused(400, "PATCH", path, {"settings": {"timeoutMs": 0}})
    assert "timeoutMs" in refused["message"]


async def test_what_was_changed_beside_the_document_stays(runs: RunsApi) -> None:
    """Settings and the main schedule, set through another API, outlive a change of steps through this one."""
    workflow_id = await runs.workflow(settings={"timeoutMs": 1000}, trigger=DAILY)
    path, elsewhere = f"workflows/{workflow_id}", f"/v1/workflows/{workflow_id}"
    assert (await runs.ok("GET", path))["trigger"] == DAILY
    await runs.api.ok("PATCH", elsewhere, json={"settings": {"timeoutMs": 5000}})
    schedule = (await runs.api.ok("GET", f"{elsewhere}/schedules"))["data"][0]
    await runs.api.ok("PATCH", f"{elsewhere}/schedules/{schedule['id']}", json={"cron_expression": "0 7 * * *"})
    changed = await runs.ok("PATCH", path, {"steps": [LOG, ASK]})
    assert changed["settings"] == {"timeoutMs": 5000}
    assert changed["trigger"] == {"type": "schedule", "cron": "0 7 * * *", "timezone": "Europe/Berlin", "enabled": True}
    (kept,) = (await runs.api.ok("GET", f"{elsewhere}/schedules"))["data"]
    assert (kept["id"], kept["cron_expression"]) == (schedule["id"], "0 7 * * *")
    await runs.api.ok("DELETE", f"{elsewhere}/schedules/{schedule['id']}")
    assert (await runs.ok("GET", path))["trigger"] == {"type": "api"}
    assert (await runs.ok("PATCH", path, {"trigger": None}))["trigger"] == {"type": "api"}


async def test_a_trigger_becomes_the_schedule(runs: RunsApi) -> None:
    """An interval too; another one in its place changes it, and `api` ends it."""
    hourly = {"type": "schedule", "config": {"interval": {"value": 2, "unit": "hours"}, "enabled": False}}
    workflow_id = await runs.workflow(trigger=hourly)
    path = f"workflows/{workflow_id}"
    assert (await runs.ok("GET", path))["trigger"] == hourly
    (found,) = (await runs.api.ok("GET", f"/v1/{path}/schedules"))["data"]
    assert (found["interval"], found["status"]) == ({"value": 2, "unit": "hours"}, "paused")
    assert (await runs.ok("PATCH", path, {"trigger": DAILY}))["trigger"] == DAILY
    assert (await runs.ok("PATCH", path, {"trigger": {"type": "api"}}))["trigger"] == {"type": "api"}
    assert (await runs.api.ok("GET", f"/v1/{path}/schedules"))["data"] == []
    refused = await runs.refused(400, "PATCH", path, {"trigger": {**DAILY, "cron": "x y"}})
    assert [each["path"] for each in refused["details"]["errors"]] == ["/trigger/cron"], refused


async def test_an_earlier_version_is_restored(runs: RunsApi) -> None:
    """With its steps, settings and schedule, as the next version."""
    path = await path_of(runs, settings={"timeoutMs": 1000}, trigger=DAILY)
    await runs.ok("PUT", path, {"name": "n", "steps": [ASK]})
    restored = await runs.ok("POST", f"{path}/versions/1/restore")
    assert (restored["version"], restored["steps"], restored["status"]) == (3, [LOG], "active")
    assert (restored["settings"], restored["trigger"]) == ({"timeoutMs": 1000}, DAILY)
    assert restored["changeSummary"] == "restored from version 1"
    assert (await runs.refused(409, "POST", f"{path}/versions/3/restore"))["code"] == "CONFLICT"
    assert (await runs.refused(404, "POST", f"{path}/versions/7/restore"))["code"] == "NOT_FOUND"
    for wrong in ("0", "x", "9" * 30, "%D9%A3", "-1", "1.0", "%C2%B2"):
        assert (await runs.refused(400, "POST", f"{path}/versions/{wrong}/restore"))["details"]["field"] == "n"


async def test_of_changes_that_race_none_is_lost(runs: RunsApi) -> None:
    """Each that is answered 200 is there afterwards, whatever the others changed; the rest are 409."""
    path = await path_of(runs)
    schemas = {"inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}}
    changes: list[dict[str, Any]] = [
        {"steps": [LOG, ASK]},
        {"settings": {"timeoutMs": 5000}},
        {"variables": {"a": 1}},
        *({name: schema} for name, schema in schemas.items()),
    ]
    answers = await asyncio.gather(*(runs.send("PATCH", path, change) for change in changes))
    assert {answer.status_code for answer in answers} <= {200, 409}
    now = await runs.ok("GET", path)
    made = [change for change, answer in zip(changes, answers, strict=True) if answer.status_code == 200]
    assert made
    assert [change for change in made if any(now[name] != value for name, value in change.items())] == []
    assert now["version"] == 1 + len(made)


async def test_a_workflow_is_archived_or_activated_first(runs: RunsApi) -> None:
    """Whoever comes second is told; archived it stays."""
    made = await runs.ok("POST", "workflows", {"name": "w", "steps": [LOG]})
    path = f"workflows/{made['id']}"
    answers = await asyncio.gather(*(runs.send("POST", f"{path}/{word}") for word in ("archive", "activate")))
    assert answers[0].status_code == 200
    assert answers[1].status_code in (200, 409)
    assert (await runs.ok("GET", path))["status"] == "archived"


# --- of other formats --------------------------------------------------------------------------------------------


async def test_a_definition_of_states_is_shown_as_steps_and_keeps_its_definition(runs: RunsApi) -> None:
    """A name, a description, settings and a status change nothing of it; all of it runs and is archived here."""
    workflow_id = await runs.api.workflow(WAITING)
    path, elsewhere = f"workflows/{workflow_id}", f"/v1/workflows/{workflow_id}"
    shown = await runs.ok("GET", path)
    assert (shown["format"], shown["status"]) == ("asl", "active")
    assert [each["id"] for each in shown["steps"]] == ["Ask", "Done"]
    before = (await runs.api.ok("GET", elsewhere))["data"]["definition"]
    changed = await runs.ok("PATCH", path, {"name": "other", "description": "d"})
    assert (changed["name"], changed["version"], changed["format"]) == ("other", 1, "asl")
    changed = await runs.ok("PATCH", path, {"settings": {"timeoutMs": 5000}, "changeSummary": "s"})
    assert (changed["version"], changed["settings"], changed["changeSummary"]) == (2, {"timeoutMs": 5000}, "s")
    assert (await runs.ok("PATCH", path, {"settings": None}))["settings"] == {}
    assert (await runs.api.ok("GET", elsewhere))["data"]["definition"] == before
    for name, value in (("variables", {}), ("inputSchema", {}), ("trigger", DAILY), ("outputSchema", {})):
        refused = await runs.refused(400, "PATCH", path, {name: value})
        assert (refused["details"]["field"], "written as asl" in refused["message"]) == (name, True)
    assert (await runs.shown(await runs.run(workflow_id)))["suspended"] is True
    assert (await runs.ok("DELETE", path))["status"] == "archived"


async def test_steps_take_the_place_of_a_definition_of_states(runs: RunsApi) -> None:
    """Its schedule and its settings stay, if nothing is said of them."""
    workflow_id = await runs.api.workflow(ENDING, settings={"timeoutMs": 5000})
    schedule = {"cron_expression": "0 9 * * *", "trigger_type": "schedule"}
    await runs.api.ok("PATCH", f"/v1/workflows/{workflow_id}", json=schedule)
    shown = await runs.ok("GET", f"workflows/{workflow_id}")
    assert shown["trigger"] == {"type": "schedule", "cron": "0 9 * * *", "timezone": "UTC", "enabled": True}
    changed = await runs.ok("PATCH", f"workflows/{workflow_id}", {"steps": [LOG]})
    assert (changed["format"], changed["steps"], changed["settings"]) == ("steps", [LOG], {"timeoutMs": 5000})
    assert changed["trigger"] == shown["trigger"]
    found = await runs.shown(await runs.run(workflow_id, {"name": "Al"}))
    assert found["output"]["hello"] == "Al"


# --- odd requests ------------------------------------------------------------------------------------------------

ODD: list[dict[str, Any]] = [
    {"steps": []},
    {"steps": [None]},
    {"steps": [[]]},
    {"steps": [{}]},
    {"steps": [{"id": "", "type": "wait"}]},
    {"steps": [{"id": "a" * 300, "type": "transform"}]},
    {"steps": [LOG, LOG]},
    {"steps": [{"id": "a", "type": "transform", "zzz": 1}]},
    {"steps": [{"id": "a", "type": "transform", "errorHandling": "explode"}]},
    {"steps": [{"id": "a", "type": "transform", "config": {"b": "{{ ((( }}"}}]},
    {"steps": [LOG], "inputSchema": {"type": 7}},
    {"steps": [LOG], "inputSchema": {"$ref": "https://nobody.invalid/s.json"}},
    {"steps": [LOG], "settings": {"zzz": 1}},
    {"steps": [LOG], "trigger": {"type": "moon"}},
    {"steps": [LOG], "trigger": {"type": "webhook"}},
    {"steps": [LOG], "trigger": {}},
    {"steps": [{"id": f"s{number}", "type": "transform"} for number in range(1_001)]},
    {"steps": [LOG], "definition": ENDING},
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:50])
async def test_an_odd_document_is_refused_and_nothing_is_left(runs: RunsApi, odd: dict[str, Any]) -> None:
    """By POST, PUT and PATCH alike; the workflow stays as it was."""
    path = await path_of(runs)
    before, log = await runs.ok("GET", path), len(runs.api.store._log)
    for method, where, body in (
        ("POST", "workflows", {"name": "w", **odd}),
        ("PUT", path, {"name": "w", **odd}),
        ("PATCH", path, odd),
    ):
        refused = await runs.refused(400, method, where, body)
        assert refused["code"] == "VALIDATION_ERROR"
    assert len(runs.api.store._log) == log
    assert await runs.ok("GET", path) == before


async def test_a_document_may_be_large_but_not_huge(runs: RunsApi) -> None:
    """A thousand steps are taken, shown and run; more than a body may have is 413."""
    steps = [{"id": f"s{number}", "type": "transform", "config": {"n": number}} for number in range(300)]
    workflow_id = await runs.workflow(*steps)
    assert (await runs.ok("GET", f"workflows/{workflow_id}"))["steps"] == steps
    huge = {"name": "w", "steps": [{"id": "a", "type": "transform", "config": {"n": "x" * 2_000_000}}]}
    assert (await runs.refused(413, "POST", "workflows", huge))["code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_what_is_not_there_is_404(runs: RunsApi, method: str) -> None:
    """And an id that is none is 400, by its name; with a prefix it is the id."""
    body = {"PUT": {"name": "n", "steps": [LOG]}, "PATCH": {"name": "n"}}.get(method)
    assert (await runs.refused(404, method, f"workflows/wf_{UNKNOWN}", body))["code"] == "NOT_FOUND"
    assert (await runs.refused(400, method, "workflows/wf_x", body))["details"]["field"] == "id"
