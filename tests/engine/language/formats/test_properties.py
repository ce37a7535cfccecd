"""Generated documents, as lists of steps and as graphs: their machines do what the reference interpreter says."""

import json
import re
from collections import Counter
from functools import partial
from typing import Any

from hypothesis import event, given, reject, settings

from perdure.engine.language import problems
from perdure.engine.language.formats.flow import CompiledDocument
from perdure.engine.language.formats.graph import compile_graph
from perdure.engine.language.formats.machines import COMPLETED, TERMINATED
from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.testing import Failed, Simulation, Succeeded, TaskRequest, Unanswered, simulate
from tests.engine.language.formats.documents import INPUTS, LENIENT_FORMS, Made, made_documents
from tests.engine.language.formats.graphs import GraphWriter
from tests.engine.language.formats.reference import ANYTHING, Reference, Undefined, ids_in

AT = "2026-01-01T00:00:00Z"


def answer(made: Made, step: str, parameters: Any, count: int) -> Any:
    """What a call of a document gives, of which so many were before: an exception, a result, or None for no answer."""
    outcomes = made.outcomes[step]
    word = outcomes[min(count, len(outcomes) - 1)]
    if word == "fail":
        return ValueError("Boom")
    if word == "ok":
        return {"Output": {"child": parameters["Input"]}} if "Input" in parameters else {"echo": parameters}
    if word == "none":
        return None
    by = ("ann", "ann", "bob")[count % 3]
    return {"approved": word == "yes", "approvedBy": by, "approvedAt": AT, "comment": "c"}


def checked(made: Made, run_input: Any, compiled: CompiledDocument) -> None:
    """Compare what a machine does with what the reference interpreter says of the document."""
    expected = Reference(made.document, run_input, partial(answer, made)).run()
    counts: Counter[str] = Counter()
    calls: list[list[Any]] = []

    def tasks(request: TaskRequest) -> Succeeded | Failed | Unanswered:
        step = compiled.states[request.state]
        found = answer(made, step, request.parameters, counts[step])
        counts[step] += 1
        calls.append([step, request.parameters])
        if isinstance(found, Exception):
            return Failed(str(found.args[0]), "it failed")
        return Unanswered() if found is None else Succeeded(found)

    assert problems(compiled.definition, is_compiled=True) == []
    got = simulate(compiled.definition, run_input, tasks=tasks)
    event(f"{expected.status}, {min(len(expected.calls), 5)} calls, ordered: {expected.is_ordered}")
    assert (got.status, got.error if got.status == "FAILED" else None) == (expected.status, expected.error), got.cause
    assert agree(got.output, expected.output)
    wanted = [[call.step, call.parameters] for call in expected.calls]
    if not expected.is_ordered:
        calls, wanted = (sorted(each, key=json.dumps) for each in (calls, wanted))
    assert agree(calls, wanted)
    recorded = records(got, compiled)
    for step in compiled.steps:
        if step.id in expected.outputs and step.kind != "terminate":
            assert agree(recorded[step.id], expected.outputs[step.id])
        elif expected.status == "SUCCEEDED" and step.id in set(ids_in(made.document["steps"])):
            assert step.id not in recorded or step.kind == "terminate"


def records(got: Simulation, compiled: CompiledDocument) -> dict[str, Any]:
    """The outputs of steps as they are found in a run's log: of the last state of each that was left.

    One that was ended by a step in it, which ended the run, has none.
    """
    found = {}
    for each in got.history:
        left = each["details"] if each["type"].endswith("StateExited") else {}
        output = left.get("output")
        is_ended = isinstance(output, dict) and output.get("Error") in (COMPLETED, TERMINATED)
        if left.get("name") in compiled.states and not is_ended:
            found[compiled.states[left["name"]]] = output
    return found


def agree(got: Any, expected: Any) -> bool:
    """Say whether values are equal, where ANYTHING is; true is not 1, and 1 is 1.0."""
    one, other = json.dumps(got, sort_keys=True), json.dumps(expected, sort_keys=True, ensure_ascii=True)
    mark = json.dumps(ANYTHING)[1:-1]
    pattern = ".*".join(map(re.escape, re.split(r"\\*" + re.escape(mark), other)))
    return re.fullmatch(pattern, one) is not None


@given(made_documents(), INPUTS)
@settings(max_examples=15, deadline=None)
def test_a_compiled_document_does_what_it_says(made: Made, run_input: Any) -> None:
    """Status, output, error and calls are those of the reference interpreter, and the machine validates."""
    compiled = compile_steps(made.document, actions=LENIENT_FORMS)
    try:
        checked(made, run_input, compiled)
    except Undefined:
        reject()


@given(made_documents(), INPUTS)
@settings(max_examples=10, deadline=None)
def test_a_document_drawn_as_a_graph_does_the_same(made: Made, run_input: Any) -> None:
    """Sequences, conditions and branches are edges now, and the run is the same."""
    compiled = compile_graph(GraphWriter(made.document).graph, actions=LENIENT_FORMS)
    event(f"fork: {'(branches' in json.dumps(compiled.definition)}")
    try:
        checked(made, run_input, compiled)
    except Undefined:
        reject()
