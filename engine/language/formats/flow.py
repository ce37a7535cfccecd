"""The form that all formats are read into: steps, and which follows which. Machines are built from it.

A `StepFlow` is one machine: its steps, and for each what follows it by the way it ends. Loops and branches hold flows
of their own. How a format writes this down is gone here; pointers into its source are kept for problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.errors import Problem
from perdure.engine.language.values import MISSING, Json, Missing

NEXT: Final = "next"
TRUE: Final = "true"
FALSE: Final = "false"
ERROR: Final = "error"
APPROVED: Final = "approved"
REJECTED: Final = "rejected"

ScopePath: TypeAlias = tuple[str, ...]
"""The way from the top to a machine: a name for each machine that is entered."""


ConfigCheck: TypeAlias = Callable[[Json], Sequence[tuple[tuple[str | int, ...], str]]]
"""Finds what is wrong with a config that may hold templates: the way to each problem from the config, and its words."""


class ActionForm(NamedTuple):
    """An action of the catalog as a definition may name it.

    `name`: of the registered step that does it.
    `fields`: the members that its config may have; None for any.
    `required`: those that it must have.
    `is_summary`: whether it must be followed by one that delivers its output.
    `delivers`: whether it is one that does.
    `text_field`: the member of its config with the text that it delivers.
    `check`: finds what is wrong with a config but for `fields` and `required`; None: nothing else is known of it.
    """

    name: str
    fields: frozenset[str] | None = None
    required: tuple[str, ...] = ()
    is_summary: bool = False
    delivers: bool = False
    text_field: str = ""
    check: ConfigCheck | None = None


class RetryPlan(NamedTuple):
    """A limit on how often a step is called, and the pauses between; `attempts` counts the first call."""

    attempts: int = 3
    backoff_ms: float = 1000
    multiplier: float = 2
    delay_max_ms: float = 30_000


class ErrorPlan(NamedTuple):
    """The handling of an error: `retry` first, then the strategy. `fallback` is the output that takes its place."""

    strategy: Literal["fail", "continue"] = "fail"
    retry: RetryPlan | None = None
    fallback: Json | Missing = MISSING
    pointer: JsonPointer = JsonPointer()

    @property
    def catches(self) -> bool:
        """Whether the run goes on after an error."""
        return self.strategy == "continue" or self.fallback is not MISSING

    @property
    def is_default(self) -> bool:
        """Whether an error simply fails the run."""
        return self.retry is None and not self.catches


class FlowStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step.

    `id`: unique in the document.
    `kind`: its type, one of the rows of the table of types, or `action`.
    `action`: the action that it calls, for those of kind `action`.
    `name`: what it is called for people.
    `pointer`: where it stands in the source.
    `config`: what its type makes of it.
    `config_pointer`: where that stands.
    `errors`: what becomes of an error.
    `timeout_ms`: how long it may take; None: as long as the run.
    `bodies`: the flows in it: a loop's, or one for each branch.
    `ways`: the id of the step that follows, by the way it ends; None ends the machine.
    `aliases`: other names by which its templates read the outputs of steps.
    """

    id: str
    kind: str
    action: str = ""
    name: str | None = None
    pointer: JsonPointer
    config: Mapping[str, Json]
    config_pointer: JsonPointer
    errors: ErrorPlan = ErrorPlan()
    timeout_ms: float | None = None
    bodies: tuple[StepFlow, ...] = ()
    ways: Mapping[str, str | None] = {}
    aliases: Mapping[str, str] = {}

    def after(self, way: str = NEXT) -> str | None:
        """Give what follows it by a way; by one that is not given, what simply follows."""
        return self.ways[way] if way in self.ways else self.ways.get(NEXT)


class StepFlow(NamedTuple):
    """The steps of one machine; `start` is the id of the first, None if there is none."""

    start: str | None
    steps: tuple[FlowStep, ...]


class StepOutline(msgspec.Struct, frozen=True):
    """A step as records of runs show it, with those in it, by branch."""

    id: str
    name: str
    kind: str
    bodies: tuple[tuple[StepOutline, ...], ...] = ()


