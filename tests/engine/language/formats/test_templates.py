"""Templates: what each gives, which are refused and in which words, and that nothing else is ever raised."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.jsonata.compile import compile_jsonata, is_jsonata
from perdure.engine.language.formats.names import Names, keys_for
from perdure.engine.language.formats.templates import Templates, has_templates
from tests.engine.language.evaluation_contexts import env

INPUT: dict[str, Any] = {
    "name": "Ada",
    "n": 3,
    "zero": 0,
    "half": 0.5,
    "nothing": None,
    "yes": True,
    "no": False,
    "empty": "",
    "none": [],
    "blank": {},
    "tags": ["x"],
    "two": ["x", "y"],
    "matrix": [[1, 2], [3, 4]],
    "nested": [[1]],
    "items": [{"x": 1, "d": {"e": "f"}}, {"x": 2}],
    "one": [{"x": 1}],
    "odd name": {"k-1": 1, "in": 2, "and": 3},
    "key": "name",
    "orders": [{"price": 5, "qty": 2}, {"price": 1, "qty": 9}],
    "deep": {"a": {"b": {"c": "d"}}},
    "0": "zeroth",
    "now": "later",
    "ünï": "cöde",
    "quote": 'a "b"',
    "big": 2**53,
}
NAMES = Names(
    {"input": "$run_input", "now": "$now()", "runId": "$run_id", "item": "$item_1", "index": "$index_1"},
    {"send-invoice": "$step_0_send_invoice", "send": "$step_0_send", "a": "$step_0_a", "2fa": "$step_0_2fa"},
    {"rate": "$variable_rate", "odd-one": "$variable_odd_one"},
    has_credentials=True,
)
VARIABLES = {
    "run_input": INPUT,
    "run_id": "run-1",
    "item_1": {"q": 7},
    "index_1": 1,
    "step_0_a": {"status": 200, "output": {"deep": 1}, "body": [1, 2], "error": {"code": "X"}},
    "step_0_send_invoice": {"id": "i-1"},
    "step_0_send": 10,
    "step_0_2fa": "ok",
    "variable_rate": 2,
    "variable_odd_one": [1],
}


def compiled(value: Any, names: Names = NAMES) -> tuple[Any, list[str]]:
    """Give what a value compiles to, and the problems."""
    problems: list[str] = []
    templates = Templates(names, lambda _pointer, message: problems.append(message))
    return templates.value(value, JsonPointer()), problems


def evaluated(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: evaluated(member) for name, member in value.items()}
    if isinstance(value, list):
        return [evaluated(item) for item in value]
    return compile_jsonata(value).evaluate(None, env(variables=VARIABLES)) if is_jsonata(value) else value


GIVES: list[tuple[Any, Any]] = [
    # types are kept
    ("{{ input.name }}", "Ada"),
    ("{{input.n}}", 3),
    ("{{ input.zero }}", 0),
    ("{{ input.half }}", 0.5),
    ("{{ input.nothing }}", None),
    ("{{ input.yes }}", True),
    ("{{ input.no }}", False),
    ("{{ input.empty }}", ""),
    ("{{ input.none }}", []),
    ("{{ input.blank }}", {}),
    ("{{ input.tags }}", ["x"]),
    ("{{ input.two }}", ["x", "y"]),
    ("{{ input.matrix }}", [[1, 2], [3, 4]]),
    ("{{ input.nested }}", [[1]]),
    ("{{ input.items }}", INPUT["items"]),
    ("{{ input.one }}", [{"x": 1}]),
    ("{{ input.big }}", 2**53),
    ("{{ input }}", INPUT),
    ("{{ null }}", None),
    ("{{ true }}", True),
    ("{{ 12.5 }}", 12.5),
    ("{{ 'text' }}", "text"),
    ("{{ [1, 'a', null] }}", [1, "a", None]),
    ("{{ {'a': input.n} }}", {"a": 3}),
    ("{{ {a: {b: input.missing}} }}", {"a": {"b": None}}),
    ("{{ {'a': {'b': {'c': 1}}} }}", {"a": {"b": {"c": 1}}}),
    # paths
    ("{{ input.deep.a.b.c }}", "d"),
    ("{{ input.items.0.x }}", 1),
    ("{{ input.items[1].x }}", 2),
    ("{{ input.items[-1].x }}", 2),
    ("{{ input.items.0.d.e }}", "f"),
    ("{{ input.matrix.0 }}", [1, 2]),
    ("{{ input.matrix.0.1 }}", 2),
    ("{{ input.matrix[1][0] }}", 3),
    ("{{ input.nested.0 }}", [1]),
    ("{{ input.nested.0.0 }}", 1),
    ("{{ input.items.x }}", [1, 2]),
    ("{{ input?.deep?.a }}", {"b": {"c": "d"}}),
    ("{{ input?.gone?.a }}", None),
    ("{{ input.deep.a.* }}", {"c": "d"}),
    ("{{ input.deep.**.c }}", "d"),
    # odd names
    ("{{ input['odd name']['k-1'] }}", 1),
    ('{{ input["odd name"].in }}', 2),
    ("{{ input['odd name'].and }}", 3),
    ("{{ input.`odd name`.in }}", 2),
    ("{{ input['0'] }}", "zeroth"),
    ("{{ input.now }}", "later"),
    ("{{ input.ünï }}", "cöde"),
    ("{{ input['\\u00fcn\\u00ef'] }}", "cöde"),
    ("{{ input[input.key] }}", "Ada"),
    ("{{ input.items[index].x }}", 2),
    ("{{ input['name'] }}", "Ada"),
    ("{{ input.name['x'] }}", None),
    # what is missing is null
    ("{{ input.missing }}", None),
    ("{{ input.missing.more.still }}", None),
    ("{{ input.items.7.x }}", None),
    ("{{ input.nothing.a }}", None),
    ("{{ input.n.a }}", None),
    ("{{ input.missing + 1 }}", None),
    ("{{ input.missing > 1 }}", None),
    ("{{ $uppercase(input.missing) }}", None),
    ("{{ input.orders[price > 99] }}", None),
    # steps, variables, loops, the run
    ("{{ steps.a.output.status }}", 200),
    ("{{ steps.a.status }}", 200),
    ("{{ steps.a.output.output.deep }}", 1),
    ("{{ steps['a'].output.body.1 }}", 2),
    ("{{ steps['a']['output'].body[0] }}", 1),
    ("{{ steps.a.error.code }}", "X"),
    ("{{ steps.a }}", VARIABLES["step_0_a"]),
    ("{{ steps.a.output }}", VARIABLES["step_0_a"]),
    ("{{ steps['send-invoice'].output.id }}", "i-1"),
    ("{{ steps.send-invoice.output.id }}", "i-1"),
    ("{{ steps.send-invoice.id }}", "i-1"),
    ("{{ steps.send - 1 }}", 9),
    ("{{ steps.send.output - 1 }}", 9),
    ("{{ steps['2fa'] }}", "ok"),
    ("{{ steps.a.output.nope.x }}", None),
    ("{{ variables.rate * 2 }}", 4),
    ("{{ variables['odd-one'] }}", [1]),
    ("{{ variables.odd-one.0 }}", 1),
    ("{{ item.q }}", 7),
    ("{{ item }}", {"q": 7}),
    ("{{ index }}", 1),
    ("{{ index + 1 }}", 2),
    ("{{ runId }}", "run-1"),
    ("{{ now }}", "2024-01-01T00:00:00.000Z"),
    ("{{ $toMillis(now) }}", 1_704_067_200_000),
    # arithmetic
    ("{{ input.n + 1 }}", 4),
    ("{{ input.n - 1 }}", 2),
    ("{{ input.n-1 }}", 2),
    ("{{ input.n * 2 + 1 }}", 7),
    ("{{ 1 + input.n * 2 }}", 7),
    ("{{ (1 + input.n) * 2 }}", 8),
    ("{{ input.n / 2 }}", 1.5),
    ("{{ input.n % 2 }}", 1),
    ("{{ -input.n }}", -3),
    ("{{ 10 - 3 - 2 }}", 5),
    ("{{ 8 / 2 / 2 }}", 2),
    ("{{ 10 - (3 - 2) }}", 9),
    # comparison
    ("{{ input.n == 3 }}", True),
    ("{{ input.n === 3 }}", True),
    ("{{ input.n = 3 }}", True),
    ("{{ input.n !== 3 }}", False),
    ("{{ input.n != 4 }}", True),
    ("{{ input.n === '3' }}", False),
    ("{{ input.missing == null }}", True),
    ("{{ input.missing === null }}", True),
    ("{{ input.missing != null }}", False),
    ("{{ input.missing !== 'x' }}", True),
    ("{{ input.missing == input.nothing }}", True),
    ("{{ input.nothing == null }}", True),
    ("{{ input.zero == null }}", False),
    ("{{ input.n >= 3 }}", True),
    ("{{ input.n < 3 }}", False),
    ("{{ input.two == ['x', 'y'] }}", True),
    ("{{ 'x' in input.two }}", True),
    ("{{ input.n + 1 == 4 }}", True),
    # and, or, not, defaults
    ("{{ input.yes && input.n > 2 }}", True),
    ("{{ input.yes and input.no }}", False),
    ("{{ input.no or input.yes }}", True),
    ("{{ !input.yes }}", False),
    ("{{ !input.missing }}", True),
    ("{{ !input.none }}", True),
    ("{{ !(input.n == 3) }}", False),
    ("{{ !!input.n }}", True),
    ("{{ input.name || 'nobody' }}", "Ada"),
    ("{{ input.missing || 'nobody' }}", "nobody"),
    ("{{ input.nothing || 'nobody' }}", "nobody"),
    ("{{ input.zero || 1 }}", 1),
    ("{{ input.empty || 'e' }}", "e"),
    ("{{ input.zero ?? 1 }}", 0),
    ("{{ input.empty ?? 'e' }}", ""),
    ("{{ input.no ?? true }}", False),
    ("{{ input.nothing ?? 1 }}", 1),
    ("{{ input.missing ?? 1 }}", 1),
    ("{{ input.missing ?? input.nothing ?? 'last' }}", "last"),
    ("{{ input.missing || input.n == 3 }}", True),
    ("{{ input.n == 4 || input.name }}", "Ada"),
    ("{{ input.missing ?? input.n + 1 }}", 4),
    ("{{ (input.missing ?? 1) + 1 }}", 2),
    # ternaries
    ("{{ input.n > 2 ? 'big' : 'small' }}", "big"),
    ("{{ input.missing ? 'is' : 'is not' }}", "is not"),
    ("{{ input.no ? 1 : input.yes ? 2 : 3 }}", 2),
    ("{{ input.yes ? input.no ? 1 : 2 : 3 }}", 2),
    ("{{ input.yes ? input.missing : 1 }}", None),
    ("{{ input.n == 3 ? {'a': 1} : [] }}", {"a": 1}),
    ("{{ input.missing || input.no ? 'a' : 'b' }}", "b"),
    # JSONata
    ("{{ $uppercase(input.name) }}", "ADA"),
    ("{{ input.name & '!' }}", "Ada!"),
    ("{{ $sum(input.orders.(price * qty)) }}", 19),
    ("{{ input.orders[price > 2].qty }}", 2),
    ("{{ [input.orders[price > 2]] }}", [{"price": 5, "qty": 2}]),
    ("{{ input.orders[price = 5 || price = 1].qty }}", [2, 9]),
    ("{{ input.orders[price === input.n + 2].qty }}", 2),
    ("{{ input.orders^(>price).price }}", [5, 1]),
    ("{{ input.orders^(price, >qty).price }}", [1, 5]),
    ("{{ $map(input.items, function($v) { $v.x * input.n }) }}", [3, 6]),
    ("{{ ($x := input.n; $x * $x) }}", 9),
    ("{{ input.items ~> $count() }}", 2),
    ("{{ [1..3] }}", [1, 2, 3]),
    ("{{ $join(input.two, ', ') }}", "x, y"),
    ("{{ $contains(input.name, /^A/) }}", True),
    ("{{ $string(input.tags) }}", '["x"]'),
    ("{{ input.orders.{'p': price} }}", [{"p": 5}, {"p": 1}]),
    ("{{ input.items.`x` }}", [1, 2]),
    ("{{ input.deep ~> |a|{'n': 1}, 'b'| }}", {"a": {"n": 1}}),
    ("{{ $merge([input.deep, {'z': 1}]) }}", {"a": {"b": {"c": "d"}}, "z": 1}),
    # quotes and braces
    ("{{ 'it\\'s' }}", "it's"),
    ('{{ "say \\"hi\\"" }}', 'say "hi"'),
    ("{{ '}}' }}", "}}"),
    ("{{ '{{' }}", "{{"),
    ("{{ 'a\\nb\\u0041' }}", "a\nbA"),
    ("{{ '\\ud83d\\ude00' }}", "😀"),
    ("{{ /* why */ input.n }}", 3),
    ("{{ input.quote }}", 'a "b"'),
    # mixed text
    ("Hello {{ input.name }}!", "Hello Ada!"),
    ("{{ input.name }} {{ input.n }}", "Ada 3"),
    ("{{ input.n }}{{ input.n }}", "33"),
    (" {{ input.n }}", " 3"),
    ("x{{ input.missing }}y", "xy"),
    ("x{{ input.nothing }}y", "xy"),
    ("x{{ input.zero }}{{ input.no }}", "x0false"),
    ("tags: {{ input.two }}", 'tags: ["x","y"]'),
    ("deep: {{ input.deep }}", 'deep: {"a":{"b":{"c":"d"}}}'),
    ("a {{ input.n > 2 ? 'b' : 'c' }} d", "a b d"),
    ("{{ input.n }} of {{ $count(input.two) + 1 }}", "3 of 3"),
    ('say "{{ input.quote }}"', 'say "a "b""'),
    # no templates
    ("plain", "plain"),
    ("", ""),
    ("{ not one }", "{ not one }"),
    ("}}", "}}"),
    ("{% $states.input %}", "{% $states.input %}"),
    ("ends with %}", "ends with %}"),
    ("{% {{ input.n }} %}", "{% 3 %}"),
    (5, 5),
    (None, None),
    # credentials stay a reference
    ("{{ credentials.API_KEY }}", "{{credentials.API_KEY}}"),
    ("Bearer {{ credentials['odd key'] }}", "Bearer {{credentials.odd key}}"),
    ("{{ input.name }}:{{ credentials.pass-word }}", "Ada:{{credentials.pass-word}}"),
    # in objects and arrays
    ({"a": "{{ input.n }}", "b": ["{{ input.tags }}", {"c": "x{{ input.n }}"}]}, {"a": 3, "b": [["x"], {"c": "x3"}]}),
    ({"{{ input.n }}": 1}, {"{{ input.n }}": 1}),
]

REFUSED = [
    ("{{", "has no }} that ends it"),
    ("{{ input.n }", "has no }} that ends it"),
    ("{{ 'open }}", "has no }} that ends it"),
    ("{{ {'a': 1 }}", "has no }} that ends it"),
    ("{{}}", "is empty"),
    ("{{   }}", "is empty"),
    ("{{ input. }}", "ends too early"),
    ("{{ input.n + }}", "ends too early"),
    ("{{ input.n input.n }}", "cannot be read at 'input'"),
    ("{{ (input.n }}", "ends too early"),
    ("{{ input.n) }}", "cannot be read at ')'"),
    ("{{ [1 2] }}", "',' is missing"),
    ("{{ ? }}", "cannot be read at '?'"),
    ("{{ input.2nd }}", "write ['2nd']"),
    ("{{ foo }}", "there is no name 'foo'"),
    ("{{ inptu.n }}", "Did you mean 'input'?"),
    ("{{ step.a }}", "Did you mean 'steps'?"),
    ("{{ steps.send_invoice.output }}", "Did you mean 'send-invoice'?"),
    ("{{ steps['b'] }}", "there is no step 'b'"),
    ("{{ steps }}", "steps.NAME"),
    ("{{ steps[input.key] }}", "steps.NAME"),
    ("{{ variables.rat }}", "Did you mean 'rate'?"),
    ("{{ trigger.body }}", "trigger means nothing here"),
    ("{{ credentials.A & 'x' }}", "stands alone"),
    ("{{ $states.input }}", "the engine's own"),
    ("{{ $run_input }}", "the engine's own"),
    ("{{ $step_0_a }}", "the engine's own"),
    ("{{ $_0 }}", "the engine's own"),
    ("{{ function($states) { $states.context } }}", "the engine's own"),
    ("{{ $uppercse(input.name) }}", "Did you mean '$uppercase'"),
    ("{{ $unset }}", "there is no variable or function '$unset'"),
    ("{{ $eval('1') }}", "$eval is not supported"),
    ("{{ $ }}", "$ stands for nothing here"),
    ("{{ $$ }}", "$ stands for nothing here"),
    ("{{ $.a }}", "$ stands for nothing here"),
    ("{{ `a` }}", "stands for nothing here"),
    ("{{ 'a' + input.name }}", "+ adds numbers; write & to join texts"),
    ("{{ input.name.toUpperCase() }}", "functions are those of JSONata"),
    ("{{ '\\q' }}", "means nothing in a text"),
    ("{{ 1e999 }}", "cannot be read"),
    ("{{ input.n; input.n }}", "cannot be read at ';'"),
    ("{{ " + "(" * 60 + "1" + ")" * 60 + " }}", "levels"),
    ("{{ " + "-" * 60 + "1 }}", "levels"),
    ("{{ " + "1 + " * 3000 + "1 }}", "parts"),
    ("{{ input.n }}" * 201, "at most 200 templates"),
    ("{{ input.n }}" + "x" * 100_000, "at most 100000 characters"),
    ("{{ '\\ud800' }} {{ '\ud800' }} {{ bad }}", "there is no name 'bad'"),
    ("{{ [1](2) }} {{ ~> }}", "cannot be read at '~>'"),
]


@pytest.mark.parametrize(("template", "gives"), GIVES, ids=lambda value: str(value)[:60])
def test_a_template_gives_its_value(template: Any, gives: Any) -> None:
    """Types are kept, mixed text is joined, and what is missing is null."""
    value, problems = compiled(template)
    assert problems == []
    found = evaluated(value)
    assert found == gives
    assert json.dumps(found) == json.dumps(gives)  # true is not 1


@pytest.mark.parametrize(("template", "says"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_cannot_be_read_is_a_problem(template: str, says: str) -> None:
    """Each names what is wrong, and what was probably meant."""
    value, problems = compiled(template)
    assert value is None
    assert len(problems) == 1
    assert says in problems[0]


def test_there_are_enough_cases() -> None:
    """The table covers what the design names."""
    assert len(GIVES) + len(REFUSED) >= 150


def test_item_and_index_are_there_in_loops_only() -> None:
    """Elsewhere the problem says where they are."""
    outside = Names({"input": "$run_input"}, {}, {})
    assert compiled("{{ item.q }}", outside)[1] == ["item means nothing here; it is there in the steps of a loop"]
    assert compiled("{{ input.rows[index = 1] }}", outside)[1] == []


def test_what_a_template_reads_is_noted() -> None:
    """The compilers keep only the outputs that somebody reads."""
    templates = Templates(NAMES, lambda _pointer, _message: None)
    templates.value({"a": "{{ steps.a.x + input.n }}", "b": "{{ variables.rate }} {{ credentials.K }}"}, JsonPointer())
    assert templates.reads == ({"input"}, {"a"}, {"rate"}, {"K"})


def test_keys_of_odd_names_are_apart() -> None:
    """Names that differ in odd characters only get different variables."""
    keys = keys_for(["a-b", "a_b", "a.b", "x" * 70, "x" * 71])
    assert len(set(keys.values())) == len(keys)
    assert keys["a-b"] == "a_b"
    assert all(len(key) < 60 for key in keys.values())


def test_an_expression_of_a_value_is_one() -> None:
    """Where one expression is wanted a constant is written as one, and templates inside objects are refused."""
    problems: list[str] = []
    templates = Templates(NAMES, lambda _pointer, message: problems.append(message))
    assert templates.expression({"a": [1]}, JsonPointer()).text == '{"a": [1]}'
    assert templates.expression("x", JsonPointer()).text == '"x"'
    assert problems == []
    assert templates.expression(["{{ input.n }}"], JsonPointer()).text == "null"
    assert len(problems) == 1
    assert has_templates({"a": [{"b": "{{ x }}"}]})


_PIECES = st.sampled_from(
    [
        *"()[]{}.,;:?|&+-*/%=<>!~^@#$`'\"\\ 0",
        *(
            "input",
            "steps",
            "steps.a",
            "item",
            "now",
            "credentials.K",
            "variables.rate",
            "function($v){",
            "$map(",
            "$x",
        ),
        *(
            "??",
            "||",
            "&&",
            "===",
            "?:",
            ":=",
            "..",
            "~>",
            " and ",
            " in ",
            "null",
            "'x'",
            "1e9",
            "{{",
            "}}",
            "/a/",
            "**",
        ),
        *("$eval(", "$states", "λ", "/*", "*/", "\ud800", "\x00", "é", "999999999999999999999999", "$$", "price"),
    ]
)


@given(st.lists(_PIECES, max_size=14).map("".join) | st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_no_text_raises_but_a_problem(source: str) -> None:
    """Whatever stands between the braces compiles to an expression that the evaluator reads, or is a problem."""
    for text in (f"{{{{ {source} }}}}", f"a {source} b"):
        value, problems = compiled(text)
        assert (value is None) == bool(problems)
        if not problems:
            try:
                evaluated(value)
            except StatesError:
                continue


@pytest.mark.parametrize(
    "source",
    [
        "{{ " * 30_000,
        "{{ " + "{" * 90_000,
        "{{ " + "'" * 90_001,
        "{{ " + "a." * 40_000 + " }}",
        "{{ " + "[" * 40_000 + " }}",
        "{{ " + "function($a){" * 5_000 + " }}",
        "{{ input" + "?.a" * 1_600 + " }}",
        "{{ input" + "[0]" * 1_600 + " }}",
        "{{ " + "!" * 4_000 + "1 }}",
        "{{ " + "1 ? " * 1_000 + "1 }}",
        "{{ " + "input.n ?? " * 1_000 + "1 }}",
        "{{ " + "input.n || " * 1_000 + "1 }}",
    ],
    ids=lambda source: source[:20],
)
def test_long_and_deep_texts_end_soon(source: str) -> None:
    """Neither the stack nor the patience of who publishes a definition is used up."""
    began = time.perf_counter()
    value, problems = compiled(source)
    assert (value is None) == bool(problems)
    assert time.perf_counter() - began < 5
