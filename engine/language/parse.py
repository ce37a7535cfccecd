"""From JSON to a Machine: one pass that compiles a definition and finds everything wrong with it.

The tables in ``state_types`` say what may stand where; this module walks them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.language.fields import Scope
from engine.language.findings import Findings, Place
from engine.language.machine import Machine
from engine.language.state_types import MACHINE_FIELDS, STATE_TYPES, Field
from engine.language.states import State
from engine.language.values import Json, shown

NAME_MAX = 80
"""Characters of a state's name (States Language spec, States)."""


def parse_machine(definition: Json, findings: Findings, *, is_express: bool) -> Machine | None:
    """Compile a definition whose shape has been checked; tell the findings all that is wrong with it.

    Returns:
        The machine; None, or a machine that must not be used, if anything was found.
    """
    top = Place()
    if type(definition) is not dict:
        findings.add(top, "a definition is a JSON object")
        return None
    sources = definition.get("States")
    named = sources if type(sources) is dict else {}
    scope = Scope(findings, frozenset(named), is_express)
    attributes: dict[str, Any] = {"states": {}}
    for name, value in definition.items():
        if name == "States":
            attributes["states"] = _parse_states(value, definition.get("StartAt"), top / name, scope)
        else:
            _parse_field(name, value, top, scope, MACHINE_FIELDS, attributes, ("States",))
    for name in ("StartAt", "States"):
        if name not in definition:
            findings.add(top, f"{name} is missing")
    return None if findings.problems else Machine(**attributes)


def parse_state(name: str, source: Json, place: Place, scope: Scope) -> State | None:
    """Compile one state; None if anything is wrong with it."""
    findings = scope.findings
    before = len(findings.problems)
    if type(source) is not dict:
        findings.add(place, "a state must be an object")
        return None
    kind = source.get("Type")
    state_type = STATE_TYPES.get(kind) if type(kind) is str else None
    if state_type is None:
        _refuse_type(source, place, findings)
        return None
    if state_type.build is None:
        findings.add(place / "Type", f"{kind} is not supported yet")
        return None
    attributes: dict[str, Any] = {"name": name}
    for field, value in source.items():
        _parse_field(field, value, place, scope, state_type.fields, attributes, ("Type",))
    for field in state_type.required:
        if field not in source:
            findings.add(place, f"{field} is missing")
    for rule in state_type.rules:
        rule(source, place, findings)
    if len(findings.problems) > before or findings.is_full:
        return None
    attributes["needs_context"] = any(getattr(value, "uses_context", False) for value in attributes.values())
    return state_type.build(source, attributes)


def _refuse_type(source: dict[str, Json], place: Place, findings: Findings) -> None:
    if "Type" not in source:
        findings.add(place, "Type is missing")
        return
    kind = source["Type"]
    near = findings.suggestion(kind, STATE_TYPES) if type(kind) is str else ""
    findings.add(place / "Type", f"must be one of {', '.join(STATE_TYPES)}{near}")


def _parse_field(
    name: str,
    value: Json,
    place: Place,
    scope: Scope,
    known: Mapping[str, Field],
    attributes: dict[str, Any],
    elsewhere: tuple[str, ...],
) -> None:
    """Parse one member by its row in the table; ``elsewhere`` names those that the caller parses."""
    if name in elsewhere or scope.findings.is_full:
        return
    field = known.get(name)
    if field is None:
        near = scope.findings.suggestion(name, (*known, *elsewhere))
        scope.findings.add(place / name, f"unknown field {shown(name)}{near}")
    elif field.parse is None:
        scope.findings.add(place / name, f"{name} is not supported yet")
    else:
        parsed = field.parse(value, place / name, scope)
        if field.attribute:
            attributes[field.attribute] = parsed


def _parse_states(sources: Json, start_at: Json, place: Place, scope: Scope) -> dict[str, State]:
    findings = scope.findings
    if type(sources) is not dict:
        findings.add(place, "must be an object of states")
        return {}
    if not sources:
        findings.add(place, "a machine needs at least one state")
    reached = _reached_from(start_at, sources)
    states: dict[str, State] = {}
    for name, source in sources.items():
        if findings.is_full:
            break
        at = place / name
        if not 0 < len(name) <= NAME_MAX:
            findings.add(at, f"the name of a state has 1 to {NAME_MAX} characters")
        if name not in reached:
            findings.add(at, "cannot be reached from the start")
        state = parse_state(name, source, at, scope)
        if state is not None:
            states[name] = state
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


def _targets(source: Json) -> Iterator[str]:
    """List where a state may lead, as far as it is well-formed; Catch too, though it is not supported yet."""
    if type(source) is not dict:
        return
    holders = [source]
    for name in ("Choices", "Catch"):
        if type(source.get(name)) is list:
            holders += [item for item in source[name] if type(item) is dict]
    for holder in holders:
        for name in ("Next", "Default"):
            if type(holder.get(name)) is str:
                yield holder[name]
