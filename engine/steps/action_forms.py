"""The actions of the catalog, and of a registry, as the formats of definitions know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from perdure.engine.language.formats.flow import ActionForm
from perdure.engine.steps.actions import ANYTHING, Action
from perdure.engine.steps.catalog import actions_of
from perdure.engine.steps.registry import Registry
from perdure.engine.steps.schemas import ConfigProblem


def _form(action: Action) -> ActionForm:
    """What a definition may write of an action that a step does."""

    def check(config: Any) -> Sequence[ConfigProblem]:
        """Find what `fields` and `required` do not tell already."""
        told = {f"{name} is missing" for name in action.required}
        return [
            problem
            for problem in action.config.problems(config)
            if not (not problem.path and problem.message in told)
            and not (action.is_closed and len(problem.path) == 1 and problem.path[0] not in action.members)
        ]

    return ActionForm(
        action.step or action.name,
        frozenset(action.members) if action.is_closed else None,
        action.required,
        is_summary=action.is_summary,
        delivers=action.delivers,
        text_field=action.text_field,
        check=None if action.config is ANYTHING else check,
    )


def action_forms(registry: Registry | None = None) -> Mapping[str, ActionForm]:
    """The actions of the catalog that a step does, and the steps of a registry, which win where names are equal."""
    return {name: _form(action) for name, action in actions_of(registry).items() if action.step is not None}


ACTION_FORMS: Final[Mapping[str, ActionForm]] = MappingProxyType(action_forms())
"""Those of the catalog, by name."""
