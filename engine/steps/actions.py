"""An action: what a definition may name, and all that is told of it, which stands in its row of the catalog alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from perdure.engine.steps.registry import Registry, Step
from perdure.engine.steps.schemas import ConfigSchema

ANYTHING: Final = ConfigSchema({})
"""The schema of a step that says nothing about its config."""


class Example(NamedTuple):
    """An example of a config, which is valid."""

    title: str
    config: Mapping[str, Any]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the catalog: something that a definition may name.

    `name`: unique.
    `title`, `description`, `category`: for people.
    `config`, `output`: what it takes and gives.
    `gives`: what it gives, in words.
    `errors`: those that it fails with itself.
    `examples`: of its config.
    `step`: the registered step that does it; None if the machine does it itself.
    `has_effects`: whether it may change something outside.
    `reads`: of one that may, whether a call with this config changes nothing; None: any call may change something.
    `undone`: what a call with this config gives in a sandbox, where it is not made; None: an empty object.
    `connection_types`: those of the connections that it can use.
    `is_summary`: whether it makes a summary; `needs_delivery`: whether a step that `delivers` must follow it then.
    `text_field`: the member of its config with the text that it delivers.
    """

    name: str
    title: str
    description: str
    category: str
    config: ConfigSchema
    output: Mapping[str, Any]
    gives: str = ""
    errors: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    step: str | None = None
    has_effects: bool = False
    reads: Callable[[Any], bool] | None = None
    undone: Callable[[Any], Any] | None = None
    connection_types: tuple[str, ...] = ()
    is_summary: bool = False
    needs_delivery: bool = False
    delivers: bool = False
    text_field: str = ""

    @property
    def members(self) -> tuple[str, ...]:
        """The members that its config may have; none if that may be anything."""
        return tuple(self.config.source.get("properties", ()))

    @property
    def is_closed(self) -> bool:
        """Whether its config may have no other members."""
        source = self.config.source
        return source.get("additionalProperties") is False and "patternProperties" not in source

    @property
    def required(self) -> tuple[str, ...]:
        """The members that its config must have."""
        return tuple(self.config.source.get("required", ()))

    def changes(self, given: Any) -> bool:
        """Whether a call with this config may change something outside."""
        return self.has_effects and not (self.reads is not None and self.reads(given))

    def empty_success(self, given: Any) -> Any:
        """The least that a call with this config gives if it succeeds."""
        return {} if self.undone is None else self.undone(given)

    def document(self) -> dict[str, Any]:
        """Give it as JSON, as `GET /v1/actions` does."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "category": self.category,
            "config_schema": self.config.source,
            "output_schema": dict(self.output),
            "examples": [{"title": each.title, "config": dict(each.config)} for each in self.examples],
            "errors": list(self.errors),
            "has_effects": self.has_effects,
            "connection_types": list(self.connection_types),
            "is_summary": self.is_summary,
            "needs_delivery": self.needs_delivery,
            "delivers": self.delivers,
        }

    def service_document(self) -> dict[str, Any]:
        """Give it as the service API's `action-catalog` does."""
        return {
            "step_type": self.name,
            "title": self.title,
            "description": self.description,
            "category": self.category,
            "config_schema": self.config.source,
            "is_summary": self.is_summary,
            "needs_delivery": self.needs_delivery,
        }


def action_of(step: Step) -> Action:
    """The action that a registered step is, by what its registration says of it."""
    told = step.described
    return Action(
        name=step.name,
        title=told.title or step.name,
        description=told.description,
        category=told.category,
        config=told.config or ANYTHING,
        output={} if told.output is None else told.output.source,
        step=step.name,
        has_effects=told.has_effects,
    )


class Actions(Mapping[str, Action]):
    """The actions that can be run: those of the catalog, and the steps of a registry, which win where names are equal.

    `catalog`: the table.
    `registry`: all steps that are there, or those that somebody added to it.
    """

    def __init__(self, catalog: Mapping[str, Action], registry: Registry | None = None) -> None:
        found = dict(catalog)
        for name in () if registry is None else registry.names():
            step = registry.get(name) if registry is not None else None
            if step is not None and not (step.is_builtin and name in catalog):
                found[name] = action_of(step)
        self._actions: Mapping[str, Action] = MappingProxyType(dict(sorted(found.items())))

    def __getitem__(self, name: str) -> Action:
        return self._actions[name]

    def __iter__(self) -> Any:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)

    def documents(self) -> list[dict[str, Any]]:
        """Give all of them as JSON, by name."""
        return [action.document() for action in self.values()]

    def service_documents(self) -> list[dict[str, Any]]:
        """Give all of them as the service API shows them, by name."""
        return [action.service_document() for action in self.values()]
