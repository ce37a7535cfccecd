"""The actions of the catalog, and of a registry, as the formats of definitions know them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from perdure.engine.language.formats.flow import ActionForm
from perdure.engine.steps.catalog import CATALOG
from perdure.engine.steps.registry import Registry

ACTION_FORMS: Final[Mapping[str, ActionForm]] = MappingProxyType(
    {
        step.name: ActionForm(
            step.name,
            frozenset(step.field_names),
            tuple(field.name for field in step.fields if field.default is None),
        )
        for step in CATALOG
    }
)
"""Those of the catalog, by name."""


def action_forms(registry: Registry) -> Mapping[str, ActionForm]:
    """The actions of the catalog and the steps of a registry, whose config may hold anything."""
    return {**{name: ActionForm(name) for name in registry.names()}, **ACTION_FORMS}
