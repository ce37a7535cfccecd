"""JSONata: what an expression sees, gives and may cost, and in which words it fails."""

import hashlib
import json
import threading
import time
from typing import Any

import jlens
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.jsonata import compile as jsonata
from perdure.engine.language.evaluate.jsonata.compile import TEXT_MAX, compile_jsonata, expect, is_jsonata
from perdure.engine.language.parse.jsonata_fields import compile_jsonata_field, compile_jsonata_template, field_of
from perdure.engine.language.parse.tables import FieldScope
from perdure.engine.language.values import MISSING
from tests.present import present


class World:
    """An execution with two variables, whose chance is a hash of how often it was asked."""

    now_ms = 1_700_000_000_123
    expression_timeout_s = None

    def __init__(self):
        self.asked = []

    def context(self):
        self.asked.append("context")
        return {"Execution": {"Id": "e-1"}}

    def variable(self, name):
        self.asked.append(name)
        return {"rate": 2, "nothing": None, "ünï": "code", "max": 5}.get(name, MISSING)

    def random_bytes(self, count):
        self.asked.append(count)
        return hashlib.sha256(str(len(self.asked)).encode()).digest()[:count]


INPUT = {"items": [{"price": 1.5}, {"price": 2}], "name": "Ada", "none": None, "one": [1]}


def no_machine(*_):
    """None of these fields holds a machine."""
    raise AssertionError


def scope(diagnostics=None, **parts):
    """What a field is told of the state around it."""
    diagnostics = diagnostics or Diagnostics()
    return FieldScope(diagnostics=diagnostics, names=frozenset(), parse_nested=no_machine, language="JSONata", **parts)


def within(env, parts):
    """The environment with a result, or what was caught."""
    for name, part in parts.items():
        setattr(env, name, part)
    return env


def evaluate(source, field="Output", world=None, given=INPUT, **environment):
    return compile_jsonata(f"{{% {source} %}}", field).evaluate(
        None, within(Environment(world or World(), given), environment)
    )


def cause_of(source, field="Output", **environment):
    with pytest.raises(StatesError) as failure:
        evaluate(source, field, **environment)
    assert failure.value.error == "States.QueryEvaluationError"
    return failure.value.cause


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("{% 1 %}", True),
        ("{%1%}", True),
        ("{%%}", True),
        ("{%}", False),
        (" {% states.input %} ", False),
        ("{% 1", False),
        ("1 %}", False),
        ("$states.input", False),
        (["{% 1 %}"], False),
        (None, False),
    ],
)
def test_an_expression_is_a_text_in_its_brackets(value, is_one):
    """Blanks around the brackets make it a text like any other."""
    assert is_jsonata(value) is is_one


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("$states.input.name", "Ada"),
        ("$states.input", INPUT),
        ("$states.input.none", None),
        ("$states.input.one", [1]),
        ("$sum($states.input.items.price) * $rate", 7),
        ("$states.context.Execution.Id", "e-1"),
        ("$lookup($states, 'input').name", "Ada"),
        ("($s := $states; $s.context.Execution.Id)", "e-1"),
        ("$nothing", None),
        ("$ünï", "code"),
        ("$max", 5),
        ("$length($string($reduce([1..64], function($a, $b){{'a': $a}}, 1)))", 385),
        ("$variable := 1", 1),
        ("null", None),
        ("3.0", 3),
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", 9007199254740993),
        ("1e21", 1e21),
        ("'string'", "string"),
        ("{'foo': 'bar'}", {"foo": "bar"}),
        ("[1, 'two', 3]", [1, "two", 3]),
        (r"$contains('hello$world', /^hello\$/)", True),
        (r"$contains('hello$world', /^hello\ /)", False),
        ("$exists($states.result)", False),
        ("$exists($states.errorOutput)", False),
        ("$now()", "2023-11-14T22:13:20.123Z"),
        ("$millis()", 1_700_000_000_123),
    ],
)
def test_an_expression_gives_its_value(source, result):
    """The states object, the variables, the instant of the decision, literals and numbers."""
    found = evaluate(source)
    assert found == result
    assert json.dumps(found) == json.dumps(result)


def test_the_result_and_the_error_output_are_there_where_there_is_one():
    """$states has a member for them only then, and null is one."""
    assert evaluate("$states.result", result=None) is None
    assert evaluate("$states.errorOutput.Error", error_output={"Error": "E"}) == "E"
    assert evaluate("$states", result=[1]) == {"input": INPUT, "result": [1], "context": {"Execution": {"Id": "e-1"}}}


