"""Calls about runs: they are started, resumed, ended and looked at; their events and waits; tasks with a token.

`process_id` is the caller's own name for a run, or its execution id, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import UNSET

from perdure.api.client import chance_results, results
from perdure.api.client.calls import Call, Iteration, Operation, Walk, given
from perdure.api.client.pause_results import PauseStatus

HELD_S: Final = 20
"""So long a server holds a call of who follows events, until there is one."""

ENDED: Final = frozenset({"completed", "failed", "timed_out", "terminated"})
"""Statuses that are final."""

_PROCESS: Final = "/v2/workflows"
_RUN: Final = "/v1/executions/{process_id}"
_TASK: Final = "/v1/tasks/{token}"


def _resume(
    path: str,
    reply: Literal["data"] | None,
    process_id: str,
    payload: Any,
    query: Mapping[str, str | None],
    hold_s: int | None,
    idempotency_key: str | None,
) -> Call[results.Told]:
    # A key of ours would let a resume that names no wait pass where the workflow wants it to name one.
    names_its_wait = any(value is not None for value in query.values())
    return Call(
        "POST",
        path,
        results.Told,
        reply,
        values={"process_id": process_id},
        query=query,
        body={"payload": payload},
        headers={} if hold_s is None else {"Prefer": f"wait={hold_s}"},
        idempotency_key=idempotency_key or names_its_wait,
        held_s=hold_s or 0,
    )


def _terminate(
    path: str, reply: Literal["data"] | None, process_id: str, payload: Mapping[str, Any], key: str | None
) -> Call[results.Told]:
    body = {"payload": dict(payload)}
    values = {"process_id": process_id}
    return Call("POST", path, results.Told, reply, values=values, body=body, idempotency_key=key or True)


def _chance(what: str, reply: Any, process_id: str, body: Mapping[str, Any], key: str | None) -> Call[Any]:
    values = {"process_id": process_id}
    return Call("POST", f"{_RUN}/{what}", reply, "data", values=values, body=body, idempotency_key=key or True)


def _paused(path: str, process_id: str, body: Mapping[str, Any], key: str | None) -> Call[results.Told]:
    values = {"process_id": process_id}
    return Call("POST", path, results.Told, "data", values=values, body=dict(body), idempotency_key=key or True)


def _answer(token: str, what: str, reply: Any, body: Any, key: str | None) -> Call[Any]:
    path = f"{_TASK}/{what}"
    return Call("POST", path, reply, "data", values={"token": token}, body=body, idempotency_key=key or True)


class RunCalls:
    """Calls about runs."""

    # --- changes -------------------------------------------------------------------------------------------------

    @Operation
    def trigger(
        self,
        workflow_id: str,
        run_input: Mapping[str, Any] | None = None,
        *,
        process_id: str | None = None,
        version: int | None = None,
        is_test: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[results.Triggered]:
        """Start a run of a workflow, given by its id; it is on disk when this returns.

        `run_input` is a JSON object, {} unless given. Under a `process_id` of your own (1 to 128 printable characters)
        the same call gives the same run, for ever. `version`: the latest published one unless given. `is_test` runs
        drafts too, and without an input the workflow's mock payload. However often it is sent, one run starts.

        Raises `NotFound` (workflow or version), `Conflict` (the process id has another input or workflow; a draft or
        an archived workflow), `Invalid`.
        """
        path = f"{_PROCESS}/triggerworkflow/{{workflow_id}}"
        values: dict[str, str | int] = {"workflow_id": workflow_id}
        if version is not None:
            path, values["workflow_version"] = f"{path}/{{workflow_version}}", version
        is_named = process_id is not None or "process_id" in (run_input or {})
        return Call(
            "POST",
            path,
            results.Triggered,
            values=values,
            query={"process_id": process_id, "test": is_test or None},
            body=UNSET if run_input is None else dict(run_input),
            idempotency_key=idempotency_key or not is_named,
            is_safe=is_named,
        )

    @Operation
    def resume(
        self,
        process_id: str,
        payload: Any = None,
        *,
        wait_id: str | None = None,
        state: str | None = None,
        hold_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Call[results.Told]:
        """End a wait: `restarted`, or `already restarted` if an earlier resume did. The payload is any JSON value.

        Name the wait by the `state` it is at or by its `wait_id`, so that a late answer to one question cannot answer
        the next one; only then, or with an `idempotency_key`, is the call repeated by itself if its answer is lost.
        If the wait has not opened yet the server holds the call for `hold_s` seconds, 0 to 30, 2 unless given.

        Raises `NotFound`, `NotWaiting` (still none has opened), `AmbiguousWait` and `UnnamedWait` (`details["waits"]`),
        `WaitExpired`, `Conflict` (the run was terminated).
        """
        query = {"wait_id": wait_id, "state": state}
        return _resume(f"{_RUN}/resume", "data", process_id, payload, query, hold_s, idempotency_key)

    @Operation
    def resume_workflow(
        self,
        process_id: str,
        payload: Mapping[str, Any],
        *,
        wait_id: str | None = None,
        state: str | None = None,
        hold_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Call[results.Told]:
        """As `resume`, by the process API: the payload is an object whose `source` the server's settings allow."""
        query = {"wait_id": wait_id, "state": state}
        path = f"{_PROCESS}/resumeWorkflow/{{process_id}}"
        return _resume(path, None, process_id, payload, query, hold_s, idempotency_key)

    @Operation
    def terminate(
        self, process_id: str, payload: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Call[results.Told]:
        """End a run from outside: `terminated`, or `already terminated` by an earlier call.

        `payload` is kept in the log; its `termination_reason` (up to 1,024 characters) is shown as the reason.
        Raises `NotFound`, `Conflict` (it had ended another way).
        """
        return _terminate(f"{_RUN}/terminate", "data", process_id, payload or {}, idempotency_key)

    @Operation
    def terminate_workflow(
        self, process_id: str, payload: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Call[results.Told]:
        """As `terminate`, by the process API."""
        path = f"{_PROCESS}/terminateWorkflow/{{process_id}}"
        return _terminate(path, None, process_id, payload or {}, idempotency_key)

    @Operation
    def redrive(
        self, process_id: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Call[results.Told]:
        """Let a run go on that failed, timed out or was terminated: `redriven`. What succeeded is not done again.

        Raises `NotFound`, `Conflict` (it lives, or is completed; its workflow is archived).
        """
        body = {} if reason is None else {"reason": reason}
        return _chance("redrive", results.Told, process_id, body, idempotency_key)

    @Operation
    def rerun(
        self,
        process_id: str,
        *,
        run_input: Mapping[str, Any] | None = None,
        version: int | Literal["latest"] | None = None,
        new_process_id: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[chance_results.RunMade]:
        """Start another run of the same workflow from its start, with the input of this one or `run_input`.

        `version` of the workflow: the same one unless given. Raises `NotFound`, `Conflict` (the new process id is
        taken; the version is a draft, or the workflow archived), `Invalid`.
        """
        said = {"input": run_input, "version": version, "process_id": new_process_id, "reason": reason}
        body = {name: value for name, value in said.items() if value is not None}
        return _chance("rerun", chance_results.RunMade, process_id, body, idempotency_key)

    @Operation
    def fork(
        self,
        process_id: str,
        seq: int,
        *,
        state_input: Any = UNSET,
        new_process_id: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[chance_results.RunMade]:
        """Start another run with the history of this one up to the event `seq`: nothing completed is done again.

        `state_input`, any JSON value, is given to the one state that is in progress there. Raises `NotFound`,
        `Conflict` (nothing was left to be done at that event), `Invalid` (there is no such event, or too many).
        """
        said = {"process_id": new_process_id, "reason": reason}
        body: dict[str, Any] = {"seq": seq, **{name: value for name, value in said.items() if value is not None}}
        if state_input is not UNSET:
            body["input"] = state_input
        return _chance("fork", chance_results.RunMade, process_id, body, idempotency_key)

    @Operation
    def lineage(self, process_id: str) -> Call[chance_results.Lineage]:
        """The run that a run was made from, how often it was redriven, and those made from it. Raises `NotFound`."""
        path = f"{_RUN}/lineage"
        return Call("GET", path, chance_results.Lineage, "data", values={"process_id": process_id}, is_safe=True)

    @Operation
    def release(self, process_id: str) -> Call[results.Told]:
        """Try a run again that was quarantined, since deciding about it had failed: `released`.

        Raises `NotFound`, `Conflict` (it is not quarantined). Is not repeated by itself if its answer is lost.
        """
        return Call("POST", f"{_RUN}/release", results.Told, "data", values={"process_id": process_id})

    @Operation
    def pause(
        self, process_id: str, reason: str, *, clocks: str = "run", idempotency_key: str | None = None
    ) -> Call[results.Told]:
        """Stop a run for a while: `paused`, or `already paused`. No state is entered and no step called meanwhile.

        With `clocks="freeze"` every time limit keeps what is left of it, with `"run"` time goes on. Raises `NotFound`,
        `Conflict` (it has ended).
        """
        body = {"reason": reason, "clocks": clocks}
        return _paused(f"{_RUN}/pause", process_id, body, idempotency_key)

    @Operation
    def unpause(
        self, process_id: str, reason: str | None = None, *, idempotency_key: str | None = None
    ) -> Call[results.Told]:
        """Let a paused run go on where it stands: `unpaused`, or `not paused`. Raises what `pause` does."""
        body = {} if reason is None else {"reason": reason}
        return _paused(f"{_RUN}/unpause", process_id, body, idempotency_key)

    @Operation
    def pause_of(self, process_id: str) -> Call[PauseStatus]:
        """The status of a run, and the pause that it is in; `pause.quiescent` says that nothing is in flight any more.

        Raises `NotFound`.
        """
        return Call("GET", f"{_RUN}/pause", PauseStatus, "data", values={"process_id": process_id})

    # --- tasks ---------------------------------------------------------------------------------------------------

    @Operation
    def complete_task(self, token: str, output: Any, *, idempotency_key: str | None = None) -> Call[results.Told]:
        """End the task that handed out this token; the output is any JSON value. A token is good for one answer.

        Raises `NotFound`, `Conflict` (it was answered before), `WaitExpired`.
        """
        return _answer(token, "success", results.Told, {"output": output}, idempotency_key)

    @Operation
    def fail_task(
        self, token: str, error: str | None = None, cause: str | None = None, *, idempotency_key: str | None = None
    ) -> Call[results.TaskFailed]:
        """Fail the task that handed out this token; `then` says what follows. Raises what `complete_task` does."""
        return _answer(token, "failure", results.TaskFailed, given(error=error, cause=cause), idempotency_key)

    @Operation
    def keep_task_alive(self, token: str, *, idempotency_key: str | None = None) -> Call[results.Told]:
        """Say that the task is alive, before its HeartbeatSeconds have passed. Raises what `complete_task` does."""
        return _answer(token, "heartbeat", results.Told, {}, idempotency_key)

    # --- views ---------------------------------------------------------------------------------------------------

    @Operation
    def execution(self, workflow_id: str, execution_id: str) -> Call[results.RunItem]:
        """A run's state, input, output and logs, by the ids of its workflow and its own. Raises `NotFound`."""
        query = {"workflow_id": workflow_id, "workflow_execution_id": execution_id}
        path = f"{_PROCESS}/getWorkflowExecutionById"
        return Call("GET", path, results.RunItem, "item", query=query, is_safe=True)

    @Operation
    def history(self, workflow_id: str, *, after: str | None = None, limit: int | None = None) -> Call[results.RunPage]:
        """A page of a workflow's runs, newest first, 1 to 30 of them, 20 unless given.

        `after` is the `workflow_execution_id` of a page's `last_key`. Raises `NotFound`.
        """
        return _history(workflow_id, after, limit)

    @Iteration
    def iter_history(self, workflow_id: str, *, after: str | None = None) -> Walk[results.RunListed]:
        """All runs of a workflow, newest first: each that is there at the start once, whatever happens meanwhile."""

        def then(page: results.RunPage) -> Call[results.RunPage] | None:
            key = page.last_key
            return _history(workflow_id, key.workflow_execution_id, 30) if key else None

        return Walk(_history(workflow_id, after, 30), lambda page: page.items, then)

    @Operation
    def executions(self, *, after: str | None = None, limit: int | None = None) -> Call[results.RunPage]:
        """A page of the runs of the key's workspace, or with `organization.view` its organization; as `history`."""
        return _executions(after, limit)

    @Iteration
    def iter_executions(self, *, after: str | None = None) -> Walk[results.RunListed]:
        """All of those runs, newest first: each that is there at the start once, whatever happens meanwhile."""

        def then(page: results.RunPage) -> Call[results.RunPage] | None:
            return _executions(page.last_key.workflow_execution_id, 30) if page.last_key else None

        return Walk(_executions(after, 30), lambda page: page.items, then)

    @Operation
    def execution_events(
        self,
        process_id: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        order: Literal["asc", "desc"] | None = None,
        types: Sequence[str] = (),
        payloads: Literal["full", "digest"] | None = None,
        wait_s: int = 0,
    ) -> Call[results.RunEvents]:
        """A page of a run's events beyond the seq `after`, as they stand in the log; 1 to 1,000, 100 unless given.

        With `wait_s`, up to 30 seconds, the call is held until there is one. Raises `NotFound`.
        """
        query = {"after": after, "limit": limit, "order": order, "types": ",".join(types) or None}
        return _run_events(process_id, {**query, "payloads": payloads}, wait_s)

    @Iteration
    def iter_execution_events(
        self, process_id: str, *, after: int = 0, types: Sequence[str] = (), follow: bool = False
    ) -> Walk[results.EventStored]:
        """A run's events in order, beyond the seq `after`; to follow it goes on until the run has ended.

        Without `types` their seqs have no gap; after an error go on after the last one seen. Raises `NotFound`.
        While the server holds too many calls, or restarts, it is asked again when it says so, whatever `Retries` say.
        """
        query = {"limit": 500, "types": ",".join(types) or None}

        def then(page: results.RunEvents) -> Call[results.RunEvents] | None:
            if not page.meta.has_more and (not follow or page.meta.status in ENDED):
                return None
            wait_s = 0 if page.meta.has_more else HELD_S
            return _run_events(process_id, {**query, "after": page.meta.after}, wait_s, is_patient=follow)

        return Walk(_run_events(process_id, {**query, "after": after}, 0), lambda page: page.data, then)

    @Operation
    def events(
        self,
        *,
        after: int = 0,
        limit: int | None = None,
        payloads: Literal["full", "digest"] | None = None,
        wait_s: int = 0,
    ) -> Call[results.LogEvents]:
        """A page of the log of the key's workspace, or with `organization.view` its organization, without a gap.

        It is above the position `after`; `meta.after` is where the next one begins, also if this one is empty.
        """
        return _log({"after": after, "limit": limit, "payloads": payloads}, wait_s)

    @Iteration
    def iter_events(self, *, after: int = 0, follow: bool = False) -> Walk[results.EventStored]:
        """That log above the position `after`, event by event; to follow it goes on for ever.

        After an error, or the next day, go on after the `position` of the last one seen.
        """

        def then(page: results.LogEvents) -> Call[results.LogEvents] | None:
            if not page.meta.has_more and not follow:
                return None
            wait_s = 0 if page.meta.has_more else HELD_S
            return _log({"after": page.meta.after, "limit": 500}, wait_s, is_patient=follow)

        return Walk(_log({"after": after, "limit": 500}, 0), lambda page: page.data, then)

    @Operation
    def waits(
        self,
        *,
        process_id: str | None = None,
        workflow_id: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Call[results.WaitPage]:
        """A page of open waits, oldest first, 1 to 100, 20 unless given; of one run or workflow if it is named.

        `after` is a page's `meta.after`. Raises `NotFound`.
        """
        return _waits(process_id, workflow_id, after, limit)

    @Iteration
    def iter_waits(self, *, process_id: str | None = None, workflow_id: str | None = None) -> Walk[results.WaitShown]:
        """All open waits, oldest first; of one run or workflow if it is named. Raises `NotFound`."""

        def then(page: results.WaitPage) -> Call[results.WaitPage] | None:
            after = page.meta.after
            return None if after is None else _waits(process_id, workflow_id, after, 100)

        return Walk(_waits(process_id, workflow_id, None, 100), lambda page: page.data, then)


def _history(workflow_id: str, after: str | None, limit: int | None) -> Call[results.RunPage]:
    query = {"workflow_id": workflow_id, "workflow_execution_id": after, "limit": limit}
    return Call("GET", f"{_PROCESS}/getWorkflowExecutionHistory", results.RunPage, query=query, is_safe=True)


def _executions(after: str | None, limit: int | None) -> Call[results.RunPage]:
    query = {"workflow_execution_id": after, "limit": limit}
    return Call("GET", f"{_PROCESS}/getOrganizationExecutions", results.RunPage, query=query, is_safe=True)


def _run_events(
    process_id: str, query: Mapping[str, Any], wait_s: int, *, is_patient: bool = False
) -> Call[results.RunEvents]:
    return Call(
        "GET",
        f"{_RUN}/events",
        results.RunEvents,
        values={"process_id": process_id},
        query={**query, "wait": wait_s or None},
        is_safe=True,
        held_s=wait_s,
        is_patient=is_patient,
    )


def _log(query: Mapping[str, Any], wait_s: int, *, is_patient: bool = False) -> Call[results.LogEvents]:
    query = {**query, "wait": wait_s or None}
    return Call("GET", "/v1/events", results.LogEvents, query=query, is_safe=True, held_s=wait_s, is_patient=is_patient)


def _waits(
    process_id: str | None, workflow_id: str | None, after: str | None, limit: int | None
) -> Call[results.WaitPage]:
    query = {"process_id": process_id, "workflow_id": workflow_id, "after": after, "limit": limit}
    return Call("GET", "/v1/waits", results.WaitPage, query=query, is_safe=True)
