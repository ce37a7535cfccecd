"""Validation: every problem at once, with a pointer, in document order, whatever the shape."""

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.engine.language import DefinitionError, compile_machine, problems, unsupported
from perdure.engine.language.diagnostics import PROBLEMS_MAX

VALID: dict[str, Any] = {
    "Comment": "all states that there are",
    "Version": "1.0",
    "QueryLanguage": "JSONPath",
    "StartAt": "pass",
    "States": {
        "pass": {
            "Type": "Pass",
            "Comment": "c",
            "InputPath": "$.a",
            "Parameters": {"x.$": "$.b", "y": [{"z.$": "$$.State.Name"}]},
            "Result": {"any": None},
            "ResultPath": "$.r",
            "OutputPath": "$.r",
            "Next": "task",
        },
        "task": {
            "Type": "Task",
            "Resource": "ship",
            "ResultSelector": {"n.$": "$.count"},
            "ResultPath": None,
            "End": False,
            "Next": "choice",
        },
        "choice": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.v", "NumericEquals": 1, "Next": "wait"},
                {
                    "And": [
                        {"Variable": "$.v", "IsPresent": True},
                        {"Not": {"Variable": "$.v", "IsNull": True}},
                    ],
                    "Next": "fail",
                },
            ],
            "Default": "succeed",
        },
        "wait": {"Type": "Wait", "Seconds": 5, "Next": "ask", "Assign": {"v.$": "$.x"}},
        "fail": {"Type": "Fail", "Error": "E", "CausePath": "$.c"},
        "succeed": {"Type": "Succeed", "InputPath": None},
        "ask": {
            "Type": "Task",
            "QueryLanguage": "JSONata",
            "Resource": "ask",
            "Arguments": {"x": "{% $states.input.x %}"},
            "Output": "{% $states.result %}",
            "TimeoutSeconds": "{% $v %}",
            "HeartbeatSeconds": 5,
            "Credentials": {"RoleArn": "{% $v %}"},
            "Retry": [{"ErrorEquals": ["E"], "MaxAttempts": 0}, {"ErrorEquals": ["States.ALL"]}],
            "Catch": [{"ErrorEquals": ["E"], "Next": "fail", "Assign": {"e": "{% $states.errorOutput %}"}}],
            "Next": "both",
        },
        "both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "left", "States": {"left": {"Type": "Pass", "End": True, "Assign": {"w": 1}}}},
                {"StartAt": "right", "States": {"right": {"Type": "Fail", "Error": "R"}}},
            ],
            "Next": "each",
        },
        "each": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ItemSelector": {"i.$": "$$.Map.Item.Index"},
            "MaxConcurrencyPath": "$.n",
            "ToleratedFailurePercentage": 5.5,
            "Label": "label",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "decide",
                "States": {
                    "decide": {
                        "Type": "Choice",
                        "QueryLanguage": "JSONata",
                        "Choices": [{"Condition": "{% $v = 1 %}", "Next": "done", "Output": {}}],
                        "Default": "done",
                    },
                    "done": {"Type": "Succeed"},
                },
            },
            "End": True,
        },
    },
}


def found(definition, **options):
    return [(p.path, p.message) for p in problems(definition, **options)]


def one_state(**fields):
    return {"StartAt": "s", "States": {"s": fields}}


def test_a_valid_definition_has_no_problems():
    """As an object, as text and as bytes."""
    assert found(VALID) == []
    assert found(json.dumps(VALID)) == []
    assert found(json.dumps(VALID).encode()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        (" ", "not JSON"),
        ("not a definition", "not JSON"),
        ('{"a": 1,}', "not JSON: .* at line 1, column"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "not finite"),
        ('{"a": ' + "9" * 5000 + "}", "too many digits"),
        ('{"a": 1, "a": 2}', "has the member 'a' twice"),
        ('{"a": {"b": [{"c": 1, "d": 1, "c": 1}]}}', "has the member 'c' twice"),
        ("[" * 100_000, "more than 64 levels"),
        ('{"a":' * 65 + "1" + "}" * 65, "more than 64 levels"),
        ('{"a": "\\ud83d"}', "surrogate"),
        ('{"\\ud83d": 1}', "surrogate"),
        ('{"\\ud83d": 1, "\\ud83d": 1}', "twice"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ("5", "a definition is a JSON object"),
        ("null", "a definition is a JSON object"),
        ("[]", "a definition is a JSON object"),
    ],
)
def test_text_that_is_no_definition_is_one_problem_at_the_top(text, message):
    """Malformed JSON, a member twice, a number that is none, too deep: told, never raised."""
    [problem] = problems(text)
    assert problem.path == ""
    with pytest.raises(DefinitionError, match=message):
        compile_machine(text)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "x",
        [],
        object(),
        {1: 2},
        {"a": {1}},
        {"a": (1,)},
        {"a": float("nan")},
        {"a": b"x"},
        {"\ud800": 1},
    ],
)
def test_an_object_that_is_no_json_is_a_problem(value):
    """What cannot have come from JSON text is refused before anything walks it."""
    [problem] = problems(value)
    assert problem.path == ""