def test_only_what_is_read_is_asked_for():
    """The context object, the variables and chance cost nothing where they are not read."""
    world = World()
    evaluate("$states.input.name & 'x'", world=world)
    assert world.asked == []
    evaluate("$rate & $states.context.Execution.Id", world=world)
    assert sorted(world.asked) == ["context", "rate"]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("$partition([1,2,3,4], 2)", [[1, 2], [3, 4]]),
        ("$partition([0,1,2], 2)", [[0, 1], [2]]),
        ("$partition([0], 5)", [[0]]),
        ("$partition([1,2,3], 1.9)", [[1], [2], [3]]),
        ("$range(0, 9, 3)", [0, 3, 6, 9]),
        ("$range(0, 10, 3)", [0, 3, 6, 9]),
        ("$range(1, 9, 9)", 1),
        ("$range(4, 0, -2)", [4, 2, 0]),
        ("$range(1, 0, 1)", []),
        ("$hash('input', 'SHA-1')", "140f86aae51ab9e1cda9b4254fe98a74eb54c1a1"),
        ("$random(42)", 0.7275636800328681),
        ('$parse("{\\"a\\":1}").a', 1),
        ("$parse('-0')", 0),
        ("$parse('null')", None),
        ("$parse('[[1]]')", [[1]]),
        ("$parse('[]')", []),
        ("$map(['1','2'], $parse)", [1, 2]),
        ("$distinct([1, 1.0, true, '1', null, null])", [1, True, "1", None]),
        ("$distinct([3])", [3]),
        ("$distinct($nope) = 1", False),
        ("$partition($nope, 2) = 1", False),
        ("$distinct(3)", 3),
        ("$keys([{'a': 1}, {'b': 2, 'a': 3}])", ["a", "b"]),
        ("$keys({'a': 1})", "a"),
    ],
)
def test_the_functions_that_aws_has_added_and_those_that_we_replace(source, result):
    """As recorded, as documented, and as JSONata's own."""
    found = evaluate(source)
    assert json.dumps(found) == json.dumps(result)


def test_chance_comes_from_the_world_alone():
    """The same world gives the same, each draw another, and all have the right form."""
    source = "[$uuid(), $uuid(), $random(), $random(), $shuffle([1..9])]"
    first = evaluate(source)
    assert first == evaluate(source)
    assert first[0] != first[1]
    assert first[0][14] == "4"
    assert 0 <= first[2] < 1
    assert first[2] != first[3]
    assert sorted(first[4:]) == list(range(1, 10))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("$doesNotExist", "returned nothing (undefined)."),
        ("$states.input.missing", "returned nothing (undefined)."),
        ("states.input", "returned nothing (undefined)."),
        ("$", "returned nothing (undefined)."),
        ("$partition([], 2)", "returned nothing (undefined)."),
        ("$fn := function($x){$x}", "returned an unsupported result type."),
        ("$parse", "returned an unsupported result type."),
        ("1 + 'a'", "threw an error during evaluation. T2002: The right side of the"),
        ("$error('boom')", "threw an error during evaluation. D3137: boom"),
        ("$nope()", "threw an error during evaluation. T1006: "),
        (
            "$eval('1+1')",
            "threw an error during evaluation: The function $eval had the following error: it is not supported",
        ),
        (
            "'1' ~> $eval",
            "threw an error during evaluation: The function $eval had the following error: it is not supported",
        ),
        ("$hash('a')", "threw an error during evaluation: The function $hash takes 2 arguments, not 1"),
        ("$uuid(1)", "threw an error during evaluation: The function $uuid takes 0 arguments, not 1"),
        ("$partition([1], 'a')", "the size of a part must be a number"),
        ("$parse('  ')", "returned nothing (undefined)."),
        ("$parse()", "returned nothing (undefined)."),
        ("$random('a')", "the seed must be a number"),
        ("$range(0, 1, 0)", "the step must not be 0"),
        ("$partition([1], 0)", "at least 1"),
        ("$reduce([1..65], function($a, $b){{'a': $a}}, 1)", "returned a value of more than 64 levels."),
        ("$parse('nope')", "The function $parse had the following error: the argument must be JSON"),
        ("$parse('1' & $pad('', 400, '0'))", "0… exactly"),
    ],
)
def test_what_fails_fails_in_the_words_of_aws(source, words):
    """The cause names the expression and the field; the recorded ones are word for word."""
    cause = cause_of(source, "Assign/x")
    assert cause.startswith(f"The JSONata expression '{source}' specified for the field 'Assign/x' ")
    assert words in cause


