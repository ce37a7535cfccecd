"""Field parsers: each reads one field's value, or finds what is wrong with it and gives None."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from engine.language.choices import RuleCompiler
from engine.language.expressions import Expression, selection
from engine.language.findings import Findings, Place
from engine.language.instants import parse_instant
from engine.language.paths import Path, PathError, compile_path, compile_reference_path
from engine.language.resources import (
    SYNC_PATTERNS,
    WAIT_FOR_TASK_TOKEN,
    Resource,
    parse_resource,
)
from engine.language.results import DISCARD, ResultPath, result_path
from engine.language.states import SECONDS_MAX, Condition, Rules
from engine.language.templates import INTRINSIC, compile_template
from engine.language.values import Json, shown


class Scope(NamedTuple):
    """What a parser needs to know of the machine around a field.

    Attributes:
        findings: Where it tells what is wrong.
        names: The names of the machine's states, to which a transition may lead.
        is_express: Whether the machine is to run as an Express workflow.
    """

    findings: Findings
    names: frozenset[str]
    is_express: bool


NO_JSONATA: Final = "JSONata is not supported yet"

Parse: TypeAlias = Callable[[Json, Place, Scope], Any]
"""Parses a field's value; None, after telling the findings, if it is wrong."""


def text(value: Json, place: Place, scope: Scope) -> str | None:
    """Parse a string."""
    if type(value) is str:
        return value
    scope.findings.add(place, "must be a string")
    return None


def flag(value: Json, place: Place, scope: Scope) -> bool | None:
    """Parse true or false."""
    if type(value) is bool:
        return value
    scope.findings.add(place, "must be true or false")
    return None


def anything(value: Json, place: Place, scope: Scope) -> Json:  # noqa: ARG001
    """Parse Result: any JSON value, null included."""
    return value


def version(value: Json, place: Place, scope: Scope) -> None:
    """Parse the version of the States Language."""
    if value != "1.0":
        scope.findings.add(place, 'must be "1.0"')


def query_language(value: Json, place: Place, scope: Scope) -> str | None:
    """Parse QueryLanguage."""
    if value == "JSONPath":
        return "JSONPath"
    scope.findings.add(place, NO_JSONATA if value == "JSONata" else "must be JSONPath or JSONata")
    return None


def target(value: Json, place: Place, scope: Scope) -> str | None:
    """Parse Next, Default or StartAt: the name of a state of the machine."""
    name = text(value, place, scope)
    if name is not None and name not in scope.names:
        near = scope.findings.suggestion(name, scope.names)
        scope.findings.add(place, f"there is no state {shown(name)}{near}")
        return None
    return name


def whole_seconds(value: Json, place: Place, scope: Scope) -> int | None:
    """Parse Seconds."""
    if type(value) is int and 0 <= value <= SECONDS_MAX:
        return value
    message = f"must be a whole number from 0 to {SECONDS_MAX}"
    scope.findings.add(place, NO_JSONATA if _is_jsonata(value) else message)
    return None


def timestamp(value: Json, place: Place, scope: Scope) -> int | None:
    """Parse Timestamp, to milliseconds since 1970."""
    instant = parse_instant(value) if type(value) is str else None
    if instant is None:
        message = "must be a timestamp such as 2024-11-06T09:42:03Z"
        scope.findings.add(place, NO_JSONATA if _is_jsonata(value) else message)
    return instant


def _is_jsonata(value: Json) -> bool:
    return type(value) is str and value.startswith("{%")


def _path(value: Json, place: Place, scope: Scope, compiler: Callable[[str], Path]) -> Path | None:
    if type(value) is not str:
        scope.findings.add(place, "must be a path")
    elif value.startswith(INTRINSIC):
        scope.findings.add(place, "intrinsic functions are not supported yet")
    else:
        try:
            return compiler(value)
        except PathError as error:
            scope.findings.add(place, str(error))
    return None


def _empty(_value: Json, _context: Json) -> Json:
    return {}


NOTHING: Final = Expression(None, _empty)
"""InputPath or OutputPath null: an empty object (recorded: base/test_base.py,
test_state_pass_result_null_input_output_paths)."""


def filter_path(value: Json, place: Place, scope: Scope) -> Expression | None:
    """Parse InputPath or OutputPath; None for ``$``, which changes nothing."""
    if value is None:
        return NOTHING
    path = _path(value, place, scope, compile_path)
    return None if path is None or path.is_identity else selection(path)


def reference(value: Json, place: Place, scope: Scope) -> Expression | None:
    """Parse a field that takes a reference path: SecondsPath, ErrorPath and others."""
    path = _path(value, place, scope, compile_reference_path)
    return None if path is None else selection(path)


def result_place(value: Json, place: Place, scope: Scope) -> ResultPath | None:
    """Parse ResultPath; None for ``$``, which replaces the input by the result."""
    if value is None:
        return DISCARD
    path = _path(value, place, scope, compile_reference_path)
    if path is not None and path.uses_context:
        scope.findings.add(place, "a result cannot be put into the context object")
        return None
    return None if path is None else result_path(path)


def template(value: Json, place: Place, scope: Scope) -> Expression | None:
    """Parse Parameters or ResultSelector."""
    return compile_template(value, place, scope.findings)


def resource(value: Json, place: Place, scope: Scope) -> Resource | None:
    """Parse the Resource of a Task."""
    written = text(value, place, scope)
    if written is None:
        return None
    try:
        parsed = parse_resource(written)
    except ValueError as error:
        scope.findings.add(place, str(error))
        return None
    refusal = _express_refusal(parsed) if scope.is_express else None
    refusal = refusal or _support_refusal(parsed)
    if refusal:
        scope.findings.add(place, refusal)
    return parsed


def _express_refusal(parsed: Resource) -> str | None:
    """Say what an Express workflow does not do (recorded: test_sfn_api_express.py)."""
    if parsed.kind == "activity":
        return "an Express workflow does not support activities"
    if parsed.pattern in (*SYNC_PATTERNS, WAIT_FOR_TASK_TOKEN):
        return f"an Express workflow does not support .{parsed.pattern}"
    return None


def _support_refusal(parsed: Resource) -> str | None:
    if parsed.pattern == WAIT_FOR_TASK_TOKEN:
        return f".{WAIT_FOR_TASK_TOKEN} is not supported yet"
    if parsed.kind == "execution" or (parsed.service == "states" and parsed.step is None):
        return "states:startExecution is not supported yet"
    if parsed.kind == "activity":
        return "activities are not supported yet"
    return None


def rules(value: Json, place: Place, scope: Scope) -> Rules | None:
    """Parse Choices."""
    if type(value) is not list or not value:
        scope.findings.add(place, "must be a list of one or more rules")
        return None
    compiler = RuleCompiler(scope.findings)
    parsed = [_top_rule(rule, place / index, scope, compiler) for index, rule in enumerate(value)]
    return Rules(tuple(rule for rule in parsed if rule is not None), compiler.uses_context)


def _top_rule(rule: Json, place: Place, scope: Scope, compiler: RuleCompiler) -> tuple[Condition, str] | None:
    condition = compiler.rule(rule, place, extra=frozenset({"Next"}))
    if type(rule) is not dict:
        return None
    if "Next" not in rule:
        scope.findings.add(place, "a top rule needs a Next")
        return None
    following = target(rule["Next"], place / "Next", scope)
    return None if condition is None or following is None else (condition, following)
