"""Child executions: started once, followed, ended with their parents, and found again after a crash."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.effects import FollowParent
from perdure.engine.core.events import ExecutionStarted, ExecutionTerminated, Recorded, TaskScheduled
from perdure.engine.limits import Limits
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.services import child_executions as nesting
from perdure.engine.testing import START
from perdure.engine.views import Execution, Result
from perdure.store.errors import StoreFull
from tests.present import present

from .conftest import WAITING, Bench, eventually, rest

UNKNOWN = "01977420-0000-7000-8000-000000000000"
ECHO: dict[str, Any] = {"StartAt": "Echo", "States": {"Echo": {"Type": "Succeed"}}}
FAILING: dict[str, Any] = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "Paper.Jam", "Cause": "wet"}}}
SLEEPING: dict[str, Any] = {"StartAt": "Sleep", "States": {"Sleep": {"Type": "Wait", "Seconds": 60, "End": True}}}


THEIR_INPUT: dict[str, Any] = {"Input.$": "$"}
BY_NAME: dict[str, Any] = {"Name.$": "$"}


def parent_of(
    target: str, pattern: str = "", *, task: dict[str, Any] | None = None, **parameters: Any
) -> dict[str, Any]:
    """A definition whose only task starts that workflow."""
    state = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::states:startExecution{pattern}",
        "Parameters": {"StateMachineArn": target, **parameters},
        "End": True,
    }
    return {"StartAt": "Call", "States": {"Call": {**state, **(task or {})}}}


async def events(engine: Engine, execution_id: str) -> list[Recorded]:
    return [recorded async for recorded in engine.events(execution_id)]


async def names(engine: Engine, execution_id: str) -> list[str]:
    return [type(recorded.event).__name__ for recorded in await events(engine, execution_id)]


async def child_of(engine: Engine, execution_id: str) -> str:
    """The id of the last child that a task of the execution was given."""
    scheduled = [each.event for each in await events(engine, execution_id) if isinstance(each.event, TaskScheduled)]
    assert scheduled[-1].child is not None
    return scheduled[-1].child


async def ended(engine: Engine, execution_id: str) -> Result:
    """How an execution ends, soon, and without time going on."""
    async with asyncio.timeout(10):
        return await engine.result(execution_id)


async def run(engine: Engine, child: Any, pattern: str = "", **parameters: Any) -> tuple[Execution, Result, str]:
    """Run a parent of this child to its end; also gives the child's id."""
    workflow = await engine.create_workflow("child", child)
    made = await engine.create_workflow("parent", parent_of(workflow.id, pattern, **parameters))
    execution = await engine.trigger(made.id, {"a": 1})
    result = await ended(engine, execution.id)
    return execution, result, await child_of(engine, execution.id)


async def under_way(bench: Bench, engine: Engine, child: Any, **task: Any) -> tuple[Execution, str]:
    """A parent that awaits a child which goes on; also gives the child's id."""
    workflow = await engine.create_workflow("child", child)
    made = await engine.create_workflow("parent", parent_of(workflow.id, ".sync:2", task=task))
    execution = await engine.trigger(made.id, process_id="PARENT")
    await rest(engine)
    assert (await names(engine, execution.id))[-1] == "TaskSubmitted"
    return execution, await child_of(engine, execution.id)


async def status(engine: Engine, execution_id: str) -> str:
    row = await engine.store.execution(ids.parse(execution_id))
    assert row is not None
    return row.status


# --- starting ----------------------------------------------------------------------------------------------------


async def test_a_child_is_started_and_the_parent_goes_on(bench: Bench) -> None:
    """The result names the child and its start; both logs show the link, and who did it."""
    engine = await bench.start()
    execution, result, child = await run(engine, SLEEPING, Input={"b": [1]}, Name="CHILD-1")
    assert (result.status, result.output) == ("completed", {"ExecutionArn": child, "StartDate": START})
    began = (await events(engine, child))[0]
    assert began.actor == f"execution:{execution.id}"
    assert began.payload == {"input": {"b": [1]}, "process_id": "CHILD-1"}
    assert isinstance(began.event, ExecutionStarted)
    assert began.event.parent is not None
    assert (began.event.parent.execution, began.event.parent.state) == (execution.id, "Call")
    assert began.event.trigger == "REQUEST"
    assert await engine.terminate("CHILD-1") == "terminated"


