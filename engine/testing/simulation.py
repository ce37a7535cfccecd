"""Virtual-time runs: one execution on the production core and driver, an in-memory store, and a clock that jumps.

A year of Wait takes a millisecond. What steps would give is asked from the caller.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from engine.codec import decode_json, encode_json
from engine.core import commands as c
from engine.core import ids
from engine.core.effects import RunTask
from engine.core.events import Recorded
from engine.core.refs import resolve
from engine.core.state import State
from engine.errors import Unavailable
from engine.history import states_history
from engine.language import Machine, compile_machine, parse_instant
from engine.runtime.callers import Caller
from engine.runtime.hot import HotStream
from engine.runtime.kinds import KINDS
from engine.runtime.node import Node
from engine.runtime.sending import send
from engine.runtime.tasks import Complete
from engine.testing.clock import START, ManualClock
from store.memory import MemoryStore

T = TypeVar("T")

STATUSES: Mapping[str, str] = {
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "timed_out": "TIMED_OUT",
    "terminated": "ABORTED",
}


class TaskRequest(msgspec.Struct, frozen=True):
    """One attempt of a Task state. `attempt` counts from 0; `iteration` has (map state, index), outermost first."""

    state: str
    resource: str
    parameters: Any
    state_input: Any
    attempt: int = 0
    iteration: tuple[tuple[str, int], ...] = ()
    timeout_seconds: int | None = None
    heartbeat_seconds: int | None = None


class Succeeded(msgspec.Struct, frozen=True):
    """The task gives this output, a JSON value."""

    output: Any = None


class Failed(msgspec.Struct, frozen=True):
    """The task fails."""

    error: str | None = None
    cause: str | None = None


class Unanswered(msgspec.Struct, frozen=True):
    """The task never answers."""


Answer: TypeAlias = Succeeded | Failed | Unanswered


class Simulation(NamedTuple):
    """How a run ended: `status` in the words of GetExecutionHistory, `RUNNING` if it waits for somebody outside.

    `history` is in the vocabulary of GetExecutionHistory, `events` are our own.
    """

    status: str
    output: Any
    error: str | None
    cause: str | None
    history: list[dict[str, Any]]
    events: list[Recorded]


def simulate(
    definition: Mapping[str, Any],
    input: Any,  # noqa: A002 as the States Language says it
    *,
    tasks: Callable[[TaskRequest], Answer],
    context: Mapping[str, str] | None = None,
    express: bool = False,
    start_at: str | None = None,
) -> Simulation:
    """Run one execution to its end, or until nothing but an outside party could move it.

    `context` gives names for the context object: execution_name, state_machine_name, role_arn, account, region.
    `start_at` is the instant of the start (RFC 3339). Raises `engine.language.DefinitionError`, and whatever `tasks`
    raises.
    """
    machine = compile_machine(definition, express=express)
    now = START if start_at is None else parse_instant(start_at)
    if now is None:
        message = f"start_at: {start_at!r} is no instant of the form 2025-01-01T00:00:00Z"
        raise ValueError(message)
    run = _Run(definition, machine, decode_json(encode_json(input)), tasks, dict(context or {}), now)
    return _run_apart(run.go())


def _run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run on a loop of our own; in a thread if the caller is on a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[T | BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as problem:  # noqa: BLE001 it is raised again in the caller's thread
            outcome.append(problem)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


class _Answers:
    """Runs tasks by asking the caller for their outcomes. Implements `engine.runtime.tasks.TaskRunner`."""

    running = 0

    def __init__(self, complete: Complete, tasks: Callable[[TaskRequest], Answer]) -> None:
        self._complete = complete
        self._tasks = tasks
        self.problem: BaseException | None = None

    def run(self, hot: HotStream, task: RunTask) -> None:
        asyncio.get_running_loop().call_soon(self._answer, hot, task)

    def _answer(self, hot: HotStream, task: RunTask) -> None:
        frame = hot.state.frames.get(task.scope)
        state_input = None if frame is None else resolve(frame.input, hot.payloads)
        request = TaskRequest(task.state, task.resource, task.parameters, state_input, task.attempt)
        try:
            answer = self._tasks(request)
        except BaseException as problem:  # noqa: BLE001 it is raised to who called simulate
            self.problem = problem
            return
        outcome: c.Succeeded | c.Failed
        match answer:
            case Succeeded(output=output):
                outcome = c.Succeeded(decode_json(encode_json(output)))
            case Failed(error=error, cause=cause):
                outcome = c.Failed(error, cause)
            case Unanswered():
                return
        self._complete(hot, c.CompleteTask(task.scope, task.state, task.seq, task.attempt, task.visit, outcome))

    async def close(self, grace_s: float) -> None:
        """Nothing runs."""


class _Run:
    """One virtual-time run."""

    def __init__(
        self,
        definition: Mapping[str, Any],
        machine: Machine,
        run_input: Any,
        tasks: Callable[[TaskRequest], Answer],
        names: dict[str, str],
        now: int,
    ) -> None:
        self._definition = encode_json(definition).decode()
        self._machine = machine
        self._input = run_input
        self._tasks = tasks
        self._names = names
        self._clock = ManualClock(now)

    async def go(self) -> Simulation:
        store = MemoryStore()
        answers: list[_Answers] = []

        def make(complete: Complete) -> _Answers:
            answers.append(_Answers(complete, self._tasks))
            return answers[0]

        node = Node(store, self._clock, make, names=_context_names(self._names))
        await node.start()
        try:
            execution_id = await self._start(node)
            state = await self._to_rest(node, execution_id, answers[0])
        finally:
            await node.drain(0)
        if answers[0].problem is not None:
            raise answers[0].problem
        stored = await store.events(execution_id)
        return _result(state, KINDS["execution"].vocabulary.read_all(stored))

    async def _start(self, node: Node) -> bytes:
        workflow_id, execution_id = node.processor.new_id(), node.processor.new_id()
        node.definitions.put(workflow_id, 1, self._definition)
        caller = Caller(workflow_id, workflow_id, "embedded:simulate")
        name = ids.text(workflow_id)
        command = c.Trigger(
            workspace=name,
            workflow=name,
            workflow_version=1,
            definition_sha256="",
            trigger="MANUAL",
            input=self._input,
        )
        await send(node, caller, "execution", execution_id, command, machine=self._machine)
        return execution_id

    async def _to_rest(self, node: Node, execution_id: bytes, answers: _Answers) -> str:
        """Jump from one due instant to the next until the run is over or nothing is due; gives its status."""
        while True:
            await _settle(node)
            row = await node.store.execution(execution_id)
            if row is None:
                message = "the execution was not started"
                raise Unavailable(message)
            due = self._clock.next_due()
            if answers.problem is not None or row.ended_at is not None or due is None:
                return row.status
            self._clock.push(due - self._clock.now())


async def _settle(node: Node) -> None:
    """Wait until nothing happens any more without time going on."""
    for _ in range(3):
        await asyncio.sleep(0)
        await node.processor.settle()
        await node.timers.settle()


def _context_names(names: Mapping[str, str]) -> dict[str, str]:
    account, region = names.get("account", "000000000000"), names.get("region", "us-east-1")
    machine, execution = names.get("state_machine_name", "StateMachine"), names.get("execution_name", "Execution")
    return {
        "execution_id": f"arn:aws:states:{region}:{account}:execution:{machine}:{execution}",
        "execution_name": execution,
        "role_arn": names.get("role_arn", ""),
        "state_machine_id": f"arn:aws:states:{region}:{account}:stateMachine:{machine}",
        "state_machine_name": machine,
    }


def _result(status: str, events: Sequence[Recorded]) -> Simulation:
    state: State = KINDS["execution"].initial()
    for recorded in events:
        state = KINDS["execution"].evolve(state, recorded)
    payloads = {recorded.seq: recorded.payload for recorded in events if recorded.payload is not None}

    def value(reference: str | None) -> Any:
        return None if reference is None else resolve(reference, payloads)

    return Simulation(
        status=STATUSES.get(status, "RUNNING"),
        output=value(state.output) if status == "completed" else None,
        error=state.error if state.error_ref is None else value(state.error_ref),
        cause=value(state.cause),
        history=states_history(events),
        events=list(events),
    )
