"""Recorded AWS executions and validations, on this package alone: the engine is not needed to prove it."""

import importlib.util
import json
import pathlib
import types

import pytest

from engine.language import StatesError, compile_machine, context_object, problems

CONFORMANCE = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "conformance"
if not (CONFORMANCE / "run_asl.py").exists():
    pytest.skip("the recorded cases are not beside this checkout", allow_module_level=True)

_spec = importlib.util.spec_from_file_location("run_asl", CONFORMANCE / "run_asl.py")
run_asl = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_asl)

CORE = [case for case in run_asl.load(CONFORMANCE / "asl", "execution") if run_asl.is_core(case)]


def ended(status, output=None, error=None, cause=None):
    return types.SimpleNamespace(status=status, output=output, error=error, cause=cause)


def run(case, asked):
    """Run a machine as simply as it can be: no events, no time, task results as recorded."""
    names, waiting = case["context"], list(case["task_results"])
    arn, machine_name = f"arn:aws:states:{names['region']}:{names['account']}", names["state_machine_name"]
    execution = {
        "Id": f"{arn}:execution:{machine_name}:{names['execution_name']}",
        "Input": case["input"],
        "Name": names["execution_name"],
        "RoleArn": names.get("role_arn"),
        "StartTime": "2024-01-01T00:00:00.000Z",
        "RedriveCount": 0,
    }
    of_machine = {"Id": f"{arn}:stateMachine:{machine_name}", "Name": machine_name}
    machine = compile_machine(case["definition"])
    value, following = case["input"], machine.start_at
    while following is not None:
        state = machine.states[following]
        at = {"EnteredTime": "2024-01-01T00:00:00.000Z", "Name": state.name}
        context = context_object(execution=execution, state=at, state_machine=of_machine)
        if state.type == "Fail":
            return ended("FAILED", None, *state.failure(value, context))
        result = effective = state.effective_input(value, context)
        following = state.choose(effective, context) if state.type == "Choice" else state.next
        if state.type == "Pass":
            result = state.result(effective)
        elif state.type == "Wait":
            assert state.due_ms(effective, context, 0) >= 0
        elif state.type == "Task":
            record = next(r for r in waiting if r["state"] == state.name)
            waiting.remove(record)
            asked.append((record, effective))
            if record["outcome"] != "succeeded":
                return ended("FAILED", None, record["error"], record.get("cause"))
            result = record.get("output")
        value = state.output(value, result, context)
    return ended("SUCCEEDED", value)


@pytest.mark.parametrize("case", CORE, ids=lambda case: case["id"])
def test_a_recorded_execution_ends_as_recorded(case):
    """Status, output, error and the parameters of every task agree with what AWS recorded."""
    asked = []
    try:
        got = run(case, asked)
    except StatesError as error:
        got = ended("FAILED", None, error.error, error.cause)
    assert run_asl.differences(case, got, asked) == []


def test_all_core_cases_are_here():
    """A filter that selects nothing would prove nothing."""
    assert len(CORE) >= 411


def test_a_recorded_definition_is_judged_as_recorded():
    """What AWS accepted is valid, or needs only what is not supported yet; what it refused is refused.

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
        faults = [p for p in told if not p.message.endswith("not supported yet")]
        if (case["valid"] and faults) or (not case["valid"] and not told):
            wrong.append(case["id"])
    assert [case_id for case_id in wrong if "test_invalid_integration" not in case_id] == []
