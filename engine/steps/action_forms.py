"""The actions of the catalog as the formats of definitions know them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from perdure.engine.language.formats.flow import ActionForm
from perdure.engine.steps.catalog import CATALOG

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
"""By name."""
