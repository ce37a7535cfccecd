"""Recorded AWS executions and validations, on this package alone: the engine is not needed to prove it."""

import importlib.util
import json
import pathlib
import types
from typing import Any

import pytest

from perdure.engine.language import StatesError, compile_machine, problems, unsupported
from tests.engine.language.interpreter import Failed, Interpreter, Variables
from tests.present import present

CONFORMANCE = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "conformance"
if not (CONFORMANCE / "run_asl.py").exists():
    pytest.skip("the recorded cases are not beside this checkout", allow_module_level=True)

_spec = present(importlib.util.spec_from_file_location("run_asl", CONFORMANCE / "run_asl.py"))
run_asl = importlib.util.module_from_spec(_spec)
present(_spec.loader).exec_module(run_asl)

OTHERS = {
    # AWS knows that nobody serves the activity; here a registry does, which this package has not got.
    "test_activity_task_on_deleted",
    # Recorded before the context object had RedriveCount.
    "test_lambda_invoke_with_retry_extended_input",
    "test_lambda_service_invoke_with_retry_extended_input",
}
OPTIONS = types.SimpleNamespace(kind="execution", include_distributed=False, only="", core=False)
CASES = [
    case
    for case in run_asl.load(CONFORMANCE / "asl", "execution")
    if run_asl.is_chosen(case, OPTIONS) and case["id"].split("::")[-1] not in OTHERS
]


def ended(status, output=None, error=None, cause=None):
    return types.SimpleNamespace(status=status, output=output, error=error, cause=cause)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_recorded_execution_ends_as_recorded(case):
    """Status, output, error and the parameters of every task agree with what AWS recorded."""
    asked: list[Any] = []
    machine = compile_machine(case["definition"], express=case["machine_type"] == "EXPRESS")
    try:
        got = ended("SUCCEEDED", Interpreter(case, asked).run(machine, case["input"], Variables()))
    except (Failed, StatesError) as failure:
        got = ended("FAILED", None, failure.error, failure.cause)
    assert run_asl.differences(case, got, asked) == []


def test_all_cases_are_here():
    """A filter that selects nothing would prove nothing."""
    assert len(CASES) >= 620


def test_a_recorded_definition_is_judged_as_recorded():
    """What AWS accepted is valid, what it refused is refused, as text and as an object alike.

    The one exception: AWS knows its services' actions; here a registry of steps does, which this package
    has not got (test_dynamodb_task_service.py, test_invalid_integration).
    """
    wrong = []
    for case in run_asl.load(CONFORMANCE / "asl", "validation"):
        definition = case["definition"] if case.get("definition") is not None else case["definition_text"]
        is_express = case["machine_type"] == "EXPRESS"
        told = problems(definition, express=is_express)
        if isinstance(definition, dict):
            assert problems(json.dumps(definition), express=is_express) == told
        if bool(told) == case["valid"]:
            wrong.append(case["id"])
        if not told and not unsupported(definition):
            compile_machine(definition, express=is_express)
    assert [case_id for case_id in wrong if "test_invalid_integration" not in case_id] == []
