"""The work of a JSON Schema: how many schemas a value is judged by, counted without judging it.

A schema may name another one twice, that a third one twice, and so on: a text of a few lines asks for more work than
anybody can do, and so does a schema that names itself twice for the same member, of a value that is nested deeply. The
library that judges values knows no limit, so the work is counted first: as if each schema that may be asked is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from perdure.engine.language.values import Json

EXPANSION_MAX: Final = 10_000
"""So many schemas a schema may come to, with what it refers to in the place of each reference."""

WORK_MAX: Final = 1_000_000
"""So many times a schema may be asked about a value."""

_SAME_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SAME: Final = ("not", "if", "then", "else")
_SAME_MAPS: Final = ("dependentSchemas", "dependencies")
_REFS: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_ITEMS: Final = ("items", "additionalItems", "contains", "unevaluatedItems", "prefixItems")
_MEMBERS: Final = ("additionalProperties", "unevaluatedProperties")
_MEMBER_MAPS: Final = ("properties", "patternProperties")


PLACES_MAX: Final = 200_000
"""So many pairs of a schema and a part of a value are counted; with more it is too much work."""

_HOLDING: Final = (dict, list)
_CLOSELY: Final = 32
"""A schema that comes to no more, and does not refer to itself twice, needs no count."""


class _Size(NamedTuple):
    """The schemas that one comes to, and how many of them are references back to one that it is in."""

    schemas: int
    returns: int


class SchemaWork:
    """The work that a schema, which is valid, asks for."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._named: dict[str, list[Json]] = {}
        self._resources: list[Json] = [root]
        self._collect(root)
        self._sizes: dict[int, _Size] = {}
        self._simple: dict[int, int] = {}
        self._entered: set[int] = set()
        self._size = self._sized(root)

    @property
    def is_too_large(self) -> bool:
        """Whether it comes to more schemas than are accepted."""
        return self._size.schemas > EXPANSION_MAX

    def is_too_much_for(self, value: Json) -> bool:
        """Whether to judge a value is more work than is done."""
        if self._size.returns <= 1 and self._size.schemas <= _CLOSELY:
            return False
        return self._asked(value) > WORK_MAX

    # --- the schema ---------------------------------------------------------------------------

    def _collect(self, schema: Json) -> None:
        """Note what references may name."""
        if type(schema) is dict:
            for name in ("$anchor", "$dynamicAnchor", "$id", "id"):
                text = schema.get(name)
                if type(text) is str:
                    self._named.setdefault(text.removeprefix("#"), []).append(schema)
                    if schema is not self._root and name in ("$id", "id"):
                        self._resources.append(schema)
            for inner in schema.values():
                self._collect(inner)
        elif type(schema) is list:
            for inner in schema:
                self._collect(inner)

    def _sized(self, schema: Json) -> _Size:
        """Count a schema with all that it holds or refers to."""
        if type(schema) is not dict:
            return _Size(1, 0)
        known = self._sizes.get(id(schema))
        if known is not None:
            return known
        if id(schema) in self._entered:
            return _Size(1, 1)
        self._entered.add(id(schema))
        sizes = [self._sized(inner) for inner in (*self._same(schema), *_inner(schema))]
        self._entered.discard(id(schema))
        size = _Size(1 + sum(each.schemas for each in sizes), sum(each.returns for each in sizes))
        self._sizes[id(schema)] = size
        return size

    def _same(self, schema: Mapping[str, Any]) -> Iterator[Json]:
        """List the schemas that judge the same value as this one."""
        for name in _SAME_LISTS:
            yield from schema.get(name, ())
        yield from (schema[name] for name in _SAME if name in schema)
        for name in _SAME_MAPS:
            yield from (each for each in schema.get(name, {}).values() if type(each) is not list)
        for name in _REFS:
            if type(schema.get(name)) is str:
                yield from self._meant(schema[name])

    def _meant(self, reference: str) -> list[Json]:
        """Give what a reference may mean; one to a schema that the library knows by itself means nothing here."""
        base, _, fragment = reference.partition("#")
        within = self._resources if not base else self._resources_named(base)
        if not fragment:
            return within[:1] if not base else within
        if not fragment.startswith("/"):
            return self._named.get(fragment, [])
        found = (_at(resource, unquote(fragment)) for resource in within)
        return [each for each in found if each is not None]

    def _resources_named(self, base: str) -> list[Json]:
        tail = base.rsplit("/", 1)[-1]
        return [each for name, named in self._named.items() if name.rsplit("/", 1)[-1] == tail for each in named]

    # --- values -------------------------------------------------------------------------------

    def _asked(self, value: Json) -> int:
        """Count how often a schema is asked about a value or a part of it, as if each that may be is; stops early."""
        counts: dict[tuple[int, int], int] = {}
        held: dict[tuple[int, int], list[tuple[int, int]]] = {}
        ahead = [(self._root, value)]
        while ahead:
            schema, part = ahead[-1]
            place = (id(schema), id(part))
            if place in held:
                ahead.pop()
                # One that refers to itself for the same value is asked once: it is in `held`, and has no count yet.
                counts[place] += sum(counts.get(inner, 1) for inner in held[place]) if held[place] else 0
                held[place] = []
            else:
                counts[place], held[place] = 1, []
                for inner, of in self._next(schema, part):
                    if type(of) in _HOLDING:
                        held[place].append((id(inner), id(of)))
                        if (id(inner), id(of)) not in held:
                            ahead.append((inner, of))
                    else:
                        counts[place] += self._asked_of_simple(inner)
            if counts[place] > WORK_MAX or len(held) > PLACES_MAX:
                return WORK_MAX + 1
        return counts[id(self._root), id(value)]

    def _asked_of_simple(self, schema: Json) -> int:
        """Count how often a schema is asked about a value that holds no other, whatever that is."""
        if type(schema) is not dict:
            return 1
        if id(schema) not in self._simple:
            self._simple[id(schema)] = 1
            self._simple[id(schema)] = 1 + sum(map(self._asked_of_simple, self._same(schema)))
        return self._simple[id(schema)]

    def _next(self, schema: Json, value: Json) -> Iterator[tuple[Json, Json]]:
        if type(schema) is dict:
            yield from ((inner, value) for inner in self._same(schema))
            yield from _parts(schema, value)


def _inner(schema: Mapping[str, Any]) -> Iterator[Json]:
    """List the schemas of items and members."""
    for name in (*_ITEMS, *_MEMBERS, "propertyNames"):
        held = schema.get(name)
        yield from held if type(held) is list else () if held is None else (held,)
    for name in _MEMBER_MAPS:
        yield from schema.get(name, {}).values()


def _parts(schema: Mapping[str, Any], value: Json) -> Iterator[tuple[Json, Json]]:
    """List the schemas that judge items and members of a value, each with what it judges."""
    if type(value) is list:
        for name in _ITEMS:
            held = schema.get(name)
            if type(held) is list:
                yield from zip(held, value, strict=False)
            elif held is not None:
                yield from ((held, item) for item in value)
    if type(value) is dict:
        properties = schema.get("properties", {})
        yield from ((properties[name], member) for name, member in value.items() if name in properties)
        for inner in schema.get("patternProperties", {}).values():
            yield from ((inner, member) for member in value.values())
        for name in _MEMBERS:
            if name in schema:
                yield from ((schema[name], member) for key, member in value.items() if key not in properties)
        if "propertyNames" in schema:
            yield from ((schema["propertyNames"], key) for key in value)


def _at(schema: Any, pointer: str) -> Json:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            schema = schema[int(key) if type(schema) is list else key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return schema
