"""The registry of steps: functions that Task states call, by name.

    registry = Registry()

    @registry.step("billing.charge")
    async def charge(input, context): ...

What is said of a step with it (a JSON Schema of its config, a title …) is what `GET /v1/actions` shows; by the schema
the configs of steps are checked when a definition is saved:

    @registry.step(
        "billing.charge",
        title="Charge a card",
        config={
            "type": "object",
            "properties": {"amount": {"type": "integer", "minimum": 1}, "currency": {"enum": ["EUR", "USD"]}},
            "required": ["amount"],
            "additionalProperties": False,
        },
        has_effects=True,
    )
    async def charge(input, context): ...

A step takes its input, a JSON value of its own that it may change, and if it names a parameter `context` its
`StepContext`. What it returns must be JSON (`engine.steps.invoke`). It may be called more than once for the
same work, always with the same idempotency key.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import structlog

from perdure.engine.language.model.resources import parse_resource
from perdure.engine.steps.schemas import ConfigSchema

F = TypeVar("F", bound=Callable[..., Any])

_CONTEXT: Final = "context"
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC: Final[Mapping[object, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


class StepFailed(Exception):
    """Raised by a step to fail with an error name of its choice, which Retry and Catch can name.

    `error`: the error name, for example `Billing.CardDeclined`.
    `cause`: what happened, in words for a human; None if the name says it all.
    `is_retryable`: whether trying again may help. If not, no Retry is asked, whatever it names; a Catch is.
    """

    def __init__(self, error: str, cause: str | None = None, *, is_retryable: bool = True) -> None:
        super().__init__(error if cause is None else f"{error}: {cause}")
        self.error = error
        self.cause = cause
        self.is_retryable = is_retryable

    def __reduce__(self) -> tuple[Callable[..., StepFailed], tuple[str, str | None]]:
        # By default an exception is pickled with its text as the only argument.
        make: Callable[..., StepFailed] = type(self)
        return (make if self.is_retryable else functools.partial(make, is_retryable=False)), (self.error, self.cause)


class StepContext(msgspec.Struct, frozen=True):
    """Information for a step about its call.

    `execution_id`: which execution it works for.
    `state`: Name of the Task state.
    `attempt`: 0 for the first, then one more for each Retry.
    `idempotency_key`: the same for every attempt, of the Parallel or Map around it too, and every repetition after a
        crash; different for any other work or input. Hand it to whatever the step changes, so that repeating does no
        harm. At most 255 characters.
    `wait_id`: the wait that `.waitForResume` opened before this call; None for other resources.
    `workspace_id`: which workspace the execution belongs to.
    """

    execution_id: str
    state: str
    attempt: int
    idempotency_key: str
    wait_id: str | None = None
    workspace_id: str = ""

    @property
    def logger(self) -> Any:
        """A structlog logger bound to these values. Keep it if you log often: each read binds anew."""
        return structlog.get_logger("perdure.steps").bind(**msgspec.structs.asdict(self))


class StepDescription(NamedTuple):
    """Information about a step from its registration, all of it optional.

    `config`: the schema of its input, by which the configs of steps in definitions are checked; a step checks what
        it is called with itself.
    `output`: the schema of its result, for readers.
    `title`, `description`, `category`: for people.
    `has_effects`: whether it may change something outside.
    """

    config: ConfigSchema | None = None
    output: ConfigSchema | None = None
    title: str = ""
    description: str = ""
    category: str = "custom"
    has_effects: bool = True


class Step(NamedTuple):
    """A registered step.

    `name`: what a resource calls it.
    `function`: takes `(input, context)` if `wants_context`, else `(input)`, both by position.
    `is_async`: whether calling it gives a coroutine.
    `wants_context`: whether it takes a `StepContext`.
    `described`: what its registration says of it.
    `is_builtin`: whether it is one of ours, of which the catalog tells.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    wants_context: bool
    described: StepDescription = StepDescription()
    is_builtin: bool = False

    @property
    def has_effects(self) -> bool:
        """Whether a call may change something outside, as far as its registration says."""
        return self.described.has_effects

    def call(self, value: Any, context: StepContext) -> Any:
        """Call it: gives its result, or if `is_async` a coroutine.

        Raises Exception: whatever the step raises; for StopIteration a RuntimeError, as coroutines do (PEP 479).
        """
        try:
            return self.function(value, context) if self.wants_context else self.function(value)
        except StopIteration as error:  # a future cannot carry it: whoever awaits would wait for ever
            raise RuntimeError("the step raised StopIteration") from error


