"""Results of calls about actions, in the form of `results`."""

from __future__ import annotations

from perdure.api.client.results import JsonObject, Result


class ActionExample(Result, frozen=True):
    """An example of an action's config."""

    title: str
    config: JsonObject


class ActionShown(Result, frozen=True):
    """An action: what a step of a workflow can do, with JSON Schemas of its config and its output.

    `has_effects`: it may change something outside. `connection_types`: which connections it can use. `is_summary`: it
    makes a summary; `needs_delivery`: an action that `delivers` must follow it then.
    """

    name: str
    title: str
    description: str
    category: str
    config_schema: JsonObject
    output_schema: JsonObject
    examples: list[ActionExample]
    errors: list[str]
    has_effects: bool
    connection_types: list[str]
    is_summary: bool
    needs_delivery: bool
    delivers: bool
