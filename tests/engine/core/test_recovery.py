"""Recovery: what was under way is done again, and a step that takes the process down is found out."""

from __future__ import annotations

from typing import Any

from perdure.engine.core import events as e
from perdure.engine.core.commands import Redispatch
from perdure.engine.core.decide.recover import DEATHS_ALONE_MAX, FORGIVEN_MS, SUSPECT_DEATHS, WATCH_MS, watch_ms
from perdure.engine.core.effects import CancelTask, HoldSuspect, RunTask, SetTimer
from perdure.engine.testing import START, due, recovered, resumed, succeeded
from tests.present import present

from .checked import given, wait_id


def one(state):
    return {"StartAt": "A", "States": {"A": {**state, "End": True}}}


CHARGE = one({"Type": "Task", "Resource": "charge"})
TELL = one({"Type": "Task", "Resource": "notify.waitForResume"})
CLEANLY = recovered(died=False)
DEATH = recovered()
NEXT = Redispatch("")


def held(scope, state, seq, deaths=3, watched=0):
    return HoldSuspect(scope, state, seq, deaths, watched)


def interrupted(deaths, watched=0, alone=0, state="A", **scope):
    """The event of a suspect that is held."""
    return e.TaskInterrupted(state, deaths, alone, is_held=True, deaths_watched=watched, **scope)


def test_after_a_clean_stop_a_task_is_called_again_under_the_same_key():
    """Nothing is recorded: nothing happened that anybody must know."""
    run = given(CHARGE)
    first = run.effects
    for _ in range(10):
        run.when(CLEANLY).then_nothing().then_effects(*first)
    run.when(succeeded("A", 1)).then_is("completed", output=1)


def test_a_death_is_counted_and_the_task_is_called_again():
    """The first two do not make a suspect; key and parameters are the same."""
    run = given(CHARGE)
    first = run.effects
    for deaths in (1, 2):
        run.when(DEATH).then(e.TaskInterrupted("A", deaths)).then_effects(*first)
        assert run.events[-1].caused_by == 2
    run.when(CLEANLY).then_nothing().then_effects(*first)


def test_from_the_third_death_on_a_task_is_a_suspect():
    """It is held until it is its turn, through any number of restarts, which count nothing while it is held."""
    run = given(CHARGE).when(DEATH, DEATH, DEATH)
    assert SUSPECT_DEATHS == 3
    assert run.event(-1) == e.TaskInterrupted("A", 3, 0, is_held=True)
    run.then_effects(held("", "A", 2))
    for again in (DEATH, CLEANLY, DEATH):
        run.when(again).then_nothing().then_effects(held("", "A", 2))
    run.when(NEXT).then(e.TaskRedispatched("A")).then_effects("RunTask")
    assert run.events[-1].caused_by == 2
    run.when(succeeded("A")).then_is("completed")


def test_only_a_suspect_is_redispatched():
    """And only once for each time that it is held."""
    run = given(CHARGE).when(NEXT).then_nothing().then_refuses("STALE")
    run.when(Redispatch("nowhere")).then_nothing().then_refuses("STALE")
    run.when(DEATH, DEATH, DEATH, NEXT, NEXT)
    run.then(*["TaskInterrupted"] * 3, "TaskRedispatched").then_refuses("STALE")


def test_a_suspect_that_dies_alone_five_times_is_given_up():
    """It fails with a reserved error, whose cause says why, and so does the execution."""
    run = given(CHARGE).when(DEATH, DEATH, DEATH)
    for alone in range(1, DEATHS_ALONE_MAX):
        run.when(NEXT, DEATH).then("TaskRedispatched", interrupted(3 + alone, alone, alone))
    run.when(NEXT, DEATH).then("TaskRedispatched", "TaskFailed", "ExecutionFailed").then_effects()
    run.then_is("failed", error="States.TaskFailed")
    assert "died 8 times" in run.value(run.state.cause)
    assert run.events[-2].caused_by == 2


def test_blame_does_not_last():
    """A step that had run for an hour has a clean record: three deaths a day apart make no suspect."""
    run = given(CHARGE)
    for _ in range(9):
        run.after(FORGIVEN_MS + 1).when(DEATH).then(e.TaskInterrupted("A", 1)).then_effects("RunTask")
    run.when(DEATH).then(e.TaskInterrupted("A", 2)).when(DEATH).then(e.TaskInterrupted("A", 3, is_held=True))
    run.when(NEXT).after(FORGIVEN_MS + 1).when(CLEANLY).then_nothing().then_effects("RunTask")
    run.when(NEXT).then_refuses("STALE").when(DEATH).then(e.TaskInterrupted("A", 1))


