"""The app in process, over an engine on the in-memory store with a clock that is pushed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx2
import msgspec
import pytest
import structlog

from perdure.api.app import create_app
from perdure.api.settings import Settings
from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.commands import Quarantine
from perdure.engine.runtime.processing.requests import from_inside
from perdure.engine.services.access import SCOPES
from perdure.engine.steps import Registry
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore

KEY = "pk_the_operator_of_these_tests"
PROCESS = "/v2/workflows"

WAITING: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.answer", "Next": "Done"},
        "Done": {"Type": "Succeed"},
    },
}
ENDING: dict[str, Any] = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
SLEEPING: dict[str, Any] = {
    "StartAt": "Sleep",
    "States": {
        "Sleep": {"Type": "Wait", "Seconds": 60, "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}
TWO_QUESTIONS: dict[str, Any] = {
    "StartAt": "First",
    "States": {
        "First": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Second"},
        "Second": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}
WITH_TOKEN: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": "transform.waitForTaskToken",
            "Parameters": {"value": {"token.$": "$$.Task.Token"}},
            "HeartbeatSeconds": 600,
            "TimeoutSeconds": 3600,
            "End": True,
        },
    },
}
APPROVAL_STEPS: list[dict[str, Any]] = [
    {"id": "ask", "type": "approval", "config": {"title": "Pay it?", "approvers": []}},
    {"id": "note", "type": "log", "config": {"message": "approved: {{ steps.ask.output.approved }}"}},
]
APPROVED = {"payload": {"source": "SAP", "approved": True}}


class Api:
    """The app, and who calls it: an operator, and the keys that a test makes."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.app = create_app(engine, settings)
        self.key = KEY
        self._client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app), base_url="http://perdure.test", timeout=20
        )

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.engine.node.clock, ManualClock)
        return self.engine.node.clock

    @property
    def store(self) -> MemoryStore:
        assert isinstance(self.engine.store, MemoryStore)
        return self.engine.store

    async def send(self, method: str, url: str, *, key: str | None = KEY, **more: Any) -> httpx2.Response:
        headers = httpx2.Headers(more.pop("headers", None))
        if key is not None:
            headers["x-api-key"] = key
        return await self._client.request(method, url, headers=headers, **more)

    async def get(self, url: str, **more: Any) -> httpx2.Response:
        return await self.send("GET", url, **more)

    async def post(self, url: str, **more: Any) -> httpx2.Response:
        return await self.send("POST", url, **more)

    async def ok(self, method: str, url: str, **more: Any) -> Any:
        """The body of an answer that must be a success."""
        response = await self.send(method, url, **more)
        assert response.is_success, response.text
        return response.json()

    async def quick(self, path: str, query: dict[str, Any]) -> Any:
        """The body of a successful GET, without a client between: for thousands of them."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": urlencode(query).encode(),
            "headers": [(b"x-api-key", self.key.encode())],
        }
        await self.app(scope, receive, send)
        assert sent[0]["status"] == 200, sent
        return msgspec.json.decode(sent[1]["body"])

    # --- what most tests begin with ------------------------------------------------------------------------------

    async def workflow(self, definition: Any = None, *, key: str = KEY, **fields: Any) -> str:
        body = {"name": "invoice approval", "definition": definition or WAITING, **fields}
        created = await self.ok("POST", "/v1/workflows", json=body, key=key)
        return str(created["data"]["id"])

    async def trigger(self, workflow_id: str, run_input: Any = None, *, key: str = KEY, **more: Any) -> str:
        body = {} if run_input is None else {"json": run_input}
        answer = await self.ok("POST", f"{PROCESS}/triggerworkflow/{workflow_id}", key=key, **body, **more)
        return str(answer["looply_execution_id"])

    async def resume(self, process_id: str, body: Any = None, **more: Any) -> httpx2.Response:
        return await self.post(f"{PROCESS}/resumeWorkflow/{process_id}", json=body or APPROVED, **more)

    async def terminate(self, process_id: str, **more: Any) -> httpx2.Response:
        return await self.post(f"{PROCESS}/terminateWorkflow/{process_id}", **more)

    async def token(self, definition: Any = None, *, key: str = KEY) -> tuple[str, str]:
        """A run that waits for whoever has a task token, and that token."""
        execution_id = await self.trigger(await self.workflow(definition or WITH_TOKEN, key=key), key=key)
        await self.settled()
        return execution_id, await self.token_of(execution_id)

    async def approval(self, *, key: str = KEY) -> tuple[str, str]:
        """A run that asks for an approval, and the id of that."""
        body = {"name": "approval", "steps": APPROVAL_STEPS, "status": "published"}
        workflow_id = (await self.ok("POST", "/v1/workflows", json=body, key=key))["data"]["id"]
        run = await self.ok("POST", f"/v1/workflows/{workflow_id}/execute", key=key)
        execution_id = str(run["data"]["execution_id"])
        await self.settled()
        shown = await self.ok("GET", f"/v1/executions/{execution_id}", key=key)
        return execution_id, str(shown["data"]["approvals"][0]["id"])

    async def token_of(self, execution_id: str) -> str:
        """The last task token that a run handed out."""
        recorded = await self.engine.services.queries.events(ids.parse(execution_id))
        payloads = [each.payload for each in recorded if each.payload and "parameters" in each.payload]
        return str(payloads[-1]["parameters"]["value"]["token"])

    async def set_aside(self, process_id: str) -> None:
        """Quarantine a run, as a decision about it would that raises."""
        execution_id = await self.engine.services.runs.find(await self.engine._caller(), process_id)
        order = from_inside(execution_id, Quarantine("Resume", "KeyError"), "engine:processor")
        await self.engine.node.processor.submit(order)

    async def item(self, workflow_id: str, execution_id: str, *, key: str = KEY) -> dict[str, Any]:
        query = {"workflow_id": workflow_id, "workflow_execution_id": execution_id}
        answer = await self.ok("GET", f"{PROCESS}/getWorkflowExecutionById", params=query, key=key)
        found: dict[str, Any] = answer["item"]
        return found

    async def new_key(self, *scopes: str, key: str = KEY, **fields: Any) -> str:
        """A key with these scopes, or with all but `operator`."""
        given = scopes or tuple(scope for scope in SCOPES if scope != "operator")
        body = {"name": "a key", "scopes": given, **fields}
        made = await self.ok("POST", "/v1/keys", json=body, key=key)
        return str(made["data"]["key"])

    async def events(self, execution_id: str) -> list[str]:
        """The names of an execution's events."""
        recorded = await self.engine.services.queries.events(ids.parse(execution_id))
        return [type(each.event).__name__ for each in recorded]

    async def held(self, process_id: str, execution_id: str | None = None, **more: Any) -> asyncio.Task[Any]:
        """A resume that is under way, and held."""
        call = asyncio.create_task(self.resume(process_id, **more))
        watches = self.engine.node.processor.watchers._watches
        await eventually(lambda: ids.parse(execution_id or process_id) in watches)
        await self.settled()
        return call

    async def push(self, ms: int) -> None:
        """Let time pass, and what that sets going come to rest."""
        self.clock.push(ms)
        await self.settled()

    async def settled(self) -> None:
        """Let what can go on go on until it must wait."""
        for _ in range(3):
            for _ in range(20):
                await asyncio.sleep(0)
            await self.engine.node.processor.settle()

    async def close(self) -> None:
        await self._client.aclose()
        await self.engine.close(grace_s=0)


async def eventually(holds: Callable[[], object], timeout_s: float = 10) -> None:
    """Wait until something holds, turning the loop meanwhile."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 what is waited for sets no event of ours
            await asyncio.sleep(0.001)


Start = Callable[..., Awaitable[Api]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is logged; `structlog.testing.capture_logs` sees it all the same."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, drop])
    yield
    structlog.reset_defaults()


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The root logger is as it was, afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts engines with an app each."""
    started: list[Api] = []

    async def make(settings: Settings | None = None, steps: Registry | None = None, store: Any = None) -> Api:
        engine = await Engine.start(store or MemoryStore(), steps=steps, clock=ManualClock())
        await engine.services.access.bootstrap(KEY, "cli:test")
        await engine.node.recovery.is_done.wait()
        api = Api(engine, settings or Settings())
        started.append(api)
        return api

    yield make
    for api in started:
        await api.close()


@pytest.fixture
async def api(start: Start) -> Api:
    """An engine and its app."""
    return await start()