@pytest.mark.parametrize(("pattern", "is_text"), [(".sync", True), (".sync:2", False)])
async def test_the_result_of_an_awaited_child(bench: Bench, pattern: str, is_text: bool) -> None:
    """It is the child's description, with input and output as text or as JSON."""
    engine = await bench.start()
    execution, result, child = await run(engine, ECHO, pattern, Input={"b": [1]})
    value = '{"b":[1]}' if is_text else {"b": [1]}
    assert result.output.pop("StateMachineArn") in {each.workflow_id for each in (await engine.executions()).items}
    assert result.output == {
        "ExecutionArn": child,
        "Input": value,
        "InputDetails": {"Included": True},
        "Name": child,
        "Output": value,
        "OutputDetails": {"Included": True},
        "StartDate": START,
        "Status": "SUCCEEDED",
        "StopDate": START,
    }
    assert await names(engine, execution.id) == [
        "ExecutionStarted",
        "TaskScheduled",
        "TaskSubmitted",
        "TaskSucceeded",
        "ExecutionSucceeded",
    ]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, {}), ({"Input": None}, {}), ({"Input": '{"x": [1, null]}'}, {"x": [1, None]}), ({"Input": [7]}, [7])],
)
async def test_the_input_of_a_child(bench: Bench, given: dict[str, Any], wanted: Any) -> None:
    """None is an empty object, and a text is JSON text."""
    engine = await bench.start()
    _, result, _ = await run(engine, ECHO, ".sync:2", **given)
    assert result.output["Output"] == wanted


async def test_what_names_a_workflow(bench: Bench) -> None:
    """Its id or its name, alone or at the end of an ARN, with or without a version."""
    engine = await bench.start()
    workflow = await engine.create_workflow("the: child:2", ECHO)
    again = {**ECHO, "Comment": "the second version"}
    await engine.services.workflows.change(await engine._caller(), ids.parse(workflow.id), definition=again)
    arn = "arn:aws:states:us-east-1:111111111111:stateMachine:"
    for target, version in (
        (workflow.id, 2),
        (f"{workflow.id}:1", 1),
        ("the: child:2", 2),
        ("the: child:2:1", 1),
        (f"{arn}{workflow.id.upper()}", 2),
        (f"{arn}the: child:2:1", 1),
    ):
        made = await engine.create_workflow("parent", parent_of(target, ".sync"))
        execution = await engine.trigger(made.id)
        assert (await ended(engine, execution.id)).status == "completed", target
        row = await engine.store.execution(ids.parse(await child_of(engine, execution.id)))
        assert row is not None
        assert (row.workflow_id, row.workflow_version) == (ids.parse(workflow.id), version)