def test_a_suspect_is_not_alone_with_others_beside_it_or_after_its_watch():
    """Then its death is one of several; and one that comes late counts, but not as one that was watched."""
    run = given(CHARGE).when(DEATH, DEATH, DEATH, Redispatch("", beside=1))
    assert run.event(-1) == e.TaskRedispatched("A", beside=1)
    run.when(DEATH).then(interrupted(4, watched=1)).then_effects(held("", "A", 2, deaths=4, watched=1))
    run.when(NEXT).after(2 * WATCH_MS + 1).when(DEATH).then(interrupted(5, watched=1))
    run.when(NEXT).after(4 * WATCH_MS).when(DEATH).then(interrupted(6, watched=2, alone=1))


def test_the_more_deaths_the_longer_a_suspect_is_watched():
    """So one that takes its time to kill is found as well, up to a limit."""
    assert [watch_ms(deaths) for deaths in (3, 4, 5, 8, 9, 99)] == [10_000, 20_000, 40_000, 320_000, 320_000, 320_000]


def test_a_clean_stop_is_held_against_no_suspect():
    """It waits for its turn again, with the deaths that it had."""
    run = given(CHARGE).when(DEATH, DEATH, DEATH, NEXT)
    for _ in range(3 * DEATHS_ALONE_MAX):
        run.when(CLEANLY).then(e.TaskInterrupted("A", 3, 0, is_held=True)).then_effects(held("", "A", 2))
        run.when(NEXT).then("TaskRedispatched")
    run.when(succeeded("A")).then_is("completed")


def test_a_next_visit_begins_with_a_clean_record():
    """Deaths are counted for one call of a step, not for the state."""
    definition = {
        "StartAt": "A",
        "States": {
            "A": {"Type": "Task", "Resource": "charge", "Next": "B"},
            "B": {"Type": "Task", "Resource": "charge", "End": True},
        },
    }
    run = given(definition).when(DEATH, DEATH, succeeded("A"), DEATH)
    assert run.event(-1) == e.TaskInterrupted("B", 1)


def test_a_step_whose_wait_is_open_is_called_again_with_the_same_wait():
    """Its answer may be on the way, so the wait stays; once the step has returned, nothing is repeated."""
    run = given(TELL).when(DEATH).then("TaskInterrupted").then_effects("RunTask")
    assert run.duty(RunTask).wait == wait_id(1)
    run.when(succeeded("A"), DEATH).then("TaskSubmitted").then_effects()
    run.when(resumed({"ok": 1})).then_is("completed")


def test_a_suspect_is_answered_while_it_is_held():
    """Whoever was told by an earlier call of the step may answer; then the step is not called again."""
    run = given(TELL).when(DEATH, DEATH, DEATH, resumed({"ok": 1})).then_is("completed")
    run.when(NEXT).then_nothing().then_refuses("STALE")


def test_a_wait_that_fails_with_its_suspect_is_cancelled():
    """The step is given up, so nobody will answer."""
    run = given(TELL).when(DEATH, DEATH, DEATH)
    for _ in range(DEATHS_ALONE_MAX):
        run.when(NEXT, DEATH)
    run.then_is("failed").when(resumed()).then_refuses("WAIT_EXPIRED")


def test_a_wait_needs_no_recovery():
    """It is rows on disk."""
    run = given(one({"Type": "Task", "Resource": "wait_for_resume"})).when(DEATH).then_nothing().then_effects()
    run.when(resumed()).then_is("completed")


def test_a_timer_is_armed_again():
    """Also one that came due while nobody was there."""
    run = given(one({"Type": "Wait", "Seconds": 60})).after(10**9)
    run.when(DEATH).then_nothing().then_effects(SetTimer(START + 60_000))
    run.when(due()).then("TimerFired", "ExecutionSucceeded")


def test_timers_are_armed_once_for_each_instant():
    """However many waits there are, and in whatever order they stand."""
    ask = {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 60, "End": True}
    each = {"Type": "Map", "ItemProcessor": {"StartAt": "Ask", "States": {"Ask": ask}}, "End": True}
    run = given({"StartAt": "M", "States": {"M": each}, "TimeoutSeconds": 50}, [0] * 70)
    for wait in range(1, 60, 2):
        run.when(resumed(wait=wait_id(wait)))
    run.when(DEATH).then_nothing().then_effects(SetTimer(START + 50_000), SetTimer(START + 60_000))


def test_a_run_that_paused_for_breath_goes_on():
    """The message to go on was lost with the process."""
    spin = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}}}
    run = given(spin).then_effects("Continue")
    before = run.state.seq
    run.when(DEATH).then_effects("Continue").check()
    assert run.state.seq == before + 256


# --- several at once -------------------------------------------------------------------------------------------------

