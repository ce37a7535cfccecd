"""Keys that end while a request is under way: nothing is done by them any more, and the call says 401."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.api.conftest import APPROVED, PROCESS, WAITING, Api, eventually


class SlowCall:
    """A POST whose body comes piece by piece, when the test says so."""

    def __init__(self, api: Api, path: str, key: str) -> None:
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: list[Any] = []
        self.is_asked = asyncio.Event()
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"x-api-key", key.encode()), (b"transfer-encoding", b"chunked")],
        }
        self._job = asyncio.create_task(api.app(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        self.is_asked.set()
        return await self._pieces.get()

    async def _send(self, message: Any) -> None:
        self._sent.append(message)

    async def end(self, body: Any) -> tuple[int, Any]:
        """Send the body; gives status and answer."""
        self._pieces.put_nowait({"type": "http.request", "body": msgspec.json.encode(body), "more_body": False})
        await self._job
        return self._sent[0]["status"], msgspec.json.decode(self._sent[1]["body"])


async def revoke(api: Api, name: str = "a key") -> None:
    keys = (await api.ok("GET", "/v1/keys"))["data"]
    row = next(row for row in keys if row["name"] == name)
    await api.ok("DELETE", f"/v1/keys/{row['id']}")


@pytest.mark.parametrize(
    ("path", "scope", "body"),
    [
        (f"{PROCESS}/triggerworkflow/WORKFLOW", "workflows.run", {}),
        (f"{PROCESS}/resumeWorkflow/P-1", "runs.resume", APPROVED),
        (f"{PROCESS}/terminateWorkflow/P-1", "runs.terminate", {}),
        ("/v1/workflows", "workflows.manage", {"name": "late", "definition": WAITING}),
        ("/v1/keys", "keys.manage", {"name": "late", "scopes": ["keys.manage"]}),
        ("/v1/test-state", "workflows.view", {"definition": {"Type": "Succeed"}, "input": {}}),
    ],
)
async def test_a_body_that_comes_after_the_revocation_does_nothing(
    api: Api, path: str, scope: str, body: dict[str, Any]
) -> None:
    """401, whatever the request was looked at before; and the log ends with the revocation."""
    workflow_id = await api.workflow()
    await api.trigger(workflow_id, {"process_id": "P-1"})
    key = await api.new_key(scope)
    call = SlowCall(api, path.replace("WORKFLOW", workflow_id), key)
    await call.is_asked.wait()
    await revoke(api)
    position = await api.store.position()
    status, answer = await call.end(body)
    assert status == 401
    assert answer["error"]["code"] == "UNAUTHORIZED"
    assert await api.store.position() == position


async def test_a_held_resume_ends_with_the_revocation_of_its_key(api: Api) -> None:
    """At once, with 401; those of other keys are held on."""
    workflow_id = await api.workflow({"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": True}}})
    run = await api.trigger(workflow_id)
    key = await api.new_key("runs.resume")
    others = await api.held(run, headers={"Prefer": "wait=30"})
    held = await api.held(run, key=key, headers={"Prefer": "wait=30"})
    await eventually(lambda: api.engine.node.metrics._holding == 2)
    await revoke(api)
    answer = await held
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "UNAUTHORIZED"
    assert "X-Log-Position" not in answer.headers
    await api.settled()
    assert not others.done()
    await api.push(60_000)
    assert (await others).status_code == 409


async def test_a_held_resume_ends_when_its_key_expires(api: Api) -> None:
    """To the millisecond, however long it may be held."""
    workflow_id = await api.workflow({"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": True}}})
    run = await api.trigger(workflow_id)
    key = await api.new_key("runs.resume", expires_at="2025-06-15T15:06:50Z")
    held = await api.held(run, key=key, headers={"Prefer": "wait=30"})
    await api.push(9_999)
    assert not held.done()
    await api.push(1)
    assert (await held).status_code == 401


async def test_a_task_token_needs_the_key_that_brings_it(api: Api) -> None:
    """A token answers for its task, and not for the key of whoever sends it."""
    execution_id, token = await api.token()
    key = await api.new_key("runs.resume")
    call = SlowCall(api, f"/v1/tasks/{token}/success", key)
    await call.is_asked.wait()
    await revoke(api)
    assert (await call.end({"output": 1}))[0] == 401
    assert "TaskSucceeded" not in await api.events(execution_id)