@pytest.mark.parametrize(
    ("parameters", "error", "says"),
    [
        ({"StateMachineArn": "nowhere"}, "StepFunctions.StateMachineDoesNotExistException", "nowhere"),
        ({"StateMachineArn": UNKNOWN}, "StepFunctions.StateMachineDoesNotExistException", UNKNOWN),
        ({"StateMachineArn": "child:7"}, "StepFunctions.StateMachineDoesNotExistException", "version 7"),
        ({"StateMachineArn": "draft"}, "StepFunctions.StateMachineDoesNotExistException", "draft"),
        ({"StateMachineArn": "old"}, "StepFunctions.StateMachineDeletingException", "archived"),
        ({"StateMachineArn": "twin"}, "StepFunctions.InvalidArnException", "several workflows"),
        ({"StateMachineArn": ["child"]}, "StepFunctions.InvalidArnException", "text"),
        ({"Name": "x" * 129}, "StepFunctions.InvalidNameException", "128"),
        ({"Name": 7}, "StepFunctions.InvalidNameException", "text"),
        ({"Name": "TAKEN"}, "StepFunctions.ExecutionAlreadyExistsException", "TAKEN"),
        ({"Input": "{"}, "StepFunctions.InvalidExecutionInputException", "JSON"),
        ({"Input": "[" * 100 + "]" * 100}, "StepFunctions.InvalidExecutionInputException", "JSON"),
        ({"TraceHeader": "x"}, "States.Runtime", "TraceHeader"),
        ({"StateMachineArn": None}, "States.Runtime", "StateMachineArn"),
    ],
)
async def test_what_cannot_be_started_fails_the_task(
    bench: Bench, parameters: dict[str, Any], error: str, says: str
) -> None:
    """With a name that Retry and Catch know, and a cause for a person; no child is there."""
    engine = await bench.start()
    for name in ("child", "twin", "twin"):
        await engine.create_workflow(name, ECHO)
    old = await engine.create_workflow("old", ECHO)
    caller = await engine._caller()
    await engine.services.workflows.archive(caller, ids.parse(old.id))
    await engine.services.workflows.create(caller, "draft", ECHO, is_published=False)
    sleeping = await engine.create_workflow("sleeping", SLEEPING)
    await engine.trigger(sleeping.id, process_id="TAKEN")
    catch = {"Catch": [{"ErrorEquals": [error], "Next": "Caught"}]}
    definition = parent_of("child", ".sync", task=catch, **parameters)
    definition["States"]["Caught"] = {"Type": "Succeed"}
    made = await engine.create_workflow("parent", definition)
    execution = await engine.trigger(made.id)
    result = await ended(engine, execution.id)
    is_caught = error != "States.Runtime"  # which no Catch catches, whatever it names
    caught = result.output if is_caught else {"Error": result.error, "Cause": result.cause}
    assert caught["Error"] == error
    assert says in present(caught["Cause"])
    assert await engine.store.execution(ids.parse(await child_of(engine, execution.id))) is None


@pytest.mark.parametrize("chosen", [None, "INV-7"])
async def test_an_implied_process_id_is_taken_too(bench: Bench, chosen: str | None) -> None:
    """The id of a run is no child's process id, whether the run chose one or not."""
    engine = await bench.start()
    workflow = await engine.create_workflow("sleeping", SLEEPING)
    other = await engine.trigger(workflow.id, process_id=chosen)
    made = await engine.create_workflow("parent", parent_of(workflow.id, Name=other.id))
    result = await ended(engine, (await engine.trigger(made.id)).id)
    assert result.error == "StepFunctions.ExecutionAlreadyExistsException"


async def test_of_two_tasks_one_gets_the_name(bench: Bench) -> None:
    """Two parents that name their children alike at one time: one starts its child, the other is told so."""
    engine = await bench.start()
    workflow = await engine.create_workflow("sleeping", SLEEPING)
    made = await engine.create_workflow("parent", parent_of(workflow.id, Name="ONE"))
    executions = await asyncio.gather(*(engine.trigger(made.id) for _ in range(16)))
    results = [await ended(engine, execution.id) for execution in executions]
    assert sorted(result.status for result in results) == ["completed"] + ["failed"] * 15
    assert {result.error for result in results} == {None, "StepFunctions.ExecutionAlreadyExistsException"}


async def test_a_workflow_of_another_workspace_is_not_there(bench: Bench) -> None:
    """Neither by its id nor by its name."""
    engine = await bench.start()
    mine = await engine._caller()
    workspace = await engine.services.access.workspace(mine.organization_id, "other", "cli:test")
    saved = await engine.services.workflows.create(mine._replace(workspace_id=workspace.workspace_id), "theirs", ECHO)
    for target in ("theirs", ids.text(saved.workflow.workflow_id)):
        made = await engine.create_workflow("parent", parent_of(target))
        result = await ended(engine, (await engine.trigger(made.id)).id)
        assert result.error == "StepFunctions.StateMachineDoesNotExistException"


async def test_a_child_that_must_answer_with_a_token(bench: Bench) -> None:
    """With `.waitForTaskToken` the task ends by the token, not with the child."""
    engine = await bench.start()
    child = await engine.create_workflow("child", ECHO)
    definition = parent_of(child.id, ".waitForTaskToken", Input={"token.$": "$$.Task.Token"})
    made = await engine.create_workflow("parent", definition)
    execution = await engine.trigger(made.id)
    await rest(engine)
    assert await status(engine, execution.id) == "waiting"
    token = (await ended(engine, await child_of(engine, execution.id))).output["token"]
    await engine.complete_task(token, {"approved": True})
    assert (await ended(engine, execution.id)).output == {"approved": True}


