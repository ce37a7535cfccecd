"""Paths: what they find, what they never copy, and what is no path."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.paths import PathError, compile_path, compile_reference_path
from perdure.engine.language.values import MISSING
from tests.engine.language.worlds import env

DATA = {
    "a": {"b": [10, {"c d": "deep"}]},
    "delivery-partner": "ups",
    "@type": "Order",
    "it's": 1,
    "back\\slash": 2,
    "😀": 3,
    "null": None,
    "text": "abc",
    "items": [
        {"n": 1, "s": "it", "in": {"x": [1, 2]}},
        {"n": 2, "flag": True, "s": "x"},
        {"n": "1"},
    ],
    "w": {"p": 1, "q": 2, "r": 3},
    "limit": 1,
}
CONTEXT = {"Execution": {"Id": "e-1", "Input": {"list": [1, 2]}}, "State": {"Name": "S"}}


def find(text, value=None):
    return compile_path(text).find(DATA if value is None else value, env(context=CONTEXT))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$.a.b[0]", 10),
        ("$.a.b[1]['c d']", "deep"),
        ("$.a.b[-1]['c d']", "deep"),
        ('$["a"]["b"][0]', 10),
        ("$['a'].b[ 0 ]", 10),
        ("$.a.['b'][0]", 10),
        ("$.delivery-partner", "ups"),
        ("$.@type", "Order"),
        (r"$['it\'s']", 1),
        (r"$['back\\slash']", 2),
        (r"$['\uD83D\uDE00']", 3),
        ("$.😀", 3),
        ("$.null", None),
        ("$$.Execution.Id", "e-1"),
        ("$.a.b[0] ", 10),
        ("$$.Execution.Id\t\n", "e-1"),
        ("$$.Execution.Input.list[1]", 2),
        ("$$['State'].Name", "S"),
    ],
)
def test_a_reference_path_finds_the_value_at_its_place(text, found):
    """Names, indexes, quotes, escapes and the context object lead to one place."""
    assert find(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "$.b",
        "$.a.c",
        "$.a.b[2]",
        "$.a.b[-3]",
        "$.a[0]",
        "$.a.b.c",
        "$.text[0]",
        "$.text.x",
        "$.null.x",
        "$$.Task.Token",
        "$['a']['x']",
    ],
)
def test_a_reference_path_that_leads_nowhere_misses(text):
    """A name is looked up in objects only, an index in arrays only: a string has no items."""
    assert find(text) is MISSING


def test_a_reference_path_gives_the_very_object():
    """What a path finds is never a copy."""
    assert find("$") is DATA
    assert find("$.a.b") is DATA["a"]["b"]
    assert find("$$") is CONTEXT


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$.items[*].n", [1, 2, "1"]),
        ("$.items.[*].n", [1, 2, "1"]),
        ("$.items[1:].n", [2, "1"]),
        ("$.items[:1].n", [1]),
        ("$.items[-1:].n", ["1"]),
        ("$.items[::-1].n", ["1", 2, 1]),
        ("$.items[0,1].n", [1, 2]),
        ("$.items[*]['n','s']", [1, "it", 2, "x", "1"]),
        ("$.w.*", [1, 2, 3]),
        ("$.w[*]", [1, 2, 3]),
        ("$..x", [[1, 2]]),
        ("$..x[0]", [1]),
        ("$.items[?(@.n == 1)].s", ["it"]),
        ("$.items[?@.n == 1].s", ["it"]),
        ("$.items[?(@.n > $.limit)].s", ["x"]),
        ("$.items[?(@.s == 'it')].n", [1]),
        ("$.items[?(@.s != 'it' && @.flag)].n", [2]),
        ("$.items[?(@.s==it)].n", [1]),
        ("$.items[?(@.s != it && @.flag == true )].n ", [2]),
        ("$.items[?(@.s == '@.s==it)' || @.n == 2)].n", [2]),
        ("$.items[?@.s==it].n", [1]),
        ("$.items[?(@.s == null)].n", []),
        ("$.items[?(!@.flag)].n", [1, "1"]),
        ("$.items[?(@.flag == 1)].n", []),
        ("$.items[?(@.n in [1, 'x'])].s", ["it"]),
        ("$.items[?(@['n'] == 2 || @.in.x[1] == 2)].n", [1, 2]),
        ("$.nothing[*]", []),
        ("$.nothing[0:2].x", []),
        ("$.nothing[?(@.x)]", []),
        ("$.text[*]", []),
        ("$.text[0:2]", []),
        ("$.@type[*]", []),
        ("$$.Execution.Input.list[*]", [1, 2]),
    ],
)
def test_a_path_that_can_match_several_places_gives_the_list_of_matches(text, found):
    """Wildcards, slices, unions, descent and filters give a list, empty where nothing matches."""
    assert find(text) == found


def test_names_in_one_last_bracket_give_an_object():
    """AWS gives the members of one object that a bracket lists as an object, not as a list."""
    assert find("$.w['p','r','none']") == {"p": 1, "r": 3}
    assert find("$.nothing['p','r']") is MISSING


def test_a_text_that_looks_like_json_is_not_read_as_json():
    """A string is a value without members, whatever it says."""
    assert find("$[*]", "[1, 2]") == []
    assert find("$..a", '{"a": 1}') == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$v", {"a": [1, {"b c": 2}]}),
        ("$v.a[1]['b c']", 2),
        ("$v.a[*]", [1, {"b c": 2}]),
        ("$v['a'][0]", 1),
        ("$größe_1", 3),
        ("$nothing", MISSING),
        ("$nothing[*]", MISSING),
        ("$v.none", MISSING),
    ],
)
def test_a_path_may_start_from_a_variable(text, found):
    """Whatever the value is, the variable is looked up, and walked like any other value."""
    variables = {"v": {"a": [1, {"b c": 2}]}, "größe_1": 3}
    assert compile_path(text).find(DATA, env(variables=variables)) == found


def test_a_path_from_its_value_never_looks_at_the_environment():
    """An execution pays for the context and the variables only where a path names them."""
    for text in ("$", "$.a.b", "$.a.b[0]", "$.items[*].n"):
        compile_path(text).find(DATA, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "starts with $"),
        ("a.b", "starts with $"),
        ("$states.input", "in JSONata only"),
        ("$1a", "not a path"),
        ("$" + "v" * 81, "cannot be the name of a variable"),
        ("$a²", "cannot be the name of a variable"),
        ("$.", "not a path"),
        ("$.a.", "not a path"),
        ("$..", "not a path"),
        ("$.a[", "not a path"),
        ("$.a[*", "not a path"),
        ("$.a b", "not a path"),
        ("$. a", "not a path"),
        ("$.a .b", "blanks"),
        (" $.a", "starts with $"),
        ("$.items[?(@.s == it is)]", "not a path"),
        ("$.items[?(@.s == 'it)]", "not a path"),
        ("$.a[(@.length-1)]", "not a path"),
        ("$.a.length()", "not a path"),
        ("$.a | $.b", "not a path"),
        ("$.a[*] | $.b[*]", "not a path"),
        ("$.a[*]~", "not a path"),
        ("$.a[~]", "not supported"),
        ("$.a[$.b]", "not supported"),
        ("$.a[?(@.s =~ /a+/)]", "not a path"),
        ("$.a[?match(@.s, 'a')]", "not a path"),
        ("$.a[?(@..x)]", "must name one place"),
        ("$.a[?(@ in $.b)]", "not a path"),
        ("$.a[?($.a == $.b)]", "not a path"),
        ("$.a[?(@.x contains $.b)]", "not a path"),
        ("$.a[?(_.x == 1)]", "not a path"),
        ("$.a[0:1:0]", "cannot be 0"),
        ("$[1e400]", "not a path"),
        ("$[?(@ == 1e400)]", "not a path"),
        ("$[?(" + "!" * 900 + "@)]", "not a path"),
        ("$." + "a" * 1100, "at most 1024 characters"),
        ("$" + ".a" * 65, "at most 64 steps"),
        (r"$['\uD83D']", "surrogate"),
        ("$$$.a", "not a path"),
    ],
)
def test_what_is_no_path_is_refused_with_the_reason(text, reason):
    """A text without meaning, or that could take long, does not compile."""
    with pytest.raises(PathError, match=r"^[^\n]+$") as refusal:
        compile_path(text)
    assert reason in str(refusal.value)


def test_a_reference_path_must_name_one_place():
    """Where one place is needed, a path that can match several is refused."""
    with pytest.raises(PathError, match="reference path"):
        compile_reference_path("$.a[*]")


@pytest.mark.parametrize(
    "text",
    [
        "$..*",
        "$..*..*..*",
        "$.*[*]",
        "$[*][?(@ == 1 || @ == 2 || @ == 3 || @ == 4)]",
        "$" + "[*,*]" * 200,
        "$..*" + ".*" * 60,
    ],
)
def test_no_path_takes_long(text):
    """A quarter of a megabyte with one very long name and very many values is walked, or given up, soon."""
    deep: Any = 1
    for _ in range(60):
        deep = {"n": deep, "m": [1] * 1000}
    value = {"k" * 100_000: [1] * 75_000, "deep": deep}
    path = compile_path(text)
    started = time.perf_counter()
    try:
        path.find(value, env(context=CONTEXT))
    except StatesError as error:
        assert error.error == "States.Runtime"  # noqa: PT017  # giving up is one of two right outcomes
    assert time.perf_counter() - started < 10


@given(st.text(alphabet="$.[]*?@()'\"\\ab01:,-! =&|<>~^#_/", max_size=40))
def test_any_text_compiles_or_is_refused(text):
    """Whatever stands where a path should stand, it is a path or a PathError, and finds or misses."""
    try:
        path = compile_path("$" + text)
    except PathError:
        return
    path.find(DATA, env(context=CONTEXT))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(JSON, st.data())
def test_the_path_to_any_place_finds_it(value, data):
    """A path made of the names and indexes on the way to a value finds that very value."""
    text, place = "$", value
    while isinstance(place, (dict, list)) and place:
        if isinstance(place, dict):
            name = data.draw(st.sampled_from(sorted(place)))
            quoted = name.replace("\\", "\\\\").replace("'", "\\'")
            text, place = f"{text}['{quoted}']", place[name]
        else:
            index = data.draw(st.integers(0, len(place) - 1))
            text, place = f"{text}[{index}]", place[index]
    assert compile_path(text).find(value, env()) is place
