"""Calls by name: what a name means is settled when the calling version is published."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.language import executions_of
from perdure.engine.log.codec import decode_json
from perdure.engine.views import Result, Workflow

from .conftest import Bench
from .test_children import ECHO, FAILING, child_of, ended, parent_of

PASSING: dict[str, Any] = {"StartAt": "New", "States": {"New": {"Type": "Pass", "Result": "new", "End": True}}}
AT = "/States/Call/Parameters/StateMachineArn: "
LATER = "the name is looked up whenever the state is entered, until the definition is applied again"


async def called(engine: Engine, parent: Workflow, version: int | None = None) -> str:
    """Run a parent; the workflow that its child is a run of."""
    execution = await engine.trigger(parent.id, version=version)
    result = await ended(engine, execution.id)
    assert result.status == "completed", (result.error, result.cause)
    row = await engine.store.execution(ids.parse(await child_of(engine, execution.id)))
    assert row is not None
    return ids.text(row.workflow_id)


async def failed(engine: Engine, parent: Workflow, **trigger: Any) -> Result:
    result = await ended(engine, (await engine.trigger(parent.id, **trigger)).id)
    assert result.status == "failed"
    return result


async def recorded(engine: Engine, workflow: Workflow) -> list[tuple[str, Any]]:
    """What each event that made or published a version says of its calls; null for nothing."""
    rows = [row for _, row in await engine.store.events(ids.parse(workflow.id))]
    versions = [row for row in rows if row.type in {"VersionAdded", "VersionPublished"}]
    return [(row.type, decode_json(row.data).get("calls")) for row in versions]


async def rename(engine: Engine, workflow: Workflow, name: str) -> None:
    await engine.services.workflows.change(await engine._caller(), ids.parse(workflow.id), name=name)


async def archive(engine: Engine, workflow: Workflow) -> None:
    await engine.services.workflows.archive(await engine._caller(), ids.parse(workflow.id))


async def test_a_name_goes_on_meaning_the_same_workflow(bench: Bench) -> None:
    """Its own name may change, another may take that; after a restart, too. The version's event says which."""
    engine = await bench.start()
    child = await engine.create_workflow("ship", ECHO)
    parent = await engine.create_workflow("parent", parent_of("ship"))
    assert parent.warnings == []
    assert await recorded(engine, parent) == [("VersionAdded", {"Call": {"workflow": child.id}})]
    await rename(engine, child, "ship, the old one")
    other = await engine.create_workflow("ship", PASSING)
    assert await called(engine, parent) == child.id
    await bench.crash(engine)
    engine = await bench.start()
    assert await called(engine, parent) == child.id
    newer = await engine.create_workflow("parent of the other", parent_of("ship"))
    assert await called(engine, newer) == other.id


async def test_which_version_of_it_runs_is_seen_when_it_is_called(bench: Bench) -> None:
    """The one that is published then."""
    engine = await bench.start()
    child = await engine.create_workflow("ship", ECHO)
    parent = await engine.create_workflow("parent", parent_of("ship", ".sync:2"))
    await engine.apply_workflow("ship", PASSING)
    result = await ended(engine, (await engine.trigger(parent.id)).id)
    assert result.output["Output"] == "new"
    assert result.output["StateMachineArn"] == child.id


async def test_a_workflow_that_is_archived_later_is_no_other_one(bench: Bench) -> None:
    """The task fails, and says so; another workflow of that name is not called in its place."""
    engine = await bench.start()
    child = await engine.create_workflow("ship", ECHO)
    parent = await engine.create_workflow("parent", parent_of("ship"))
    await archive(engine, child)
    await engine.create_workflow("ship", ECHO)
    result = await failed(engine, parent)
    assert result.error == "StepFunctions.StateMachineDeletingException"
    assert result.cause == (
        f"workflow {child.id} is archived: no run of it starts ('ship' means the workflow that had this name when the "
        "calling version was published)"
    )


