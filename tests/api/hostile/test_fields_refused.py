"""Every field of every request with every kind of wrong value: refused by name. The document is the judge."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from perdure.api.http.routing import Route
from perdure.api.openapi.document import name_of
from perdure.api.openapi.schemas import parameters_of
from tests.api.conftest import APPROVED, ENDING, Api
from tests.api.hostile.probing import BODIES, QUERIES, Probe, accepts, body_schema, details_of, message_of, resolved

SERVICE_STEPS: dict[str, Any] = {
    "name": "n",
    "schedule": "0 9 * * *",
    "timezone": "UTC",
    "steps": [{"type": "log", "config": {"message": "m"}}],
}
STEPS: dict[str, Any] = {
    "name": "n",
    "description": "d",
    "steps": [{"id": "a", "type": "transform", "config": {"b": 1}}],
    "trigger": {"type": "api"},
    "inputSchema": {"type": "object"},
    "outputSchema": {"type": "object"},
    "settings": {},
}
RIGHT: dict[str, Any] = {
    "NewWorkflow": {"name": "n", "definition": ENDING, "description": "d", "settings": {}, "mock_payload": {}},
    "WorkflowChange": {"name": "n", "definition": ENDING, "description": "d", "status": "draft"},
    "AppliedWorkflow": {"definition": ENDING, "description": "d", "status": "draft", "settings": {"resume": "any"}},
    "DocumentCheck": {"document": ENDING, "format": "asl", "is_draft": True},
    "Conversion": {"document": ENDING, "from": "asl", "to": "graph"},
    "Execute": {"input": {}, "process_id": "p", "version": 1},
    "Decision": {"decision": "approve", "comment": "c"},
    "RetryRequest": {"input": {}, "reason": "r"},
    "NewSchedule": {"cron_expression": "0 9 * * *", "timezone": "UTC", "overlap": "skip", "input": {}},
    "Toggle": {"workflow_id": "018bcfe5-6800-7000-8000-000000000000", "workflow_version": 1, "action": "PAUSE"},
    "NewKey": {"name": "n", "scopes": ["runs.view"], "organization": "o", "workspace": "w", "mode": "live"},
    "Resume": APPROVED,
    "ResumeAny": {"payload": {"approved": True}},
    "Terminate": {"payload": {"termination_reason": "r"}},
    "TaskSuccess": {"output": {"approved": True}},
    "TaskFailure": {"error": "e", "cause": "c"},
    "Nothing": {},
    "PauseRequest": {"reason": "r", "clocks": "freeze"},
    "UnpauseRequest": {"reason": "r"},
    "ClockStep": {"step_ms": 3_600_000},
    "NewBulk": {"action": "terminate", "filter": {"status": "waiting"}, "reason": "r", "dry_run": True},
    "StopReason": {"reason": "r"},
    "RedriveRequest": {"reason": "r"},
    "RerunRequest": {"input": {}, "version": 1, "process_id": "again", "reason": "r"},
    "ForkRequest": {"seq": 1, "process_id": "branch", "reason": "r"},
    "OrganizationChange": {"settings": {"concurrencyLimit": 5}, "plan": "pro"},
    "StateTrial": {
        "definition": {"StartAt": "Charge", "States": {"Charge": {"Type": "Task", "Resource": "charge", "End": True}}},
        "input": {"amount": 7},
        "state": "Charge",
        "error": {"error": "e", "cause": "c"},
        "context": {"Execution": {}},
        "variables": {"v": 1},
        "retry_count": 1,
    },
    "StepWorkflow": {**STEPS, "status": "draft", "changeSummary": "s", "variables": {"v": 1}},
    "StepWorkflowChange": {**STEPS, "status": "draft", "changeSummary": "s", "variables": {"v": 1}},
    "ServiceWorkflow": {**SERVICE_STEPS, "description": "d", "status": "paused", "visibility": "tenant"},
    "ServiceWorkflowChange": {**SERVICE_STEPS, "description": "d", "status": "paused", "visibility": "tenant"},
    "RunStart": {"input": {}, "idempotencyKey": "k"},
    "CancelRun": {"reason": "r"},
    "RetryRun": {"reason": "r", "input": {}},
    "ApprovalDecided": {"decision": "approve", "comment": "c"},
    "dict": {"process_id": "p"},
}
WHOLE = {"interval": {"value": 1, "unit": "days"}}
"""Objects that must have all of their members, where one of them is wrong."""

VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        7,
        -1,
        1.5,
        1e308,
        2**70,
        "",
        "x",
        "x" * 2_000,
        "\0",
        "a\nb",
        "\u2028",
        "7",
        "true",
        "null",
    ),
    *("{}", "[]", [], {}, [[]], [None], [7], ["x"], ["x"] * 70, {"a": 1}, {"": None}, [{}], "2030-13-01", "9999999"),
    *("draft\n", "Draft", "schedule", "operator ", "1970-01-01T00:00:00", "🙂" * 121),
]
TEXTS = [
    *(
        "",
        " ",
        "x",
        "-1",
        "0",
        "1.5",
        "1e3",
        "+1",
        "\uff11",
        "²",
        "007x",
        "9" * 30,
        "null",
        "true",
        "True",
        "1",
        "[]",
        "{}",
    ),
    *("x" * 300, "018bcfe568007000800000000000000", "018bcfe5-6800-7000-8000-00000000000g", "\0", "a\nb", "🙂" * 121),
]


def places(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to each member that the document declares of a body, and that may not be anything."""
    for name, member in resolved(schema).get("properties", {}).items():
        if member.keys() - {"default"}:
            yield (*at, name)
        yield from places(member, (*at, name))


