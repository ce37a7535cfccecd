"""Requests that must be refused: sent to a route of the table, and held against the document."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import httpx2
import msgspec
from jsonschema_rs import Validator, validator_for

from perdure.api.app import ROUTES
from perdure.api.dialects.process.dialect import PROCESS
from perdure.api.http.routing import Route
from perdure.api.openapi import document
from tests.api.conftest import KEY, Api
from tests.api.fuzzing import rows_of
from tests.present import present

DOCUMENT = document(ROUTES)
BODIES = [route for route in ROUTES if route.body is not None]
QUERIES = [route for route in ROUTES if route.query.__struct_fields__]


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """A component, where there is only a reference to one."""
    while "$ref" in value:
        found: Any = DOCUMENT
        for token in value["$ref"].removeprefix("#/").split("/"):
            found = found[token]
        value = found
    return value


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether the document says that a value is accepted."""
    return bool(_validator(msgspec.json.encode(schema)).is_valid(value))


@cache
def _validator(schema: bytes) -> Validator:
    root = {**msgspec.json.decode(schema), "components": DOCUMENT["components"]}
    return validator_for(root, validate_formats=True)


def body_schema(route: Route) -> dict[str, Any]:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    return dict(operation["requestBody"]["content"]["application/json"]["schema"])


class Probe(NamedTuple):
    """An app with one of everything for a request to be about."""

    api: Api
    workflow_id: str
    process_id: str
    key_id: str
    token: str
    schedule_id: str
    ended_id: str
    bulk_id: str
    approval: tuple[str, str]

    @classmethod
    async def made(cls, api: Api) -> Probe:
        workflow_id = await api.workflow()
        process_id = await api.trigger(workflow_id)
        await api.new_key("audit.read")
        _, token = await api.token()
        await api.settled()
        keys = (await api.ok("GET", "/v1/keys"))["data"]
        key_id = next(key["id"] for key in keys if key["name"] != "bootstrap")
        schedule = {"interval": {"value": 500, "unit": "weeks"}}
        made = await api.ok("POST", f"/v1/workflows/{workflow_id}/schedules", json=schedule)
        ended_id = await api.trigger(workflow_id)
        await api.settled()
        await api.terminate(ended_id)
        bulk = {"action": "terminate", "filter": {"workflow_id": workflow_id, "state": "Nowhere"}}
        bulk_id = (await api.ok("POST", "/v1/bulk", json=bulk))["data"]["id"]
        await api.settled()
        schedule_id = made["data"]["id"]
        return cls(api, workflow_id, process_id, key_id, token, schedule_id, ended_id, bulk_id, await api.approval())

    def own(self, route: Route) -> dict[str, Any]:
        """The members of a right body that must be as they are here."""
        name = present(route.body).__name__
        if name == "WorkflowChange":
            return {"status": "published"}  # what is published is no draft again
        return {"workflow_id": self.workflow_id} if name == "Toggle" else {}

    def url(self, route: Route) -> str:
        own = {"/v1/keys": self.key_id, "/v1/bulk": self.bulk_id, "/api/v1/runs": self.approval[0]}
        begun = [each for each in own if route.path.startswith(f"{each}/")]
        values = {
            "id": own[begun[0]] if begun else self.workflow_id,
            "approvalId": self.approval[1],
            "n": "1",
            "workflow_id": self.workflow_id,
            "workflow_version": "1",
            "process_id": self.process_of(route),
            "approval_id": self.approval[1],
            "version": "1",
            "schedule_id": self.schedule_id,
            "token": self.token,
            "name": "a%20name",
        }
        return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], route.path)

    def process_of(self, route: Route) -> str:
        """The run that a request is about: one that has ended, that asks for an approval, or any other."""
        if route.path.endswith(("/redrive", "/retry")):
            return self.ended_id
        return self.approval[0] if "/approvals/" in route.path else self.process_id

    def left(self) -> Any:
        """All rows and events that there are."""
        return rows_of(self.api.store), list(self.api.store._log)

    async def refused(self, route: Route, status: int, **more: Any) -> httpx2.Response:
        """The answer to a request that must be refused with this status, as declared, leaving nothing."""
        before = self.left()
        response = await self.api.send(route.method, self.url(route), **more)
        assert response.status_code == status, (route.path, response.status_code, response.text)
        self.check(route, response)
        assert self.left() == before
        return response

    def check(self, route: Route, response: httpx2.Response) -> None:
        """Hold an answer against the document: its status, its envelope, its code."""
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        declared = resolved(operation["responses"][str(response.status_code)])
        assert accepts(declared["content"]["application/json"]["schema"], response.json()), response.text
        assert ("message" in response.json()) is (route.dialect is PROCESS)

    async def cut(self, route: Route, body: bytes) -> None:
        """Send a body that is cut before its end."""
        given = [{"type": "http.request", "body": body, "more_body": True}]
        answer: list[Any] = []

        async def receive() -> dict[str, Any]:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answer.append(message)

        path = self.url(route)
        headers = [(b"x-api-key", KEY.encode()), (b"content-length", b"1000")]
        scope = {
            "type": "http",
            "method": route.method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
        }
        await self.api.app(scope, receive, send)
        assert answer[0]["status"] == 400


def message_of(response: httpx2.Response) -> str:
    body = response.json()
    return str(body.get("message") or body["error"]["message"])


def details_of(response: httpx2.Response) -> dict[str, Any]:
    """The details of a refusal; of one that lists them the first."""
    details = response.json()["error"].get("details", {})
    found: dict[str, Any] = details[0] if isinstance(details, list) else details
    return found
