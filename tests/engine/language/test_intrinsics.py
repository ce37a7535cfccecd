"""Intrinsic functions: what each gives, what it refuses, and what is no call."""

import base64
import hashlib
import itertools
import json
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language import compile_machine, problems
from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.intrinsic_functions import FUNCTIONS
from perdure.engine.language.evaluate.intrinsics import ARGUMENTS_MAX, NESTING_MAX, TEXT_MAX, compile_intrinsic
from perdure.engine.language.evaluate.paths import PathError
from perdure.engine.language.values import JSON_TYPES, MISSING

INPUT = {
    "name": "Ada",
    "items": [1, 2, 3, 4, 5],
    "empty": "",
    "null": None,
    "object": {"Arg1": 1, "Arg2": []},
    "a,b": {"c)d": "odd"},
    "template": r"It's {} \{\}",
    "long": "x" * 10_001,
    "half": "\ud800",
    "same": [1, 1.0, True, "1", [1], [1.0], {"a": 1, "b": 2}, {"b": 2, "a": 1}, None, None],
}


SEEDS = range(-(2**31), 2**31, 2**26 + 1)


class World:
    """An execution whose chance is a hash of how often it was asked."""

    now_ms = 0
    expression_timeout_s = None

    def __init__(self):
        self.draws = 0

    def context(self):
        return {"Execution": {"Name": "run-1"}}

    def variable(self, name):
        return {"bias": 4.3, "json": '{"a": [1]}'}.get(name, MISSING)

    def random_bytes(self, count):
        self.draws += 1
        return hashlib.sha256(str(self.draws).encode()).digest()[:count]


