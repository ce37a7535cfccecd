"""The runs API as its two seeds have it: calls, snippets, envelopes, statuses, error modes, against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import Any, Final

import pytest

from perdure.api.dialects.runs.routes import ROUTES
from perdure.api.http.problems import STATUS
from tests.seeds.conftest import KEY, Asked, eventually, seed

HOST: Final = "https://api.justpaid.io"
LIST_CURL: Final = f'curl -H "x-api-key: wfk_your_api_key" {HOST}/api/v1/workflows'
RUN_CURL: Final = f"""curl -X POST {HOST}/api/v1/workflows/{{WORKFLOW_ID}}/run \\
-H "x-api-key: YOUR_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{{"input": {{"customerId": "cus_123"}}}}'"""
RUN_SCRIPT: Final = f"""const response = await fetch(
`{HOST}/api/v1/workflows/${{workflowId}}/run`,
{{
method: 'POST',
headers: {{
'x-api-key': process.env.JUSTPAID_API_KEY,
'Content-Type': 'application/json',
}},
body: JSON.stringify({{ input: {{ customerId: 'cus_123' }} }}),
}}
);
const {{ data }} = await response.json();
console.log('Run ID:', data.runId);"""
READ_CURL: Final = f"""curl {HOST}/api/v1/runs/{{RUN_ID}} \\
-H "x-api-key: YOUR_API_KEY\""""
READ_SCRIPT: Final = f"""const response = await fetch(
`{HOST}/api/v1/runs/${{runId}}`,
{{ headers: {{ 'x-api-key': process.env.JUSTPAID_API_KEY }} }}
);
const {{ data }} = await response.json();
console.log('Status:', data.status);
console.log('Output:', data.output);"""
SNIPPETS: Final = ((LIST_CURL, "000"), *((each, "003") for each in (RUN_CURL, RUN_SCRIPT, READ_CURL, READ_SCRIPT)))

HTTP_CODES: Final = {200, 201, 400, 401, 403, 404, 429, 500}
LIFECYCLE: Final = ("pending", "running", "completed", "failed", "timed_out")
MODES: Final = ("fail", "continue", "retry")
RESOURCES: Final = {"Workflows": "workflows", "Runs": "runs"}
LATER: Final = ("Agents", "Connections", "Webhooks", "Tables")
"""Resources that come later: with connections, tables, agents and webhooks."""

RETRYING: Final = {
    "id": "send-invoice",
    "type": "action",
    "errorHandling": "retry",
    "retryConfig": {"maxAttempts": 3, "backoffMs": 1000},
}
"""The document's step; what it does is not said there."""
QUICK: Final = {"maxAttempts": 3, "backoffMs": 1}
TIMED: Final = {"settings": {"timeoutMs": 300000}}
ONE_BY_ONE: Final = {"settings": {"concurrencyLimit": 1}}

ECHO: Final = [{"id": "echo", "type": "transform", "config": {"customer": "{{ input.customerId }}"}}]
REFUSING: Final = {"action": "http_request", "config": {"url": "http://nobody.invalid/"}}
"""An action that fails each time: no host has such a name (RFC 6761)."""


@pytest.fixture
def asked(server: str) -> Asked:
    """The seeds' base address, asked with a key that may do everything."""
    return Asked(f"{server}/api/v1")


def workflow(asked: Asked, steps: list[dict[str, Any]], **more: Any) -> str:
    """An active workflow of these steps; gives its id."""
    body = {"name": "from the seed", "steps": steps, "status": "active", **more}
    return str(asked.ok("POST", "/workflows", 201, json=body)["data"]["id"])


def run(asked: Asked, workflow_id: str, run_input: dict[str, Any] | None = None) -> str:
    """A run that was started; gives its id."""
    started = asked.ok("POST", f"/workflows/{workflow_id}/run", 201, json={"input": run_input or {}})
    assert started["success"] is True
    assert started["data"]["status"] == "pending"
    return str(started["data"]["runId"])


def shown(asked: Asked, run_id: str) -> dict[str, Any]:
    """A run as it is now."""
    found: dict[str, Any] = asked.ok("GET", f"/runs/{run_id}")["data"]
    return found


def ended(asked: Asked, run_id: str) -> dict[str, Any]:
    """A run as it is shown when it has ended."""
    return eventually(lambda: found if (found := shown(asked, run_id))["completedAt"] else None)


