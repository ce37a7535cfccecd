"""Conditions of steps, written as one expression of JSONata that is true or false.

The operators never fail, whatever they compare: where the types do not fit they are false. Numbers compare as numbers,
and so do texts that read as numbers, if both sides do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.formats.members import Members
from perdure.engine.language.formats.names import TemplateRefused
from perdure.engine.language.formats.templates import Templates, as_template, check
from perdure.engine.language.formats.written import TERNARY, Written
from perdure.engine.language.values import Json

NUMERAL: Final = r"^\s*-?[0-9]{1,15}(\.[0-9]{1,15})?\s*$"
"""A text that reads as a number."""

_PRELUDE: Final = (
    '$_n := function($v){ $type($v) = "number" ? $v : '
    f'$type($v) = "string" and $contains($v, /{NUMERAL}/) ? $number($trim($v)) }}'
)
_BOTH: Final = "$exists($_a) and $exists($_b)"
_TEXTS: Final = '$type($_l) = "string" and $type($_r) = "string"'
_EMPTY: Final = '$_l = null or $_l = "" or $_l = [] or $_l = {}'

_COMPARISONS: Final[Mapping[str, str]] = {
    "eq": f"{_BOTH} ? $_a = $_b : $_l = $_r",
    "ne": f"{_BOTH} ? $_a != $_b : $_l != $_r",
    **{
        name: f"{_BOTH} ? $_a {sign} $_b : {_TEXTS} ? $_l {sign} $_r : false"
        for name, sign in (("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<="))
    },
}
_TESTS: Final[Mapping[str, str]] = {
    "contains": (
        f'{_TEXTS} ? $contains($_l, $_r) : $type($_l) = "array" ? '
        "$count($filter($_l, function($x){ $x = $_r })) > 0 : false"
    ),
    "startsWith": f"{_TEXTS} ? $substring($_l, 0, $length($_r)) = $_r : false",
    "endsWith": (
        f"{_TEXTS} ? $length($_l) >= $length($_r) and "
        "$substring($_l, $length($_l) - $length($_r)) = $_r : false"
    ),
}  # fmt: skip
OPERATORS: Final = (*_COMPARISONS, *_TESTS, "exists", "isEmpty", "matches")
_PATH: Final = re.compile(r"(?:input|trigger|steps|variables|item)[.\[]\S+$")
"""A text that was probably to be a template."""

_COMBINATIONS: Final = ("and", "or", "not")


class ConditionWriter:
    """Writes the condition of one place; adds what is wrong with it to the problems."""

    def __init__(self, templates: Templates, diagnostics: Diagnostics) -> None:
        self._templates = templates
        self._diagnostics = diagnostics

    def written(self, config: Mapping[str, Json], pointer: JsonPointer) -> str:
        """Write the condition of a config: `conditions` with `match`, or `expression`."""
        members = Members(config, pointer, self._diagnostics)
        given = [name for name in ("conditions", "expression") if name in members]
        if len(given) != 1:
            members.refuse("", "needs conditions or an expression, one of them")
            return "false"
        if given == ["expression"]:
            if "match" in members:
                members.refuse("match", "belongs to conditions")
            source = members.needed_text("expression", most=100_000) or "false"
            expression = self._templates.expression(as_template(source), pointer / "expression")
            return f"({expression.within(TERNARY + 1)} ? true : false)"
        word = "and" if members.one_of("match", ("all", "any"), "all") == "all" else "or"
        return f"({_PRELUDE}; {self._any(config['conditions'], pointer / 'conditions', word)})"

    def _any(self, source: Json, pointer: JsonPointer, word: str) -> str:
        if type(source) is list and source:
            parts = [self._any(item, pointer / index, "and") for index, item in enumerate(source)]
            return parts[0] if len(parts) == 1 else f"({f' {word} '.join(parts)})"
        if type(source) is not dict:
            self._diagnostics.add(pointer, "must be a condition {left, operator, right}, or a list of them")
            return "false"
        combined = [name for name in _COMBINATIONS if name in source]
        if not combined:
            return self._comparison(Members(source, pointer, self._diagnostics))
        name = combined[0]
        Members(source, pointer, self._diagnostics).check([name], " beside " + name)
        if name == "not":
            return f"$not({self._any(source[name], pointer / name, 'and')})"
        if type(source[name]) is not list or not source[name]:
            self._diagnostics.add(pointer / name, "must be a list of one or more conditions")
            return "false"
        return self._any(source[name], pointer / name, name)

    def _comparison(self, members: Members) -> str:
        members.check(("left", "operator", "right"))
        if "operator" not in members:
            members.refuse("", f"operator is missing; there are {', '.join(OPERATORS)}")
        if "left" not in members:
            members.refuse("", "left is missing")
        left_given = members.get("left")
        if type(left_given) is str and _PATH.match(left_given):
            members.refuse("left", f"is this very text; to read it write {{{{ {left_given} }}}}")
        operator = members.one_of("operator", OPERATORS, "eq")
        left = f"$_l := {self._operand('left', members).or_null}"
        if operator in ("exists", "isEmpty"):
            test = "$_l != null" if operator == "exists" else _EMPTY
            return f"({left}; {test})" if self._expects(members) else f"({left}; $not({test}))"
        if "right" not in members:
            members.refuse("", "right is missing")
            return "false"
        if operator == "matches":
            return f'({left}; $type($_l) = "string" ? $contains($_l, {self._pattern(members)}) : false)'
        both = f"{left}; $_r := {self._operand('right', members).or_null}"
        if operator in _TESTS:
            return f"({both}; {_TESTS[operator]})"
        return f"({both}; $_a := $_n($_l); $_b := $_n($_r); {_COMPARISONS[operator]})"

    def _operand(self, name: str, members: Members) -> Written:
        return self._templates.expression(members.get(name), members.pointer / name)

    @staticmethod
    def _expects(members: Members) -> bool:
        """Say what is wanted of `exists` and `isEmpty`, which take true or false on the right, or nothing."""
        return members.flag("right", default=True)

    def _pattern(self, members: Members) -> str:
        source = members.get("right")
        if type(source) is not str or not source or "{{" in source:
            members.refuse("right", "must be a regular expression, as text without templates")
            return "/x/"
        pattern = f"/{_slashed(source)}/"
        try:
            check(Written(f'$contains("", {pattern})'))
        except TemplateRefused as refusal:
            members.refuse("right", f"is no regular expression: {refusal}")
            return "/x/"
        return pattern


def _slashed(pattern: str) -> str:
    """Write a pattern so that it can stand between slashes."""
    out: list[str] = []
    is_escaped = False
    for character in pattern:
        if character == "/" and not is_escaped:
            out.append("\\/")
        elif character in "\n\r":
            out.append(json.dumps(character)[1:-1])
        else:
            out.append(character)
        is_escaped = character == "\\" and not is_escaped
    return "".join(out)