def call(text, value=None, world=None, *, accepts_old=False):
    value = INPUT if value is None else value
    return compile_intrinsic(text, accepts_old=accepts_old).evaluate(value, Environment(world or World(), value))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("States.Array()", []),
        ("States.Array('a', 1, -2.5, 1e2, true, false, null, $.name)", ["a", 1, -2.5, 100.0, True, False, None, "Ada"]),
        ("States.Array( $.items[0],$['items'][1] , $['a,b']['c)d'] )", [1, 2, "odd"]),
        ("States.Array($.items[?(@ > 3)], $.items[0,1])", [[4, 5], [1, 2]]),
        ("States.ArrayPartition($.items, 2)", [[1, 2], [3, 4], [5]]),
        ("States.ArrayPartition($.items, 2.5)", [[1, 2, 3], [4, 5]]),
        ("States.ArrayPartition(States.Array(), 5)", []),
        ("States.ArrayContains($.items, 5)", True),
        ("States.ArrayContains($.items, '5')", False),
        ("States.ArrayContains(States.Array(1), true)", False),
        ("States.ArrayContains(States.Array($.object), $.object)", True),
        ("States.ArrayRange(1, 10, 2)", [1, 3, 5, 7, 9]),
        ("States.ArrayRange(0, 3, 1)", [0, 1, 2, 3]),
        ("States.ArrayRange(3, 0, -1)", [3, 2, 1, 0]),
        ("States.ArrayRange(3, 0, 1)", []),
        ("States.ArrayGetItem($.items, 4)", 5),
        ("States.ArrayLength($.items)", 5),
        ("States.ArrayUnique($.same)", [1, True, "1", [1], {"a": 1, "b": 2}, None]),
        ("States.Base64Encode('Hello World')", "SGVsbG8gV29ybGQ="),
        ("States.Base64Decode('SGVsbG8gV29ybGQ=')", "Hello World"),
        ("States.Base64Decode('SGVsbG8gV29ybGQ')", "Hello World"),
        ("States.Base64Decode($.empty)", ""),
        (
            "States.Hash('Hash this string', 'SHA-256')",
            "1cac63f39fd68d8c531f27b807610fb3d50f0fc3f186995767fb6316e7200a3e",
        ),
        ("States.Hash('abc', 'MD5')", "900150983cd24fb0d6963f7d28e17f72"),
        ("States.JsonMerge($.object, States.StringToJson('{\"Arg2\": 2}'), false)", {"Arg1": 1, "Arg2": 2}),
        ("States.MathAdd(111, -1)", 110),
        ("States.MathAdd(1, $bias)", 5),
        ("States.MathAdd(-2.5, 0)", -2),
        ("States.StringSplit('This.is+a,test=string', '.+,=')", ["This", "is", "a", "test", "string"]),
        ("States.StringSplit(',a,,b,', ',')", ["a", "b"]),
        ("States.StringSplit('a-b]c^d', '^-]')", ["a", "b", "c", "d"]),
        ("States.StringSplit('Hello\nWorld', '\n')", ["Hello", "World"]),
        ("States.StringSplit($.empty, ',')", []),
        ("States.StringSplit('ab', '')", ["ab"]),
        ("States.Format('Hello {}, {}!', $.name, 1.5)", "Hello Ada, 1.5!"),
        ("States.Format('{}{}{}', null, true, $.object)", "nulltrue{Arg1=1, Arg2=[]}"),
        (r"States.Format('\{{}\} \'{}\' \\ \\n', 1, 2)", r"{1} '2' \ \n"),
        ("States.Format($.template, 'in')", "It's in {}"),
        ("States.Format('{}', $$.Execution.Name)", "run-1"),
        ("States.Format('')", ""),
        ("States.StringToJson($json)", {"a": [1]}),
        ("States.StringToJson($.empty)", None),
        ("States.StringToJson(' ')", None),
        ("States.StringToJson('null')", None),
        ("States.StringToJson('-0')", 0),
        ("States.StringToJson('1.1')", 1.1),
        ("States.StringToJson('\"Hello\"')", "Hello"),
        ("States.JsonToString($.object)", '{"Arg1":1,"Arg2":[]}'),
        ("States.JsonToString('ü')", '"ü"'),
        (r"States.JsonToString('\' \{ \} \\ \\x')", json.dumps(r"' { } \ \x")),
    ],
)
def test_a_function_gives_what_amazon_says_it_gives(text, result):
    """Every function, with the recorded cases and Amazon's examples among the arguments."""
    found = call(text)
    assert found == result
    assert json.dumps(found) == json.dumps(result)  # true is not 1, and 1.0 not 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("States.ArrayPartition('a', 2)", "the array must be an array"),
        ("States.ArrayPartition($.items, 0)", "at least 1"),
        ("States.ArrayPartition($.items, true)", "must be a number"),
        ("States.ArrayContains($.object, 1)", "must be an array"),
        ("States.ArrayRange(0, 1000, 1)", "more than 1000 items"),
        ("States.ArrayRange(-2147483648, 2147483647, 1)", "more than 1000 items"),
        ("States.ArrayRange(0, 1, 0)", "the step must not be 0"),
        ("States.ArrayRange(0, '1', 1)", "must be a number"),
        ("States.ArrayGetItem($.items, 5)", "there is none at index 5"),
        ("States.ArrayGetItem($.items, -1)", "there is none at index -1"),
        ("States.ArrayGetItem($.items, 0.5)", "must be an integer"),
        ("States.ArrayGetItem($.items, true)", "must be an integer"),
        ("States.ArrayLength('abc')", "must be an array"),
        ("States.ArrayUnique(null)", "must be an array"),
        ("States.Base64Encode($.long)", "at most 10000 characters"),
        ("States.Base64Encode(1)", "must be a string"),
        ("States.Base64Encode($.half)", "surrogate"),
        ("States.Base64Decode($.long)", "at most 10000 characters"),
        ("States.Base64Decode('*')", "Base64"),
        ("States.Base64Decode('/w==')", "Base64"),
        ("States.Hash('a', 'SHA-3')", "must be one of MD5, SHA-1, SHA-256, SHA-384, SHA-512"),
        ("States.Hash('a', $.object)", "must be one of"),
        ("States.Hash($.long, 'MD5')", "at most 10000 characters"),
        ("States.JsonMerge($.object, $.items, false)", "must be objects"),
        ("States.JsonMerge($.object, $.object, true)", "only shallow merging"),
        ("States.MathRandom(5, 5)", "less than the end"),
        ("States.MathRandom(1, 2, 'seed')", "must be a number"),
        ("States.MathAdd(2147483648, 0)", "between -2147483648 and 2147483647"),
        ("States.MathAdd('1', 0)", "must be a number"),
        ("States.StringSplit($.items, ',')", "must be a string"),
        ("States.Format('{} {}', 1)", "2 places to fill, but there are 1 values"),
        ("States.Format('', 1)", "0 places to fill, but there are 1 values"),
        ("States.Format($.null)", "must be a string"),
        ("States.StringToJson('nope')", "must be JSON"),
        ("States.StringToJson('NaN')", "must be JSON"),
        ("States.StringToJson('1e999')", "must be JSON"),
        ("States.StringToJson($.half)", "surrogate"),
        ("States.StringToJson(1)", "must be a string"),
        (f"States.StringToJson('{'[' * 65 + ']' * 65}')", "at most 64 levels"),
        (f"States.StringToJson('{'[' * 4000 + ']' * 4000}')", "the argument must"),
    ],
)
def test_a_function_refuses_what_it_cannot_work_with(text, reason):
    """It ends as States.IntrinsicFailure, and the cause quotes the whole call."""
    with pytest.raises(StatesError) as failure:
        call(text, accepts_old=True)
    assert failure.value.error == "States.IntrinsicFailure"
    assert failure.value.cause.startswith(f"The function '{text}' had the following error: ")
    assert reason in failure.value.cause


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("States.Format('{}', $.nope)", "$.nope"),
        ("States.Format('{}', States.Array($.items[9]))", "$.items[9]"),
        ("States.Array($$.Nope.Deep)", "$.Nope.Deep"),
        ("States.Array(1, $nope)", "$nope"),
    ],
)
def test_a_path_that_finds_nothing_fails_in_the_words_of_aws(text, path):
    """The cause names the whole call, the path without its second $, and the input."""
    with pytest.raises(StatesError) as failure:
        call(text, {"items": [1]})
    assert failure.value.error == "States.Runtime"
    assert failure.value.cause == (
        f"The function '{text}' had the following error: The JsonPath argument for the field '{path}' "
        "could not be found in the input '{\"items\":[1]}'"
    )


