"""Workflows that are written as documents: kept, shown, restored, seen by those who may, and run with what fits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core import workflow as w
from perdure.engine.errors import Invalid, NotFound
from perdure.engine.runtime.callers import Caller, Grant
from perdure.engine.services.authoring import Authored
from perdure.engine.services.documents import Documents, GivenDocument, outline_of, shown_as
from perdure.engine.services.principals import Person
from perdure.engine.services.sending import send
from perdure.engine.services.workflows import Saved
from perdure.engine.steps import Registry
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore

LOG = {"id": "note", "type": "log", "config": {"message": "{{input.who}}"}}
NAP = {"id": "nap", "type": "wait", "config": {"duration": 5}}
STEPS = {"name": "Notes", "steps": [LOG, NAP]}
SERVICE = {
    "name": "Notes",
    "cron_expression": "0 9 * * *",
    "timezone": "UTC",
    "steps": [{"step_type": "log", "step_config": {"message": "a"}}],
}
WHO = {"type": "object", "required": ["who"], "properties": {"who": {"type": "string"}, "n": {"type": "integer"}}}


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An engine of the suite's own."""
    async with Engine.open(MemoryStore(), clock=ManualClock()) as opened:
        yield opened


async def person(engine: Engine, name: str | None, key: int, roles: frozenset[str] = frozenset()) -> Caller:
    """Somebody with a key, whose user this is."""
    caller = await engine.services.access.default_caller("cli:test")
    grant = Grant(bytes([key]) * 16)
    return caller._replace(actor=f"key:{ids.text(grant.key_id)}", grant=grant, user_id=name, role_ids=roles)


async def written(engine: Engine, caller: Caller, sharing: w.Sharing | None = None) -> Saved:
    """A published workflow that was written as steps."""
    document = GivenDocument("steps", STEPS)
    wanted = Authored(document, name="Notes", is_published=True, sharing=sharing, summary="the first")
    return await engine.services.authoring.create(caller, wanted)


async def test_a_version_is_shown_as_it_was_written(engine: Engine) -> None:
    """And in every other format as something: no list is empty, and the outline knows the steps."""
    saved = await written(engine, await person(engine, "ann", 1))
    row = saved.version
    assert (row.format, row.summary) == ("steps", "the first")
    assert shown_as(row, "steps") == STEPS
    assert [step.id for step in outline_of(row).steps] == ["note", "nap"]
    definition = shown_as(row, "asl")
    assert definition == msgspec.json.decode(row.definition)
    assert {node["id"] for node in shown_as(row, "graph")["nodes"]} >= set(definition["States"])
    kinds = [step["step_type"] for step in shown_as(row, "service")["steps"]]
    assert "log" in kinds
    assert "Wait" in kinds


@pytest.mark.parametrize(
    "given",
    [
        GivenDocument("steps", STEPS),
        GivenDocument("service", SERVICE),
        GivenDocument("graph", {"nodes": [LOG], "edges": []}),
    ],
    ids=lambda given: given.format,
)
async def test_an_action_that_nobody_registered_is_refused(engine: Engine, given: GivenDocument) -> None:
    """Though it is in the catalog: the problem is told when the document is given, and not by a run that calls it."""
    caller = await person(engine, "ann", 1)
    with pytest.raises(Invalid, match="log"):
        await Documents(Registry()).compiled(caller, given)
    assert (await engine.services.documents.compiled(caller, given)).text


async def test_an_earlier_version_is_restored_as_the_next(engine: Engine) -> None:
    """As it was written; versions are listed newest first, a page at a time."""
    caller = await person(engine, "ann", 1)
    saved = await written(engine, caller)
    workflow_id, workflows = saved.workflow.workflow_id, engine.services.workflows
    other = GivenDocument("steps", {**STEPS, "steps": [NAP]})
    await engine.services.authoring.change(caller, workflow_id, Authored(other))
    restored = await engine.services.authoring.restore(caller, workflow_id, 1)
    assert (restored.version.version, restored.version.source) == (3, saved.version.source)
    assert (restored.version.outline, restored.version.published_at) == (saved.version.outline, 1_750_000_000_000)
    page, has_more = await workflows.versions(caller, workflow_id, limit=2)
    assert ([row.version for row in page], has_more) == ([3, 2], True)
    page, has_more = await workflows.versions(caller, workflow_id, before=2)
    assert ([row.version for row in page], has_more) == ([1], False)


