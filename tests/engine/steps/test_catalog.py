"""The catalog: the README, the formats of definitions and the steps themselves agree with it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.language.formats.flow import DocumentError
from perdure.engine.language.formats.later import LATER, not_yet
from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.language.formats.step_members import KINDS
from perdure.engine.steps import Registry, StepFailed
from perdure.engine.steps.action_forms import ACTION_FORMS
from perdure.engine.steps.actions import Action
from perdure.engine.steps.builtin import builtin_steps
from perdure.engine.steps.catalog import CATALOG, actions_of, reference
from perdure.engine.steps.http import HttpClient
from perdure.engine.steps.registry import StepContext
from perdure.engine.steps.schemas import ConfigSchema
from tests.present import present

README = Path(__file__).parents[3] / "README.md"
CONTEXT = StepContext("E", "S", 0, "K")
STEPS = [action for action in CATALOG if action.step is not None]
EXAMPLES = [(action, example) for action in CATALOG for example in action.examples]


def test_the_readme_has_the_reference() -> None:
    """What stands between the marks in the README is made from the catalog."""
    marked = README.read_text().split("<!-- made from engine/steps/catalog.py -->\n")[1].split("<!-- end -->")[0]
    assert marked == reference()


async def test_every_built_in_step_is_in_the_catalog() -> None:
    """There is no step that it does not tell of; what has no step is a type of step that the machine does itself."""
    registry = builtin_steps(HttpClient())
    assert sorted(registry.names()) == sorted(str(action.step) for action in STEPS)
    assert {action.name for action in CATALOG if action.step is None} <= set(KINDS)
    assert not {action.name for action in CATALOG} & set(LATER)


@pytest.mark.parametrize("action", STEPS, ids=lambda action: action.name)
async def test_a_step_takes_the_members_of_the_catalog_alone(action: Action) -> None:
    """A member that it does not name is refused, and the answer names those that are accepted."""
    registered = present(builtin_steps(HttpClient()).get(str(action.step)))
    with pytest.raises(StepFailed) as refused:
        await registered.call({"surprise": 1}, CONTEXT)
    assert refused.value.error == action.errors[-1]
    assert refused.value.cause is not None
    assert ", ".join(action.members) in refused.value.cause


@pytest.mark.parametrize(("action", "example"), EXAMPLES, ids=lambda value: getattr(value, "title", ""))
def test_each_example_is_valid_and_compiles(action: Action, example: Any) -> None:
    """By its own schema, and as a step of that type."""
    assert action.config.problems(dict(example.config)) == []
    source = {"name": "x", "steps": [{"id": "a", "type": action.name, "config": dict(example.config)}]}
    assert compile_steps(source, actions=ACTION_FORMS).definition["States"]


@pytest.mark.parametrize("action", CATALOG, ids=lambda action: action.name)
def test_each_action_tells_all_of_itself_as_json(action: Action) -> None:
    """Schemas are schemas, there is an example, and the service API's form is part of the other."""
    whole = json.loads(json.dumps(action.document()))
    assert action.examples
    for name in ("config_schema", "output_schema"):
        jsonschema_rs.meta.validate(whole[name])
    service = action.service_document()
    assert service.pop("step_type") == whole["name"]
    assert service.items() <= whole.items() or all(whole[name] == member for name, member in service.items())


def test_a_registry_adds_to_the_catalog() -> None:
    """With what its registration says; a step of one of our names takes that one's place."""
    registry = builtin_steps(HttpClient())
    mine = Registry()
    schema = {"type": "object", "properties": {"amount": {"type": "integer"}}}
    mine.step("charge", config=schema, output={"type": "string"}, title="Charge", description="d", category="c")(
        lambda value: value
    )
    mine.step("log")(lambda value: value)
    found = actions_of(registry.merged(mine))
    assert set(found) == {*(action.name for action in CATALOG), "charge"}
    assert found["charge"].document() == {
        "name": "charge",
        "title": "Charge",
        "description": "d",
        "category": "c",
        "config_schema": schema,
        "output_schema": {"type": "string"},
        "examples": [],
        "errors": [],
        "has_effects": True,
        "connection_types": [],
        "is_summary": False,
        "needs_delivery": False,
        "delivers": False,
    }
    assert found["log"].category == "custom"
    assert [each["name"] for each in found.documents()] == sorted(found)
    assert [each["step_type"] for each in found.service_documents()] == sorted(found)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "objct"}, "is no JSON Schema"),
        ({"properties": 5}, "is no JSON Schema"),
        ({"pattern": "("}, "is no JSON Schema"),
        ({"$ref": "#/nobody"}, "does not exist"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "outside the schema"),
        ({"$ref": "file:///etc/passwd"}, "outside the schema"),
        ({"const": object()}, "is no JSON Schema"),
    ],
)
def test_a_schema_that_is_none_is_refused_at_registration(schema: dict[str, Any], problem: str) -> None:
    """It is told of which step and which schema; nothing is registered, and nothing outside is read."""
    for which in ("config", "output"):
        registry = Registry()
        more: dict[str, Any] = {which: schema}
        with pytest.raises(ValueError, match=rf"step 'mine': {which} .*{problem}"):
            registry.step("mine", **more)
        assert registry.names() == []