# --- ends --------------------------------------------------------------------------------------------------------


async def test_a_child_that_fails_fails_the_task(bench: Bench) -> None:
    """The cause is the child's description as JSON text, with its error and cause."""
    engine = await bench.start()
    _, result, child = await run(engine, FAILING, ".sync", Input={"b": 1})
    assert (result.status, result.error) == ("failed", "States.TaskFailed")
    assert result.cause is not None
    cause = json.loads(result.cause)
    assert cause.pop("StateMachineArn")
    assert cause == {
        "Cause": "wet",
        "Error": "Paper.Jam",
        "ExecutionArn": child,
        "Input": '{"b":1}',
        "InputDetails": {"Included": True},
        "Name": child,
        "StartDate": START,
        "Status": "FAILED",
        "StopDate": START,
    }


async def test_a_cause_leaves_out_an_input_that_is_too_long(bench: Bench) -> None:
    """A cause has at most 32,768 bytes, and says that the input is not in it."""
    engine = await bench.start()
    _, result, _ = await run(engine, FAILING, ".sync", Input={"b": "x" * 40_000})
    assert result.cause is not None
    cause = json.loads(result.cause)
    assert cause["InputDetails"] == {"Included": False}
    assert "Input" not in cause
    assert cause["Error"] == "Paper.Jam"


@pytest.mark.parametrize("how", ["terminated", "timed out"])
async def test_a_child_that_is_ended_fails_the_task(bench: Bench, how: str) -> None:
    """By a termination or by its own time limit: the task fails with what became of it."""
    engine = await bench.start()
    execution, child = await under_way(bench, engine, {**SLEEPING, "TimeoutSeconds": 30})
    if how == "terminated":
        await engine.terminate(child, "not this one")
    else:
        await bench.push(engine, 30_000)
    result = await ended(engine, execution.id)
    assert result.error == "States.TaskFailed"
    assert result.cause is not None
    assert json.loads(result.cause)["Status"] == ("ABORTED" if how == "terminated" else "TIMED_OUT")


@pytest.mark.parametrize("how", ["terminated", "task timed out", "run timed out"])
async def test_an_awaited_child_ends_with_its_parent_s_task(bench: Bench, how: str) -> None:
    """Whatever gives the task up terminates the child, in the parent's name and with a reason that says so."""
    engine = await bench.start()
    workflow = await engine.create_workflow("child", SLEEPING)
    task = {"TimeoutSeconds": 20} if how == "task timed out" else {}
    definition = parent_of(workflow.id, ".sync", task=task)
    if how == "run timed out":
        definition["TimeoutSeconds"] = 20
    made = await engine.create_workflow("parent", definition)
    execution = await engine.trigger(made.id)
    await rest(engine)
    child = await child_of(engine, execution.id)
    if how == "terminated":
        await engine.terminate(execution.id)
    else:
        await bench.push(engine, 20_000)
    await ended(engine, execution.id)
    result = await ended(engine, child)
    assert result.status == "terminated"
    assert execution.id in (result.cause or "")
    last = (await events(engine, child))[-1]
    assert isinstance(last.event, ExecutionTerminated)
    assert last.actor == f"execution:{execution.id}"


async def test_a_child_that_nobody_awaits_goes_on(bench: Bench) -> None:
    """The end of its parent is nothing to it, and its own end is nothing to the parent."""
    engine = await bench.start()
    execution, _, child = await run(engine, SLEEPING)
    before = await names(engine, execution.id)
    assert await status(engine, child) == "running"
    await bench.push(engine, 60_000)
    assert await status(engine, child) == "completed"
    assert await names(engine, execution.id) == before


