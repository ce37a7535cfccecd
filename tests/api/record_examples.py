"""The examples of the document: sent to the app, and written down with their answers.

`python -m tests.api.record_examples` writes `api/openapi/examples.json` anew from the requests that stand there. Ids
that are made on the way, and keys, are replaced by made-up ones, so that a recording differs only where the API does.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from perdure.api.app import ROUTES
from perdure.api.openapi.document import name_of
from perdure.api.settings import Settings
from perdure.engine import Engine
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore
from tests.api.conftest import KEY, Api
from tests.api.fuzzing import silence

FILE = Path(__file__).parents[2] / "api" / "openapi" / "examples.json"
OWN = ("GET /openapi.json", "GET /openapi/{dialect}.json", "GET /docs")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_TOKEN = "01977420-dc00-7000-8000-00000000f001." + "x" * 43
_DIGEST = re.compile(r'"(hash|payload_digest)":"[0-9a-f]{64}"')
_KEY = re.compile(r"wfk_[\w-]{43}")
ORDER = (
    "POST /v1/workflows",
    "PUT /v1/workflows/by-name/{name}",
    "GET /v1/workflows",
    "GET /v1/workflows/{id}",
    "POST /v2/workflows/triggerworkflow/{workflow_id}",
    "POST /v2/workflows/triggerworkflow/{workflow_id}/{workflow_version}",
    "GET /v1/waits",
    "POST /v2/workflows/resumeWorkflow/{process_id}",
    "POST /v2/workflows/terminateWorkflow/{process_id}",
    "POST /v1/executions/{process_id}/resume",
    "POST /v1/executions/{process_id}/terminate",
    "GET /v1/executions/{process_id}/events",
    "GET /v1/events",
    "GET /v1/executions",
    "GET /v1/executions/counts",
    "GET /v2/workflows/getWorkflowExecutionById",
    "GET /v2/workflows/getWorkflowExecutionHistory",
    "GET /v2/workflows/getOrganizationExecutions",
    "PATCH /v1/workflows/{id}",
    "GET /v2/workflows/getWorkflowById",
    "GET /v2/workflows/getOrganizationWorkflows",
    "GET /v2/workflows/getWorkflowSchemaById",
    "POST /v1/keys",
    "GET /v1/keys",
    "GET /v1/me",
    "GET /v1/keys/{id}",
    "DELETE /v1/keys/{id}",
    "POST /v1/workflows/{id}/schedules",
    "GET /v1/workflows/{id}/schedules",
    "GET /v1/workflows/{id}/schedules/{schedule_id}",
    "PATCH /v1/workflows/{id}/schedules/{schedule_id}",
    "POST /v1/workflows/{id}/schedules/{schedule_id}/run-now",
    "POST /v2/workflows/toggleScheduledWorkflow",
    "DELETE /v1/workflows/{id}/schedules/{schedule_id}",
    "POST /v1/workflows/validate",
    "POST /v1/workflows/convert",
    "POST /v1/workflows/{id}/execute",
    "GET /v1/executions/{process_id}",
    "GET /v1/workflows/{id}/executions",
    "POST /v1/executions/{process_id}/retry",
    "GET /v1/workflows/{id}/versions",
    "POST /v1/workflows/{id}/versions/{version}/restore",
    "POST /v1/executions/{process_id}/redrive",
    "POST /v1/executions/{process_id}/rerun",
    "POST /v1/executions/{process_id}/fork",
    "GET /v1/executions/{process_id}/lineage",
    "POST /v1/workflows/{id}/pause",
    "POST /v1/workflows/{id}/resume",
    "DELETE /v1/workflows/{id}",
    "POST /v1/executions/{process_id}/approvals/{approval_id}",
    "POST /v1/tasks/{token}/heartbeat",
    "POST /v1/tasks/{token}/success",
    "POST /v1/tasks/{token}/failure",
    "POST /v1/executions/{process_id}/release",
    "POST /v1/bulk",
    "GET /v1/bulk",
    "GET /v1/bulk/{id}",
    "POST /v1/bulk/{id}/stop",
    "POST /v1/executions/{process_id}/pause",
    "GET /v1/executions/{process_id}/pause",
    "POST /v1/executions/{process_id}/unpause",
    "GET /v1/actions/{name}",
    "GET /v1/actions",
    "POST /v1/test-state",
    "PATCH /v1/organization",
    "GET /v1/organization",
    "PATCH /v1/organizations/{id}",
    "GET /v1/organizations/{id}",
    "GET /v1/clock",
    "POST /v1/clock/accept",
    "GET /health/live",
    "GET /health/ready",
)
"""The story that the examples tell, in order: each may be about what those before it have made."""

RUNS_ORDER = (
    "POST /api/v1/workflows",
    "GET /api/v1/workflows",
    "GET /api/v1/workflows/{id}",
    "POST /api/v1/workflows/{id}/activate",
    "POST /api/v1/workflows/{id}/run",
    "GET /api/v1/runs",
    "GET /api/v1/runs/{id}",
    "POST /api/v1/runs/{id}/approvals/{approvalId}",
    "GET /api/v1/runs/{id}/steps",
    "GET /api/v1/runs/{id}/logs",
    "GET /api/v1/runs/{id}/events",
    "POST /api/v1/runs/{id}/retry",
    "POST /api/v1/runs/{id}/cancel",
    "PATCH /api/v1/workflows/{id}",
    "GET /api/v1/workflows/{id}/versions",
    "POST /api/v1/workflows/{id}/versions/{n}/restore",
    "PUT /api/v1/workflows/{id}",
    "POST /api/v1/workflows/{id}/pause",
    "POST /api/v1/workflows/{id}/resume",
    "POST /api/v1/workflows/{id}/archive",
    "DELETE /api/v1/workflows/{id}",
)

SERVICE_ORDER = (
    "GET /api/v1/services/workflows/action-catalog",
    "POST /api/v1/services/workflows/workflows",
    "GET /api/v1/services/workflows/workflows",
    "GET /api/v1/services/workflows/workflows/{id}",
    "POST /api/v1/services/workflows/workflows/{id}/run",
    "GET /api/v1/services/workflows/runs",
    "GET /api/v1/services/workflows/workflows/{id}/runs",
    "GET /api/v1/services/workflows/runs/{run_id}",
    "PATCH /api/v1/services/workflows/workflows/{id}",
    "POST /api/v1/services/workflows/workflows/{id}/pause",
    "POST /api/v1/services/workflows/workflows/{id}/resume",
    "DELETE /api/v1/services/workflows/workflows/{id}",
)

STORIES = (ORDER, RUNS_ORDER, SERVICE_ORDER)
"""All of them, each told to an app of its own: what is added to one changes no id in another."""


class Story:
    """The examples, told to an app that knows nothing yet."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._shown: dict[str, str] = {}

    async def tell(self, name: str, example: dict[str, Any]) -> tuple[int, Any]:
        """Send a request with the ids that this app made; its status, and the answer with those of the document."""
        if "{token}" in name:
            _, token = await self._api.token()  # each is good for one answer
            self._shown = {token: _TOKEN}
        if name.endswith("/release"):
            execution_id, _ = await self._api.token()
            await self._api.set_aside(execution_id)
            self._shown = {execution_id: example["path"]["process_id"]}
        if "{approval_id}" in name:
            execution_id, approval_id = await self._api.approval()
            self._shown = {execution_id: example["path"]["process_id"], approval_id: example["path"]["approval_id"]}
        if name.startswith("POST /v1/executions/") and name.endswith("/pause"):
            # And the two after it are about the same run.
            execution_id, _ = await self._api.token()
            self._shown = {execution_id: example["path"]["process_id"]}
        if name == "GET /v1/clock":
            self._api.clock.set_wall(3_600_000)
        method, _, path = name.partition(" ")
        for member, value in self._real(example.get("path", {})).items():
            path = path.replace(f"{{{member}}}", quote(str(value), safe=""))
        more = {"json": self._real(example["body"])} if "body" in example else {}
        response = await self._api.send(
            method, path, params=self._real(example.get("query", {})), headers=example.get("headers"), **more
        )
        await self._api.settled()
        return response.status_code, msgspec.json.decode(self._as_shown(response.text))

    def _real(self, value: Any) -> Any:
        text = msgspec.json.encode(value).decode()
        for made, shown in self._shown.items():
            text = text.replace(shown, made)
        return msgspec.json.decode(text)

    def _as_shown(self, text: str) -> str:
        for made in _ID.findall(text):
            self._shown.setdefault(made, f"01977420-dc00-7000-8000-{len(self._shown) + 1:012}")
        for made, shown in self._shown.items():
            text = text.replace(made, shown)
        text = _DIGEST.sub(lambda found: f'"{found[1]}":"{"5a" * 32}"', text)
        return _KEY.sub("wfk_" + "x" * 43, text)


async def record() -> None:
    """Write the answers down beside their requests."""
    requests = msgspec.json.decode(FILE.read_bytes())
    missing = {name_of(route) for route in ROUTES} - {name for order in STORIES for name in order} - set(OWN)
    assert not missing, missing
    told: dict[str, Any] = {}
    for order in STORIES:
        engine = await Engine.start(MemoryStore(), clock=ManualClock())
        await engine.services.access.bootstrap(KEY, "cli:example")
        api = Api(engine, Settings())
        story = Story(api)
        for name in order:
            example = {member: value for member, value in requests.get(name, {}).items() if member != "answer"}
            status, answer = await story.tell(name, example)
            assert status < 300, (name, answer)
            told[name] = {**example, "answer": answer}
        await api.close()
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")


if __name__ == "__main__":
    silence()
    asyncio.run(record())
