"""Any document of any format compiles to a valid definition, or has problems; nothing else is raised."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from perdure.engine.language import problems
from perdure.engine.language.formats.documents import FORMATS, DocumentOptions, compile_document
from perdure.engine.language.formats.flow import DocumentError
from perdure.engine.steps.action_forms import ACTION_FORMS, action_forms
from perdure.engine.steps.registry import Registry

OPTIONS = DocumentOptions(ACTION_FORMS)

CONFIGS: dict[str, Any] = {
    "log": {"message": "{{ input.x }}"},
    "condition": {"expression": "{{ input.x > 1 }}"},
    "approval": {"required": 2},
    "transform": {"a": "{{ steps.n0 }}"},
    "wait": {"duration": 5},
    "terminate": {},
    "loop": {"collection": [1], "steps": [{"id": "in", "type": "log", "config": {"message": "{{ steps.n1 }}"}}]},
    "Pass": {},
    "Choice": {"Choices": [{"Condition": "{% true %}"}]},
    "Succeed": {},
    "state": {"state": 5},
    "trigger": {},
}
HANDLES: dict[str, list[str]] = {
    "condition": ["true", "false", ""],
    "approval": ["approved", "rejected", "", "error"],
    "Choice": ["choice:0", "default"],
    "Pass": [""],
    "trigger": [""],
}


@st.composite
def graphs(draw: Any) -> dict[str, Any]:
    """A graph in which most nodes are led to from one before, with some edges that run anyhow."""
    kinds = draw(st.lists(st.sampled_from([kind for kind in CONFIGS if kind != "trigger"]), min_size=1, max_size=6))
    loop = kinds.index("loop") if "loop" in kinds else -1  # ids in two would be the same
    kinds = ["trigger", *(kind if kind != "loop" or index == loop else "log" for index, kind in enumerate(kinds))]
    edges = []
    for target in range(1, len(kinds)):
        leading = [source for source in range(target) if kinds[source] not in ("terminate", "Succeed", "state")]
        edges.append((draw(st.sampled_from(leading)), target))
    places = st.integers(0, len(kinds) - 1)
    edges += draw(st.lists(st.tuples(places, places), max_size=3))
    written = []
    for source, target in edges:
        handle = draw(st.sampled_from(HANDLES.get(kinds[source], ["", "", "error"])))
        written.append({"source": f"n{source}", "target": f"n{target}", "sourceHandle": handle or None})
    nodes = [{"id": f"n{index}", "type": kind, "config": CONFIGS[kind]} for index, kind in enumerate(kinds)]
    return {"nodes": nodes, "edges": written}


@given(graphs(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_graph_compiles_or_has_problems(graph: dict[str, Any], is_draft: bool) -> None:
    """However its edges run: circles, forks that meet in part or not at all, jumps into branches."""
    try:
        made = compile_document("graph", graph, OPTIONS._replace(is_draft=is_draft))
    except DocumentError as error:
        event("refused")
        found = error.problems
    else:
        event("compiled")
        assert set(made.states) <= set(json_names(made.definition))
        assert problems(made.definition, is_compiled=True) == []
        return
    assert found
    assert all(problem.message and (problem.path == "" or problem.path.startswith("/")) for problem in found)


def json_names(value: Any) -> Any:
    """All names of members, however deep."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from json_names(member)
    elif isinstance(value, list):
        for item in value:
            yield from json_names(item)


