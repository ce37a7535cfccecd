"""Makes the states of steps that hold other steps: `loop` and `parallel`."""

from __future__ import annotations

import json
from typing import Final

from perdure.engine.language.formats.flow import FlowStep
from perdure.engine.language.formats.machines import ENDED, LoopNames, MachineBuilder, StateSource
from perdure.engine.language.formats.members import Members
from perdure.engine.language.formats.names import ROOTS
from perdure.engine.language.values import Json

ITERATIONS_MAX: Final = 100
"""Items that a loop takes if nothing says how many."""

ITERATIONS_LIMIT: Final = 10_000
"""The most that may be said."""

CONCURRENCY_LIMIT: Final = 1_000

_ITEM: Final = {
    "item": "{% $states.context.Map.Item.Value %}",
    "index": "{% $states.context.Map.Item.Index %}",
}
_CAUSE: Final = "$parse($states.errorOutput.Cause)"


def lower_loop(builder: MachineBuilder, step: FlowStep) -> None:
    """Run the steps of a loop for each item of a collection."""
    members = builder.members(step)
    members.check(("collection", "itemVariable", "indexVariable", "maxIterations", "concurrency"), " of a loop")
    loop = LoopNames(
        _name(members, "itemVariable", "item"), _name(members, "indexVariable", "index"), builder.level + 1
    )
    if loop.item == loop.place:
        members.refuse("indexVariable", "must be another name than itemVariable")
    most = members.whole("maxIterations", 1, ITERATIONS_LIMIT, ITERATIONS_MAX)
    inner, machine = builder.body(step, 0, (loop,))
    _begin(builder, step, inner, machine)
    state: StateSource = {
        "Type": "Map",
        "Items": _items(builder, step, members, most),
        "MaxConcurrency": members.whole("concurrency", 1, CONCURRENCY_LIMIT, 1),
        "ItemSelector": _ITEM,
        "ItemProcessor": machine,
    }
    results = "$states.result"
    if inner.hands_out():
        results = "$map($states.result, function($r){ $r.output })[] ?? []"
    output = {"results": f"{{% {results} %}}", "count": "{% $count($states.result) %}"}
    assigned = builder.kept(step, output).get("Assign", {})
    assigned |= builder.handed(inner, lambda key: f"$states.result[-1].steps.{key}")
    _add(builder, step, {**state, "Output": output, **({"Assign": assigned} if assigned else {})})


def _add(builder: MachineBuilder, step: FlowStep, state: StateSource, first: list[StateSource] | None = None) -> None:
    """Add the state of a fork, with what becomes of errors."""
    handlers = builder.handlers(step, first)
    builder.add(step, builder.entry(step), {**state, **handlers, **builder.onward(step.after())})


def _name(members: Members, field: str, default: str) -> str:
    name = members.text(field, default, most=50) or default
    if not name.isidentifier() or not name.isascii():
        members.refuse(field, "must be a name of letters, digits and _")
        return default
    if name in ROOTS and name not in ("item", "index"):
        members.refuse(field, f"{name} means something else in templates")
        return default
    return name


def _begin(builder: MachineBuilder, step: FlowStep, inner: MachineBuilder, machine: StateSource) -> None:
    """Let an iteration begin by keeping the item and its index, if any step reads them."""
    read = {variable for variable, path in builder.build.roots if path[: inner.level] == inner.path}
    assigned = {
        f"{name}_{inner.level}": f"{{% $states.input.{name} ?? null %}}"
        for name in ("item", "index")
        if f"${name}_{inner.level}" in read
    }
    if not assigned:
        return
    name = builder.helper(step, "item")
    builder.build.states[name] = step.id
    machine["States"] = {name: {"Type": "Pass", "Assign": assigned, "Next": machine["StartAt"]}, **machine["States"]}
    machine["StartAt"] = name


def _items(builder: MachineBuilder, step: FlowStep, members: Members, most: int) -> Json:
    """Write the items: a list, or what an expression gives, of which there are not too many."""
    if members.get("collection") is None:
        members.refuse("", "collection is missing: a list, or a template that gives one")
        return []
    collection, pointer = members.get("collection"), members.pointer / "collection"
    if type(collection) is list:
        if len(collection) > most:
            members.refuse("collection", f"has {len(collection)} items, more than maxIterations, {most}")
        return builder.templates.value(collection, pointer)
    if type(collection) is not str or "{{" not in collection:
        members.refuse("collection", "must be a list, or a template that gives one")
        return []
    written = builder.templates.expression(collection, pointer)
    value = f"($_0 := {written.within(20)}; $_0)" if written.kind == "path" else f"[{written.within(20)}]"
    called = json.dumps(step.id)
    no_list = f'$error("The collection of loop " & {called} & " is no list")'
    too_many = f'$error("Loop " & {called} & " has " & $count($_c) & " items, more than maxIterations, {most}")'
    test = f'$type($_c) != "array" ? {no_list} : $count($_c) > {most} ? {too_many} : $_c'
    return f"{{% ($_c := {value}; $exists($_c) ? ({test}) : {no_list}) %}}"


def lower_parallel(builder: MachineBuilder, step: FlowStep) -> None:
    """Run branches at once, until all have ended or the first has."""
    members = builder.members(step)
    members.check(("waitForAll",), " of a parallel step")
    waits_for_all = members.flag("waitForAll", default=True)
    built = [builder.body(step, index, is_race=not waits_for_all) for index in range(len(step.bodies))]
    state: StateSource = {
        "Type": "Parallel",
        "Arguments": {},
        "Branches": [machine for _, machine in built],
    }
    inners = [inner for inner, _ in built]
    if not waits_for_all:
        _race(builder, step, state, inners)
        return
    values = [f"$states.result[{index}]{'.output' if inner.hands_out() else ''}" for index, inner in enumerate(inners)]
    output = {"results": [f"{{% {value} ?? null %}}" for value in values]}
    assigned = builder.kept(step, output).get("Assign", {})
    for index, inner in enumerate(inners):
        at = f"$states.result[{index}].steps"
        assigned |= builder.handed(inner, lambda key, at=at: f"{at}.{key}")  # type: ignore[misc]
    _add(builder, step, {**state, "Output": output, **({"Assign": assigned} if assigned else {})})


def _race(builder: MachineBuilder, step: FlowStep, state: StateSource, inners: list[MachineBuilder]) -> None:
    """Let the first branch that ends end the others, by failing with what it gives."""
    output = {
        "results": [
            f"{{% ($_0 := {_CAUSE}; $_0.index = {index} ? $_0.output : null) ?? null %}}"
            for index in range(len(inners))
        ]
    }
    assigned = builder.kept(step, output).get("Assign", {})
    for inner in inners:
        assigned |= builder.handed(inner, lambda key: f"{_CAUSE}.steps.{key}")
    ended = {
        "ErrorEquals": [ENDED],
        "Output": output,
        **({"Assign": assigned} if assigned else {}),
        "Next": builder.place(step.after()),
    }
    _add(builder, step, state, [ended])
