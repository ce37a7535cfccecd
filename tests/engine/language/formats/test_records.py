"""Generated documents: what records and log lines of their runs say is what the reference interpreter does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from hypothesis import event, given, reject, settings

from perdure.engine.history.handlers import follow
from perdure.engine.history.log_lines import log_lines
from perdure.engine.history.step_records import StepRecord, all_steps, read_steps
from perdure.engine.history.step_runs import placed
from perdure.engine.language.formats.flow import CompiledDocument
from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.testing import Failed, Simulation, Succeeded, TaskRequest, Unanswered, simulate
from tests.engine.language.formats.documents import INPUTS, LENIENT_FORMS, Made, made_documents
from tests.engine.language.formats.reference import Ran, Reference, Undefined, ids_in
from tests.engine.language.formats.test_properties import agree, answer

CALLED = frozenset({"log", "workflow"})
"""Kinds of steps of which each call is an attempt."""


def simulated(made: Made, run_input: Any, compiled: CompiledDocument) -> Simulation:
    """Run a document, with the answers that were made for it."""
    counts: Counter[str] = Counter()

    def tasks(request: TaskRequest) -> Succeeded | Failed | Unanswered:
        step = compiled.states[request.state]
        found = answer(made, step, request.parameters, counts[step])
        counts[step] += 1
        if isinstance(found, Exception):
            return Failed(str(found.args[0]), "it failed")
        return Unanswered() if found is None else Succeeded(found)

    return simulate(compiled.definition, run_input, tasks=tasks)


def kinds(steps: list[Any]) -> Iterator[tuple[str, str]]:
    """List the ids and kinds of all steps of a document."""
    for step in steps:
        yield step["id"], step["type"]
        config = step.get("config", {})
        inner = [config.get("steps", []), *config.get("branches", [])]
        inner += [config.get(way, []) for way in ("then", "else")]
        for each in inner:
            yield from kinds([step for step in each if isinstance(step, dict)])


@given(made_documents(), INPUTS)
@settings(max_examples=15, deadline=None)
def test_records_agree_with_the_reference(made: Made, run_input: Any) -> None:
    """Calls and their order, attempts, statuses and outputs."""
    compiled = compile_steps(made.document, actions=LENIENT_FORMS)
    try:
        expected = Reference(made.document, run_input, partial(answer, made)).run()
    except Undefined:
        reject()
    got = simulated(made, run_input, compiled)
    event(f"{expected.status}, {min(len(expected.calls), 5)} calls, ordered: {expected.is_ordered}")
    found = read_steps(got.events, compiled.outline)
    assert not found.truncated
    assert [step.id for step in found.steps] == [step.id for step in compiled.steps]
    _check_calls(made, expected, got, compiled)
    _check_attempts(made, expected, found.steps)
    _check_statuses(made, expected, found.steps)


def _check_calls(made: Made, expected: Ran, got: Simulation, compiled: CompiledDocument) -> None:
    """Each call is a line of the log, in the order in which they were made."""
    called = {step for step, kind in kinds(made.document["steps"]) if kind in CALLED}
    timeline = follow(got.events)
    lines = log_lines(timeline, placed(timeline, compiled.outline.states))
    begun = [
        line.node_id
        for line in lines
        if line.node_id in called and (line.message.endswith(" began") or "is retried" in line.message)
    ]
    wanted = [call.step for call in expected.calls if call.step in called]
    if expected.is_ordered:
        assert begun == wanted
    else:
        assert Counter(begun) == Counter(wanted)
    assert lines[0].message == "Run started"
    assert lines[-1].message.startswith("Run completed" if expected.status == "SUCCEEDED" else "Run failed")


def _check_attempts(made: Made, expected: Ran, records: tuple[StepRecord, ...]) -> None:
    """There are as many attempts as calls, where nothing that holds steps was done again."""
    found = list(all_steps(records))
    if any(record.parts and len(record.attempts) > 1 for record in found):
        return
    called = {step for step, kind in kinds(made.document["steps"]) if kind in CALLED}
    attempts: Counter[str] = Counter()
    for record in found:
        if record.id in called:
            attempts[record.id] += len(record.attempts)
    assert +attempts == Counter(call.step for call in expected.calls if call.step in called)


def _check_statuses(made: Made, expected: Ran, records: tuple[StepRecord, ...]) -> None:
    """What ended has its output; what was not come to is skipped; and a failed run has a failed step."""
    for record in records:
        if record.id in expected.outputs and record.type != "terminate":
            assert record.status in ("completed", "failed")
            assert agree(record.output, expected.outputs[record.id])
            assert (record.error is not None) == (record.status == "failed")
        elif record.id in set(ids_in(made.document["steps"])) and expected.status == "SUCCEEDED":
            assert record.status == "skipped" or record.type == "terminate" or record.output is None
    statuses = {record.status for record in all_steps(records)}
    assert not statuses & {"pending", "running", "retrying"}
    if expected.status == "FAILED":
        assert any(record.status == "failed" for record in records)
