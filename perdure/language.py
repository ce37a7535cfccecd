"""Definitions: what is wrong with one (`problems`, `warnings`), and what it looks like (`mermaid`)."""

from perdure.engine.language import (
    DefinitionError,
    Machine,
    Problem,
    StatesError,
    compile_machine,
    mermaid,
    problems,
    steps_of,
    warnings,
)

__all__ = [
    "DefinitionError",
    "Machine",
    "Problem",
    "StatesError",
    "compile_machine",
    "mermaid",
    "problems",
    "steps_of",
    "warnings",
]
