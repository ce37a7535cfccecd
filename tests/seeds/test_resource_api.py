"""The resource API as its seed has it: every endpoint, example, parameter, code and header, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import pytest

from perdure.api.http.problems import STATUS
from tests.seeds.conftest import KEY, Asked, eventually, seed

NUMBER: Final = "001"


class Example(NamedTuple):
    """An endpoint of the seed, with what it shows of requests and answers, word for word.

    `answer` is what `data` is shown as, of a list one of its items; `{...}` and `[...]` stand there as empty ones.
    """

    method: str
    path: str
    body: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    status: int = 200
    parameters: tuple[str, ...] = ()


LISTED = {
    "id": "wf_123",
    "name": "Lead Notification",
    "status": "published",
    "created_at": "2024-01-15T10:00:00Z",
    "updated_at": "2024-01-20T15:30:00Z",
}
SHOWN = {
    "id": "wf_123",
    "name": "Lead Notification",
    "description": "Notify sales on new leads",
    "status": "published",
    "nodes": [],
    "edges": [],
    "variables": {},
    "created_at": "2024-01-15T10:00:00Z",
}
NEW = {"name": "New Workflow", "description": "Workflow description", "nodes": [], "edges": []}
CHANGE = {"name": "Updated Name", "status": "published"}
EXECUTE = {"input": {"email": "user@example.com", "name": "John Doe"}}
EXECUTED = {"execution_id": "exec_456", "status": "running", "started_at": "2024-01-20T15:30:00Z"}
EXECUTION = {
    "id": "exec_456",
    "workflow_id": "wf_123",
    "status": "completed",
    "started_at": "2024-01-20T15:30:00Z",
    "completed_at": "2024-01-20T15:30:05Z",
    "output": {},
    "logs": [],
}

TABLE: Final = (
    Example("GET", "/workflows", answer=LISTED, parameters=("page", "limit", "status", "search")),
    Example("GET", "/workflows/:id", answer=SHOWN),
    Example("POST", "/workflows", NEW, SHOWN, status=201),
    Example("PATCH", "/workflows/:id", CHANGE, SHOWN),
    Example("DELETE", "/workflows/:id", answer=LISTED),
    Example("POST", "/workflows/:id/execute", EXECUTE, EXECUTED, status=201),
    Example("GET", "/executions/:id", answer=EXECUTION),
    Example("GET", "/workflows/:id/executions", parameters=("status", "from", "to")),
    Example("GET", "/executions", parameters=("cursor", "limit")),
)

LATER: Final = {
    *("GET /forms", "GET /forms/:id", "POST /forms", "POST /forms/:id/submissions", "GET /forms/:id/submissions"),
    *("GET /credentials", "POST /credentials", "DELETE /credentials/:id"),
    *("GET /integrations", "POST /integrations/:id/test"),
    *("POST /webhooks", "GET /webhooks", "DELETE /webhooks/:id"),
}
"""Endpoints of what comes later: forms, credentials, integrations and webhooks."""

META = {"page", "limit", "total"}
CURSOR_META = {"next_cursor", "has_more"}
STATUSES = ("pending", "running", "completed", "failed")
CODES = ("UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "VALIDATION_ERROR", "RATE_LIMITED", "INTERNAL_ERROR")
LIMITS = {"free": (60, 1_000), "starter": (120, 10_000), "pro": (300, 50_000), "business": (600, 200_000)}
RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
CURL = 'curl https://api.yourapp.com/v1/workflows \\\n-H "Authorization: Bearer YOUR_API_KEY"'
HANDLING = """const response = await fetch('/api/workflows');
const data = await response.json();
if (!data.success) {
switch (data.error.code) {
case 'RATE_LIMITED':
await delay(60000);
return retry();
case 'UNAUTHORIZED':
return refreshToken();
default:
throw new Error(data.error.message);
}
}"""

NODES: Final = [
    {"id": "start", "type": "trigger", "position": {"x": 0, "y": 0}},
    {"id": "greet", "type": "transform", "config": {"to": "{{ input.email }}", "text": "{{ variables.hello }}"}},
    {"id": "note", "type": "log", "config": {"message": "{{ input.name }} is new", "fields": {"n": 1}}},
]
EDGES: Final = [{"source": "start", "target": "greet"}, {"source": "greet", "target": "note"}]


@pytest.fixture
def asked(server: str) -> Asked:
    """The document's base address, asked with a key that may do everything."""
    return Asked(f"{server}/v1")