def test_an_object_that_holds_itself_is_a_problem():
    """A cycle is deeper than any limit."""
    cyclic: dict[str, Any] = {}
    cyclic["States"] = cyclic
    assert found(cyclic) == [("", "the definition is more than 64 levels deep")]


def test_brackets_within_strings_do_not_count_as_depth():
    """Only real nesting is deep."""
    assert found(json.dumps({**VALID, "Comment": '[{"\\' * 100})) == []


@pytest.mark.parametrize(
    ("change", "problems_found"),
    [
        ({"StartAt": None}, [("/StartAt", "must be a string")]),
        ({"StartAt": "none"}, [("/StartAt", "there is no state 'none'")]),
        ({"StartAt": "Pass"}, [("/StartAt", "there is no state 'Pass'; did you mean pass?")]),
        (
            {"States": None},
            [("/StartAt", "there is no state 'pass'"), ("/States", "must be an object of states")],
        ),
        (
            {"States": {}},
            [("/StartAt", "there is no state 'pass'"), ("/States", "a machine needs at least one state")],
        ),
        ({"Version": "2.0"}, [("/Version", 'must be "1.0"')]),
        ({"Comment": 5}, [("/Comment", "must be a string")]),
        ({"QueryLanguage": "SQL"}, [("/QueryLanguage", "must be JSONPath or JSONata")]),
        *(
            ({"TimeoutSeconds": seconds}, [("/TimeoutSeconds", "must be a whole number from 1 to 99999999")])
            for seconds in (0, -1, 100_000_000, 1.5, "5", None, True)
        ),
        ({"startat": "pass"}, [("/startat", "unknown field 'startat'; did you mean StartAt?")]),
        ({"Zzz": 1}, [("/Zzz", "unknown field 'Zzz'")]),
    ],
)
def test_problems_of_the_machine_itself(change, problems_found):
    """Each field of the machine is checked."""
    assert found({**VALID, **change}) == problems_found


