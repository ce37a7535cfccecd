"""Field parsers: each returns the parsed value of one field, or adds a diagnostic and returns None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.evaluate.expressions import Expression, parameter, selection
from perdure.engine.language.evaluate.intrinsics import compile_intrinsic
from perdure.engine.language.evaluate.paths import (
    NAME_MAX,
    RESERVED,
    Path,
    compile_path,
    compile_reference_path,
    is_variable_name,
)
from perdure.engine.language.evaluate.templates import DYNAMIC, INTRINSIC, compile_template
from perdure.engine.language.model.resources import SYNC_PATTERNS, WAIT_FOR_TASK_TOKEN, Resource, parse_resource
from perdure.engine.language.model.results import DISCARD, ResultPath, result_path
from perdure.engine.language.parse.jsonata_fields import compile_jsonata_template
from perdure.engine.language.parse.tables import FieldScope
from perdure.engine.language.values import Json, shown


def text(value: Json, pointer: JsonPointer, scope: FieldScope) -> str | None:
    """Parse a string."""
    if type(value) is str:
        return value
    scope.diagnostics.add(pointer, "must be a string")
    return None


def flag(value: Json, pointer: JsonPointer, scope: FieldScope) -> bool | None:
    """Parse true or false."""
    if type(value) is bool:
        return value
    scope.diagnostics.add(pointer, "must be true or false")
    return None


def anything(value: Json, pointer: JsonPointer, scope: FieldScope) -> Json:  # noqa: ARG001
    """Parse Result: any JSON value, null included."""
    return value


def version(value: Json, pointer: JsonPointer, scope: FieldScope) -> str | None:
    """Parse the version of the States Language."""
    if value == "1.0":
        return "1.0"
    scope.diagnostics.add(pointer, 'must be "1.0"')
    return None


def query_language(value: Json, pointer: JsonPointer, scope: FieldScope) -> str | None:
    """Parse QueryLanguage. A definition in JSONata holds no JSONPath (recorded: INVALID_DOWNGRADE_QUERY_LANGUAGE)."""
    if value not in ("JSONPath", "JSONata"):
        scope.diagnostics.add(pointer, "must be JSONPath or JSONata")
        return None
    if value == "JSONPath" and scope.machine_language == "JSONata":
        scope.diagnostics.add(pointer, "no state of a definition in JSONata can be in JSONPath")
        return None
    return str(value)


def target(value: Json, pointer: JsonPointer, scope: FieldScope) -> str | None:
    """Parse Next, Default or StartAt: the name of a state of the machine."""
    name = text(value, pointer, scope)
    if name is not None and name not in scope.names:
        near = scope.diagnostics.suggestion(name, scope.names)
        scope.diagnostics.add(pointer, f"there is no state {shown(name)}{near}")
        return None
    return name


def compiled_path(value: Json, pointer: JsonPointer, scope: FieldScope, compiler: Callable[[str], Path]) -> Path | None:
    """Compile a path; None, with a diagnostic, if it is none."""
    if type(value) is not str:
        scope.diagnostics.add(pointer, "must be a path")
        return None
    if value.startswith(INTRINSIC):
        scope.diagnostics.add(pointer, "must be a path; intrinsic functions are not possible here")
        return None
    try:
        return compiler(value)
    except ValueError as error:
        scope.diagnostics.add(pointer, str(error))
        return None


NOTHING: Final = Expression(None, lambda _value, _env: {})
"""InputPath or OutputPath null: an empty object (recorded: base/test_base.py,
test_state_pass_result_null_input_output_paths)."""


def filter_path(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse InputPath or OutputPath; None for `$`, which changes nothing."""
    if value is None:
        return NOTHING
    path = compiled_path(value, pointer, scope, compile_path)
    return None if path is None or path.is_identity else selection(path)


def reference(
    value: Json, pointer: JsonPointer, scope: FieldScope, make: Callable[[Path], Expression] = selection
) -> Expression | None:
    """Parse a field that takes a reference path; `make` says what it is when the path finds nothing."""
    path = compiled_path(value, pointer, scope, compile_reference_path)
    return None if path is None else make(path)


