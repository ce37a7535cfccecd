"""What every request goes through: its id, its line in the log, and its path."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import structlog
from starlette.datastructures import Headers

from perdure.api.app import DIALECTS
from perdure.api.http.headers import preferred_wait_s
from perdure.api.http.middleware import RequestLog, canonical_path
from tests.api.conftest import APPROVED, KEY, PROCESS, Api


@pytest.mark.parametrize("given", ["r-1", "a" * 128, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
async def test_a_callers_own_id_is_kept(api: Api, given: str) -> None:
    """If it can stand in a header and a log."""
    response = await api.get("/health/live", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", 'a"b', "ü", "{}"])
async def test_another_gets_one_of_ours(api: Api, given: str | None) -> None:
    """A UUID."""
    headers = [] if given is None else [("X-Request-Id", given.encode("latin-1"))]
    response = await api.get("/health/live", headers=headers)
    assert str(uuid.UUID(response.headers["x-request-id"])) == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [("GET", "/v1/waits", 200), ("GET", "/nowhere", 404), ("POST", "/v1/keys", 400), ("PUT", "/v1/keys", 405)],
)
async def test_each_request_is_one_line(api: Api, method: str, url: str, status: int) -> None:
    """With method, route, status, duration, actor and the id that the answer carries."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        response = await api.send(method, url)
    line = next(line for line in logs if line["event"] == "request")
    assert [each["event"] for each in logs].count("request") == 1
    assert (line["method"], line["status"]) == (method, status) == (method, response.status_code)
    assert line["duration_ms"] >= 0
    assert line["request_id"] == response.headers["x-request-id"]
    assert ("actor" in line) is (status in (200, 400))


async def test_the_log_has_no_business_data(api: Api) -> None:
    """No query, no body, no key, and no path: a process id stands in its own field only (`test_metrics.py`)."""
    await api.trigger(await api.workflow(), {"process_id": "SECRET-7"})
    with structlog.testing.capture_logs() as logs:
        await api.resume("SECRET-7?state=SECRET", {"payload": {"source": "SAP", "iban": "SECRET"}})
        await api.post(f"{PROCESS}/resumeWorkflow/SECRET-7", json=APPROVED, headers={"Idempotency-Key": "SECRET"})
        await api.get("/v1/waits", key="pk_SECRET")
        await api.get(f"{PROCESS}/resumeWorkflow/SECRET-7")
        await api.post(f"{PROCESS}/resumeworkflow/SECRET-7")
    assert len(logs) == 5
    assert "SECRET" not in str(logs)
    assert KEY not in str(logs)
    assert logs[0]["route"] == f"{PROCESS}/resumeWorkflow/{{process_id}}"


async def test_a_failure_outside_every_handler_is_answered(api: Api) -> None:
    """500 in JSON; unless the answer has begun, then the connection is cut."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def fails(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("secret")

    async def fails_late(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("secret")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await RequestLog(fails, DIALECTS)(dict(scope), receive, send)
    assert sent[0]["status"] == 500
    assert b"secret" not in sent[1]["body"]
    with pytest.raises(RuntimeError):
        await RequestLog(fails_late, DIALECTS)(dict(scope), receive, send)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v1/workflows", "/v1/workflows"),
        (b"/%76%31/workflows", "/v1/workflows"),
        (b"/a%2fb/c", "/a%2Fb/c"),
        (b"/a%2Fb/c?d=e/f", "/a%2Fb/c"),
        (b"/%E6%B5%81", "/%E6%B5%81"),
        (b"/a+b", "/a%2Bb"),
        (b"/%zz", "/%25zz"),
        (b"/%", "/%25"),
    ],
)
def test_a_path_has_one_spelling(raw: bytes, path: str) -> None:
    """Whatever is percent-encoded in it, a slash between segments stays the only slash."""
    assert canonical_path(raw) == path


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=10"], 10),
        (["respond-async", "wait=7"], 7),
        (["handling=lenient; foo, wait=7; bar=1, return=minimal"], 7),
        (["wait=7, wait=9"], 7),
        (["wait=7", "wait=9"], 7),
        (['wait="7"'], 7),
        (["Wait=07"], 7),
        (["wait=30"], 30),
        (["wait=31"], None),
        (["wait=031"], None),
        (["wait=-1"], None),
        (["wait=٣"], None),
        (["wait="], None),
        (["wait"], None),
        (["waiting=5"], None),
        (['x="wait=5'], None),
        (["=5"], None),
        (["\x00wait=5"], None),
    ],
)
def test_a_preference_is_taken_or_ignored(headers: list[str], seconds: int | None) -> None:
    """Never an error (RFC 7240, section 2)."""
    raw = [(b"prefer", header.encode("utf-8")) for header in headers]
    assert preferred_wait_s(Headers(raw=raw)) == seconds


async def test_a_path_that_is_no_text_is_refused(api: Api) -> None:
    """Bytes that are no UTF-8 name nothing."""
    response = await api.resume("%FF%FE")
    assert response.status_code == 400
    assert "process_id" in response.json()["message"]
    assert (await api.get("/v1/waits?process_id=%FF")).status_code == 400


async def test_health_needs_no_key(api: Api) -> None:
    """And says whether requests are welcome."""
    assert (await api.get("/health/live", key=None)).json() == {"success": True, "data": {"status": "live"}}
    assert (await api.get("/health/ready", key=None)).json() == {"success": True, "data": {"status": "ready"}}
    recovery = api.engine.node.recovery.is_done
    recovery.clear()
    assert (await api.get("/health/ready", key=None)).status_code == 503
    recovery.set()
    api.engine.node.processor.failure = RuntimeError("secret")
    response = await api.get("/health/ready", key=None)
    assert response.status_code == 503
    assert "failed commit" in response.json()["error"]["message"]


async def test_a_query_is_bounded(api: Api) -> None:
    """So many parameters mean nothing."""
    response = await api.get("/v1/waits?" + "&".join(f"p{n}=1" for n in range(33)))
    assert response.status_code == 400
    assert "more than 32 parameters" in response.json()["error"]["message"]


async def test_an_idempotency_key_stands_once(api: Api) -> None:
    """Two of them name no request."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    response = await api.post(f"{PROCESS}/terminateWorkflow/A", headers=headers)
    assert response.status_code == 400
    assert "twice" in response.json()["message"]
