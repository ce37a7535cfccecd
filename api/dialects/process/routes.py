"""The process API: its routes, and the commands that external systems send by process id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from perdure.api.dialects import schemas as answers
from perdure.api.dialects.process import runs, workflows
from perdure.api.dialects.process.workflows import VERSION_MAX
from perdure.api.http.headers import HOLD_DEFAULT_MS, preferred_wait_s
from perdure.api.http.problems import PROCESS_PREFIX
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.settings import SOURCES
from perdure.api.validation import DIGITS_MAX, Request, Uuid, id_of, shown
from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.log.codec import decode_json
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.runs import TERMINATION_REASON

ProcessId: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 128})]
"""The caller's own name for a run; the engine says what it may be."""

StateName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class TriggerQuery(Request, frozen=True):
    """`process_id` is the caller's own name for the run; `test` runs drafts too."""

    process_id: ProcessId | None = None
    test: bool = False


class RunInput(msgspec.Struct):
    """The run's input: any JSON object. `process_id` in it is the caller's own name for the run."""

    process_id: ProcessId | msgspec.UnsetType = msgspec.UNSET


class ResumeQuery(Request, frozen=True):
    """Which wait is meant, if not the only one."""

    wait_id: Uuid | None = None
    state: StateName | None = None


SOURCED: Final = {"properties": {"source": {"enum": list(SOURCES)}}, "required": ["source"]}
"""The schema of a resume's payload; the document shows the sources of the server's own settings."""


class Resume(Request, frozen=True):
    """What becomes the output of the state that waited. `source` in it is required, and protected."""

    payload: Annotated[dict[str, Any], msgspec.Meta(extra_json_schema=SOURCED)]


class Termination(Request, frozen=True, forbid_unknown_fields=False):
    """Why; and whatever else the caller wants to stand in the log beside that."""

    termination_reason: Annotated[str, msgspec.Meta(max_length=1024)] = TERMINATION_REASON


class Terminate(Request, frozen=True):
    """The end of a run; all of the payload is kept."""

    payload: Termination = Termination()


async def trigger(call: RouteCall[TriggerQuery, dict[str, Any] | None]) -> Reply:
    """Start a run. The body is its input; under a process id the same call gives the same run."""
    workflow_id = call.path_id("workflow_id")
    version = _version(call.path.get("workflow_version"))
    process_id = _process_id(call.query.process_id, call.given or {})
    implied: Any = None if call.query.test else {}  # a test without a body runs on something else
    idempotency = call.idempotency(implied if call.given is None else call.given)
    run_input = await _input(call, workflow_id, version) if call.given is None else call.given
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


async def _input(call: RouteCall[TriggerQuery, Any], workflow_id: bytes, version: int | None) -> Any:
    """What runs without a body: an empty object, or for a test the workflow's mock payload if there is one."""
    if not call.query.test:
        return {}
    found = await call.engine.services.workflows.runnable(call.caller, workflow_id, version, is_test=True)
    mock = found.version.mock_payload
    return {} if mock is None else decode_json(mock)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX and 1 <= int(text) <= VERSION_MAX):
        raise Invalid(
            f"workflow_version: {shown(text)} is not accepted; it must be an integer from 1 to {VERSION_MAX}",
            {"field": "workflow_version"},
        )
    return int(text)


def _process_id(in_query: str | None, body: dict[str, Any]) -> str | None:
    """The process id that the body or the query has; both may, if it is the same."""
    details = {"field": "process_id"}
    if "process_id" not in body:
        return in_query
    in_body = body["process_id"]
    if not isinstance(in_body, str):
        raise Invalid(f"process_id: {shown(in_body)} is not accepted; it must be a text", details)
    if in_query not in (None, in_body):
        raise Invalid("process_id: the body has another one than the query; send one of them", details)
    return in_body


async def resume(call: RouteCall[ResumeQuery, Resume]) -> Reply:
    """End a wait: `restarted`, or `already restarted` if an earlier resume did."""
    _check_source(call.body.payload, call.settings.sources)
    answered, headers = await resumed(call, call.body.payload)
    return Reply({"message": answered.answer}, headers=headers, position=answered.position)


def _check_source(payload: dict[str, Any], sources: list[str]) -> None:
    if payload.get("source") not in sources:
        found = f"{shown(payload['source'])} is not accepted" if "source" in payload else "it is missing"
        wanted = " or ".join(map(repr, sources))
        raise Invalid(f"payload.source: {found}; it must be {wanted}", {"field": "payload.source"})


async def resumed(call: RouteCall[ResumeQuery, Any], payload: Any) -> tuple[Answered, dict[str, str]]:
    """End a wait of the process in the path with this payload; the answer, and the headers that go with it."""
    wait_id = call.query.wait_id
    preferred_s = preferred_wait_s(call.headers)
    answered = await call.engine.services.runs.resume(
        call.caller,
        call.path["process_id"],
        payload,
        wait_id=None if wait_id is None else ids.text(id_of("wait_id", wait_id)),
        state=call.query.state,
        hold_ms=HOLD_DEFAULT_MS if preferred_s is None else preferred_s * 1000,
        idempotency=call.idempotency(call.given),
    )
    return answered, {} if preferred_s is None else {"Preference-Applied": f"wait={preferred_s}"}


async def terminate(call: RouteCall[Any, Terminate | None]) -> Reply:
    """End a run from outside: `terminated`, or `already terminated`."""
    return Reply({"message": (await terminated(call)).answer})


async def terminated(call: RouteCall[Any, Terminate | None]) -> Answered:
    """End the process in the path."""
    body = call.body or Terminate()
    return await call.engine.services.runs.terminate(
        call.caller,
        call.path["process_id"],
        body.payload.termination_reason,
        data=said_beside((call.given or {}).get("payload", {})),
        idempotency=call.idempotency(call.given or {}),
    )


def said_beside(payload: dict[str, Any]) -> dict[str, Any] | None:
    """What a termination's payload has beside the reason, if anything."""
    return {name: value for name, value in payload.items() if name != "termination_reason"} or None


RESUME_REFUSALS: Final = frozenset(
    {"NOT_FOUND", "CONFLICT", "NOT_WAITING", "AMBIGUOUS_WAIT", "NAME_THE_WAIT", "WAIT_EXPIRED"}
)

ROUTES: Final[Sequence[Route]] = (
    *(
        Route(
            method="POST",
            path=f"{PROCESS_PREFIX}triggerworkflow/{{workflow_id}}{version}",
            scope="workflows.run",
            query=TriggerQuery,
            body=dict,
            is_body_optional=True,
            handler=trigger,
            body_as=RunInput,
            headers=("Idempotency-Key",),
            answer=answers.Triggered,
            refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
        )
        for version in ("", "/{workflow_version}")
    ),
    Route(
        method="POST",
        path=f"{PROCESS_PREFIX}resumeWorkflow/{{process_id}}",
        scope="runs.resume",
        query=ResumeQuery,
        body=Resume,
        handler=resume,
        headers=("Idempotency-Key", "Prefer"),
        answer=answers.Resumed,
        refusals=RESUME_REFUSALS,
        tells_position=True,
    ),
    Route(
        method="POST",
        path=f"{PROCESS_PREFIX}terminateWorkflow/{{process_id}}",
        scope="runs.terminate",
        body=Terminate,
        is_body_optional=True,
        handler=terminate,
        headers=("Idempotency-Key",),
        answer=answers.Terminated,
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
    *runs.ROUTES,
    *workflows.ROUTES,
)