def nested(depth):
    return "States.Array(" * depth + ")" * depth


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a call of an intrinsic function"),
        ("States.Array", "a call of an intrinsic function"),
        ("states.Array()", "a call of an intrinsic function"),
        ("States.Arrays()", "there is no intrinsic function States.Arrays"),
        ("States.Array(", "the end"),
        ("States.Array(1", "a comma or a closing parenthesis is needed at the end"),
        ("States.Array(1 2)", "a comma or a closing parenthesis is needed at '2)'"),
        ("States.Array(1,)", "not ')'"),
        ("States.Array(,1)", "not ',1)'"),
        ("States.Array() ", None),
        ("States.Array()[0]", "nothing may follow"),
        ("States.Array('a)", "apostrophe"),
        ('States.Array("a")', "an argument is"),
        ("States.Array(01)", "an argument is"),
        ("States.Array(nil)", "an argument is"),
        ("States.Array(truest)", "an argument is"),
        ("States.Array(1e999)", "too large"),
        ("States.Array({})", "an argument is"),
        ("States.Array($.a[)", "not a path"),
        ("States.Array($.a[0)])", "not a path"),
        ("States.Array($.)", "not a path"),
        ("States.Array(@.a)", "an argument is"),
        ("States.UUID(1)", "States.UUID takes 0 arguments, not 1"),
        ("States.ArrayLength()", "States.ArrayLength takes 1 argument, not 0"),
        ("States.MathRandom(1)", "States.MathRandom takes 2 to 3 arguments, not 1"),
        ("States.Format()", "States.Format takes 1 or more arguments, not 0"),
        (nested(NESTING_MAX), None),
        (nested(NESTING_MAX + 1), "nest at most 10 deep"),
        (f"States.Array({','.join('1' * ARGUMENTS_MAX)})", None),
        (f"States.Array({','.join('1' * (ARGUMENTS_MAX + 1))})", "at most 100 arguments"),
        (f"States.Array('{'x' * TEXT_MAX}')", "at most 10000 characters"),
    ],
)
def test_what_is_no_call_is_refused_when_it_is_compiled(text, reason):
    """The message says what is wrong where; None marks the cases at the limit that are fine."""
    if reason is None:
        compile_intrinsic(text)
        return
    with pytest.raises(PathError) as refusal:
        compile_intrinsic(text)
    assert reason in str(refusal.value)


