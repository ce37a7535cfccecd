"""JSONata as text: where jlens would read it otherwise than it should, and integers that no double holds."""

import itertools
import time

import jlens
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language import StatesError
from perdure.engine.language.evaluate.jsonata.compile import compile_jsonata
from perdure.engine.language.evaluate.jsonata.text import readable, tokens
from tests.engine.language.evaluation_contexts import env

BIG = 2**53 + 1
HUGE = 10**400


def evaluate(source, value=None):
    return compile_jsonata(f"{{% {source} %}}").evaluate(None, env(value))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("$match('ab', (/b/)).index", 1),
        ("[/b/][0]('ab').match", "b"),
        ("( /* why */ /b\\/(c)/i )('aB/C').groups", ["C"]),
        ("{'a': true ? 'x' : /b/}.a", "x"),
        ("$count(($split('a\"b', /\"/)))", 2),
        ("$split('a/b', ('/'))", ["a", "b"]),
        ("(6/2)", 3),
        ("[8/2/2]", [2]),
        ("$states.input.*/2", 2),
        ("$contains('a]b', ( /[\\]]/ ))", True),
    ],
)
def test_a_pattern_may_stand_wherever_an_operand_may(source, found):
    """Right after an opening parenthesis or bracket as well; a division is none."""
    assert evaluate(source, {"n": 4}) == found


@pytest.mark.parametrize(
    "source",
    [
        "1/0",
        "0/0",
        "-1/0",
        "5 % 0",
        "{'a': 0/0}",
        "0/0 > 1",
        "[1 / $states.input.zero]",
        "1 / -0",
        "1 / (2 - 2)",
        "1/0.0",
    ],
)
def test_a_division_by_zero_fails(source):
    """JSON has neither infinity nor what is no number; null would be another value without a word."""
    with pytest.raises(StatesError, match="Division by zero") as failure:
        evaluate(source, {"zero": 0})
    assert failure.value.error == "States.QueryEvaluationError"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("12 / 2 * 3", 18),
        ("12 / (2 * 3)", 2),
        ("100 / 5 / 2", 10),
        ("7 % 4 / 2", 1.5),
        ("12 / $states.input.list[0].n", 6),
        ("12 / $sum($states.input.list.n)", 2.4),
        ("12 / -2", -6),
        ("$states.input.list.(6 / n)", [3, 2]),
        ("$states.input.list.n.%.n", [2, 3]),
        ("12 / $count($states.input.list[n > 6 / 3])", 12),
    ],
)
def test_every_other_division_is_what_it_was(source, found):
    """Its operands bind as they did, and the sign of a parent or a wildcard is none."""
    assert evaluate(source, {"list": [{"n": 2}, {"n": 3}]}) == found


RANGES = [
    ("[1..$states.input.n]", [1, 2, 3]),
    ("[0, 1..$states.input.n, 9, -2..-$states.input.n + 2]", [0, 1, 2, 3, 9, -2, -1]),
    ("[[1..$states.input.n], 3]", [[1, 2, 3], 3]),
    ("[$states.input.n..$states.input.n]", [3]),
    ("[$states.input.n..1]", []),
    ("[$states.input.none..3]", []),
    ("[1..$states.input.none]", []),
    ("[1..$count([1..$states.input.n])]", [1, 2, 3]),
    ("[1..$states.input.n].($ * 2)", [2, 4, 6]),
    ("[1..$states.input.n][1]", 2),
    ("$states.input.list.[n..3]", [[2, 3], [3]]),
    ("$map([1..$states.input.n], function($i) {[$i..3]})", [[1, 2, 3], [2, 3], [3]]),
    ("$states.input.list[[0..$states.input.n]].n", [2, 3]),
    ("{'a': [1..6 / $states.input.n]}", {"a": [1, 2]}),
    ("[3/$states.input.n..6/$states.input.n]", [1, 2]),
    ("[ /* no .. */ 1 .. ($a := 2; $a), '..']", [1, 2, ".."]),
    ("($error := 1; $type := 2; [$type..$states.input.n])", [2, 3]),
    ("$count([1..1001])", 1001),
    ("$count([99900001..100000000])", 100_000),
]


@pytest.mark.parametrize(("source", "found"), RANGES)
def test_a_range_is_what_it_was(source, found):
    """Wherever it stands, whatever its ends are, it gives what jlens makes of it as it is written."""
    value = {"n": 3, "list": [{"n": 2}, {"n": 3}]}
    assert evaluate(source, value) == found
    assert jlens.Expression(source).evaluate(None, {"states": {"input": value}}) == found


@pytest.mark.parametrize("ends", ["null..2", "'a'..2", "1..'b'", "1..null", "1.5..2", "1..$abs(2.5)", "1..1e9"])
def test_a_range_that_is_none_fails_as_it_did(ends):
    """The error is JSONata's own."""
    with pytest.raises(jlens.JlensError) as told:
        jlens.Expression(f"[{ends}]").evaluate()
    with pytest.raises(StatesError, match=f"{told.value.code}: "):
        evaluate(f"[{ends}]")


