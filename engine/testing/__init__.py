"""For tests, ours and yours: given-when-then on the pure core, simulation in virtual time, and a manual clock."""

from perdure.engine.testing.answers import Answer, Failed, Succeeded, TaskRequest, Unanswered
from perdure.engine.testing.clock import START, ManualClock
from perdure.engine.testing.documents import definition_of
from perdure.engine.testing.mocks import BadMock, Mock, NotMocked
from perdure.engine.testing.scenario import (
    EXECUTION,
    WORKFLOW,
    WORKSPACE,
    Scenario,
    due,
    failed,
    given,
    recovered,
    redriven,
    resumed,
    succeeded,
    terminated,
)
from perdure.engine.testing.simulation import Simulation, Stuck, simulate
from perdure.engine.testing.state import StateOutcome, test_state

__all__ = [
    "EXECUTION",
    "START",
    "WORKFLOW",
    "WORKSPACE",
    "Answer",
    "BadMock",
    "Failed",
    "ManualClock",
    "Mock",
    "NotMocked",
    "Scenario",
    "Simulation",
    "StateOutcome",
    "Stuck",
    "Succeeded",
    "TaskRequest",
    "Unanswered",
    "definition_of",
    "due",
    "failed",
    "given",
    "recovered",
    "redriven",
    "resumed",
    "simulate",
    "succeeded",
    "terminated",
    "test_state",
]