def test_json_may_have_as_many_levels_as_any_value():
    """Levels are counted, not brackets."""
    assert call(f"States.StringToJson('{'[' * 64 + ']' * 64}')")
    assert len(call(f"States.StringToJson('[{','.join(['[]'] * 100)}]')")) == 100


def test_arguments_that_are_nested_too_deeply_are_refused():
    """Values can grow a level with every state of a loop; in the end they fail, and not as a bug."""
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(StatesError, match="at most 256 levels"):
        call("States.JsonToString($)", deep)


def test_all_eighteen_functions_are_there():
    """The table holds what Amazon's reference lists."""
    assert len(FUNCTIONS) == 18


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("States.MathAdd(1, '-1')", "argument 2 of States.MathAdd must be a number, not a string"),
        ("States.MathAdd($.a, true)", "argument 2 of States.MathAdd must be a number, not a boolean"),
        ("States.ArrayLength(null)", "argument 1 of States.ArrayLength must be an array, not null"),
        (
            "States.Array(States.ArrayLength(States.Format('{}', $)))",
            "argument 1 of States.ArrayLength must be an array",
        ),
        ("States.JsonMerge($, 1.5, false)", "argument 2 of States.JsonMerge must be an object, not a number"),
    ],
)
def test_an_argument_that_can_never_fit_is_refused_at_once(text, reason):
    """A literal, or what a call always gives, is known before anything runs; a stored definition fails as it did."""
    with pytest.raises(PathError) as refusal:
        compile_intrinsic(text)
    assert str(refusal.value).startswith(reason)
    with pytest.raises(StatesError):
        call(text, {"a": 1}, accepts_old=True)


def test_the_type_of_a_result_is_what_the_function_gives():
    """What the table says of every function holds; of the two that it says nothing of, it depends on the values."""
    one_of_each = {
        "array": "$.items",
        "object": "$.object",
        "string": "$.name",
        "number": "1",
        "boolean": "false",
        "": "$",
    }
    texts = {"StringToJson": "States.StringToJson('1')", "Base64Decode": "States.Base64Decode('QQ==')"}
    texts |= {"Hash": "States.Hash('a', 'MD5')", "MathRandom": "States.MathRandom(1, 2)"}
    kinds = {}
    for name, function in FUNCTIONS.items():
        arguments = ", ".join(one_of_each[function.kind(index)] for index in range(function.least))
        kinds[name] = JSON_TYPES[type(call(texts.get(name, f"States.{name}({arguments})")))]
    assert {name: kind for name, kind in kinds.items() if FUNCTIONS[name].gives not in ("", kind)} == {}
    assert {name for name, function in FUNCTIONS.items() if not function.gives} == {"ArrayGetItem", "StringToJson"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"States.Format('a\"b')", 'a\\"b'),
        (r"States.Format('a\\\n', 1)", None),
        (r"States.Format('{}', '\u0041')", "\\u0041"),
        (r"""States.JsonToString(States.StringToJson('{"a":"\"b\""}'))""", '{"a":"\\"b\\""}'),
        ("States.Format('a\\\nb')", "a\\\nb"),
    ],
)
def test_a_backslash_stands_before_what_may_be_escaped_only(text, read):
    """In every text of a new definition; in one that is stored another backslash stands for itself."""
    with pytest.raises(PathError, match=r"only ', \{, \} and \\ may follow a backslash .*, not"):
        compile_intrinsic(text)
    old = compile_intrinsic(text, accepts_old=True)
    assert read is None or old.evaluate(INPUT, Environment(World(), {})) == read
    states = {"A": {"Type": "Pass", "Parameters": {"x.$": text}, "Next": "B"}, "B": {"Type": "Fail", "ErrorPath": text}}
    machine = {"StartAt": "A", "States": states}
    assert [problem.path for problem in problems(machine)] == ["/States/A/Parameters/x.$", "/States/B/ErrorPath"]
    compile_machine(machine)


