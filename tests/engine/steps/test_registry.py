"""The registry: what may be a step, under which name, and how it is called."""

from __future__ import annotations

import functools
import pickle
import sys
import textwrap
from pathlib import Path

import pytest
import structlog

from perdure.engine.steps import Registry, StepContext, StepFailed, load_registry
from tests.present import present

CONTEXT = StepContext(execution_id="e1", state="Charge", attempt=2, idempotency_key="e1/Charge/-/1")


class Callable:
    def __call__(self, value):
        return ("object", value)

    async def method(self, value, context):
        return ("method", value, context)


class AsyncCallable:
    async def __call__(self, value, *, context):
        return ("async object", value, context)


def plain(value):
    return ("plain", value)


async def later(value):
    return ("later", value)


def with_context(value, context):
    return ("with", value, context)


def keyword_only(value, *, context):
    return ("keyword", value, context)


def context_third(value, retries=0, *, context=None):
    return (retries, value, context)


async def context_last(value, retries, context):
    return (retries, value, context)


def registered(function, name="it"):
    registry = Registry()
    assert registry.step(name)(function) is function
    step = registry.get(name)
    assert step is not None
    return step


async def result_of(step, value=7):
    result = step.call(value, CONTEXT)
    return await result if step.is_async else result


@pytest.mark.parametrize(
    ("function", "is_async", "wants_context", "result"),
    [
        (plain, False, False, ("plain", 7)),
        (later, True, False, ("later", 7)),
        (with_context, False, True, ("with", 7, CONTEXT)),
        (keyword_only, False, True, ("keyword", 7, CONTEXT)),
        (lambda value, /: value, False, False, 7),
        (Callable(), False, False, ("object", 7)),
        (Callable().method, True, True, ("method", 7, CONTEXT)),
        (AsyncCallable(), True, True, ("async object", 7, CONTEXT)),
        (functools.partial(later), True, False, ("later", 7)),
        (functools.partial(context_third, retries=3), False, True, (3, 7, CONTEXT)),
        (functools.partial(context_last, retries=3), True, True, (3, 7, CONTEXT)),
        (
            functools.partial(functools.partial(context_last, retries=3), context=None),
            True,
            False,
            (3, 7, None),
        ),
        (functools.partial(lambda prefix, value: [prefix, value], "p"), False, False, ["p", 7]),
        (len, False, False, 2),
    ],
)
async def test_any_callable_with_an_input_is_a_step(function, is_async, wants_context, result):
    """Functions, methods, objects and partials are called with the input, and the context if they name it."""
    step = registered(function)
    assert (step.is_async, step.wants_context) == (is_async, wants_context)
    assert await result_of(step, [1, 2] if function is len else 7) == result


def refused_signatures():  # noqa: C901  # a list of functions
    def nothing():
        pass

    def only_context(context):
        pass

    def context_first(context, value):
        pass

    def two(value, other):
        pass

    def defaulted(value, other=1):
        pass

    def variadic(value, *rest):
        pass

    def keywords(value, **options):
        pass

    def all_positional(*values):
        pass

    def variadic_context(value, **context):
        pass

    def named_only(*, value):
        pass

    def generator(value):
        yield value

    async def async_generator(value):
        yield value

    return [
        (nothing, "takes no input"),
        (only_context, "takes no input"),
        (context_first, "'context' first"),
        (two, "'other'"),
        (defaulted, "'other'"),
        (variadic, r"'\*rest'"),
        (keywords, r"'\*\*options'"),
        (all_positional, r"'\*values'"),
        (variadic_context, r"\*\*context"),
        (named_only, "'value'"),
        (generator, "generator"),
        (async_generator, "generator"),
        (functools.partial(plain, value=1), "takes no input"),
        (max, "tells no signature"),
        ("text", "cannot be called"),
    ]


@pytest.mark.parametrize(("function", "problem"), refused_signatures())
def test_other_signatures_are_refused(function, problem):
    """A function with any other parameter is refused, naming the step, the function and the parameter."""
    registry = Registry()
    with pytest.raises(ValueError, match=problem) as refusal:
        registry.step("it")(function)
    assert "'it'" in str(refusal.value)
    assert getattr(function, "__qualname__", "") in str(refusal.value)
    assert registry.names() == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1st",
        "a b",
        "a\n",
        "wait_for_resume",
        "ship.waitForResume",
        "ship.waitForTaskToken",
        "arn:aws:states:::sqs:sendMessage",
        "arn:aws:lambda:r:a:function:ship",
        "a" * 513,
        "ünlaut",
        None,
        plain,
    ],
)
def test_a_name_that_no_resource_can_mean_is_refused(name):
    """What a Task could not call by that name is no name."""
    with pytest.raises(ValueError, match="name"):
        Registry().step(name)


