"""Runs by their steps, approvals and retries, through an engine on the memory store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, Invalid, NotFound, WaitExpired
from perdure.engine.runtime.callers import Caller, IdempotencyKey
from perdure.engine.services.approvals import Approvals
from perdure.engine.services.documents import GivenDocument
from perdure.engine.services.principals import Forbidden
from perdure.engine.services.retries import RunRetries
from perdure.engine.services.run_records import RunRecord, RunRecords
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore


def log(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "log", "config": {"message": name}, **more}


def approval(**config: Any) -> dict[str, Any]:
    return {"id": "ask", "type": "approval", "config": {"title": "Pay?", **config}}


class House(NamedTuple):
    engine: Engine
    clock: ManualClock
    caller: Caller
    records: RunRecords
    approvals: Approvals
    retries: RunRetries

    async def started(self, *steps: dict[str, Any], run_input: Any = None) -> bytes:
        """Start a run of these steps, and wait until nothing of it goes on."""
        document = {"name": "w", "trigger": {"type": "api"}, "steps": list(steps)}
        given = GivenDocument("steps", document)
        saved = await self.engine.services.workflows.create(self.caller, "w", given)
        run = await self.engine.trigger(ids.text(saved.workflow.workflow_id), run_input)
        await self.settled()
        return ids.parse(run.id)

    async def settled(self) -> None:
        for _ in range(20):
            await self.engine.node.processor.settle()
            await asyncio.sleep(0)

    async def of(self, run: bytes) -> RunRecord:
        await self.settled()
        return await self.records.of(self.caller, run)

    def person(self, name: str) -> Caller:
        return self.caller._replace(user_id=name)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = ManualClock()
    async with Engine.open(MemoryStore(), clock=clock) as engine:
        caller = await engine.services.access.default_caller("key:test")
        services = engine.services
        yield House(engine, clock, caller, services.records, services.approvals, services.retries)


async def test_a_run_says_what_it_waits_for(house: House) -> None:
    """It is suspended, and its approval is named; another workspace's caller finds no run."""
    run = await house.started(log("a"), approval(), log("z"))
    found = await house.of(run)
    assert (found.row.status, found.suspended, found.error, found.version) == ("waiting", True, None, 1)
    (waiting,) = found.waiting_for
    assert (waiting.kind, waiting.step_id, waiting.title) == ("approval", "ask", "Pay?")
    assert [(step.id, step.status) for step in found.steps] == [
        ("a", "completed"),
        ("ask", "running"),
        ("z", "pending"),
    ]
    (listed,) = await house.records.many([found.row])
    assert listed.steps == found.steps
    with pytest.raises(NotFound):
        await house.records.of(house.caller._replace(workspace_id=bytes(16)), run)


async def test_an_answer_ends_the_approval(house: House) -> None:
    """Its output names who; another answer is told that it is decided."""
    run = await house.started(approval(), log("z"))
    asked = (await house.of(run)).approvals[0]
    decided = await house.approvals.decide(house.person("ann"), run, asked.id, "approve", comment="fine")
    assert decided.approval.status == "approved"
    found = await house.of(run)
    assert found.row.status == "completed"
    assert found.steps[0].output == {
        "approved": True,
        "approvedBy": "ann",
        "approvedAt": found.steps[0].output["approvedAt"],
        "comment": "fine",
    }
    with pytest.raises(Conflict, match="was approved by ann already"):
        await house.approvals.decide(house.person("bob"), run, asked.id, "reject")


async def test_two_different_people_must_approve(house: House) -> None:
    """The same one again is refused and does not count, under the first id of the approval or a later one."""
    run = await house.started(approval(required=2), log("z"))
    asked = (await house.of(run)).approvals[0]
    first = (await house.approvals.decide(house.person("ann"), run, asked.id, "approve")).approval
    assert (first.status, len(first.waits)) == ("pending", 2)
    for name in first.waits:
        with pytest.raises(Conflict, match="ann has approved this already; it takes 2 different people, of whom 1"):
            await house.approvals.decide(house.person("ann"), run, name, "approve")
    assert len((await house.of(run)).approvals[0].answers) == 1
    last = (await house.approvals.decide(house.person("bob"), run, asked.id, "approve")).approval
    assert (last.status, [answer.by for answer in last.answers]) == ("approved", ["ann", "bob"])