def test_chance_comes_from_the_world_alone():
    """The same world draws the same, the next draw differs, and both are of the right form."""
    text = "States.Array(States.UUID(), States.UUID(), States.MathRandom(0, 1000000))"
    first, second = call(text), call(text)
    assert first == second
    assert first[0] != first[1]
    assert uuid.UUID(first[0]).version == 4
    assert 0 <= first[2] < 1_000_000


def test_a_seed_makes_chance_predictable():
    """A seeded draw asks the world for nothing."""
    world = World()
    drawn = [call(f"States.MathRandom(1, 7, {seed})", world=world) for seed in SEEDS]
    assert drawn == [call(f"States.MathRandom(1, 7, {seed})") for seed in SEEDS]
    assert set(drawn) == {1, 2, 3, 4, 5, 6}
    assert world.draws == 0


def test_what_goes_in_is_shared_and_never_changed():
    """An array that is made holds the very values that it was made of, and these stay as they were."""
    before = json.dumps(INPUT)
    made = call("States.Array($.object, States.ArrayUnique($.same), States.JsonMerge($.object, $.object, false))")
    assert made[0] is INPUT["object"]
    assert json.dumps(INPUT) == before


@pytest.mark.parametrize(
    "text", [f"States.Format('{'{}' * 90}'{', $' * 90})", "States.JsonToString(States.Array($, $, $))"]
)
def test_a_text_that_is_made_is_bounded(text):
    """Neither Format nor JsonToString makes more than a million characters."""
    with pytest.raises(StatesError, match="at most 1000000 characters"):
        call(text, {"text": "x" * 150_000 if "Format" in text else "x" * 500_000})


@pytest.mark.parametrize(
    "text",
    [
        "States.Array(" + "'\\" * 4_000,
        "States.Array($" + "['" * 4_000,
        "States.Array($" + "[" * 9_000,
        "States.Array(" + "$" * 9_000,
        "States." + "A" * 9_000,
        "States.Array(" + " " * 9_000,
        "States.Array(" + "9" * 9_000,
        "States.Array('" + "\\'" * 4_000,
    ],
)
def test_reading_takes_linear_time(text):
    """Texts that could make a reader go back and forth are refused at once."""
    started = time.perf_counter()
    with pytest.raises(PathError):
        compile_intrinsic(text)
    assert time.perf_counter() - started < 3


@given(
    st.one_of(st.text(), st.text("States.Array()'{}\\$[],. 10", max_size=60)).map(lambda tail: "States.Array(" + tail)
)
def test_any_text_compiles_or_is_refused(text):
    """No text raises anything but PathError when it is compiled, or StatesError when it is called."""
    try:
        expression = compile_intrinsic(text)
    except PathError:
        return
    try:
        expression.evaluate({}, Environment(World(), {}))
    except StatesError as failure:
        assert failure.error in {"States.IntrinsicFailure", "States.Runtime"}  # noqa: PT017 it need not fail


def wrapped(levels):
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