async def test_a_child_ends_with_all_its_ancestors(bench: Bench) -> None:
    """Terminating a run ends its awaited children, and theirs."""
    engine = await bench.start()
    target = (await engine.create_workflow("leaf", SLEEPING)).id
    for _ in range(20):
        target = (await engine.create_workflow("level", parent_of(target, ".sync"))).id
    top = await engine.trigger(target)
    await eventually(lambda: engine.node.timers._alarm is not None)
    await engine.terminate(top.id)
    page = await engine.executions(limit=30)
    for item in page.items:
        assert (await ended(engine, item.id)).status == "terminated"
    assert len(page.items) == 21


async def test_a_retry_starts_another_child(bench: Bench) -> None:
    """The second attempt has a child of its own."""
    engine = await bench.start()
    retry = {"Retry": [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 1, "IntervalSeconds": 1}]}
    workflow = await engine.create_workflow("child", FAILING)
    made = await engine.create_workflow("parent", parent_of(workflow.id, ".sync", task=retry))
    execution = await engine.trigger(made.id)
    await rest(engine)
    first = await child_of(engine, execution.id)
    await bench.push(engine, 1000)
    assert (await ended(engine, execution.id)).status == "failed"
    assert await child_of(engine, execution.id) != first
    assert len((await engine.executions(workflow_id=workflow.id)).items) == 2


async def test_many_children_of_one_map(bench: Bench) -> None:
    """Each iteration awaits its own; the results are in order."""
    engine = await bench.start()
    workflow = await engine.create_workflow("child", ECHO)
    task = parent_of(workflow.id, ".sync:2", **THEIR_INPUT)["States"]["Call"]
    definition = {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemProcessor": {"StartAt": "Call", "States": {"Call": {**task, "OutputPath": "$.Output"}}},
                "End": True,
            }
        },
    }
    made = await engine.create_workflow("parent", definition)
    execution = await engine.trigger(made.id, [{"n": n} for n in range(100)])
    assert (await ended(engine, execution.id)).output == [{"n": n} for n in range(100)]
    assert "ResultIgnored" not in await names(engine, execution.id)


