"""Makes the states of steps that wait for somebody: `approval` and `wait_for_resume`."""

from __future__ import annotations

from typing import Final, NamedTuple

from perdure.engine.language.formats.flow import APPROVED, REJECTED, FlowStep
from perdure.engine.language.formats.machines import MachineBuilder, StateSource
from perdure.engine.language.formats.members import TIME_MAX_MS, Members
from perdure.engine.language.model.resources import WAIT
from perdure.engine.language.values import Json, shown

APPROVAL_MS: Final = 86_400_000
"""How long an approval is open if nothing says so."""

ANSWERS_MAX: Final = 100
"""The most people that an approval can ask for."""

_HOUR_MS: Final = 3_600_000
_FIELDS: Final = (
    "title",
    "reason",
    "description",
    "approvers",
    "timeoutMs",
    "timeoutHours",
    "onTimeout",
    "required",
    "inputType",
    "labels",
)
_SHOWN: Final = ("title", "reason", "description", "approvers", "required", "inputType", "labels")
"""What whoever answers is shown: it is the parameters of the wait."""

_WORDS: Final = '["approve", "approved"]'
ANSWER: Final = {
    "approved": f"{{% $states.result.approved = true or $states.result.decision in {_WORDS} %}}",
    "approvedBy": "{% $states.result.approvedBy ?? null %}",
    "approvedAt": "{% $states.result.approvedAt ?? $now() %}",
    "comment": "{% $states.result.comment ?? null %}",
}
"""The output of an approval, made of the payload that ended the wait."""

_ANSWER_OBJECT: Final = "{%s}" % ", ".join(f'"{name}": {value[3:-3]}' for name, value in ANSWER.items())  # noqa: UP031

UNANSWERED: Final = {"approved": False, "approvedBy": None, "approvedAt": None, "comment": None}
"""The output of an approval whose time is over."""


class _Approval(NamedTuple):
    """What the config of an approval says; `fails`: whether the end of its time fails the run."""

    shown: dict[str, Json]
    timeout_ms: float
    fails: bool
    required: int


def lower_wait_for_resume(builder: MachineBuilder, step: FlowStep) -> None:
    """Wait until somebody resumes the run; the payload is the output."""
    members = builder.members(step)
    members.check(("name", "timeoutMs"))
    name = members.text("name", most=80)
    if name is not None and builder.build.cores[step.id] != name:
        members.refuse("name", f"{shown(name)} is the name of another wait or step already")
    own = members.milliseconds("timeoutMs")
    timeout = own if step.timeout_ms is None else step.timeout_ms
    state: StateSource = {"Type": "Task", "Resource": WAIT}
    if timeout is not None:
        state["TimeoutSeconds"] = builder.seconds(timeout)
    state |= builder.kept(step, "{% $states.result %}")
    state |= builder.handlers(step)
    builder.add(step, builder.entry(step), {**state, **builder.onward(step.after())})


def lower_approval(builder: MachineBuilder, step: FlowStep) -> str | None:
    """Wait for the answers of one or several people; say with which state it starts, if not the step's own."""
    approval = _read(builder, step)
    if approval.required > 1:
        return _several(builder, step, approval)
    state = _wait(builder, step, approval)
    state["TimeoutSeconds"] = builder.seconds(approval.timeout_ms)
    state["Output"] = ANSWER
    leads = after_answer(builder, step)
    assigned = builder.kept(step, ANSWER)
    builder.add(step, builder.entry(step), {**state, **assigned, **leads})
    return None


def _read(builder: MachineBuilder, step: FlowStep) -> _Approval:
    members = builder.members(step)
    if "notifyChannels" in members:
        members.refuse("notifyChannels", "notifyChannels is not supported yet: it needs connections")
        known: tuple[str, ...] = (*_FIELDS, "notifyChannels")
    else:
        known = _FIELDS
    members.check(known, " of an approval")
    members.texts("approvers")
    members.one_of("inputType", ("buttons", "text", "both"), "both")
    members.inner("labels").check(("approve", "reject"))
    shown = {name: members.get(name) for name in _SHOWN if name in members}
    return _Approval(
        builder.templates.value(shown, members.pointer),
        _time_of(members, step),
        members.one_of("onTimeout", ("reject", "fail"), "reject") == "fail",
        members.whole("required", 1, ANSWERS_MAX, 1),
    )


def _time_of(members: Members, step: FlowStep) -> float:
    hours = members.number("timeoutHours", 0.0003, TIME_MAX_MS / _HOUR_MS)
    own = members.milliseconds("timeoutMs")
    if hours is not None and own is not None:
        members.refuse("timeoutHours", "there is a timeoutMs already: give one of them")
    if step.timeout_ms is not None:
        return step.timeout_ms
    if own is not None:
        return own
    return APPROVAL_MS if hours is None else hours * _HOUR_MS


def _wait(builder: MachineBuilder, step: FlowStep, approval: _Approval) -> StateSource:
    """Make the state that waits, with what becomes of the end of its time."""
    state: StateSource = {"Type": "Task", "Resource": WAIT, "Arguments": approval.shown}
    late: list[StateSource] = []
    if not approval.fails:
        kept, after = builder.kept(step, UNANSWERED), builder.place(step.after(REJECTED))
        late = [{"ErrorEquals": ["States.Timeout"], "Output": UNANSWERED, **kept, "Next": after}]
    return {**state, **builder.handlers(step, late)}


def after_answer(builder: MachineBuilder, step: FlowStep) -> StateSource:
    """Give the way on after an answer: by what it says, if the ways differ."""
    ways = (step.after(APPROVED), step.after(REJECTED))
    if ways[0] == ways[1]:
        return builder.onward(ways[0])
    by_answer = builder.helper(step, "answer")
    rule = {"Condition": "{% $states.input.approved %}", "Next": builder.place(ways[0])}
    builder.add(step, by_answer, {"Type": "Choice", "Choices": [rule], "Default": builder.place(ways[1])})
    return {"Next": by_answer}


def _several(builder: MachineBuilder, step: FlowStep, approval: _Approval) -> str:
    """Wait again until so many different people have approved, or one has rejected."""
    key = f"{builder.level}_{builder.build.keys[step.id]}"
    answers, deadline = f"wait_answers_{key}", f"wait_deadline_{key}"
    waits, counts = builder.build.cores[step.id], builder.helper(step, "count")
    start = builder.build.entries[step.id]
    if builder.entry(step) == waits:  # it stands alone in its machine
        start = builder.helper(step, "begin")
    begun = {answers: [], deadline: f"{{% $millis() + {approval.timeout_ms:.0f} %}}"}
    builder.add(step, start, {"Type": "Pass", "Assign": begun, "Next": waits})
    state = _wait(builder, step, approval)
    state["TimeoutSeconds"] = f"{{% $max([1, $ceil((${deadline} - $millis()) / 1000)]) %}}"
    state["Output"] = ANSWER
    state["Assign"] = {answers: f"{{% $append(${answers}, [{_ANSWER_OBJECT}]) %}}"}
    builder.add(step, waits, {**state, "Next": counts})
    enough = f"$count($distinct(${answers}.approvedBy)) >= {approval.required}"
    rule: StateSource = {"Condition": f"{{% $states.input.approved = false or {enough} %}}"}
    rule |= builder.kept(step, "{% $states.input %}")
    leads = after_answer(builder, step)
    rule["Next"] = leads["Next"] if "Next" in leads else builder.place(None)
    builder.add(step, counts, {"Type": "Choice", "Choices": [rule], "Default": waits})
    return start