async def test_a_workflow_that_is_not_there_yet_is_looked_up_when_it_is_called(bench: Bench) -> None:
    """With a warning; each time anew."""
    engine = await bench.start()
    parent = await engine.create_workflow("parent", parent_of("ship"))
    assert parent.warnings == [f"{AT}no workflow is named 'ship' yet; {LATER}"]
    assert await recorded(engine, parent) == [("VersionAdded", None)]
    assert (await failed(engine, parent)).error == "StepFunctions.StateMachineDoesNotExistException"
    child = await engine.create_workflow("ship", ECHO)
    assert await called(engine, parent) == child.id
    await archive(engine, child)
    again = await engine.create_workflow("ship", ECHO)
    assert await called(engine, parent) == again.id


async def test_an_archived_workflow_is_not_what_a_name_means(bench: Bench) -> None:
    """Its name may be taken by another."""
    engine = await bench.start()
    await archive(engine, await engine.create_workflow("ship", ECHO))
    parent = await engine.create_workflow("parent", parent_of("ship"))
    assert parent.warnings == [f"{AT}workflow 'ship' is archived, so that no run of it starts; {LATER}"]
    assert (await failed(engine, parent)).error == "StepFunctions.StateMachineDeletingException"
    other = await engine.create_workflow("ship", ECHO)
    assert await called(engine, parent) == other.id


async def test_a_name_of_two_workflows_means_neither(bench: Bench) -> None:
    """With a warning, and as it always was: the task fails until one of them has another name, or is archived."""
    engine = await bench.start()
    first = await engine.create_workflow("ship", ECHO)
    second = await engine.create_workflow("ship", ECHO)
    parent = await engine.create_workflow("parent", parent_of("ship"))
    assert parent.warnings == [f"{AT}several workflows are named 'ship', so that it means none of them; {LATER}"]
    result = await failed(engine, parent)
    assert (result.error, "several workflows" in str(result.cause)) == ("StepFunctions.InvalidArnException", True)
    await archive(engine, second)
    assert await called(engine, parent) == first.id


async def test_a_name_that_only_a_run_knows_is_looked_up_then(bench: Bench) -> None:
    """From a path or an expression, also if another state settles the same name."""
    engine = await bench.start()
    child = await engine.create_workflow("ship", ECHO)
    definition: dict[str, Any] = parent_of("ship", task={"Next": "Again", "ResultPath": None})
    del definition["States"]["Call"]["End"]
    again = {**parent_of("x")["States"]["Call"], "Parameters": {"StateMachineArn.$": "$.target"}}
    definition["States"]["Again"] = again
    parent = await engine.create_workflow("parent", definition)
    jsonata = {
        "QueryLanguage": "JSONata",
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution",
        "Arguments": {"StateMachineArn": "{% $states.input.target %}"},
        "End": True,
    }
    evaluated = await engine.create_workflow("evaluated", {"StartAt": "Call", "States": {"Call": jsonata}})
    assert await recorded(engine, parent) == [("VersionAdded", {"Call": {"workflow": child.id}})]
    assert await recorded(engine, evaluated) == [("VersionAdded", None)]
    await rename(engine, child, "old")
    other = await engine.create_workflow("ship", ECHO)
    for workflow in (parent, evaluated):
        execution = await engine.trigger(workflow.id, {"target": "ship"})
        assert (await ended(engine, execution.id)).status == "completed"
        row = await engine.store.execution(ids.parse(await child_of(engine, execution.id)))
        assert row is not None
        assert ids.text(row.workflow_id) == other.id


RECURSIVE: dict[str, Any] = {
    "StartAt": "Stop?",
    "States": {
        "Stop?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.stop", "IsPresent": True, "Next": "Stop"}],
            "Default": "Call",
        },
        "Stop": {"Type": "Succeed"},
        "Call": parent_of("again", ".sync:2", Input={"stop": True})["States"]["Call"],
    },
}


