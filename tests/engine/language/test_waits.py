"""Whether one run of a definition can come to more than one wait."""

import pytest

from perdure.engine.language import opens_several_waits, problems

ASK = {"Type": "Task", "Resource": "wait_for_resume", "End": True}
TELL = {"Type": "Task", "Resource": "tell.waitForResume", "End": True}
TOKEN = {"Type": "Task", "Resource": "tell.waitForTaskToken", "Parameters": {"t.$": "$$.Task.Token"}, "End": True}
CALL = {"Type": "Task", "Resource": "charge", "End": True}
EITHER = [{"Variable": "$.a", "IsPresent": True, "Next": "A"}]


def to(state, following, **more):
    """Make the state go on."""
    return {**{name: value for name, value in state.items() if name != "End"}, "Next": following, **more}


def machine(**states):
    """Make a machine that starts with the first state."""
    return {"StartAt": next(iter(states)), "States": states}


def parallel(*branches):
    """Make a Parallel state."""
    return {"Type": "Parallel", "Branches": [machine(**{f"S{n}": state}) for n, state in enumerate(branches)]}


CHOICE = {"Type": "Choice", "Choices": EITHER, "Default": "B"}
RETRIED = {**TELL, "Retry": [{"ErrorEquals": ["States.ALL"]}]}
CAUGHT = {**ASK, "TimeoutSeconds": 9, "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "B"}]}
AGAIN = {"Type": "Choice", "Choices": [{"Variable": "$.again", "IsPresent": True, "Next": "A"}], "Default": "Done"}
MAP = {"Type": "Map", "ItemProcessor": machine(I=ASK), "End": True}


@pytest.mark.parametrize(
    "definition",
    [
        machine(A=CALL),
        machine(A=ASK),
        machine(A=to(CALL, "B"), B=TELL),
        machine(Which=CHOICE, A=ASK, B=TOKEN),
        machine(A=RETRIED),
        machine(A={**parallel(ASK, CALL), "End": True}),
        machine(A={**MAP, "ItemProcessor": machine(I=CALL)}),
        machine(A=to(ASK, "B"), B=to(CALL, "C"), C={"Type": "Succeed"}),
        machine(A=to(CALL, "Again"), Again=AGAIN, Done=ASK),
    ],
)
def test_one_wait_at_the_most(definition):
    """One question, or several of which a run comes to one; what is tried again was not answered."""
    assert problems(definition) == []
    assert not opens_several_waits(definition)


@pytest.mark.parametrize(
    "definition",
    [
        machine(A=to(ASK, "B"), B=to(CALL, "C"), C=TELL),
        machine(A=CAUGHT, B=TOKEN),
        machine(A=to(ASK, "Again"), Again=AGAIN, Done={"Type": "Succeed"}),
        machine(A={**parallel(ASK, TELL), "End": True}),
        machine(A=to(parallel(ASK, CALL), "B"), B=ASK),
        machine(A={**parallel(CALL, MAP), "End": True}),
        machine(A=MAP),
        machine(A=to(CALL, "P"), P={"Type": "Parallel", "Branches": [machine(B=to(ASK, "C"), C=ASK)], "End": True}),
    ],
)
def test_more_than_one_wait(definition):
    """One after the other, also by way of a Catch; one again in a loop; several at once; in nested machines too."""
    assert problems(definition) == []
    assert opens_several_waits(definition)


def test_many_waits_cost_what_they_are():
    """Each state is looked at once, however many end in one tail: it would take minutes otherwise."""
    choices = [{"Variable": "$.n", "NumericEquals": n, "Next": f"A{n}"} for n in range(3000)]
    asks = {f"A{n}": to(ASK, "T0") for n in range(3000)}
    tail = {f"T{n}": {"Type": "Pass", "Next": f"T{n + 1}"} for n in range(3000)}
    which = {"Type": "Choice", "Choices": choices, "Default": "T0"}
    assert not opens_several_waits(machine(Which=which, **asks, **tail, T3000={"Type": "Succeed"}))