async def test_a_resume_is_an_answer_too(house: House) -> None:
    """The process API's and this one's stand in the same list, and are counted together."""
    run = await house.started(approval(required=2), log("z"))
    asked = (await house.of(run)).approvals[0]
    said = {"approved": True, "approvedBy": "bob", "comment": "by mail"}
    await house.engine.services.runs.resume(house.caller, ids.text(run), said, state="ask")
    with pytest.raises(Conflict, match="bob has approved"):
        await house.approvals.decide(house.person("bob"), run, asked.id, "approve")
    await house.approvals.decide(house.person("ann"), run, asked.id, "approve")
    found = await house.of(run)
    assert found.row.status == "completed"
    assert [(answer.by, answer.decision) for answer in found.approvals[0].answers] == [
        ("bob", "approve"),
        ("ann", "approve"),
    ]


async def test_who_is_not_asked_is_refused(house: House) -> None:
    """A user that is not in the list; a key of nobody's answers for its actor."""
    run = await house.started(approval(approvers=["ann"]))
    asked = (await house.of(run)).approvals[0]
    with pytest.raises(Forbidden, match="bob"):
        await house.approvals.decide(house.person("bob"), run, asked.id, "approve")
    decided = await house.approvals.decide(house.caller, run, asked.id, "reject")
    assert (decided.approval.status, decided.approval.answers[0].by) == ("rejected", house.caller.actor)


@pytest.mark.parametrize(("more", "status"), [({}, "completed"), ({"onTimeout": "fail"}, "timed_out")])
async def test_an_answer_may_come_too_late(house: House, more: dict[str, Any], status: str) -> None:
    """Then it is refused as expired; the run was rejected, or failed, as its step says."""
    run = await house.started(approval(timeoutMs=1000, **more))
    asked = (await house.of(run)).approvals[0]
    house.clock.push(2000)
    await house.settled()
    with pytest.raises(WaitExpired, match="expired"):
        await house.approvals.decide(house.person("ann"), run, asked.id, "approve")
    found = await house.of(run)
    assert found.approvals[0].status == "expired"
    assert (found.row.status == "completed") == (status == "completed")


async def test_a_repetition_counts_once(house: House) -> None:
    """The same key hears the same answer, though that person has answered."""
    run = await house.started(approval(required=2))
    asked = (await house.of(run)).approvals[0]
    key = IdempotencyKey("k", {"decision": "approve"})
    for _ in range(2):
        found = await house.approvals.decide(house.person("ann"), run, asked.id, "approve", idempotency=key)
        assert (found.approval.status, len(found.approval.answers)) == ("pending", 1)


async def test_racing_answers_of_one_person_count_once(house: House) -> None:
    """One of them is refused, whoever is first."""
    run = await house.started(approval(required=2))
    asked = (await house.of(run)).approvals[0]
    ann = house.person("ann")
    found = await asyncio.gather(
        *(house.approvals.decide(ann, run, asked.id, "approve") for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, Conflict) for each in found) == 4
    assert len((await house.of(run)).approvals[0].answers) == 1


async def test_bad_decisions_name_their_field(house: House) -> None:
    """A word that is none, a comment that is too long, an approval that is not there."""
    run = await house.started(approval())
    asked = (await house.of(run)).approvals[0]
    with pytest.raises(Invalid, match="decision: 'yes' is not accepted; it must be one of approve, reject"):
        await house.approvals.decide(house.caller, run, asked.id, "yes")
    with pytest.raises(Invalid, match="comment: "):
        await house.approvals.decide(house.caller, run, asked.id, "approve", comment="x" * 10_001)
    with pytest.raises(NotFound, match="no approval 'nope'"):
        await house.approvals.decide(house.caller, run, "nope", "approve")


async def test_pages_of_steps_and_lines(house: House) -> None:
    """They end where the run's do, and come together to all of it."""
    run = await house.started(*(log(f"s{number}") for number in range(5)))
    whole = await house.of(run)
    first = await house.records.steps(house.caller, run, limit=3)
    assert first.after == 3
    rest = await house.records.steps(house.caller, run, after=first.after, limit=3)
    assert rest.after is None
    assert first.steps + rest.steps == whole.steps
    lines = await house.records.logs(house.caller, run, limit=4)
    more = await house.records.logs(house.caller, run, after=lines.after or 0, limit=100)
    said = [line.message for line in (*lines.lines, *more.lines)]
    assert said[:4] == ["Run started", "Step 's0' began", "s0", "Step 's0' completed"]
    assert (said[-1], more.after) == ("Run completed", None)


FAILING = {"id": "bad", "type": "code", "config": {"expression": "$error('no')"}}


