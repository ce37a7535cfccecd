"""Schedules of a process that is killed: a short version of `tests.engine.schedule_kills`."""

from __future__ import annotations

import pytest

from tests.engine.schedule_kills import proof


@pytest.mark.real_process
def test_each_slot_is_decided_once_though_a_process_is_killed() -> None:
    """And each run that was decided on is there once, whichever moment the kill came at."""
    assert set(proof(kills=1)) >= {"fired", "skipped_overlap"}
