"""What a run holds at once has a bound: the sum of its live values, however small each of them is."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.commands import Recover
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Decision, Facts, Need
from perdure.engine.core.effects import RunTask, SetTimer
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


def test_of_results_that_are_too_large_together_only_the_first_are_asked_for() -> None:
    """Once those that are loaded are too large for the one result of a fork it fails, whatever the others are."""
    definition, given = copying(20, {**CALL, "OutputPath": "$"})
    run = Checked(definition, given)
    for index in range(19):
        run.when(succeeded("A", PAD + str(index), scope=f"2.{index}"))
    state, payloads = run.state, run._payloads
    command = succeeded("A", PAD, scope="2.19")(state)
    facts = replace(run._facts(), payload_max=LIMIT)
    first = [step for step in run.events if isinstance(step.event, e.TaskSucceeded)]

    def decided(count: int) -> Any:
        gone = {each.seq for each in first[count:]}
        shown = {seq: payload for seq, payload in payloads.items() if seq not in gone}
        return decide(state, command, replace(facts, payloads=shown))

    need = decided(3)
    assert isinstance(need, Need)
    assert need.seqs == tuple(each.seq for each in first[3:])
    enough = decided(13)
    assert isinstance(enough, Decision)
    assert enough.steps[-1].state.error == "States.DataLimitExceeded"
    everything = decided(19)
    assert [step.recorded for step in everything.steps] == [step.recorded for step in enough.steps]


def test_a_wide_run_is_taken_up_in_portions() -> None:
    """Each step is called once again, and what was ready and the timers come with the last portion."""
    run = Held(*copying(9, {**CALL, "TimeoutSeconds": 60}))
    assert run.state.active == 9
    called, after, portions = list[str](), None, 0
    while True:
        run.when(Recover(died=True, after=after, bytes_max=3 * len(PAD)))
        portions += 1
        assert sum(isinstance(effect, SetTimer) for effect in run.effects) == (run.answer is None)
        called += [effect.scope for effect in run.effects if isinstance(effect, RunTask)]
        if run.answer is None:
            break
        after = run.answer
    assert called == [f"2.{index}" for index in range(9)]
    assert portions == 5
    run.when(Recover(died=False, bytes_max=10**9))
    assert run.answer is None
