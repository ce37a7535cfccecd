"""JSONata: fields whose text is ``{% … %}``, evaluated by jlens behind this package.

An expression sees ``$states`` (``input``, ``context``, and ``result`` or ``errorOutput`` where there is one) and the
variables; of these, only what it reads is made and handed over. It has no input document: ``$`` and ``$$`` are
undefined. AWS has added six functions to JSONata's ("Transforming data with JSONata in Step Functions"), and has taken
one away: see ``functions``.

What an expression gives depends on its context alone: the time is the decision's, chance comes from
``EvaluationContext.random_bytes``, and its limit is a number of steps. Numbers are doubles; what becomes of an integer
that none holds exactly is told in ``integers``. Half of a surrogate pair becomes U+FFFD.
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import jlens
import msgspec

from perdure.engine.language import errors
from perdure.engine.language.errors import StatesError, TooSlow
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import Expression
from perdure.engine.language.evaluate.intrinsic_functions import DEPTH_MAX, is_deep
from perdure.engine.language.evaluate.jsonata.functions import BUILT_IN, FUNCTIONS, PRELUDES, bound_functions
from perdure.engine.language.evaluate.jsonata.integers import (
    Inexact,
    exact_literals,
    explained,
    moves_only,
    packed,
    unpacked,
)
from perdure.engine.language.evaluate.jsonata.text import PICTURED, Token, readable, tokens, with_costly_pictures
from perdure.engine.language.values import JSON_TYPES, MISSING, Json, cut, quoted

OPENING: Final = "{%"
CLOSING: Final = "%}"

TEXT_MAX: Final = 100_000
"""Characters of an expression: compiling so many takes some 50 ms."""

# The limits of an evaluation. They are part of what a definition means: raising one changes no execution that ended
# well, lowering one may.

STEPS_MAX: Final = 1_000_000
"""Evaluation steps, the limit that is meant to be met: about 0.1 s of work. An input has at most 130,000 values."""

TIME_MAX_S: Final = 1.0
"""Seconds of real time, for what steps do not count: patterns that backtrack, and steps that copy large arrays. This
alone can end two equal evaluations differently, so it is ten times what STEPS_MAX of ordinary steps take."""

CALLS_MAX: Final = 300
"""Levels of evaluation: functions that call themselves about 100 deep, which is where AWS stops too."""

STRING_MAX: Final = 1_000_000
"""Bytes of a text that is made: four times what a state may give on."""

ARRAY_MAX: Final = 100_000
"""Items of an array that is made (an input's may have more): what is left of a second for each step on all of them."""

RESULT_MAX: Final = 1_000_000
"""Bytes of JSON of a result: four times what a state may give on."""

# While others wait for an evaluation (`expression_timeout_s`), it may make and read only so much: jlens looks at the
# time once in some 250 steps, and a step may copy all that there is. Beyond it the expression is evaluated again, where
# it holds up nobody, under the limits above (`TooSlow`). So these change nothing of what a definition means.

HASTY_STRING_MAX: Final = 16 * 1024

HASTY_ARRAY_MAX: Final = 4_000

HASTY_INPUT_MAX: Final = 32 * 1024
"""Bytes of JSON of what an expression reads, unless it does nothing but read a part of it."""

_TOO_LARGE: Final = "U1001"
"""jlens's code for what would be larger than it may be."""

_LIMITS: Final = frozenset({"U1001", "U1006", "D1011", "D1012"})
"""jlens's codes for a limit: AWS has none for these, and writes its causes without one."""

_TIMED_OUT: Final = "D1012"

_NAME: Final = re.compile(r"\$(\w+)")

Bindings: TypeAlias = dict[str, Json]


def is_jsonata(value: Json) -> bool:
    """Say whether a field's value is an expression: a text that starts with ``{%`` and ends with ``%}``.

    One with blanks around it stands for itself (recorded: arguments/test_arguments.py, BASE_LAMBDA_LITERALS).
    """
    least = len(OPENING) + len(CLOSING)
    return type(value) is str and value.startswith(OPENING) and value.endswith(CLOSING) and len(value) >= least


def compile_jsonata(text: str, field: str = "") -> Expression:
    """Compile a field that is an expression.

    The Expression ignores its value. It raises StatesError(States.QueryEvaluationError) if the expression fails,
    exceeds a limit, or gives nothing or a function. Its results are new values; nothing it is handed is changed.

    Args:
        text: The field's whole value, ``{%`` and ``%}`` included.
        field: Its place in the state, for causes: ``Output/total``; see `parse.jsonata_fields.field_of`.

    Raises:
        ValueError: The text is no expression; says why in one sentence.
    """
    if not is_jsonata(text):
        raise ValueError("a JSONata expression starts with {% and ends with %}")
    if len(text) > TEXT_MAX:
        raise ValueError(f"a JSONata expression has at most {TEXT_MAX} characters")
    source = source_of(text)
    query = _Query(readable(source))
    subject = _subject(source, field)

    def evaluate(_value: Json, env: Environment) -> Json:
        try:
            found = query.evaluate(env)
        except jlens.JlensError as error:
            if error.code in (_TIMED_OUT, _TOO_LARGE) and env.world.expression_timeout_s is not None:
                raise TooSlow from None
            reason = f": {error}" if error.code in _LIMITS else f". {error.code}: {error}"
            reason = explained(reason, query.given(env))
            raise _failure(f"{subject} threw an error during evaluation{cut(reason)}") from None
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            # of a function of ours that refuses its arguments, and of jlens for a value that it cannot take
            raise _failure(f"{subject} threw an error during evaluation: {cut(str(error))}") from None
        if found is None:
            reason = "an unsupported result type" if query.gives_function(env) else "nothing (undefined)"
            raise _failure(f"{subject} returned {reason}.")
        given = msgspec.json.decode(found)
        if is_deep(found, given):
            raise _failure(f"{subject} returned a value of more than {DEPTH_MAX} levels.")
        try:
            return unpacked(found, given)
        except Inexact as error:
            raise _failure(f"{subject} threw an error during evaluation: {error}") from None

    return Expression(text, evaluate)


def source_of(text: str) -> str:
    """Return the expression in a field's text: what stands between ``{%`` and ``%}``."""
    return text[len(OPENING) : -len(CLOSING)].strip()


def expect(expression: Expression, kind: str, field: str) -> Expression:
    """Demand that an expression gives a value of one kind.

    Args:
        expression: Any.
        kind: array, boolean, integer, null, number, object or string.
        field: The place of the expression in the state, for the cause.

    Returns:
        An expression that raises StatesError(States.QueryEvaluationError) for a value of another kind. (Recorded:
        scenarios/test_base_scenarios.py, test_map_state_items_eval_jsonata_fail.)
    """
    source = expression.source
    subject = _subject(source_of(source) if is_jsonata(source) else quoted(source), field)
    inner = expression.evaluate

    def evaluate(value: Json, env: Environment) -> Json:
        given = inner(value, env)
        actual = JSON_TYPES[type(given)]
        if actual != kind and not (kind == "integer" and type(given) is int):
            what = f"Expected '{kind}', but was '{actual}' for value: {quoted(given)}"
            raise _failure(f"{subject} returned an unexpected result type. {what}")
        return given

    return Expression(source, evaluate)


class _Query:
    """A compiled expression, and what it reads."""

    def __init__(self, source: str) -> None:
        found = list(tokens(source))
        source = exact_literals(source, found)
        self._is_moving = moves_only(found, BUILT_IN | FUNCTIONS.keys() | PRELUDES.keys())
        self._only_reads = _only_reads(found)
        names = {match.group(1) for match in _NAME.finditer(source)}
        left_alone = PICTURED - with_costly_pictures(found)
        for name, prelude in PRELUDES.items():
            if name in names and name not in left_alone:
                source = f"({prelude};({source}\n))"
                names |= {match.group(1) for match in _NAME.finditer(prelude)}
        self._source = source
        self._names = names
        self._compiled = self._compile(source)
        reads = self._compiled.reads().get("bindings", {})
        self._states = reads.get("states")
        # What is named like a function of JSONata's counts as no read, but may be a variable, which comes first.
        self._variables = tuple(sorted((names | reads.keys()) - {"states"}))

    @staticmethod
    def _compile(source: str) -> jlens.Expression:
        try:
            return jlens.Expression(source)
        except jlens.JlensError as error:
            raise ValueError(f"not a JSONata expression: {cut(str(error))} ({error.code})") from None
        except UnicodeEncodeError:
            raise ValueError("not a JSONata expression: it holds half of a surrogate pair") from None

    def evaluate(self, env: Environment) -> str | None:
        """Give the result as JSON, or None if there is none or if it is a function."""
        return self._run(self._compiled, env)

    def gives_function(self, env: Environment) -> bool:
        """Say whether what gave None gives a function."""
        try:
            return self._run(self._compile(f"$type(({self._source}\n))"), env) == '"function"'
        except (jlens.JlensError, ValueError):
            return False

    def _run(self, compiled: jlens.Expression, env: Environment) -> str | None:
        patience_s = env.world.expression_timeout_s
        if patience_s is not None and patience_s <= 0:
            raise TooSlow
        return compiled.evaluate_json(
            None,
            self._bindings(env),
            timeout=TIME_MAX_S if patience_s is None else patience_s,
            max_depth=CALLS_MAX,
            max_steps=STEPS_MAX,
            max_string_length=STRING_MAX if patience_s is None else HASTY_STRING_MAX,
            max_array_length=ARRAY_MAX if patience_s is None else HASTY_ARRAY_MAX,
            max_result_size=RESULT_MAX,
            now=env.world.now_ms,
            seed=int.from_bytes(env.world.random_bytes(8)) if "shuffle" in self._names else 0,
        )

    def _bindings(self, env: Environment) -> Bindings:
        values = self.given(env)
        if values:
            text = msgspec.json.encode(values)
            if len(text) > HASTY_INPUT_MAX and not self._only_reads and env.world.expression_timeout_s is not None:
                raise TooSlow
            values = packed(values, text, is_moving=self._is_moving)
        return {**bound_functions(self._names, env.world), **values}

    def given(self, env: Environment) -> Bindings:
        """Give what it reads of the variables and of $states."""
        values: Bindings = {}
        for name in self._variables:
            value = env.world.variable(name)
            if value is not MISSING:
                values[name] = value
        if self._states is not None:
            values["states"] = _states(env, self._states)
        return values


def _only_reads(found: list[Token]) -> bool:
    """Say whether an expression is nothing but a way into what it is given: ``$states.input.items``."""
    kinds = [token.kind for token in found if token.text != "."]
    wild = any(token.text in ("*", "**", "%") for token in found)
    return kinds[:1] == ["variable"] and all(kind == "name" for kind in kinds[1:]) and not wild


def _states(env: Environment, read: Json) -> Bindings:
    """Make what an expression reads of ``$states``."""
    makers: dict[str, Callable[[], Json]] = {
        "input": lambda: env.input,
        "result": lambda: env.result,
        "errorOutput": lambda: env.error_output,
        "context": lambda: env.context,
    }
    states = {name: make() for name, make in makers.items() if read is True or name in read}
    return {
        name: _pruned(value, True if read is True else read[name])
        for name, value in states.items()
        if value is not MISSING
    }


def _pruned(value: Json, read: Json) -> Json:
    """Leave out the members that are not read: what is handed over is converted as a whole."""
    if read is True or type(value) is not dict:
        return value
    return {name: _pruned(value[name], inner) for name, inner in read.items() if name in value}


def _subject(source: str, field: str) -> str:
    where = f" specified for the field '{field}'" if field else ""
    return f"The JSONata expression '{cut(source)}'{where}"


def _failure(cause: str) -> StatesError:
    return StatesError(errors.QUERY_EVALUATION_ERROR, cause)