def changed(body: Any, place: tuple[str, ...], value: Any) -> Any:
    """A body with another value at a place."""
    made = copy.deepcopy(body)
    inner = made
    for name in place[:-1]:
        inner = inner.setdefault(name, copy.deepcopy(WHOLE.get(name, {})))
    inner[place[-1]] = value
    return made


FIELDS = [(route, place) for route in BODIES for place in places(body_schema(route))]
PARAMETERS = [(route, name, schema) for route in QUERIES for name, schema, _ in parameters_of(route.query)]


def is_accepted(route: Route, place: tuple[str, ...], value: Any) -> bool:
    """Whether the document accepts a value at a place; a number may come as a text of digits, a boolean as its word."""
    meant = [value, int(value)] if isinstance(value, str) and re.fullmatch("[0-9]+", value) else [value]
    meant += [True] if value == "true" else []
    meant += [f"{value}Z"] if value == "1970-01-01T00:00:00" else []  # without an offset it is UTC
    return any(accepts(body_schema(route), changed(right(route), place, each)) for each in meant)


def right(route: Route) -> Any:
    assert route.body is not None
    return RIGHT[route.body.__name__]


@pytest.mark.parametrize("route", BODIES, ids=name_of)
async def test_the_request_that_is_made_wrong_is_right(api: Api, route: Route) -> None:
    """Sent as it is it succeeds: so what is refused below is refused for the one field."""
    probe = await Probe.made(api)
    assert accepts(body_schema(route), right(route))
    if route.path.endswith("/release"):
        await api.set_aside(probe.process_id)
    if route.path == "/api/v1/services/workflows/workflows/{id}/run":  # others have begun a moment ago
        await api.push(30_000)
    if route.path.endswith("/restore"):  # the latest version is no earlier one
        await api.ok("PATCH", f"/v1/workflows/{probe.workflow_id}", json={"definition": ENDING})
    response = await api.send(route.method, probe.url(route), json={**right(route), **probe.own(route)})
    assert response.is_success, response.text


@pytest.mark.parametrize(("route", "place"), FIELDS, ids=[f"{name_of(r)} {'.'.join(p)}" for r, p in FIELDS])
async def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    api: Api, route: Route, place: tuple[str, ...]
) -> None:
    """Whatever the document does not accept is 400, names the field, and leaves nothing."""
    probe = await Probe.made(api)
    wrong = [value for value in VALUES if not is_accepted(route, place, value)]
    assert wrong
    for value in wrong:
        response = await probe.refused(route, 400, json=changed(right(route), place, value))
        details = details_of(response)
        told = details["field"] if "field" in details else message_of(response).split(":")[0]
        assert told.startswith(".".join(place)), (value, response.text)
        assert told.partition(":")[0] in message_of(response)


@pytest.mark.parametrize("route", BODIES, ids=name_of)
async def test_an_unknown_or_a_missing_field_is_named(api: Api, route: Route) -> None:
    """Except where the object is the caller's own."""
    if route.body is dict:
        return
    probe = await Probe.made(api)
    for name in ("zzz", "Name", "payload ", "__proto__", "", "n" * 300, "\0", "constructor", "名前"):
        response = await probe.refused(route, 400, json={**right(route), name: 1})
        assert "there is no such field" in message_of(response)
        assert details_of(response)["field"] is not None
    for name in resolved(body_schema(route)).get("required", []):
        body = {member: value for member, value in right(route).items() if member != name}
        response = await probe.refused(route, 400, json=body)
        assert message_of(response).startswith(f"{name}: it is missing")


@pytest.mark.parametrize(("route", "name", "schema"), PARAMETERS, ids=[f"{name_of(r)} {n}" for r, n, _ in PARAMETERS])
async def test_a_wrong_parameter_is_refused_by_its_name(
    api: Api, route: Route, name: str, schema: dict[str, Any]
) -> None:
    """As are one that stands twice, and one that is not UTF-8."""
    probe = await Probe.made(api)
    others = {"workflow_id": probe.workflow_id, "workflow_execution_id": probe.process_id, "workflow_version": "1"}
    required = "&".join(f"{n}={others[n]}" for n, _, needed in parameters_of(route.query) if needed and n != name)
    more = {} if route.body is None else {"json": right(route)}
    for text in TEXTS:
        if not accepts(schema, read(text, schema)):
            probe_url = f"{name}={quote(text, safe='')}&{required}"
            response = await asked(probe, route, probe_url, more)
            assert message_of(response).startswith(f"{name}: "), (text, response.text)
            assert details_of(response)["field"] == name
    response = await asked(probe, route, f"{name}=1&{required}&{name}=2", more)
    assert message_of(response).startswith(f"{name}: it is there twice")
    for text in ("%ff", "%ed%a0%80", "%c0%af"):
        assert "UTF-8" in message_of(await asked(probe, route, f"{name}={text}&{required}", more))


async def asked(probe: Probe, route: Route, query: str, more: dict[str, Any]) -> Any:
    """The answer to a query that must be refused, and leave nothing."""
    before = probe.left()
    response = await probe.api.send(route.method, f"{probe.url(route)}?{query}", **more)
    assert response.status_code == 400, (query, response.text)
    probe.check(route, response)
    assert probe.left() == before
    return response


def read(text: str, schema: dict[str, Any]) -> Any:
    """What a text in a query means where the document wants no text."""
    if schema.get("type") in ("integer", "boolean"):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return text