class Registry:
    """Steps by name. Names are unique; what a resource cannot name is refused."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def step(  # all but the name is told by its own, and optional
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
        title: str = "",
        description: str = "",
        category: str = "custom",
        has_effects: bool = True,
    ) -> Callable[[F], F]:
        """Register the decorated function, or any other callable, under this name.

        `config`: a JSON Schema of the input. Where a step of a definition names this one, its config is checked by
            it when the definition is saved; texts with templates stand for any value.
        `output`: a JSON Schema of the result, for those who read the catalog.
        `title`, `description`, `category`: what the catalog shows.
        `has_effects`: whether a call may change something outside; a sandbox makes no such call.

        Raises ValueError: the name is malformed or taken; the signature is not `(input)` or `(input, context)`; a
            schema is none, or refers to something outside itself.
        """
        _check_name(name)
        if name in self._steps:
            raise ValueError(f"there is a step {name!r} already")
        described = StepDescription(
            _schema(name, "config", config),
            _schema(name, "output", output),
            *(title, description, category, has_effects),
        )

        def register(function: F) -> F:
            if name in self._steps:
                raise ValueError(f"there is a step {name!r} already")
            self._steps[name] = _step_from(name, function)._replace(described=described)
            return function

        return register

    def as_builtin(self) -> Registry:
        """A new registry with the same steps, marked as ours: the catalog tells of them."""
        ours = Registry()
        ours._steps = {name: step._replace(is_builtin=True) for name, step in self._steps.items()}
        return ours

    def get(self, name: str) -> Step | None:
        """The step of that name, or None."""
        return self._steps.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._steps)

    def merged(self, other: Registry) -> Registry:
        """A new registry with the steps of both. Where both have a name, `other`'s step wins."""
        both = Registry()
        both._steps = {**self._steps, **other._steps}
        return both


def load_registry(spec: str) -> Registry:
    """Import the registry that `MODULE:ATTRIBUTE` names. Modules are also found in the current directory.

    Raises ValueError: the text has another form, the module cannot be imported, the attribute is no `Registry`.
    """
    module_name, colon, attribute = spec.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"{spec!r} does not name a registry: write MODULE:ATTRIBUTE, such as app.steps:registry")
    found: Any = _import(module_name)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ValueError(f"module {module_name!r} has no attribute {attribute!r}") from None
    if not isinstance(found, Registry):
        raise ValueError(  # noqa: TRY004  # what is wrong is the text that was given
            f"{spec!r} is a {type(found).__name__}, not a perdure.steps.Registry"
        )
    return found


def _import(module_name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does, and a console script does not
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(f"there is no module {module_name!r} (looked in {here} too)") from error
        raise ValueError(f"module {module_name!r} cannot be imported: {error}") from error
    except Exception as error:
        raise ValueError(f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise ValueError('a step is registered under a name: @registry.step("name")')  # noqa: TRY004  # as below
    try:
        resource = parse_resource(name)
    except ValueError as error:
        raise ValueError(f"{name!r} is no name for a step: {error}") from None
    if resource.kind != "step" or resource.step != name:
        raise ValueError(f"{name!r} is no name for a step: as a resource it means something else")


def _schema(name: str, which: str, source: Mapping[str, Any] | None) -> ConfigSchema | None:
    if source is None:
        return None
    try:
        return ConfigSchema(source)
    except ValueError as error:
        raise ValueError(f"step {name!r}: {which} {error}") from None


def _step_from(name: str, function: Callable[..., Any]) -> Step:
    described = f"step {name!r}: {_described(function)}"
    if not callable(function):
        raise ValueError(f"{described} cannot be called")  # noqa: TRY004  # as all that is refused here
    called = _called(function)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise ValueError(f"{described} is a generator: a step returns its result")
    parameters = _parameters(function, described)
    context = parameters.pop(_CONTEXT, None)
    _check_input(list(parameters.values()), described)
    usable = function if context is None else _by_position(function, context, described)
    return Step(name, usable, inspect.iscoroutinefunction(called), context is not None)


def _described(function: Any) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    return f"{getattr(inner, '__qualname__', None) or type(inner).__qualname__}"


def _called(function: Any) -> Any:
    """The function that runs in the end: a partial's function, an object's `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def _parameters(function: Callable[..., Any], described: str) -> dict[str, inspect.Parameter]:
    """The parameters that a call fills in: not those that a partial has filled in by name."""
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise ValueError(f"{described} tells no signature: wrap it in a function of yours") from None
    bound: Any = function
    while isinstance(bound, functools.partial):
        for name in bound.keywords:
            parameters.pop(name, None)
        bound = bound.func
    return parameters


def _check_input(parameters: list[inspect.Parameter], described: str) -> None:
    """Besides `context` there is one parameter, the input, which can be given by position."""
    if not parameters:
        raise ValueError(f"{described} takes no input: its first parameter is the input, under any other name")
    for index, parameter in enumerate(parameters):
        if index > 0 or parameter.kind not in _POSITIONAL:
            shown = _VARIADIC.get(parameter.kind, "") + parameter.name
            raise ValueError(
                f"{described} has the parameter {shown!r}: a step takes its input by position, and `context` "
                "if it likes; bind what else it needs with functools.partial"
            )


def _by_position(function: Callable[..., Any], context: inspect.Parameter, described: str) -> Callable[..., Any]:
    """A function that takes `context` as its second argument."""
    names = list(inspect.signature(function).parameters)
    if names.index(_CONTEXT) == 0:
        raise ValueError(f"{described} has the parameter 'context' first: the first one is the input")
    if context.kind in _VARIADIC:
        raise ValueError(f"{described} has the parameter {_VARIADIC[context.kind]}context: write it without asterisks")
    if context.kind in _POSITIONAL:
        return function

    def with_keyword(value: Any, context: StepContext) -> Any:
        return function(value, context=context)

    return with_keyword