def test_the_tables_have_what_the_seeds_have() -> None:
    """Each snippet, code, status, mode and resource of the seeds stands in them, and in this test, word for word."""
    texts = {number: seed(number) for number in ("000", "003")}
    for snippet, number in SNIPPETS:
        assert snippet in texts[number]
    rows = [line.split("|")[1].strip(" `") for line in texts["000"].splitlines() if line.startswith("| ")]
    assert {int(row) for row in rows if row.isdecimal()} == HTTP_CODES
    rows = [line.split("|")[0].strip() for line in texts["003"].splitlines() if " | " in line]
    said = {line.split("|")[1].strip(" `") for line in texts["003"].splitlines() if line.startswith("|")}
    assert {*LIFECYCLE, *MODES} <= said | {row.strip("`") for row in rows} | set(texts["003"].split())
    for name in (*RESOURCES, *LATER):
        assert f"\n{name}\n" in texts["000"]
    for value in (TIMED, ONE_BY_ONE, RETRYING):
        flat = json.dumps(value).replace(" ", "").replace("\n", "")
        assert flat in texts["003"].replace(" ", "").replace("\n", "")


def test_each_resource_of_the_seed_has_its_routes() -> None:
    """Those that are there now; a code of the seed is a status of some refusal or success."""
    for path in RESOURCES.values():
        assert any(route.path.startswith(f"/api/v1/{path}") for route in ROUTES)
    assert {200, 201, *STATUS.values()} >= HTTP_CODES


def test_answers_have_the_envelopes_of_the_seed(asked: Asked) -> None:
    """`{success, data}` and `{success, error: {code, message}}`; each refusal of the seed has its status."""
    assert asked.ok("GET", "/workflows")["success"] is True
    nobody = Asked(asked.address, "wfk_unknown")
    narrow = Asked(asked.address.removesuffix("/api/v1")).ok(
        "POST", "/v1/keys", 201, json={"name": "reads runs", "scopes": ["runs:read"]}
    )["data"]["key"]
    for response, status, code in (
        (asked.send("POST", "/workflows", json={"name": "n", "steps": []}), 400, "VALIDATION_ERROR"),
        (nobody.send("GET", "/workflows"), 401, "UNAUTHORIZED"),
        (Asked(asked.address, narrow).send("GET", "/workflows"), 403, "FORBIDDEN"),
        (asked.send("GET", "/runs/018bcfe5-6800-7000-8000-000000000000"), 404, "NOT_FOUND"),
    ):
        body = response.json()
        assert (response.status_code, body["success"], body["error"]["code"]) == (status, False, code), response.text
        assert body["error"]["message"]


