"""Graphs: what edges mean, what cannot be read as a machine, and definitions as graphs and back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.engine.language import problems
from perdure.engine.language.formats.flow import CompiledDocument, DocumentError
from perdure.engine.language.formats.graph import compile_graph, definition_shown
from perdure.engine.language.formats.graph_layout import layout_of
from perdure.engine.language.formats.graph_states import graph_of
from perdure.engine.steps.action_forms import ACTION_FORMS
from perdure.engine.testing import Failed, Simulation, Succeeded, TaskRequest, Unanswered, simulate
from tests.present import present


def log(name: str, message: Any = "m", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "log", "config": {"message": message}, **more}


def graph(nodes: list[dict[str, Any]], *edges: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    """A graph whose edges are written `a b`, or `a b handle`."""
    written = []
    for edge in edges:
        if isinstance(edge, str):
            source, target, *handle = edge.split()
            written.append({"source": source, "target": target, **({"sourceHandle": handle[0]} if handle else {})})
        else:
            written.append(edge)
    return {"nodes": nodes, "edges": written, **more}


def compiled(source: dict[str, Any], **more: Any) -> CompiledDocument:
    made = compile_graph(source, actions=ACTION_FORMS, **more)
    assert problems(made.definition, is_compiled=True) == []
    return made


def ran(made: CompiledDocument, run_input: Any = None, answers: Any = None) -> tuple[Simulation, list[str]]:
    calls: list[str] = []

    def tasks(request: TaskRequest) -> Any:
        calls.append(request.state)
        found = (answers or {}).get(request.state, request.parameters)
        return found if isinstance(found, (Failed, Unanswered)) else Succeeded(found)

    return simulate(made.definition, {} if run_input is None else run_input, tasks=tasks), calls


TRIGGER: dict[str, Any] = {"id": "t", "type": "trigger"}
ASK = {
    "id": "c",
    "type": "condition",
    "config": {"conditions": {"left": "{{ input.n }}", "operator": "gt", "right": 3}},
}


# --- what edges mean -----------------------------------------------------------------------------------------------


def test_one_plain_edge_is_the_next_step() -> None:
    """With a trigger, and without one."""
    assert ran(compiled(graph([log("b"), log("a"), TRIGGER], "t a", "a b")))[1] == ["a", "b"]
    assert ran(compiled(graph([log("b"), log("a")], "a b")))[1] == ["a", "b"]


def test_a_condition_leads_by_true_and_false() -> None:
    """By handle, by label, or by condition; one that is not there ends the run, and a plain edge is for the rest."""
    for edge in ({"sourceHandle": "true"}, {"label": "True"}, {"condition": "true"}, {"condition": True}):
        made = compiled(graph([ASK, log("a"), log("b")], {"source": "c", "target": "a", **edge}, "c b false"))
        assert ran(made, {"n": 4})[1] == ["a"]
        assert ran(made, {"n": 3})[1] == ["b"]
    assert ran(compiled(graph([ASK, log("a")], "c a true")), {"n": 1})[0].output == {"result": False}
    assert ran(compiled(graph([ASK, log("a"), log("b")], "c a true", "c b")), {"n": 1})[1] == ["b"]


def test_edges_with_expressions_are_tried_in_order() -> None:
    """One without is the default."""
    edges = [
        {"source": "c", "target": "a", "condition": "input.n > 5"},
        {"source": "c", "target": "b", "condition": "{{ input.n > 3 }}"},
        {"source": "c", "target": "d"},
    ]
    made = compiled(graph([{"id": "c", "type": "condition"}, log("a"), log("b"), log("d")], *edges))
    assert [ran(made, {"n": n})[1] for n in (6, 4, 2)] == [["a"], ["b"], ["d"]]


def test_several_plain_edges_run_at_once() -> None:
    """Up to the node where all of them meet, which sees the outputs of all."""
    join = log("j", "{{ steps.a.message }}{{ steps.b2.message }}")
    made = compiled(
        graph([TRIGGER, log("s"), log("a"), log("b"), log("b2"), join], "t s", "s a", "s b", "b b2", "a j", "b2 j")
    )
    got, calls = ran(made)
    assert (calls[0], calls[-1], sorted(calls)) == ("s", "j", ["a", "b", "b2", "j", "s"])
    assert got.output == {"message": "mm"}
    assert made.definition["States"]["s (branches)"]["Type"] == "Parallel"


def test_branches_may_end_apart() -> None:
    """Then the run ends with what each gives; a direct edge to the meeting point is no branch."""
    assert ran(compiled(graph([TRIGGER, log("a"), log("b", "n")], "t a", "t b")))[0].output == {
        "results": [{"message": "m"}, {"message": "n"}]
    }
    assert ran(compiled(graph([TRIGGER, log("a"), log("b")], "t a", "t b", "a b")))[1] == ["a", "b"]


def test_an_error_may_lead_elsewhere() -> None:
    """The step's output is the error."""
    nodes = [log("a"), log("ok"), log("bad", "{{ steps.a.error.code }}")]
    made = compiled(graph(nodes, "a ok", "a bad error"))
    got, calls = ran(made, answers={"a": Failed("Boom", "why")})
    assert (calls, got.output) == (["a", "bad"], {"message": "Boom"})
    assert ran(made)[1] == ["a", "ok"]
    code = {"id": "x", "type": "code", "config": {"expression": "1 + input.s"}}
    assert ran(compiled(graph([code, log("bad")], "x bad error")), {"s": "a"})[1] == ["bad"]


