"""Compiled states: the behaviour of each type, given its input, its result and an environment.

A state is a frozen value that its definition has been compiled into. It knows nothing of events, time or
tasks: whoever runs an execution asks it for the arguments, does the work, hands it the result, and asks what it
is left with. How data flows through it is its `Flow`, one for each query language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeAlias

import msgspec

from perdure.engine.language import errors
from perdure.engine.language.errors import StatesError
from perdure.engine.language.model.flows import Flow, Left, PathFlow
from perdure.engine.language.model.resources import Resource, step_named
from perdure.engine.language.model.schemas import ValueSchema
from perdure.engine.language.values import MISSING, Json, Missing, quoted

if TYPE_CHECKING:
    from perdure.engine.language.evaluate.environment import Environment
    from perdure.engine.language.evaluate.expressions import Expression
    from perdure.engine.language.evaluate.paths import Steps
    from perdure.engine.language.model.choices import Rule
    from perdure.engine.language.model.handlers import Catcher, Retrier


WAIT_SECONDS_MAX: Final = 2**31 - 1
"""The longest time of a Wait state: some 68 years (recorded of AWS)."""


class Chosen(NamedTuple):
    """The result of a Choice: the next state, its output, the variables that are assigned, and the rule's index.

    `rule` is the index of the rule that matched; None: the Default.
    """

    next: str
    output: Json
    assigned: dict[str, Json]
    rule: int | None = None


class BaseState(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that every state has.

    `name`: its name in the machine.
    `next`: the state that follows; None where the execution, or a branch of it, ends here, and for a Choice, whose
        rules tell.
    `comment`: what the author says about it.
    `query_language`: JSONPath or JSONata.
    """

    type: ClassVar[str]
    name: str
    next: str | None = None
    comment: str | None = None
    query_language: str = "JSONPath"


class FlowingState(BaseState, frozen=True, kw_only=True):
    """A state that has an output."""

    flow: Flow = PathFlow()  # frozen

    def arguments(self, env: Environment) -> Json:
        """Give the effective input: what the state works with.

        Raises StatesError: a path finds nothing, or an expression fails.
        """
        return self.flow.arguments(env)

    def leave(self, result: Json, env: Environment) -> Left:
        """Give what the state is left with, once its work has this result.

        Raises StatesError: a path finds nothing, a result does not fit into the input, or an expression fails.
        """
        env.result = result
        return self.flow.leave(result, env)


class PassState(FlowingState, frozen=True, kw_only=True):
    """Passes its input on, or a fixed result."""

    type: ClassVar[str] = "Pass"
    fixed_result: Json | Missing = MISSING

    def result(self, effective: Json, env: Environment) -> Json:
        """Give Result if the definition has it, else the effective input."""
        if self.fixed_result is MISSING:
            return effective
        if env.trace is not None:
            env.trace["result"] = self.fixed_result
        return self.fixed_result


class HandlingState(FlowingState, frozen=True, kw_only=True):
    """A state whose work can fail.

    `retriers`: in the order in which they are asked.
    `catchers`: likewise, after the retriers.
    """

    retriers: tuple[Retrier, ...] = ()
    catchers: tuple[Catcher, ...] = ()


class TaskState(HandlingState, frozen=True, kw_only=True):
    """Calls a step, or waits for an outside party.

    `resource`: what is called.
    `step`: name of the registered step, as far as the definition tells it; None for a mere wait, and for
        `lambda:invoke` with a FunctionName that a path gives.
    `reads_context`: whether the arguments may read the context object.
    `timeout`: seconds that the task may take; None for no limit.
    `heartbeat`: seconds that it may be silent; None for no limit.
    `credentials`: whom it acts for; checked, and not used.
    """

    type: ClassVar[str] = "Task"
    resource: Resource
    step: str | None = None
    reads_context: bool = False
    timeout: Expression | None = None
    heartbeat: Expression | None = None
    credentials: Expression | None = None

    def step_for(self, arguments: Json) -> str | None:
        """Give the name of the step for one run of this state; None for a mere wait.

        Raises StatesError: `lambda:invoke` without a FunctionName.
        """
        if self.step is not None or not self.resource.is_lambda_invoke:
            return self.step
        step = step_named(self.resource, arguments)
        if step is None:
            raise StatesError(errors.RUNTIME, "The parameters of lambda:invoke must hold a FunctionName.")
        return step

    def timeout_ms(self, env: Environment, _arguments: Json = None) -> int | None:
        """Give the milliseconds that the task may take; None for no limit.

        Raises StatesError: a path or an expression gives none, or no whole number of seconds from 1 to SECONDS_MAX.
        """
        return self._ms(self.timeout, env)

    def heartbeat_ms(self, env: Environment, _arguments: Json = None) -> int | None:
        """Give the milliseconds that the task may be silent; None for no limit. Raises as timeout_ms does."""
        return self._ms(self.heartbeat, env)

    def _ms(self, seconds: Expression | None, env: Environment) -> int | None:
        if seconds is None:
            return None
        given: float = seconds.evaluate(self.flow.filtered(env), env)
        return round(given * 1000)


