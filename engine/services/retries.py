"""Retries: a run is taken up again where it failed, or from a step, or with another input.

What it comes to is one of the second chances (`chances.py`): a redrive of the run itself, or another run, which is a
rerun from the start or a fork just before a step.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from msgspec import UNSET

from perdure.engine.core import ids
from perdure.engine.core.state import TOP
from perdure.engine.errors import Conflict, Invalid
from perdure.engine.history.step_runs import StepRun
from perdure.engine.runtime.callers import Caller, IdempotencyKey
from perdure.engine.services.chances import Chances
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.queries import Queries
from perdure.engine.services.run_records import ReadRun, RunRecords
from perdure.engine.shown import shown
from perdure.engine.suggestions import did_you_mean

_FIELD: Final = "from_step"


class RunRetry(NamedTuple):
    """The run that goes on after a retry, which is another one unless it was a redrive."""

    kind: Literal["redrive", "rerun", "fork"]
    execution_id: bytes
    position: int


class RunRetries:
    """Retries of runs."""

    def __init__(self, queries: Queries, records: RunRecords, chances: Chances) -> None:
        self._queries = queries
        self._records = records
        self._chances = chances

    async def retry(
        self,
        caller: Caller,
        execution_id: bytes,
        *,
        from_step: str | None = None,
        run_input: Any = UNSET,
        reason: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> RunRetry:
        """Take a run up again.

        Without more it goes on where it failed. With an input another run begins from the start. With a step another
        run has the history up to where that step was first entered, and goes on from there. Raises `Invalid` (there is
        no such step, it never ran, or ran several times at once; it cannot be given an input), what `Chances` raises,
        `NotFound`.
        """
        row = (await self._queries.execution(caller, execution_id)).row
        process_id = ids.text(execution_id)
        if from_step is None and run_input is UNSET:
            answered = await self._chances.redrive(caller, process_id, reason=reason, idempotency=idempotency)
            return RunRetry("redrive", execution_id, answered.position)
        read = None if from_step is None else await self._records.read(row)
        run = None if read is None or from_step is None else _first_run(read, from_step)
        if read is None or run is None or _is_first(read, run):
            again = await self._chances.rerun(
                caller, process_id, run_input=run_input, reason=reason, idempotency=idempotency
            )
            return _other("rerun", again)
        if run_input is not UNSET and not read.outline.is_of_states:
            message = (
                f"input: step {run.id!r} reads the input of the run and what earlier steps gave, which stand in its "
                f"history; leave {_FIELD} out to run all of it with another input"
            )
            raise Invalid(message, {"field": "input"})
        again = await self._chances.fork(
            caller,
            process_id,
            run.first.begun_seq - 1,
            state_input=run_input,
            reason=reason,
            idempotency=idempotency,
        )
        return _other("fork", again)


def _other(kind: Literal["rerun", "fork"], answered: Answered) -> RunRetry:
    return RunRetry(kind, ids.parse(answered.answer), answered.position)


def _first_run(read: ReadRun, step: str) -> StepRun:
    """The first run of a step. Raises `Invalid` if it is unknown, never ran, or is not one place of the run."""
    known = dict.fromkeys(read.outline.states.values())
    if step not in known:
        message = f"{_FIELD}: {shown(step)} is no step of this workflow.{did_you_mean(step, known)}"
        raise Invalid(message, {"field": _FIELD})
    found = {id(run): run for run in read.placed.runs.values() if run.id == step}
    if not found:
        message = f"{_FIELD}: step {shown(step)} has never run in this run; name one that has, or leave it out"
        raise Invalid(message, {"field": _FIELD})
    runs = sorted(found.values(), key=lambda run: run.first.begun_seq)
    first = runs[0]
    if first.first.entered_at is None:
        raise Conflict(f"{_FIELD}: the beginning of step {shown(step)} is not among the events that were read")
    if len({run.first.scope for run in runs}) > 1:
        around = read.placed.holders.get(id(first.first))
        outer = "" if around is None else f"; retry from {around.id!r}, which holds it"
        message = f"{_FIELD}: step {shown(step)} ran in several iterations, so no one place is meant{outer}"
        raise Invalid(message, {"field": _FIELD})
    return first


def _is_first(read: ReadRun, run: StepRun) -> bool:
    """Whether a run of a step is what its run began with."""
    if run.first.scope != TOP:
        return False
    began = next((each for each in read.timeline.visits if id(each) in read.placed.runs), None)
    return began is run.first
