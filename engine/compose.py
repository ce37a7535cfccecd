"""The composition root: whatever serves a store is built here, each part with all that it needs, and nowhere else.

Everything is given to constructors but in one place. What the processor sets going (a step, a timer, a child) sends to
the processor, which is a circle: `_Circle` closes it, once the node is there and before anything moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from perdure.engine.core.commands import CompleteTask
from perdure.engine.core.effects import Effect, RunTask
from perdure.engine.limits import DEFAULT_LIMITS, Limits
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.holds import Holds
from perdure.engine.runtime.node import Node, NodeParts, Randomness, Workers
from perdure.engine.runtime.processing.ports import Ports
from perdure.engine.runtime.processing.processor import Processor
from perdure.engine.runtime.processing.sender import Sender
from perdure.engine.runtime.streams.loader import Definitions, Loader
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics, Sampled
from perdure.engine.runtime.workers.admission import Admission
from perdure.engine.runtime.workers.children import ChildRunner
from perdure.engine.runtime.workers.clock_guard import ClockGuard
from perdure.engine.runtime.workers.jobs import JobRunner
from perdure.engine.runtime.workers.pins import Pins
from perdure.engine.runtime.workers.recovery import Recovery
from perdure.engine.runtime.workers.sandbox import SandboxSteps
from perdure.engine.runtime.workers.schedules import DueSchedules, NoSchedules, ScheduleRunner
from perdure.engine.runtime.workers.step_slots import TaskKey
from perdure.engine.runtime.workers.suspects import Suspects
from perdure.engine.runtime.workers.tasks import Complete, TaskRunner, Tasks
from perdure.engine.runtime.workers.timers import Timers
from perdure.engine.runtime.workers.turns import Send
from perdure.engine.services.access import Access
from perdure.engine.services.approvals import Approvals
from perdure.engine.services.authoring import Authoring
from perdure.engine.services.bulk import BulkCommands
from perdure.engine.services.bulk_actions import Commanded
from perdure.engine.services.bulk_worker import BulkWorker
from perdure.engine.services.calls import Calls, RecordedCalls
from perdure.engine.services.chances import Chances
from perdure.engine.services.child_executions import ChildExecutions
from perdure.engine.services.clock import ClockControl
from perdure.engine.services.documents import Documents
from perdure.engine.services.event_log import EventLog
from perdure.engine.services.finding import Finding
from perdure.engine.services.idempotency import Idempotency
from perdure.engine.services.known_keys import KnownKeys
from perdure.engine.services.open_runs import OpenRuns, StartRules
from perdure.engine.services.principals import Plans, Principals
from perdure.engine.services.queries import Queries
from perdure.engine.services.quotas import QuotasInForce
from perdure.engine.services.retries import RunRetries
from perdure.engine.services.run_limits import RunLimits
from perdure.engine.services.run_records import RunRecords
from perdure.engine.services.runs import Runs
from perdure.engine.services.scheduled_runs import ScheduledRuns
from perdure.engine.services.schedules import Schedules
from perdure.engine.services.task_tokens import TaskTokens
from perdure.engine.services.unseen import Unseen
from perdure.engine.services.workflows import PublishedVersions, Workflows
from perdure.engine.steps import Registry
from perdure.engine.steps.actions import Actions
from perdure.engine.steps.catalog import actions_of
from perdure.store.protocols import Store
from perdure.store.records import NewEvent, TimerRow

MakeTasks = Callable[[Complete, Send], TaskRunner]
"""Makes what runs steps, given what to call with their outcomes, and what sends a command about their runs."""

MakeChildren = Callable[[NodeParts], ChildRunner]
"""Makes what starts and follows child executions."""

Changed = Callable[[HotStream, Sequence[NewEvent]], None]


class Surroundings(NamedTuple):
    """The environment of a node.

    `names` are those that the context object shows (`engine.core.decision.Facts`). `on_failure` is called once, when
    the engine has stopped after a failed commit.
    """

    store: Store
    clock: Clock
    limits: Limits = DEFAULT_LIMITS
    random: Callable[[int], bytes] | None = None
    names: Mapping[str, str] = {}
    on_failure: Callable[[Exception], None] | None = None


class Services(NamedTuple):
    """The services of an engine: all that callers ask of it, whatever way they come in."""

    runs: Runs
    workflows: Workflows
    documents: Documents
    authoring: Authoring
    access: Access
    queries: Queries
    task_tokens: TaskTokens
    event_log: EventLog
    finding: Finding
    bulk: BulkCommands
    idempotency: Idempotency
    calls: Calls
    chances: Chances
    schedules: Schedules
    clock: ClockControl
    records: RunRecords
    approvals: Approvals
    retries: RunRetries
    actions: Actions


class Composed(NamedTuple):
    """A node, and the services over it."""

    node: Node
    services: Services


def compose(around: Surroundings, registry: Registry, *, is_recorder: bool = False) -> Composed:
    """A node that calls these steps, with its services; a recorder calls none, and leaves all tasks scheduled."""
    principals, recorded, published = Principals(KnownKeys(around.store)), RecordedCalls(), PublishedVersions()
    circle, unseen, plans = _Circle(), Unseen(around.store), Plans()
    caches = (
        recorded.on_changed,
        published.on_changed,
        principals.on_changed,
        plans.on_changed,
        unseen.on_changed,
        circle.changed,
    )
    parts = _parts(around, circle, caches)
    calls = Calls(parts, recorded)
    documents = Documents(registry)
    workflows = Workflows(parts, documents, calls, published)
    limits = circle.limits = RunLimits(parts.store, workflows)
    idempotency = Idempotency(parts)
    open_runs = OpenRuns(parts.store, parts.clock, parts.quotas)
    admitting = StartRules(limits, open_runs)
    scheduled = ScheduledRuns(parts, workflows, admitting)
    runs, finding = Runs(parts, workflows, admitting, idempotency, unseen), Finding(around.store, unseen)
    chances = Chances(parts, workflows, admitting, idempotency, runs)
    queries = Queries(around.store, unseen)
    records = RunRecords(around.store, queries, documents)
    jobs = BulkWorker(parts, Commanded(runs, chances), unseen)
    schedules = Schedules(parts, workflows, scheduled, idempotency)
    services = Services(
        runs=runs,
        workflows=workflows,
        documents=documents,
        authoring=Authoring(workflows, schedules, documents),
        access=Access(parts, principals, plans),
        queries=queries,
        task_tokens=TaskTokens(parts, idempotency),
        event_log=EventLog(parts, unseen),
        finding=finding,
        bulk=BulkCommands(parts, finding, jobs.go_on),
        idempotency=idempotency,
        calls=calls,
        chances=chances,
        schedules=schedules,
        clock=ClockControl(parts),
        records=records,
        approvals=Approvals(parts, records, idempotency),
        retries=RunRetries(queries, records, chances),
        actions=actions_of(registry),
    )
    children = ChildExecutions(parts, workflows, calls, admitting)
    tasks = NoTasks() if is_recorder else _tasks(parts, circle, registry)
    return Composed(_node(parts, circle, tasks, children, jobs, scheduled), services)


def _tasks(parts: NodeParts, circle: _Circle, registry: Registry) -> Tasks:
    sandbox = SandboxSteps(parts.store, actions_of(registry).values())
    return Tasks(registry, circle.complete, parts.sender.send, parts.clock, parts.limits, sandbox)


def compose_node(around: Surroundings, tasks: MakeTasks, children: MakeChildren) -> Node:
    """A node alone, with what stands in for steps and children."""
    circle = _Circle()
    parts = _parts(around, circle, ())
    return _node(parts, circle, tasks(circle.complete, parts.sender.send), children(parts), NoJobs())


class _Circle:
    """Stands for the node, while what leads to it is built."""

    node: Node
    limits: RunLimits

    def changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        self.limits.on_changed(hot, events)
        self.node.admission.on_changed(hot, events)

    def run_effect(self, hot: HotStream, effect: Effect) -> None:
        self.node.run_effect(hot, effect)

    def complete(self, hot: HotStream, command: CompleteTask) -> None:
        self.node.complete(hot, command)

    async def fire(self, due: list[TimerRow]) -> list[TimerRow]:
        return await self.node.fire(due)

    def moved(self, position: int) -> None:
        self.node.pins.on_moved(position)

    def halt(self) -> None:
        self.node.halt()

    @property
    def sampled(self) -> Sampled:
        return Sampled(
            queue_length=lambda: self.node.processor.queue_length,
            hot_streams=lambda: len(self.node.processor.hot),
            tasks_running=lambda: self.node.tasks.running,
            suspects_held=lambda: len(self.node.suspects),
        )


def _parts(around: Surroundings, circle: _Circle, changed: Sequence[Changed]) -> NodeParts:
    store = around.store
    random = around.random or Randomness().draw
    metrics = Metrics(circle.sampled._replace(clock_offset_ms=around.clock.offset))
    guard = ClockGuard(around.clock, metrics)
    definitions = Definitions(store)
    loader = Loader(store, definitions, metrics)
    quotas = QuotasInForce(store, around.limits)
    failed = around.on_failure or (lambda _failure: None)
    processor = Processor(
        store,
        loader,
        around.clock,
        random,
        metrics=metrics,
        limits=around.limits,
        names=around.names,
        ports=Ports(
            effect=circle.run_effect,
            moved=circle.moved,
            administered=partial(_tell_all, (guard.on_changed, quotas.on_changed, *changed)),
            stopped=circle.halt,
            failed=failed,
            quotas=quotas,
        ),
    )
    store.watch(processor.stop)
    return NodeParts(
        store=store,
        clock=around.clock,
        guard=guard,
        limits=around.limits,
        random=random,
        definitions=definitions,
        loader=loader,
        metrics=metrics,
        processor=processor,
        holds=Holds(),
        draining=asyncio.Event(),
        sender=Sender(processor),
        quotas=quotas,
    )


def _tell_all(changed: Sequence[Changed], hot: HotStream, events: Sequence[NewEvent]) -> None:
    for tell in changed:
        tell(hot, events)


def _node(
    parts: NodeParts,
    circle: _Circle,
    tasks: TaskRunner,
    children: ChildRunner,
    jobs: JobRunner,
    scheduled: ScheduleRunner | None = None,
) -> Node:
    store, clock, metrics, send = parts.store, parts.clock, parts.metrics, parts.sender.send
    timers = Timers(store, clock, circle.fire, metrics, parts.guard)
    suspects = Suspects(send, clock, tasks, metrics)
    admission = Admission(store, parts.processor, clock, parts.sender.actor, metrics)

    def all_had_turns() -> None:
        was_careful = parts.processor.is_careful
        parts.processor.be_careful(is_careful=False)
        admission.start()
        if was_careful:
            circle.node.begin_schedules()

    recovery = Recovery(store, send, timers, suspects, metrics, all_had_turns)
    pins = Pins(store, parts.processor, parts.sender.actor)
    runner = scheduled or NoSchedules()
    slots = Timers(DueSchedules(store), clock, runner.fire, metrics, parts.guard)
    workers = Workers(
        tasks=tasks,
        timers=timers,
        suspects=suspects,
        recovery=recovery,
        pins=pins,
        children=children,
        jobs=jobs,
        admission=admission,
        slots=slots,
        scheduled=runner,
    )
    circle.node = node = Node(parts, workers)
    return node


class NoJobs:
    """Does no bulk jobs. Implements `engine.runtime.workers.jobs.JobRunner`."""

    def begin(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def settle(self) -> None:
        pass


class NoTasks:
    """Calls nothing: the task stays scheduled. Implements `engine.runtime.workers.tasks.TaskRunner`."""

    running: Final = 0

    def run(self, hot: HotStream, task: RunTask) -> None:
        pass

    def cancel(self, hot: HotStream, seq: int) -> bool:  # noqa: ARG002 nothing runs
        return False

    def withhold(self, stream_id: bytes) -> None:
        """Nothing waits for a slot."""

    def call_withheld(self, stream_id: bytes) -> None:
        """Nothing was withheld."""

    def knows(self, key: TaskKey) -> bool:  # noqa: ARG002 nothing runs
        return False

    def halt(self) -> None:
        pass

    async def close(self, grace_s: float) -> None:
        pass
