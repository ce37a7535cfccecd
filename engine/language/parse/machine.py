"""Parses a state machine: one pass compiles it and collects all its problems.

The tables in `state_types` say what may stand where; this module walks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.evaluate.templates import DYNAMIC
from perdure.engine.language.model.states import CompiledState, Machine, errors_in, varies
from perdure.engine.language.parse import fields, map_fields, quantities
from perdure.engine.language.parse.state_types import COMPILED_SHAPES, STATE_TYPES
from perdure.engine.language.parse.tables import FieldRule, FieldScope, ObjectShape, read_object
from perdure.engine.language.values import Json, shown

NAME_MAX: Final = 80
"""Characters of a state's name (States Language spec, States)."""

LANGUAGES: Final = ("JSONPath", "JSONata")


def parse_machine(definition: Json, diagnostics: Diagnostics, *, is_express: bool) -> Machine | None:
    """Compile a definition whose shape has been checked; add all that is wrong with it to the diagnostics.

    Returns the machine; None if anything was found.
    """
    if type(definition) is not dict:
        diagnostics.add(JsonPointer(), "a definition is a JSON object")
        return None
    written = definition.get("QueryLanguage")
    language = written if type(written) is str and written in LANGUAGES else "JSONPath"
    scope = FieldScope(
        diagnostics=diagnostics,
        names=frozenset(),
        parse_nested=parse_nested,
        is_express=is_express,
        language=language,
        machine_language=language,
    )
    return _parse(definition, JsonPointer(), scope, MACHINE)


def parse_nested(source: Json, pointer: JsonPointer, scope: FieldScope) -> Machine | None:
    """Compile a branch of a Parallel or the processor of a Map.

    Its states speak the definition's language. Those of a distributed Map run as executions of their own, which see
    no variables from outside, and may be Express.
    """
    is_processor = pointer.key in ("ItemProcessor", "Iterator")
    given = source.get("ProcessorConfig") if is_processor and type(source) is dict else None
    config = given if type(given) is dict else {}
    is_alone = config.get("Mode") == "DISTRIBUTED"
    inner = msgspec.structs.replace(
        scope,
        language=scope.machine_language,
        is_express=scope.is_express or (is_alone and config.get("ExecutionType") == "EXPRESS"),
        outer_variables=() if is_alone else (*scope.outer_variables, scope.variables),
    )
    return _parse(source, pointer, inner, PROCESSOR if is_processor else BRANCH)


def _parse(source: Json, pointer: JsonPointer, scope: FieldScope, shape: ObjectShape) -> Machine | None:
    states = source.get("States") if type(source) is dict else None
    named = states if type(states) is dict else {}
    scope = msgspec.structs.replace(
        scope,
        names=frozenset(named),
        start_at=source.get("StartAt") if type(source) is dict else None,
        variables=Counter(name for state in named.values() for name in _assigned(_holders(state))),
    )
    attributes = read_object(source, pointer, scope, shape)
    if attributes is None:
        return None
    attributes["query_language"] = scope.machine_language
    states = attributes["states"]
    return Machine(
        **attributes,
        literal_errors=frozenset(errors_in(states)),
        varies=any(map(varies, states.values())),
    )


def parse_state(name: str, source: Json, pointer: JsonPointer, scope: FieldScope) -> CompiledState | None:
    """Compile one state; None if anything is wrong with it."""
    diagnostics = scope.diagnostics
    if type(source) is not dict:
        diagnostics.add(pointer, "a state must be an object")
        return None
    kind = source.get("Type")
    state_type = STATE_TYPES.get(kind) if type(kind) is str else None
    if state_type is None or type(kind) is not str:
        _refuse_type(source, pointer, diagnostics)
        return None
    written = source.get("QueryLanguage")
    language = written if type(written) is str and written in LANGUAGES else scope.language
    scope = msgspec.structs.replace(scope, language=language, state_type=kind, variables=_seen_below(source, scope))
    shape = COMPILED_SHAPES.get(kind, state_type.shape) if diagnostics.is_compiled else state_type.shape
    attributes = read_object(source, pointer, scope, shape)
    if attributes is None:
        return None
    attributes.update(name=name, query_language=scope.language)
    return state_type.build(source, attributes)


