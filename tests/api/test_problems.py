"""Problems: one table, two envelopes, and what no caller ever sees."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
import structlog

from perdure.api.http import problems
from perdure.api.http.problems import STATUS, as_problem, headers_of, status_of
from perdure.engine import errors
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import AmbiguousWait, EngineFailed, PerdureError
from perdure.engine.services.principals import Forbidden
from perdure.store.errors import CommitUnknown, StoreFull, StoreUnavailable
from tests.api.conftest import ENDING, PROCESS, Api

SECRET = "SELECT * FROM /var/lib/perdure.db"


def subclasses(kind: type[PerdureError]) -> set[type[PerdureError]]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_error_of_the_engine_has_a_status() -> None:
    """The table knows each code that an exception carries, and no code that none does."""
    codes = {kind.code for kind in subclasses(PerdureError)} | {Forbidden.code}
    assert set(STATUS) - codes == set()
    assert codes <= set(STATUS)


async def test_an_ambiguous_wait_lists_what_could_be_meant(api: Api) -> None:
    """409, with the waits in the details."""
    waits = [{"wait_id": "w", "state": "Ask"}]

    async def ambiguous(*_: Any, **__: Any) -> Any:
        message = "2 waits are open"
        raise AmbiguousWait(message, {"waits": waits}, position=3)

    api.engine.services.runs.resume = ambiguous  # type: ignore[method-assign]
    response = await api.resume("A")
    assert response.status_code == 409
    assert response.json() == {
        "message": "2 waits are open",
        "error": {"code": "AMBIGUOUS_WAIT", "details": {"waits": waits}},
    }
    assert response.headers["x-log-position"] == "3"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError(SECRET), 500),
        (KeyError(SECRET), 500),
        (RecursionError(), 500),
        (StoreUnavailable(SECRET), 503),
        (StoreFull(SECRET), 503),
        (CommitUnknown(SECRET), 503),
        (EngineFailed(SECRET), 503),
    ],
)
@pytest.mark.parametrize("url", ["/v1/workflows", f"{PROCESS}/getOrganizationExecutions"])
async def test_what_nobody_expected_is_logged_and_hidden(api: Api, error: Exception, status: int, url: str) -> None:
    """A caller sees neither stack nor SQL nor path; the log has them, under the id that the answer carries."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    api.engine.services.queries.page = fail  # type: ignore[method-assign]
    api.engine.services.queries.workflow_page = fail  # type: ignore[method-assign]
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        response = await api.get(url)
    assert response.status_code == status
    assert not any(part in response.text for part in ("SELECT", "/var", "Error(", "Traceback"))
    code = "INTERNAL_ERROR" if status == 500 else "UNAVAILABLE"
    assert response.json()["error"]["code"] == code
    if not isinstance(error, EngineFailed):
        logged = next(line for line in logs if "exc_info" in line)
        assert logged["exc_info"] is error
        assert logged["request_id"] == response.headers["x-request-id"]
    if status == 503:
        assert response.headers["retry-after"] == "1"


async def test_an_answer_that_cannot_be_written_is_an_error_of_ours(api: Api) -> None:
    """Half a character from elsewhere does not cut the connection."""

    async def broken(*_: Any, **__: Any) -> Any:
        return [], "\ud800"

    api.engine.services.queries.workflow_page = broken  # type: ignore[method-assign]
    response = await api.get("/v1/workflows")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "INTERNAL_ERROR"