def checked(example: dict[str, Any], answer: dict[str, Any]) -> None:
    """Hold an answer against an example: it has each of its members, of the same type; instants can be read."""
    for name, value in example.items():
        assert name in answer, (name, answer)
        if name.endswith("_at") and answer[name] is not None:
            assert answer[name].endswith("Z")
            assert datetime.fromisoformat(answer[name]).tzinfo is not None
        elif answer[name] is not None and name != "output":
            assert type(answer[name]) is type(value), (name, answer[name])


def graph(asked: Asked, name: str, **more: Any) -> str:
    """A published workflow of a graph; gives its id."""
    body = {"name": name, "nodes": NODES, "edges": EDGES, "variables": {"hello": "Hi"}, "status": "published", **more}
    return str(asked.ok("POST", "/workflows", 201, json=body)["data"]["id"])


def finished(asked: Asked, execution_id: str) -> dict[str, Any]:
    """A run as it is shown when it has ended."""

    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = asked.ok("GET", f"/executions/{execution_id}")["data"]
        return shown if shown["completed_at"] else None

    return eventually(look)


# --- the table is the document's -------------------------------------------------------------------------------------


def test_the_table_has_every_endpoint_of_the_seed() -> None:
    """Each line of the seed that names a method and a path is in the table, or among what comes later."""
    text = seed(NUMBER)
    told = re.findall(r"^(GET|POST|PATCH|PUT|DELETE) (/[^\s?]*)", text, re.MULTILINE)
    assert {f"{method} {path}" for method, path in told} == {f"{row.method} {row.path}" for row in TABLE} | LATER


def test_the_table_says_what_the_seed_says() -> None:
    """Bodies, parameters, codes, words, headers, limits and the two programs stand there word for word."""
    text = seed(NUMBER)
    flat = re.sub(r"\s+", "", text)
    for row in TABLE:
        assert row.body is None or re.sub(r"\s+", "", json.dumps(row.body)) in flat, row.path
        for name in row.parameters:
            assert re.search(rf"{name}- |[?&]{name}=", text), name
    for example in (LISTED, SHOWN, EXECUTED, EXECUTION):
        for name, value in example.items():
            shown = "{...}" if value == {} else "[...]" if value == [] else json.dumps(value)
            assert f'"{name}": {shown}' in text, name
    assert re.findall(r"^\| ([A-Z_]+) \|", text, re.MULTILINE) == list(CODES)
    assert [line.partition(":")[0] for line in re.findall(r"^X-RateLimit.*", text, re.MULTILINE)] == list(RATE_HEADERS)
    for plan, (minute, day) in LIMITS.items():
        assert f"| {plan.title()} | {minute} | {day:,} |" in text
    assert f"status-Filter:{','.join(STATUSES)}" in flat
    assert CURL in text
    assert HANDLING in text


# --- workflows ---------------------------------------------------------------------------------------------------