def test_a_machine_needs_its_two_fields():
    """What is missing is told at the top."""
    assert found({}) == [("", "StartAt is missing"), ("", "States is missing")]
    assert found({"StartAt": "a"}) == [("/StartAt", "there is no state 'a'"), ("", "States is missing")]


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({}, "", "Type is missing"),
        ({"Type": 5}, "/Type", "must be one of Pass, Task,"),
        ({"Type": "Tsk"}, "/Type", "did you mean Task?"),
        ({"Type": "Pass"}, "", 'needs either Next or "End": true'),
        ({"Type": "Pass", "End": False}, "", 'needs either Next or "End": true'),
        ({"Type": "Pass", "End": True, "Next": "s"}, "", "has both Next and End"),
        ({"Type": "Pass", "End": "true", "Next": "s"}, "/End", "must be true or false"),
        ({"Type": "Pass", "Next": "t"}, "/Next", "there is no state 't'"),
        ({"Type": "Pass", "Next": ["s"]}, "/Next", "must be a string"),
        ({"Type": "Pass", "End": True, "Parameter": {}}, "/Parameter", "did you mean Parameters?"),
        ({"Type": "Pass", "End": True, "Seconds": 1}, "/Seconds", "unknown field 'Seconds'"),
        ({"Type": "Pass", "End": True, "InputPath": "a"}, "/InputPath", "a path starts with $"),
        ({"Type": "Pass", "End": True, "InputPath": 5}, "/InputPath", "must be a path"),
        ({"Type": "Pass", "End": True, "OutputPath": "$.a["}, "/OutputPath", "not a path"),
        ({"Type": "Pass", "End": True, "ResultPath": "$.a[*]"}, "/ResultPath", "a reference path is needed"),
        ({"Type": "Pass", "End": True, "ResultPath": "$$.a"}, "/ResultPath", "context object"),
        ({"Type": "Pass", "End": True, "ResultPath": "$$"}, "/ResultPath", "context object"),
        ({"Type": "Pass", "End": True, "ResultPath": "$x"}, "/ResultPath", "a variable; Assign does that"),
        ({"Type": "Pass", "End": True, "ResultSelector": {}}, "/ResultSelector", "unknown field"),
        ({"Type": "Pass", "End": True, "Assign": 5}, "/Assign", "must be an object"),
        ({"Type": "Pass", "End": True, "Assign": {"states": 1}}, "/Assign/states", "reserved"),
        ({"Type": "Pass", "End": True, "Assign": {"states.$": "$"}}, "/Assign/states.$", "reserved"),
        *(
            (
                {"Type": "Pass", "End": True, "Assign": {name: 1}},
                f"/Assign/{name}",
                "the name of a variable has 1 to 80",
            )
            for name in ("1a", "a-b", "a b", "a.b", "", "v" * 81)
        ),
        ({"Type": "Pass", "End": True, "Assign": {"a.$": "x"}}, "/Assign/a.$", "starts with $"),
        (
            {"Type": "Pass", "End": True, "Output": {}},
            "/Output",
            "belongs to JSONata, and this state is written in JSONPath",
        ),
        ({"Type": "Pass", "End": True, "QueryLanguage": "SQL"}, "/QueryLanguage", "must be JSONPath or JSONata"),
        *(
            (
                {"Type": "Pass", "End": True, "QueryLanguage": "JSONata", name: None},
                f"/{name}",
                "belongs to JSONPath, and this state is written in JSONata",
            )
            for name in ("InputPath", "Parameters", "Result", "ResultPath", "OutputPath")
        ),
        (
            {"Type": "Pass", "End": True, "QueryLanguage": "JSONata", "Output": {"a": ["{% ( %}"]}},
            "/Output/a/0",
            "not a JSONata expression",
        ),
        (
            {"Type": "Pass", "End": True, "QueryLanguage": "JSONata", "Assign": {"a.$": 1}},
            "/Assign/a.$",
            "the name of a variable",
        ),
        ({"Type": "Task", "End": True}, "", "Resource is missing"),
        ({"Type": "Task", "End": True, "Resource": 5}, "/Resource", "must be a string"),
        ({"Type": "Task", "End": True, "Resource": "a b"}, "/Resource", "the name of a step or an ARN"),
        (
            {"Type": "Task", "End": True, "Resource": "arn:aws:states:::lambda:invoke"},
            "",
            "needs Parameters with a FunctionName",
        ),
        ({"Type": "Task", "End": True, "Resource": "a", "Result": 1}, "/Result", "unknown field"),
        (
            {
                "Type": "Task",
                "End": True,
                "Resource": "arn:aws:states:::lambda:invoke",
                "QueryLanguage": "JSONata",
                "Arguments": {"FunctionName.$": "f"},
            },
            "",
            "needs Arguments with a FunctionName",
        ),
        *(
            ({"Type": "Task", "End": True, "Resource": "a", name: value}, f"/{name}", message)
            for name, value, message in (
                ("Arguments", {}, "belongs to JSONata"),
                ("TimeoutSeconds", 0, "whole number from 1"),
                ("TimeoutSeconds", "{% 1 %}", "whole number from 1"),
                ("HeartbeatSeconds", 1.5, "whole number from 1"),
                ("TimeoutSecondsPath", "$.a[*]", "a reference path is needed"),
                ("HeartbeatSecondsPath", 5, "must be a path"),
                ("TimeoutSecondsPath", "States.MathAdd(1, 1)", "intrinsic functions are not possible here"),
                ("Credentials", 5, "must be an object"),
                ("Credentials", {}, "RoleArn is missing"),
                ("Retry", {}, "must be a list"),
                ("Catch", 5, "must be a list"),
            )
        ),
        (
            {"Type": "Task", "End": True, "Resource": "a", "TimeoutSeconds": 5, "TimeoutSecondsPath": "$.t"},
            "",
            "has both TimeoutSeconds and TimeoutSecondsPath",
        ),
        (
            {"Type": "Task", "End": True, "Resource": "a", "TimeoutSeconds": 5, "HeartbeatSeconds": 5},
            "/HeartbeatSeconds",
            "must be less than TimeoutSeconds",
        ),
        (
            {"Type": "Task", "End": True, "Resource": "a", "Credentials": {"RoleArn": 5}},
            "/Credentials/RoleArn",
            "must be a string",
        ),
        (
            {"Type": "Task", "End": True, "Resource": "a", "Credentials": {"RoleArn": "r", "Role": "r"}},
            "/Credentials/Role",
            "unknown field 'Role'",
        ),
        (
            {"Type": "Task", "End": True, "Resource": "a", "QueryLanguage": "JSONata", "Arguments": 5},
            "/Arguments",
            "must be an object or a JSONata expression",
        ),
        ({"Type": "Choice"}, "", "Choices is missing"),
        (
            {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "t"}]},
            "/Choices/0/Next",
            "there is no state 't'",
        ),
        (
            {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "s"}], "Default": "t"},
            "/Default",
            "there is no state 't'",
        ),
        (
            {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "s"}], "End": True},
            "/End",
            "unknown field",
        ),
        (
            {"Type": "Wait", "End": True},
            "",
            "exactly one of Seconds, Timestamp, SecondsPath, TimestampPath; it has none",
        ),
        (
            {"Type": "Wait", "End": True, "Seconds": 1, "SecondsPath": "$.s"},
            "",
            "it has Seconds and SecondsPath",
        ),
        *(
            ({"Type": "Wait", "End": True, "Seconds": seconds}, "/Seconds", "whole number from 0 to 99999999")
            for seconds in (-1, 100_000_000, 1.0, "1", True, None)
        ),
        ({"Type": "Wait", "End": True, "Seconds": "{% 1 %}"}, "/Seconds", "whole number"),
        ({"Type": "Wait", "End": True, "Timestamp": "2024-01-01"}, "/Timestamp", "must be a timestamp"),
        (
            {"Type": "Wait", "End": True, "SecondsPath": "$.a[*]"},
            "/SecondsPath",
            "a reference path is needed",
        ),
        ({"Type": "Wait", "End": True, "Seconds": 1, "ResultPath": "$"}, "/ResultPath", "unknown field"),
        ({"Type": "Succeed", "Next": "s"}, "/Next", "unknown field 'Next'"),
        ({"Type": "Succeed", "End": True}, "/End", "unknown field 'End'"),
        ({"Type": "Fail", "Next": "s"}, "/Next", "unknown field 'Next'"),
        ({"Type": "Fail", "InputPath": "$"}, "/InputPath", "unknown field"),
        ({"Type": "Fail", "Error": 5}, "/Error", "must be a string"),
        ({"Type": "Fail", "Error": "E", "ErrorPath": "$.e"}, "", "has both Error and ErrorPath"),
        (
            {"Type": "Fail", "ErrorPath": "States.MathAdd(1, $.a)"},
            "/ErrorPath",
            "this must give a string, and the function gives a number",
        ),
        ({"Type": "Fail", "Cause": "C", "CausePath": "$.c"}, "", "has both Cause and CausePath"),
        (
            {"Type": "Fail", "CausePath": "States.Nothing('x')"},
            "/CausePath",
            "Nothing",
        ),
    ],
)
def test_problems_of_one_state(fields, pointer, message):
    """Each fault of a state is found once, where it is."""
    [problem] = problems(one_state(**fields))
    assert problem.path == "/States/s" + pointer
    assert message in problem.message


