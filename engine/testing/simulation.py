"""Simulation in virtual time: one execution on the production core and driver, and a clock that jumps.

A year of Wait takes a millisecond. What steps would give is asked from the caller.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from perdure.engine.compose import Surroundings, compose_node
from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.core.decision import PAYLOAD_MAX
from perdure.engine.core.effects import FollowChild, FollowParent, RunTask, StartChild, TellParent
from perdure.engine.core.events import Recorded, WaitOpened
from perdure.engine.core.refs import resolve
from perdure.engine.core.state import TOP, InTask, InWait, State, fork_and_index
from perdure.engine.errors import Invalid, Unavailable
from perdure.engine.history import states_history
from perdure.engine.language import Machine, compile_machine, parse_instant, parse_resource
from perdure.engine.language.evaluate.sizes import LEVELS_MAX, exceeds
from perdure.engine.language.model.resources import WAIT, WAIT_FOR_TASK_TOKEN
from perdure.engine.limits import Limits
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import Node
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.runtime.watch import Watch
from perdure.engine.runtime.workers.step_slots import TaskKey
from perdure.engine.services.sending import send
from perdure.engine.steps.invoke import called_of, outcome_of
from perdure.engine.testing.answers import Answer, Failed, Succeeded, TaskRequest, Unanswered
from perdure.engine.testing.clock import START, ManualClock
from perdure.engine.testing.mocks import BadMock, Mock
from perdure.store.memory import MemoryStore

T = TypeVar("T")

STATUSES: Mapping[str, str] = {
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "timed_out": "TIMED_OUT",
    "terminated": "ABORTED",
}


class Stuck(NamedTuple):
    """A state that only an outside party can end. `waits_for` is its kind: a resume, a task token, a step."""

    state: str
    waits_for: str
    iteration: tuple[tuple[str, int], ...] = ()


class Simulation(NamedTuple):
    """The result of a run: `status` as in GetExecutionHistory, `RUNNING` if it is stuck (`stuck_at` names the states).

    `history` is in the vocabulary of GetExecutionHistory, `events` are our own.
    """

    status: str
    output: Any
    error: str | None
    cause: str | None
    history: list[dict[str, Any]]
    events: list[Recorded]
    stuck_at: tuple[Stuck, ...] = ()


def simulate(
    definition: Mapping[str, Any],
    input: Any,  # noqa: A002 as the States Language says it
    *,
    tasks: Callable[[TaskRequest], Answer] | Mapping[str, Any],
    context: Mapping[str, str] | None = None,
    express: bool = False,
    start_at: str | None = None,
    payload_max_bytes: int = PAYLOAD_MAX,
) -> Simulation:
    """Run one execution to its end, or until nothing but an outside party could move it.

    `tasks` answers for each attempt of a Task state, steps, waits and children alike: a function, or a mock
    (`engine.testing.mocks`). `context` gives names for the context object: execution_name, state_machine_name,
    role_arn, account, region. `start_at` is the instant of the start (RFC 3339). No value of the run has more than
    `payload_max_bytes` of JSON text.

    Raises `engine.language.errors.DefinitionError`, `BadMock`, `NotMocked`, `engine.errors.Invalid` (the input is too
    large), TypeError (the function gave no `Answer`), and whatever `tasks` raises.
    """
    machine = compile_machine(definition, express=express)
    now = START if start_at is None else parse_instant(start_at)
    if now is None:
        message = f"start_at: {start_at!r} is no instant of the form 2025-01-01T00:00:00Z"
        raise ValueError(message)
    answer = Mock(tasks, definition) if not callable(tasks) else tasks
    run = _Run(definition, machine, _copied(input), answer, dict(context or {}), now, payload_max_bytes)
    return _run_apart(run.go())


def _seconds(milliseconds: int) -> float:
    """Give a time in seconds, a whole number where it is one."""
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


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


class _Seen(Protocol):
    """An execution as it was last seen: hot, or by a watch."""

    state: Any
    payloads: dict[int, Any]


class _Answers:
    """Asks the caller for the outcomes of steps, waits and children. Implements `TaskRunner` and `ChildRunner`."""

    running = 0
    node: Node

    def __init__(self, tasks: Callable[[TaskRequest], Answer]) -> None:
        self._tasks = tasks
        self._asked: set[str] = set()
        self.problem: BaseException | None = None

    # --- steps ---------------------------------------------------------------------------------------------------

    def run(self, hot: HotStream, task: RunTask) -> None:
        asyncio.get_running_loop().call_soon(self._run, hot, task)

    def _run(self, hot: HotStream, task: RunTask) -> None:
        answer = self._ask(hot, task.scope, task.resource, task.parameters, task.attempt)
        if answer is None:
            return
        has_token = parse_resource(task.resource).pattern == WAIT_FOR_TASK_TOKEN
        if task.wait is None or (isinstance(answer, Failed) and not has_token):
            self._complete(hot, task, answer)
        else:
            self._complete(hot, task, Succeeded({}))
            self._end_wait(hot.stream_id, task.wait, task.resource, answer)

    def _complete(self, hot: HotStream, task: RunTask, answer: Answer) -> None:
        if not isinstance(answer, Unanswered):
            outcome = self._outcome(answer, called_of(task.resource, task.state))
            command = c.CompleteTask(task.scope, task.state, task.seq, task.attempt, task.visit, outcome)
            self.node.send(hot.stream_id, command)

    def _outcome(self, answer: Succeeded | Failed, called: str) -> c.TaskSuccess | c.TaskFailure:
        if isinstance(answer, Failed):
            return c.TaskFailure(answer.error, answer.cause)
        return outcome_of(answer.output, called, self.node.limits.payload_max_bytes)

    def cancel(self, hot: HotStream, seq: int) -> bool:  # noqa: ARG002
        """Nothing runs."""
        return False

    def withhold(self, stream_id: bytes) -> None:
        """Nothing waits for a slot."""

    def call_withheld(self, stream_id: bytes) -> None:
        """Nothing was withheld."""

    def knows(self, key: TaskKey) -> bool:  # noqa: ARG002
        """Nothing runs."""
        return False

    def halt(self) -> None:
        """Nothing runs."""

    async def close(self, grace_s: float) -> None:
        """Nothing runs."""

    # --- waits ---------------------------------------------------------------------------------------------------

    def ask_waits(self, execution_id: bytes, seen: _Seen) -> bool:
        """Ask for the answers of the mere waits that have opened; whether there were any."""
        opened = [(wait, each.scope) for wait, each in seen.state.open_waits() if wait not in self._asked]
        for wait, scope in opened:
            self._asked.add(wait)
            phase = seen.state.frames[scope].phase
            if isinstance(phase, InWait) and phase.wait == wait:
                answer = self._ask(seen, scope, WAIT, None, phase.attempt)
                if answer is not None:
                    self._end_wait(execution_id, wait, WAIT, answer)
        return bool(opened)

    def _end_wait(self, execution_id: bytes, wait: str, resource: str, answer: Answer) -> None:
        self._asked.add(wait)
        if isinstance(answer, Unanswered):
            return
        if parse_resource(resource).pattern == WAIT_FOR_TASK_TOKEN:
            self.node.send(execution_id, c.AnswerTask(wait, self._outcome(answer, resource)))
        elif isinstance(answer, Succeeded) and exceeds(answer.output, self.node.limits.payload_max_bytes):
            self.problem = BadMock(
                f"a wait takes a payload of at most {self.node.limits.payload_max_bytes:,} bytes of JSON text"
            )
        elif isinstance(answer, Succeeded):
            self.node.send(execution_id, c.Resume(_copied(answer.output), wait))
        else:
            self.problem = BadMock("a wait for a resume cannot fail: give a payload, or nothing, and it may time out")

    # --- children ------------------------------------------------------------------------------------------------

    def start(self, hot: HotStream, wanted: StartChild) -> None:
        asyncio.get_running_loop().call_soon(self._start, hot, wanted)

    def _start(self, hot: HotStream, wanted: StartChild) -> None:
        parent = wanted.parent
        task = hot.state.task(parent.scope)
        if task is None:
            return
        answer = self._ask(hot, parent.scope, task.resource, wanted.parameters, parent.attempt)
        if answer is None:
            return
        if parent.pattern:
            self.node.send(hot.stream_id, c.ChildStarted(parent.scope, parent.seq, {}))
        if isinstance(answer, Unanswered):
            return
        outcome = self._outcome(answer, called_of(task.resource, parent.state))
        if task.wait is not None:
            self.node.send(hot.stream_id, c.AnswerTask(task.wait, outcome))
            return
        command = c.CompleteTask(parent.scope, parent.state, parent.seq, parent.attempt, parent.visit, outcome)
        self.node.send(hot.stream_id, command)

    def follow(self, hot: HotStream, wanted: FollowChild) -> None:
        """There are no children."""

    def end(self, hot: HotStream, child: str) -> None:
        """There are no children."""

    def tell_parent(self, hot: HotStream, wanted: TellParent) -> None:
        """There is no parent."""

    def follow_parent(self, hot: HotStream, wanted: FollowParent) -> None:
        """There is no parent."""

    # --- asking --------------------------------------------------------------------------------------------------

    def _ask(self, seen: _Seen, scope: str, resource: str, parameters: Any, attempt: int) -> Answer | None:
        """Ask the caller; null if the task is gone, or the caller's function failed."""
        state: State = seen.state
        frame = state.frames.get(scope)
        if frame is None or frame.phase is None:
            return None
        name = frame.phase.timer
        limit = None if name is None else state.timers[name]
        heartbeat_ms = None if limit is None else limit.heartbeat_ms
        deadline = None if limit is None else limit.deadline
        request = TaskRequest(
            state=frame.state,
            resource=resource,
            parameters=parameters,
            state_input=resolve(frame.input, seen.payloads),
            attempt=attempt,
            iteration=iterations(state, scope),
            timeout_seconds=None if deadline is None else _seconds(deadline - self.node.clock.now()),
            heartbeat_seconds=None if heartbeat_ms is None else heartbeat_ms // 1000,
        )
        try:
            return _checked(self._tasks(request), request)
        except BaseException as problem:  # noqa: BLE001 it is raised to who called simulate
            self.problem = problem
            return None


