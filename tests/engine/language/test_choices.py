"""Choice rules: every operator, and what a rule must look like."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language import DefinitionError, StatesError
from tests.engine.language.worlds import compiled, env

CONTEXT = {"State": {"Name": "S"}, "Execution": {"Input": {"v": 5}}}
EARLY, LATE = "2012-10-09T19:00:55Z", "2012-10-09T19:00:56Z"
SAME = "2012-10-09T21:00:55+02:00"


def choice(*rules, **fields):
    return compiled({"Type": "Choice", "Choices": list(rules), "Default": "no", **fields})


def matches(rule, value, context=CONTEXT):
    return choice({**rule, "Next": "yes"}).choose(env(value, context)).next == "yes"


OPERANDS = {"String": ("a", "b"), "Numeric": (1, 2.5), "Timestamp": (EARLY, LATE)}
ORDERS = {
    "Equals": (False, True, False),
    "LessThan": (True, False, False),
    "GreaterThan": (False, False, True),
    "LessThanEquals": (True, True, False),
    "GreaterThanEquals": (False, True, True),
}


@pytest.mark.parametrize("family", OPERANDS)
@pytest.mark.parametrize("order", ORDERS)
def test_ordered_operators_compare_less_equal_and_greater(family, order):
    """Each order holds for the pairs it should, with a literal and with a path."""
    low, high = OPERANDS[family]
    for (left, right), wanted in zip(((low, high), (low, low), (high, low)), ORDERS[order], strict=True):
        assert matches({"Variable": "$.v", family + order: right}, {"v": left}) is wanted
        assert matches({"Variable": "$.v", family + order + "Path": "$.w"}, {"v": left, "w": right}) is wanted


@pytest.mark.parametrize(
    ("operator", "operand"),
    [
        ("StringEquals", "1"),
        ("NumericEquals", 1),
        ("BooleanEquals", True),
        ("TimestampEquals", EARLY),
        ("StringMatches", "*"),
        ("NumericLessThan", 10**9),
    ],
)
def test_a_value_of_another_type_matches_nothing(operator, operand):
    """True is no number, a digit no number, null nothing: no match, and no error."""
    foreign = {
        "StringEquals": 1,
        "NumericEquals": True,
        "BooleanEquals": 1,
        "TimestampEquals": 1,
        "StringMatches": 1,
        "NumericLessThan": "1",
    }
    for value in (foreign[operator], None, [], {}, [operand], {"v": operand}):
        assert not matches({"Variable": "$.v", operator: operand}, {"v": value})
    if operator != "StringMatches":
        assert not matches({"Variable": "$.v", operator + "Path": "$.w"}, {"v": operand, "w": foreign[operator]})


@pytest.mark.parametrize(
    ("rule", "value", "wanted"),
    [
        ({"NumericEquals": 1}, 1.0, True),
        ({"NumericEquals": 0}, -0.0, True),
        ({"NumericEquals": 0}, False, False),
        ({"NumericEquals": 9007199254740993}, 9007199254740992.0, False),
        ({"BooleanEquals": False}, False, True),
        ({"BooleanEquals": False}, 0, False),
        ({"StringEquals": ""}, "", True),
        ({"StringEquals": "A"}, "a", False),
        ({"StringLessThan": "\ufb01"}, "😀", True),
        ({"TimestampEquals": EARLY}, SAME, True),
        ({"TimestampEquals": EARLY}, "2012-10-09", False),
        ({"TimestampLessThan": "2012-10-09T19:00:55.000002Z"}, "2012-10-09T19:00:55.000001Z", True),
        ({"IsNull": True}, None, True),
        ({"IsNull": False}, 0, True),
        ({"IsPresent": True}, None, True),
        ({"IsPresent": False}, None, False),
        ({"IsString": True}, "", True),
        ({"IsString": True}, 1, False),
        ({"IsNumeric": True}, 1.5, True),
        ({"IsNumeric": True}, True, False),
        ({"IsNumeric": False}, "1", True),
        ({"IsBoolean": True}, False, True),
        ({"IsBoolean": True}, 0, False),
        ({"IsTimestamp": True}, EARLY, True),
        ({"IsTimestamp": True}, SAME, True),
        ({"IsTimestamp": True}, "2012-10-09T19:00:55", False),
        ({"IsTimestamp": True}, "2023-02-24", False),
        ({"IsTimestamp": False}, 5, True),
    ],
)
def test_the_finer_points_of_single_operators(rule, value, wanted):
    """Numbers by value, strings by UTF-16 code units, timestamps by instant, bool never a number."""
    assert matches({"Variable": "$.v", **rule}, {"v": value}) is wanted


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("log-*.txt", "log-2024.txt", True),
        ("log-*.txt", "log-.txt", True),
        ("log-*.txt", "log-2024.txt.gz", False),
        ("*", "", True),
        ("a", "a", True),
        ("a", "ab", False),
        ("*a*b*", "xxaxxbxx", True),
        ("*a*b*", "ba", False),
        ("ab*ba", "aba", False),
        ("a**b", "ab", True),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        (r"a\\*", "a\\anything", True),
        ("a.b", "axb", False),
        ("*\n*", "two\nlines", True),
    ],
)
def test_string_matches(pattern, text, wanted):
    """A star stands for any text, also none; a backslash takes its meaning away."""
    assert matches({"Variable": "$.v", "StringMatches": pattern}, {"v": text}) is wanted


def test_string_matches_takes_time_in_proportion_to_the_text():
    """A pattern of many stars does not make the test explode."""
    started = time.perf_counter()
    assert not matches({"Variable": "$.v", "StringMatches": "*a" * 200 + "b"}, {"v": "a" * 100_000})
    assert time.perf_counter() - started < 5


def test_and_or_not_combine_rules_and_stop_at_the_first_that_decides():
    """A rule that guards another keeps it from being asked."""
    present = {"Variable": "$.v", "IsPresent": True}
    big = {"Variable": "$.v", "NumericGreaterThan": 5}
    assert matches({"And": [present, big]}, {"v": 6})
    assert not matches({"And": [present, big]}, {"v": 5})
    assert not matches({"And": [present, big]}, {})
    assert matches({"Or": [{"Not": present}, big]}, {})
    assert matches({"Or": [{"Not": present}, big]}, {"v": 6})
    assert not matches({"Or": [{"Not": present}, big]}, {"v": 5})
    assert matches({"Not": {"And": [present, {"Or": [big]}]}}, {"v": 1})


def test_rules_are_asked_in_order_then_the_default():
    """The first rule that matches wins."""
    state = choice(
        {"Variable": "$.v", "NumericGreaterThan": 1, "Next": "first"},
        {"Variable": "$.v", "NumericGreaterThan": 0, "Next": "second"},
    )
    assert [state.choose(env({"v": v}, CONTEXT)).next for v in (2, 1, 0)] == ["first", "second", "no"]


def test_a_choice_without_match_and_default_fails():
    """There is nowhere to go."""
    state = compiled({"Type": "Choice", "Choices": [{"Variable": "$.v", "IsNull": True, "Next": "x"}]})
    with pytest.raises(StatesError) as failure:
        state.choose(env({"v": 1}, CONTEXT))
    assert failure.value.error == "States.NoChoiceMatched"


@pytest.mark.parametrize(
    "rule",
    [
        {"Variable": "$.none", "StringEquals": "x"},
        {"Variable": "$.none", "IsNull": False},
        {"Variable": "$.none", "NumericLessThanPath": "$.v"},
    ],
)
def test_a_variable_that_is_absent_fails(rule):
    """Only IsPresent may ask about what is not there; the cause is AWS's."""
    with pytest.raises(StatesError) as failure:
        matches(rule, {"v": 1})
    assert failure.value.error == "States.Runtime"
    assert (
        failure.value.cause == "Invalid path '$.none': The choice state's condition path references an invalid value."
    )