def test_all_problems_are_found_at_once_in_document_order():
    """One call tells everything, from the top to the bottom."""
    definition = {
        "Comment": 1,
        "StartAt": "a",
        "States": {
            "a": {"Type": "Pass", "Next": "b", "Resultpath": "$"},
            "b/~": {"Type": "Task", "Resource": ""},
            "b": {"Type": "Wait", "Seconds": -1, "Next": "c"},
            "x" * 81: 5,
            "": {"Type": "Succeed"},
        },
    }
    assert [path for path, _ in found(definition)] == [
        "/Comment",
        "/States/a/Resultpath",
        "/States/b~1~0",
        "/States/b~1~0/Resource",
        "/States/b~1~0",
        "/States/b/Seconds",
        "/States/b/Next",
        "/States/" + "x" * 81,
        "/States/" + "x" * 81,
        "/States/" + "x" * 81,
        "/States/",
        "/States/",
    ]


def test_names_of_states_have_1_to_80_characters():
    """80 is allowed, 81 is not."""
    for name, valid in (("n" * 80, True), ("n" * 81, False), ("", False)):
        assert (found({"StartAt": name, "States": {name: {"Type": "Succeed"}}}) == []) is valid


def test_a_state_that_no_way_leads_to_is_found():
    """Ways lead through Next, Default, rules and Catch; a loop of its own is no way."""
    definition = {
        "StartAt": "choice",
        "States": {
            "choice": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "task"}],
                "Default": "end",
            },
            "task": {
                "Type": "Task",
                "Resource": "a",
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "caught"}],
                "Next": "end",
            },
            "caught": {"Type": "Succeed"},
            "end": {"Type": "Succeed"},
            "ping": {"Type": "Pass", "Next": "pong"},
            "pong": {"Type": "Pass", "Next": "ping"},
        },
    }
    assert found(definition) == [
        ("/States/ping", "cannot be reached from the start"),
        ("/States/pong", "cannot be reached from the start"),
    ]


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("arn:aws:states:eu:1:activity:a", "does not support activities"),
        ("arn:aws:states:::ecs:runTask.sync", "does not support .sync"),
        ("arn:aws:states:::states:startExecution.sync:2", "does not support .sync:2"),
        ("arn:aws:states:::sqs:sendMessage.waitForTaskToken", "does not support .waitForTaskToken"),
    ],
)
def test_an_express_workflow_does_less(resource, message):
    """What AWS refuses in an Express workflow is refused."""
    [problem] = problems(one_state(Type="Task", Resource=resource, End=True), express=True)
    assert message in problem.message