def _refuse_type(source: dict[str, Json], pointer: JsonPointer, diagnostics: Diagnostics) -> None:
    if "Type" not in source:
        diagnostics.add(pointer, "Type is missing")
        return
    kind = source["Type"]
    near = diagnostics.suggestion(kind, STATE_TYPES) if type(kind) is str else ""
    diagnostics.add(pointer / "Type", f"must be one of {', '.join(STATE_TYPES)}{near}")


def _parse_states(sources: Json, pointer: JsonPointer, scope: FieldScope) -> dict[str, CompiledState]:
    diagnostics = scope.diagnostics
    before = diagnostics.count
    if type(sources) is not dict:
        diagnostics.add(pointer, "must be an object of states")
        return {}
    if not sources:
        diagnostics.add(pointer, "a machine needs at least one state")
    reached = _reached_from(scope.start_at, sources)
    states: dict[str, CompiledState] = {}
    for name, source in sources.items():
        if diagnostics.is_full:
            break
        at = pointer / name
        if not 0 < len(name) <= NAME_MAX:
            diagnostics.add(at, f"the name of a state has 1 to {NAME_MAX} characters")
        if name in scope.taken:
            diagnostics.add(at, f"the definition has another state {shown(name)}")
        scope.taken.add(name)
        if name not in reached:
            diagnostics.add(at, "cannot be reached from the start")
        state = parse_state(name, source, at, scope)
        if state is not None:
            states[name] = state
    if diagnostics.count == before and not any(_ends(sources[name]) for name in reached):
        message = 'no state that ends can be reached from the start: one needs "End": true or the type Succeed or Fail'
        diagnostics.add_new(pointer, message)
    return states


def _reached_from(start_at: Json, sources: Mapping[str, Json]) -> Iterable[str]:
    """Find the states to which a way leads from the start; all, if the start is not known."""
    if type(start_at) is not str or start_at not in sources:
        return sources
    reached = {start_at}
    waiting = [start_at]
    while waiting:
        for name in _targets(sources[waiting.pop()]):
            if name in sources and name not in reached:
                reached.add(name)
                waiting.append(name)
    return reached


def _ends(source: dict[str, Json]) -> bool:
    """Say whether a state ends its machine."""
    return source.get("End") is True or source["Type"] in ("Succeed", "Fail")


def _targets(source: Json) -> Iterator[str]:
    """List where a state may lead, as far as it is well-formed."""
    for holder in _holders(source):
        for name in ("Next", "Default"):
            if type(holder.get(name)) is str:
                yield holder[name]


def _assigned(holders: Iterable[dict[str, Json]]) -> Iterator[str]:
    """List the variables that a state's objects assign, those of nested machines left out."""
    for holder in holders:
        if type(holder.get("Assign")) is dict:
            for name in holder["Assign"]:
                yield name.removesuffix(DYNAMIC)


def _seen_below(source: dict[str, Json], scope: FieldScope) -> Counter[str]:
    """Give the machine's variables as its state's branches must heed them.

    What the state's own Catch alone assigns is not among them: it gets its value once they are over.
    """
    caught = Counter(_assigned(_members_of(source, "Catch")))
    return scope.variables - caught if caught else scope.variables


def _holders(source: Json) -> Iterator[dict[str, Json]]:
    """List the objects in a state that may lead somewhere and assign something: itself, rules and catchers."""
    if type(source) is not dict:
        return
    yield source
    for name in ("Choices", "Catch"):
        yield from _members_of(source, name)


def _members_of(source: dict[str, Json], name: str) -> Iterator[dict[str, Json]]:
    given = source.get(name)
    if type(given) is list:
        yield from (item for item in given if type(item) is dict)


# What a machine may hold: the definition itself, and those that stand in it.
BRANCH: Final = ObjectShape(
    {
        "Comment": FieldRule("comment", fields.text),
        "StartAt": FieldRule("start_at", fields.target),
        "States": FieldRule("states", _parse_states),
    },
    required=("StartAt", "States"),
)
PROCESSOR: Final = BRANCH._replace(
    fields={**BRANCH.fields, "ProcessorConfig": FieldRule("", map_fields.processor_config)},
)
_TIMEOUT: Final = quantities.seconds("TimeoutSeconds", has_milliseconds=True)
_TOP: Final[dict[str, Any]] = {
    "Version": FieldRule("version", fields.version),
    "QueryLanguage": FieldRule("", fields.query_language),
    "TimeoutSeconds": FieldRule("timeout_seconds", quantities.literal(_TIMEOUT)),
}
MACHINE: Final = BRANCH._replace(fields={**BRANCH.fields, **_TOP})
