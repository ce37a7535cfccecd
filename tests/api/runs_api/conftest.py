"""The runs API, over the app in process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2
import pytest

from tests.api.conftest import KEY, Api, Start

ROOT: Final = "/api/v1"

LOG: Final[dict[str, Any]] = {"id": "greet", "type": "transform", "config": {"hello": "{{ input.name }}"}}
ASK: Final[dict[str, Any]] = {
    "id": "ask",
    "name": "Ask the boss",
    "type": "approval",
    "config": {"title": "May {{ input.name }}?", "approvers": [], "timeoutMs": 60_000},
}


class RunsApi:
    """Who calls the runs API."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        given = {} if body is None else {"json": body}
        return await self.api.send(method, f"{ROOT}/{path}", **given, **more)

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The data of an answer that must be a success."""
        answer = await self.whole(method, path, body, **more)
        return answer["data"]

    async def whole(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of an answer that must be a success."""
        response = await self.send(method, path, body, **more)
        assert response.is_success, response.text
        answer = response.json()
        assert answer["success"] is True
        return answer

    async def refused(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The error of an answer that must be refused with this status."""
        response = await self.send(method, path, body, **more)
        assert response.status_code == status, response.text
        answer = response.json()
        assert answer["success"] is False
        assert answer.keys() == {"success", "error"}
        return answer["error"]

    async def workflow(self, *steps: Mapping[str, Any], **more: Any) -> str:
        """An active workflow of these steps."""
        body = {"name": "invoices", "steps": list(steps) or [LOG], "status": "active", **more}
        return str((await self.ok("POST", "workflows", body))["id"])

    async def run(self, workflow_id: str, run_input: Any = None, **more: Any) -> str:
        """A run that has come as far as it can."""
        body = {} if run_input is None else {"input": run_input}
        started = await self.ok("POST", f"workflows/{workflow_id}/run", body, **more)
        await self.api.settled()
        return str(started["runId"])

    async def shown(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.ok("GET", f"runs/{run_id}")
        return found

    async def done(self, *steps: Mapping[str, Any], run_input: Any = None, **more: Any) -> dict[str, Any]:
        """What a run of these steps has come to."""
        return await self.shown(await self.run(await self.workflow(*steps, **more), run_input))


@pytest.fixture
async def runs(start: Start) -> RunsApi:
    """The runs API of an engine of its own."""
    return RunsApi(await start())


__all__ = ["ASK", "KEY", "LOG", "ROOT", "RunsApi"]
