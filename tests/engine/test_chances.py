"""Second chances of real runs: through the engine, over a crash, beside parents and children, and for an auditor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import verify
from perdure.engine.core import ids
from perdure.engine.core.chance_events import ExecutionRedriven
from perdure.engine.core.events import ExecutionStarted, Recorded
from perdure.engine.errors import Conflict, Invalid, NotFound
from perdure.engine.services import chances
from perdure.engine.services.chances import RunLineage
from perdure.engine.steps import Registry
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore
from tests.present import present

ORDER = {
    "StartAt": "Charge",
    "States": {
        "Charge": {"Type": "Task", "Resource": "charge", "Next": "Ship"},
        "Ship": {"Type": "Task", "Resource": "ship", "End": True},
    },
}
ASK = {
    "StartAt": "Ask",
    "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 60, "End": True}},
}
MANY = {
    "StartAt": "Each",
    "States": {
        "Each": {
            "Type": "Map",
            "MaxConcurrency": 3,
            "ItemProcessor": {
                "StartAt": "Ship",
                "States": {"Ship": {"Type": "Task", "Resource": "ship", "End": True}},
            },
            "End": True,
        }
    },
}


class Shop:
    """Steps that note what they were called with, and fail while something is out of order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.broken: set[Any] = set()
        self.registry = Registry()
        self.registry.step("charge")(self._charge)
        self.registry.step("ship")(self._ship)

    async def _charge(self, what: Any) -> Any:
        self.calls.append(("charge", what))
        return {"charged": what}

    async def _ship(self, what: Any) -> Any:
        self.calls.append(("ship", what))
        if "ship" in self.broken or (isinstance(what, int) and what in self.broken):
            raise RuntimeError("no lorry")
        return {"shipped": what}

    def count(self, step: str) -> int:
        return sum(name == step for name, _ in self.calls)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def engine(shop: Shop) -> AsyncIterator[Engine]:
    async with Engine.open(MemoryStore(), steps=shop.registry, clock=ManualClock()) as opened:
        yield opened


async def events(engine: Engine, execution_id: str) -> list[Recorded]:
    return await engine.services.queries.events(ids.parse(execution_id))


async def lineage(engine: Engine, name: str) -> RunLineage:
    return await engine.services.chances.lineage(await engine._caller(), name)


async def failed_order(engine: Engine, shop: Shop, name: str = "ORD-1") -> str:
    """An order that was charged and could not be shipped."""
    workflow = await engine.create_workflow(f"order {name}", ORDER)
    shop.broken.add("ship")
    run = await engine.trigger(workflow.id, {"amount": 120}, process_id=name)
    assert (await engine.result(run.id, timeout=10)).status == "failed"
    shop.broken.clear()
    return run.id


async def test_a_failed_run_is_redriven_and_its_rows_say_so(engine: Engine, shop: Shop) -> None:
    """It is completed in the end, by one more call of the step that failed; nothing of the failure is shown."""
    run = await failed_order(engine, shop)
    await engine.redrive("ORD-1", reason="a lorry was bought")
    result = await engine.result(run, timeout=10)
    assert (result.status, result.output) == ("completed", {"shipped": {"charged": {"amount": 120}}})
    assert (shop.count("charge"), shop.count("ship")) == (1, 2)
    (redriven,) = [r for r in await events(engine, run) if isinstance(r.event, ExecutionRedriven)]
    assert (redriven.payload, redriven.actor.split(":")[0]) == ({"reason": "a lorry was bought"}, "embedded")
    assert (await lineage(engine, "ORD-1")).redrives == 1
    assert not (await verify(engine.store)).breaks


