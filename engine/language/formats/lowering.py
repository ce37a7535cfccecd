"""Makes the states of each kind of step: a table of functions by kind."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from perdure.engine.language.formats.build import is_wrapped, wrapper
from perdure.engine.language.formats.conditions import ConditionWriter
from perdure.engine.language.formats.flow import FALSE, NEXT, TRUE, ErrorPlan, FlowStep
from perdure.engine.language.formats.lower_forks import lower_loop, lower_parallel
from perdure.engine.language.formats.lower_values import StateChain, code_chain, transform_chain, wait_chain
from perdure.engine.language.formats.lower_waits import after_answer, lower_approval, lower_wait_for_resume
from perdure.engine.language.formats.machines import (
    COMPLETED,
    ENDED,
    TERMINATED,
    BranchEnd,
    MachineBuilder,
    StateSource,
)
from perdure.engine.language.formats.written import TERNARY
from perdure.engine.language.values import Json

Lower: TypeAlias = Callable[[MachineBuilder, FlowStep], str | None]

START_EXECUTION: Final = "arn:aws:states:::states:startExecution"


def lower_action(builder: MachineBuilder, step: FlowStep) -> None:
    """Call the registered step of an action."""
    members = builder.members(step)
    form = builder.build.options.actions[step.action]
    if form.fields is not None:
        members.check(sorted(form.fields), f" of {step.action}")
    for name in form.required:
        if name not in members:
            members.refuse("", f"{name} is missing: {step.action} needs it")
    for path, message in () if form.check is None else form.check(dict(step.config)):
        builder.build.diagnostics.add(functools.reduce(operator.truediv, path, step.config_pointer), message)
    arguments = builder.templates.value(dict(step.config), step.config_pointer)
    _add_task(builder, step, {"Type": "Task", "Resource": form.name, "Arguments": arguments}, "{% $states.result %}")


def _add_task(builder: MachineBuilder, step: FlowStep, state: StateSource, kept: Json) -> None:
    """Add a Task of a step, with its time limit and what becomes of errors."""
    if step.timeout_ms is not None:
        state["TimeoutSeconds"] = builder.seconds(step.timeout_ms)
    state |= builder.kept(step, kept)
    state |= builder.handlers(step)
    builder.add(step, builder.entry(step), {**state, **builder.onward(step.after())})


def lower_workflow(builder: MachineBuilder, step: FlowStep) -> None:
    """Start a run of another workflow, and wait for its output if that is wanted."""
    members = builder.members(step)
    members.check(("workflowId", "input", "waitForCompletion"))
    if not isinstance(members.get("workflowId"), str):
        members.refuse("", "workflowId is missing: the id or the name of a workflow")
    waits = members.flag("waitForCompletion", default=True)
    arguments = {
        "StateMachineArn": builder.templates.value(members.get("workflowId"), step.config_pointer / "workflowId"),
        "Input": builder.templates.value(step.config.get("input", {}), step.config_pointer / "input"),
    }
    output: Json = "{% $states.result.Output ?? null %}" if waits else {"runId": "{% $states.result.ExecutionArn %}"}
    resource = f"{START_EXECUTION}.sync:2" if waits else START_EXECUTION
    state = {"Type": "Task", "Resource": resource, "Arguments": arguments, "Output": output}
    _add_task(builder, step, state, output)


def lower_condition(builder: MachineBuilder, step: FlowStep) -> None:
    """Choose one of two ways."""
    members = builder.members(step)
    members.check(("conditions", "match", "expression"))
    writer = ConditionWriter(builder.templates, builder.build.diagnostics)
    condition = writer.written(step.config, step.config_pointer)
    if not step.errors.is_default:
        _handled_condition(builder, step, condition)
        return
    chosen: list[StateSource] = [
        {"Output": {"result": result}, **builder.kept(step, {"result": result})} for result in (True, False)
    ]
    rule = {"Condition": f"{{% {condition} %}}", **chosen[0], "Next": builder.place(step.after(TRUE))}
    state = {"Type": "Choice", "Choices": [rule], **chosen[1], "Default": builder.place(step.after(FALSE))}
    builder.add(step, builder.entry(step), state)


def _handled_condition(builder: MachineBuilder, step: FlowStep, condition: str) -> None:
    """Evaluate a condition where its errors are caught, and choose then: by `else` after an error."""
    chooses, evaluates = builder.helper(step, "choice"), builder.helper(step, "result")
    machine = {
        "StartAt": evaluates,
        "States": {evaluates: {"Type": "Pass", "Output": {"result": f"{{% {condition} %}}"}, "End": True}},
    }
    builder.build.states[evaluates] = step.id
    state: StateSource = {
        "Type": "Parallel",
        "Arguments": {},
        "Branches": [machine],
        "Output": "{% $states.result[0] %}",
    }
    state |= builder.handlers(step, after=chooses)
    builder.add(step, builder.entry(step), {**state, "Next": chooses})
    kept = builder.kept(step, "{% $states.input %}")
    rule = {"Condition": "{% $states.input.result = true %}", **kept, "Next": builder.place(step.after(TRUE))}
    choice = {"Type": "Choice", "Choices": [rule], **kept, "Default": builder.place(step.after(FALSE))}
    builder.add(step, chooses, choice)


def lower_switch(builder: MachineBuilder, step: FlowStep) -> None:
    """Choose by expressions that are tried in order; which of them is true is told by the ways."""
    rules: list[StateSource] = []
    for index, (expression, pointer) in enumerate(step.config["expressions"]):
        written = builder.templates.expression(expression, pointer)
        condition = f"{{% {written.within(TERNARY + 1)} ? true : false %}}"
        kept = builder.kept(step, {"result": True})
        following = builder.place(step.after(f"choice:{index}"))
        rules.append({"Condition": condition, "Output": {"result": True}, **kept, "Next": following})
    other = {"Output": {"result": False}, **builder.kept(step, {"result": False})}
    state = {"Type": "Choice", "Choices": rules, **other, "Default": builder.place(step.after("default"))}
    builder.add(step, builder.entry(step), state)


def lower_terminate(builder: MachineBuilder, step: FlowStep) -> None:
    """End the run, from however deep."""
    members = builder.members(step)
    members.check(("status", "output", "reason"))
    status = members.one_of("status", ("completed", "failed"), "completed")
    reason = builder.templates.expression(members.text("reason", "terminated"), step.config_pointer / "reason")
    entry = builder.entry(step)
    if status == "failed":
        if "output" in members:
            members.refuse("output", "a run that fails has no output: give a reason")
        cause = f'{{% ($_0 := {reason.or_null}; $type($_0) = "string" ? $_0 : $string($_0)) %}}'
        builder.add(step, entry, {"Type": "Fail", "Error": TERMINATED, "Cause": cause})
        return
    output = builder.templates.value(members.get("output"), step.config_pointer / "output")
    comment = {"Comment": step.config["reason"]} if isinstance(members.get("reason"), str) else {}
    if not builder.path:
        builder.add(step, entry, {**comment, **builder.completes(output)})
        return
    fails = builder.helper(step, "completes the run")
    builder.add(step, entry, {"Type": "Pass", **comment, "Output": output, "Next": fails})
    ended = '{% $_json({"output": $states.input}) %}'
    builder.add(step, fails, {"Type": "Fail", "Error": COMPLETED, "Cause": ended})


def lower_state(builder: MachineBuilder, step: FlowStep) -> None:
    """Take over a state that is written in Amazon States Language, whose ways stand in its `ways`."""
    state: StateSource = dict(step.config)
    for field, handle in (("Choices", "choice"), ("Catch", "catch")):
        members = state.get(field)
        if type(members) is list:
            state[field] = [
                {**member, "Next": builder.place(step.ways[f"{handle}:{index}"])}
                if type(member) is dict and f"{handle}:{index}" in step.ways
                else member
                for index, member in enumerate(members)
            ]
    if "default" in step.ways:
        state["Default"] = builder.place(step.ways["default"])
    if "OutputSchema" in state:
        builder.members(step).refuse("OutputSchema", "unknown field: outputSchema of the document is for all its ends")
    if state["Type"] == "Succeed":
        state |= builder.check_of_output()
    elif state["Type"] not in ("Choice", "Fail"):
        state |= builder.onward(step.after())
    builder.add(step, builder.entry(step), state)


def lower_chain(make: Callable[[MachineBuilder, FlowStep], StateChain]) -> Lower:
    """Make what adds the states of a chain, in a machine of their own if errors or a time limit ask for it."""

    def lower(builder: MachineBuilder, step: FlowStep) -> None:
        if is_wrapped(step):
            lower_wrapped(builder, step, lambda inner: inner.chain(step, make(inner, step).states))
            return
        chain = make(builder, step)
        states = list(chain.states)
        if builder.is_kept(step) and chain.is_repeatable:
            states[-1] |= builder.kept(step, states[-1]["Output"])
        elif builder.is_kept(step):
            states.append({"Type": "Pass", **builder.kept(step, "{% $states.input %}")})
        builder.add_chain(step, states)

    return lower


def lower_wrapped(builder: MachineBuilder, step: FlowStep, make: Callable[[MachineBuilder], StateSource]) -> None:
    """Run a step in a machine of its own, beside one that waits for its time limit if it has one."""
    is_limited = step.timeout_ms is not None and step.kind in ("loop", "parallel", "wait")
    inner = builder.inner(wrapper(step), (), BranchEnd(is_limited))
    branches = [make(inner)]
    state: StateSource = {"Type": "Parallel", "Arguments": {}, "Branches": branches}
    if not is_limited:
        is_object = inner.hands_out()
        value = "$states.result[0].output" if is_object else "$states.result[0]"
        state["Output"] = f"{{% {value} ?? null %}}"
        state |= _kept_of(builder, step, inner, state["Output"], "$states.result[0].steps")
        state |= builder.handlers(step)
    else:
        branches.append(_limit(builder, step))
        output = "{% $parse($states.errorOutput.Cause).output ?? null %}"
        kept = _kept_of(builder, step, inner, output, "$parse($states.errorOutput.Cause).steps")
        ended = {"ErrorEquals": [ENDED], "Output": output, **kept, "Next": builder.place(step.after())}
        state |= builder.handlers(step, [ended])
    after = after_answer(builder, step) if step.kind == "approval" else builder.onward(step.after())
    builder.add(step, builder.entry(step), {**state, **after})


def _kept_of(builder: MachineBuilder, step: FlowStep, inner: MachineBuilder, output: Json, steps: str) -> StateSource:
    own = builder.kept(step, output).get("Assign", {})
    assigned = {**own, **builder.handed(inner, lambda key: f"{steps}.{key}")}
    return {"Assign": assigned} if assigned else {}


def _limit(builder: MachineBuilder, step: FlowStep) -> StateSource:
    """Make the machine that fails once the time of a step is over."""
    waits, fails = builder.helper(step, "time limit"), builder.helper(step, "timed out")
    limit = step.timeout_ms or 0
    due = f"{{% $fromMillis($millis() + {limit:.0f}) %}}"
    cause = f"Step '{step.id}' took longer than {limit:.0f} ms."
    for name in (waits, fails):
        builder.build.states[name] = step.id
    return {
        "StartAt": waits,
        "States": {
            waits: {"Type": "Wait", "Timestamp": due, "Next": fails},
            fails: {"Type": "Fail", "Error": "States.Timeout", "Cause": cause},
        },
    }


def _limited(lower: Callable[[MachineBuilder, FlowStep], str | None]) -> Lower:
    """Make a step run in a machine of its own if it must."""

    def lower_it(builder: MachineBuilder, step: FlowStep) -> None:
        if not is_wrapped(step):
            lower(builder, step)
            return
        alone = msgspec.structs.replace(step, errors=ErrorPlan(), timeout_ms=None, ways={NEXT: None})
        lower_wrapped(builder, step, lambda inner: inner.alone(alone, lower))

    return lower_it


LOWERINGS: Final[Mapping[str, Lower]] = MappingProxyType(
    {
        "action": lower_action,
        "approval": _limited(lower_approval),
        "code": lower_chain(code_chain),
        "condition": lower_condition,
        "loop": _limited(lower_loop),
        "parallel": _limited(lower_parallel),
        "state": lower_state,
        "switch": lower_switch,
        "terminate": lower_terminate,
        "transform": lower_chain(transform_chain),
        "wait": lower_chain(wait_chain),
        "wait_for_resume": lower_wait_for_resume,
        "workflow": lower_workflow,
    }
)
"""By kind, what adds the states of a step."""


def lower_step(builder: MachineBuilder, step: FlowStep) -> None:
    """Add the states of a step."""
    LOWERINGS[step.kind](builder, step)