async def test_what_leaves_as_states_is_taken_as_states(engine: Engine) -> None:
    """Though the document has times in milliseconds, and a schema for the output, at any depth."""
    caller, workflows = await person(engine, "ann", 1), engine.services.workflows
    call = {
        "type": "log",
        "config": {"message": "a"},
        "errorHandling": "retry",
        "retryConfig": {"maxAttempts": 3, "backoffMs": 200, "multiplier": 2, "maxDelayMs": 900},
        "timeoutMs": 1_500,
    }
    inner = {"collection": "{{ input.items }}", "steps": [{"id": "each", **call}]}
    branches = [[{"id": "left", **call}], [{"id": "right", **call, "retryConfig": {"backoffMs": 1_100}}]]
    document = {
        **STEPS,
        "steps": [
            {"id": "call", **call},
            {"id": "loop", "type": "loop", "config": inner},
            {"id": "both", "type": "parallel", "config": {"branches": branches}},
        ],
        "outputSchema": {"type": "object"},
        "settings": {"timeoutMs": 60_500},
    }
    saved = await workflows.create(caller, "Notes", GivenDocument("steps", document))
    assert "OutputSchema" in saved.version.definition
    definition = shown_as(saved.version, "asl")
    again = await workflows.create(caller, "By hand", definition)
    assert shown_as(again.version, "asl") == definition
    retriers = [retrier for retrier in definition["States"]["call"]["Retry"] if retrier["MaxAttempts"]]
    assert retriers == [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "IntervalSeconds": 1, "BackoffRate": 1}]


ASTRAY = {"id": "astray", "type": "wait", "config": {"duration": 1}}
DRAFT = GivenDocument(
    "graph", {"nodes": [{"id": "in", "type": "trigger"}, LOG, ASTRAY], "edges": [{"source": "in", "target": "note"}]}
)
WHOLE = GivenDocument(
    "graph", {"nodes": [{"id": "in", "type": "trigger"}, LOG], "edges": [{"source": "in", "target": "note"}]}
)

PUBLISHING: dict[str, Callable[[Engine, Caller, bytes], Awaitable[Any]]] = {
    "status": lambda engine, caller, name: engine.services.workflows.change(caller, name, is_published=True),
    "status and settings": lambda engine, caller, name: engine.services.workflows.change(
        caller, name, is_published=True, settings={"timeoutMs": 5}
    ),
    "document": lambda engine, caller, name: engine.services.workflows.change(
        caller, name, definition=DRAFT, is_published=True
    ),
    "apply": lambda engine, caller, _: engine.services.workflows.apply(caller, "Notes", DRAFT),
    "authoring": lambda engine, caller, name: engine.services.authoring.change(
        caller, name, Authored(is_published=True)
    ),
}


@pytest.mark.parametrize("way", PUBLISHING)
async def test_what_only_a_draft_may_hold_is_not_published(engine: Engine, way: str) -> None:
    """By no way: a node that nothing leads to is a problem then."""
    caller = await person(engine, "ann", 1)
    saved = await engine.services.workflows.create(caller, "Notes", DRAFT, is_published=False)
    with pytest.raises(Invalid, match="astray"):
        await PUBLISHING[way](engine, caller, saved.workflow.workflow_id)
    row = await engine.services.workflows.version(caller, saved.workflow.workflow_id, 1)
    assert row.published_at is None