async def test_a_workflow_may_call_itself_by_its_name(bench: Bench) -> None:
    """By the name that it is being given; and goes on doing so whatever it is named."""
    engine = await bench.start()
    own = await engine.create_workflow("again", RECURSIVE)
    assert own.warnings == []
    assert await recorded(engine, own) == [("VersionAdded", {"Call": {"workflow": own.id}})]
    await rename(engine, own, "once more")
    await engine.create_workflow("again", FAILING)
    assert await called(engine, own) == own.id
    caller = await engine._caller()
    saved = await engine.services.workflows.change(
        caller, ids.parse(own.id), name="a third", definition={**RECURSIVE, "Comment": "renamed"}
    )
    assert saved.version.version == 2
    assert (await failed(engine, own)).status == "failed"  # "again" means the other one in this version
    definition = copy.deepcopy(RECURSIVE)
    definition["States"]["Call"]["Parameters"]["StateMachineArn"] = "a fourth"
    await engine.services.workflows.change(caller, ids.parse(own.id), name="a fourth", definition=definition)
    assert await called(engine, own) == own.id


async def test_a_draft_is_settled_when_it_is_published(bench: Bench) -> None:
    """Not when it is made; what tries it looks its names up."""
    engine = await bench.start()
    first = await engine.create_workflow("ship", ECHO)
    parent = await engine.apply_workflow("parent", parent_of("ship"), draft=True)
    assert parent.warnings == []
    await rename(engine, first, "old")
    second = await engine.create_workflow("ship", ECHO)
    caller = await engine._caller()
    tried = await engine.services.runs.trigger(caller, ids.parse(parent.id), {}, trigger="MANUAL", is_test=True)
    await ended(engine, tried.answer)
    row = await engine.store.execution(ids.parse(await child_of(engine, tried.answer)))
    assert row is not None
    assert ids.text(row.workflow_id) == second.id
    await engine.apply_workflow("parent", parent_of("ship"))
    assert await recorded(engine, parent) == [
        ("VersionAdded", None),
        ("VersionPublished", {"Call": {"workflow": second.id}}),
    ]
    await rename(engine, second, "older")
    await engine.create_workflow("ship", ECHO)
    assert await called(engine, parent) == second.id


async def test_each_version_keeps_what_it_meant(bench: Bench) -> None:
    """A run of an older one calls what that called; to apply its definition again settles its names anew."""
    engine = await bench.start()
    first = await engine.create_workflow("ship", ECHO)
    parent = await engine.apply_workflow("parent", parent_of("ship"))
    await rename(engine, first, "old")
    second = await engine.create_workflow("ship", ECHO)
    await engine.apply_workflow("parent", {**parent_of("ship"), "Comment": "another"})
    assert await called(engine, parent) == second.id
    assert await called(engine, parent, version=1) == first.id
    back = await engine.apply_workflow("parent", parent_of("ship"))
    assert back.version == 3
    assert await called(engine, parent) == second.id


