"""For tests, ours and yours: given-when-then on the pure core, runs in virtual time, and a clock that is pushed."""

from engine.testing.clock import START, ManualClock
from engine.testing.scenario import (
    EXECUTION,
    WORKFLOW,
    WORKSPACE,
    Scenario,
    due,
    failed,
    given,
    recovered,
    resumed,
    succeeded,
    terminated,
)
from engine.testing.simulation import (
    Answer,
    Failed,
    Simulation,
    Succeeded,
    TaskRequest,
    Unanswered,
    simulate,
)
from engine.testing.state import StateOutcome, test_state

__all__ = [
    "EXECUTION",
    "START",
    "WORKFLOW",
    "WORKSPACE",
    "Answer",
    "Failed",
    "ManualClock",
    "Scenario",
    "Simulation",
    "StateOutcome",
    "Succeeded",
    "TaskRequest",
    "Unanswered",
    "due",
    "failed",
    "given",
    "recovered",
    "resumed",
    "simulate",
    "succeeded",
    "terminated",
    "test_state",
]
