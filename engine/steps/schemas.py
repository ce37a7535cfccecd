"""JSON Schemas of steps: checked when a step is registered, and the configs of steps checked by them.

A config may hold templates (`{{ … }}`), whose values are known when a step is called and not before. So a text that
holds one stands for any value: what a schema says of it, or of something whose verdict may turn on it, is no problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import jsonschema_rs

from perdure.engine.language.formats.templates import has_templates
from perdure.engine.language.values import shown
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.suggestions import did_you_mean

PROBLEMS_MAX: Final = 100
"""So many problems of one config are told."""

_OF_SHAPE: Final = frozenset(
    ("additionalProperties", "required", "minProperties", "maxProperties", "propertyNames", "minItems", "maxItems")
)
"""Keywords that judge which members there are, or how many, and none of their values."""
_CHOOSING: Final = frozenset(("then", "else", "dependentSchemas", "dependencies"))
"""Keywords whose schemas apply or not by other values than that which they judge."""
_NAME_MAX: Final = 200


class ConfigProblem(NamedTuple):
    """A problem of a config; `path` leads to it from the config, as keys and indices."""

    path: tuple[str | int, ...]
    message: str


class ConfigSchema:
    """A JSON Schema of a config; `source` is the schema.

    Raises ValueError: it is no JSON Schema, or refers to something outside itself.
    """

    def __init__(self, source: Mapping[str, Any]) -> None:
        try:
            self.source: dict[str, Any] = decode_json(encode_json(source))  # nobody can change it afterwards
            self._validator = jsonschema_rs.validator_for(self.source, retriever=_refuse)
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(f"is no JSON Schema: {str(error).partition(chr(10))[0]}") from None

    def problems(self, config: Any) -> list[ConfigProblem]:
        """Find what is wrong with a config that may hold templates. Raises nothing, whatever it is given."""
        found: dict[ConfigProblem, None] = {}
        try:
            for error in self._validator.iter_errors(config):
                if not _may_be_right(error, config):
                    found.update(dict.fromkeys(self._told(error, config)))
                if len(found) >= PROBLEMS_MAX:
                    break
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            return [ConfigProblem((), f"cannot be checked: {str(error).partition(chr(10))[0]}")]
        return list(found)[:PROBLEMS_MAX]

    def _told(self, error: jsonschema_rs.ValidationError, config: Any) -> Iterator[ConfigProblem]:
        path = tuple(error.instance_path)
        kind: Any = error.kind
        if kind.name == "additionalProperties":
            known = list(_at(self.source, [*error.schema_path[:-1], "properties"]) or ())
            for name in kind.unexpected:
                near = did_you_mean(name, known) if len(name) <= _NAME_MAX else ""
                there = f" There are {', '.join(known)}." if known and not near else ""
                yield ConfigProblem((*path, name), f"unknown member {shown(name)}.{near or there}")
        elif kind.name == "required":
            yield ConfigProblem(path, f"{kind.property} is missing")
        elif kind.name == "enum":
            value = _at(config, path)
            texts = [option for option in kind.options if isinstance(option, str)]
            near = did_you_mean(value, texts) if isinstance(value, str) and len(value) <= _NAME_MAX else ""
            yield ConfigProblem(path, f"must be one of {', '.join(map(_shown, kind.options))}.{near}")
        elif kind.name == "type":
            yield ConfigProblem(path, f"must be of type {' or '.join(kind.types)}")
        elif (apart := _apart(kind)) is not None:
            yield ConfigProblem(path, f"{' and '.join(apart)} cannot stand together: give one of them")
        elif kind.name in ("anyOf", "oneOf"):
            yield ConfigProblem(path, f"fits none of the forms it may have: {_alternatives(kind)}")
        else:
            yield ConfigProblem(path, str(error.message)[:1_000])


def _refuse(uri: str) -> Any:
    """Refuse to fetch a schema: by itself the library would read files and ask servers."""
    raise ValueError(f"{uri} is outside the schema, and is not fetched")


def _may_be_right(error: jsonschema_rs.ValidationError, config: Any) -> bool:
    """Say whether a template may still make right what an error is about."""
    value = _at(config, error.instance_path)
    if type(value) is str and has_templates(value):
        return True
    if _apart(error.kind) is not None:
        return type(value) is not dict  # it says nothing of other values, of which their type tells
    if error.kind.name not in _OF_SHAPE and error.kind.name != "type" and has_templates(value):
        return True
    return not _CHOOSING.isdisjoint(map(str, error.schema_path)) and has_templates(config)


def _apart(kind: Any) -> list[str] | None:
    """The members that cannot stand together, if that is what an error says: `{"not": {"required": […]}}`."""
    refused = kind.schema if kind.name == "not" else None
    return list(refused["required"]) if isinstance(refused, dict) and list(refused) == ["required"] else None


def _at(value: Any, path: Any) -> Any:
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()[:_NAME_MAX]


def _alternatives(kind: Any) -> str:
    """Say what each form asks for, in the schema library's words."""
    first = [errors[0].message for errors in getattr(kind, "context", []) if errors]
    return "; or ".join(str(message)[:_NAME_MAX] for message in first[:4]) or "more than one of them at once"
