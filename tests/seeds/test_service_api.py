"""The service API as its seed has it: routes, scopes, fields, limits, defaults, answers, example, on a real server."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import pytest

from tests.seeds.service_steps import NAMES

HERE: Final = Path(__file__).parent
SEEDS: Final = Path(__file__).resolve().parents[2].parent / "shared" / "seeds"
KEY: Final = "pk_the_service_api_of_the_seed"
BASE: Final = "/api/v1/services/workflows"
NOT_THERE: Final = "01977420-dc00-7000-8000-000000000001"

# --- the seed, written out ---------------------------------------------------------------------------------------

SCOPES: Final = {
    "service.workflows.workflows.view": "List and read workflows.",
    "service.workflows.workflows.manage": "Create, update, pause, resume, delete workflows.",
    "service.workflows.workflows.run": "Trigger a workflow run.",
    "service.workflows.runs.view": "List runs.",
}
VIEW, MANAGE, RUN, RUNS = SCOPES

ROUTES: Final = {
    f"GET {BASE}/workflows": VIEW,
    f"POST {BASE}/workflows": MANAGE,
    f"POST {BASE}/workflows/{{id}}/run": RUN,
    f"GET {BASE}/runs": RUNS,
    f"GET {BASE}/workflows/{{id}}/runs": RUNS,
    f"GET {BASE}/action-catalog": VIEW,
}
"""The routes of the seed, each with its scope."""

IMPLIED: Final = {
    f"GET {BASE}/workflows/{{id}}": VIEW,
    f"PATCH {BASE}/workflows/{{id}}": MANAGE,
    f"POST {BASE}/workflows/{{id}}/pause": MANAGE,
    f"POST {BASE}/workflows/{{id}}/resume": MANAGE,
    f"DELETE {BASE}/workflows/{{id}}": MANAGE,
    f"GET {BASE}/runs/{{run_id}}": RUNS,
}
"""Those that the words for the scopes speak of, and the run that a caller is to poll."""

CURL: Final = r"""curl -X POST https://app.softsolz.uk/api/v1/services/workflows/workflows \
-H "Authorization: Bearer sk_live_…" \
-H "Content-Type: application/json" \
-H "Idempotency-Key: 11111111-2222-3333-4444-555555555555" \
-d '{
"name": "Daily overdue sweep",
"schedule": "0 9 * * *",
"steps": [ { "type": "mark_invoices_overdue" } ]
}'"""

EVENTS: Final = ("workflows.run.started", "workflows.run.completed", "workflows.run.failed", "workflows.step.failed")

STEPS: Final = [{"step_type": "mark_invoices_overdue", "step_config": {}}]
ID: Final = "user-1"


class Field(NamedTuple):
    """A field of `POST /workflows` as the seed has it; what is good, what is not, and what it is if it is not sent.

    Each value comes with what must be sent beside it.
    """

    type: str
    is_required: bool
    good: list[tuple[Any, dict[str, Any]]]
    bad: list[Any]
    default: Any = None


SHARED: Final = {"visibility": "shared"}
FIELDS: Final = {
    "name": Field("string", True, [("n", {}), ("n" * 120, {})], [None, "", "n" * 121, 7]),
    "steps": Field("array", True, [(STEPS, {}), (STEPS * 50, {})], [None, [], STEPS * 51, {}, "log"]),
    "description": Field("string | null", False, [("d" * 500, {}), (None, {})], ["d" * 501, 7]),
    "trigger_type": Field(
        "string", False, [("schedule", {}), ("manual", {"cron_expression": None})], ["webhook", None], "schedule"
    ),
    "cron_expression": Field(
        "string | null", False, [("0 9 * * *", {}), (None, {"trigger_type": "manual"})], [None, "0 9 * *", "61 9 * * *"]
    ),
    "timezone": Field("string", False, [("Europe/London", {})], ["Mars/Olympus", None], "UTC"),
    "status": Field("string", False, [("active", {}), ("paused", {})], ["archived", None], "active"),
    "visibility": Field("string", False, [("private", {}), ("tenant", {}), ("shared", {})], ["public", None], "tenant"),
    "shared_user_ids": Field("array", False, [([ID], SHARED), ([], {})], [[ID], "u", [7], [""]], []),
    "shared_role_ids": Field("array", False, [([ID], SHARED), ([], {})], [[ID], "r", [7], [""]], []),
}

RUN_ANSWER: Final = {"run_id": "string (uuid)", "status": "string"}

# --- the server --------------------------------------------------------------------------------------------------