async def test_a_workflow_that_starts_itself_keeps_nobody_from_working(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endless chain of children is its author's loop: others are served, and the engine stops when it is told to."""
    engine = await bench.start(limits=Limits(child_depth_max=1000))
    definition = parent_of("ouroboros")
    workflow = await engine.create_workflow("ouroboros", definition)
    await engine.trigger(workflow.id)
    for _ in range(300):
        other = await engine.create_workflow("other", ECHO)
        assert (await ended(engine, (await engine.trigger(other.id)).id)).status == "completed"
    rows = (await engine.executions(workflow_id=workflow.id, limit=200)).items
    assert len(rows) == 200
    monkeypatch.setattr(nesting, "CLOSE_S", 60)
    async with asyncio.timeout(10):
        await bench.stop(engine)


@pytest.mark.parametrize(("limits", "depth"), [(Limits(child_depth_max=3), 3), (Limits(), 25)], ids=["3", "default"])
async def test_children_are_nested_so_deep_and_no_deeper(bench: Bench, limits: Limits, depth: int) -> None:
    """The task that would start one more fails, with no Retry asked, and so does every parent above it."""
    engine = await bench.start(limits=limits)
    workflow = await engine.create_workflow("ouroboros", parent_of("ouroboros", ".sync"))
    first = await engine.trigger(workflow.id)
    assert (await ended(engine, first.id)).status == "failed"
    rows = (await engine.executions(workflow_id=workflow.id, limit=50)).items
    assert [row.status for row in rows] == ["failed"] * (depth + 1)
    deepest = await engine.result(rows[0].id)
    assert (deepest.error, deepest.cause) == (
        "StepFunctions.ExecutionLimitExceeded",
        f"Children are nested {depth} deep at most (child_depth_max).",
    )


async def test_a_child_that_ends_as_its_task_is_given_up(bench: Bench) -> None:
    """At one instant the task times out and the child succeeds: each log says so, and neither is refused anything."""
    engine = await bench.start()
    execution, child = await under_way(bench, engine, SLEEPING, TimeoutSeconds=60)
    await bench.push(engine, 60_000)
    assert (await ended(engine, execution.id)).error == "States.Timeout"
    assert (await ended(engine, child)).status == "completed"
    await rest(engine)
    assert (await names(engine, execution.id))[-3:] == ["TaskTimedOut", "ExecutionFailed", "ResultIgnored"]
    assert (await names(engine, child))[-1] == "ExecutionSucceeded"


async def test_a_child_whose_parent_s_task_is_another_one_is_ended(bench: Bench) -> None:
    """The state is the same and the attempt is not: the child of the one before is nobody's any more."""
    engine = await bench.start()
    execution, child = await under_way(bench, engine, SLEEPING)
    began = (await events(engine, child))[0].event
    assert isinstance(began, ExecutionStarted)
    assert began.parent is not None
    hot = HotStream(STREAM_TYPES["execution"], ids.parse(child), b"", b"")
    for seq, wanted in ((began.parent.seq, "running"), (began.parent.seq - 1, "terminated")):
        engine.node.children.follow_parent(hot, FollowParent(msgspec.structs.replace(began.parent, seq=seq)))
        await rest(engine)
        assert await status(engine, child) == wanted
    assert (await ended(engine, execution.id)).error == "States.TaskFailed"


# --- when the store fails, or the process dies -------------------------------------------------------------------


@pytest.mark.parametrize("after", range(4))
async def test_what_the_store_refuses_is_done_later(bench: Bench, after: int) -> None:
    """A full disk at any step between parent and child loses nothing: it is tried again by the node's clock."""
    engine = await bench.start()
    child = await engine.create_workflow("child", ECHO)
    made = await engine.create_workflow("parent", parent_of(child.id, ".sync:2"))
    count = 0

    async def once() -> None:
        nonlocal count
        if count == after:
            bench.store.fail_next.append(StoreFull("no space left"))
        else:
            bench.store.before_append = once
        count += 1

    execution = await engine.trigger(made.id)
    bench.store.before_append = once
    waiting = asyncio.create_task(engine.result(execution.id))
    while not waiting.done():
        await rest(engine)
        if (due := bench.clock.next_due()) is not None:
            bench.clock.push(due - bench.clock.now())
    assert (await waiting).status == "completed"
    assert (await names(engine, execution.id)).count("TaskSucceeded") == 1


async def test_reads_that_fail_are_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be read puts the child's start off, and does not fail the task."""
    engine = await bench.start()
    child = await engine.create_workflow("child", ECHO)
    made = await engine.create_workflow("parent", parent_of(child.id, ".sync:2"))
    real, failures = bench.store.execution, 3

    async def broken(execution_id: bytes) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreFull("the disk does not answer")
        return await real(execution_id)

    monkeypatch.setattr(bench.store, "execution", broken)
    execution = await engine.trigger(made.id)
    for _ in range(3):
        await rest(engine)
        await bench.push(engine, 1000)
    assert (await ended(engine, execution.id)).status == "completed"


async def test_a_child_is_not_started_for_a_parent_that_is_gone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent is terminated while the start is put off: then there is nothing to start."""
    engine = await bench.start()
    child = await engine.create_workflow("child", SLEEPING)
    made = await engine.create_workflow("parent", parent_of(child.id, ".sync"))
    real = bench.store.execution

    async def broken(execution_id: bytes) -> Any:
        monkeypatch.setattr(bench.store, "execution", real)
        raise StoreFull("the disk does not answer")

    monkeypatch.setattr(bench.store, "execution", broken)
    await engine.trigger(made.id, process_id="PARENT")
    await rest(engine)
    await engine.terminate("PARENT")
    await bench.push(engine, 1000)
    await rest(engine)
    assert (await engine.executions(workflow_id=child.id)).items == []


async def crashed_after(bench: Bench, engine: Engine, event: str, work: Any) -> None:
    """Do something, and kill the engine as soon as that event is on disk: nothing that follows from it happens."""
    node = engine.node
    real = bench.store.append

    async def append(batch: Any) -> Any:
        appended = await real(batch)
        if any(row.type == event for part in batch for row in part.events):
            node.processor.failure = RuntimeError("killed")
            node.processor.commits.stop()
            node.processor.replies._run_effect = lambda _hot, _effect: None
        return appended

    bench.store.append = append  # type: ignore[method-assign]
    job = asyncio.ensure_future(work)
    await eventually(lambda: node.processor.failure is not None)
    await asyncio.sleep(0)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    bench.store.append = real  # type: ignore[method-assign]
    await bench.crash(engine)


@pytest.mark.parametrize("event", ["TaskScheduled", "ExecutionStarted", "TaskSubmitted", "ExecutionSucceeded"])
async def test_a_crash_between_parent_and_child_loses_nothing(bench: Bench, event: str) -> None:
    """Whatever the last event on disk is: one child runs, and its end reaches the parent once."""
    engine = await bench.start()
    child = await engine.create_workflow("child", ECHO)
    made = await engine.create_workflow("parent", parent_of(child.id, ".sync:2", Name="CHILD"))
    if event == "ExecutionStarted":  # the child's, not the parent's
        bench.store.attempts.clear()
        await crashed_after_second(bench, engine, made.id)
    else:
        await crashed_after(bench, engine, event, engine.trigger(made.id, process_id="PARENT"))
    engine = await bench.start()
    parent = await engine.trigger(made.id, process_id="PARENT")
    assert (await ended(engine, parent.id)).status == "completed"
    assert await names(engine, parent.id) == [
        "ExecutionStarted",
        "TaskScheduled",
        "TaskSubmitted",
        "TaskSucceeded",
        "ExecutionSucceeded",
    ]
    assert len((await engine.executions(workflow_id=child.id)).items) == 1


async def crashed_after_second(bench: Bench, engine: Engine, workflow_id: str) -> None:
    """The child is on disk, and its parent has not heard of it."""
    starts = 0
    real = bench.store.append

    async def append(batch: Any) -> Any:
        nonlocal starts
        starts += sum(row.type == "ExecutionStarted" for part in batch for row in part.events)
        appended = await real(batch)
        if starts == 2 and engine.node.processor.failure is None:
            engine.node.processor.failure = RuntimeError("killed")
            engine.node.processor.commits.stop()
            engine.node.processor.replies._run_effect = lambda _hot, _effect: None
        return appended

    bench.store.append = append  # type: ignore[method-assign]
    job = asyncio.ensure_future(engine.trigger(workflow_id, process_id="PARENT"))
    await eventually(lambda: engine.node.processor.failure is not None)
    await asyncio.gather(job, return_exceptions=True)
    bench.store.append = real  # type: ignore[method-assign]
    await bench.crash(engine)


async def test_a_crash_between_the_end_of_a_sleeping_child_and_its_parent(bench: Bench) -> None:
    """The child's end is on disk and nobody has told the parent: its recovery finds out."""
    engine = await bench.start()
    execution, child = await under_way(bench, engine, SLEEPING)
    await crashed_after(bench, engine, "ExecutionSucceeded", _later(bench))
    engine = await bench.start()
    result = await ended(engine, execution.id)
    assert (result.status, result.output["ExecutionArn"]) == ("completed", child)
    assert "ResultIgnored" not in await names(engine, execution.id)


async def _later(bench: Bench) -> None:
    bench.clock.push(60_000)


async def test_a_crash_between_the_termination_of_a_parent_and_its_child(bench: Bench) -> None:
    """The parent's end is on disk and the child was not ended: the child's recovery finds out."""
    engine = await bench.start()
    execution, child = await under_way(bench, engine, SLEEPING)
    await crashed_after(bench, engine, "ExecutionTerminated", engine.terminate("PARENT"))
    engine = await bench.start()
    result = await ended(engine, child)
    assert (result.status, execution.id in (result.cause or "")) == ("terminated", True)


async def test_a_crash_after_the_task_was_given_up_ends_the_child(bench: Bench) -> None:
    """Also where the parent goes on in another state."""
    engine = await bench.start()
    workflow = await engine.create_workflow("child", SLEEPING)
    catch = {"TimeoutSeconds": 20, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Ask"}]}
    definition = parent_of(workflow.id, ".sync", task=catch)
    definition["States"]["Ask"] = {"Type": "Task", "Resource": "wait_for_resume", "End": True}
    made = await engine.create_workflow("parent", definition)
    execution = await engine.trigger(made.id)
    await rest(engine)
    child = await child_of(engine, execution.id)

    async def time_out() -> None:
        bench.clock.push(20_000)

    await crashed_after(bench, engine, "TaskTimedOut", time_out())
    engine = await bench.start()
    assert (await ended(engine, child)).status == "terminated"
    assert await status(engine, execution.id) == "waiting"


async def test_after_a_restart_a_child_whose_parent_awaits_it_goes_on(bench: Bench) -> None:
    """Following each other they find that all is well, and write nothing."""
    engine = await bench.start()
    execution, child = await under_way(bench, engine, SLEEPING)
    before = [await names(engine, each) for each in (execution.id, child)]
    await bench.crash(engine)
    engine = await bench.start()
    await rest(engine)
    assert [await names(engine, each) for each in (execution.id, child)] == before
    await bench.push(engine, 60_000)
    assert (await ended(engine, execution.id)).status == "completed"


async def test_parents_and_children_on_a_disk(tmp_path: Path) -> None:
    """The same on SQLite: children of a Map that wait are found again by a second process, and end each task once."""
    database = f"sqlite:///{tmp_path / 'runs.db'}"
    async with Engine.open(database) as engine:
        child = await engine.create_workflow("child", WAITING)
        call = parent_of("child", ".sync:2", **BY_NAME)["States"]["Call"]
        iteration = {"StartAt": "Call", "States": {"Call": {**call, "OutputPath": "$.Output.answer"}}}
        definition = {"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": iteration, "End": True}}}
        made = await engine.create_workflow("parent", definition)
        names_given = [f"C{n}" for n in range(20)]
        parent = await engine.trigger(made.id, names_given)
        children: Any = engine.node.children
        await eventually(lambda: not children._jobs and len(engine.node.processor.hot) <= 1)
    async with Engine.open(database) as engine:
        for name in names_given:
            assert await engine.resume(name, name, hold=10) == "restarted"
        assert (await ended(engine, parent.id)).output == names_given
        assert (await names(engine, parent.id)).count("TaskSucceeded") == 20
        assert len((await engine.executions(workflow_id=child.id, limit=30)).items) == 20


