"""Compiled states: what each type does with its input, its result and the context object.

A state is a frozen value that its definition has been compiled into. It knows nothing of events, time or
tasks: whoever runs an execution asks it for the effective input, does the work, hands it the result, and
asks for the output. Fields that are absent, or ``$``, are None, so that a state without them costs nothing:
the very object that went in comes out.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple, TypeAlias

from engine.language import errors
from engine.language.errors import StatesError
from engine.language.expressions import Expression
from engine.language.instants import parse_instant
from engine.language.resources import Resource, step_named
from engine.language.results import ResultPath
from engine.language.values import MISSING, Context, Json, Missing, compact

SECONDS_MAX: Final = 99_999_999
"""The longest Wait that AWS accepts, a little over three years."""

Condition: TypeAlias = Callable[[Json, Context], bool]
"""Whether a Choice rule matches an effective input; raises StatesError."""


class Rules(NamedTuple):
    """The rules of a Choice state.

    Attributes:
        pairs: The condition of each and the state it leads to, in order.
        uses_context: Whether one of them reads the context object.
    """

    pairs: tuple[tuple[Condition, str], ...]
    uses_context: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BaseState:
    """What every state has.

    Attributes:
        name: Its name in the machine.
        next: The state that follows; None where the execution, or a branch of it, ends here, and for a
            Choice, whose rules tell.
        comment: What the author says about it.
        needs_context: Whether one of its fields reads the context object. If not, any mapping will do.
    """

    type: ClassVar[str]
    name: str
    next: str | None = None
    comment: str | None = None
    needs_context: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FilteringState(BaseState):
    """A state with InputPath and OutputPath."""

    input_path: Expression | None = None
    output_path: Expression | None = None

    def effective_input(self, raw_input: Json, context: Context) -> Json:
        """Apply InputPath.

        Raises:
            StatesError: A path finds nothing.
        """
        return raw_input if self.input_path is None else self.input_path.evaluate(raw_input, context)

    def output(self, raw_input: Json, result: Json, context: Context) -> Json:  # noqa: ARG002
        """Apply OutputPath to the result: of this state's type, that is its effective input.

        Raises:
            StatesError: A path finds nothing.
        """
        return result if self.output_path is None else self.output_path.evaluate(result, context)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkingState(FilteringState):
    """A state with a result of its own, which it can place in its input."""

    parameters: Expression | None = None
    result_selector: Expression | None = None
    result_path: ResultPath | None = None
    shapes_input: bool = False
    """Whether the effective input is another value than the raw input."""
    shapes_output: bool = False
    """Whether the output is another value than the result."""

    def effective_input(self, raw_input: Json, context: Context) -> Json:
        """Apply InputPath, then Parameters.

        Raises:
            StatesError: A path finds nothing.
        """
        if not self.shapes_input:
            return raw_input
        value = raw_input if self.input_path is None else self.input_path.evaluate(raw_input, context)
        return value if self.parameters is None else self.parameters.evaluate(value, context)

    def output(self, raw_input: Json, result: Json, context: Context) -> Json:
        """Apply ResultSelector to the result, put that into the raw input by ResultPath, apply OutputPath.

        Raises:
            StatesError: A path finds nothing, or ResultPath does not fit the raw input.
        """
        if not self.shapes_output:
            return result
        if self.result_selector is not None:
            result = self.result_selector.evaluate(result, context)
        if self.result_path is not None:
            result = self.result_path.put(raw_input, result)
        return result if self.output_path is None else self.output_path.evaluate(result, context)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PassState(WorkingState):
    """Passes its input on, or a fixed result."""

    type: ClassVar[str] = "Pass"
    fixed_result: Json | Missing = MISSING

    def result(self, effective_input: Json) -> Json:
        """Give Result if the definition has it, else the effective input."""
        return effective_input if self.fixed_result is MISSING else self.fixed_result


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskState(WorkingState):
    """Calls a step, or waits for an outside party.

    Attributes:
        resource: What is called.
        step: Name of the registered step, as far as the definition tells it; None for a mere wait, and for
            ``lambda:invoke`` with a FunctionName that a path gives.
    """

    type: ClassVar[str] = "Task"
    resource: Resource
    step: str | None = None

    def step_for(self, effective_input: Json) -> str | None:
        """Give the name of the step for one run of this state; None for a mere wait.

        Raises:
            StatesError: ``lambda:invoke`` without a FunctionName.
        """
        if self.step is not None or not self.resource.is_lambda_invoke:
            return self.step
        step = step_named(self.resource, effective_input)
        if step is None:
            raise StatesError(errors.RUNTIME, "The parameters of lambda:invoke must hold a FunctionName.")
        return step


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceState(FilteringState):
    """Chooses the next state by its rules."""

    type: ClassVar[str] = "Choice"
    rules: Rules
    default: str | None = None

    def choose(self, effective_input: Json, context: Context) -> str:
        """Give the name of the next state: that of the first rule that matches, else the Default.

        Raises:
            StatesError: No rule matches and there is no Default, or a rule's path finds nothing.
        """
        for matches, following in self.rules.pairs:
            if matches(effective_input, context):
                return following
        if self.default is None:
            raise StatesError(
                errors.NO_CHOICE,
                "Failed to transition out of the state. The state does not point to a next state.",
            )
        return self.default


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WaitState(FilteringState):
    """Waits until an instant. Exactly one of its four own fields is given."""

    type: ClassVar[str] = "Wait"
    seconds: int | None = None
    timestamp_ms: int | None = None
    seconds_path: Expression | None = None
    timestamp_path: Expression | None = None

    def due_ms(self, effective_input: Json, context: Context, entered_ms: int) -> int:
        """Give the instant at which the wait ends, in milliseconds since 1970; never before entered_ms.

        Raises:
            StatesError: A path finds nothing, or something that is neither a whole number of seconds from
                0 to SECONDS_MAX nor a timestamp.
        """
        if self.seconds is not None:
            return entered_ms + self.seconds * 1000
        if self.timestamp_ms is not None:
            return max(entered_ms, self.timestamp_ms)
        if self.seconds_path is not None:
            return entered_ms + self._seconds_from(self.seconds_path, effective_input, context) * 1000
        if self.timestamp_path is not None:
            return max(entered_ms, self._instant_from(self.timestamp_path, effective_input, context))
        raise AssertionError("a Wait without a time cannot be compiled")

    @staticmethod
    def _seconds_from(path: Expression, effective_input: Json, context: Context) -> int:
        value = path.evaluate(effective_input, context)
        if type(value) is not int or not 0 <= value <= SECONDS_MAX:
            raise StatesError(
                errors.RUNTIME,
                f"The SecondsPath parameter does not reference a whole number of seconds "
                f"from 0 to {SECONDS_MAX}: {path.source} == {compact(value)[:200]}",
            )
        return value

    @staticmethod
    def _instant_from(path: Expression, effective_input: Json, context: Context) -> int:
        value = path.evaluate(effective_input, context)
        due = parse_instant(value) if type(value) is str else None
        if due is None:
            raise StatesError(
                errors.RUNTIME,
                "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time "
                f"format string: {path.source} == {compact(value)[:200]}",
            )
        return due


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SucceedState(FilteringState):
    """Ends the execution with success."""

    type: ClassVar[str] = "Succeed"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FailState(BaseState):
    """Ends the execution with an error."""

    type: ClassVar[str] = "Fail"
    error: str | None = None
    cause: str | None = None
    error_path: Expression | None = None
    cause_path: Expression | None = None

    def failure(self, raw_input: Json, context: Context) -> tuple[str | None, str | None]:
        """Give the error and the cause; None for what the definition does not give.

        Raises:
            StatesError: A path finds nothing, or no string.
        """
        return (
            self._text("ErrorPath", self.error, self.error_path, raw_input, context),
            self._text("CausePath", self.cause, self.cause_path, raw_input, context),
        )

    @staticmethod
    def _text(
        field: str, literal: str | None, path: Expression | None, raw_input: Json, context: Context
    ) -> str | None:
        if path is None:
            return literal
        value = path.evaluate(raw_input, context)
        if type(value) is not str:
            raise StatesError(
                errors.RUNTIME,
                f"The {field} field does not reference a string: {path.source} == {compact(value)[:200]}",
            )
        return value


State: TypeAlias = PassState | TaskState | ChoiceState | WaitState | SucceedState | FailState
