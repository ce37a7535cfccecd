"""The embedded engine with documents of other formats: created, checked, shown, run, approved and simulated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.errors import Invalid
from perdure.engine.steps import Registry
from perdure.engine.testing import ManualClock, definition_of, simulate
from perdure.store.memory import MemoryStore

REFUND: dict[str, Any] = {
    "name": "refund",
    "steps": [
        {"id": "ask", "type": "approval", "config": {"title": "Refund {{ input.amount }}?", "required": 2}},
        {
            "id": "if-approved",
            "type": "condition",
            "config": {"expression": "{{ steps.ask.approved }}", "then": ["pay"]},
        },
        {"id": "pay", "type": "charge", "config": {"amount": "{{ input.amount }}"}},
    ],
}
registry = Registry()


@registry.step("charge")
def charge(given: Any) -> Any:
    """Charge an amount."""
    return {"charged": given["amount"]}


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An engine with one step of its own."""
    async with Engine.open(MemoryStore(), steps=registry, clock=ManualClock()) as opened:
        yield opened


async def test_a_document_of_steps_runs_and_is_seen_as_steps(engine: Engine) -> None:
    """Two people approve it; its steps and approvals are records by the ids of the document."""
    workflow = await engine.create_workflow("refund", REFUND, format="steps")
    assert await engine.document(workflow.id, format="steps") == REFUND
    assert "States" in await engine.document(workflow.id)
    execution = await engine.trigger(workflow.id, {"amount": 5}, process_id="R-1")
    (asked,) = await engine.approvals("R-1")
    assert (asked.step_id, asked.title, asked.required) == ("ask", "Refund 5?", 2)
    await engine.decide("R-1", asked.id, "approve", by="ann")
    with pytest.raises(Exception, match="ann"):
        await engine.decide("R-1", asked.id, "approve", by="ann")
    decided = await engine.decide("R-1", asked.id, "approve", by="bob", comment="fine")
    assert [answer.by for answer in decided.answers] == ["ann", "bob"]
    assert (await engine.result(execution.id, timeout=30)).output == {"charged": 5}
    steps = await engine.steps("R-1")
    assert [(step.id, step.status) for step in steps] == [
        ("ask", "completed"),
        ("if-approved", "completed"),
        ("pay", "completed"),
    ]
    assert steps[2].output == {"charged": 5}


async def test_applied_again_it_is_the_same(engine: Engine) -> None:
    """As an object and as text; another document is the next version."""
    first = await engine.apply_workflow("refund", REFUND, format="steps")
    assert (await engine.apply_workflow("refund", json.dumps(REFUND), format="steps")) == first
    changed = {**REFUND, "steps": REFUND["steps"][2:]}
    assert (await engine.apply_workflow("refund", changed, format="steps")).version == 2
    assert await engine.document(first.id, format="steps", version=1) == REFUND


async def test_a_document_is_checked_and_nothing_is_made(engine: Engine) -> None:
    """Every problem has its place, and one that is not said to be of steps is told what to say."""
    assert await engine.validate(REFUND, format="steps") == []
    assert await engine.validate({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}) == []
    wrong = {"name": "x", "steps": [{"id": "a", "type": "chrge"}, {"id": "b", "type": "log", "config": {}}]}
    with pytest.raises(Invalid) as refused:
        await engine.validate(wrong, format="steps")
    assert [each["path"] for each in refused.value.details["errors"]] == ["/steps/0/type", "/steps/1/config"]
    for document, form in ((REFUND, "steps"), ({"nodes": [], "edges": []}, "graph")):
        with pytest.raises(Invalid, match=f"say format='{form}'"):
            await engine.create_workflow("refund", document)
    with pytest.raises(Invalid, match=r"format: 'step' is not accepted.*Did you mean 'steps'"):
        await engine.create_workflow("refund", REFUND, format="step")  # type: ignore[arg-type]
    assert await engine.workflows() == []


async def test_a_schedule_in_a_text_is_made(engine: Engine) -> None:
    """A document that is YAML starts by itself as an object does."""
    text = "name: nightly\ntrigger: {type: schedule, cron: 0 3 * * *}\nsteps:\n- {id: a, type: charge, config: {}}\n"
    workflow = await engine.create_workflow("nightly", text, format="steps")
    page = await engine.document(workflow.id, format="steps")
    assert page["trigger"]["cron"] == "0 3 * * *"
    with pytest.raises(Invalid, match="/trigger/type: 'webhook' is not there yet"):
        await engine.create_workflow("hook", text.replace("schedule, cron: 0 3 * * *", "webhook"), format="steps")


def test_a_document_is_simulated_by_the_ids_of_its_steps() -> None:
    """With the steps of one's own, in virtual time."""
    document = {**REFUND, "steps": [{**REFUND["steps"][0], "config": {"title": "?"}}, *REFUND["steps"][1:]]}
    definition = definition_of(document, "steps", steps=registry)
    done = simulate(definition, {"amount": 5}, tasks={"ask": {"approved": True}, "pay": {"charged": 5}})
    assert (done.status, done.output) == ("SUCCEEDED", {"charged": 5})
    with pytest.raises(Invalid, match="no type of step 'charge'"):
        definition_of(document, "steps")
