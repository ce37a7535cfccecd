"""Static check of JSONata expressions: variables that are never there are found when a definition is created.

An expression has no input document, so a bare name (`amount = 5000`), `$` and `$$` stand for nothing, and a
Choice that asks for one always takes its Default. jlens tells what an expression reads of its input and of `$states`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final

import jlens

from perdure.engine.language.diagnostics import NEAR_MAX
from perdure.engine.language.evaluate.jsonata.functions import FUNCTIONS, PRELUDES
from perdure.engine.language.evaluate.jsonata.text import tokens
from perdure.engine.language.values import shown

ALWAYS: Final = frozenset({"input", "context"})
"""The members of `$states` that every expression sees."""

_WHERE: Final = {
    "result": "in Output and Assign of a Task, Parallel or Map",
    "errorOutput": "in Output and Assign of a Catch",
}
"""The others, and where they are."""

_NAMED_MAX: Final = 3
"""Names that one message tells."""


def strays(source: str, sees: frozenset[str]) -> Iterator[str]:
    """Say what an expression, as jlens reads it, reads in vain; `sees` are the members of `$states` that it has."""
    reads = _reads(source)
    if "everyBinding" in reads:  # $eval: who knows
        return
    yield from _of_input(reads.get("input"), source)
    states = reads["bindings"].get("states")
    for name in states if type(states) is dict else ():
        if name not in sees:
            yield _of_states(name)


def _reads(source: str) -> dict[str, Any]:
    """Ask jlens what an expression reads; a function that it does not know would read everything, so all are known."""
    compiled = jlens.Expression(source)
    own = (name for name in (*FUNCTIONS, *PRELUDES) if f"${name}" in source)  # to tell jlens of one costs 10 µs
    names = {*compiled.reads()["bindings"], *own} - {"states"}
    known: dict[str, Any] = dict.fromkeys(names, _nothing)
    return dict(compiled.reads(known))


def _nothing(*_arguments: object) -> None:
    """Stand for a function that is only asked what it reads: its arguments."""


def _of_input(read: object, source: str) -> Iterator[str]:
    if type(read) is dict:
        names = list(read)[:_NAMED_MAX]
        if names:
            meant = " or ".join(f"$states.input.{_written(name)}" for name in names)
            what = " and ".join(map(shown, names))
            yield f"{what} stands for nothing: an expression has no input document; did you mean {meant}?"
    elif read is True:
        written = {token.text for token in tokens(source)}
        if "$$" in written or ("$" in written and "@" not in written):
            what = "$$" if "$$" in written else "$"
            yield f"{what} stands for nothing: an expression has no input document; did you mean $states.input?"


def _of_states(name: str) -> str:
    if name in _WHERE:
        return f"$states.{name} is there only {_WHERE[name]}"
    members = [*sorted(ALWAYS), *_WHERE]
    near = difflib.get_close_matches(name, members, n=1, cutoff=0.5) if len(name) <= NEAR_MAX else []
    meant = f"$states.{near[0]}" if near else f"$states.input.{_written(name)}"
    return f"$states has no member {shown(name)}; did you mean {meant}?"


def _written(name: str) -> str:
    short = name[:NEAR_MAX]
    return short if short.isidentifier() else f"`{short}`"