async def test_a_draft_is_restored_as_a_draft_alone(engine: Engine) -> None:
    """In the place of a published version it would be published; in that of a draft it is a draft again."""
    caller, workflows = await person(engine, "ann", 1), engine.services.workflows
    saved = await workflows.create(caller, "Notes", DRAFT, is_published=False)
    workflow_id = saved.workflow.workflow_id
    await workflows.change(caller, workflow_id, definition=WHOLE, is_published=True)
    with pytest.raises(Invalid, match="astray"):
        await workflows.restore(caller, workflow_id, 1)
    await workflows.change(caller, workflow_id, definition=GivenDocument("steps", STEPS), is_published=False)
    assert (await workflows.restore(caller, workflow_id, 1)).version.published_at is None


async def test_another_document_takes_its_settings_with_it(engine: Engine) -> None:
    """What the one before had in it and it does not say is at its default again, unless it was set beside it."""
    caller, workflows = await person(engine, "ann", 1), engine.services.workflows
    had = {**STEPS, "settings": {"timeoutMs": 5_000, "concurrencyLimit": 3}}
    beside = {"resume": "named"}
    saved = await workflows.create(caller, "Notes", GivenDocument("steps", had), settings=beside)
    workflow_id = saved.workflow.workflow_id

    async def left(document: Any, settings: Any = None) -> dict[str, Any]:
        made = await workflows.change(caller, workflow_id, definition=document, settings=settings)
        found: dict[str, Any] = msgspec.json.decode(made.version.settings)
        return found

    assert await left(GivenDocument("steps", {**STEPS, "settings": {"concurrencyLimit": 4}})) == {
        "concurrencyLimit": 4,
        **beside,
    }
    assert await left(GivenDocument("steps", had), {"timeoutMs": 9_000}) == {
        "timeoutMs": 9_000,
        "concurrencyLimit": 3,
        **beside,
    }
    assert await left(GivenDocument("steps", STEPS)) == {"timeoutMs": 9_000, **beside}
    await left(GivenDocument("steps", had))
    ending = {"StartAt": "a", "States": {"a": {"Type": "Succeed"}}}
    assert await left(ending) == beside
    applied = await workflows.apply(caller, "Notes", GivenDocument("steps", had))
    assert msgspec.json.decode(applied.saved.version.settings) == {"timeoutMs": 5_000, "concurrencyLimit": 3, **beside}
    applied = await workflows.apply(caller, "Notes", GivenDocument("steps", STEPS))
    assert msgspec.json.decode(applied.saved.version.settings) == beside


async def test_the_same_document_changes_nothing(engine: Engine) -> None:
    """Given again, applied again: no version is made of it."""
    caller = await person(engine, "ann", 1)
    saved = await written(engine, caller)
    again = Authored(GivenDocument("steps", STEPS), summary="again")
    changed = await engine.services.authoring.change(caller, saved.workflow.workflow_id, again)
    assert changed.version == saved.version
    applied = await engine.services.workflows.apply(caller, "Notes", GivenDocument("steps", STEPS))
    assert (applied.outcome, applied.saved.version) == ("unchanged", saved.version)