def test_a_comparand_that_is_absent_fails():
    """The path of an operator must find something too."""
    with pytest.raises(StatesError, match=r"Invalid path '\$\.none'"):
        matches({"Variable": "$.v", "StringEqualsPath": "$.none"}, {"v": 1})


def test_rules_read_the_context_object_and_variables():
    """Both sides of a comparison may come from the context or from a variable."""
    state = choice({"Variable": "$$.Execution.Input.v", "NumericEqualsPath": "$x", "Next": "yes"})
    assert state.choose(env({}, CONTEXT, {"x": 5})).next == "yes"
    assert state.choose(env({}, CONTEXT, {"x": 6})).next == "no"
    assert matches({"Variable": "$none", "IsPresent": False}, {})


def test_a_choice_filters_its_input_and_passes_it_on():
    """Rules see what InputPath selects; OutputPath applies to that."""
    state = choice({"Variable": "$.v", "IsNumeric": True, "Next": "yes"}, InputPath="$.in", OutputPath="$.v")
    assert state.choose(env({"in": {"v": 1}})) == ("yes", 1, {}, 0)


def test_a_rule_has_its_own_assignments_and_the_default_those_of_the_state():
    """Only one of them is made."""
    rule = {"Variable": "$.v", "IsNumeric": True, "Next": "yes", "Assign": {"x.$": "$.v"}}
    state = choice(rule, InputPath="$.in", Assign={"y.$": "$.w"})
    assert state.choose(env({"in": {"v": 1, "w": 2}})) == ("yes", {"v": 1, "w": 2}, {"x": 1}, 0)
    assert state.choose(env({"in": {"v": "", "w": 2}})) == ("no", {"v": "", "w": 2}, {"y": 2}, None)


