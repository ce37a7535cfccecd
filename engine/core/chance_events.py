"""The events of second chances: what follows an end, and what a run that took over another one's history begins with.

As in `events`: a struct is `data`, and what somebody says, as a reason or an edited input, stands in the payload.
"""

from __future__ import annotations

from perdure.engine.core.events import CountsRule, Event, RunLimit
from perdure.engine.core.refs import Ref


class ExecutionRedriven(Event, frozen=True):
    """A run that did not end well goes on where it was: the only event that moves a run which had ended.

    `count` is which redrive of the run it is, from 1 on. Its time limits are counted anew: `due_at` is that of the
    machine, and the timer's name is 1, as before; `limit_at` that of the workflow's settings, timer 0. Payload:
    `reason`, if one was given.
    """

    count: int
    reason: Ref | None = None
    due_at: int | None = None
    limit_at: int | None = None


class IterationRedriven(Event, frozen=True):
    """An iteration of a Map state that had failed, or was cut short, goes on where it was."""

    state: str
    index: int
    scope: str


class ExecutionForked(Event, frozen=True):
    """The events before this one are another run's (`ExecutionStarted.origin`); from here on it goes its own way.

    Whatever was in progress there is entered anew. `input`: the state in this scope is given that one. From here on its
    time limits are its own (`due_at` is that of the machine, `limit_at` that of the workflow's settings), and so are
    its limits and how it counts in them; places it has none yet. Payload: `input`, if it was edited, and `reason`, if
    one was given.
    """

    reason: Ref | None = None
    input: Ref | None = None
    scope: str = ""
    due_at: int | None = None
    limit_at: int | None = None
    limits: tuple[RunLimit, ...] = ()
    counts: CountsRule = "all"