class ParallelState(HandlingState, frozen=True, kw_only=True):
    """Runs machines side by side on one input; its result is the list of their outputs."""

    type: ClassVar[str] = "Parallel"
    branches: tuple[Machine, ...]


class MapState(HandlingState, frozen=True, kw_only=True):
    """Runs one machine for each item of a list; its result is the list of their outputs.

    `processor`: the machine.
    `listing`: what gives the list, from the effective input; None if that is the list.
    `items_ref`: the way from the raw input to the list, as member names and indexes; None if it is computed.
    `item_selector`: makes the input of an iteration; None if that is the item.
    `concurrency_max`: iterations at once; None for no limit.
    `tolerated_count`: items that may fail.
    `tolerated_percentage`: the number of of 100 items may fail.
    `processor_field`: under which name the definition has the machine: ItemProcessor, or Iterator as it was.
    `label`: names its map runs; "" if there is none.
    """

    type: ClassVar[str] = "Map"
    processor: Machine
    listing: Expression | None = None
    items_ref: Steps | None = None
    item_selector: Expression | None = None
    concurrency_max: Expression | None = None
    tolerated_count: Expression | None = None
    tolerated_percentage: Expression | None = None
    processor_field: str = "ItemProcessor"
    label: str = ""

    @property
    def has_item_selector(self) -> bool:
        """Whether the input of an iteration is made, and not the item itself."""
        return self.item_selector is not None

    def items(self, arguments: Json, env: Environment) -> list[Json]:
        """Give the items.

        Raises StatesError: what stands there, or is computed, is no list.
        """
        items = arguments if self.listing is None else self.listing.evaluate(arguments, env)
        if type(items) is not list:  # JSONata's Items is checked by its expression
            raise self._no_list(items)
        if env.trace is not None:
            env.trace["afterItemsPath"] = items
        return items

    def _no_list(self, items: Json) -> StatesError:
        if self.query_language == "JSONata":
            cause = f"Map state input must be an array but was: {quoted(items)}"
            return StatesError(errors.QUERY_EVALUATION_ERROR, cause)
        where = "$" if self.listing is None else self.listing.source
        return StatesError(errors.RUNTIME, f'Reference path "{where}" must point to array.')

    def item_input(self, item: Json, env: Environment) -> Json:
        """Give the input of the iteration over an item, which the context object describes as Map.Item.

        Paths of ItemSelector start from the Map's own effective input (recorded: test_map_state_parameters_legacy).

        Raises StatesError: a path finds nothing, or an expression fails.
        """
        return item if self.item_selector is None else self.item_selector.evaluate(self.flow.arguments(env), env)

    def concurrency(self, env: Environment, arguments: Json) -> int:
        """Give how many iterations may run at once; 0 for no limit.

        Raises StatesError: a path or an expression gives none, or no whole number from 0.
        """
        limit: int = 0 if self.concurrency_max is None else self.concurrency_max.evaluate(arguments, env)
        return limit

    def tolerance(self, count: int, env: Environment, arguments: Json) -> int:
        """Give how many of so many items may fail before the state does.

        Raises StatesError: a path or an expression gives none, no whole number from 0, or no percentage.
        """
        given: list[int] = []
        if self.tolerated_count is not None:
            given.append(int(self.tolerated_count.evaluate(arguments, env)))
        if self.tolerated_percentage is not None:
            given.append(int(count * self.tolerated_percentage.evaluate(arguments, env) / 100))
        return min(given, default=0)


class ChoiceState(FlowingState, frozen=True, kw_only=True):
    """Chooses the next state by its rules."""

    type: ClassVar[str] = "Choice"
    rules: tuple[Rule, ...]
    default: str | None = None

    def choose(self, env: Environment) -> Chosen:
        """Choose: by the first rule that matches, else the Default.

        Raises StatesError: no rule matches and there is no Default; or a path finds nothing, or an expression fails.
        """
        effective = self.flow.arguments(env)
        for index, rule in enumerate(self.rules):
            if rule.matches(effective, env):
                return Chosen(rule.next, *rule.flow.leave(effective, env), index)
        if self.default is None:
            raise StatesError(
                errors.NO_CHOICE,
                "Failed to transition out of the state. The state does not point to a next state.",
            )
        return Chosen(self.default, *self.flow.leave(effective, env))