def test_a_cause_is_short():
    """An expression and a message are cut: a cause must not repeat a megabyte."""
    assert len(cause_of("$error($pad('x', 90000))" + " " * 5000 + "/* " + "y" * 50_000 + " */")) < 5000


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("{% null %}", "array", "Expected 'array', but was 'null' for value: null"),
        ("{% true %}", "array", "Expected 'array', but was 'boolean' for value: true"),
        ("{% 1 %}", "array", "Expected 'array', but was 'number' for value: 1"),
        ("{% 'string' %}", "array", "Expected 'array', but was 'string' for value: \"string\""),
        ("{% {'foo': 'bar'} %}", "array", "Expected 'array', but was 'object' for value: {\"foo\":\"bar\"}"),
        ("{% [0] %}", "object", "Expected 'object', but was 'array' for value: [0]"),
        ("{% 1.5 %}", "integer", "Expected 'integer', but was 'number' for value: 1.5"),
        ("{% true %}", "integer", "Expected 'integer', but was 'boolean' for value: true"),
    ],
)
def test_an_expression_of_the_wrong_kind_fails_as_recorded(text, kind, words):
    """The cause says what was expected, what came, and its value."""
    expression = expect(compile_jsonata(text, "Items"), kind, "Items")
    with pytest.raises(StatesError) as failure:
        expression.evaluate(None, Environment(World(), INPUT))
    source = text[2:-2].strip()
    head = f"The JSONata expression '{source}' specified for the field 'Items' returned an unexpected result type. "
    assert (failure.value.error, failure.value.cause) == ("States.QueryEvaluationError", head + words)


@pytest.mark.parametrize(
    ("source", "kind"),
    [("[1]", "array"), ("true", "boolean"), ("3.0", "integer"), ("3", "number"), ("1.5", "number"), ("'a'", "string")],
)
def test_an_expression_of_the_right_kind_passes(source, kind):
    """It gives what it gave without the demand."""
    expression = compile_jsonata(f"{{% {source} %}}")
    environment = Environment(World(), INPUT)
    assert expect(expression, kind, "Items").evaluate(None, environment) == expression.evaluate(None, environment)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$states.input", "starts with {% and ends with %}"),
        ("{% 1 + %}", "Unexpected end of expression (S0207)"),
        ("{%%}", "Unexpected end of expression"),
        ("{% $f( %}", "not a JSONata expression"),
        ("{% /* %}", "not a JSONata expression"),
        ("{% \ud800 %}", "half of a surrogate pair"),
        ("{% " + "(" * 5_000 + " %}", "nested too deeply"),
        ("{% " + "1+" * 5_000 + "1 %}", "nested too deeply"),
        ("{%" + " " * TEXT_MAX + "%}", "at most 100000 characters"),
    ],
)
def test_what_is_no_expression_is_refused_when_it_is_compiled(text, reason):
    """A ValueError says what is wrong in one sentence."""
    with pytest.raises(ValueError, match="JSONata") as refusal:
        compile_jsonata(text)
    assert reason in str(refusal.value)


def pointer(*keys):
    at = JsonPointer()
    for key in keys:
        at = at / key
    return at


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        (("States", "A", "Output"), "Output"),
        (("States", "A", "Output", "a", "b", 0), "Output/a/b[0]"),
        (("States", "A", "Choices", 1, "Condition"), "Choices[1]/Condition"),
        (("States", "M", "ItemProcessor", "States", "P", "Assign", "x"), "Assign/x"),
        (("States", "P", "Branches", 2, "States", "Q", "Seconds"), "Seconds"),
        (("States", "A", "Output", "States", "deep", "x"), "Output/States/deep/x"),
        (("Output", "v"), "Output/v"),
        ((), ""),
    ],
)
def test_a_cause_names_the_field_from_its_state_on(keys, field):
    """The innermost state counts, and what only looks like one does not."""
    assert field_of(pointer(*keys)) == field


