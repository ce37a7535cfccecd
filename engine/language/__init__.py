"""The definition language: Amazon States Language, from JSON to compiled states.

Pure: nothing here knows the time, chance, the disk or the engine. `problems` checks a definition,
`compile_machine` compiles it, and the states of the Machine say what each does with its input and result.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.engine.language.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Import the language when something of it is first asked for: who tells what a run did needs little of it."""
    return getattr(import_module("perdure.engine.language.public"), name)
