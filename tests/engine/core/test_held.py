"""What a run holds at once has a bound: the sum of its live values, however small each of them is."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.decision import Facts
from perdure.engine.core.live import live_seqs
from perdure.engine.language.evaluate.sizes import size_of
from perdure.engine.testing import succeeded

from .checked import Checked

KIB = 1024
LIMIT = 100 * KIB
CAUSE = "would make the run hold more than {} bytes of JSON text at once"
PAD = "x" * (9 * KIB)


def copying(count: int, step: dict[str, Any], **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Map whose selector gives each iteration a copy of the whole, and its input."""
    processor = {"StartAt": "A", "States": {"A": {"End": True, **step}}}
    state = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemSelector": {"all.$": "$.pad", "n.$": "$$.Map.Item.Index"},
        "ItemProcessor": processor,
        "End": True,
        **more,
    }
    return {"StartAt": "M", "States": {"M": state}}, {"items": list(range(count)), "pad": PAD}


class Held(Checked):
    """A checked run that may hold LIMIT bytes, counted as a driver does that never lets go of a size."""

    def _facts(self) -> Facts:
        known = {seq: payload for seq, payload in self._payloads.items() if payload and seq <= self.state.seq}
        sizes = {seq: size_of(payload) for seq, payload in known.items()}
        total = sum(sizes.values())
        return replace(super()._facts(), payload_sizes=sizes, payload_bytes=total, run_payloads_max=LIMIT)

    @property
    def held(self) -> int:
        """What its live values come to."""
        return sum(size_of(self._payloads[seq]) for seq in live_seqs(self.state) if self._payloads.get(seq))


CALL = {"Type": "Task", "Resource": "charge"}
WAIT = {"Type": "Task", "Resource": "wait_for_resume"}


@pytest.mark.parametrize("step", [CALL, WAIT, {"Type": "Wait", "Seconds": 9}])
def test_a_selector_that_copies_comes_to_the_bound(step: dict[str, Any]) -> None:
    """The Map fails where the next copy would be too much, its iterations are given up, and it may be caught."""
    run = Held(*copying(50, step))
    run.then_is("failed", error="States.DataLimitExceeded")
    assert CAUSE.format(LIMIT) in run.value(run.state.cause)
    assert 9 <= sum(isinstance(each.event, e.IterationStarted) for each in run.events) <= 11
    run.check()
    caught = Held(
        *copying(50, step, Catch=[{"ErrorEquals": ["States.DataLimitExceeded"], "ResultPath": None, "Next": "M"}])
    )
    assert caught.state.is_over or caught.held <= LIMIT


def test_what_is_not_live_any_more_does_not_count() -> None:
    """A run that makes ten times as much, one value after another, goes on to its end."""
    definition, given = copying(50, {"Type": "Pass", "Parameters": {"n": 1}}, MaxConcurrency=1)
    run = Held(definition, given).then_is("completed")
    assert sum(size_of(each.payload) for each in run.events if each.payload) > 4 * LIMIT
    states = {f"S{n}": {"Type": "Pass", "Parameters": {"p.$": "$.p", "n": n}, "Next": f"S{n + 1}"} for n in range(50)}
    Held({"StartAt": "S0", "States": {**states, "S50": {"Type": "Succeed"}}}, {"p": PAD}).then_is("completed")


def test_variables_and_results_count_as_well() -> None:
    """Whatever holds the values: variables that are assigned, results that come from outside."""
    states: dict[str, Any] = {
        f"S{n}": {"Type": "Pass", "Assign": {f"v{n}.$": "States.Array($.p)"}, "Next": f"S{n + 1}"} for n in range(20)
    }
    run = Held({"StartAt": "S0", "States": {**states, "S20": {"Type": "Succeed"}}}, {"p": PAD})
    run.then_is("failed", error="States.DataLimitExceeded")
    calls = {f"S{n}": {**CALL, "Assign": {f"v{n}.$": "$"}, "Next": f"S{n + 1}"} for n in range(20)}
    run = Held({"StartAt": "S0", "States": {**calls, "S20": {"Type": "Succeed"}}}, {})
    answered = 0
    while not run.state.is_over:
        run.when(succeeded(f"S{answered}", [answered, PAD]))
        answered += 1
        assert run.held <= LIMIT
    run.then_is("failed", error="States.DataLimitExceeded")
    assert 4 < answered < 12
    assert isinstance(run.events[-2].event, e.TaskSucceeded)  # what came is in the log all the same
    run.check()
