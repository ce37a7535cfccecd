"""Makes the states of steps that compute a value, or let time pass: `transform`, `code` and `wait`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from perdure.engine.language.formats.flow import FlowStep
from perdure.engine.language.formats.lexemes import text_name
from perdure.engine.language.formats.machines import MachineBuilder, StateSource
from perdure.engine.language.formats.members import TIME_MAX_MS, Members
from perdure.engine.language.formats.templates import as_template
from perdure.engine.language.instants import parse_instant
from perdure.engine.language.values import Json, is_number

UNITS_MS: Final[Mapping[str, int]] = {
    "milliseconds": 1,
    "seconds": 1000,
    "minutes": 60_000,
    "hours": 3_600_000,
    "days": 86_400_000,
}

_PASSED: Final = "{% $millis() - $toMillis($states.context.State.EnteredTime) %}"
"""The milliseconds for which a state has been waiting."""

_RESULT: Final = '{% $merge([$states.input, {"result": $states.input}]) %}'

_TRUE_WORDS: Final = '["true", "yes", "on", "1"]'
TRANSFORMS: Final[Mapping[str, str]] = {
    "direct": "$_0",
    "lowercase": "$lowercase($string($_0))",
    "uppercase": "$uppercase($string($_0))",
    "capitalize": "$uppercase($substring($string($_0), 0, 1)) & $substring($string($_0), 1)",
    "trim": "$trim($string($_0))",
    "number": "$number($_0)",
    "string": "$string($_0)",
    "boolean": f'$type($_0) = "string" ? $lowercase($trim($_0)) in {_TRUE_WORDS} : $boolean($_0)',
    "date": '$type($_0) = "number" ? $fromMillis($_0) : $fromMillis($toMillis($_0))',
}
"""What a mapping rule can make of a value, `$_0`."""

_RULE_FIELDS: Final = ("source", "target", "transform", "default")


class StateChain(NamedTuple):
    """States that follow each other, of which the last gives the step's output.

    `is_repeatable`: whether that output can be computed again, at no cost and to the same value.
    """

    states: list[StateSource]
    is_repeatable: bool = False


def code_chain(builder: MachineBuilder, step: FlowStep) -> StateChain:
    """Make the states of a step of type code."""
    members = builder.members(step)
    members.check(("expression",))
    source = members.needed_text("expression", most=100_000)
    output = builder.templates.value(as_template(source), step.config_pointer / "expression") if source else None
    return StateChain([{"Type": "Pass", "Output": output}])


def transform_chain(builder: MachineBuilder, step: FlowStep) -> StateChain:
    """Make the states of a step of type transform: an object of templates, or mapping rules."""
    if "mappingRules" not in step.config:
        output = builder.templates.value(dict(step.config), step.config_pointer)
        return StateChain([{"Type": "Pass", "Output": output}, {"Type": "Pass", "Output": _RESULT}], is_repeatable=True)
    members = builder.members(step)
    members.check(("sourceData", "mappingRules"))
    if "sourceData" not in members:
        members.refuse("", "sourceData is missing: the rules read it")
    source = builder.templates.value(members.get("sourceData"), step.config_pointer / "sourceData")
    mapped = _mapped(builder, members)
    states = [{"Type": "Pass", "Output": output} for output in (source, mapped, _RESULT)]
    return StateChain(states, is_repeatable=True)


def _mapped(builder: MachineBuilder, members: Members) -> dict[str, Json]:
    rules, pointer = members.get("mappingRules"), members.pointer / "mappingRules"
    made: dict[str, Json] = {}
    if type(rules) is not list:
        members.refuse("mappingRules", "must be a list of rules {source, target, transform, default}")
        return made
    for index, source in enumerate(rules):
        at = pointer / index
        if type(source) is not dict:
            builder.build.diagnostics.add(at, "must be an object {source, target, transform, default}")
            continue
        rule = Members(source, at, builder.build.diagnostics)
        rule.check(_RULE_FIELDS)
        path, target = rule.needed_text("source"), rule.needed_text("target")
        kind = rule.one_of("transform", tuple(TRANSFORMS), "direct")
        default = builder.templates.expression(rule.get("default"), at / "default").or_null
        if target and not put_at(made, target.split("."), mapped_field(path, kind, default)):
            rule.refuse("target", "another rule gives this target a value")
    return made


def mapped_field(path: str, kind: str, default: str) -> str:
    """Write the field for one rule: what is at a path of the input, made into a kind; else the default, an expression.

    `kind` is one of TRANSFORMS.
    """
    value = f"($_0 := $states.input{_steps(path)}; $exists($_0) and $_0 != null ? ({TRANSFORMS[kind]}) : {default})"
    return f"{{% {value} ?? null %}}"


def _steps(path: str) -> str:
    """Write a dotted path as JSONata; `$` is all of it."""
    parts = [part for part in path.removeprefix("$").split(".") if part]
    return "".join(f"[{part}]" if part.isdecimal() and part.isascii() else f".{text_name(part)}" for part in parts)


def put_at(made: dict[str, Json], names: list[str], value: Json) -> bool:
    """Put a value where it belongs; say whether there was none."""
    for name in names[:-1]:
        inner = made.setdefault(name, {})
        if type(inner) is not dict:
            return False
        made = inner
    if names[-1] in made:
        return False
    made[names[-1]] = value
    return True


def wait_chain(builder: MachineBuilder, step: FlowStep) -> StateChain:
    """Make the state of a step that waits for a time, or until an instant."""
    members = builder.members(step)
    members.check(("duration", "unit", "until"))
    given = [name for name in ("duration", "until") if members.get(name) is not None]
    if len(given) != 1:
        members.refuse("", "needs a duration or until, one of them")
        return StateChain([{"Type": "Wait", "Seconds": 0, "Output": {"waited": 0}}], is_repeatable=True)
    if given == ["until"]:
        if "unit" in members:
            members.refuse("unit", "belongs to duration")
        timestamp = _instant(builder, members)
        return StateChain([{"Type": "Wait", "Timestamp": timestamp, "Output": {"waited": _PASSED}}], is_repeatable=True)
    factor = UNITS_MS[members.one_of("unit", tuple(UNITS_MS), "milliseconds")]
    return StateChain([_duration(builder, members, factor)], is_repeatable=True)


def _instant(builder: MachineBuilder, members: Members) -> Json:
    until, pointer = members.get("until"), members.pointer / "until"
    if type(until) is str and "{{" not in until and parse_instant(until) is None:
        members.refuse("until", "must be an instant such as 2026-11-06T09:00:00Z, or a template")
    elif type(until) is not str:
        members.refuse("until", "must be an instant such as 2026-11-06T09:00:00Z, or a template")
        return None
    return builder.templates.value(until, pointer)


def _duration(builder: MachineBuilder, members: Members, factor: int) -> StateSource:
    duration, pointer = members.get("duration"), members.pointer / "duration"
    if type(duration) is str and "{{" in duration:
        written = builder.templates.expression(duration, pointer)
        due = f"{{% $fromMillis($millis() + {factor} * $number({written.within(60)})) %}}"
        return {"Type": "Wait", "Timestamp": due, "Output": {"waited": _PASSED}}
    if isinstance(duration, str) or not is_number(duration) or not 0 <= duration * factor <= TIME_MAX_MS:
        members.refuse("duration", f"must be a number, of at most {TIME_MAX_MS} ms, or a template")
        return {"Type": "Wait", "Seconds": 0, "Output": {"waited": 0}}
    waited = round(duration * factor)
    output = {"waited": waited}
    if waited % 1000 == 0:
        return {"Type": "Wait", "Seconds": waited // 1000, "Output": output}
    return {"Type": "Wait", "Timestamp": f"{{% $fromMillis($millis() + {waited}) %}}", "Output": output}