async def test_a_failed_run_names_its_step_and_is_redriven(house: House) -> None:
    """The code is the API's; after the redrive it ran twice, and of what is called both attempts are told."""
    run = await house.started(log("a"), FAILING)
    found = await house.of(run)
    assert found.error is not None
    assert (found.error.code, found.error.step) == ("EXPRESSION_FAILED", "bad")
    assert (await house.retries.retry(house.caller, run)).kind == "redrive"
    again = await house.of(run)
    assert again.row.status == "failed"
    assert [(step.status, step.runs) for step in again.steps] == [("completed", 1), ("failed", 2)]
    refused = {"id": "bad", "type": "log", "config": {"message": "x", "level": "{{ input.level }}"}}
    called = await house.started(refused, run_input={"level": "loud"})
    await house.of(called)
    await house.retries.retry(house.caller, called)
    attempts = (await house.of(called)).steps[0].attempts
    assert [each.error and each.error.code for each in attempts] == ["Log.InvalidInput"] * 2


async def test_a_retry_from_a_step_is_a_fork(house: House) -> None:
    """What came before stands; from the first step it is a rerun, with another input if one is given."""
    run = await house.started(log("a"), log("b"), log("c"), run_input={"n": 1})
    forked = await house.retries.retry(house.caller, run, from_step="b")
    assert forked.kind == "fork"
    found = await house.of(forked.execution_id)
    assert found.row.status == "completed"
    assert [step.status for step in found.steps] == ["completed"] * 3
    rerun = await house.retries.retry(house.caller, run, from_step="a", run_input={"n": 2})
    assert rerun.kind == "rerun"
    assert (await house.of(rerun.execution_id)).input == {"n": 2}


async def test_a_retry_that_cannot_be_says_why(house: House) -> None:
    """An unknown step, one that never ran, one in several iterations, and an input that nothing would read."""
    loop = {"id": "each", "type": "loop", "config": {"collection": [1, 2], "steps": [log("inner")]}}
    run = await house.started(log("first"), loop, FAILING, log("last"))
    for step, why in (
        ("frist", "Did you mean 'first'"),
        ("last", "has never run"),
        ("inner", "several iterations.*'each'"),
    ):
        with pytest.raises(Invalid, match=f"from_step: .*{why}"):
            await house.retries.retry(house.caller, run, from_step=step)
    with pytest.raises(Invalid, match="input: step 'each' reads"):
        await house.retries.retry(house.caller, run, from_step="each", run_input=1)


async def test_a_retry_may_be_from_a_step_in_a_branch(house: House) -> None:
    """It ran in one place, so a fork is made there; what ran beside it is done again or stands."""
    both = {"id": "p", "type": "parallel", "config": {"branches": [[log("x"), log("y")], [log("z")]]}}
    run = await house.started(log("a"), both, log("end"))
    forked = await house.retries.retry(house.caller, run, from_step="y")
    found = await house.of(forked.execution_id)
    assert (forked.kind, found.row.status) == ("fork", "completed")
    assert [step.status for part in found.steps[1].parts for step in part.steps] == ["completed"] * 3


async def test_a_paused_run_is_suspended(house: House) -> None:
    """And says who paused it why; its approval is answered, and what follows it is still to come."""
    run = await house.started(approval(), log("z"))
    await house.engine.services.runs.pause(house.caller, ids.text(run), reason="audit")
    found = await house.of(run)
    assert [(each.kind, each.title) for each in found.waiting_for] == [("approval", "Pay?"), ("pause", "audit")]
    await house.approvals.decide(house.person("ann"), run, found.approvals[0].id, "approve")
    paused = await house.of(run)
    assert (paused.suspended, [step.status for step in paused.steps]) == (True, ["completed", "pending"])
    await house.engine.services.runs.unpause(house.caller, ids.text(run))
    assert (await house.of(run)).row.status == "completed"


async def test_a_terminated_run_has_cancelled_what_was_asked(house: House) -> None:
    """The step was cut short, and an answer comes too late; a redrive asks again, in the same approval."""
    run = await house.started(approval(), log("z"))
    asked = (await house.of(run)).approvals[0]
    await house.engine.services.runs.terminate(house.caller, ids.text(run), "no more")
    found = await house.of(run)
    assert found.error == ("CANCELLED", "no more", None)
    assert [(step.status, step.error and step.error.code) for step in found.steps] == [
        ("failed", "CANCELLED"),
        ("skipped", None),
    ]
    assert (found.approvals[0].status, found.waiting_for) == ("cancelled", ())
    with pytest.raises(WaitExpired, match="cancelled"):
        await house.approvals.decide(house.person("ann"), run, asked.id, "approve")
    await house.retries.retry(house.caller, run)
    again = await house.of(run)
    assert (len(again.approvals), again.approvals[0].status) == (1, "pending")
    decided = await house.approvals.decide(house.person("ann"), run, asked.id, "approve")
    assert decided.approval.status == "approved"
    assert (await house.of(run)).row.status == "completed"