def test_a_choice_in_jsonata_has_conditions():
    """Condition decides; Output and Assign are the rule's, or for the Default the state's."""
    state = choice(
        {"Condition": False, "Next": "never"},
        {"Condition": "{% $states.input.v > $least %}", "Next": "yes", "Assign": {"x": "{% $least + 1 %}"}},
        {"Condition": "{% $states.input.v = 0 %}", "Next": "zero", "Output": {"was": "{% $states.input.v %}"}},
        QueryLanguage="JSONata",
        Output="{% 'default' %}",
    )
    assert state.choose(env({"v": 5}, variables={"least": 2})) == ("yes", {"v": 5}, {"x": 3}, 1)
    assert state.choose(env({"v": 0}, variables={"least": 2})) == ("zero", {"was": 0}, {}, 2)
    assert state.choose(env({"v": 1}, variables={"least": 2})) == ("no", "default", {}, None)


def test_a_condition_that_gives_no_boolean_fails():
    """What is not true or false is an error, not false."""
    state = choice({"Condition": "{% 1 %}", "Next": "yes"}, QueryLanguage="JSONata")
    with pytest.raises(StatesError, match="Expected 'boolean', but was 'number'") as failure:
        state.choose(env({}))
    assert failure.value.error == "States.QueryEvaluationError"


@pytest.mark.parametrize(
    ("rule", "pointer", "message"),
    [
        (5, "", "must be an object"),
        ({}, "", "Condition is missing"),
        ({"Condition": "true"}, "/Condition", "must be a JSONata expression"),
        ({"Condition": "{% ( %}"}, "/Condition", "not a JSONata expression"),
        ({"Condition": True, "Variable": "$.v"}, "/Variable", "belongs to JSONPath"),
        ({"Condition": True, "And": []}, "/And", "belongs to JSONPath"),
        ({"Condition": True, "Conditions": 1}, "/Conditions", "did you mean Condition?"),
        ({"Condition": True, "Assign": {"states": 1}}, "/Assign/states", "reserved"),
    ],
)
def test_a_wrong_rule_in_jsonata_is_found_where_it_is_wrong(rule, pointer, message):
    """Each fault of a rule has its own pointer and sentence."""
    with pytest.raises(DefinitionError) as refusal:
        choice({**rule, "Next": "yes"} if isinstance(rule, dict) else rule, QueryLanguage="JSONata")
    assert [(p.path, message in p.message) for p in refusal.value.problems] == [("/Choices/0" + pointer, True)]