@pytest.mark.parametrize(
    ("path", "enveloped"),
    [
        ("/v1", True),
        ("/v1/workflows/", True),
        ("/v1/Workflows", True),
        ("/api/v1/executions", True),
        ("/v2/workflows/nothing", False),
        ("/v2/workflows/resumeworkflow/A", False),
        ("/v2/workflows/resumeWorkflow/", False),
        ("/v2/workflows/resumeWorkflow/A/B", False),
    ],
)
async def test_an_unknown_path_is_404_in_its_dialect(api: Api, path: str, enveloped: bool) -> None:
    """Case and slashes count; nobody is sent elsewhere."""
    body = (await api.post(path)).json()
    assert body["error"]["code"] == "NOT_FOUND"
    assert ("success" in body) is enveloped


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/workflows", {"GET", "HEAD", "POST"}),
        ("POST", "/v1/workflows/x", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("GET", f"{PROCESS}/resumeWorkflow/A", {"POST"}),
        ("OPTIONS", "/health/live", {"GET", "HEAD"}),
        ("BREW", "/v1/keys", {"GET", "HEAD", "POST"}),
    ],
)
async def test_another_method_is_405_and_says_which_there_are(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    """All of the path's, in the header and in words."""
    response = await api.send(method, path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == allowed
    assert response.json()["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_head_is_get_without_a_body(api: Api) -> None:
    """The same checks and the same status."""
    assert (await api.send("HEAD", "/v1/workflows")).status_code == 200
    assert (await api.send("HEAD", "/v1/workflows", key=None)).status_code == 401


async def test_a_refused_field_is_cut_in_what_is_told(api: Api) -> None:
    """A message does not grow with what was sent."""
    workflow_id = await api.workflow(ENDING)
    for body in ({"x" * 100_000: 1}, {"payload": {"source": "y" * 100_000}}, {"payload": "z" * 100_000}):
        response = await api.post(f"{PROCESS}/resumeWorkflow/{workflow_id}", json=body)
        assert response.status_code == 400
        assert len(response.text) < 1_000


async def test_concurrent_failures_keep_their_ids(api: Api) -> None:
    """Each answer carries the id of its own request."""

    async def one(number: int) -> httpx2.Response:
        return await api.get("/nowhere", headers={"X-Request-Id": f"r-{number}"})

    responses = await asyncio.gather(*(one(number) for number in range(32)))
    assert [response.headers["x-request-id"] for response in responses] == [f"r-{n}" for n in range(32)]


def test_headers_go_with_their_errors() -> None:
    """Each error that says when to come back says it in the header; a 415 is a 400 of its own status."""
    assert headers_of(errors.NotWaiting("x")) == {"Retry-After": "2"}
    assert headers_of(errors.Conflict("x")) == {}
    assert status_of(problems.UnsupportedType("x")) == 415
    assert as_problem(errors.Conflict("x")).code == "CONFLICT"


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_has_ended_need_not_be_asked_again(status: str) -> None:
    """No Retry-After: no repetition does better."""
    assert headers_of(errors.NotWaiting("x", {"status": status})) == {}
    assert headers_of(errors.NotWaiting("x", {"status": "running"})) == {"Retry-After": "2"}


@pytest.mark.parametrize("path", ["resumeWorkflow/A", "getWorkflowById"])
async def test_a_wrong_method_is_told_in_the_dialect_of_the_path(api: Api, path: str) -> None:
    """405 with the methods that there are."""
    response = await api.send("PUT", f"{PROCESS}/{path}", key=None)
    assert (response.status_code, response.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == ("POST" if "resume" in path else "GET, HEAD")


@pytest.mark.parametrize(
    ("path", "cached"),
    [("/v1/keys", "no-store"), ("/nowhere", "no-store"), ("/docs", "no-cache"), ("/openapi.json", "no-cache")],
)
async def test_no_answer_is_kept_or_taken_for_something_else(api: Api, path: str, cached: str) -> None:
    """What is a key's or a tenant's stands in no cache, and no browser guesses what an answer is."""
    for method in ("GET", "POST"):
        response = await api.send(method, path)
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == (cached if response.is_success else "no-store")


async def test_the_root_points_to_the_page(api: Api) -> None:
    """Whoever opens the address in a browser sees what there is."""
    response = await api.get("/", key=None)
    assert (response.status_code, response.headers["location"]) == (302, "/docs")
