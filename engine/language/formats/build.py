"""The state of one compilation: names of states and variables, which outputs are kept, and what was read.

The output of a step is kept in a variable of its machine, `step_LEVEL_KEY`, if some template reads it. A machine in a
loop or a branch sees the variables around it; what is read from outside is handed out with the machine's result, and
kept again one level up. LEVEL is the number of machines around, so that no name is assigned twice along a way down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from perdure.engine.language.diagnostics import Diagnostics
from perdure.engine.language.formats.flow import ActionForm, FlowStep, ScopePath, StepFlow, steps_in
from perdure.engine.language.formats.names import keys_for
from perdure.engine.language.parse.machine import NAME_MAX
from perdure.engine.language.values import Json

TERMINATE: Final = "terminate"


class BuildOptions(NamedTuple):
    """The surroundings of a document.

    `actions`: the actions that it may name.
    `variables`: the author's variables, with their defaults.
    `has_credentials`: whether there are credentials.
    `is_enveloped`: whether a run's input is `{body, headers, query, method}`.
    `is_standalone`: whether the definition says itself how long a run may take, in whole seconds.
    `output_schema`: what a run's output must fit; None for anything.
    """

    actions: Mapping[str, ActionForm]
    variables: Mapping[str, Json] = {}
    has_credentials: bool = False
    is_enveloped: bool = False
    is_standalone: bool = False
    output_schema: Json = None

    def seconds(self, milliseconds: float) -> float:
        """Give a time in seconds: to the millisecond, of which there is at least one.

        In a definition that stands alone, which anybody may read as one written by hand, it is rounded up to whole
        seconds.
        """
        if self.is_standalone:
            return max(1, math.ceil(milliseconds / 1000))
        whole, rest = divmod(max(1, round(milliseconds)), 1000)
        return whole + rest / 1000 if rest else whole


class FlowBuild:
    """One pass over the steps of a document.

    `kept`: the outputs to keep, (id of the step, level); None keeps them all.
    `checked`: the expressions in which an earlier pass found nothing wrong.
    """

    def __init__(
        self,
        flow: StepFlow,
        options: BuildOptions,
        diagnostics: Diagnostics,
        kept: frozenset[tuple[str, int]] | None = None,
        checked: set[str] | None = None,
    ) -> None:
        self.options = options
        self.diagnostics = diagnostics
        self._kept = kept
        self.checked = set[str]() if checked is None else checked
        self.where: dict[str, ScopePath] = {}
        """The machine that keeps the output of each step."""
        self._below: dict[ScopePath, list[str]] = {}
        self.reads: list[tuple[str, ScopePath]] = []
        """The steps whose outputs are read, and in which machines."""
        self.roots: set[tuple[str, ScopePath]] = set()
        """What else is read: the variable, and the machine that reads it."""
        self.variables: set[str] = set()
        """The author's variables that are read."""
        self.states: dict[str, str] = {}
        self.credentials: dict[str, tuple[str, ...]] = {}
        self._taken: set[str] = set()
        steps = list(steps_in(flow))
        self.keys = keys_for(step.id for step in steps)
        self.variable_names = {name: f"variable_{key}" for name, key in keys_for(options.variables).items()}
        self.cores = {step.id: self.unique(_core(step)) for step in steps}
        """The state that does what a step is for: a wait is resumed by its name."""
        self.entries = {
            step.id: self.unique(f"{step.id} (start)") if is_prepared(step) else self.cores[step.id] for step in steps
        }
        """The state that a step begins with."""
        self._locate(flow, ())

    def _locate(self, flow: StepFlow, path: ScopePath) -> None:
        for step in flow.steps:
            self.where[step.id] = path
            for level in range(len(path) + 1):
                self._below.setdefault(path[:level], []).append(step.id)
            inner = (*path, wrapper(step)) if is_wrapped(step) else path
            for index, body in enumerate(step.bodies):
                self._locate(body, (*inner, body_name(step, index)))

    def unique(self, text: str) -> str:
        """Give a name for a state that no other has."""
        name, number = text[:NAME_MAX], 2
        while name in self._taken:
            ending = f" {number}"
            name, number = text[: NAME_MAX - len(ending)] + ending, number + 1
        self._taken.add(name)
        return name

    def is_kept(self, step: str, level: int) -> bool:
        """Say whether the output of a step is kept at a level."""
        return self._kept is None or (step, level) in self._kept

    def variable(self, step: str, level: int) -> str:
        """Give the variable that the output of a step is kept in."""
        return f"step_{level}_{self.keys[step]}"

    def variable_seen(self, step: str, path: ScopePath) -> str:
        """Give the variable in which a machine sees the output of a step."""
        return self.variable(step, common(self.where[step], path))

    def below(self, path: ScopePath) -> Sequence[str]:
        """List the steps whose outputs are kept in a machine, or in one in it."""
        return self._below.get(path, ())

    def wanted(self) -> frozenset[tuple[str, int]]:
        """Say which outputs are to be kept, after what was read."""
        return frozenset(
            (step, level)
            for step, path in self.reads
            for level in range(common(self.where[step], path), len(self.where[step]) + 1)
        )


class SeenSteps(Mapping[str, str]):
    """The variables, with their `$`, in which a machine sees the outputs of all steps."""

    def __init__(self, build: FlowBuild, path: ScopePath) -> None:
        self._build = build
        self._path = path

    def __getitem__(self, step: str) -> str:
        return "$" + self._build.variable_seen(step, self._path)

    def __contains__(self, step: object) -> bool:
        return step in self._build.where

    def __iter__(self) -> Iterator[str]:
        return iter(self._build.where)

    def __len__(self) -> int:
        return len(self._build.where)


def common(first: ScopePath, second: ScopePath) -> int:
    """Give the level of the innermost machine around both."""
    level = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        level += 1
    return level


def is_wrapped(step: FlowStep) -> bool:
    """Say whether a step runs in a machine of its own, which is what can fail, be caught and have a time limit."""
    if step.kind in ("action", "workflow", "wait_for_resume", "condition", "state", "switch", TERMINATE):
        return False
    if step.kind == "approval":
        return not step.errors.is_default
    has_handlers = not step.errors.is_default or "error" in step.ways
    if step.kind in ("loop", "parallel"):
        return step.timeout_ms is not None
    return has_handlers or (step.kind == "wait" and step.timeout_ms is not None)


def wrapper(step: FlowStep) -> str:
    """Name the machine around a step alone."""
    return f"{step.id}*"


def body_name(step: FlowStep, index: int) -> str:
    """Name one of the machines in a step."""
    return f"{step.id}#{index}"


def is_prepared(step: FlowStep) -> bool:
    """Say whether something comes before the state that does what a step is for."""
    return is_wrapped(step) or (step.kind == "approval" and needed_answers(step) > 1)


def needed_answers(step: FlowStep) -> int:
    """Give how many people must answer an approval."""
    required = step.config.get("required")
    return required if type(required) is int else 1


def _core(step: FlowStep) -> str:
    """Name the state that does what a step is for; a wait has the name that it is resumed by."""
    given = step.config.get("name") if step.kind == "wait_for_resume" else None
    return given if isinstance(given, str) and given else step.id