def test_messages_and_lists_are_bounded():
    """A megabyte of wrong fields, or one wrong field of a megabyte, makes a short answer."""
    many = problems(one_state(Type="Succeed", **{f"Inputpath{i}": 1 for i in range(50_000)}))
    assert len(many) == PROBLEMS_MAX
    for fields in (
        {"Assign": {f"{i}": 1 for i in range(5000)}},
        {"Credentials": {f"{i}": 1 for i in range(5000)}},
        {"Retry": [5] * 5000},
        {"Type": "Choice", "Choices": [5] * 5000},
        {"Type": "Choice", "Choices": [{f"{i}": 1 for i in range(5000)}] * 2},
    ):
        assert len(problems(one_state(**{"Type": "Task", "Resource": "a", "End": True, **fields}))) == PROBLEMS_MAX
    [long] = problems(one_state(Type="Pass", End=True, **{"x" * 1_000_000: 1}))
    assert len(long.path) + len(long.message) < 300


@pytest.mark.parametrize(
    "make",
    [
        lambda n: {
            "StartAt": "s0",
            "States": {f"s{i}": {"Type": "Pass", "Next": f"s{i + 1}"} for i in range(n)},
        },
        lambda n: {"StartAt": "s0", "States": {f"s{i}": {"Type": "Pass", "Next": f"z{i}"} for i in range(n)}},
        lambda n: one_state(Type="Pass", End=True, Parameters={"k" * 10 * n: [{"v.$": 1}] * n}),
        lambda n: one_state(Type="Choice", Choices=[{f"Strinequals{i}": 1, "Next": "s"} for i in range(n)]),
        lambda n: one_state(
            Type="Parallel",
            End=True,
            Assign={f"v{i}": i for i in range(n // 10)},
            Branches=[
                {"StartAt": f"b{i}", "States": {f"b{i}": {"Type": "Pass", "End": True, "Assign": {"w": 1}}}}
                for i in range(n)
            ],
        ),
        lambda n: one_state(Type="Task", Resource="a", End=True, Retry=[{"ErrorEquals": ["E"] * 10}] * n),
        lambda n: one_state(Type="Choice", Choices=[{"And": [{"Variable": "$.a", "IsNull": True}] * n, "Next": "s"}]),
    ],
)
def test_the_time_is_in_proportion_to_the_size(make):
    """Ten thousand of anything take seconds at most."""
    text = json.dumps(make(10_000))
    started = time.perf_counter()
    problems(text)
    assert time.perf_counter() - started < 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=25,
)
WORDS = sorted(
    {
        word
        for state in VALID["States"].values()
        for word in (
            *state,
            *VALID["States"],
            *VALID,
            state["Type"],
            "ItemReader",
            "ItemBatcher",
            "ResultWriter",
            "ReaderConfig",
            "Iterator",
            "DISTRIBUTED",
            "ExecutionType",
            "Mode",
            "StartAt",
            "States",
            "ErrorEquals",
            "States.ALL",
            "And",
            "Or",
            "Not",
            "Variable",
            "IsNull",
            "Next",
            "$",
            "$.a[*]",
            "$$.x",
            "States.UUID()",
            "{% 1 %}",
            "StringMatches",
            "a.$",
            "arn:aws:states:::lambda:invoke",
            "x.waitForResume",
        )
    }
)
SHAPED = st.recursive(
    st.sampled_from(WORDS) | st.none() | st.booleans() | st.integers(-1, 5) | st.floats(0, 2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=30,
)


@given(st.one_of(JSON, SHAPED, st.text(), st.binary()), st.booleans())
def test_nothing_makes_it_raise(value, express):
    """Any JSON, any text, any bytes give a list of problems."""
    assert isinstance(problems(value, express=express), list)


@given(st.dictionaries(st.sampled_from(["pass", "task", "choice"]), SHAPED, max_size=3))
def test_no_state_of_any_shape_makes_it_raise(states):
    """States made of the language's own words, in any order, give a list of problems."""
    assert isinstance(problems({"StartAt": "pass", "States": states}), list)


TO_A, TO_B = ({"Type": "Pass", "Next": name} for name in "AB")
ENDLESS = {"StartAt": "A", "States": {"A": TO_B, "B": TO_A}}


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        (ENDLESS, "/States"),
        ({"StartAt": "A", "States": {"A": TO_A}}, "/States"),
        (
            {"StartAt": "P", "States": {"P": {"Type": "Parallel", "Branches": [ENDLESS], "End": True}}},
            "/States/P/Branches/0/States",
        ),
    ],
)
def test_a_machine_that_cannot_end_is_refused(definition, pointer):
    """A branch, too; one that is stored keeps running."""
    [problem] = problems(definition)
    assert (problem.path, problem.message[:35]) == (pointer, "no state that ends can be reached f")
    compile_machine(definition)


