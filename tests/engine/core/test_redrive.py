"""Redrives: a run that did not end well goes on where it failed, and nothing that succeeded is done again."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as given_data
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.effects import CancelTask, RunTask, SetTimer, TellParent
from perdure.engine.core.evolve import replay
from perdure.engine.core.settings import VersionSettings
from perdure.engine.core.state import InTask, InWait
from perdure.engine.history import states_history
from perdure.engine.log.codec import encode_json
from perdure.engine.testing import due, failed, redriven, resumed, succeeded, terminated

from . import generated
from .checked import Checked, given, wait_id
from .generated import MARK
from .test_properties import BREATH, go_on, send

STEP = {"Type": "Task", "Resource": "charge"}
ASK = {"Type": "Task", "Resource": "wait_for_resume"}
RUNS = int(os.environ.get("PERDURE_RUNS", "60"))


def machine(**states: dict[str, Any]) -> dict[str, Any]:
    """A definition of these states, of which each leads to the next one, unless it says where it leads."""
    names = list(states)
    for name, following in zip(names, [*names[1:], None], strict=True):
        way = {"Next": following} if following else {"End": True}
        if not {"Next", "End"} & states[name].keys() and states[name]["Type"] not in {"Fail", "Succeed", "Choice"}:
            states[name] |= way
    return {"StartAt": names[0], "States": states}


def parallel(*branches: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"Type": "Parallel", "Branches": list(branches), **fields}


def each(inner: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"Type": "Map", "ItemProcessor": inner, **fields}


def keys(run: Checked) -> list[str]:
    return [effect.idempotency_key for effect in run.duties if isinstance(effect, RunTask)]


# --- one place --------------------------------------------------------------------------------------------------------


def test_a_failed_step_is_called_again_and_the_run_goes_on():
    """What succeeded before is not called again, and the end is told once more."""
    run = given(machine(A={**STEP}, B={**STEP}), {"n": 1})
    run.when(succeeded("A", {"a": 1}), failed("B", "Down", "no network")).then_is("failed", error="Down")
    run.when(redriven("mended")).then("ExecutionRedriven", "TaskScheduled").then_answers("redriven")
    assert (run.state.status, run.state.error_ref, run.state.cause, run.state.ended_at) == ("running", None, None, None)
    assert run.events[-2].payload == {"reason": "mended"}
    run.when(succeeded("B", {"b": 2})).then("TaskSucceeded", "ExecutionSucceeded").then_is("completed", output={"b": 2})
    assert Counter(r.event.state for r in run.events if isinstance(r.event, e.TaskScheduled)) == {"A": 1, "B": 2}


def test_a_step_that_has_failed_is_called_under_another_key_and_one_in_flight_under_the_same():
    """Nobody knows what came of a call that was in flight, or did not answer in time: it may have been done."""
    known = given(machine(A={**STEP})).when(failed("A", "Down"), redriven())
    assert len(set(keys(known))) == 2
    flying = given(machine(A={**STEP})).when(terminated(), redriven())
    assert len(keys(flying)) == 2
    assert len(set(keys(flying))) == 1
    late = given(machine(A={**STEP, "TimeoutSeconds": 5})).after(5000).when(due(), redriven())
    assert len(set(keys(late))) == 1


def test_what_is_called_under_the_same_key_has_the_same_parameters():
    """Those that were drawn by chance are not drawn again; those that tell of the attempt are another call."""
    drawn = {**STEP, "Parameters": {"id.$": "States.UUID()"}}
    run = given(machine(A=drawn)).when(terminated(), redriven())
    first, second = [effect for effect in run.duties if isinstance(effect, RunTask)]
    assert (first.idempotency_key, first.parameters) == (second.idempotency_key, second.parameters)
    told = {**STEP, "Parameters": {"redrives.$": "$$.Execution.RedriveCount"}}
    run = given(machine(A=told)).when(terminated(), redriven())
    first, second = [effect for effect in run.duties if isinstance(effect, RunTask)]
    assert (first.parameters, second.parameters) == ({"redrives": 0}, {"redrives": 1})
    assert first.idempotency_key != second.idempotency_key


def test_attempts_are_counted_anew():
    """A redrive has all the attempts of Retry that the first run had (AWS: the counts are reset to 0)."""
    run = given(machine(A={**STEP, "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}]}))
    for _ in range(2):
        run.when(failed("A", "Down")).then("TaskFailed").after(1000).when(due(), failed("A", "Down"))
        run.then("TaskScheduled", "TaskFailed", "ExecutionFailed").when(redriven())
    assert run.state.redrives == 2
    assert run.event(-1).attempt == 0


def test_the_time_limit_of_the_run_is_counted_anew():
    """It timed out once; from the redrive on it has all of its time again."""
    run = given({**machine(A={**STEP}), "TimeoutSeconds": 10}).after(10_000).when(c.FireTimer(1)).then_is("timed_out")
    run.after(1_000_000).when(redriven())
    assert run.event(-2).due_at == run.now + 10_000
    assert SetTimer(run.now + 10_000) in run.effects
    run.after(9_999).when(c.FireTimer(1)).then_nothing().after(1).when(c.FireTimer(1)).then("ExecutionTimedOut")


def test_a_wait_that_had_expired_opens_anew():
    """Under another id: an answer to the old wait is still told that it came too late."""
    run = (
        given(machine(Ask={**ASK, "TimeoutSeconds": 5})).after(5000).when(due()).then("WaitExpired", "ExecutionFailed")
    )
    old = run.wait
    run.when(redriven()).then("ExecutionRedriven", "WaitOpened")
    assert run.wait != old
    run.when(resumed(wait=old)).then_refuses("WAIT_EXPIRED")
    run.when(resumed({"ok": 1}, wait=run.wait)).then_is("completed", output={"ok": 1})


def test_a_result_of_a_call_before_the_redrive_is_ignored():
    """Its call was given up; what counts is the call that was made since."""
    run = given(machine(A={**STEP}))
    late = succeeded("A", {"late": 1})(run.state)
    run.when(terminated(), redriven(), late).then(
        "ExecutionTerminated", "ExecutionRedriven", "TaskScheduled", "ResultIgnored"
    )
    run.when(succeeded("A", {"ok": 1})).then_is("completed", output={"ok": 1})


def test_a_failed_fail_state_fails_again():
    """It is the definition that says so; AWS enters and fails it again, too."""
    run = given(machine(A={"Type": "Fail", "Error": "Never"})).when(redriven())
    run.then("ExecutionRedriven", "ExecutionFailed").then_is("failed", error="Never")
    run.when(redriven()).then("ExecutionRedriven", "ExecutionFailed").check()


def test_a_catch_whose_output_cannot_be_made_leads_back_to_its_state():
    """Its state has failed, though it was caught; so that is where the run goes on."""
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.a.b", "Next": "C"}]
    run = given(machine(A={**STEP, "Catch": catch, "Next": "C"}, C={"Type": "Succeed"}), {"a": []})
    run.when(failed("A", "Down")).then_is("failed")
    run.when(redriven(), succeeded("A", 1)).then_is("completed", output=1)


def test_a_parent_hears_of_the_end_once_more_and_nobody_ends_a_redriven_child():
    """A parent that was not told yet waits for the redriven run; without one that lives by itself."""
    parent = e.Parent(wait_id(77), "", "P", 3, 1, 0, "sync:2", is_awaited=True)
    run = given(machine(A={**STEP}), None, None, parent).when(failed("A", "Down"), redriven(), c.Recover(died=False))
    assert "FollowParent" not in {type(effect).__name__ for effect in run.effects}
    run.when(succeeded("A", 1)).then_effects(TellParent(parent))


def test_a_run_with_limits_queues_before_it_goes_on():
    """Its places went with its end, so it has a turn like every other run; its time limits begin with that."""
    turn = e.RunLimit("workflow", "f" * 64)
    source = {**machine(A={**STEP}), "TimeoutSeconds": 10}
    run = given(source, limits=(turn,), settings=VersionSettings(timeout_ms=5_000)).when(c.Admit(1, (3,)))
    run.when(failed("A", "Down"), redriven()).then(
        "TaskFailed", "ExecutionFailed", "ExecutionRedriven", "ExecutionQueued"
    ).then_is("pending")
    assert not run.state.timers
    run.after(60_000).when(c.Admit(run.state.seq, (4,))).then("ExecutionAdmitted", "TaskScheduled")
    run.when(succeeded("A", 1)).then_is("completed", output=1).check()


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_run_that_lives_or_is_completed_is_not_redriven():
    """The refusal says what can be done, and is recorded."""
    run = given(machine(A={**STEP})).when(redriven()).then("CommandRefused").then_refuses("CONFLICT")
    assert run.refused.message == (
        "the execution is running: only one that failed, timed out or was terminated can be redriven"
    )
    run.when(succeeded("A"), redriven()).then_refuses("CONFLICT")
    assert "rerun it" in run.refused.message
    assert run.refused.details == {"status": "completed"}


def test_a_redriven_run_whose_quota_is_used_up_is_paused_until_an_operator_lifts_it():
    """A redrive lifts no quota: the run has gone on and enters nothing, and says what is used up."""
    run = given(machine(A={**STEP})).when(failed("A", "Down"))
    facts = run._facts
    with patch.object(run, "_facts", lambda: replace(facts(), events_max=4)):
        run.when(redriven()).then_is("running")
        assert run.state.pause is not None
        assert (run.state.pause.quota, run.calls) == ("events", [])
        run.when(c.UnpauseExecution())
        assert len([effect for effect in run.effects if isinstance(effect, RunTask)]) == 1
    run.when(succeeded("A", 1)).then_is("completed").check()


def test_a_quarantined_run_that_was_terminated_can_be_redriven():
    """The quarantine ended with the run: what raised is decided once more."""
    run = given(machine(A={**STEP})).when(c.Quarantine("Resume", "KeyError"), terminated(), redriven())
    assert not run.state.is_quarantined
    run.when(succeeded("A", 1)).then_is("completed", output=1)


# --- Parallel and Map -------------------------------------------------------------------------------------------------


def test_only_the_failed_branch_and_those_that_were_aborted_go_on():
    """What a branch gave stands: its step is not called again."""
    both = parallel(machine(A={**STEP}), machine(B={**STEP}), machine(C={**STEP}))
    run = given(machine(Both=both)).when(succeeded("A", "a"), failed("B", "Down"))
    run.then("TaskSucceeded", "TaskFailed", "StateFailed", "ExecutionFailed")
    assert any(isinstance(effect, CancelTask) for effect in run.effects)
    run.when(redriven()).then("ExecutionRedriven", "TaskScheduled", "TaskScheduled")
    assert [run.event(at).state for at in (-2, -1)] == ["B", "C"]
    run.when(succeeded("C", "c"), succeeded("B", "b")).then_is("completed", output=["a", "b", "c"]).check()


def test_iterations_that_failed_go_on_as_far_as_there_is_room():
    """Those that a Map tolerates, too, as AWS does; and never more at once than it says."""
    run = given(machine(M=each(machine(A={**STEP}), MaxConcurrency=2, ToleratedFailureCount=2)), [0, 1, 2, 3, 4])
    for scope in ("2.0", "2.1", "2.2"):
        run.when(failed("A", "Down", scope=scope))
    run.then_is("failed").when(redriven())
    run.then(*("ExecutionRedriven", *("IterationRedriven",) * 2, *("TaskScheduled",) * 2))
    for index in range(4):
        run.when(succeeded("A", index, scope=f"2.{index}"))
    assert "2.4" in run.state.frames
    run.when(succeeded("A", 4, scope="2.4")).then_is("completed", output=[0, 1, 2, 3, 4]).check()


def redriven_in_depth() -> tuple[Checked, list[RunTask], dict[Any, str]]:
    """A Map in a Parallel in a Map, failed and redriven; the calls that are made then, and the inner scopes by item."""
    inner = each(machine(A={**STEP}), ItemsPath="$.items")
    outer = each(machine(P=parallel(machine(I=inner), machine(B={**STEP}))))
    run = given(machine(M=outer), [{"items": [0, 1]}, {"items": [2]}])
    scopes = {
        run.value(frame.input) if not isinstance(run.value(frame.input), dict) else None: scope
        for scope, frame in run.state.frames.items()
        if frame.state == "A"
    }
    first_b = min(scope for scope, frame in run.state.frames.items() if frame.state == "B")
    run.when(succeeded("A", 10, scope=scopes[0]), succeeded("B", "b", scope=first_b))
    run.when(failed("A", "Down", scope=scopes[1])).then_is("failed").when(redriven())
    return run, [effect for effect in run.effects if isinstance(effect, RunTask)], scopes


def test_a_map_in_a_parallel_in_a_map_goes_on_where_it_failed():
    """At any depth: what succeeded beside it, and around it, stands."""
    run, calls, scopes = redriven_in_depth()
    assert len(calls) == 3  # the failed one, the other item's, and the other item's branch B
    for call in calls:
        run.when(succeeded(call.state, call.scope, scope=call.scope))
    run.then_is("completed")
    output = run.value(run.state.output)
    assert output[0] == [[10, scopes[1]], "b"]
    assert len(output[1]) == 2
    run.check()


def test_what_a_catch_has_answered_does_not_go_on():
    """A redrive goes on where the run failed, not where it was saved before."""
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Late"}]
    both = parallel(machine(A={**STEP}), machine(B={**STEP}), Catch=catch, Next="Late")
    run = given(machine(Both=both, Late={**STEP})).when(failed("A", "Down"))
    assert not run.state.fallen
    run.when(failed("Late", "Down"), redriven())
    assert [effect.state for effect in run.effects if isinstance(effect, RunTask)] == ["Late"]


def test_outputs_that_are_too_large_together_are_made_anew():
    """To put the same ones together again could only fail again (AWS: all branches are rerun)."""
    half = "x" * 600_000
    run = given(machine(Both=parallel(machine(A={**STEP}), machine(B={**STEP}))))
    run.when(succeeded("A", half), succeeded("B", half)).then_is("failed", error="States.DataLimitExceeded")
    run.when(redriven()).then("ExecutionRedriven", "BranchesStarted", "TaskScheduled", "TaskScheduled")
    assert len(set(keys(run))) == 4
    run.when(succeeded("A", 1), succeeded("B", 2)).then_is("completed", output=[1, 2]).check()


def test_a_fork_that_cannot_be_left_is_left_again_and_nothing_below_is_called():
    """Its branches have given all they had."""
    both = parallel(machine(A={**STEP}), ResultPath="$.a.b")
    run = given(machine(Both=both), {"a": []}).when(succeeded("A", 1)).then_is("failed")
    run.when(redriven()).then("ExecutionRedriven", "StateExited", "ExecutionFailed").check()


# --- history ----------------------------------------------------------------------------------------------------------


def test_the_history_tells_of_a_state_that_a_redriven_one_leads_back_to():
    """A Parallel that went on after a redrive and is come to again, by its Catch or in a loop, is entered again."""
    catch = [{"ErrorEquals": ["Down"], "Next": "Both"}]
    both = parallel(machine(A={**STEP}), machine(B={**STEP}), Catch=catch)
    run = given(machine(Both=both)).when(terminated(), redriven(), failed("A", "Down"))
    run.then_is("running").check()
    names = [event["type"] for event in states_history(run.events)]
    assert names.count("ParallelStateEntered") == 2


def test_the_history_tells_of_a_redrive_as_aws_does():
    """A state that was entered and not left is not entered again; its step is scheduled once more."""
    run = given(machine(A={**STEP})).when(failed("A", "Down"), redriven(), succeeded("A", 1))
    history = states_history(run.events)
    assert [event["type"] for event in history] == [
        *("ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskFailed", "ExecutionFailed"),
        *("ExecutionRedriven", "TaskScheduled", "TaskStarted", "TaskSucceeded", "TaskStateExited"),
        "ExecutionSucceeded",
    ]
    assert history[6]["details"] == {"redriveCount": 1}


# --- the property -----------------------------------------------------------------------------------------------------

TOLERANCE = ("ToleratedFailureCount", "ToleratedFailurePercentage")


def without_answers(source: Any) -> Any:
    """A definition whose Retry, Catch and tolerance answer nothing that happens, so that a failure ends the run."""
    if isinstance(source, list):
        return [without_answers(inner) for inner in source]
    if not isinstance(source, dict):
        return source
    kept = {name: without_answers(inner) for name, inner in source.items() if name not in TOLERANCE}
    return {**kept, "ErrorEquals": ["NobodySaysThis"]} if "ErrorEquals" in kept else kept


def begin(seed: int) -> Checked:
    """Start a run of the definition of this seed."""
    pick = random.Random(seed).choice
    run_input = generated.run_input(pick)
    source = without_answers(generated.definition(pick, has_loops=False))
    source.pop("TimeoutSeconds", None)
    with patch.object(Checked, "transitions_max", BREATH):
        return Checked(source, run_input)


def good(run: Checked, at: Any, seed: int) -> c.Command:
    """Do what is due so that it succeeds; what it gives depends on nothing but the place."""
    place, kind, *_ = at
    pick = random.Random(f"{seed}{place}").choice
    if kind == "answer":
        phase: Any = run.state.frames[generated.what_is_due(run)[at]].phase
        return c.AnswerTask(phase.wait, c.TaskSuccess(generated.helpful(pick)))
    with patch.object(generated, "outcome", lambda pick: c.TaskSuccess(generated.helpful(pick))):
        return generated.do(run, at, pick)


def bad(run: Checked, at: Any, chance: random.Random) -> c.Command:
    """End the run: by a termination, or as the step or whoever has the token fails."""
    _, kind, *_ = at
    timed = [at for at, scope in generated.what_is_due(run).items() if at[1] == "time" and at not in options(run)]
    if timed and chance.random() < 0.5:
        return generated.do(run, chance.choice(timed), chance.choice)
    if kind in {"complete", "answer"} and chance.random() < 0.8:
        with patch.object(generated, "outcome", lambda _: c.TaskFailure(f"{MARK}Down", None)):
            return generated.do(run, at, chance.choice)
    return c.Terminate(f"{MARK}reason")


def options(run: Checked) -> list[Any]:
    """What is due, but that nothing times out."""
    due_now = generated.what_is_due(run).items()
    return sorted((at for at, scope in due_now if at[1] != "time" or not is_limit(run, scope)), key=repr)


def is_limit(run: Checked, scope: str) -> bool:
    """Whether the timer of a scope is the time limit of a step or a wait."""
    return isinstance(run.state.frames[scope].phase, InTask | InWait)


def finish(run: Checked, seed: int, chance: random.Random, failures: int) -> int:
    """Bring a run to its end; on the way let it fail so often at most, and redrive it each time. Gives how often."""
    done = 0
    for _ in range(400):
        go_on(run)
        if run.state.is_over:
            if run.state.status == "completed" or done == 0 or not is_ours(run):
                return done
            send(run, c.RedriveExecution())
            continue
        at = chance.choice(options(run))
        if done < failures and chance.random() < 0.3:
            send(run, bad(run, at, chance))
            done += run.state.is_over
        else:
            send(run, good(run, at, seed))
    raise AssertionError("it does not end")


def is_ours(run: Checked) -> bool:
    """Whether the run ended by what `bad` did, and not by its definition."""
    error = run.state.error or run.value(run.state.error_ref)
    return run.state.status == "terminated" or error in {f"{MARK}Down", "States.Timeout"}


def outcome_of(run: Checked) -> Any:
    """The end of a run, without the ids that are drawn."""
    told = encode_json([run.state.status, run.state.error, run.value(run.state.output)]).decode()
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|#\d+", "ID", told)


def called_after_success(run: Checked) -> set[tuple[str, str]]:
    """The places whose steps were called again after they had succeeded."""
    succeeded_in, found = set(), set()
    for recorded in run.events:
        event = recorded.event
        if isinstance(event, e.TaskSucceeded) and event.output is not None:
            succeeded_in.add((event.scope, event.state))
        elif isinstance(event, e.TaskScheduled) and (event.scope, event.state) in succeeded_in:
            found.add((event.scope, event.state))
    return found


def redrives_change_no_outcome(seed: int, chance: random.Random) -> Checked | None:
    """A run that fails and is redriven, again and again, ends as one whose steps all succeeded at once."""
    plain = begin(seed)
    finish(plain, seed, random.Random(seed), 0)
    if plain.state.status != "completed":
        return None
    run = begin(seed)
    finish(run, seed, chance, 4)
    assert outcome_of(run) == outcome_of(plain)
    assert not called_after_success(run)
    assert replay(run.events) == run.state
    run.check()
    return run


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given_data(st.integers(0, 10**6), st.integers(0, 10**6))
def test_it_ends_as_it_would_have_for_what_hypothesis_finds(seed, order):
    """See the property's own words."""
    redrives_change_no_outcome(seed, random.Random(order))


def test_it_ends_as_it_would_have_by_chance():
    """The same, many times over; and many of the runs are redriven, or this proves nothing."""
    seen = Counter[str]()
    for seed in range(RUNS):
        try:
            run = redrives_change_no_outcome(seed, random.Random(seed + 1))
        except BaseException as problem:
            problem.add_note(f"seed {seed}")
            raise
        if run is not None:
            seen.update(type(r.event).__name__ for r in run.events)
    for name in ("ExecutionRedriven", "IterationRedriven", "ExecutionTerminated", "ExecutionFailed", "WaitResumed"):
        assert seen[name] >= RUNS // 60, name


@pytest.mark.parametrize("status", ["failed", "terminated", "timed_out"])
def test_every_end_but_a_success_can_be_followed_by_a_redrive(status):
    """And each says afterwards what the run is: nothing of the end is left."""
    run = given({**machine(A={**STEP}), "TimeoutSeconds": 10})
    ends: dict[str, Any] = {"failed": failed("A", "Down"), "terminated": terminated(), "timed_out": c.FireTimer(1)}
    run.after(10_000).when(ends[status]).then_is(status).when(redriven(), succeeded("A", 1)).then_is(
        "completed", output=1
    )