class WaitState(FlowingState, frozen=True, kw_only=True):
    """Waits until an instant. Exactly one of its two own fields is given."""

    type: ClassVar[str] = "Wait"
    seconds: Expression | None = None
    timestamp: Expression | None = None

    def due_ms(self, env: Environment, entered_ms: int) -> int:
        """Give the instant at which the wait ends, in milliseconds since 1970; never before entered_ms.

        Raises StatesError: a path finds nothing, or something that is neither a whole number of seconds from 0 to
        SECONDS_MAX nor a timestamp; or an expression fails or gives the like; or it is more than WAIT_SECONDS_MAX
        ahead.
        """
        effective = self.flow.filtered(env)
        if self.seconds is not None:
            seconds: int = self.seconds.evaluate(effective, env)
            return entered_ms + seconds * 1000
        if self.timestamp is None:
            raise AssertionError("a Wait without a time cannot be compiled")
        due: int = self.timestamp.evaluate(effective, env)
        if due - entered_ms > WAIT_SECONDS_MAX * 1000:
            raise StatesError(errors.RUNTIME, "Wait state delay is too long.")
        return max(entered_ms, due)


class SucceedState(FlowingState, frozen=True, kw_only=True):
    """Ends the execution, or a branch of it, with success.

    `output_schema`: what its output must fit; in compiled definitions only.
    """

    type: ClassVar[str] = "Succeed"
    output_schema: ValueSchema | None = None

    def leave(self, result: Json, env: Environment) -> Left:
        """Give what the machine ends with. Raises StatesError, also where that does not fit the document's schema."""
        left = super().leave(result, env)
        if self.output_schema is not None:
            self.output_schema.check_output(left.output)
        return left


class FailState(BaseState, frozen=True, kw_only=True):
    """Ends the execution with an error.

    `error`: gives the name of the error.
    `cause`: gives what happened.
    `literal_error`: the name of the error, if the definition itself has it.
    """

    type: ClassVar[str] = "Fail"
    error: Expression | None = None
    cause: Expression | None = None
    literal_error: str | None = None

    def failure(self, env: Environment) -> tuple[str | None, str | None]:
        """Give the error and the cause; None for what the definition does not give.

        Raises StatesError: a path finds nothing or no string, or an expression fails or gives none.
        """
        return (
            None if self.error is None else self.error.evaluate(env.input, env),
            None if self.cause is None else self.cause.evaluate(env.input, env),
        )


CompiledState: TypeAlias = (
    PassState | TaskState | ChoiceState | WaitState | SucceedState | FailState | ParallelState | MapState
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled definition, or one that is nested in another: a branch of a Parallel, the processor of a Map.

    `start_at`: name of the first state.
    `states`: its states by name, in document order.
    `comment`: what the author says about it.
    `query_language`: the query language of states that name none.
    `timeout_seconds`: how long an execution may take; None for no limit.
    `version`: version of the States Language, if the definition has it.
    `literal_errors`: the error names that stand in the definition, nested machines included.
    `varies`: whether a task of it may be called again with other parameters in the same visit.
    """

    start_at: str
    states: Mapping[str, CompiledState]
    comment: str | None = None
    query_language: str = "JSONPath"
    timeout_seconds: float | None = None
    version: str | None = None
    literal_errors: frozenset[str] = frozenset()
    varies: bool = False

    @property
    def timeout_ms(self) -> int | None:
        """Give the milliseconds that an execution may take; None for no limit."""
        return None if self.timeout_seconds is None else round(self.timeout_seconds * 1000)


def nested_in(state: CompiledState) -> tuple[Machine, ...]:
    """Give the machines that a state runs."""
    if isinstance(state, ParallelState):
        return state.branches
    return (state.processor,) if isinstance(state, MapState) else ()


def varies(state: CompiledState) -> bool:
    """Say whether a task of this state, or in it, may be called again with other parameters in the same visit.

    One that is tried again itself may if it reads the context object; one in a Parallel or Map that is tried again may
    in any case.
    """
    if not isinstance(state, HandlingState):
        return False
    if isinstance(state, TaskState):
        return bool(state.retriers) and state.reads_context
    return bool(state.retriers) or any(machine.varies for machine in nested_in(state))


def errors_in(states: Mapping[str, CompiledState]) -> Iterator[str]:
    """List the error names that stand in Fail states, Retry and Catch, those of nested machines included."""
    for state in states.values():
        if isinstance(state, FailState) and state.literal_error is not None:
            yield state.literal_error
        if isinstance(state, HandlingState):
            for names in (*(each.errors for each in state.retriers), *(each.errors for each in state.catchers)):
                yield from names.names
        for machine in nested_in(state):
            yield from machine.literal_errors