WAYS: dict[str, Callable[[Engine, Caller, bytes], Awaitable[Any]]] = {
    "read": lambda engine, caller, name: engine.services.workflows.workflow(caller, name),
    "version": lambda engine, caller, name: engine.services.workflows.version(caller, name, 1),
    "versions": lambda engine, caller, name: engine.services.workflows.versions(caller, name),
    "restore": lambda engine, caller, name: engine.services.authoring.restore(caller, name, 1),
    "change": lambda engine, caller, name: engine.services.workflows.change(caller, name, name="Mine"),
    "archive": lambda engine, caller, name: engine.services.workflows.archive(caller, name),
    "trigger": lambda engine, caller, name: engine.services.runs.trigger(caller, name, {}),
    "schedules": lambda engine, caller, name: engine.services.schedules.rows(caller, name),
    "pause": lambda engine, caller, name: engine.services.schedules.pause(caller, name),
    "resume": lambda engine, caller, name: engine.services.schedules.resume(caller, name),
    "counts": lambda engine, caller, name: engine.services.finding.counts(caller, workflow_id=name),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_private_workflow_is_not_there_for_others(engine: Engine, way: str) -> None:
    """Also once its owner has run it, so that it is at hand; no key without a user is let in either."""
    owner = await person(engine, "ann", 1)
    workflow_id = (await written(engine, owner, w.Sharing("private"))).workflow.workflow_id
    await engine.services.runs.trigger(owner, workflow_id, {"who": "me"})
    for other in (await person(engine, "bob", 2), await person(engine, None, 3)):
        with pytest.raises(NotFound):
            await WAYS[way](engine, other, workflow_id)
        assert await engine.services.queries.workflow_page(other, limit=9) == ([], 0)
        assert await engine.services.queries.version_page(other) == ([], False)
    assert (await engine.services.workflows.workflow(owner, workflow_id)).status == "published"
    assert await WAYS["read"](engine, await person(engine, "ann", 4), workflow_id)


async def test_a_shared_workflow_is_there_for_those_named(engine: Engine) -> None:
    """By user or by role, and for its owner; from the change on for nobody else."""
    owner = await person(engine, "ann", 1)
    saved = await written(engine, owner)
    workflow_id, workflows = saved.workflow.workflow_id, engine.services.workflows
    stranger = await person(engine, "cay", 4)
    assert await workflows.workflow(stranger, workflow_id)
    sharing = w.Sharing("shared", ("bob", "dan"), ("auditor",))
    changed = await engine.services.authoring.change(owner, workflow_id, Authored(sharing=sharing))
    assert changed.version == saved.version
    auditor = await person(engine, "eve", 3, frozenset({"auditor"}))
    for caller in (owner, await person(engine, "bob", 2), auditor):
        assert (await workflows.workflow(caller, workflow_id)).visibility == "shared"
    for caller in (stranger, await person(engine, None, 5)):
        with pytest.raises(NotFound):
            await workflows.workflow(caller, workflow_id)


async def test_a_sandbox_sees_the_workflows_of_its_pair(engine: Engine) -> None:
    """And what is made there is there for the other, too."""
    live = await person(engine, "ann", 1)
    saved = await written(engine, live)
    sandbox = live._replace(workspace_id=b"s" * 16, live_workspace_id=live.workspace_id)
    assert await engine.services.workflows.workflow(sandbox, saved.workflow.workflow_id) == saved.workflow
    assert (await engine.services.queries.workflow_page(sandbox, limit=9))[0] == [saved.workflow]
    with pytest.raises(NotFound):
        await engine.services.workflows.workflow(live._replace(workspace_id=b"s" * 16), saved.workflow.workflow_id)


ENDING = {"StartAt": "a", "States": {"a": {"Type": "Succeed"}}}


def calling(target: str) -> dict[str, Any]:
    """A definition that starts a workflow: by what stands in it, or by what its input says."""
    given = {"StateMachineArn": target, "Input": {}} if target else {"StateMachineArn.$": "$.target", "Input": {}}
    sync = "arn:aws:states:::states:startExecution.sync:2"
    return {"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": sync, "Parameters": given, "End": True}}}


async def keyed(engine: Engine, user: str, roles: Sequence[str] = ()) -> Caller:
    """Somebody with a key that is in the store."""
    access = engine.services.access
    made = await access.make_key(
        await access.default_caller("cli:test"), user, ("workflows.view",), person=Person(user, roles)
    )
    principal = await access.principal(made.text)
    assert principal is not None
    return principal.caller