def _checked(answer: Any, request: TaskRequest) -> Answer:
    """The answer of the caller's function. Raises TypeError if it is none."""
    if isinstance(answer, Succeeded):
        encode_json(answer.output)
    if isinstance(answer, Succeeded | Failed | Unanswered):
        return answer
    given = answer.__name__ if isinstance(answer, type) else f"a {type(answer).__name__}"
    raise TypeError(
        f"tasks: for state {request.state!r} it gave {given}; it must give perdure.engine.testing.Succeeded(output), "
        "Failed(error, cause) or Unanswered()"
    )


def iterations(state: State, scope: str) -> tuple[tuple[str, int], ...]:
    """The Map states that a scope is in, outermost first, each with the index of its iteration."""
    found: list[tuple[str, int]] = []
    while scope != TOP:
        seq, index = fork_and_index(scope)
        fork = state.forks[seq]
        if fork.items is not None:
            found.append((fork.state, index))
        scope = fork.scope
    return tuple(reversed(found))


def _copied(value: Any) -> Any:
    return decode_json(encode_json(value))


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
        payload_max: int,
    ) -> None:
        self._definition = encode_json(definition).decode()
        self._machine = machine
        self._input = run_input
        self._tasks = tasks
        self._names = names
        self._clock = ManualClock(now)
        # In virtual time everything is done within a minute: how fast a run is says nothing here.
        self._limits = Limits(payload_max_bytes=payload_max, run_transitions_per_s_max=10**9)

    async def go(self) -> Simulation:
        store = MemoryStore()
        answers = _Answers(self._tasks)
        names = _context_names(self._names)
        around = Surroundings(store, self._clock, self._limits, names=names)
        answers.node = node = compose_node(around, lambda *_: answers, lambda _: answers)
        await node.start()
        try:
            execution_id = node.processor.new_id()
            with node.processor.watchers.watch(execution_id) as watch:
                await self._start(node, execution_id)
                status = await self._to_rest(node, execution_id, answers, watch)
        finally:
            await node.drain(0)
        if answers.problem is not None:
            raise answers.problem
        stored = await store.events(execution_id)
        return _result(status, STREAM_TYPES["execution"].vocabulary.read_all(stored))

    async def _start(self, node: Node, execution_id: bytes) -> None:
        limit = node.limits.payload_max_bytes
        if exceeds(self._input, limit):
            most = f"at most {limit:,} bytes of JSON text, and at most {LEVELS_MAX} levels"
            raise Invalid(f"input: it must have {most}", {"field": "input", "limit": limit})
        workflow_id = node.processor.new_id()
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
        await send(node.parts, caller, "execution", execution_id, command, machine=self._machine)

    async def _to_rest(self, node: Node, execution_id: bytes, answers: _Answers, watch: Watch) -> str:
        """Jump from one due instant to the next until the run is over or nothing is due; gives its status."""
        while True:
            await _settle(node)
            if watch.state is not None and answers.ask_waits(execution_id, watch):
                continue
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
    state: State = STREAM_TYPES["execution"].initial()
    for recorded in events:
        state = STREAM_TYPES["execution"].evolve(state, recorded)
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
        stuck_at=() if state.is_over else tuple(_stuck(state, events)),
    )


_OUTSIDE: Mapping[str, str] = {WAIT_FOR_TASK_TOKEN: "an answer with its task token"}


def _stuck(state: State, events: Sequence[Recorded]) -> Iterator[Stuck]:
    """The states that wait for somebody outside."""
    for scope in state.scopes():
        frame = state.frames[scope]
        opened = None if not isinstance(frame.phase, InWait) else events[frame.phase.seq - 1].event
        if isinstance(opened, WaitOpened):
            what = _OUTSIDE.get(parse_resource(opened.resource).pattern, "a resume")
            yield Stuck(frame.state, what, iterations(state, scope))
        elif isinstance(frame.phase, InTask):
            yield Stuck(frame.state, "its step, which does not answer", iterations(state, scope))
        elif frame.phase is None and state.pause is not None:
            yield Stuck(frame.state, f"an unpause: a quota of {state.pause.quota} is used up", iterations(state, scope))