def test_a_template_evaluates_the_texts_that_are_expressions():
    """Everything else stands for itself, also what would be dynamic in JSONPath; a part that is static is shared."""
    source = {
        "who": "{% $states.input.name %}",
        "list": [1, "{% $rate %}", {"deep": "{% null %}"}],
        "text": " {% states.input %} ",
        "path.$": "$",
        "{% 1 %}": "key",
        "static": {"a": [True]},
    }
    before = json.dumps(source)
    diagnostics = Diagnostics()
    expression = present(compile_jsonata_template(source, pointer("States", "A", "Output"), scope(diagnostics)))
    found = expression.evaluate(None, Environment(World(), INPUT))
    assert found == {**source, "who": "Ada", "list": [1, 2, {"deep": None}]}
    assert list(found) == list(source)
    assert found["static"] is source["static"]
    assert json.dumps(source) == before
    assert not diagnostics.problems


def test_a_template_may_be_one_expression_or_none():
    """Any JSON is a template; one without expressions gives itself."""
    diagnostics = Diagnostics()
    environment = Environment(World(), INPUT)
    templates: list[tuple[Any, Any]] = [("{% [1] %}", [1]), ("plain", "plain"), (None, None), ([], []), (1.5, 1.5)]
    for source, found in templates:
        expression = present(compile_jsonata_template(source, pointer(), scope(diagnostics)))
        assert expression.evaluate(None, environment) == found


def test_a_template_tells_every_expression_that_is_wrong():
    """Each with its place; an open or unopened bracket is one."""
    diagnostics = Diagnostics()
    compile_jsonata_template({"a": ["{% 1 + %}", "{% 1"], "b": "1 %}"}, pointer("Output"), scope(diagnostics))
    assert [problem.path for problem in diagnostics.problems] == ["/Output/a/0", "/Output/a/1", "/Output/b"]


def test_an_expression_in_a_template_fails_under_its_own_field():
    """The cause names the member, not the template."""
    expression = present(
        compile_jsonata_template({"a": [1, "{% $no %}"]}, pointer("States", "A", "Arguments"), scope())
    )
    with pytest.raises(StatesError, match=r"for the field 'Arguments/a\[1\]' returned nothing \(undefined\)\."):
        expression.evaluate(None, Environment(World(), INPUT))


def test_a_field_tells_its_findings_or_demands_its_kind():
    """What is no expression is told; what is one gives its kind."""
    diagnostics = Diagnostics()
    assert compile_jsonata_field("{% + %}", pointer("Seconds"), scope(diagnostics)) is None
    assert [problem.path for problem in diagnostics.problems] == ["/Seconds"]
    expression = present(
        compile_jsonata_field("{% 'a' %}", pointer("States", "W", "Seconds"), scope(diagnostics), "number")
    )
    with pytest.raises(StatesError, match="for the field 'Seconds' returned an unexpected result type"):
        expression.evaluate(None, Environment(World(), INPUT))