async def test_the_row_of_a_redriven_run_is_that_of_a_run_that_lives(engine: Engine) -> None:
    """It has no end and no error, and its wait is open: under another id than the one that had expired."""
    workflow = await engine.create_workflow("ask", ASK)
    run = await engine.trigger(workflow.id, process_id="ASK-1")
    await engine.terminate("ASK-1", "entered twice")
    await engine.redrive("ASK-1")
    row = present(await engine.store.execution(ids.parse(run.id)))
    assert (row.status, row.ended_at, row.error, row.cause_ref, row.output_ref) == ("waiting", None, None, None, None)
    first, second = await engine.store.waits_of(row.execution_id)
    assert (first.outcome, second.outcome) == ("cancelled", None)
    assert [timer.due_at for timer in await engine.store.timers_of(row.execution_id)] == [second.due_at]
    assert await engine.resume("ASK-1", {"ok": 1}) == "restarted"
    assert not (await verify(engine.store)).breaks


async def test_a_redrive_survives_a_restart(shop: Shop, tmp_path: Path) -> None:
    """What the run goes on with is in its log: another process, which never saw it live, redrives it."""
    database = f"sqlite:///{tmp_path / 'runs.db'}"
    async with Engine.open(database, steps=shop.registry) as first:
        workflow = await first.create_workflow("many", MANY)
        shop.broken |= {3}
        run = await first.trigger(workflow.id, list(range(6)), process_id="MANY-1")
        assert (await first.result(run.id, timeout=10)).status == "failed"
    shop.broken.clear()
    done = {what for _, what in shop.calls} - {3}
    async with Engine.open(database, steps=shop.registry) as second:
        await second.redrive("MANY-1")
        result = await second.result(run.id, timeout=10)
        assert result.output == [{"shipped": number} for number in range(6)]
        assert not (await verify(second.store)).breaks
    succeeded = [r for _, r in shop.calls]
    assert all(succeeded.count(number) <= 2 for number in done)


async def test_what_cannot_be_redriven_is_refused(engine: Engine, shop: Shop) -> None:
    """A run that is completed or lives, one of an archived workflow, one that is not there, and too long a reason."""
    run = await failed_order(engine, shop)
    await engine.redrive(run)
    await engine.result(run, timeout=10)
    with pytest.raises(Conflict, match="completed: nothing of it is left"):
        await engine.redrive(run)
    with pytest.raises(NotFound):
        await engine.redrive("ORD-9")
    with pytest.raises(Invalid, match="reason: it must have at most 1,024 characters"):
        await engine.redrive(run, reason="x" * 1025)
    other = await failed_order(engine, shop, "ORD-2")
    row = present(await engine.store.execution(ids.parse(other)))
    await engine.services.workflows.archive(await engine._caller(), row.workflow_id)
    with pytest.raises(Conflict, match="is archived"):
        await engine.redrive(other)
    with pytest.raises(Conflict, match="is archived"):
        await engine.rerun(other)
    with pytest.raises(Conflict, match="is archived"):
        await engine.fork(other, 2)


async def test_a_repeated_call_under_a_key_is_done_once(engine: Engine, shop: Shop) -> None:
    """A second redrive is a conflict without a key, and the same answer with it; so are a rerun and a fork."""
    run = await failed_order(engine, shop)
    for _ in range(2):
        await engine.redrive(run, idempotency_key="once")
    await engine.result(run, timeout=10)
    reruns = {(await engine.rerun(run, idempotency_key="again")).id for _ in range(2)}
    forks = {(await engine.fork(run, 3, idempotency_key="fork")).id for _ in range(2)}
    assert (len(reruns), len(forks)) == (1, 1)
    with pytest.raises(Conflict, match="another request"):
        await engine.fork(run, 2, idempotency_key="fork")