class DocumentOutline(msgspec.Struct, frozen=True):
    """The steps of a version, with which a run's log is read by somebody who thinks in steps.

    `steps`: in the order of the document.
    `states`: for each state, nested ones too, the id of the step that it works for; those of none are not here.
    `credentials`: for each state that may have some resolved, their names.
    `is_enveloped`: whether a run's input is `{body, headers, query, method}` and not the input itself.
    `input_schema`, `output_schema`: JSON Schemas that a run's input and output must fit; None: anything does.
    `follows`: for each step, those of the same machine that may come next.
    `is_of_states`: there is no other document than the definition, and each state is a step.
    """

    steps: tuple[StepOutline, ...] = ()
    states: Mapping[str, str] = {}
    credentials: Mapping[str, tuple[str, ...]] = {}
    is_enveloped: bool = False
    input_schema: Json = None
    output_schema: Json = None
    follows: Mapping[str, tuple[str, ...]] = {}
    is_of_states: bool = False

    @classmethod
    def of_definition(cls, definition: Mapping[str, Json]) -> DocumentOutline:
        """Give the outline of a valid definition that is no other document's: each state is a step of its own."""
        steps = _states_of(definition)
        states = {step.id: step.id for step in _all_of(steps)}
        return cls(steps, states, is_of_states=True).following(definition)

    def following(self, definition: Mapping[str, Json]) -> DocumentOutline:
        """Give it with what follows each step, read from the definition that it is of."""
        return msgspec.structs.replace(self, follows=_follows(definition, self.states))

    @classmethod
    def from_json(cls, text: str | bytes) -> DocumentOutline:
        """Read what `to_json` wrote. Raises `msgspec.ValidationError`."""
        return msgspec.json.decode(text, type=cls)

    def to_json(self) -> str:
        """Write it as JSON, the same outline always alike."""
        return msgspec.json.encode(self, order="deterministic").decode()


class CompiledDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document that has been compiled.

    `definition`: the machine, in Amazon States Language.
    `steps`: its steps, in the order of the document.
    `states`: for each state of the definition, nested ones too, the id of the step that it works for; the output of
        a step is that of the last of its states that was left. States that work for none are not here.
    `credentials`: for each state that names credentials, their names.
    `settings`: the rules for its runs, as the document has them: the workflow's, and no part of the definition.
    `input_schema`: the JSON Schema that a run's input must fit, whoever starts it; None for anything.
    `output_schema`: likewise its output; the definition itself checks it.
    `is_enveloped`: whether a run's input is `{body, headers, query, method}` and not the input itself.
    `warnings`: what is probably not meant.
    """

    definition: dict[str, Json]
    steps: tuple[StepOutline, ...] = ()
    states: Mapping[str, str] = {}
    credentials: Mapping[str, tuple[str, ...]] = {}
    settings: Mapping[str, Json] = {}
    input_schema: Json = None
    output_schema: Json = None
    is_enveloped: bool = False
    warnings: tuple[Problem, ...] = ()

    @property
    def outline(self) -> DocumentOutline:
        """What records of runs need of it."""
        found = DocumentOutline(
            self.steps, self.states, self.credentials, self.is_enveloped, self.input_schema, self.output_schema
        )
        return found.following(self.definition)


class DocumentError(ValueError):
    """A document that cannot be compiled; `problems` is everything that is wrong with it, and never empty."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{problems[0].path or 'document'}: {problems[0].message}")
        self.problems = problems


def steps_in(flow: StepFlow) -> Iterator[FlowStep]:
    """List all steps of a flow, those in it too, in the order of the document."""
    for step in flow.steps:
        yield step
        for body in step.bodies:
            yield from steps_in(body)


def outlined(flow: StepFlow) -> tuple[StepOutline, ...]:
    """Give the steps of a flow as records of runs show them."""
    return tuple(
        StepOutline(step.id, step.name or step.id, step.action or step.kind, tuple(map(outlined, step.bodies)))
        for step in flow.steps
    )


def _states_of(machine: Mapping[str, Any]) -> tuple[StepOutline, ...]:
    """Give the states of a machine as steps, with those of its branches or of its iterations in them."""
    return tuple(_state(name, state) for name, state in machine["States"].items())


def _state(name: str, state: Mapping[str, Any]) -> StepOutline:
    return StepOutline(name, name, state["Type"], tuple(map(_states_of, _machines_in(state))))


def _machines_in(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inner = state.get("ItemProcessor", state.get("Iterator"))
    return [inner] if inner is not None else state.get("Branches", [])


def _all_of(steps: tuple[StepOutline, ...]) -> Iterator[StepOutline]:
    for step in steps:
        yield step
        for body in step.bodies:
            yield from _all_of(body)


def _follows(machine: Mapping[str, Any], states: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Give the steps that may come after each step of a machine, and of those in it."""
    found = dict[str, dict[str, None]]()
    for name, state in machine["States"].items():
        step = states.get(name)
        if step is not None:
            found.setdefault(step, {}).update(dict.fromkeys(_next_steps(machine["States"], name, states)))
        for inner in _machines_in(state):
            for each, after in _follows(inner, states).items():
                found.setdefault(each, {}).update(dict.fromkeys(after))
    return {step: tuple(after) for step, after in found.items() if after}


def _next_steps(found: Mapping[str, Any], name: str, states: Mapping[str, str]) -> Iterator[str]:
    """List the other steps to which a state leads, by states that are no step's if need be."""
    ahead, seen = [name], {name}
    while ahead:
        for target in _targets(found[ahead.pop()]):
            if target in seen or target not in found:
                continue
            seen.add(target)
            if states.get(target) is None:
                ahead.append(target)
            elif states[target] != states[name]:
                yield states[target]


def _targets(state: Mapping[str, Any]) -> Iterator[str]:
    for holder in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        if "Next" in holder:
            yield holder["Next"]
    if "Default" in state:
        yield state["Default"]