def reference_or_intrinsic(field: str, value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse ErrorPath or CausePath: a reference path or an intrinsic function."""
    if type(value) is not str or not value.startswith(INTRINSIC):
        return reference(value, pointer, scope, lambda path: parameter(path, field))
    try:
        return compile_intrinsic(value, "string", accepts_old=scope.diagnostics.accepts_old)
    except ValueError as error:
        scope.diagnostics.add(pointer, str(error))
        return None


def items_path(value: Json, pointer: JsonPointer, scope: FieldScope) -> Path | None:
    """Parse ItemsPath."""
    return compiled_path(value, pointer, scope, compile_reference_path)


def result_place(value: Json, pointer: JsonPointer, scope: FieldScope) -> ResultPath | None:
    """Parse ResultPath; None for `$`, which replaces the input by the result."""
    if value is None:
        return DISCARD
    path = compiled_path(value, pointer, scope, compile_reference_path)
    if path is not None and path.root:
        where = "a variable; Assign does that" if path.root.isidentifier() else "the context object"
        scope.diagnostics.add(pointer, f"a result cannot be put into {where}")
        return None
    return None if path is None else result_path(path)


def template(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse a payload template in the state's query language."""
    if scope.is_jsonata:
        return compile_jsonata_template(value, pointer, scope)
    if type(value) is not dict:
        scope.diagnostics.add(pointer, "must be an object")
        return None
    return compile_template(value, pointer, scope.diagnostics)


def parameters(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse Parameters: a payload template that may be an array, too, as AWS's own samples have it."""
    if type(value) is list and not scope.is_jsonata:
        return compile_template(value, pointer, scope.diagnostics)
    return template(value, pointer, scope)


def arguments(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse Arguments: an object, or JSONata that gives one."""
    if type(value) is not dict and type(value) is not str:
        scope.diagnostics.add(pointer, "must be an object or a JSONata expression")
        return None
    return template(value, pointer, scope)


def assignments(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse Assign: variables by name (AWS: Passing data between states with variables)."""
    if type(value) is not dict:
        scope.diagnostics.add(pointer, "must be an object")
        return None
    for written in value:
        if scope.diagnostics.is_full:
            return None
        name = written if scope.is_jsonata else written.removesuffix(DYNAMIC)
        if name == RESERVED:
            scope.diagnostics.add(pointer / written, f"{RESERVED} is a reserved name")
        elif not is_variable_name(name):
            message = f"the name of a variable has 1 to {NAME_MAX} letters, digits or _, and starts with no digit"
            scope.diagnostics.add(pointer / written, message)
        elif any(name in names for names in scope.outer_variables):
            scope.diagnostics.add(pointer / written, f"{shown(name)} is a variable of an enclosing scope already")
    compiled = template(value, pointer, scope)
    return compiled if value else None


def credentials(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse Credentials (recorded: test_credentials_base.py)."""
    if type(value) is str and scope.is_jsonata:
        return template(value, pointer, scope)
    if type(value) is not dict:
        scope.diagnostics.add(pointer, "must be an object")
        return None
    names = ("RoleArn",) if scope.is_jsonata else ("RoleArn", "RoleArn.$")
    if not any(name in value for name in names):
        scope.diagnostics.add(pointer, "RoleArn is missing")
    for name, member in value.items():
        if scope.diagnostics.is_full:
            break
        if name not in names:
            near = scope.diagnostics.suggestion(name, names)
            scope.diagnostics.add(pointer / name, f"unknown field {shown(name)}{near}")
        else:
            text(member, pointer / name, scope)
    return template(value, pointer, scope)


def resource(value: Json, pointer: JsonPointer, scope: FieldScope) -> Resource | None:
    """Parse the Resource of a Task."""
    written = text(value, pointer, scope)
    if written is None:
        return None
    try:
        parsed = parse_resource(written)
    except ValueError as error:
        scope.diagnostics.add(pointer, str(error))
        return None
    refusal = _express_refusal(parsed) if scope.is_express else None
    if refusal:
        scope.diagnostics.add(pointer, refusal)
        return None
    return parsed


def _express_refusal(parsed: Resource) -> str | None:
    """Say what an Express workflow does not do (recorded: test_sfn_api_express.py)."""
    if parsed.kind == "activity":
        return "an Express workflow does not support activities"
    if parsed.pattern in (*SYNC_PATTERNS, WAIT_FOR_TASK_TOKEN):
        return f"an Express workflow does not support .{parsed.pattern}"
    return None
