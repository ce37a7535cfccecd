"""The dialects are one product: what is made through one is run, read, paused, resumed and deleted through any other.

A dialect is a row of `DIALECTS`, and a way to write a workflow a row of `WAYS`. Each way is tried with each dialect
that can delete, and in between every dialect does and sees everything that it can; they must agree on all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import pytest

from perdure.api.app import ROUTES
from perdure.api.dialects.resource.workflows.schemas import NewWorkflow
from tests.api.conftest import WAITING, Api

APART_MS: Final = 31_000
"""The service API starts no run so soon after another one of its workflow."""

NAP_S: Final = 3_600


class Seen(NamedTuple):
    """A workflow or a run as it is shown: its id, its name or its workflow's id, and its status in our words."""

    id: str
    of: str
    status: str


class Members(NamedTuple):
    """The members of an answer that say so: of a workflow or a run, under `data`, or `item`."""

    within: str
    id: str
    of: str
    status: str

    def read(self, item: Mapping[str, Any]) -> Seen:
        """Read them; a run that is running and suspended waits."""
        status = str(item.get("status_detail") or item[self.status]).lower()
        if item.get("suspended"):
            status = "waiting"
        return Seen(item[self.id], item[self.of], SAME.get(status, status))


class Dialect(NamedTuple):
    """A dialect by what it can do, as paths with `{id}` for the workflow's or the run's.

    `run`: starts a run, and the member of the answer with its id. `workflow`, `one`: show one. `pages`: of all runs,
    and of a workflow's. `change`: under it a workflow is paused, resumed and deleted; null where it cannot be.
    """

    run: tuple[str, str, str] | None
    workflow: str
    shown_workflow: Members
    one: str
    pages: tuple[str, str]
    listed: str
    shown_run: Members
    change: str | None = None


SAME: Final = {"published": "active", "cancelled": "terminated"}
"""Words of dialects for what the others call otherwise."""

NAP: Final = {"duration": NAP_S * 1000}
STEP: Final = {"id": "nap", "type": "wait", "config": NAP}
WAYS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "runs": ("/api/v1/workflows", {"status": "active", "steps": [STEP]}),
    "resource, by definition": (
        "/v1/workflows",
        {"definition": {"StartAt": "nap", "States": {"nap": {"Type": "Wait", "Seconds": NAP_S, "End": True}}}},
    ),
    "service": (
        "/api/v1/services/workflows/workflows",
        {"trigger_type": "manual", "steps": [{"step_type": "wait", "step_config": NAP}]},
    ),
}
"""By the name of a way to write a workflow that sleeps for an hour, where it is sent and what."""
if "nodes" in NewWorkflow.__struct_fields__:
    WAYS["resource, by nodes"] = ("/v1/workflows", {"status": "published", "nodes": [STEP], "edges": []})


def there(method: str, path: str) -> bool:
    """Whether there is such a route."""
    return any((route.method, route.path) == (method, path) for route in ROUTES)


EXECUTE: Final = "/v1/workflows/{id}/execute"
CAN_EXECUTE: Final = there("POST", EXECUTE)
SERVICE: Final = "/api/v1/services/workflows"
PROCESS: Final = "/v2/workflows"
DIALECTS: Final = {
    "runs": Dialect(
        run=("/api/v1/workflows/{id}/run", "data", "runId"),
        workflow="/api/v1/workflows/{id}",
        shown_workflow=Members("data", "id", "name", "status"),
        one="/api/v1/runs/{id}",
        pages=("/api/v1/runs?limit=30", "/api/v1/runs?limit=30&workflowId={id}"),
        listed="data",
        shown_run=Members("data", "id", "workflowId", "status"),
        change="/api/v1/workflows/{id}",
    ),
    "resource": Dialect(
        run=(EXECUTE, "data", "execution_id") if CAN_EXECUTE else None,
        workflow="/v1/workflows/{id}",
        shown_workflow=Members("data", "id", "name", "status"),
        one="/v1/executions/{id}" if CAN_EXECUTE else "/v1/executions?process_id_prefix={id}",
        pages=("/v1/executions?limit=30", "/v1/executions?limit=30&workflow_id={id}"),
        listed="data",
        shown_run=Members("data", "execution_id", "workflow_id", "status"),
        change="/v1/workflows/{id}",
    ),
    "process": Dialect(
        run=(f"{PROCESS}/triggerworkflow/{{id}}", "", "looply_execution_id"),
        workflow=f"{PROCESS}/getWorkflowById?workflow_id={{id}}&workflow_version=1",
        shown_workflow=Members("item", "workflow_id", "workflow_name", "workflow_status"),
        one=f"{PROCESS}/getWorkflowExecutionById?workflow_execution_id={{id}}&workflow_id={{of}}",
        pages=(
            f"{PROCESS}/getOrganizationExecutions?limit=30",
            f"{PROCESS}/getWorkflowExecutionHistory?limit=30&workflow_id={{id}}",
        ),
        listed="items",
        shown_run=Members("item", "workflow_execution_id", "workflow_id", "status"),
    ),
    "service": Dialect(
        run=(f"{SERVICE}/workflows/{{id}}/run", "data", "run_id"),
        workflow=f"{SERVICE}/workflows/{{id}}",
        shown_workflow=Members("data", "id", "name", "status"),
        one=f"{SERVICE}/runs/{{id}}",
        pages=(f"{SERVICE}/runs?limit=30", f"{SERVICE}/workflows/{{id}}/runs?limit=30"),
        listed="data",
        shown_run=Members("data", "run_id", "workflow_id", "status"),
        change=f"{SERVICE}/workflows/{{id}}",
    ),
}
CHANGING: Final = [name for name, dialect in DIALECTS.items() if dialect.change is not None]