class Service:
    """A server, and the keys that ask it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def send(self, method: str, path: str, key: str | None = KEY, **more: Any) -> httpx2.Response:
        headers = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **more.pop("headers", {})}
        return httpx2.request(method, f"{self.address}{path}", headers=headers, timeout=30, **more)

    def ok(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """The body of an answer that must have this status."""
        response = self.send(method, path, **more)
        assert response.status_code == status, response.text
        return response.json()

    def refused(self, status: int, code: str, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The error of an answer that must be a refusal, in this API's envelope."""
        response = self.send(method, path, **more)
        error: dict[str, Any] = response.json()["error"]
        assert (response.status_code, error["code"]) == (status, code), response.text
        assert response.json().keys() == {"error"}
        assert error.keys() == {"code", "message", "details"}
        assert isinstance(error["details"], list)
        return error

    def key(self, *scopes: str) -> str:
        """A key with these scopes, in the document's spelling."""
        made = self.ok("POST", "/v1/keys", 201, json={"name": "k", "scopes": scopes, "mode": "live"})
        return str(made["data"]["key"])

    def workflow(self, **fields: Any) -> str:
        body = {"name": "w", "steps": STEPS, "trigger_type": "manual", **fields}
        return str(self.ok("POST", f"{BASE}/workflows", 201, json=body)["data"]["id"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server on a file of its own, which has steps of the names that the seed promises."""
    folder = tmp_path_factory.mktemp("service")
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "import sys; from perdure.cli.main import main; sys.exit(main())"),
            *("serve", "--port", "0", "--database", f"sqlite:///{folder / 'runs.db'}"),
        ],
        env={
            **os.environ,
            "PERDURE_BOOTSTRAP_KEY": KEY,
            "PERDURE_STEPS": "service_steps:registry",
            "PYTHONPATH": str(HERE),
        },
        cwd=HERE.parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        told = next((line for line in process.stderr if "ready at " in line), None)
        assert told is not None, "the server ended before it was ready"
        yield Service(told.split("ready at ")[1].strip())
    finally:
        process.terminate()
        process.communicate(timeout=30)


def seed() -> str:
    """The text of the seed; the test is skipped where the seeds are not at hand."""
    found = sorted(SEEDS.glob("004_*"))
    if not found:
        pytest.skip(f"the seeds are not at {SEEDS}: the table cannot be compared with what it was written from")
    return found[0].read_text(encoding="utf-8")


# --- the table is the document's -------------------------------------------------------------------------------------


def test_the_table_has_every_route_and_scope_of_the_seed() -> None:
    """None is missing, and none is there that the seed does not have."""
    text = seed()
    assert set(re.findall(rf"(?:GET|POST|PATCH|PUT|DELETE) {BASE}/[\w/{{}}-]+", text)) == set(ROUTES)
    scopes = dict(re.findall(r"^(service\.workflows\.[a-z.]+) \| (.*) \|$", text, re.MULTILINE))
    assert scopes == SCOPES
    lines = re.findall(rf"^((?:GET|POST) {BASE}/\S+) (?:\| |· scope service\.workflows\.)([a-z.]+)", text, re.MULTILINE)
    assert {route: f"service.workflows.{scope}" for route, scope in lines} == ROUTES


def test_the_table_has_every_field_and_step_type_of_the_seed() -> None:
    """With its type, and whether it is required; and so for what a started run is answered with, and for events."""
    text = seed()
    fields, _, rest = text.partition("Request body fields")[2].partition("Each entry in steps")
    found = re.findall(r"^(\w+) \| (.*?) \| (required|optional) \| ", fields, re.MULTILINE)
    assert {name: (kind, needed == "required") for name, kind, needed in found} == {
        name: (field.type, field.is_required) for name, field in FIELDS.items()
    }
    assert tuple(re.search(r"one of ([\w, ]+)\.", rest)[1].split(", ")) == NAMES  # type: ignore[index]
    answer = rest.partition("Response 201")[2].partition("Runs (server)")[0]
    assert dict(re.findall(r"^(\w+) \| (string[^|]*) \|", answer, re.MULTILINE)) == RUN_ANSWER
    assert tuple(re.findall(r"^(workflows\.\w+\.\w+) \|", text, re.MULTILINE)) == EVENTS
    assert CURL in text


def test_the_events_of_the_seed_are_in_the_contract() -> None:
    """They come with webhooks, and have their names already."""
    page = (HERE.parents[1] / "api" / "CONTRACT.md").read_text(encoding="utf-8")
    assert not [event for event in EVENTS if f"`{event}`" not in page]


# --- what the server does ----------------------------------------------------------------------------------------


def test_the_curl_of_the_seed_works_as_it_stands(service: Service) -> None:
    """But for host and key: a scheduled workflow with one step, which is run by hand to its end, and seen in lists."""
    words = shlex.split(
        CURL.replace("\\\n", " ").replace("https://app.softsolz.uk", service.address).replace("sk_live_…", KEY)
    )
    headers = dict(word.split(": ", 1) for flag, word in pairwise(words) if flag == "-H")
    body = words[words.index("-d") + 1]
    answers = [httpx2.request(words[2], words[3], headers=headers, content=body.encode()) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    made, again = (answer.json()["data"] for answer in answers)
    assert made == again  # the same Idempotency-Key
    assert (made["name"], made["cron_expression"], made["timezone"]) == ("Daily overdue sweep", "0 9 * * *", "UTC")
    assert made["steps"] == STEPS
    other = {**json.loads(body), "name": "Another"}
    service.refused(409, "idempotency_key_conflict", "POST", f"{BASE}/workflows", headers=headers, json=other)

    started = service.ok("POST", f"{BASE}/workflows/{made['id']}/run", 201)["data"]
    assert started.keys() == RUN_ANSWER.keys()
    assert started["status"] == "queued"
    run = ended(service, started["run_id"])
    assert (run["status"], run["workflow_name"], run["trigger"]) == ("completed", "Daily overdue sweep", "manual")
    assert [(step["step_type"], step["output"]["called"]) for step in run["steps"]] == [("mark_invoices_overdue",) * 2]
    for path in ("runs", f"workflows/{made['id']}/runs"):
        assert service.ok("GET", f"{BASE}/{path}")["data"][0]["run_id"] == started["run_id"]


def ended(service: Service, run_id: str) -> dict[str, Any]:
    """The run, once it has ended."""
    deadline = time.monotonic() + 30
    while True:
        run: dict[str, Any] = service.ok("GET", f"{BASE}/runs/{run_id}")["data"]
        if run["finished_at"] is not None:
            return run
        assert time.monotonic() < deadline, run
        time.sleep(0.02)


@pytest.mark.parametrize("route", [*ROUTES, *IMPLIED])
def test_a_route_needs_its_scope_and_no_other(service: Service, route: str) -> None:
    """A key with all others is 403; one with this alone, in the document's spelling, may. Without a key it is 401."""
    scope = {**ROUTES, **IMPLIED}[route]
    method, _, path = route.partition(" ")
    workflow_id = service.workflow()
    run_id = service.ok("POST", f"{BASE}/workflows/{service.workflow()}/run", 201)["data"]["run_id"]
    path = path.replace("{id}", workflow_id).replace("{run_id}", run_id)
    bodies = {"POST": {"name": "n", "steps": STEPS, "trigger_type": "manual"}, "PATCH": {"name": "n"}}
    more = {"json": bodies[method]} if method in bodies and path.count("/") < 7 and "run" not in path else {}
    others = service.key(*(other for other in SCOPES if other != scope))
    service.refused(403, "insufficient_scope", method, path, key=others, **more)
    service.refused(401, "missing_authorization", method, path, key=None, **more)
    service.refused(401, "invalid_api_key", method, path, key="sk_live_of_nobody", **more)
    assert service.send(method, path, key=service.key(scope), **more).is_success
    if "{" in route:
        elsewhere = path.replace(workflow_id, NOT_THERE).replace(run_id, NOT_THERE)
        service.refused(404, "not_found", method, elsewhere, **more)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_takes_what_the_seed_says(service: Service, name: str) -> None:
    """All of it is kept and shown; anything else is refused, naming the field; and it has its default, or is needed."""
    field = FIELDS[name]
    base = {"name": "w", "steps": STEPS, "cron_expression": "0 9 * * *"}
    for value, beside in field.good:
        made = service.ok("POST", f"{BASE}/workflows", 201, json={**base, **beside, name: value})["data"]
        assert made[name] == value
    for value in field.bad:
        error = service.refused(400, "validation_failed", "POST", f"{BASE}/workflows", json={**base, name: value})
        assert name in error["message"], (value, error)
    without = {member: value for member, value in base.items() if member != name}
    if field.is_required or name == "cron_expression":
        assert name in service.refused(400, "validation_failed", "POST", f"{BASE}/workflows", json=without)["message"]
    else:
        assert service.ok("POST", f"{BASE}/workflows", 201, json=without)["data"][name] == field.default


def test_a_run_too_soon_after_another_is_409(service: Service) -> None:
    """Within 30 seconds, with when to come again; the same key hears of its own run."""
    path = f"{BASE}/workflows/{service.workflow()}/run"
    first = service.ok("POST", path, 201, headers={"Idempotency-Key": "mine"})
    response = service.send("POST", path)
    assert response.json()["error"]["code"] == "conflict"
    assert (response.status_code, 1 <= int(response.headers["Retry-After"]) <= 30) == (409, True)
    assert service.ok("POST", path, 201, headers={"Idempotency-Key": "mine"}) == first


def test_the_catalog_has_the_step_types_of_the_seed(service: Service) -> None:
    """All eight, in its order; with `all` whatever there is beside them."""
    shown = service.ok("GET", f"{BASE}/action-catalog")["data"]
    assert tuple(each["step_type"] for each in shown) == NAMES
    everything = service.ok("GET", f"{BASE}/action-catalog?all=true")["data"]
    assert everything[:8] == shown
    assert {"http_request", "transform", "log"} < {each["step_type"] for each in everything}


@pytest.mark.parametrize("name", NAMES)
def test_each_step_type_of_the_seed_runs(service: Service, name: str) -> None:
    """Written as either form of a step, with its config."""
    config = {"date_range": "last_7_days"}
    workflow_id = service.workflow(steps=[{"step_type": name, "step_config": config}, {"type": name, "config": {}}])
    run = ended(service, service.ok("POST", f"{BASE}/workflows/{workflow_id}/run", 201)["data"]["run_id"])
    assert [(step["step_type"], step["status"]) for step in run["steps"]] == [(name, "completed")] * 2
    assert run["steps"][0]["output"] == {"called": name, "config": config}