@pytest.mark.parametrize("last", [{"Type": "Fail"}, {"Type": "Succeed"}, {"Type": "Pass", "End": True}])
def test_a_loop_that_may_end_is_accepted(last):
    """One way out is enough, whatever ends there."""
    choice = {"Type": "Choice", "Default": "A", "Choices": [{"Variable": "$", "IsNull": True, "Next": "C"}]}
    assert problems({"StartAt": "A", "States": {"A": TO_B, "B": choice, "C": last}}) == []


def test_what_is_wrong_otherwise_is_told_alone():
    """A state that leads nowhere, or that no way leads to, may be the one that was to end it."""
    assert [each.path for each in problems({"StartAt": "A", "States": {"A": TO_B}})] == ["/States/A/Next"]
    told = problems({"StartAt": "A", "States": {"A": TO_A, "C": {"Type": "Succeed"}}})
    assert [each.path for each in told] == ["/States/C"]


def places(value, way=()):
    yield way
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(below, (*way, key))


PLACES = [way for way in places(VALID) if way]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.one_of(st.just(...), JSON, SHAPED)), min_size=1, max_size=3))
def test_a_mutated_definition_is_either_valid_and_compiles_or_has_problems(mutations):
    """Parts of a valid definition are removed or replaced: checking and compiling always agree."""
    definition = copy.deepcopy(VALID)
    for way, value in mutations:
        *above, last = way
        target: Any = definition
        try:
            for key in above:
                target = target[key]
            if value is ...:
                del target[last]
            else:
                target[last] = value
        except (KeyError, IndexError, TypeError):
            continue
    kept = copy.deepcopy(definition)
    told = problems(definition)
    assert json.dumps(definition, default=str) == json.dumps(kept, default=str)
    assert told == problems(definition)
    refused = [problem for problem in told if "no state that ends" not in problem.message] or unsupported(definition)
    if refused:
        with pytest.raises(DefinitionError) as refusal:
            compile_machine(definition)
        assert refusal.value.problems == refused
    else:
        assert list(compile_machine(definition).states) == list(definition["States"])