ODD: list[Any] = [
    2**31,
    -(2**31) - 1,
    2**53 + 1,
    2**64,
    10**309,
    -(10**309),
    10**4000,
    5e-324,
    1e308,
    -0.0,
    2147483647.5,
]
ODD += ["", "\ud800", "{}", "\\", "x" * 10_001, "9" * 5_000, "[" * 100, wrapped(60), wrapped(3_000), list(range(2_000))]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(JSON, min_size=3, max_size=3))
def test_any_values_are_worked_with_or_refused(name, values):
    """No values raise anything but IntrinsicFailure, and every result is JSON."""
    most = FUNCTIONS[name].most
    count = 3 if most is None else most
    text = f"States.{name}({', '.join(f'$[{index}]' for index in range(count))})"
    try:
        json.dumps(call(text, values), allow_nan=False)
    except StatesError as failure:
        assert failure.error == "States.IntrinsicFailure"  # noqa: PT017 it need not fail


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_odd_values_are_worked_with_or_refused(name):
    """Huge, tiny, deep and wide values in any place: an integer that no float holds is no crash."""
    function = FUNCTIONS[name]
    for count in range(function.least, min(3, 3 if function.most is None else function.most) + 1):
        expression = compile_intrinsic(f"States.{name}({', '.join(f'$[{index}]' for index in range(count))})")
        every = itertools.product([*ODD, 1, True, None, {}, {"a": 1}, "MD5"], repeat=count)
        for values in every if count < 3 else itertools.islice(every, 0, None, 11):  # of triples, one in eleven
            try:
                expression.evaluate(list(values), Environment(World(), list(values)))
            except StatesError as failure:
                assert failure.error == "States.IntrinsicFailure"  # noqa: PT017 it need not fail


@pytest.mark.parametrize("value", [10**309, -(10**400), 1e308, -1e308])
@pytest.mark.parametrize(
    "text", ["MathAdd($.v, 1)", "MathRandom(1, $.v)", "ArrayRange(1, $.v, 1)", "ArrayPartition($.a, $.v)"]
)
def test_a_number_beyond_32_bits_is_refused(text, value):
    """As a float it might be beyond all floats; the cause says what is accepted."""
    with pytest.raises(StatesError, match="must be between -2147483648 and 2147483647") as failure:
        call(f"States.{text}", {"v": value, "a": [1]})
    assert failure.value.error == "States.IntrinsicFailure"


@given(st.lists(JSON), st.integers(1, 10))
def test_the_parts_of_an_array_join_to_the_array(items, size):
    """All parts but the last have the size, and none is empty."""
    parts = call("States.ArrayPartition($.items, $.size)", {"items": items, "size": size})
    assert [item for part in parts for item in part] == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(parts)


@given(JSON)
def test_json_survives_being_a_text(value):
    """StringToJson undoes JsonToString."""
    try:
        assert call("States.StringToJson(States.JsonToString($))", [value]) == [value]
    except StatesError as failure:
        assert "surrogate" in failure.cause  # noqa: PT017 half a pair is no text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=2_000))
def test_a_text_survives_base64(text):
    """Base64Decode undoes Base64Encode, which is the standard's."""
    encoded = call("States.Base64Encode($[0])", [text])
    assert encoded == base64.b64encode(text.encode()).decode()
    assert call("States.Base64Decode($[0])", [encoded]) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_literal_says_what_its_escapes_say(text):
    """Whatever text, its escaped form in apostrophes stands for it, also as a template."""
    escaped = "".join("\\" + character if character in "'{}\\" else character for character in text)
    assert call(f"States.Array('{escaped}')") == [text]
    assert call(f"States.Format('{escaped}')") == text


@given(st.lists(JSON, max_size=8))
def test_unique_keeps_the_first_of_equals(items):
    """What is left is in order, holds each value once, and leaves none out."""
    left = call("States.ArrayUnique($.items)", {"items": items})
    assert call("States.ArrayUnique($.items)", {"items": left}) == left
    assert all(call("States.ArrayContains($.left, $.item)", {"left": left, "item": item}) for item in items)
    positions = [next(index for index, item in enumerate(items) if item is kept) for kept in left]
    assert positions == sorted(positions)
