"""What only a compiled definition may hold: times with milliseconds, and a schema that the output must fit."""

from typing import Any

import pytest

from perdure.engine.language import parse_instant, problems
from perdure.engine.language.formats.documents import DocumentOptions, compile_document
from perdure.engine.language.formats.flow import CompiledDocument, DocumentError
from perdure.engine.steps.action_forms import ACTION_FORMS
from perdure.engine.testing import Failed, Simulation, Succeeded, TaskRequest, Unanswered, simulate

OPTIONS = DocumentOptions(ACTION_FORMS)
NUMBER = {"type": "object", "properties": {"result": {"type": "number"}}, "required": ["result"]}


def document(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "test", "steps": list(steps), **more}


def compiled(source: Any, kind: str = "steps", options: DocumentOptions = OPTIONS) -> CompiledDocument:
    made = compile_document(kind, source, options)
    assert problems(made.definition, is_compiled=not options.is_standalone) == []
    return made


def log(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "log", "config": {"message": "m"}, **more}


def transform(name: str, value: Any) -> dict[str, Any]:
    return {"id": name, "type": "code", "config": {"expression": value}}


def ran(made: CompiledDocument, run_input: Any = None) -> Simulation:
    return simulate(made.definition, run_input, tasks=lambda request: Succeeded(request.parameters))


# --- milliseconds ----------------------------------------------------------------------------------------------------


def test_retries_keep_milliseconds() -> None:
    """A delay of 250 ms that doubles up to 700: the calls are at 0, 250, 750 and 1450."""
    retry = {"maxAttempts": 4, "backoffMs": 250, "multiplier": 2, "maxDelayMs": 700}
    made = compiled(document(log(errorHandling="retry", retryConfig=retry)))
    assert made.definition["States"]["a"]["Retry"][0]["IntervalSeconds"] == 0.25
    assert made.definition["States"]["a"]["Retry"][0]["MaxDelaySeconds"] == 0.7
    got = simulate(made.definition, {}, tasks=lambda _: Failed("Boom"))
    times = [parse_instant(each["timestamp"]) or 0 for each in got.history if each["type"] == "TaskScheduled"]
    assert [time - times[0] for time in times] == [0, 250, 750, 1450]


def test_a_step_has_its_milliseconds() -> None:
    """A limit of 1,500 ms is told to the step, and is over after 1,500."""
    seen: list[Any] = []

    def tasks(request: TaskRequest) -> Unanswered:
        seen.append(request.timeout_seconds)
        return Unanswered()

    got = simulate(compiled(document(log(timeoutMs=1500))).definition, {}, tasks=tasks)
    assert (got.status, got.error, seen) == ("FAILED", "States.Timeout", [1.5])


def test_what_stands_alone_has_whole_seconds() -> None:
    """It is valid where it is taken for one written by hand."""
    source = document(
        log(errorHandling="retry", retryConfig={"backoffMs": 250}, timeoutMs=1500), settings={"timeoutMs": 900}
    )
    made = compiled(source, options=OPTIONS._replace(is_standalone=True))
    state = made.definition["States"]["a"]
    assert (state["TimeoutSeconds"], state["Retry"][0]["IntervalSeconds"], made.definition["TimeoutSeconds"]) == (
        2,
        1,
        1,
    )


STATE = {"Type": "Task", "Resource": "log", "End": True}


