"""What callers give with a run: the rules that every API and the command line share."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.errors import Invalid
from perdure.engine.services.access import SCOPES
from perdure.engine.services.inputs import (
    ProcessIdNoText,
    ProcessIdsDiffer,
    check_source,
    chosen_process_id,
    said_beside,
)
from perdure.engine.services.principals import Principal
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore


@pytest.mark.parametrize(
    ("given", "run_input", "chosen"),
    [
        (None, {}, None),
        ("a", {}, "a"),
        (None, {"process_id": "a"}, "a"),
        ("a", {"process_id": "a"}, "a"),
        ("a", {"other": "b"}, "a"),
    ],
)
def test_a_process_id_is_given_once_or_twice_alike(given: str | None, run_input: Any, chosen: str | None) -> None:
    """Beside the input, in it, in neither, or in both."""
    assert chosen_process_id(given, run_input) == chosen


@pytest.mark.parametrize("inside", [None, 7, ["a"], {}])
def test_a_process_id_is_a_text(inside: Any) -> None:
    """Whatever else it is, the message shows it."""
    with pytest.raises(ProcessIdNoText, match=r"process_id: .* is not accepted; it must be a text") as refused:
        chosen_process_id(None, {"process_id": inside})
    assert refused.value.details == {"field": "process_id"}


def test_two_process_ids_are_a_contradiction() -> None:
    """Nobody guesses which one is meant."""
    with pytest.raises(ProcessIdsDiffer, match="another one"):
        chosen_process_id("a", {"process_id": "b"})


@pytest.mark.parametrize(
    ("payload", "problem"),
    [({}, "it is missing"), ({"source": "sap"}, "'sap' is not"), ({"source": None}, "null is not")],
)
def test_a_resume_says_where_it_comes_from(payload: Any, problem: str) -> None:
    """From one of the sources that the server's setting names."""
    check_source({"source": "TEAMS"}, ["SAP", "TEAMS"])
    with pytest.raises(Invalid, match=rf"payload\.source: {problem}.*'SAP' or 'TEAMS'"):
        check_source(payload, ["SAP", "TEAMS"])


def test_what_is_said_beside_a_reason_is_kept() -> None:
    """And nothing, if nothing is."""
    assert said_beside({"termination_reason": "a", "ticket": 7}) == {"ticket": 7}
    assert said_beside({"termination_reason": "a"}) is None


async def test_no_key_is_made_that_has_expired() -> None:
    """Whoever makes it, and by whichever way: it must have some time to come."""
    clock = ManualClock()
    async with Engine.open(MemoryStore(), clock=clock) as engine:
        owner = Principal(await engine.services.access.default_caller("cli:test"), frozenset(SCOPES))
        for past in (clock.now(), clock.now() - 1):
            with pytest.raises(Invalid, match="expires_at: it is in the past; it must be a time to come") as refused:
                await engine.services.access.create_key(owner, "k", ("runs.view",), expires_at=past)
            assert refused.value.details == {"field": "expires_at"}
        made = await engine.services.access.create_key(owner, "k", ("runs.view",), expires_at=clock.now() + 1)
        assert made.row.expires_at == clock.now() + 1