def test_an_approval_leads_by_its_answer() -> None:
    """Also after a time-out, with several answers, and where errors are handled."""
    for more in ({}, {"config": {"required": 2}}, {"errorHandling": "continue"}):
        node = {"id": "ap", "type": "approval", **more}
        made = compiled(graph([node, log("yes"), log("no")], "ap yes approved", "ap no rejected"))
        assert ran(made, answers={"ap": {"approved": False}})[1][-1] == "no"
        assert ran(made, answers={"ap": Unanswered()})[1][-1] == "no"
        if not more.get("config"):
            assert ran(made, answers={"ap": {"approved": True}})[1] == ["ap", "yes"]


def test_circles_go_through_conditions() -> None:
    """A step that runs again replaces its output; branches may be in the circle."""
    count = {"id": "n", "type": "code", "config": {"expression": "(steps.n ?? 0) + 1"}}
    more = {"id": "c", "type": "condition", "config": {"expression": "{{ steps.n < 3 }}"}}
    made = compiled(graph([TRIGGER, count, log("a"), log("b"), more], "t n", "n a", "n b", "a c", "b c", "c n true"))
    assert sorted(ran(made)[1]) == ["a"] * 3 + ["b"] * 3


def test_states_and_steps_may_be_mixed() -> None:
    """States are in JSONata, and their outputs are read as those of steps are kept: not at all."""
    state = {"id": "p", "type": "Pass", "config": {"Output": {"x": 1}}}
    choice = {"id": "q", "type": "Choice", "config": {"Choices": [{"Condition": "{% $states.input.x = 1 %}"}]}}
    made = compiled(graph([TRIGGER, state, choice, log("a"), log("b")], "t p", "p q", "q a choice:0", "q b default"))
    assert ran(made)[1] == ["a"]


def test_variables_are_defaults() -> None:
    """Of the graph."""
    made = compiled(graph([log("a", "{{ variables.x }}")], variables={"x": [1]}))
    assert ran(made)[0].output == {"message": [1]}


def test_what_is_for_show_is_kept_out() -> None:
    """Positions, labels, and whatever tools add."""
    node = {
        "id": "a",
        "type": "log",
        "data": {"label": "L", "message": "m"},
        "position": {"x": 1, "y": 2},
        "measured": {},
    }
    edge = {"id": "e", "source": "a", "target": "b", "type": "smoothstep", "animated": True, "sourceHandle": "bottom"}
    assert ran(compiled(graph([node, log("b")], edge, viewport={"zoom": 1})))[1] == ["a", "b"]


def test_nodes_that_nothing_leads_to_are_warnings_in_a_draft() -> None:
    """And left out of the machine."""
    source = graph([TRIGGER, log("a"), log("b")], "t a")
    made = compiled(source, is_draft=True)
    assert [(warning.path, warning.message) for warning in made.warnings] == [("/nodes/2", "nothing leads to node 'b'")]
    assert ran(made)[1] == ["a"]