def test_a_workflow_is_created_as_the_seed_does_it(asked: Asked) -> None:
    """The body of the example: a draft without a node, whose publication is refused, saying what it lacks."""
    made = asked.ok("POST", "/workflows", 201, json=NEW)
    assert made["success"] is True
    checked(SHOWN, made["data"])
    assert {name: made["data"][name] for name in NEW} == NEW
    assert (made["data"]["status"], made["data"]["variables"]) == ("draft", {})
    assert [each["path"] for each in made["data"]["warnings"]] == ["/nodes"]
    path = f"/workflows/{made['data']['id']}"

    refused = asked.send("PATCH", path, json=CHANGE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert refused.json()["error"]["details"]["errors"][0]["path"] == "/nodes"
    assert asked.ok("GET", path)["data"]["name"] == NEW["name"]

    asked.ok("PATCH", path, json={"nodes": NODES, "edges": EDGES, "variables": {"hello": "Hi"}})
    changed = asked.ok("PATCH", path, json=CHANGE)["data"]
    assert {name: changed[name] for name in CHANGE} == CHANGE


def test_a_workflow_is_shown_as_it_was_written(asked: Asked) -> None:
    """Its nodes, edges and variables, with what is only for who draws them; on request what they compile to."""
    path = f"/workflows/wf_{graph(asked, 'shown', description='Notify sales on new leads')}"
    shown = asked.ok("GET", path)["data"]
    checked(SHOWN, shown)
    assert (shown["nodes"], shown["edges"], shown["variables"]) == (NODES, EDGES, {"hello": "Hi"})
    assert "definition" not in shown
    assert asked.ok("GET", path, params={"expand": "definition"})["data"]["definition"]["StartAt"]


def test_a_definition_is_shown_as_a_graph(asked: Asked) -> None:
    """One that was written in Amazon States Language has nodes and edges too."""
    definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Succeed"}}}
    made = asked.ok("POST", "/workflows", 201, json={"name": "states", "definition": definition})["data"]
    checked(SHOWN, made)
    assert made["definition"] == definition
    assert {"A", "B"} <= {node["id"] for node in made["nodes"]}
    assert made["edges"]


def test_workflows_are_listed_in_both_ways(asked: Asked) -> None:
    """By pages of twenty with their number, and by a cursor; filtered by status and by a part of the name."""
    made = [graph(asked, f"listed {number}") for number in range(3)]
    asked.ok("POST", "/workflows", 201, json={**NEW, "name": "listed draft"})
    query = {"search": "LISTED", "status": "published"}

    page = asked.ok("GET", "/workflows", params={**query, "page": 2, "limit": 2})
    assert [each["id"] for each in page["data"]] == made[:1]
    assert {name: page["meta"][name] for name in META} == {"page": 2, "limit": 2, "total": 3}
    checked(LISTED, page["data"][0])
    plain = asked.ok("GET", "/workflows")["meta"]
    assert (plain["page"], plain["limit"]) == (1, 20)

    seen, cursor = [], ""
    while cursor is not None:
        page = asked.ok("GET", "/workflows", params={**query, "limit": 2, "cursor": cursor})
        seen += [each["id"] for each in page["data"]]
        assert page["meta"]["has_more"] is (page["meta"]["next_cursor"] is not None)
        cursor = page["meta"]["next_cursor"]
    assert seen == made[::-1]
    drafts = asked.ok("GET", "/workflows", params={"status": "draft", "search": "listed"})
    assert [each["name"] for each in drafts["data"]] == ["listed draft"]


def test_a_deleted_workflow_is_archived(asked: Asked) -> None:
    """200 with the workflow; nothing of it starts any more, and what there is can be read."""
    workflow_id = graph(asked, "to be deleted")
    deleted = asked.ok("DELETE", f"/workflows/{workflow_id}")["data"]
    checked(LISTED, deleted)
    assert deleted["status"] == "archived"
    refused = asked.send("POST", f"/workflows/{workflow_id}/execute", json=EXECUTE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    assert asked.ok("GET", f"/workflows/{workflow_id}")["data"]["nodes"] == NODES


# --- executions --------------------------------------------------------------------------------------------------


def test_a_workflow_is_executed_as_the_seed_does_it(asked: Asked) -> None:
    """201 at once, and the execution can be asked for until it has completed: with its output and its log."""
    workflow_id = graph(asked, "executed")
    answer = asked.ok("POST", f"/workflows/{workflow_id}/execute", 201, json=EXECUTE)
    assert answer["success"] is True
    checked(EXECUTED, answer["data"])
    assert answer["data"]["status"] == "running"

    shown = finished(asked, f"exec_{answer['data']['execution_id']}")
    checked(EXECUTION, shown)
    assert (shown["status"], shown["status_detail"], shown["workflow_id"]) == ("completed", "completed", workflow_id)
    assert shown["started_at"] == answer["data"]["started_at"]
    own = [line for line in shown["logs"] if line["message"] == "John Doe is new"]
    assert [(line["level"], line["node_id"], line["data"]) for line in own] == [("info", "note", {"n": 1})]
    for line in shown["logs"]:
        assert set(line) - {"data"} == {"at", "level", "node_id", "message"}
        assert line["level"] in ("debug", "info", "warn", "error")


def test_a_repeated_execute_starts_nothing_more(asked: Asked) -> None:
    """Under the same idempotency key it hears the same execution again; with another input it is refused."""
    path, key = f"/workflows/{graph(asked, 'once')}/execute", {"Idempotency-Key": "only-once"}
    answers = [asked.send("POST", path, json=EXECUTE, headers=key) for _ in "12"]
    assert [each.status_code for each in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    other = asked.send("POST", path, json={"input": {}}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "CONFLICT")


def test_executions_of_a_workflow_are_filtered(asked: Asked) -> None:
    """By each word of the document and by time; a wait is `running`, and what was ended from outside has `failed`."""
    workflow_id = graph(asked, "filtered")
    done = asked.ok("POST", f"/workflows/{workflow_id}/execute", 201, json=EXECUTE)["data"]["execution_id"]
    started = datetime.fromisoformat(finished(asked, done)["started_at"])
    waiting = {"StartAt": "W", "States": {"W": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}
    asked.ok("PATCH", f"/workflows/{workflow_id}", json={"definition": waiting})
    held, ended = (asked.ok("POST", f"/workflows/{workflow_id}/execute", 201)["data"]["execution_id"] for _ in "12")
    asked.ok("POST", f"/executions/{ended}/terminate")
    eventually(lambda: asked.ok("GET", f"/executions/{held}")["data"]["waiting_for"])

    def listed(**query: str) -> list[str]:
        page = asked.ok("GET", f"/workflows/{workflow_id}/executions", params=query)
        return [each["id"] for each in page["data"]]

    assert {word: listed(status=word) for word in STATUSES} == {
        "pending": [],
        "running": [held],
        "completed": [done],
        "failed": [ended],
    }
    assert listed(status_detail="terminated") == [ended]
    assert listed(status_detail="waiting") == [held]
    second = timedelta(seconds=1)
    assert listed(to=(started - second).isoformat()) == []
    assert listed(**{"from": (started - second).strftime("%Y-%m-%dT%H:%M:%SZ")}) == [ended, held, done]


def test_executions_are_paged_in_both_ways(asked: Asked) -> None:
    """`cursor` with `next_cursor` and `has_more`, as the seed has it, and by page with the total."""
    workflow_id = graph(asked, "paged")
    made = [asked.ok("POST", f"/workflows/{workflow_id}/execute", 201)["data"]["execution_id"] for _ in range(3)]
    for path, more in ((f"/workflows/{workflow_id}/executions", {}), ("/executions", {"workflow_id": workflow_id})):
        seen: list[str] = []
        query: dict[str, Any] = {**more, "limit": 2}
        while True:
            page = asked.ok("GET", path, params=query)
            assert set(page["meta"]) >= CURSOR_META
            seen += [each["id"] for each in page["data"]]
            if not page["meta"]["has_more"]:
                break
            query["cursor"] = page["meta"]["next_cursor"]
        assert seen == made[::-1]
        numbered = asked.ok("GET", path, params={**more, "limit": 2, "page": 2})
        assert [each["id"] for each in numbered["data"]] == made[:1]
        assert {name: numbered["meta"][name] for name in META} == {"page": 2, "limit": 2, "total": 3}
        beyond = asked.ok("GET", path, params={**more, "limit": 2, "page": 9})
        assert (beyond["data"], beyond["meta"]["total"], beyond["meta"]["has_more"]) == ([], 3, False)


# --- codes, limits and programs ----------------------------------------------------------------------------------


def test_every_error_code_is_told(asked: Asked, server: str) -> None:
    """In the document's envelope, with its status; a defect of ours has its place in the document alone."""
    narrow = asked.ok("POST", "/keys", 201, json={"name": "narrow", "scopes": ["runs.view"]})["data"]["key"]
    nobody = "018bcfe5-6800-7000-8000-000000000000"
    answers = {
        "UNAUTHORIZED": asked._replace(key=None).send("GET", "/workflows"),
        "FORBIDDEN": asked._replace(key=narrow).send("GET", "/workflows"),
        "NOT_FOUND": asked.send("GET", f"/workflows/{nobody}"),
        "VALIDATION_ERROR": asked.send("GET", "/workflows/nonsense"),
    }
    for code, response in answers.items():
        assert response.status_code == STATUS[code]
        body = response.json()
        assert body["success"] is False
        assert (body["error"]["code"], type(body["error"]["message"])) == (code, str)
    assert set(CODES) <= set(STATUS)
    document = Asked(server).ok("GET", "/openapi.json")
    assert "500" in document["paths"]["/v1/workflows"]["get"]["responses"]


def test_limits_are_those_of_the_plans(asked: Asked) -> None:
    """Each answer tells the limit, what is left and when that is over; beyond it, 429 says when to come back."""
    for plan, (minute, _) in LIMITS.items():
        other = of_plan(asked, plan, plan)
        told = other.send("GET", "/workflows").headers
        assert int(told[RATE_HEADERS[0]]) == minute
        assert 0 <= int(told[RATE_HEADERS[1]]) < minute
        assert int(told[RATE_HEADERS[2]]) > datetime.fromisoformat("2024-01-01T00:00:00Z").timestamp()
        if plan == "free":
            refused = next(each for each in many(other, minute + 1) if each.status_code != 200)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
            assert int(refused.headers["Retry-After"]) >= 1


def of_plan(asked: Asked, plan: str, organization: str) -> Asked:
    """A key of an organization that has this plan."""
    body = {"name": plan, "scopes": ["workflows.view", "organization.view"], "organization": organization}
    other = asked._replace(key=asked.ok("POST", "/keys", 201, json=body)["data"]["key"])
    asked.ok("PATCH", f"/organizations/{other.ok('GET', '/organization')['data']['id']}", json={"plan": plan})
    return other


def many(asked: Asked, times: int) -> Iterator[Any]:
    """So many answers to the same question."""
    for _ in range(times):
        yield asked.send("GET", "/workflows", params={"limit": 1})


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_call_of_the_seed_is_answered(server: str) -> None:
    """As it stands, but for the host and the key."""
    call = CURL.replace("https://api.yourapp.com", server).replace("YOUR_API_KEY", KEY)
    told = subprocess.run(["/bin/sh", "-c", f"{call} -s"], capture_output=True, timeout=60, check=True)
    assert json.loads(told.stdout)["success"] is True


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_the_error_handling_of_the_seed_runs(asked: Asked) -> None:
    """The program of the seed, given what it calls: it goes on, refreshes its token, waits and retries, or raises."""
    limited = of_plan(asked, "free", "f")
    list(many(limited, LIMITS["free"][0]))
    narrow = asked.ok("POST", "/keys", 201, json={"name": "narrow", "scopes": ["runs.view"]})["data"]["key"]
    said = {key: ran(asked, key) for key in (KEY, "wrong", str(limited.key), narrow)}
    assert said[KEY] == "went on"
    assert said["wrong"] == "refreshed"
    assert said[str(limited.key)] == "waited 60000 and retried"
    assert "workflows.view" in said[narrow]


def ran(asked: Asked, key: str) -> str:
    """What the program of the seed does with this key."""
    program = f"""
const real = fetch, base = {json.dumps(asked.address)}, headers = {{Authorization: "Bearer " + {json.dumps(key)}}};
let waited = "";
async function main(fetch, delay, retry, refreshToken) {{
{HANDLING}
return "went on";
}}
main(
  (path) => real(base + path.replace("/api", ""), {{headers}}),
  async (ms) => {{ waited = `waited ${{ms}} and `; }},
  () => waited + "retried",
  () => "refreshed",
).then((said) => console.log(said), (error) => console.log(error.message));
"""
    node = shutil.which("node")
    assert node is not None
    command = [node, "--input-type=module"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()
