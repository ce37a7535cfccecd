"""Second chances (part of the resource API): runs are redriven, rerun and forked, and tell where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import EXECUTIONS, route
from perdure.api.dialects.resource.executions import chance_schemas as schemas
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.core import ids
from perdure.engine.services.idempotency import Answered
from perdure.store.records import ExecutionRow

PREFIX: Final = "executions/{process_id}"
REFUSALS: Final = frozenset({"NOT_FOUND", "CONFLICT"})


async def redrive_execution(call: RouteCall[Any, schemas.RedriveRequest | None]) -> Reply:
    """Let a run go on that failed, timed out or was terminated: at the states that failed, with their inputs."""
    answered = await call.engine.services.chances.redrive(
        call.caller,
        call.path["process_id"],
        reason=call.body.reason if call.body else None,
        idempotency=call.idempotency(call.given or {}),
    )
    return data({"message": answered.answer}, position=answered.position)


async def rerun_execution(call: RouteCall[Any, schemas.RerunRequest | None]) -> Reply:
    """Start another run of the same workflow, from its start, with the same or an edited input."""
    body = call.body or schemas.RerunRequest()
    answered = await call.engine.services.chances.rerun(
        call.caller,
        call.path["process_id"],
        run_input=body.input,
        version=body.version,
        new_process_id=body.process_id,
        reason=body.reason,
        idempotency=call.idempotency(call.given or {}),
    )
    return _made(answered, body.process_id)


async def fork_execution(call: RouteCall[Any, schemas.ForkRequest]) -> Reply:
    """Start another run with the history of this one up to an event: what was completed there is not done again."""
    body = call.body
    answered = await call.engine.services.chances.fork(
        call.caller,
        call.path["process_id"],
        body.seq,
        state_input=body.input,
        new_process_id=body.process_id,
        reason=body.reason,
        idempotency=call.idempotency(call.given),
    )
    return _made(answered, body.process_id)


def _made(answered: Answered, process_id: str | None) -> Reply:
    made = {"execution_id": answered.answer, "process_id": process_id or answered.answer}
    return data(made, position=answered.position)


async def execution_lineage(call: RouteCall[Any, None]) -> Reply:
    """Tell which run a run was made from, how often it was redriven, and which runs were made from it."""
    found = await call.engine.services.chances.lineage(call.caller, call.path["process_id"])
    names = await call.engine.services.queries.process_ids([*found.reruns, *found.forks])
    origin = found.origin
    return data(
        {
            "execution_id": ids.text(found.row.execution_id),
            "status": found.row.status,
            "redrives": found.redrives,
            "origin": origin
            and {"kind": origin.kind, "execution_id": origin.execution, "seq": origin.seq, "hash": origin.hash},
            "reruns": [_related(row, names) for row in found.reruns],
            "forks": [_related(row, names) for row in found.forks],
            "has_more": found.has_more,
        }
    )


def _related(row: ExecutionRow, names: Mapping[bytes, str]) -> dict[str, Any]:
    return {
        "execution_id": ids.text(row.execution_id),
        "process_id": names[row.execution_id],
        "status": row.status,
        "created_at": iso(row.created_at),
    }


ROUTES: Final[Sequence[Route]] = (
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/redrive", "workflows.run", redrive_execution),
        body=schemas.RedriveRequest,
        is_body_optional=True,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.Redriven],
        refusals=REFUSALS,
        tells_position=True,
    ),
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/rerun", "workflows.run", rerun_execution),
        body=schemas.RerunRequest,
        is_body_optional=True,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.RunMade],
        refusals=REFUSALS,
        tells_position=True,
    ),
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/fork", "workflows.run", fork_execution),
        body=schemas.ForkRequest,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.RunMade],
        refusals=REFUSALS,
        tells_position=True,
    ),
    route(
        *(EXECUTIONS, "GET", f"{PREFIX}/lineage", "runs.view", execution_lineage),
        answer=common.Data[schemas.Lineage],
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