# --- what is refused -----------------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, str, str]] = [
    ([], "", "a graph is a JSON object"),
    ({"nodes": []}, "/nodes", "1 to 1000 nodes"),
    (graph([log("a")], edgs=[]), "/edgs", "Did you mean 'edges'?"),
    ({"nodes": [1]}, "/nodes/0", "must be an object"),
    (graph([log("a"), log("a")]), "/nodes/1/id", "another step has the id 'a'"),
    (graph([{**log("a"), "type": "lgo"}]), "/nodes/0/type", "Did you mean 'log'"),
    (graph([{**log("a"), "type": "task"}]), "/nodes/0/type", "there is no type of step 'task'"),
    (graph([{**log("a"), "errorHandlin": "fail"}]), "/nodes/0/errorHandlin", "did you mean errorHandling?"),
    (graph([{**log("a"), "data": {"x": 1}}]), "/nodes/0/data", "means the same as config"),
    (graph([log("a")], "a b"), "/edges/0/target", "there is no node 'b'"),
    (graph([log("a"), log("b")], {"source": "a", "taget": "b"}), "/edges/0/taget", "did you mean target?"),
    (graph([TRIGGER, log("a")], "t a", "a t"), "/edges/1/target", "nothing leads to the trigger"),
    (graph([TRIGGER, {**TRIGGER, "id": "u"}, log("a")], "t a"), "/nodes/1/type", "another trigger"),
    (graph([TRIGGER, log("a")]), "/nodes/0", "leads to no node"),
    (graph([TRIGGER, log("a"), log("b")], "t a"), "/nodes/2", "nothing leads to node 'b'"),
    (graph([log("a"), log("b")]), "/nodes", "nothing leads to 'a', 'b'; add a node of type trigger"),
    (graph([log("a"), log("b")], "a b", "b a"), "/nodes", "something leads to every node"),
    (graph([TRIGGER, log("a"), log("b")], "t a", "a b", "b a"), "/nodes/1", "lead in a circle"),
    (graph([ASK, log("a")], "c a ture"), "/edges/0/sourceHandle", "Did you mean 'true'?"),
    (
        graph([log("a"), log("b")], {"source": "a", "target": "b", "condition": "x"}),
        "/edges/0/condition",
        "start from nodes",
    ),
    (
        graph([ASK, log("a")], {"source": "c", "target": "a", "condition": "1"}),
        "/nodes/0/config/conditions",
        "beside edges",
    ),
    (
        graph(
            [{"id": "c", "type": "condition", "config": {"expression": "{{ true }}", "then": ["a"]}}, log("a")], "c a"
        ),
        "/nodes/0/config/then",
        "said by edges",
    ),
    (graph([{"id": "x", "type": "terminate"}, log("a")], "x a"), "/nodes/0", "nothing follows it"),
    (
        graph([TRIGGER, *map(log, "sabcj")], "t s", "s a", "s b", "s c", "a j", "b j"),
        "/nodes/1",
        "some branches, but not all, meet in 'j'",
    ),
    (
        graph([TRIGGER, *map(log, "sabxy")], "t s", "s a", "s b", "a x", "a y", "b x", "b y"),
        "/nodes/1",
        "the branches meet in several places, 'x', 'y'",
    ),
    (
        graph([TRIGGER, ASK, *map(log, "sabj")], "t c", "c s true", "c a false", "s a", "s b", "a j", "b j"),
        "/nodes/1",
        "leads into a branch that starts at 's', at 'a'",
    ),
    (
        graph([TRIGGER, ASK, *map(log, "sabj")], "t s", "s c", "s b", "c s true", "c a false", "a j", "b j"),
        "/nodes/2",
        "a branch leads back to 's'",
    ),
    (graph([{"id": "a", "type": "Pass", "config": {"Resul": 1}}]), "/nodes/0/config/Resul", "did you mean Result?"),
    (graph([{"id": "a", "type": "Pass"}], definition={"TimeoutSecond": 1}), "/definition", "TimeoutSeconds"),
    (
        graph([{"id": "a", "type": "Succeed"}, log("b")], "a b"),
        "/edges/0",
        "a node of type Succeed leads on by no edge",
    ),
]


@pytest.mark.parametrize(("source", "pointer", "says"), REFUSED, ids=lambda value: str(value)[-60:])
def test_what_is_wrong_is_named(source: Any, pointer: str, says: str) -> None:
    """Each problem points into the graph, and names the nodes and why."""
    with pytest.raises(DocumentError) as raised:
        compile_graph(source, actions=ACTION_FORMS)
    found = [(problem.path, problem.message) for problem in raised.value.problems]
    assert any(at == pointer and says in message for at, message in found), found


# --- definitions as graphs, and back -------------------------------------------------------------------------------

