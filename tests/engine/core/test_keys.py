"""Idempotency keys: one piece of work has one key, whatever was tried again around it, and no two have the same.

`Checked` asserts of every call of every test that place, visit and parameters make the key, and it them.
"""

from __future__ import annotations

import hmac
import re

import pytest

from perdure.engine.core.commands import FireTimer
from perdure.engine.core.effects import RunTask
from perdure.engine.testing import EXECUTION, due, failed, recovered, succeeded
from tests.present import present

from .checked import given

RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 5, "BackoffRate": 1}]
DONE = {"Type": "Succeed"}


def task(**fields):
    return {"Type": "Task", "Resource": "charge", "End": True, **fields}


def machine(name, state, **others):
    return {"StartAt": name, "States": {name: state, **others}}


def parallel(*branches, **fields):
    return {"Type": "Parallel", "Branches": list(branches), "End": True, **fields}


FLAKY = machine("Flaky", task())


def keys(run, state="Charge"):
    """Give the keys of all calls of a state so far."""
    return [duty.idempotency_key for duty in run.duties if isinstance(duty, RunTask) and duty.state == state]


def test_what_had_succeeded_is_called_again_under_its_key():
    """A Parallel that is tried again for another branch's failure does not charge twice."""
    run = given(machine("Both", parallel(machine("Charge", task()), FLAKY, Retry=RETRY)), {"amount": 5})
    for _ in range(2):
        run.when(succeeded("Charge", 1), failed("Flaky", "Busy")).after(1000).when(due())
    first, *others = keys(run)
    assert re.fullmatch(f"{EXECUTION}/Charge/Both:1:0/1/[0-9a-f]{{32}}", first)
    assert others == [first, first]
    run.when(recovered(died=False))
    assert keys(run) == [first] * 4


def test_so_is_what_an_iteration_had_done():
    """The index is that of the item, wherever in the log its iteration begins."""
    items = {"Type": "Map", "ItemProcessor": machine("Charge", task()), "Retry": RETRY, "End": True}
    run = given(machine("Each", items), [{"n": 1}, {"n": 1}])
    run.when(succeeded("Charge", 1, scope="2.0"), failed("Charge", "Busy", scope="2.1")).after(1000).when(due())
    assert keys(run)[2:] == keys(run)[:2]
    assert len(set(keys(run))) == 2


def test_what_is_called_with_other_parameters_has_another_key():
    """A quote that is another at the second attempt is another charge; and the first one's again, the first charge."""
    quoted = machine("Quote", task(Next="Charge", End=None), Charge=task())
    del quoted["States"]["Quote"]["End"]
    run = given(machine("Both", parallel(quoted, FLAKY, Retry=RETRY)))
    for price in (7, 9, 7):
        run.when(succeeded("Quote", {"price": price}), succeeded("Charge", 1), failed("Flaky", "Busy"))
        run.after(1000).when(due())
    first, second, third = keys(run)
    assert first == third != second
    assert len(set(keys(run, "Quote"))) == 1


def test_each_visit_has_a_key_of_its_own():
    """A loop that comes back to a Parallel means another charge, also if an attempt came to nothing before that."""
    reading = {"x.$": "States.ArrayGetItem(States.StringSplit('a,b', ','), States.MathAdd(-1, $$.State.RetryCount))"}
    for fields in ({}, {"Parameters": reading}):
        around = parallel(machine("Charge", task()), Retry=RETRY, Next="Again", **fields)
        del around["End"]
        again = {"Type": "Choice", "Choices": [{"Variable": "$[0]", "NumericEquals": 1, "Next": "Both"}]}
        run = given(machine("Both", around, Again={**again, "Default": "Done"}, Done=DONE))
        for number in (1, 1, 2):
            if fields:
                run.after(1000).when(due())
            run.when(succeeded("Charge", number))
        run.then_is("completed")
        assert [key.split("/")[2] for key in keys(run)] == ["Both:1:0", "Both:2:0", "Both:3:0"]


def test_attempts_around_attempts_keep_the_key():
    """Three levels, each of which tries again, and the step itself."""
    inner = parallel(machine("Charge", task(Retry=RETRY)), FLAKY, Retry=RETRY)
    run = given(machine("Outer", parallel(machine("Inner", inner), machine("Other", task()), Retry=RETRY)))

    def try_again():
        run.after(1000).when(lambda at: FireTimer(min(at.timers)))

    run.when(failed("Charge", "Busy"))
    try_again()
    run.when(succeeded("Charge", 1), failed("Flaky", "Busy"))
    try_again()
    run.when(succeeded("Charge", 1), failed("Other", "Busy"))
    try_again()
    assert len(keys(run)) == 4
    assert len(set(keys(run))) == 1
    assert keys(run)[0].split("/")[2] == "Outer:1:0:Inner:1:0"


def test_a_digest_tells_nothing_to_who_has_not_the_salt():
    """It is random for each run, and goes with the payload in which it stands; who needs none has none."""
    definition = machine("Both", parallel(machine("Charge", task()), Retry=RETRY))
    run = given(definition, {"amount": 5})
    assert present(run.events[0].payload).keys() == {"input", "key_salt"}
    salt = present(run.events[0].payload)["key_salt"].encode()
    assert keys(run)[0].split("/")[-1] == hmac.digest(salt, b'{"amount":5}', "sha256").hex()[:32]
    for plain in (machine("Charge", task(Retry=RETRY)), machine("Both", parallel(machine("Charge", task())))):
        assert present(given(plain).events[0].payload).keys() == {"input"}


@pytest.mark.parametrize("name", ["ü" * 30, "x" * 80])
def test_a_key_is_never_longer_than_payment_services_take(name):
    """A long one is a digest of itself, the same one each time."""
    nested = machine(name, task())
    for level in range(4):
        nested = machine(f"{level}{name}"[:80], parallel(nested))
    run = given(nested)
    (key,) = keys(run, name)
    assert re.fullmatch(f"{EXECUTION}/[0-9a-f]{{64}}", key)
    run.when(recovered(died=False))
    assert keys(run, name) == [key, key]