@pytest.mark.parametrize(
    "state",
    [
        {**STATE, "TimeoutSeconds": 1.5},
        {**STATE, "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 0.5}]},
        {**STATE, "Retry": [{"ErrorEquals": ["States.ALL"], "MaxDelaySeconds": 1.5}]},
        {"Type": "Succeed", "OutputSchema": {}},
    ],
)
def test_by_hand_it_is_a_problem(state: dict[str, Any]) -> None:
    """In a definition, and in a state among the steps of a graph."""
    assert len(problems({"StartAt": "s", "States": {"s": state}})) == 1
    config = {name: value for name, value in state.items() if name not in ("Type", "End")}
    nodes = [
        {"id": "a", "type": "log", "config": {"message": "m"}},
        {"id": "s", "type": state["Type"], "config": config},
    ]
    with pytest.raises(DocumentError) as refused:
        compile_document("graph", {"nodes": nodes, "edges": [{"source": "a", "target": "s"}]}, OPTIONS)
    [problem] = refused.value.problems
    assert problem.path.startswith("/nodes/1/config/")


@pytest.mark.parametrize("value", [0, 0.0001, -1, 1e9, True])
def test_no_time_is_shorter_than_a_millisecond(value: Any) -> None:
    """Nor too long, in a compiled definition either."""
    machine = {"StartAt": "s", "States": {"s": {**STATE, "TimeoutSeconds": value}}}
    assert len(problems(machine, is_compiled=True)) == 1


# --- schemas ---------------------------------------------------------------------------------------------------------

ENDS: dict[str, list[dict[str, Any]]] = {
    "the last step": [transform("a", "input")],
    "a condition": [
        transform("b", "input"),
        {
            "id": "c",
            "type": "condition",
            "config": {"expression": "{{ true }}", "then": [transform("a", "input")], "else": [transform("d", "1")]},
        },
    ],
    "a terminate": [{"id": "t", "type": "terminate", "config": {"output": "{{ input }}"}}],
    "a terminate in a loop": [
        {
            "id": "l",
            "type": "loop",
            "config": {
                "collection": [1, 2],
                "steps": [{"id": "t", "type": "terminate", "config": {"output": "{{ input }}"}}],
            },
        }
    ],
    "an error that is handled": [
        {**transform("a", "$error('x')"), "errorHandling": {"strategy": "continue", "fallback": "{{ input }}"}}
    ],
}


@pytest.mark.parametrize("steps", ENDS.values(), ids=ENDS)
def test_an_output_that_does_not_fit_fails_the_run(steps: list[dict[str, Any]]) -> None:
    """However the run ends; the cause names where and what."""
    made = compiled(document(*steps, outputSchema=NUMBER))
    assert made.output_schema == NUMBER
    good, bad = ran(made, {"result": 1}), ran(made, {"result": "x"})
    assert (good.status, good.output) == ("SUCCEEDED", {"result": 1})
    assert (bad.status, bad.error) == ("FAILED", "Output.SchemaViolated")
    assert (bad.cause or "").endswith('The output does not fit outputSchema: /result: "x" is not of type "number".')


def test_a_graph_checks_its_output_too() -> None:
    """At each node that ends it, a Succeed state as well."""
    nodes = [
        {"id": "c", "type": "condition", "config": {"expression": "{{ input.way }}"}},
        {"id": "a", "type": "code", "config": {"expression": "input"}},
        {"id": "s", "type": "Succeed", "config": {"Output": {"result": "no"}}},
    ]
    edges = [
        {"source": "c", "target": "a", "sourceHandle": "true"},
        {"source": "c", "target": "s", "sourceHandle": "false"},
    ]
    made = compiled(
        {"nodes": nodes, "edges": edges, "outputSchema": NUMBER, "inputSchema": {"type": "object"}}, "graph"
    )
    assert made.input_schema == {"type": "object"}
    assert ran(made, {"way": True, "result": 5}).status == "SUCCEEDED"
    assert [ran(made, {"way": way}).error for way in (True, False)] == ["Output.SchemaViolated"] * 2


BAD_SCHEMAS: dict[str, tuple[Any, str, str]] = {
    "a wrong type": ({"properties": {"a": {"type": "strin"}}}, "/properties/a/type", "strin"),
    "a wrong pattern": ({"items": {"pattern": "("}}, "/items/pattern", "regex"),
    "another document": ({"$ref": "https://example.com/x"}, "", "another document"),
    "a file": ({"$ref": "file:///etc/passwd"}, "", "another document"),
    "a reference to nothing": ({"$ref": "#/$defs/x"}, "", "/$defs/x"),
    "a dialect that nobody knows": ({"$schema": "https://example.com/x"}, "", "example.com"),
    "no object": (5, "", "object"),
}


@pytest.mark.parametrize("field", ["inputSchema", "outputSchema"])
@pytest.mark.parametrize(("schema", "at", "says"), BAD_SCHEMAS.values(), ids=BAD_SCHEMAS)
def test_a_schema_that_is_none_is_a_problem(field: str, schema: Any, at: str, says: str) -> None:
    """It is named where it is wrong, and nothing is fetched."""
    with pytest.raises(DocumentError) as refused:
        compile_document("steps", document(log(), **{field: schema}), OPTIONS)
    [problem] = refused.value.problems
    assert problem.path == f"/{field}{at}"
    assert says in problem.message


def test_a_graph_of_states_has_no_place_for_an_output_schema() -> None:
    """It is a definition in another form, and comes back as it was."""
    source = {"nodes": [{"id": "s", "type": "Succeed"}], "edges": [], "outputSchema": NUMBER}
    with pytest.raises(DocumentError, match="/outputSchema: belongs to graphs of steps"):
        compile_document("graph", source, OPTIONS)


# --- numbers in causes -----------------------------------------------------------------------------------------------

RACE = {"id": "p", "type": "parallel", "config": {"waitForAll": False, "branches": [ENDS["the last step"]]}}
TERMINATED = {"id": "p", "type": "parallel", "config": {"branches": [ENDS["a terminate"]]}}
LIMITED = {**ENDS["a terminate in a loop"][0], "timeoutMs": 900}


@pytest.mark.parametrize(
    "value", [0.1 + 0.2, 123456789.12345678, 2**53 - 1, -1e-7, 1.7976931348623157e308, "é\u2028\\"]
)
def test_what_passes_a_cause_keeps_its_digits(value: Any) -> None:
    """The first branch that wins, a terminate in a branch, and one in a loop with a time limit."""
    assert ran(compiled(document(RACE)), value).output == {"results": [value]}
    assert ran(compiled(document(TERMINATED)), value).output == value
    assert ran(compiled(document(LIMITED)), value).output == value


def test_the_functions_of_the_engine_cannot_be_named() -> None:
    """A template that does is refused, as for any function that is none."""
    with pytest.raises(DocumentError, match="_json"):
        compile_document("steps", document(transform("a", "$_json(input)")), OPTIONS)