async def test_a_rerun_is_linked_both_ways(engine: Engine, shop: Shop) -> None:
    """It has the input of the first run or an edited one, the same version or the latest, and says where it is from."""
    run = await failed_order(engine, shop)
    row = present(await engine.store.execution(ids.parse(run)))
    changed = {**ORDER, "StartAt": "Ship"}
    changed["States"] = {"Ship": ORDER["States"]["Ship"]}  # type: ignore[index]
    await engine.services.workflows.change(
        await engine._caller(), row.workflow_id, definition=changed, is_published=True
    )
    same = await engine.rerun("ORD-1", reason="again")
    edited = await engine.rerun("ORD-1", run_input={"amount": 90}, version="latest", new_process_id="ORD-1b")
    assert (await engine.result(same.id, timeout=10)).output == {"shipped": {"charged": {"amount": 120}}}
    assert (await engine.result(edited.id, timeout=10)).output == {"shipped": {"amount": 90}}
    first = (await events(engine, same.id))[0]
    assert isinstance(first.event, ExecutionStarted)
    origin = present(first.event.origin)
    stored = (await engine.store.events_at(ids.parse(run), [1]))[0].row
    assert (origin.kind, origin.execution, origin.seq, origin.hash) == ("rerun", run, 1, stored.hash.hex())
    assert present(first.payload)["reason"] == "again"
    made = await lineage(engine, "ORD-1")
    assert {ids.text(row.execution_id) for row in made.reruns} == {same.id, edited.id}
    assert present((await lineage(engine, "ORD-1b")).origin).execution == run
    with pytest.raises(Conflict, match="process_id: it belongs to execution"):
        await engine.rerun("ORD-1", new_process_id="ORD-1b")
    assert not (await verify(engine.store)).breaks


async def test_a_fork_calls_no_step_of_the_part_that_it_took_over(engine: Engine, shop: Shop) -> None:
    """The order is charged once, whatever becomes of it; and an auditor can follow where the fork comes from."""
    run = await failed_order(engine, shop)
    fork = await engine.fork("ORD-1", 3, state_input={"charged": "by hand"}, reason="what if", new_process_id="ORD-1f")
    assert (await engine.result(fork.id, timeout=10)).output == {"shipped": {"charged": "by hand"}}
    assert shop.count("charge") == 1
    made = await lineage(engine, run)
    assert [ids.text(row.execution_id) for row in made.forks] == [fork.id]
    assert not (await verify(engine.store)).breaks


async def test_what_cannot_be_forked_is_refused(engine: Engine, shop: Shop) -> None:
    """An event that is not there yet, an end, and more events or bytes than a fork takes over."""
    run = await failed_order(engine, shop)
    with pytest.raises(Invalid, match="seq: the execution has 6 events so far"):
        await engine.fork(run, 7)
    with pytest.raises(Conflict, match="the last event that works is 5"):
        await engine.fork(run, 6)
    with pytest.raises(Invalid, match="seq: a fork takes over at most 2,000 events"):
        await engine.fork(run, 2001)
    with patch.object(chances, "FORK_BYTES_MAX", 10), pytest.raises(Invalid, match="at most 10 bytes of payloads"):
        await engine.fork(run, 5)


async def test_a_fork_whose_origin_is_another_one_is_found(engine: Engine, shop: Shop) -> None:
    """By the hash that its first event names; and so is one whose events are not the origin's."""
    run = await failed_order(engine, shop)
    fork = await engine.fork(run, 3)
    await engine.result(fork.id, timeout=10)
    events_at = engine.store.events_at
    stream_id = ids.parse(run)

    async def other_hash(stream: bytes, seqs: Any) -> Any:
        found = await events_at(stream, seqs)
        return (
            [item._replace(row=item.row._replace(hash=bytes(32))) for item in found] if stream == stream_id else found
        )

    async def other_event(stream: bytes, seqs: Any) -> Any:
        found = await events_at(stream, seqs)
        if stream != stream_id:
            return found
        changed = [item.row._replace(data=item.row.data.replace('"Ship"', '"Shop"')) for item in found]
        return [item._replace(row=row) for item, row in zip(found, changed, strict=True)]

    for changed, reason in ((other_hash, "is another one"), (other_event, "it is not event 3 of its origin")):
        with patch.object(engine.store, "events_at", changed):
            assert any(reason in found.reason for found in (await verify(engine.store)).breaks), reason
