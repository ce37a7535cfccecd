"""Definitions: finding what is wrong with one, and compiling it."""

from collections.abc import Mapping

from engine.language.errors import DefinitionError, Problem
from engine.language.fields import Scope
from engine.language.findings import Findings, Place
from engine.language.machine import Machine
from engine.language.parse import parse_machine, parse_state
from engine.language.shape import read_definition
from engine.language.states import State
from engine.language.values import Json


def problems(definition_or_text: object, *, express: bool = False) -> list[Problem]:
    """Find everything that is wrong with a definition.

    Args:
        definition_or_text: The definition as JSON text (str or UTF-8 bytes), or decoded.
        express: Whether it is to run as an Express workflow, which has no activities, ``.sync`` and
            ``.waitForTaskToken``.

    Returns:
        The problems in document order, at most findings.PROBLEMS_MAX; empty if it is valid. Never raises,
        whatever it is given.
    """
    findings = Findings()
    definition = read_definition(definition_or_text, findings)
    if not findings.problems:
        parse_machine(definition, findings, is_express=express)
    return findings.problems


def compile_machine(definition: Mapping[str, Json] | str | bytes, *, express: bool = False) -> Machine:
    """Compile a definition.

    Raises:
        DefinitionError: It has problems; the error carries them all.
    """
    findings = Findings()
    source = read_definition(definition, findings)
    machine = None if findings.problems else parse_machine(source, findings, is_express=express)
    if machine is None:
        raise DefinitionError(findings.problems)
    return machine


def compile_state(definition: Mapping[str, Json], *, name: str = "State") -> State:
    """Compile one state by itself, to try it out; its Next may lead anywhere.

    Raises:
        DefinitionError: It has problems; their pointers start at the state.
    """
    findings = Findings()
    source = read_definition(definition, findings)
    state = None
    if not findings.problems:
        state = parse_state(name, source, Place(), Scope(findings, _Anywhere(), is_express=False))
    if state is None:
        raise DefinitionError(findings.problems)
    return state


class _Anywhere(frozenset[str]):
    """The names of a machine that is not known: every name is one."""

    def __contains__(self, name: object) -> bool:
        return True