async def test_a_child_is_found_by_the_eyes_of_who_wrote_the_call(engine: Engine) -> None:
    """By its id, by its name, or by what the input says: what its author may not see is not there, whoever runs it."""
    ann, bob = await keyed(engine, "ann"), await keyed(engine, "bob", ["ops"])
    workflows, runs = engine.services.workflows, engine.services.runs
    secret = await workflows.create(ann, "Secret", ENDING, sharing=w.Sharing("private"))
    for_ops = await workflows.create(ann, "For ops", ENDING, sharing=w.Sharing("shared", roles=("ops",)))
    hidden, shared = ids.text(secret.workflow.workflow_id), ids.text(for_ops.workflow.workflow_id)

    async def status(author: Caller, runner: Caller, definition: Any, given: Any) -> tuple[str, str | None]:
        made = await workflows.create(author, f"by {author.user_id}", definition)
        answered = await runs.trigger(runner, made.workflow.workflow_id, given)
        ended = await engine.result(str(answered.answer), timeout=5)
        return ended.status, ended.error

    for target in (hidden, "Secret"):
        for definition, given in ((calling(target), {}), (calling(""), {"target": target})):
            for runner in (ann, bob):
                refused = await status(bob, runner, definition, given)
                assert refused == ("failed", "StepFunctions.StateMachineDoesNotExistException")
                assert await status(ann, runner, definition, given) == ("completed", None)
    for target in (shared, "For ops"):
        for definition, given in ((calling(target), {}), (calling(""), {"target": target})):
            assert await status(bob, ann, definition, given) == ("completed", None)


async def test_a_name_that_somebody_has_for_themselves_is_free_for_others(engine: Engine) -> None:
    """To apply a definition under it makes one's own workflow, and nothing tells of the other."""
    ann, bob = await keyed(engine, "ann"), await keyed(engine, "bob")
    workflows = engine.services.workflows
    await workflows.create(ann, "Mine", ENDING, sharing=w.Sharing("private"))
    made = await workflows.apply(bob, "Mine", ENDING)
    assert (made.outcome, made.saved.warnings) == ("created", [])
    assert (await workflows.apply(bob, "Mine", ENDING)).outcome == "unchanged"


# --- input -------------------------------------------------------------------------------------------------------


async def fitting(engine: Engine) -> str:
    """A workflow whose input must name who."""
    made = await engine.create_workflow("Fits", {"StartAt": "a", "States": {"a": {"Type": "Succeed"}}})
    caller = await engine.services.access.default_caller("cli:test")
    workflow_id = ids.parse(made.id)
    row = await engine.services.workflows.version(caller, workflow_id, 1)
    outline = msgspec.json.encode({"steps": [], "input_schema": WHO}).decode()
    current = w.Definition(row.definition, row.definition_digest.hex())
    given = msgspec.structs.replace(current, source=w.SourceText("steps", "{}", outline))
    command = w.ChangeWorkflow(version=1, current=current, was_published=True, definition=given)
    await send(engine.services.workflows._node, caller, "workflow", workflow_id, command)
    return made.id


async def test_every_problem_of_an_input_is_told_by_its_place(engine: Engine) -> None:
    """Nothing starts; what fits does."""
    name = await fitting(engine)
    with pytest.raises(Invalid, match="input") as refused:
        await engine.trigger(name, {"who": 7, "n": "many"})
    assert {error["path"] for error in refused.value.details["errors"]} == {"/who", "/n"}
    with pytest.raises(Invalid, match="who"):
        await engine.trigger(name, {})
    started = await engine.trigger(name, {"who": "me", "n": 1})
    assert (await engine.result(started.id, timeout=5)).status == "completed"


@pytest.mark.parametrize(("child_input", "status"), [({}, "failed"), ({"who": "me"}, "completed")])
async def test_a_child_whose_input_does_not_fit_fails_its_task(engine: Engine, child_input: Any, status: str) -> None:
    """It is not started; one that fits is."""
    child = await fitting(engine)
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": child, "Input": child_input},
        "End": True,
    }
    parent = await engine.create_workflow("Parent", {"StartAt": "Call", "States": {"Call": task}})
    started = await engine.trigger(parent.id, {})
    ended = await engine.result(started.id, timeout=5)
    assert ended.status == status