class Product:
    """A workflow, as all dialects see it."""

    def __init__(self, api: Api, workflow_id: str, name: str) -> None:
        self.api, self.id, self.name = api, workflow_id, name
        self.runs: list[str] = []

    async def is_shown(self, status: str) -> None:
        """Find that every dialect shows it as it is."""
        for name, dialect in DIALECTS.items():
            answer = await self.api.ok("GET", dialect.workflow.format(id=self.id))
            seen = dialect.shown_workflow.read(answer[dialect.shown_workflow.within])
            assert seen == (self.id, self.name, status), name

    async def run_by(self, dialect: Dialect) -> None:
        """Start a run, long enough after the last one."""
        await self.api.push(APART_MS)
        assert dialect.run is not None
        path, within, member = dialect.run
        answer = await self.api.ok("POST", path.format(id=self.id))
        self.runs.append((answer[within] if within else answer)[member])
        await self.api.settled()

    async def runs_are(self, status: str) -> None:
        """Find that every dialect shows each run, and both lists of them, alike: newest first, and none left out."""
        wanted = [Seen(run, self.id, status) for run in reversed(self.runs)]
        for name, dialect in DIALECTS.items():
            for run in wanted:
                answer = await self.api.ok("GET", dialect.one.format(id=run.id, of=self.id))
                item = answer[dialect.shown_run.within if "?process_id" not in dialect.one else "data"]
                assert dialect.shown_run.read(item[0] if isinstance(item, list) else item) == run, name
            for page in dialect.pages:
                rows = (await self.api.ok("GET", page.format(id=self.id)))[dialect.listed]
                assert [dialect.shown_run.read(row) for row in rows] == wanted, (name, page)
        counts = await self.api.ok("GET", "/v1/executions/counts", params={"workflow_id": self.id})
        assert counts["data"]["total"] == len(wanted)

    async def starts_nothing(self) -> None:
        """Find that no dialect can start a run of it, and that none of them left one behind."""
        await self.api.push(APART_MS)
        for name, path in running():
            refused = await self.api.post(path.format(id=self.id))
            assert refused.status_code == 409, (name, refused.text)

    async def change_by(self, name: str, action: str) -> None:
        """Pause, resume or delete it."""
        path = (DIALECTS[name].change or "").format(id=self.id)
        if action == "delete":
            await self.api.ok("DELETE", path)
        else:
            await self.api.ok("POST", f"{path}/{action}")


def running() -> Iterator[tuple[str, str]]:
    """The dialects that start runs, each with the path."""
    return ((name, dialect.run[0]) for name, dialect in DIALECTS.items() if dialect.run is not None)


@pytest.mark.parametrize("deleter", CHANGING)
@pytest.mark.parametrize("way", WAYS)
async def test_all_dialects_are_one_product(api: Api, way: str, deleter: str) -> None:
    """Ids, names, counts and statuses agree in all of them, whatever was done through which."""
    path, body = WAYS[way]
    made = await api.ok("POST", path, json={"name": f"by {way}", **body})
    product = Product(api, made["data"]["id"], f"by {way}")
    await product.is_shown("active")
    for name, _ in running():
        await product.run_by(DIALECTS[name])
    await product.runs_are("running")
    for index, pausing in enumerate(CHANGING):
        await product.change_by(pausing, "pause")
        await product.is_shown("paused")
        await product.starts_nothing()
        await product.change_by(CHANGING[index - 1], "resume")
        await product.is_shown("active")
    await api.push(NAP_S * 1000)
    await product.runs_are("completed")
    await product.change_by(deleter, "delete")
    await product.is_shown("archived")
    await product.starts_nothing()
    await product.runs_are("completed")


async def test_runs_that_wait_are_ended_through_any(api: Api) -> None:
    """A run that waits for somebody does so in all dialects, and so is one that was cancelled or resumed in one."""
    product = Product(api, await api.workflow(WAITING, name="waits"), "waits")
    for name, _ in running():
        await product.run_by(DIALECTS[name])
    await product.runs_are("waiting")
    first, *others = product.runs
    await api.ok("POST", f"/api/v1/runs/{first}/cancel")
    for run in others:
        await api.ok("POST", f"{PROCESS}/terminateWorkflow/{run}")
    await product.runs_are("terminated")


async def test_a_run_is_resumed_through_another(api: Api) -> None:
    """Started by the runs API, resumed by the resource API, and completed in all."""
    product = Product(api, await api.workflow(WAITING, name="waits"), "waits")
    await product.run_by(DIALECTS["runs"])
    await api.ok("POST", f"/v1/executions/{product.runs[0]}/resume", json={"payload": {}})
    await api.settled()
    await product.runs_are("completed")