async def test_applied_again_it_is_another_version_if_a_name_means_another_workflow(bench: Bench) -> None:
    """And none if it means the same, or means none any more: then it goes on calling what it did."""
    engine = await bench.start()
    parent = await engine.apply_workflow("parent", parent_of("ship"))
    first = await engine.create_workflow("ship", ECHO)
    settled = await engine.apply_workflow("parent", parent_of("ship"))
    assert (settled.version, settled.warnings) == (2, [])
    assert (await engine.apply_workflow("parent", parent_of("ship"))).version == 2
    await archive(engine, first)
    same = await engine.apply_workflow("parent", parent_of("ship"))
    assert same.version == 2
    assert same.warnings == [
        f"{AT}'ship' means workflow {first.id}, as when this was published, and that is archived: no run of it starts"
    ]
    second = await engine.create_workflow("ship", ECHO)
    assert (await engine.apply_workflow("parent", parent_of("ship"), draft=True)).version == 2
    caller, parent_id = await engine._caller(), ids.parse(parent.id)
    kept_rule = await engine.services.workflows.change(caller, parent_id, settings={"resume": "any"}, name="parent")
    assert kept_rule.version.version == 2
    anew = await engine.apply_workflow("parent", parent_of("ship"))
    assert (anew.version, anew.warnings) == (3, [])
    assert await called(engine, parent) == second.id
    assert [calls for _, calls in await recorded(engine, parent)] == [
        None,
        {"Call": {"workflow": first.id}},
        {"Call": {"workflow": second.id}},
    ]
    await rename(engine, second, "other")
    kept = await engine.apply_workflow("parent", parent_of("ship"), resume="named")
    assert (kept.version, kept.warnings) == (4, [])
    assert await called(engine, parent) == second.id


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("ship", {"workflow": "ID"}),
        ("arn:aws:states:eu-west-1:1:stateMachine:ship", {"workflow": "ID"}),
        ("ship:1", {"workflow": "ID", "version": 1}),
        ("arn:aws:states:eu-west-1:1:stateMachine:ship:1", {"workflow": "ID", "version": 1}),
        ("ID", None),
        ("arn:aws:states:eu-west-1:1:stateMachine:ID", None),
    ],
)
async def test_what_names_a_workflow_is_settled(bench: Bench, target: str, says: dict[str, Any] | None) -> None:
    """A name, alone or in an ARN, with a version or without; an id says it already."""
    engine = await bench.start()
    child = await engine.create_workflow("ship", ECHO)
    parent = await engine.create_workflow("parent", parent_of(target.replace("ID", child.id)))
    await engine.apply_workflow("ship", PASSING)
    await rename(engine, child, "old")
    await engine.create_workflow("ship", ECHO)
    await engine.create_workflow("ship:1", ECHO)
    ((_, calls),) = await recorded(engine, parent)
    assert calls == (None if says is None else {"Call": {**says, "workflow": child.id}})
    execution = await engine.trigger(parent.id)
    await ended(engine, execution.id)
    row = await engine.store.execution(ids.parse(await child_of(engine, execution.id)))
    assert row is not None
    assert ids.text(row.workflow_id) == child.id
    assert row.workflow_version == (1 if ":1" in target.replace(":1:state", "") else 2)


async def test_states_inside_others_are_settled_too(bench: Bench) -> None:
    """In branches and iterations; each by its own name, which no other state of a definition has."""
    engine = await bench.start()
    ship = await engine.create_workflow("ship", ECHO)
    bill = await engine.create_workflow("bill", ECHO)

    def machine(state: str, target: str) -> dict[str, Any]:
        return {"StartAt": state, "States": {state: parent_of(target)["States"]["Call"]}}

    definition = {
        "StartAt": "Both",
        "States": {
            "Both": {"Type": "Parallel", "Branches": [machine("A", "ship"), machine("B", "bill")], "Next": "Each"},
            "Each": {"Type": "Map", "ItemProcessor": machine("C", "ship"), "End": True},
        },
    }
    assert [pointer for pointer, _, _ in executions_of(definition)] == [
        "/States/Both/Branches/0/States/A/Parameters/StateMachineArn",
        "/States/Both/Branches/1/States/B/Parameters/StateMachineArn",
        "/States/Each/ItemProcessor/States/C/Parameters/StateMachineArn",
    ]
    parent = await engine.create_workflow("parent", definition)
    await rename(engine, ship, "old")
    result = await ended(engine, (await engine.trigger(parent.id)).id)
    assert result.status == "completed"
    children = [row for row in (await engine.executions()).items if row.workflow_id != parent.id]
    assert sorted(row.workflow_id for row in children) == sorted([ship.id, ship.id, ship.id, bill.id])


async def test_what_is_settled_is_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again after the workflow has changed."""
    engine = await bench.start()
    await engine.create_workflow("ship", ECHO)
    parent = await engine.create_workflow("parent", parent_of("ship"))
    reads: list[bytes] = []
    real = engine.store.stream

    async def stream(stream_id: bytes) -> Any:
        reads.append(stream_id)
        return await real(stream_id)

    monkeypatch.setattr(engine.store, "stream", stream)
    for _ in range(3):
        await called(engine, parent)
    assert reads.count(ids.parse(parent.id)) <= 1
    await rename(engine, parent, "another")
    await called(engine, parent)
    assert reads.count(ids.parse(parent.id)) <= 2
