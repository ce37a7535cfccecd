"""Mapping rules, `{source, target, transform, default}`, applied to a value: the same as the step formats compile."""

from __future__ import annotations

import json
from typing import Any, Final

from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.jsonata.compile import compile_jsonata
from perdure.engine.language.formats.lower_values import TRANSFORMS, mapped_field, put_at
from perdure.engine.language.values import MISSING, Json, Missing
from perdure.engine.suggestions import did_you_mean

RULES_MAX: Final = 1_000
PATH_MAX: Final = 10_000
_FIELDS: Final = ("source", "target", "transform", "default")


class MappingFailed(ValueError):
    """Rules that are none, or a value that a rule cannot make into what it says; the text names the rule."""


class _NoRun:
    """What an expression of a rule can see of a run: nothing."""

    now_ms = 0
    expression_timeout_s: float | None = None

    def context(self) -> dict[str, Json]:
        return {}

    def variable(self, _name: str) -> Json | Missing:
        return MISSING

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)


def mapped(source: Any, rules: Any) -> dict[str, Any]:
    """Make an object of a value by rules. Raises `MappingFailed`."""
    if not isinstance(rules, list) or len(rules) > RULES_MAX:
        raise MappingFailed(f"mappingRules must be a list of at most {RULES_MAX} rules {{{', '.join(_FIELDS)}}}.")
    made: dict[str, Any] = {}
    targets: dict[str, Any] = {}  # of texts: an object that a rule found is no place for another rule's target
    environment = Environment(_NoRun(), source)
    for index, rule in enumerate(rules):
        at = f"mappingRules.{index}"
        path, target, kind = _checked(rule, at)
        try:
            default = json.dumps(rule.get("default"), ensure_ascii=False)
            value = compile_jsonata(mapped_field(path, kind, default)).evaluate(None, environment)
        except (StatesError, ValueError, RecursionError) as error:
            raise MappingFailed(f"{at} cannot make {kind} of {path}: {error}") from None
        names = target.split(".")
        if not put_at(targets, names, ""):
            raise MappingFailed(f"{at}.target: another rule gives {target} a value.")
        put_at(made, names, value)
    return made


def _checked(rule: Any, at: str) -> tuple[str, str, str]:
    if not isinstance(rule, dict):
        raise MappingFailed(f"{at} must be an object {{{', '.join(_FIELDS)}}}.")
    for name in rule:
        if name not in _FIELDS:
            near = did_you_mean(name, _FIELDS) or f" There are {', '.join(_FIELDS)}."
            raise MappingFailed(f"{at}.{name} is no field of a rule.{near}")
    for name in ("source", "target"):
        text = rule.get(name)
        if not isinstance(text, str) or not 0 < len(text) <= PATH_MAX:
            raise MappingFailed(f"{at}.{name} must be a text of 1 to {PATH_MAX} characters.")
    kind = rule.get("transform", "direct")
    if not isinstance(kind, str) or kind not in TRANSFORMS:
        raise MappingFailed(f"{at}.transform must be one of {', '.join(TRANSFORMS)}.")
    return rule["source"], rule["target"], kind