FOLDERS = [above / "shared" / "conformance" / "asl" for above in Path(__file__).resolve().parents]
CASES = next((folder for folder in FOLDERS if folder.is_dir()), None)


def recorded_definitions(folder: Path) -> Iterator[Any]:
    """All definitions of the handed conformance set, valid or not."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().split("\n"):
            case = json.loads(line) if line else {}
            definition = case.get("definition")
            if isinstance(definition, dict) and isinstance(definition.get("States"), dict):
                yield definition


STATES: dict[str, Any] = {
    "nodes": [
        {"id": "go", "type": "trigger", "position": {"x": 1, "y": 2}, "config": {"type": "api"}},
        {"id": "B", "type": "Succeed", "selected": True},
        {
            "id": "A",
            "type": "Task",
            "data": {"Resource": "log", "Catch": [{"ErrorEquals": ["States.ALL"]}]},
            "name": "N",
        },
        {"id": "C", "type": "Pass", "config": {"End": True}},
    ],
    "edges": [
        {"id": "1", "source": "A", "target": "B", "sourceHandle": None},
        {"id": "2", "source": "A", "target": "C", "sourceHandle": "catch:0", "label": "oh"},
        {"id": "0", "source": "go", "target": "A"},
    ],
    "definition": {"Comment": "c", "TimeoutSeconds": 5},
    "viewport": {"zoom": 2},
    "name": "w",
}


def test_a_graph_of_states_comes_back_as_it_was() -> None:
    """Positions, names, the order of everything, and how each thing was written."""
    plain = {key: value for key, value in STATES.items() if key not in ("viewport", "definition")}
    single = {"nodes": [{"id": "x", "type": "Wait", "config": {"Seconds": 1}}], "description": "d"}
    for source in (STATES, plain, single):
        made = compile_graph(source, actions={})
        kept = json.loads(json.dumps(layout_of(source)))
        assert (
            json.dumps(graph_of(made.definition, kept)) == json.dumps(source)
            or graph_of(made.definition, kept) == source
        )


def test_what_is_new_in_a_definition_is_shown_too() -> None:
    """Beside what was kept of the graph that it was made from."""
    definition = compile_graph(STATES, actions={}).definition
    definition["States"]["D"] = {"Type": "Pass", "Next": "B"}
    shown = graph_of(definition, layout_of(STATES))
    assert shown["nodes"][:4] == STATES["nodes"]
    assert shown["nodes"][4] == {"id": "D", "type": "Pass", "config": {}}
    assert {"source": "D", "target": "B"} in shown["edges"]


@pytest.mark.parametrize(
    "definition",
    [
        {"States": {"a": {"Type": "Pass", "End": True}}},
        {"StartAt": "b", "States": {"a": {"Type": "Pass"}, "trigger": {"Type": "Succeed"}}},
        {"StartAt": "a", "States": {"a": {"Type": "Pass", "Next": "nowhere"}}, "Comment": 5},
        {"StartAt": "a", "States": {"a": {"Type": "Pass", "Next": "a", "End": True}, "b": 5, "c": {"Type": "Odd"}}},
        {"StartAt": "a", "States": {"a": {"Type": "Choice", "Choices": [{"Next": "a"}, 5, {}], "Default": 7}}},
        {"StartAt": "a", "States": {"a": {"Type": "Task", "Catch": [{"Next": "a"}], "End": False}}, "X": None},
        {"StartAt": "a", "States": {"a": {"Type": "Choice", "Choices": {"Next": "a"}, "Default": "a"}}},
        {
            "StartAt": "trigger",
            "States": {"trigger": {"Type": "Pass", "Next": "trigger_"}, "trigger_": {"Type": "Pass"}},
        },
        {"StartAt": None, "States": {}},
    ],
    ids=str,
)
def test_what_is_no_valid_definition_comes_back_too(definition: Any) -> None:
    """A graph shows what there is."""
    assert definition_shown(json.loads(json.dumps(graph_of(definition)))) == definition


@pytest.mark.skipif(CASES is None, reason="the recorded cases are not beside this checkout")
def test_every_recorded_definition_comes_back() -> None:
    """As a graph and back it is equal, and what is valid compiles to itself."""
    count = 0
    for definition in recorded_definitions(present(CASES)):
        shown = graph_of(definition)
        assert definition_shown(shown) == definition
        if count % 7 == 0 and not problems(definition):
            assert compile_graph(shown, actions={}).definition == definition
        count += 1
    assert count > 1000