HOSTILE = {
    "a pattern that backtracks": "$match('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!', /^(a+)+$/)",
    "a pattern over a long text": "$match($pad('', 90000), / /)",
    "a long range": "$count([1..9999999])",
    "a long $range": "$range(0, 1e300, 1)",
    "a long text": "$pad('x', 1000000000)",
    "a text that doubles": "$reduce([1..40], function($a, $b){$a & $a}, 'xx')",
    "an array that doubles": "$reduce([1..40], function($a, $b){$append($a, $a)}, [1, 2])",
    "an object that doubles": "$reduce([1..40], function($a, $b){{'a': $a, 'b': $a}}, {})",
    "deep recursion": "($f := function($n){$f($n + 1) + 1}; $f(0))",
    "endless recursion": "($f := function($n){$f($n + 1)}; $f(0))",
    "a loop in a loop": "$map([1..90000], function($v){$map([1..90000], function($w){$w})})",
    "a search in a search": "[1..90000][$ in [1..90000]]",
    "all distinct, again and again": "$map([1..1000], function($i){$distinct([1..90000])})",
    "a $range in a loop": "$map([1..1000], function($i){$range(1, 90000, 1)})",
    "a $uuid in a loop": "$map([1..100000], function($i){$map([1..2], function($j){$uuid()})})",
    "a hash in a loop": "$map([1..100000], function($i){$hash($pad('a', 10000), 'SHA-512')})",
    "deep JSON": "$parse($pad('[', 900000, '['))",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_expression_ends_soon_and_as_an_error(name):
    """Whatever it does, it fails within about a second (six, for a busy machine)."""
    started = time.perf_counter()
    cause_of(HOSTILE[name])
    assert time.perf_counter() - started < 6


def test_nothing_is_told_from_a_function_also_at_the_limit_of_depth():
    """To tell them apart takes some levels more; where there are none left, it is nothing."""
    causes = {
        cause_of(f"($f := function($n){{$n <= 0 ? $no : ($f($n - 1); $no)}}; $f({depth}))").partition("'Output' ")[2]
        for depth in range(60, 110)
    }
    assert any(cause.startswith("threw an error during evaluation: Stack overflow") for cause in causes)
    assert {cause for cause in causes if not cause.startswith("threw")} == {"returned nothing (undefined)."}


def test_the_work_of_our_functions_is_bounded_at_the_same_place_each_time(monkeypatch):
    """It is estimated, not measured: it ends them also where the clock does not."""
    monkeypatch.setattr(jsonata, "TIME_MAX_S", 60)
    for name in ("all distinct, again and again", "a $range in a loop", "a $uuid in a loop", "a hash in a loop"):
        assert "The functions of this expression have too much to do" in cause_of(HOSTILE[name])


def test_what_takes_quadratic_time_in_jsonata_does_not_here(monkeypatch):
    """The library cannot interrupt its own $distinct and $keys, which would take half a minute each."""
    monkeypatch.setattr(jsonata, "TIME_MAX_S", 60)
    started = time.perf_counter()
    assert evaluate("$count($distinct([1..60000]))") == 60_000
    assert evaluate("$count($keys([1..30000].{$string($): 1}))") == 30_000
    assert time.perf_counter() - started < 10


def test_an_evaluation_does_not_stop_other_threads():
    """The interpreter's lock is free while jlens works."""
    waits = []
    done = threading.Event()

    def watch():
        while not done.is_set():
            started = time.perf_counter()
            time.sleep(0.001)
            waits.append(time.perf_counter() - started)

    watcher = threading.Thread(target=watch)
    watcher.start()
    cause_of(HOSTILE["a pattern that backtracks"])
    done.set()
    watcher.join()
    assert len(waits) > 20
    assert max(waits) < 0.5


def test_the_limit_of_steps_is_met_at_the_same_place_each_time():
    """The limit that is meant to be met does not depend on the machine."""
    assert cause_of(HOSTILE["endless recursion"]) == cause_of(HOSTILE["endless recursion"])
    assert "budget of 1000000 steps" in cause_of(HOSTILE["endless recursion"])


def test_an_input_may_be_larger_than_what_an_expression_may_make():
    """The limits are on what is made."""
    assert evaluate("$count($states.input)", given=list(range(200_000))) == 200_000


def test_values_that_jsonata_cannot_take_fail_as_errors():
    """An integer beyond all doubles that is computed with, and a value of a thousand levels."""
    deep: list[Any] = []
    for _ in range(2_000):
        deep = [deep]
    assert "threw an error during evaluation" in cause_of("$states.input * 1", given=10**400)
    assert "threw an error during evaluation" in cause_of("$states.input", given=deep)


@given(st.one_of(st.text(), st.text("$states.input()[]{}%+-*/'\"12a:;,?<>=~^|&@#! ", max_size=40)))
def test_any_text_compiles_or_is_refused(text):
    """No text raises anything but ValueError when it is compiled, or QueryEvaluationError when it is evaluated."""
    try:
        expression = compile_jsonata(f"{{%{text}%}}")
    except ValueError:
        return
    try:
        json.dumps(expression.evaluate(None, Environment(World(), INPUT)))
    except StatesError as failure:
        assert failure.error == "States.QueryEvaluationError"  # noqa: PT017 it need not fail


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-(2.0**53), 2.0**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_a_value_comes_out_as_it_went_in(value):
    """What an expression reads and gives on is equal, integers exactly so."""
    assert evaluate("$states.input", given=value) == value
    assert evaluate("$states.input.a", given={"a": value, "b": 1}) == value


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(1, 5))
def test_the_parts_of_an_array_join_to_the_array(items, size):
    """$partition loses nothing and adds nothing."""
    parts = evaluate("$partition($states.input.items, $states.input.size)", given={"items": items, "size": size})
    assert [item for part in parts for item in part] == items


@given(st.lists(JSON, max_size=6))
def test_distinct_is_that_of_jsonata(items):
    """Our $distinct gives what JSONata's gives."""
    theirs = jlens.Expression("$distinct($x)").evaluate_json(None, {"x": items})
    ours = evaluate("{'r': $distinct($states.input.x)}", given={"x": items})
    assert ours["r"] == json.loads(present(theirs))