def test_later_changes_of_a_schema_change_nothing() -> None:
    """What was registered is kept."""
    source = {"type": "object", "required": ["a"]}
    schema = ConfigSchema(source)
    source["required"] = []
    assert [problem.message for problem in schema.problems({})] == ["a is missing"]


def test_actions_that_are_not_there_yet_are_told_by_name() -> None:
    """Each with what it comes with; those of tables by their family; other names are nobody's business here."""
    assert not_yet("send_email") == "send_email is not there yet: it comes with notifications"
    assert not_yet("table.find") == "table.find is not there yet: it comes with tables"
    assert (not_yet("log"), not_yet("tables"), not_yet("")) == (None, None, None)


# --- templates stand for any value ----------------------------------------------------------------

CHOOSING = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "n": {"type": "integer", "minimum": 3},
        "either": {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}]},
        "list": {"type": "array", "uniqueItems": True, "maxItems": 2, "items": {"type": "boolean"}},
        "only": {"const": {"x": 1}},
    },
    "if": {"properties": {"kind": {"const": "a"}}, "required": ["kind"]},
    "then": {"required": ["n"]},
    "additionalProperties": False,
}
WILD = "{{ input.x }}"


@pytest.mark.parametrize(
    ("config", "places"),
    [
        ({"kind": WILD, "n": WILD, "either": WILD, "list": WILD, "only": WILD}, []),
        ({"kind": f"x{WILD}", "list": [WILD, WILD], "only": {"x": WILD}}, []),
        ({"kind": "a"}, [()]),
        ({"kind": WILD}, []),
        ({"kind": "c", "n": WILD}, [("kind",)]),
        ({"n": 2, "either": "long", "list": [True, True]}, [("n",), ("either",), ("list",)]),
        ({"n": [WILD]}, [("n",)]),
        ({"list": [WILD, WILD, WILD]}, [("list",)]),
        ({"list": [WILD, 5]}, [("list", 1)]),
        ({"nn": WILD}, [("nn",)]),
        (WILD, []),
        ([WILD], [()]),
    ],
)
def test_a_template_stands_for_any_value(config: Any, places: list[tuple[str | int, ...]]) -> None:
    """What its value may make right is no problem; what no value makes right is one."""
    assert sorted(problem.path for problem in ConfigSchema(CHOOSING).problems(config)) == sorted(places)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([WILD, "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["url", "auth", "type", "message", "pagination", "json", "form", "a"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(CATALOG), ANYTHING)
@settings(max_examples=300, deadline=None)
def test_any_config_is_valid_or_has_problems(action: Action, config: Any) -> None:
    """Nothing is raised, whatever it is; and a step with it compiles or is refused with places."""
    for problem in action.config.problems(config):
        assert problem.message
    source = {"name": "x", "steps": [{"id": "a", "type": action.name, "config": config}]}
    with suppress(DocumentError):
        compile_steps(source, actions=ACTION_FORMS)


@given(st.sampled_from(EXAMPLES), st.data())
@settings(max_examples=100, deadline=None)
def test_a_template_may_stand_wherever_a_value_does(one: Any, data: Any) -> None:
    """Any value of a valid config can be replaced by a template."""
    action, example = one
    config = json.loads(json.dumps(dict(example.config)))
    holder: Any = config
    while True:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
            holder = holder[key]
            continue
        holder[key] = WILD
        break
    assert action.config.problems(config) == []
