"""Actions of the catalog as types."""

from __future__ import annotations

from typing import Any

from perdure.api.dialects.schemas import Shape, Yes


class ActionExample(Shape, frozen=True):
    """An example of an action's config."""

    title: str
    config: dict[str, Any]


class ActionShown(Shape, frozen=True):
    """An action: what a step of a workflow can do, with JSON Schemas of its config and its output.

    `has_effects`: it may change something outside. `connection_types`: which connections it can use. `is_summary`: it
    makes a summary; `needs_delivery`: an action that `delivers` must follow it then.
    """

    name: str
    title: str
    description: str
    category: str
    config_schema: dict[str, Any]
    output_schema: dict[str, Any]
    examples: list[ActionExample]
    errors: list[str]
    has_effects: bool
    connection_types: list[str]
    is_summary: bool
    needs_delivery: bool
    delivers: bool


class ActionsListed(Shape, frozen=True):
    """All actions, by name."""

    success: Yes
    data: list[ActionShown]
