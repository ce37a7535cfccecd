"""Generated step documents: what they compile to does what the reference interpreter says."""

import json
import re
from collections import Counter
from typing import Any

from hypothesis import assume, event, given, settings

from perdure.engine.language import problems
from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.steps.action_forms import ACTION_FORMS
from perdure.engine.testing import Failed, Succeeded, TaskRequest, Unanswered, simulate
from tests.engine.language.formats.documents import INPUTS, Made, made_documents
from tests.engine.language.formats.reference import ANYTHING, Reference, Undefined

AT = "2026-01-01T00:00:00Z"


class Answers:
    """What the calls of a document give, by the number of the call of each step; also what was asked."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.counts: Counter[str] = Counter()

    def __call__(self, step: str, parameters: Any, attempt: int) -> Any:
        outcomes = self.made.outcomes[step]
        word = outcomes[min(attempt, len(outcomes) - 1)]
        if word in ("ok", "fail"):
            if word == "fail":
                return ValueError("Boom")
            return {"Output": {"child": parameters["Input"]}} if "Input" in parameters else {"echo": parameters}
        self.counts[step] += 1
        if word == "none":
            return None
        by = ("ann", "ann", "bob")[self.counts[step] % 3]
        return {"approved": word == "yes", "approvedBy": by, "approvedAt": AT, "comment": "c"}


def agree(got: Any, expected: Any) -> bool:
    """Say whether values are equal, where ANYTHING is; true is not 1, and 1 is 1.0."""
    one, other = json.dumps(got, sort_keys=True), json.dumps(expected, sort_keys=True, ensure_ascii=True)
    mark = json.dumps(ANYTHING)[1:-1]
    pattern = ".*".join(map(re.escape, re.split(r"\\*" + re.escape(mark), other)))
    return re.fullmatch(pattern, one) is not None


@given(made_documents(), INPUTS)
@settings(max_examples=25, deadline=None)
def test_a_compiled_document_does_what_it_says(made: Made, run_input: Any) -> None:
    """Status, output, error and calls are those of the reference interpreter, and the machine validates."""
    reference = Reference(made.document, run_input, Answers(made))
    try:
        expected = reference.run()
    except Undefined:
        assume(False)
        raise
    compiled = compile_steps(made.document, actions=ACTION_FORMS)
    assert problems(compiled.definition) == []
    answers = Answers(made)
    calls: list[tuple[str, Any]] = []

    def tasks(request: TaskRequest) -> Succeeded | Failed | Unanswered:
        step = compiled.states[request.state]
        calls.append((step, request.parameters))
        found = answers(step, request.parameters, request.attempt)
        if isinstance(found, Exception):
            return Failed(str(found.args[0]), "it failed")
        return Unanswered() if found is None else Succeeded(found)

    got = simulate(compiled.definition, run_input, tasks=tasks)
    event(f"{expected.status}, {min(len(expected.calls), 5)} calls, ordered: {expected.is_ordered}")
    assert (got.status, got.error if got.status == "FAILED" else None) == (expected.status, expected.error), got.cause
    assert agree(got.output, expected.output)
    wanted = [(call.step, call.parameters) for call in expected.calls]
    if not expected.is_ordered:
        calls, wanted = (sorted(each, key=json.dumps) for each in (calls, wanted))
    assert agree([list(call) for call in calls], [list(call) for call in wanted])