@pytest.mark.parametrize("source", ["$x[1..3]", "$x[1..$n]", "[1..]", "[..2]", "[1..2..3]", "1..2", "(1..2)", "{1..2}"])
def test_what_is_no_range_is_no_expression(source):
    """Neither end may be missing, and only an array is made of ranges."""
    with pytest.raises(ValueError, match="not a JSONata expression"):
        compile_jsonata(f"{{% {source} %}}")


@pytest.mark.parametrize("source", ["[1..10000000]", "[$abs(1)..9e6]", "$count([0, 1..1e6][0])", "[1..100001]"])
def test_a_range_that_is_too_long_is_never_made(source):
    """It would be made first otherwise: half a second, and hundreds of megabytes."""
    assert "$_range(" in readable(source)
    started = time.process_time()
    for _ in range(20):
        with pytest.raises(StatesError, match="An array would exceed the size limit of 100000 items"):
            evaluate(source)
    assert time.process_time() - started < 0.4


def test_nothing_divided_gives_nothing():
    """As JSONata has it."""
    assert evaluate("$exists(1 / $states.input.none)", {}) is False


def test_the_distinct_of_null_is_null():
    """Null is a value; what is undefined stays so."""
    assert evaluate("$distinct(null)") is None
    assert evaluate("$exists($distinct($states.input.none))", {}) is False
    assert evaluate("[1, 1, null, null] ~> $distinct") == [1, None]


@pytest.mark.parametrize("integer", [BIG, -BIG, 2**63 + 1, HUGE, -HUGE])
def test_an_integer_that_no_double_holds_is_copied_exactly(integer):
    """Through the commonest ways to copy; a literal one too."""
    value = {"id": integer, "list": [{"id": integer, "n": 1}, {"id": integer - 1, "n": 2}]}
    assert evaluate("$states.input", value) == value
    assert evaluate("$merge([$states.input, {'x': 1}])", value) == {**value, "x": 1}
    assert evaluate("{'id': $states.input.id, 'n': $states.input.list[1].n + 1}", value) == {"id": integer, "n": 3}
    assert evaluate("$distinct($states.input.list.id)", value) == [integer, integer - 1]
    assert evaluate(f"[{integer}]") == [integer]


@pytest.mark.parametrize("integer", [BIG, -BIG, 2**63 + 1])
def test_an_integer_that_no_double_holds_is_compared_exactly(integer):
    """With its neighbours, in a predicate, and with a literal."""
    value = {"id": integer, "list": [{"id": integer - 1, "n": 1}, {"id": integer, "n": 2}]}
    assert evaluate("$states.input.list[id = $states.input.id].n", value) == 2
    assert evaluate(f"$states.input.id = {integer}", value) is True
    assert evaluate(f"$states.input.id != {integer - 1}", value) is True
    assert evaluate(f"$states.input.id in [{integer - 1}, {integer}]", value) is True


@pytest.mark.parametrize(
    "source",
    [
        "$states.input + 1",
        "-$states.input",
        "$sum([$states.input])",
        "$string($states.input)",
        "'a' & $states.input",
        "$states.input > 5",
        "[$states.input, 1]^($)",
        "$type($states.input)",
        "$sort([$states.input])",
        "$floor($states.input / 2)",
        "{'a': $states.input}.a.$length()",
    ],
)
def test_computing_with_such_an_integer_fails_and_says_why(source):
    """It is never another number without a word."""
    with pytest.raises(StatesError, match=f"cannot hold the integer {BIG} exactly"):
        evaluate(source, BIG)


@pytest.mark.parametrize("source", [f"$number('{BIG}')", f"$parse('[{BIG}]')", f"'{BIG}' ~> $number"])
def test_a_text_is_not_read_as_another_integer(source):
    """Neither $number nor $parse rounds."""
    with pytest.raises(StatesError, match=f"cannot hold the integer {BIG} exactly"):
        evaluate(source)


def test_reading_numbers_goes_on_as_it_did():
    """What a double holds, and fractions, whatever their digits."""
    assert evaluate("['5', '0.1', '9007199254740992', '1e3'].$number()") == [5, 0.1, 2**53, 1000]
    assert evaluate("$map(['7'], $number)") == 7
    assert evaluate("$exists($number($states.input.none))", {}) is False
    assert evaluate("$states.input", [2**60, 1e300, "9" * 30]) == [2**60, 1e300, "9" * 30]


@given(st.one_of(st.text(max_size=80), st.text("$ab()[]{}%+-*/'\"\\12.:;,?<>=~^|&@#`! ", max_size=60)))
def test_every_text_has_tokens(source):
    """They follow each other; rewriting ends, and puts in parentheses only."""
    found = list(tokens(source))
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert all(source[token.start : token.end] == token.text for token in found)
    assert len(readable(source)) >= len(source)