NAMES = (
    *("name", "steps", "nodes", "edges", "id", "type", "step_type", "config", "step_config", "source"),
    *(
        "target",
        "data",
        "States",
        "StartAt",
        "definition",
        "trigger",
        "settings",
        "variables",
        "errorHandling",
        "retryConfig",
        "condition",
    ),
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats(allow_nan=True)
    | st.sampled_from(["", "a", "log", "{{ x", "1 2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=14,
)


@pytest.mark.parametrize("name", FORMATS)
@given(
    ANYTHING,
    st.sampled_from([lambda value: value, repr, lambda value: {"name": "x", **value} if type(value) is dict else {}]),
)
@settings(max_examples=20, deadline=None)
def test_any_json_compiles_or_has_problems(name: str, source: Any, change: Callable[[Any], Any]) -> None:
    """As a value, as text, and with a name."""
    try:
        made = compile_document(name, change(source), OPTIONS)
    except DocumentError as error:
        event("refused")
        found = error.problems
    else:
        event("compiled")
        assert problems(made.definition, is_compiled=True) == []
        return
    assert found


def test_steps_of_a_registry_are_actions() -> None:
    """With any config; those of the catalog keep their own."""
    registry = Registry()
    registry.step("billing.charge")(lambda value: value)
    forms = action_forms(registry)
    source = {"name": "x", "steps": [{"id": "c", "type": "billing.charge", "config": {"any": ["{{ input.x }}"]}}]}
    made = compile_document("steps", source, DocumentOptions(forms))
    assert made.definition["States"]["c"]["Resource"] == "billing.charge"
    assert forms["log"].required == ("message",)


def test_a_definition_is_a_document_too() -> None:
    """It compiles to itself, from text as well, and its states are its steps."""
    definition = {"StartAt": "a", "States": {"a": {"Type": "Succeed"}}}
    for source in (definition, json.dumps(definition)):
        made = compile_document("asl", source, OPTIONS)
        assert (made.definition, made.states) == (definition, {"a": "a"})
    distributed = {
        "StartAt": "m",
        "States": {
            "m": {
                "Type": "Map",
                "End": True,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "b",
                    "States": {"b": {"Type": "Succeed"}},
                },
            }
        },
    }
    with pytest.raises(DocumentError, match="/States/m: a distributed Map is not supported yet"):
        compile_document("asl", distributed, OPTIONS)


def test_a_task_names_no_action_that_is_not_there_yet() -> None:
    """It is refused by name, at its resource, unless a registry has such a step; other names are the registry's."""
    definition = {
        "StartAt": "a",
        "States": {
            "a": {"Type": "Task", "Resource": "send_email", "Next": "b"},
            "b": {"Type": "Task", "Resource": "table.insert", "Next": "c"},
            "c": {"Type": "Task", "Resource": "billing.charge", "End": True},
        },
    }
    with pytest.raises(DocumentError) as raised:
        compile_document("asl", definition, OPTIONS)
    assert [(problem.path, problem.message) for problem in raised.value.problems] == [
        ("/States/a/Resource", "send_email is not there yet: it comes with notifications"),
        ("/States/b/Resource", "table.insert is not there yet: it comes with tables"),
    ]
    registry = Registry()
    for name in ("send_email", "table.insert"):
        registry.step(name)(lambda value: value)
    assert compile_document("asl", definition, DocumentOptions(action_forms(registry))).definition == definition


def test_the_config_of_a_step_of_one_s_own_is_checked_by_its_schema() -> None:
    """In every format that has configs: each problem with its place; templates stand for any value."""
    registry = Registry()
    item = {
        "type": "object",
        "properties": {"sku": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
        "required": ["sku"],
        "additionalProperties": False,
    }
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}, "required": ["items"]}
    registry.step("shop.order", config=schema)(lambda value: value)
    options = DocumentOptions(action_forms(registry))

    def found(name: str, config: Any) -> set[tuple[str, str]]:
        step = {"id": "o", "type": "shop.order", "config": config}
        more: dict[str, Any] = {"steps": [step]}
        if name == "graph":
            more = {"nodes": [step], "edges": []}
        if name == "service":
            more = {"steps": [{"type": "shop.order", "config": config}], "trigger_type": "manual"}
        try:
            compile_document(name, {"name": "x", **more}, options)
        except DocumentError as error:
            return {(problem.path.partition("/config")[2], problem.message) for problem in error.problems}
        return set()

    for name in ("steps", "graph", "service"):
        wrong = {"items": [{"sku": "a", "count": 0}, {"suk": "b"}, {"sku": "{{ input.sku }}", "count": "{{ 1 + 1 }}"}]}
        assert found(name, wrong) == {
            ("/items/0/count", "0 is less than the minimum of 1"),
            ("/items/1", "sku is missing"),
            ("/items/1/suk", "unknown member 'suk'. Did you mean 'sku'?"),
        }
        assert found(name, {"items": "{{ input.items }}"}) == set()
        assert found(name, {}) == {("", "items is missing: shop.order needs it")}