def test_curl_of_the_seeds_works_as_it_stands(asked: Asked) -> None:
    """But for host, key and ids."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")

    def curl(command: str, **ids: str) -> dict[str, Any]:
        command = command.replace(HOST, asked.address.removesuffix("/api/v1"))
        command = command.replace("wfk_your_api_key", KEY).replace("YOUR_API_KEY", KEY)
        for name, value in ids.items():
            command = command.replace(f"{{{name}}}", value)
        done = subprocess.run(command.replace("curl ", "curl -s ", 1), shell=True, capture_output=True, check=True)  # noqa: S602
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["success"] is True, answer
        return answer

    workflow_id = workflow(asked, ECHO)
    assert workflow_id in {each["id"] for each in curl(LIST_CURL)["data"]}
    run_id = curl(RUN_CURL, WORKFLOW_ID=workflow_id)["data"]["runId"]
    ended(asked, run_id)
    found = curl(READ_CURL, RUN_ID=run_id)["data"]
    assert (found["status"], found["input"]) == ("completed", {"customerId": "cus_123"})


def test_javascript_of_the_seed_works_as_it_stands(asked: Asked) -> None:
    """But for host, key and ids."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")

    def script(text: str, **ids: str) -> str:
        declared = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in ids.items())
        text = declared + text.replace(HOST, asked.address.removesuffix("/api/v1"))
        done = subprocess.run(
            [node, "--input-type=module", "-e", text],
            env={"JUSTPAID_API_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    said = script(RUN_SCRIPT, workflowId=workflow(asked, ECHO))
    run_id = said.removeprefix("Run ID: ").strip()
    assert ended(asked, run_id)["status"] == "completed"
    said = script(READ_SCRIPT, runId=run_id)
    assert said.splitlines()[0] == "Status: completed"
    assert "cus_123" in said


def test_a_step_that_fails_is_handled_as_it_says(asked: Asked) -> None:
    """`fail` fails the run; `continue` goes on with the error as output; `retry` tries three times, and then fails."""
    after = {"id": "after", "type": "transform", "config": {"reached": True}}
    for mode, status, attempts in (("fail", "failed", 1), ("continue", "completed", 1), ("retry", "failed", 3)):
        step = {**RETRYING, **REFUSING, "errorHandling": mode}
        step = (
            {**step, "retryConfig": QUICK} if mode == "retry" else {k: v for k, v in step.items() if k != "retryConfig"}
        )
        found = ended(asked, run(asked, workflow(asked, [step, after])))
        assert found["status"] == status, (mode, found)
        first, second = found["steps"]
        assert (first["id"], first["attempts"]) == ("send-invoice", attempts)
        assert second["status"] == ("completed" if mode == "continue" else "skipped")
        if status == "failed":
            assert found["error"]["step"] == "send-invoice"


def test_time_limits_and_limits_of_runs_are_settings(asked: Asked) -> None:
    """A run over its time is `timed_out`, a step's own limit overrides; with a limit of 1 runs go one by one."""
    slow = {"id": "rest", "type": "wait", "config": {"duration": 60_000}}
    assert shown(asked, run(asked, workflow(asked, ECHO, **TIMED)))["status"] in LIFECYCLE
    assert ended(asked, run(asked, workflow(asked, [slow], settings={"timeoutMs": 50})))["status"] == "timed_out"

    asking = [{"id": "ask", "type": "approval", "config": {"title": "go on?"}}]
    workflow_id = workflow(asked, asking, **ONE_BY_ONE)
    first, second = run(asked, workflow_id), run(asked, workflow_id)
    waiting = eventually(lambda: found if (found := shown(asked, first))["suspended"] else None)
    queued = shown(asked, second)
    assert (waiting["status"], queued["status"], queued["queuePosition"]) == ("running", "pending", 1)
    (approval,) = waiting["approvals"]
    asked.ok("POST", f"/runs/{first}/approvals/{approval['id']}", json={"decision": "approve"})
    assert ended(asked, first)["status"] == "completed"
    assert eventually(lambda: shown(asked, second)["suspended"]) is True


def test_a_run_has_an_id_logs_and_output(asked: Asked) -> None:
    """Each execution creates a run with a unique id, logs step by step, and its output."""
    workflow_id = workflow(asked, ECHO)
    first, second = (run(asked, workflow_id, {"customerId": name}) for name in ("a", "b"))
    assert first != second
    assert ended(asked, first)["output"]["customer"] == "a"
    lines = asked.ok("GET", f"/runs/{first}/logs")["data"]
    assert {"echo", None} <= {line["nodeId"] for line in lines}
    listed = asked.ok("GET", f"/runs?workflowId={workflow_id}&limit=1")
    assert ([each["id"] for each in listed["data"]], listed["meta"]["hasMore"]) == ([second], True)
    page = asked.ok("GET", f"/runs?workflowId={workflow_id}&limit=1&cursor={listed['meta']['cursor']}")
    assert [each["id"] for each in page["data"]] == [first]


def test_a_plan_s_limit_is_429(asked: Asked) -> None:
    """Beyond it each answer says when to come back; the organization is one of its own."""
    root = Asked(asked.address.removesuffix("/api/v1"))
    key = root.ok("POST", "/v1/keys", 201, json={"name": "free", "scopes": ["workflows:read"], "organization": "free"})
    organization = key["data"]["organization_id"]
    root.ok("PATCH", f"/v1/organizations/{organization}", json={"plan": "free"})
    free = Asked(asked.address, key["data"]["key"])
    begun = time.monotonic()
    answers = [free.send("GET", "/workflows") for _ in range(61)]
    assert time.monotonic() - begun < 60, "the machine is too slow for a limit of a minute"
    assert [each.status_code for each in answers] == [*[200] * 60, 429]
    assert answers[-1].json()["error"]["code"] == "RATE_LIMITED"
    assert int(answers[-1].headers["Retry-After"]) > 0
