"""Builds one machine from a flow: its states, how they follow each other, and what it hands out at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from perdure.engine.language.formats.build import TERMINATE, FlowBuild, SeenSteps, body_name
from perdure.engine.language.formats.flow import ERROR, NEXT, FlowStep, RetryPlan, ScopePath, StepFlow, steps_in
from perdure.engine.language.formats.members import Members
from perdure.engine.language.formats.names import Names
from perdure.engine.language.formats.templates import Templates
from perdure.engine.language.values import MISSING, Json

ENDED: Final = "Branch.Ended"
"""The error with which a branch ends that ends all others."""

TERMINATED: Final = "Run.Terminated"
"""The error of a run that a step of type terminate has failed."""

COMPLETED: Final = "Run.Completed"
"""The error with which a branch or an iteration completes the run."""

StateSource: TypeAlias = dict[str, Json]


class LoopNames(NamedTuple):
    """Names of the item and its index in the steps of a loop; `level` is that of the machine that keeps them."""

    item: str
    place: str
    level: int


class BranchEnd(NamedTuple):
    """The end of a machine. `is_race`: it ends the branches beside it. `branch`: which of them it is."""

    is_race: bool = False
    branch: int = 0


PLAIN_END: Final = BranchEnd()


class MachineBuilder:
    """Builds the states of one machine. `lower` makes the states of a step, by its kind."""

    def __init__(
        self,
        build: FlowBuild,
        lower: Callable[[MachineBuilder, FlowStep], None],
        path: ScopePath = (),
        loops: tuple[LoopNames, ...] = (),
        end: BranchEnd = PLAIN_END,
    ) -> None:
        self.build = build
        self.path = path
        self.loops = loops
        self._lower = lower
        self._end = end
        self._end_name: str | None = None
        self._states: dict[str, StateSource] = {}
        self._alone: str | None = None
        self.names = self._names()
        self.templates = Templates(self.names, build.diagnostics.add, build.checked)

    # --- names -------------------------------------------------------------------------------------------------------

    @property
    def level(self) -> int:
        """The number of machines around it."""
        return len(self.path)

    def _names(self) -> Names:
        options = self.build.options
        roots = {"now": "$now()", "runId": "$run_id"}
        if options.is_enveloped:
            roots |= {"input": "$run_input.body", "trigger": "$run_input"}
        else:
            roots |= {"input": "$run_input", "trigger": '({"body": $run_input})'}
        for loop in self.loops:
            roots |= {loop.item: f"$item_{loop.level}", loop.place: f"$index_{loop.level}"}
        return Names(
            roots,
            SeenSteps(self.build, self.path),
            {name: "$" + variable for name, variable in self.build.variable_names.items()},
            options.has_credentials,
        )

    def _note_reads(self, state: str) -> None:
        """Note what the templates of the last step have read."""
        reads = self.templates.reads
        self.build.reads += ((step, self.path) for step in reads.steps)
        self.build.roots |= {(self.names.roots[root], self.path) for root in reads.roots}
        self.build.variables |= reads.variables
        if reads.credentials:
            self.build.credentials[state] = tuple(sorted(reads.credentials))
        self.templates = Templates(self.names, self.build.diagnostics.add, self.build.checked)

    # --- states ------------------------------------------------------------------------------------------------------

    def machine(self, flow: StepFlow) -> StateSource:
        """FlowBuild the machine of a flow."""
        for step in flow.steps:
            if step.aliases:
                names = msgspec.structs.replace(self.names, aliases=step.aliases)
                self.templates = Templates(names, self.build.diagnostics.add, self.build.checked)
            self._lower(self, step)
            self._note_reads(self.build.entries[step.id])
        start = self.place(flow.start)
        return self._closed(start)

    def chain(self, step: FlowStep, states: Sequence[StateSource]) -> StateSource:
        """FlowBuild a machine of states that follow each other, all of one step; the last one ends it."""
        self._alone = step.id
        self.add_chain(step, states)
        self._note_reads(self.entry(step))
        return self._closed(self.entry(step))

    def add_chain(self, step: FlowStep, states: Sequence[StateSource]) -> None:
        """Add states that follow each other; after the last one comes what follows the step."""
        names = [self.entry(step), *(self.helper(step, f"part {part}") for part in range(2, len(states) + 1))]
        for name, state, following in zip(names, states, [*names[1:], None], strict=True):
            onward = self.onward(self.after(step)) if following is None else {"Next": following}
            self.add(step, name, {**state, **onward})

    def after(self, step: FlowStep) -> str | None:
        """Give what follows a step; nothing if it stands alone in its machine."""
        return None if self._alone == step.id else step.after()

    def alone(self, step: FlowStep, lower: Callable[[MachineBuilder, FlowStep], str | None]) -> StateSource:
        """FlowBuild a machine of one step; `lower` may say with which state it starts."""
        self._alone = step.id
        start = lower(self, step) or self.entry(step)
        self._note_reads(self.entry(step))
        return self._closed(start)

    def _closed(self, start: str) -> StateSource:
        if self._end_name is not None:
            self._states[self._end_name] = self._end_state()
        return {"StartAt": start, "States": self._states}

    def add(self, step: FlowStep, name: str, state: StateSource) -> None:
        """Add a state that works for a step."""
        self._states[name] = state
        self.build.states[name] = step.id

    def entry(self, step: FlowStep) -> str:
        """Give the name of the state that a step begins with."""
        return (self.build.cores if self._alone == step.id else self.build.entries)[step.id]

    def helper(self, step: FlowStep, what: str) -> str:
        """Name another state of a step."""
        return self.build.unique(f"{step.id} ({what})")

    def onward(self, step: str | None) -> StateSource:
        """Give the members with which a state leads to a step, or to the end."""
        if step is None and not self._hands_out() and not self._end.is_race and self._checked is None:
            return {"End": True}
        return {"Next": self.place(step)}

    def place(self, step: str | None) -> str:
        """Give the state that a step begins with; that which ends the machine, if there is no step."""
        if step is not None:
            return self.build.entries[step]
        if self._end_name is None:
            self._end_name = self.build.unique("(end)")
        return self._end_name

    def completes(self, output: Json) -> StateSource:
        """Give the members of a state with which the run ends well."""
        if self._checked is None:
            return {"Type": "Succeed", "Output": output}
        return {"Type": "Pass", "Output": output, "Next": self.place(None)}

    def check_of_output(self) -> StateSource:
        """Give the member with which a Succeed state checks the output of the run, if anything must fit."""
        return {} if self._checked is None else {"OutputSchema": self._checked}

    @property
    def _checked(self) -> Json:
        """What the output must fit; None if this is not the machine that ends the run, or anything fits."""
        return None if self.path else self.build.options.output_schema

    # --- what is kept, and handed out --------------------------------------------------------------------------------

    def kept(self, step: FlowStep, value: Json) -> StateSource:
        """Give the member that keeps the output of a step; none if nobody reads it."""
        assigned = {self.build.variable(step.id, self.level): value} if self.is_kept(step) else {}
        return {"Assign": assigned} if assigned else {}

    def is_kept(self, step: FlowStep) -> bool:
        """Say whether the output of a step is kept in this machine."""
        return self.build.is_kept(step.id, self.level)

    def _hands_out(self) -> list[str]:
        """List the steps whose outputs this machine hands out."""
        above = self.level - 1
        return [step for step in self.build.below(self.path) if self.level and self.build.is_kept(step, above)]

    def hands_out(self) -> bool:
        """Say whether its result is an object `{output, steps}`, and not the output alone."""
        return bool(self._hands_out())

    def handed(self, inner: MachineBuilder, steps: Callable[[str], str]) -> StateSource:
        """Give the assignments that keep what a machine in this one hands out; `steps` writes where it stands."""
        return {
            self.build.variable(step, self.level): f"{{% {steps(self.build.keys[step])} ?? null %}}"
            for step in inner._hands_out()
        }

    def _end_state(self) -> StateSource:
        steps = self._hands_out()
        seen = {self.build.keys[step]: f"${self.build.variable(step, self.level)} ?? null" for step in steps}
        if self._end.is_race:
            members = ", ".join(f'"{key}": {value}' for key, value in seen.items())
            ended = f'{{"index": {self._end.branch}, "output": $states.input, "steps": {{{members}}}}}'
            return {"Type": "Fail", "Error": ENDED, "Cause": f"{{% $_json({ended}) %}}"}
        if not steps:
            return {"Type": "Succeed", **self.check_of_output()}
        handed = {key: f"{{% {value} %}}" for key, value in seen.items()}
        return {"Type": "Pass", "Output": {"output": "{% $states.input %}", "steps": handed}, "End": True}

    # --- machines in it ----------------------------------------------------------------------------------------------

    def inner(self, name: str, loops: tuple[LoopNames, ...] = (), end: BranchEnd = PLAIN_END) -> MachineBuilder:
        """Make the builder of a machine in this one."""
        return MachineBuilder(self.build, self._lower, (*self.path, name), (*self.loops, *loops), end)

    def body(
        self, step: FlowStep, index: int, loops: tuple[LoopNames, ...] = (), *, is_race: bool = False
    ) -> tuple[MachineBuilder, StateSource]:
        """FlowBuild one of the machines in a step."""
        inner = self.inner(body_name(step, index), loops, BranchEnd(is_race, index))
        return inner, inner.machine(step.bodies[index])

    # --- errors ------------------------------------------------------------------------------------------------------

    def handlers(self, step: FlowStep, first: list[StateSource] | None = None, after: str | None = None) -> StateSource:
        """Give Retry and Catch of a state.

        `first`: catchers that come before what the author says.
        `after`: the state that follows an error; None: that which follows the step.
        """
        plan = step.errors
        catchers = [*(first or ()), *self._terminate_catchers(step)]
        retriers = []
        if plan.retry is not None and plan.retry.attempts > 1:
            never = [name for catcher in catchers for name in catcher["ErrorEquals"]]
            retriers = [{"ErrorEquals": never, "MaxAttempts": 0}] if never else []
            retriers.append(self.retrier(plan.retry))
        if plan.catches or ERROR in step.ways:
            caught = ERROR_OUTPUT if plan.fallback is MISSING else self._fallback(step)
            after = after or self.place(step.after(ERROR))
            catchers.append({"ErrorEquals": ["States.ALL"], "Output": caught, **self.kept(step, caught), "Next": after})
        return {**({"Retry": retriers} if retriers else {}), **({"Catch": catchers} if catchers else {})}

    def retrier(self, plan: RetryPlan) -> StateSource:
        """Write a plan as a retrier."""
        first, longest = self.seconds(plan.backoff_ms), self.seconds(plan.delay_max_ms)
        written: StateSource = {"ErrorEquals": ["States.ALL"], "MaxAttempts": plan.attempts - 1}
        if longest <= first:
            return {**written, "IntervalSeconds": longest, "BackoffRate": 1}
        return {**written, "IntervalSeconds": first, "BackoffRate": plan.multiplier, "MaxDelaySeconds": longest}

    def seconds(self, milliseconds: float) -> float:
        """Give a time in seconds, whole ones in a definition that stands alone."""
        return self.build.options.seconds(milliseconds)

    def _fallback(self, step: FlowStep) -> Json:
        return self.templates.value(step.errors.fallback, step.errors.pointer / "fallback")

    def _terminate_catchers(self, step: FlowStep) -> list[StateSource]:
        """Let what ends the run pass through a loop or branches, past what handles errors there."""
        if not any(inner.kind == TERMINATE for body in step.bodies for inner in steps_in(body)):
            return []
        done, failed = self.helper(step, "completes the run"), self.helper(step, "fails the run")
        self._states[done] = self._relayed()
        self._states[failed] = {"Type": "Fail", "Error": TERMINATED, "Cause": "{% $states.input.Cause %}"}
        return [{"ErrorEquals": [COMPLETED], "Next": done}, {"ErrorEquals": [TERMINATED], "Next": failed}]

    def _relayed(self) -> StateSource:
        if not self.path:
            return self.completes("{% $parse($states.input.Cause).output ?? null %}")
        return {"Type": "Fail", "Error": COMPLETED, "Cause": "{% $states.input.Cause %}"}

    def members(self, step: FlowStep) -> Members:
        """Give the members of a step's config."""
        return Members(step.config, step.config_pointer, self.build.diagnostics)


ERROR_OUTPUT: Final[Mapping[str, Mapping[str, str]]] = {
    "error": {
        "code": "{% $states.errorOutput.Error ?? null %}",
        "message": "{% $states.errorOutput.Cause ?: null %}",
    }
}
"""The output of a step that has failed, where the run goes on."""


__all__ = [
    "COMPLETED",
    "ENDED",
    "ERROR_OUTPUT",
    "NEXT",
    "TERMINATED",
    "LoopNames",
    "MachineBuilder",
]