@pytest.mark.parametrize(
    ("rule", "pointer", "message"),
    [
        (5, "", "must be an object"),
        ({"Next": "x"}, "", "exactly one operator; this has none"),
        ({"Variable": "$.v", "IsNull": True, "IsString": True}, "", "this has IsNull and IsString"),
        ({"IsNull": True}, "", "needs a Variable"),
        ({"Variable": 5, "IsNull": True}, "/Variable", "must be a path"),
        ({"Variable": "v", "IsNull": True}, "/Variable", "starts with $"),
        ({"Variable": "$.v", "IsNull": "true"}, "/IsNull", "must be true or false"),
        ({"Variable": "$.v", "NumericEquals": "1"}, "/NumericEquals", "must be a number"),
        ({"Variable": "$.v", "NumericEquals": True}, "/NumericEquals", "must be a number"),
        ({"Variable": "$.v", "StringEquals": 1}, "/StringEquals", "must be a string"),
        ({"Variable": "$.v", "BooleanEquals": 1}, "/BooleanEquals", "must be true or false"),
        ({"Variable": "$.v", "TimestampEquals": "2012-10-09"}, "/TimestampEquals", "must be a timestamp"),
        ({"Variable": "$.v", "StringEqualsPath": "x"}, "/StringEqualsPath", "starts with $"),
        ({"Variable": "$.v", "StringMatches": 1}, "/StringMatches", "must be a string"),
        ({"Variable": "$.v", "StringMatches": "a\\b"}, "/StringMatches", "backslash"),
        ({"Variable": "$.v", "StringMatches": "a\\"}, "/StringMatches", "backslash"),
        ({"And": []}, "/And", "one or more"),
        ({"Or": {}}, "/Or", "one or more"),
        ({"Not": []}, "/Not", "must be an object"),
        ({"And": [{"Variable": "$.v", "IsNull": True, "Next": "x"}]}, "/And/0/Next", "top rule only"),
        ({"Variable": "$.v", "Not": {"Variable": "$.v", "IsNull": True}}, "/Variable", "takes no Variable"),
        ({"Variable": "$.v", "IsNull": True, "Comment": 1}, "/Comment", "must be a string"),
        ({"Variable": "$.v", "IsNull": True, "Condition": "{% true %}"}, "/Condition", "belongs to JSONata"),
        ({"Variable": "$.v", "IsNull": True, "Output": {}}, "/Output", "belongs to JSONata"),
        ({"Variable": "$.v", "IsNull": True, "Assign": []}, "/Assign", "must be an object"),
        ({"Not": {"Variable": "$.v", "IsNull": True, "Assign": {}}}, "/Not/Assign", "top rule only"),
        ({"Variable": "$.v", "IsNull": True, "Extra": 1}, "/Extra", "unknown field or operator 'Extra'"),
        ({"Variable": "$.v", "IsNull": True, "Coment": 1}, "/Coment", "did you mean Comment?"),
    ],
)
def test_a_wrong_rule_is_found_where_it_is_wrong(rule, pointer, message):
    """Each fault of a rule has its own pointer and sentence."""
    with pytest.raises(DefinitionError) as refusal:
        choice({**rule, "Next": "yes"} if isinstance(rule, dict) else rule)
    assert [(p.path, message in p.message) for p in refusal.value.problems] == [("/Choices/0" + pointer, True)]


@pytest.mark.parametrize("rules", [[], {}, None, "x"])
def test_a_choice_needs_rules(rules):
    """Choices is a list of at least one rule."""
    with pytest.raises(DefinitionError, match="one or more rules"):
        compiled({"Type": "Choice", "Choices": rules})


def test_a_top_rule_needs_a_next():
    """A rule that leads nowhere is no rule."""
    with pytest.raises(DefinitionError, match="needs a Next"):
        choice({"Variable": "$.v", "IsNull": True})


VALUE = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from([EARLY, SAME])
)


@given(VALUE)
def test_of_the_type_tests_exactly_one_holds(value):
    """A value is null, a boolean, a number or a string, and a timestamp is a string."""
    held = [
        name
        for name in ("IsNull", "IsBoolean", "IsNumeric", "IsString")
        if matches({"Variable": "$.v", name: True}, {"v": value})
    ]
    assert len(held) == 1
    if matches({"Variable": "$.v", "IsTimestamp": True}, {"v": value}):
        assert held == ["IsString"]


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_string_matches_agrees_with_a_plain_search(pattern, text):
    """The quick test finds what trying every split finds."""

    def slow(pattern, text):
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(slow(pattern[1:], text[i:]) for i in range(len(text) + 1))
        return bool(text) and text[0] == pattern[0] and slow(pattern[1:], text[1:])

    assert matches({"Variable": "$.v", "StringMatches": pattern}, {"v": text}) is slow(pattern, text)
