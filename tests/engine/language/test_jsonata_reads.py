"""JSONata that reads what is never there: refused when a definition is created, and only then."""

from typing import Any

import pytest

from perdure.engine.language import compile_machine, problems
from perdure.engine.language.evaluate.jsonata.reads import ALWAYS, strays
from perdure.engine.language.evaluate.jsonata.text import readable

SEES_ALL = ALWAYS | {"result", "errorOutput"}


def machine(state, **others):
    last = {"Type": "Succeed"}
    states = {"A": state, "Last": last, **others}
    return {"StartAt": "A", "QueryLanguage": "JSONata", "States": states}


def choice(condition):
    return machine({"Type": "Choice", "Choices": [{"Condition": f"{{% {condition} %}}", "Next": "Last"}]})


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("amount = 5000", "$states.input.amount"),
        ("`my amount` = 5000", "$states.input.`my amount`"),
        ("a and b", "$states.input.a or $states.input.b"),
        ("[amount]", "$states.input.amount"),
        ("(amount; 1)", "$states.input.amount"),
        ("{'a': amount}", "$states.input.amount"),
        ("$sum(items.price) > 5", "$states.input.items"),
        ("$exists(amount)", "$states.input.amount"),
        ("$hash(text, 'MD5')", "$states.input.text"),
        ("$parse(text)", "$states.input.text"),
        ("$map($states.input.list, function($x){ $x.price > limit })", "$states.input.limit"),
        ("$reduce($states.input.list, function($i, $j){ $i + extra })", "$states.input.extra"),
        ("$$.amount", "$states.input.amount"),
        ("$.amount", "$states.input.amount"),
        ("$states.input.list[price = $$.price]", "$states.input.price"),
        ("$states.input.list.{'a': $$.a}", "$states.input.a"),
        ("$$", "$states.input"),
        ("$", "$states.input"),
        ("$states.inptu.amount", "$states.input"),
        ("$states.contxt.Execution.Id", "$states.context"),
        ("$states.amount", "$states.input.amount"),
        ("$states.(amount)", "$states.input.amount"),
        ("($s := $states; $s.amount)", "$states.input.amount"),
    ],
)
def test_what_stands_for_nothing_is_refused_with_what_was_meant(source, meant):
    """A Choice that asks for it would always take its Default."""
    [problem] = problems(choice(source))
    assert problem.path == "/States/A/Choices/0/Condition"
    assert problem.message.endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize(
    "source",
    [
        "$states.input.amount = 5000",
        "$states.input.list[price > 5 and (name or other)]",
        "$states.input.list^(>price, name).name",
        "$states.input.list{name: $sum(price)}",
        "$states.input.list.(a + b)",
        "$states.input.list.($y := a; $y + b)",
        "$states.input.list.{'a': a, 'all': $}",
        "$states.input.list.a.%.b",
        "$states.input.list[$ > 3]",
        "$states.input.list.$sum(prices)",
        "$states.input.list@$x[$x.a = 1].{'a': $x.a}",
        "$states.input.orders@$o.$states.input.items@$i[$i.id = $o.id].{'a': $o.a, 'b': $i.b}",
        "$states.input.list#$i.{'a': $, 'i': $i}",
        "$states.input ~> |list|{'a': b * 2}, ['c']|",
        "$map($states.input.list, function($v, $i, $a){ $v.a & $i })",
        "$filter($keys($states.input), function($k){ $lookup($states.input, $k) = 1 })",
        "$each($states.input, function($v, $k){ {'k': $k, 'v': $v} })",
        "$sift($states.input, function($v, $k){ $k = 'a' })",
        "$merge($states.input.list.{name: value})",
        "$single($states.input.list, function($x){ $x.id = $states.input.id })",
        "$states.input.*[0]",
        "$states.input.**.id",
        "$states.input.`a b`",
        "$keys($states)",
        "$lookup($states, 'input')",
        "$parse($states.input.text).list[a > 1].b",
        "$variable.a.b",
        "$function(1).a",
        "($f := function($a){ $a.b }; $map($states.input.list, $f))",
        "($g := function($n){ $n > 0 ? $append([$n], $g($n - 1)) : [] }; $g(3))",
        "[1..5].($ * $)",
        "[{'a': 1}][a = 1]",
        "{'a': 1, 'b': {'c': 2}}.b.c",
        "$zip($states.input.a, $states.input.b).{'a': $[0]}",
        "$uuid() & $now() & $millis() & $random()",
        "$states.input.text.$match((/x/)).match",
        "$eval('amount')",
        "null in [true, 'amount', \"amount\"] /* amount */",
    ],
)
def test_names_that_have_a_meaning_are_accepted(source):
    """Within a predicate, after a dot, in an order, a group, a transformation, as a parameter or a text."""
    assert list(strays(readable(source), SEES_ALL)) == []
    assert not problems(choice(f"$exists({source})"))


TASK = {"Type": "Task", "Resource": "charge", "Next": "Last"}
RESULT, CAUGHT = "{% $states.result.id %}", "{% $states.errorOutput.Error %}"


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({**TASK, "Arguments": {"a": RESULT}}, "/Arguments/a"),
        ({**TASK, "TimeoutSeconds": RESULT}, "/TimeoutSeconds"),
        ({**TASK, "Output": CAUGHT}, "/Output"),
        ({**TASK, "Assign": {"v": CAUGHT}}, "/Assign/v"),
        ({**TASK, "Catch": [{"ErrorEquals": ["E"], "Next": "Last", "Output": RESULT}]}, "/Catch/0/Output"),
        ({"Type": "Pass", "Next": "Last", "Output": {"a": RESULT}}, "/Output/a"),
        ({"Type": "Pass", "Next": "Last", "Output": CAUGHT}, "/Output"),
        ({"Type": "Wait", "Next": "Last", "Seconds": "{% $states.result %}"}, "/Seconds"),
    ],
)
def test_a_member_of_states_is_refused_where_it_is_not(state, path):
    """A result is there in Output and Assign of what has one, what was caught in those of a Catch."""
    [problem] = problems(machine(state))
    assert problem.path == "/States/A" + path
    assert "is there only in Output and Assign of a" in problem.message


def test_a_member_of_states_is_accepted_where_it_is():
    """Both in their places, and in a machine within a machine."""
    catch = [{"ErrorEquals": ["E"], "Next": "Last", "Output": CAUGHT, "Assign": {"e": CAUGHT}}]
    task = {**TASK, "Output": RESULT, "Assign": {"v": RESULT}, "Catch": catch}
    assert not problems(machine(task))
    inner: dict[str, Any] = {"StartAt": "T", "States": {"T": {**TASK, "End": True, "Output": RESULT}}}
    inner["States"]["T"].pop("Next")
    mapped = {"Type": "Map", "Next": "Last", "ItemProcessor": inner, "Output": RESULT}
    assert not problems(machine(mapped))
    inner["States"]["T"]["Arguments"] = {"x": RESULT}
    [problem] = problems(machine(mapped))
    assert problem.path == "/States/A/ItemProcessor/States/T/Arguments/x"


def test_a_definition_that_is_stored_keeps_running():
    """What was created before the rule was known compiles as it did."""
    definition = choice("amount = 5000")
    assert problems(definition)
    assert compile_machine(definition).states["A"].name == "A"
