"""Tables of functions by type: what is missing is said when the module is imported, what is wrong by type checkers."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from perdure.engine.core import commands as c
from perdure.engine.core.dispatch import Dispatch, IncompleteTable, check_complete
from perdure.engine.language import PassState
from perdure.engine.language.model import states
from perdure.engine.language.parse import state_types

Two: TypeAlias = int | str
Three: TypeAlias = int | str | bytes
Outcome: TypeAlias = c.TaskSuccess | c.TaskFailure


def number(on: list[object], value: int, times: int) -> int:
    on.append(value)
    return value * times


def text(_on: list[object], value: str, times: int) -> int:
    return len(value) * times


def table() -> Dispatch[list[object], [int], int]:
    return Dispatch[list[object], [int], int]("here").on(int, number)


def test_a_table_is_a_dict_of_functions_by_type() -> None:
    """Looked up by the type of the value, called with what it works on, the value and the rest."""
    rows = table().on(str, text).over(Two)
    seen: list[object] = []
    assert [rows[type(value)](seen, value, 2) for value in (3, "abcd")] == [6, 8]
    assert seen == [3]


def test_a_type_without_a_row_is_named() -> None:
    """With the table that lacks it; what is said to stand beside needs no row."""
    with pytest.raises(IncompleteTable, match=r"^here has no row for str, bytes$"):
        table().over(Three)
    with pytest.raises(IncompleteTable, match=r"^here has no row for bytes$"):
        table().over([int, str, bytes], beside=[str])
    assert table().over([int, str], beside=[str]).keys() == {int}


def test_a_type_too_many_is_named() -> None:
    """One that is not of the set, one with two rows, one that has a row and stands beside."""
    with pytest.raises(IncompleteTable, match=r"^here has a row for what is none of its types: int$"):
        table().over([str], beside=[str])
    with pytest.raises(IncompleteTable, match=r"^here: int has two rows$"):
        table().on(int, number)
    with pytest.raises(IncompleteTable, match=r"^here has more than one place for int$"):
        table().over([int], beside=[int])


def test_what_has_no_row_is_a_type_error() -> None:
    """Of a value that no type checker has seen, such as an event of another kind of stream."""
    with pytest.raises(TypeError, match=r"^here has no row for float$"):
        table().over([int])[float]


def test_a_set_is_a_union_or_any_types() -> None:
    """A union's members are its types; the check is also there for tables of another form."""
    check_complete("all", Outcome, [c.TaskFailure, c.TaskSuccess])
    with pytest.raises(IncompleteTable, match="no row for Trigger"):
        check_complete("all", c.Command, [])


def test_a_row_whose_function_takes_another_type_is_seen_by_type_checkers() -> None:
    """The comment is needed: mypy says so if it ever accepts the row (`warn_unused_ignores`)."""
    rows = table().on(str, number)  # type: ignore[arg-type]
    assert rows.over(Two).keys() == {int, str}


EVENT = "import perdure.engine.core.vocabulary as m\nclass New(m.Event): pass\nm.EXECUTION_EVENTS += (New,)\n"
COMMAND = "import perdure.engine.core.commands as m\nclass New: pass\nm.Command |= New\n"
EFFECT = "import perdure.engine.core.effects as m\nclass New: pass\nm.Effect |= New\n"
STATE = "import perdure.engine.language as m\nclass New: type = 'New'\nm.CompiledState |= New\n"
TABLES = [
    (f"{EVENT}import ", "perdure.engine.core.numbering"),
    (f"import perdure.engine.core.numbering\n{EVENT}import ", "perdure.engine.core.evolve"),
    (f"{EVENT}import ", "perdure.engine.history.handlers"),
    (f"{COMMAND}import ", "perdure.engine.core.decide"),
    (f"{STATE}import ", "perdure.engine.core.decide.enter"),
    (f"{EFFECT}import ", "perdure.engine.runtime.node"),
]


@pytest.mark.parametrize(("new", "module"), TABLES, ids=[module for _, module in TABLES])
def test_a_new_type_without_a_row_is_found_on_import(new: str, module: str) -> None:
    """Of an event, a command, an effect or a state: the message names the type and the module that lacks it."""
    run = subprocess.run(
        [sys.executable, "-c", new + module], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == f"perdure.engine.core.dispatch.IncompleteTable: {module} has no row for New"


def test_a_new_type_of_state_without_fields_is_found_on_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of fields is keyed by the name in the definition; it knows the types all the same."""

    class NewState(PassState, frozen=True):
        type = "New"

    monkeypatch.setattr(states, "CompiledState", states.CompiledState | NewState)
    with pytest.raises(TypeError, match=r"has no row for NewState$"):
        runpy.run_path(state_types.__file__)
