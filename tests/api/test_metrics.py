"""`GET /metrics`, and what the lines of a request are bound to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from perdure.api.http.metrics import HttpMetrics
from perdure.api.settings import Settings
from perdure.store.errors import StoreUnavailable
from tests.api.conftest import APPROVED, PROCESS, SLEEPING, Api, Start

RESUME = f"{PROCESS}/resumeWorkflow/{{process_id}}"


async def scraped(api: Api) -> dict[str, float]:
    """Everything that Prometheus sees, by name and labels."""
    response = await api.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        "|".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_the_numbers_of_all_are_an_operators(api: Api, start: Start) -> None:
    """A key with another scope is refused, and none at all; unless the settings say that everybody may see them."""
    refused = await api.get("/metrics", key=None)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert (await api.get("/metrics", key=await api.new_key())).status_code == 403
    open_to_all = await start(Settings(metrics="open"))
    assert (await open_to_all.get("/metrics", key=None)).status_code == 200


async def test_everything_that_is_measured_is_one_page(api: Api) -> None:
    """The node's metrics, the server's, and the process's are one page of text."""
    await api.trigger(await api.workflow())
    found = await scraped(api)
    assert found["perdure_executions|waiting"] == 1
    assert found["perdure_commits_total|appended"] >= 2
    assert found["process_open_fds"] > 0
    assert (await scraped(api))["perdure_http_requests_total|root|GET|/metrics|200"] == 1


async def test_requests_are_counted_by_route_and_never_by_path(api: Api) -> None:
    """Whatever callers ask for, the labels are those of the table of routes."""
    workflow = await api.workflow()
    await api.trigger(workflow, {"process_id": "P-1"})
    await api.resume("P-1")
    await api.resume("P-2")
    for path in ("/nowhere", "/nowhere/else"):
        await api.get(path)
    await api.send("BREW", "/v1/keys")
    found = await scraped(api)
    assert found[f"perdure_http_requests_total|process|POST|{RESUME}|200"] == 1
    assert found[f"perdure_http_requests_total|process|POST|{RESUME}|404"] == 1
    assert found[f"perdure_http_request_seconds_count|process|POST|{RESUME}"] == 2
    assert found["perdure_http_requests_total|root|GET|unmatched|404"] == 2
    assert found["perdure_http_requests_total|resource|other|/v1/keys|405"] == 1
    refused = {name: value for name, value in found.items() if name.startswith("perdure_http_refusals_total|")}
    assert refused == {
        "perdure_http_refusals_total|NOT_FOUND|process": 1,
        "perdure_http_refusals_total|NOT_FOUND|root": 2,
        "perdure_http_refusals_total|METHOD_NOT_ALLOWED|resource": 1,
    }
    assert not any("P-1" in name or "nowhere" in name for name in found)


async def test_a_held_resume_is_seen(api: Api) -> None:
    """While it is held, not after."""
    execution_id = await api.trigger(await api.workflow(SLEEPING))
    call = await api.held(execution_id)
    assert (await scraped(api))["perdure_resumes_held"] == 1
    await api.push(2000)
    assert (await call).status_code == 409
    assert (await scraped(api))["perdure_resumes_held"] == 0


async def test_a_store_that_cannot_be_read_hides_nothing_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers that stand in the store are missing then, and not out of date."""
    await scraped(api)

    async def fails() -> dict[str, int]:
        raise StoreUnavailable("busy")

    monkeypatch.setattr(api.store, "live_counts", fails)
    monkeypatch.setattr(api.engine.node.metrics, "_fresh_until", 0.0)
    found = await scraped(api)
    assert "perdure_queue_length" in found
    assert not any(name.startswith("perdure_executions|") for name in found)


async def test_only_reading_is_allowed(api: Api) -> None:
    """Another method is refused as everywhere."""
    response = await api.post("/metrics")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")


def test_a_request_that_nobody_waits_for_is_counted_too() -> None:
    """Its status is 0."""
    http = HttpMetrics()
    http.answered("root", "GET", {}, 0, 1.0)
    assert http.requests.values == {("root", "GET", "unmatched", "0"): 1}


@pytest.mark.parametrize("method", ["trigger", "resume", "terminate", "show", "again"])
async def test_the_lines_of_a_request_are_bound_to_its_execution(api: Api, method: str) -> None:
    """Execution and process id, the caller's own or the implied one, beside the id of the request."""
    workflow = await api.workflow()
    execution_id = await api.trigger(workflow, {"process_id": "P"})
    query = {"workflow_id": workflow, "workflow_execution_id": execution_id}
    calls: dict[str, Any] = {
        "trigger": lambda: api.trigger(workflow),
        "again": lambda: api.trigger(workflow, {"process_id": "P"}),
        "resume": lambda: api.post(f"{PROCESS}/resumeWorkflow/P", json=APPROVED),
        "terminate": lambda: api.terminate("P"),
        "show": lambda: api.get(f"{PROCESS}/getWorkflowExecutionById", params=query),
    }
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        answer = await calls[method]()
    line = next(line for line in lines if line["event"] == "request")
    if method == "trigger":
        assert (line["execution_id"], line["process_id"]) == (answer, answer)
    else:
        assert (line["execution_id"], line["process_id"]) == (execution_id, "P")
    assert line["request_id"]


async def test_one_requests_bindings_are_not_the_next_ones(api: Api) -> None:
    """Neither afterwards nor beside it."""
    workflow = await api.workflow()
    for name in ("P", "Q"):
        await api.trigger(workflow, {"process_id": name})
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await asyncio.gather(api.resume("P"), api.resume("Q"))
        await api.get("/v1/waits")
    assert [line.get("process_id") for line in lines if line["route"] == "/v1/waits"] == [None]
    assert sorted(line["process_id"] for line in lines if line["route"] == RESUME) == ["P", "Q"]
    assert len({line["request_id"] for line in lines}) == 3