async def test_a_clean_stop_in_between_loses_nothing(bench: Bench) -> None:
    """What was not done when the node closed is done at the next start."""
    engine = await bench.start()
    child = await engine.create_workflow("child", WAITING)
    made = await engine.create_workflow("parent", parent_of(child.id, ".sync:2", Name="CHILD"))
    execution = await engine.trigger(made.id)
    await bench.stop(engine)
    engine = await bench.start()
    await rest(engine)
    assert await engine.resume("CHILD", {"ok": True}) == "restarted"
    assert (await ended(engine, execution.id)).output["Output"] == {"answer": {"ok": True}}


async def test_a_crash_leaves_no_waiting_child_behind(bench: Bench) -> None:
    """A child that only waited when its parent was terminated is ended too, though it is not live."""
    engine = await bench.start()
    execution, child = await under_way(bench, engine, WAITING)
    await crashed_after(bench, engine, "ExecutionTerminated", engine.terminate("PARENT"))
    engine = await bench.start()
    async with asyncio.timeout(1):
        result = await engine.result(child)
    assert (result.status, execution.id in (result.cause or "")) == ("terminated", True)


async def test_a_child_whose_parent_was_answered_by_its_token_goes_on(bench: Bench) -> None:
    """Its parent's task was not given up but answered, so nobody ends the child, before a restart or after."""
    engine = await bench.start()
    workflow = await engine.create_workflow("child", SLEEPING)
    made = await engine.create_workflow("parent", parent_of(workflow.id, ".sync", Input={"token.$": "$$.Task.Token"}))
    execution = await engine.trigger(made.id)
    await rest(engine)
    child = await child_of(engine, execution.id)
    view = await engine.services.queries.execution(await engine._caller(), ids.parse(child))
    await engine.complete_task(view.input["token"], {"told": True})
    assert (await ended(engine, execution.id)).output == {"told": True}
    await bench.crash(engine)
    engine = await bench.start()
    await rest(engine)
    assert await status(engine, child) == "running"
    await bench.push(engine, 60_000)
    assert (await ended(engine, child)).status == "completed"
