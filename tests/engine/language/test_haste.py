"""Expressions while others wait: what is much at once is put off (`TooSlow`), and means the same where it is not."""

import time

import pytest

from perdure.engine.language import StatesError
from perdure.engine.language.errors import TooSlow
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.intrinsics import compile_intrinsic
from perdure.engine.language.evaluate.jsonata import compile as jsonata
from perdure.engine.language.evaluate.jsonata.compile import compile_jsonata
from perdure.engine.language.evaluate.jsonata.text import tokens, with_costly_pictures
from tests.engine.language.worlds import World


class Hasty(World):
    """An execution with others behind it, whose expressions have this long."""

    expression_timeout_s = 30.0


def evaluate(source, given=None, world=None):
    return compile_jsonata(f"{{% {source} %}}").evaluate(None, Environment(world or World(), given))


MUCH = {
    "$count($map([1..100], function($i){$pad('x', 900000)}))": None,
    "$fromMillis(1, $pad('[Y]', 900000, '[Y]'))": None,
    "$length($pad('x', 20000))": None,
    "$count([1..5000])": None,
    "$length($formatNumber(1, $pad('0', 15000, '0,')))": None,
    "$count($map([1..50], function($i){$toMillis('one', $states.input)}))": "[Dwo]" * 20,
    "$count($map([1..50], function($i){$toMillis('one', '[Dwo][Dwo][Dwo]')}))": None,
    "$count($map([1..100], function($i){$uppercase($states.input)}))": "a" * 40_000,
    "$count($distinct([1..3900].($ & 'x')) ~> $append($range(1, 30000, 1)))": None,
    "$hash($states.input, 'SHA-1')": "a" * 40_000,
}


@pytest.mark.parametrize(("source", "given"), MUCH.items(), ids=range(len(MUCH)))
def test_what_is_much_at_once_is_put_off(source, given):
    """A call of a function is one step to jlens, whatever it does, and it looks at the time only now and then."""
    started = time.process_time()
    with pytest.raises(TooSlow):
        evaluate(source, given, Hasty())
    assert time.process_time() - started < 1


LITTLE = [
    ("$pad('x', 5) & $fromMillis(0, '[Y0001]-[M01]')", None, "x    1970-01"),
    ("$formatNumber(1234.5, '#,##0.00')", None, "1,234.50"),
    ("$formatInteger(3, $states.input)", "w", "three"),
    ("$states.input.a.b", {"a": {"b": ["x" * 100_000]}}, ["x" * 100_000]),
]


@pytest.mark.parametrize(("source", "given", "result"), LITTLE)
def test_what_is_little_is_done_at_once(source, given, result):
    """Also if it hands on much that it only reads."""
    assert evaluate(source, given, Hasty()) == evaluate(source, given) == result


@pytest.mark.parametrize(
    "source",
    ["$formatNumber(1, $pad('0', 90000, '#,'))", "$toMillis('one', $pad('[Dwo]', 90000, '[Dwo]'))"],
)
def test_a_picture_costs_what_it_takes_where_nobody_waits_too(source, monkeypatch):
    """Jlens would take ten seconds for one call, and would not be interrupted."""
    monkeypatch.setattr(jsonata, "TIME_MAX_S", 60)
    with pytest.raises(StatesError, match="too much to do"):
        evaluate(source)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fromMillis", ["", "1", "1,{}", "1,{},'+0100'", "'x'", "1,1", "1,{},1,1"]),
        ("toMillis", ["", "'2020'", "'2020',{}", "1,{}", "'x',{}"]),
        ("formatNumber", ["1,{}", "1,{},{{'decimal-separator': ','}}", "'1',{}", "1"]),
        ("formatInteger", ["1,{}", "'1',{}", "1"]),
        ("parseInteger", ["'1',{}", "1,{}", "'1'"]),
    ],
)
def test_a_picture_that_is_made_means_what_one_that_is_written_does(name, arguments):
    """And what is refused is refused in the same words."""
    for each in arguments:
        for picture in ("[Y]", "0", "#,##0", "nonsense["):
            written = outcome(f"${name}({each.format(repr(picture))})")
            made = outcome(f"${name}({each.format(f'({picture!r} & $states.input)')})")
            through = outcome(f"(${name}({each.format(repr(picture))});$f := ${name};$f({each.format(repr(picture))}))")
            assert written == made == through


def outcome(source):
    try:
        return evaluate(source, "")
    except StatesError as error:
        return error.cause.rpartition("'")[2] if "Output" in error.cause else error.cause.partition("threw")[2]


@pytest.mark.parametrize(
    ("source", "costly"),
    [
        ("$fromMillis(1)", set()),
        ("$fromMillis($sum([1, 2]), '[Y]', $z)", set()),
        ("$fromMillis(1, $p)", {"fromMillis"}),
        ("$toMillis('1', '[Dw]')", {"toMillis"}),
        ("1 ~> $fromMillis('[Y]')", {"fromMillis"}),
        ("$map($x, $fromMillis)", {"fromMillis"}),
        ("$formatNumber(1, '0' & '0')", {"formatNumber"}),
        (f"$formatInteger(1, '{'0' * 65}')", {"formatInteger"}),
        ("$fromMillis(1, '0') & $parseInteger('1', $p", {"parseInteger"}),
    ],
)
def test_a_short_picture_that_is_written_costs_nothing(source, costly):
    """The function is JSONata's own then, as quick as ever."""
    assert with_costly_pictures(list(tokens(source))) == costly


def test_an_intrinsic_function_is_not_begun_when_there_is_no_time_left():
    """A template may have very many of them, each of which may be handed much."""
    expression = compile_intrinsic("States.JsonToString($)")
    assert expression.evaluate([1], Environment(Hasty(), [1])) == "[1]"
    hasty = Hasty()
    hasty.expression_timeout_s = 0.0
    with pytest.raises(TooSlow):
        expression.evaluate([1], Environment(hasty, [1]))