@pytest.mark.parametrize("name", ["a", "billing.charge", "sqs:sendMessage", "aws-sdk:s3:getObject", "_x-1"])
def test_names_of_steps_and_of_integrations_are_taken(name):
    """A step may be registered for a plain name and for SERVICE:ACTION."""
    assert registered(plain, name).name == name


def test_a_name_is_taken_once():
    """A second step of the same name is refused, also if it was announced before the first was there."""
    registry = Registry()
    early = registry.step("it")
    registry.step("it")(plain)
    with pytest.raises(ValueError, match="already"):
        registry.step("it")
    with pytest.raises(ValueError, match="already"):
        early(later)
    assert present(registry.get("it")).function is plain
    assert registry.get("other") is None


def test_merged_prefers_the_other_and_changes_neither():
    """A merged registry has the steps of both, the other's where both have one, and is a new one."""
    ours, theirs = Registry(), Registry()
    ours.step("a")(plain)
    ours.step("b")(plain)
    theirs.step("b")(later)
    theirs.step("c")(later)
    both = ours.merged(theirs)
    both.step("d")(plain)
    assert both.names() == ["a", "b", "c", "d"]
    assert present(both.get("b")).function is later
    assert ours.names() == ["a", "b"]
    assert present(ours.get("b")).function is plain
    assert theirs.names() == ["b", "c"]


def test_stop_iteration_becomes_an_error_that_a_future_can_carry():
    """A step that raises StopIteration fails like any other, also in a thread."""

    def exhausted(value):
        return next(iter(value))

    with pytest.raises(RuntimeError, match="StopIteration"):
        registered(exhausted).call([], CONTEXT)


def test_the_logger_is_bound_to_the_call():
    """A step's log lines say which call wrote them."""
    with structlog.testing.capture_logs() as lines:
        CONTEXT.logger.info("charged", amount=12)
    assert lines == [
        {
            "event": "charged",
            "log_level": "info",
            "amount": 12,
            "execution_id": "e1",
            "state": "Charge",
            "attempt": 2,
            "idempotency_key": "e1/Charge/-/1",
            "wait_id": None,
            "workspace_id": "",
        }
    ]


def test_a_failure_survives_pickling():
    """StepFailed keeps its error and cause on the way out of another process."""
    failure = pickle.loads(pickle.dumps(StepFailed("A.B", "why")))  # noqa: S301
    assert (failure.error, failure.cause, str(failure)) == ("A.B", "why", "A.B: why")
    assert str(StepFailed("A.B")) == "A.B"


# --- load_registry --------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes modules into the current directory; forgets them afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)

    def write(name: str, source: str) -> None:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_registry_is_loaded_from_the_current_directory(module):
    """MODULE:ATTRIBUTE imports a module of the current directory and gives its registry, also a nested one."""
    module(
        "steps_of_mine",
        """
        from perdure.engine.steps import Registry
        class holder:
            registry = Registry()
        registry = holder.registry
        registry.step("mine")(lambda value: value)
        """,
    )
    assert load_registry("steps_of_mine:registry").names() == ["mine"]
    assert load_registry("steps_of_mine:holder.registry").names() == ["mine"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("steps_of_mine", "MODULE:ATTRIBUTE"),
        (":registry", "MODULE:ATTRIBUTE"),
        ("steps_of_mine:", "MODULE:ATTRIBUTE"),
        ("not_there:registry", "no module 'not_there'"),
        ("not_there.steps:registry", "no module 'not_there.steps'"),
        ("steps_of_mine:missing", "module 'steps_of_mine' has no attribute 'missing'"),
        ("steps_of_mine:number.real.missing", "has no attribute 'number.real.missing'"),
        ("steps_of_mine:number", "'steps_of_mine:number' is a int, not a perdure.steps.Registry"),
        ("needs_more:registry", "module 'needs_more' cannot be imported: No module named 'nobody_has_this'"),
        ("fails:registry", "module 'fails' cannot be imported: ZeroDivisionError: division by zero"),
        ("garbled:registry", "module 'garbled' cannot be imported: SyntaxError"),
        (".fails:registry", "module '.fails' cannot be imported"),
    ],
)
def test_what_cannot_be_loaded_is_named(module, spec, problem):
    """The error says which module or attribute is wrong, and what was found instead."""
    module("steps_of_mine", "number = 1")
    module("needs_more", "import nobody_has_this")
    module("fails", "1 / 0")
    module("garbled", "def (")
    with pytest.raises(ValueError, match=r"registry|steps_of_mine|module") as refusal:
        load_registry(spec)
    assert problem in str(refusal.value)
