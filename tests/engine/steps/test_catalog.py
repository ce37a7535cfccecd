"""The catalog of the built-in steps: the README and the steps themselves agree with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.engine.steps import StepFailed
from perdure.engine.steps.builtin import builtin_steps
from perdure.engine.steps.catalog import CATALOG, BuiltinStep, reference
from perdure.engine.steps.http import HttpClient
from perdure.engine.steps.registry import StepContext

README = Path(__file__).parents[3] / "README.md"


def test_the_readme_has_the_reference() -> None:
    """What stands between the marks in the README is made from the catalog."""
    marked = README.read_text().split("<!-- made from engine/steps/catalog.py -->\n")[1].split("<!-- end -->")[0]
    assert marked == reference()


async def test_every_built_in_step_is_in_the_catalog() -> None:
    """There is no step that it does not tell of, nor one too many."""
    registry = builtin_steps(HttpClient())
    assert sorted(registry.names()) == sorted(step.name for step in CATALOG)


@pytest.mark.parametrize("step", CATALOG, ids=lambda step: step.name)
async def test_a_step_takes_the_members_of_the_catalog_alone(step: BuiltinStep) -> None:
    """A member that it does not name is refused, and the answer names those that are accepted."""
    registered = builtin_steps(HttpClient()).get(step.name)
    assert registered is not None
    with pytest.raises(StepFailed) as refused:
        await registered.call({"surprise": 1}, StepContext("E", "S", 0, "K"))
    assert refused.value.error == step.errors[-1]
    assert refused.value.cause is not None
    assert ", ".join(step.field_names) in refused.value.cause
