"""What a definition needs from outside, and what is valid but unwise."""

from typing import Any

from perdure.engine.language import compile_machine, context_object, literal_errors, steps_of, warnings
from perdure.engine.language.evaluate.paths import compile_path
from tests.engine.language.worlds import env

INVOKE = "arn:aws:states:::lambda:invoke"
DEFINITION = {
    "StartAt": "a",
    "States": {
        "a": {"Type": "Task", "Resource": "ship", "Next": "b/c"},
        "b/c": {"Type": "Task", "Resource": INVOKE, "Parameters": {"FunctionName": "bill"}, "Next": "d"},
        "d": {"Type": "Task", "Resource": INVOKE, "Parameters": {"FunctionName.$": "$.f"}, "Next": "e"},
        "e": {"Type": "Task", "Resource": "wait_for_resume", "Next": "f"},
        "f": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Next": "g"},
        "g": {"Type": "Fail", "Error": "Late"},
    },
}
STEPS = [
    ("/States/a/Resource", "ship"),
    ("/States/b~1c/Parameters/FunctionName", "bill"),
    ("/States/f/Resource", "sqs:sendMessage"),
]


def test_the_steps_of_a_definition_and_of_its_machine_are_the_same():
    """A caller can ask its registry for each, and point at what is missing."""
    assert list(steps_of(DEFINITION)) == STEPS
    assert list(steps_of(compile_machine(DEFINITION))) == STEPS


def test_the_steps_of_a_malformed_definition_are_those_that_can_be_read():
    """Whatever is malformed is left out, and nothing raises."""
    malformed: tuple[Any, ...] = (
        None,
        [],
        {"a": 1},
        {"a": {"Type": "Task", "Resource": 5}},
        {"a": {"Type": "Task", "Resource": "x y"}},
    )
    for states in malformed:
        assert list(steps_of({"States": states})) == []
        assert warnings({"States": states}) == []
    assert list(steps_of({})) == []


def test_the_literal_errors_are_those_of_fail_states():
    """A name that a path gives is not literal."""
    assert literal_errors(compile_machine(DEFINITION)) == {"Late"}
    assert literal_errors(compile_machine({"StartAt": "a", "States": {"a": {"Type": "Fail"}}})) == set()


def test_a_sending_step_before_a_bare_wait_is_warned_of():
    """Both a named step and one that a path names; the way out is told."""
    found = warnings(DEFINITION)
    assert [w.path for w in found] == ["/States/d/Resource"]
    assert f"{INVOKE}.waitForResume" in found[0].message


def test_a_step_that_opens_its_own_wait_is_not_warned_of():
    """NAME.waitForResume, and a wait before a wait, lose nothing."""
    states = {
        "a": {"Type": "Task", "Resource": "ship.waitForResume", "Next": "b"},
        "b": {"Type": "Task", "Resource": "wait_for_resume", "Next": "c"},
        "c": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    }
    assert warnings({"StartAt": "a", "States": states}) == []


def test_the_context_object_holds_what_aws_puts_there():
    """Its members stand in AWS's order, and paths find them; Task only where there is one."""
    parts = {"execution": {"Id": "e"}, "state": {"Name": "S", "WaitId": "w"}, "state_machine": {"Name": "m"}}
    context = context_object(**parts)
    assert list(context) == ["Execution", "State", "StateMachine"]
    assert compile_path("$$.State.WaitId").find(None, env(context=context)) == "w"
    with_task = context_object(**parts, task={"Token": "t"})
    assert compile_path("$$.Task.Token").find(None, env(context=with_task)) == "t"
