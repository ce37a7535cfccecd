"""Opening a database by its URL, with the writer in either place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import compare_projections, verify
from perdure.engine.database import open_store
from perdure.engine.errors import Conflict, Invalid
from perdure.engine.steps import Registry
from perdure.store.protocols import PLACES, WriterPlace

APPROVAL: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.approval", "Next": "Charge"},
        "Charge": {"Type": "Task", "Resource": "charge", "End": True},
    },
}


@pytest.mark.parametrize("writer", PLACES)
async def test_a_run_lives_through_engines_one_after_the_other(tmp_path: Path, writer: WriterPlace) -> None:
    """Triggered in one, resumed and ended in the next; what it wrote verifies, and the projections are the fold."""
    steps = Registry()

    @steps.step("charge")
    async def charge(value: Any) -> Any:
        return {"charged": value["amount"]}

    url = f"sqlite:///{tmp_path / 'runs.db'}"
    async with Engine.open(url, steps=steps, writer=writer) as engine:
        workflow = await engine.create_workflow("invoice approval", APPROVAL)
        execution = await engine.trigger(workflow.id, {"amount": 120}, process_id="INV-7")
        with pytest.raises(Conflict):
            await engine.trigger(workflow.id, {"amount": 1}, process_id="INV-7")
    async with Engine.open(url, steps=steps, writer=writer) as engine:
        assert await engine.resume("INV-7", {"approved": True}) == "restarted"
        assert await engine.resume("INV-7", {"approved": True}) == "already restarted"
        result = await engine.result(execution.id, timeout=30)
        assert (result.status, result.output) == ("completed", {"charged": 120})

    store = await open_store(url, read_only=True)
    assert (await verify(store)).breaks == []
    assert await compare_projections(store) == []
    await store.close()


@pytest.mark.parametrize(
    ("url", "writer", "says"),
    [
        ("sqlite:///runs.db", "fork", "writer: 'fork' is not accepted; it must be thread or process"),
        ("mysql://host/x", "thread", "database: 'mysql' is not supported; use sqlite:///PATH"),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_name(url: str, writer: str, says: str) -> None:
    """The field, what is wrong, and what is accepted."""
    with pytest.raises(Invalid) as refused:
        await open_store(url, writer=cast("WriterPlace", writer))

    assert str(refused.value) == says
