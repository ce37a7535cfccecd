"""Validates a definition, and compiles it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.errors import DefinitionError, Problem
from perdure.engine.language.model.states import CompiledState, Machine
from perdure.engine.language.parse.machine import parse_machine, parse_nested, parse_state
from perdure.engine.language.parse.map_fields import is_distributed
from perdure.engine.language.parse.shape import read_definition
from perdure.engine.language.parse.tables import FieldScope
from perdure.engine.language.values import Json


def problems(definition_or_text: object, *, express: bool = False, is_compiled: bool = False) -> list[Problem]:
    """Find everything that is wrong with a definition.

    `definition_or_text`: the definition as JSON text (str or UTF-8 bytes), or decoded.
    `express`: whether it is to run as an Express workflow, which has no activities, `.sync` and
        `.waitForTaskToken`.
    `is_compiled`: whether it was compiled from another format: its Retry and TimeoutSeconds may have milliseconds, and
        its Succeed an OutputSchema.

    Returns the problems in document order, at most diagnostics.PROBLEMS_MAX; empty if it is valid. It never raises,
    whatever it is given.
    """
    diagnostics = Diagnostics(is_compiled=is_compiled)
    definition = read_definition(definition_or_text, diagnostics)
    if not diagnostics.problems:
        parse_machine(definition, diagnostics, is_express=express)
    return diagnostics.problems


def unsupported(definition_or_text: object) -> list[Problem]:
    """Find what is valid in a definition, but what this engine cannot do yet; never raises.

    Returns the problems in document order; empty if there is nothing, or if the definition is malformed.
    """
    diagnostics = Diagnostics()
    definition = read_definition(definition_or_text, Diagnostics())
    for pointer in _distributed_in(definition, JsonPointer()):
        diagnostics.add(pointer, "a distributed Map is not supported yet")
    return diagnostics.problems


def _distributed_in(source: Json, pointer: JsonPointer) -> Iterator[JsonPointer]:
    """List where distributed Maps stand in what may be malformed."""
    states = source.get("States") if type(source) is dict else None
    for name, state in states.items() if type(states) is dict else ():
        yield from _distributed_in_state(state, pointer / "States" / name)


def _distributed_in_state(state: Json, pointer: JsonPointer) -> Iterator[JsonPointer]:
    if type(state) is not dict:
        return
    if state.get("Type") == "Map" and is_distributed(state):
        yield pointer
    for name in ("ItemProcessor", "Iterator"):
        yield from _distributed_in(state.get(name), pointer / name)
    branches = state.get("Branches")
    for index, branch in enumerate(branches if type(branches) is list else ()):
        yield from _distributed_in(branch, pointer / "Branches" / index)


def compile_machine(definition: Mapping[str, Json] | str | bytes, *, express: bool = False) -> Machine:
    """Compile a definition, also one that was created when less was known to be wrong: ask `problems` of a new one.

    What only one may hold that was compiled from another format is taken from any here: it has been asked.

    Raises DefinitionError: it has problems, or needs what is not supported; the error carries them all.
    """
    diagnostics = Diagnostics(accepts_old=True, is_compiled=True)
    source = read_definition(definition, diagnostics)
    machine = None if diagnostics.problems else parse_machine(source, diagnostics, is_express=express)
    found = diagnostics.problems or unsupported(source)
    if machine is None or found:
        raise DefinitionError(found)
    return machine


def compile_state(
    definition: Mapping[str, Json], *, name: str = "State", query_language: str = "JSONPath"
) -> CompiledState:
    """Compile one state by itself, to try it out; its Next may lead anywhere.

    `definition`: the state.
    `name`: its name.
    `query_language`: the language of the machine that it is taken from.

    Raises DefinitionError: it has problems; their pointers start at the state.
    """
    diagnostics = Diagnostics(accepts_old=True)
    source = read_definition(definition, diagnostics)
    state = None
    if not diagnostics.problems:
        scope = FieldScope(
            diagnostics=diagnostics,
            names=_Anywhere(),
            parse_nested=parse_nested,
            language=query_language,
            machine_language=query_language,
        )
        state = parse_state(name, source, JsonPointer(), scope)
    if state is None:
        raise DefinitionError(diagnostics.problems)
    return state


class _Anywhere(frozenset[str]):
    """The names of a machine that is not known: every name is one."""

    def __contains__(self, name: object) -> bool:
        return True
