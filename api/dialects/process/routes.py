"""The process API: its routes, and the commands that external systems send by process id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.process import runs, schemas, workflows
from perdure.api.dialects.process.dialect import route
from perdure.api.dialects.run_commands import RESUME_REFUSALS, resumed, terminated
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import version_number
from perdure.engine.services.inputs import check_source, chosen_process_id


async def trigger(call: RouteCall[schemas.TriggerQuery, dict[str, Any] | None]) -> Reply:
    """Start a run. The body is its input; under a process id the same call gives the same run."""
    workflow_id = call.path_id("workflow_id")
    version = _version(call.path.get("workflow_version"))
    process_id = chosen_process_id(call.query.process_id, call.given or {})
    implied: Any = None if call.query.test else {}  # a test without a body runs on something else
    idempotency = call.idempotency(implied if call.given is None else call.given)
    run_input = call.given
    if run_input is None:
        run_input = await call.engine.services.workflows.input_unsaid(
            call.caller, workflow_id, version, is_test=call.query.test
        )
    answered = await call.engine.services.runs.trigger(
        call.caller,
        workflow_id,
        run_input,
        version=version,
        process_id=process_id,
        is_test=call.query.test,
        idempotency=idempotency,
    )
    return Reply({"message": "success", "looply_execution_id": answered.answer})


def _version(text: str | None) -> int | None:
    return None if text is None else version_number("workflow_version", text)


async def resume(call: RouteCall[common.ResumeQuery, schemas.Resume]) -> Reply:
    """End a wait: `restarted`, or `already restarted` if an earlier resume did."""
    check_source(call.body.payload, call.settings.sources)
    answered, headers = await resumed(call, call.body.payload)
    return Reply({"message": answered.answer}, headers=headers, position=answered.position)


async def terminate(call: RouteCall[Any, common.Terminate | None]) -> Reply:
    """End a run from outside: `terminated`, or `already terminated`."""
    return Reply({"message": (await terminated(call)).answer})


ROUTES: Final[Sequence[Route]] = (
    *(
        route(
            *("POST", f"triggerworkflow/{{workflow_id}}{version}", "workflows.run", trigger),
            query=schemas.TriggerQuery,
            body=dict,
            is_body_optional=True,
            body_as=schemas.RunInput,
            headers=("Idempotency-Key",),
            answer=schemas.Triggered,
            refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
        )
        for version in ("", "/{workflow_version}")
    ),
    route(
        *("POST", "resumeWorkflow/{process_id}", "runs.resume", resume),
        query=common.ResumeQuery,
        body=schemas.Resume,
        headers=("Idempotency-Key", "Prefer"),
        answer=common.Resumed,
        refusals=RESUME_REFUSALS,
        tells_position=True,
    ),
    route(
        *("POST", "terminateWorkflow/{process_id}", "runs.terminate", terminate),
        body=common.Terminate,
        is_body_optional=True,
        headers=("Idempotency-Key",),
        answer=common.Terminated,
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
    *runs.ROUTES,
    *workflows.ROUTES,
)
