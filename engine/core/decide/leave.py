"""Leaving a state: its output, the variables it assigns, the next state, and the end of an execution.

Leaving and arriving are one event: it says where the scope goes, so a crash never finds it between two states. The last
state of the top level is followed, in the same decision, by the event that ends the execution; the last one of a branch
is not followed by anything here, since the fork may have to wait for others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from perdure.engine.core import events as e
from perdure.engine.core.decide.context import environment
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.fail import fail_state, finish
from perdure.engine.core.refs import Ref
from perdure.engine.core.state import TOP
from perdure.engine.language import CompiledState, Environment, Left, StatesError

Make: TypeAlias = Callable[[Any, str | None, dict[str, Ref]], e.Event]
"""`make(output, next, assigned)` gives the event that leaves a state."""


def leave(
    draft: ExecutionDraft,
    scope: str,
    left: Left,
    following: str | None,
    make: Make,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Emit the event that leaves a state for the `following` one; if there is none, the scope ends.

    A value that is the very value of the input, or of a member of `payload`, is not written again. Raises `TooLarge`,
    and nothing is emitted then.
    """
    # References are made for the next event, so nothing may be emitted between here and there.
    members = dict(payload or {})
    draft.check_size_left(scope, left, members)
    frame = draft.state.frames[scope]
    reference = draft.refer(left.output, frame.input, "output", members)
    assigned = draft.refer_all(left.assigned, frame.input, members)
    draft.emit(make(reference, following, assigned), members)
    if scope == TOP and following is None:
        finish(draft, e.ExecutionSucceeded(reference))


def leave_after(
    draft: ExecutionDraft,
    scope: str,
    state: CompiledState,
    left: Callable[[Environment], Left],
    make: Make,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Leave a state after something came from outside it: a result, an answer, the hour, the last of its branches.

    It is caused by the event with which the state was entered. It is recorded whether or not `left(environment)` can
    be computed; if not, with a null output, and the state fails.
    """
    try:
        leave(draft, scope, left(environment(draft, scope)), state.next, make, payload)
    except StatesError as problem:
        draft.emit(make(None, None, {}), payload)
        fail_state(draft, scope, problem)
