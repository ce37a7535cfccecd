"""`redrive`, `rerun` and `fork`, in both modes: straight to a database, and through a server on it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Mode, Perdure
from tests.cli.test_changing import actor, event


@pytest.mark.parametrize("reason", [(), ("--reason", "the supplier is back")])
def test_a_run_that_was_terminated_is_redriven(mode: Mode, perdure: Perdure, reason: tuple[str, ...]) -> None:
    """It waits again, and the log says who let it go on, and why."""
    perdure("terminate", "INV-7")
    assert perdure("redrive", "INV-7", *reason).stdout == "redriven\n"
    assert perdure.status("INV-7") == "waiting"
    told = event(perdure, "INV-7", "ExecutionRedriven")
    assert told["actor"] == actor(mode, perdure)
    assert (told["payload"] or {}).get("reason") == (reason[1] if reason else None)
    assert "only one that failed" in perdure("redrive", "INV-7", exits=1).stderr
    assert "completed: nothing of it is left" in perdure("redrive", "INV-6", exits=1).stderr


def test_a_run_is_rerun_with_another_input(mode: Mode, perdure: Perdure) -> None:
    """The new run's id is printed; what it says of itself names the first one."""
    first = perdure.json("show", "INV-6")["execution_id"]
    made = perdure("rerun", "INV-6", "--input", '{"amount": 500}', "--new-process-id", "INV-6b").stdout.strip()
    shown = perdure.json("show", made)
    assert (shown["status"], shown["process_id"], shown["input"]) == ("waiting", "INV-6b", {"amount": 500})
    assert shown["origin_execution_id"] == first
    assert perdure.json("show", "INV-6")["made_execution_ids"] == [shown["execution_id"]]
    assert f"made from it  {shown['execution_id']}" in perdure("show", "INV-6").stdout
    assert event(perdure, made, "ExecutionStarted")["actor"] == actor(mode, perdure)
    same = perdure.json("rerun", "INV-6", "--version", "latest", "--reason", "again")
    assert perdure.until(same["execution_id"], "completed")["input"] == {"amount": 50}
    assert "it belongs to execution" in perdure("rerun", "INV-6", "--new-process-id", "INV-7", exits=1).stderr
    assert "'latest'" in perdure("rerun", "INV-6", "--version", "newest", exits=2).stderr


def test_a_run_is_forked_at_an_event(mode: Mode, perdure: Perdure) -> None:
    """It has the history up to there, and its own from there on; an end cannot be forked."""
    made = perdure("fork", "INV-7", "--at", "1", "--input", '{"amount": 90}', "--reason", "what if").stdout.strip()
    assert perdure.until(made, "completed")["origin_execution_id"] == perdure.json("show", "INV-7")["execution_id"]
    assert event(perdure, made, "ExecutionForked")["payload"] == {"input": {"amount": 90}, "reason": "what if"}
    again = perdure.json("fork", "INV-7", "--at", "3", "--new-process-id", "INV-7f")
    assert perdure.status(again["process_id"]) == "waiting"
    assert "the last event that works is" in perdure("fork", "INV-6", "--at", "4", exits=1).stderr
    assert "has 3 events so far" in perdure("fork", "INV-7", "--at", "9", exits=1).stderr
    assert perdure("verify").stdout
