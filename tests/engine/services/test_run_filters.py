"""Cursors: what stands in one is a promise."""

from __future__ import annotations

import pytest

from perdure.engine.errors import Invalid
from perdure.engine.services.run_filters import BY_NAME, FILTERS, cursor, position_of
from perdure.store.records import ExecutionRow
from perdure.store.run_filter import RunFilter

POSITION = bytes(range(16))
KEPT = {
    "Afk2YHa5xoWlAAECAwQFBgcICQoLDA0ODw": ({}, "newest"),
    "ATpNZXm4N_a0AAECAwQFBgcICQoLDA0ODw": ({"status": "failed,waiting", "from": "2030-01-31"}, "oldest"),
}
"""Cursors that somebody may have kept, with what they were given for."""


@pytest.mark.parametrize("text", KEPT)
def test_a_cursor_is_good_for_ever(text: str) -> None:
    """One of an earlier release means the same place, whatever filters there are by now."""
    given, sort = KEPT[text]
    assert cursor(given, sort, POSITION) == text  # type: ignore[arg-type]
    assert position_of(text, given, sort) == POSITION  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "A", "AdkY", "Ag" + "A" * 32, "x" * 34, "é" * 34, "\0"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Whatever it is, the field is named."""
    with pytest.raises(Invalid, match="after: "):
        position_of(text, {}, "newest")


def test_each_filter_says_where_it_looks() -> None:
    """At a column of the executions, or at a member of the store's filter; names stand once."""
    assert len(BY_NAME) == len(FILTERS)
    for each in FILTERS:
        assert bool(each.column) is not bool(each.member), each.name
        assert each.column in {"", *ExecutionRow._fields}
        assert each.member in {"", *RunFilter._fields}