CALL = {"Type": "Task", "Resource": "charge", "End": True}


def both(*names, **fields):
    """Give a machine whose branches each call in a state of that name."""
    branches = [{"StartAt": name, "States": {name: CALL}} for name in names]
    done = {"Type": "Succeed"}
    return {
        "StartAt": "Both",
        "States": {"Both": {"Type": "Parallel", "Branches": branches, "Next": "Done", **fields}, "Done": done},
    }


def test_every_task_of_an_execution_is_taken_up():
    """Each by its own record: the one is called again, the other one, which has died before, is held."""
    first: dict[str, Any] = {"StartAt": "First", "States": {"First": {**CALL, "Next": "B"}, "B": CALL}}
    del first["States"]["First"]["End"]
    second = {"StartAt": "Second", "States": {"Second": CALL}}
    branches = {"Type": "Parallel", "Branches": [first, second], "End": True}
    run = given({"StartAt": "Both", "States": {"Both": branches}}).when(DEATH, DEATH, succeeded("First"), DEATH)
    assert [r.event for r in run.events[-2:]] == [
        e.TaskInterrupted("B", 1, scope="2.0"),
        e.TaskInterrupted("Second", 3, 0, is_held=True, scope="2.1"),
    ]
    run.then_effects("RunTask", held("2.1", "Second", 4))
    run.when(succeeded("B"), Redispatch("2.1")).then_effects("RunTask").when(succeeded("Second", 2))
    run.then_is("completed")


def test_a_task_is_called_in_its_scope():
    """The key of a branch or iteration says which one it is, and is the same after a crash."""
    run = given(both("A", "B"))
    first = run.calls
    assert [effect.idempotency_key.split("/")[1:] for effect in first] == [
        ["A", "Both:1:0", "1"],
        ["B", "Both:1:1", "1"],
    ]
    run.when(CLEANLY).then_nothing().then_effects(*first)
    run.when(DEATH).then("TaskInterrupted", "TaskInterrupted").then_effects(*first)


def test_suspects_of_several_scopes_have_their_turns():
    """Each is held, and sent for by itself; one that is redispatched leaves the others where they are."""
    run = given(both("A", "B", "C")).when(DEATH, DEATH, DEATH)
    run.then_effects(held("2.0", "A", 3), held("2.1", "B", 4), held("2.2", "C", 5))
    run.when(Redispatch("2.1")).then(e.TaskRedispatched("B", "2.1")).then_effects("RunTask")
    assert [present(run.state.task(scope)).is_held for scope in ("2.0", "2.1", "2.2")] == [True, False, True]
    run.when(DEATH).then(interrupted(4, 1, 1, state="B", scope="2.1"))
    for scope, name in (("2.0", "A"), ("2.1", "B"), ("2.2", "C")):
        run.when(Redispatch(scope), succeeded(name, name))
    run.then_is("completed", output=["A", "B", "C"])


def test_nothing_is_begun_for_an_execution_that_is_given_up():
    """What was taken up before in the same decision is dropped, and what ran beside it is let go."""
    run = given(both("A", "B", "C")).when(DEATH, DEATH, DEATH)
    for _ in range(DEATHS_ALONE_MAX - 1):
        run.when(Redispatch("2.1"), DEATH)
    run.when(Redispatch("2.1"), Redispatch("2.2"), DEATH)
    run.then("TaskRedispatched", "TaskRedispatched", "TaskFailed", "TaskInterrupted", "StateFailed", "ExecutionFailed")
    run.then_effects(CancelTask(3), CancelTask(5)).then_is("failed", error="States.TaskFailed")


def test_a_suspect_that_is_given_up_may_be_caught():
    """It fails as every task does, and the execution goes on."""
    run = given(both("A", Catch=[{"ErrorEquals": ["States.TaskFailed"], "Next": "Done"}])).when(DEATH, DEATH, DEATH)
    for _ in range(DEATHS_ALONE_MAX):
        run.when(Redispatch("2.0"), DEATH)
    run.then_is("completed")


def test_a_suspect_that_ends_with_its_sibling_is_not_held_any_more():
    """The sibling is given up in the same decision, and the execution goes on elsewhere."""
    definition = both("A", "B", Catch=[{"ErrorEquals": ["States.TaskFailed"], "Next": "Rest"}])
    definition["States"]["Rest"] = {"Type": "Wait", "Seconds": 9, "End": True}
    run = given(definition).when(DEATH, DEATH, DEATH)
    for _ in range(DEATHS_ALONE_MAX):
        run.when(Redispatch("2.1"), DEATH)
    run.then_effects(CancelTask(3), "SetTimer", "SetTimer").then_is("running")
    run.when(Redispatch("2.0")).then_refuses("STALE")
