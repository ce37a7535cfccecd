"""The resource API's requests and answers about pauses, as types."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from perdure.api.dialects.schemas import Count, Instant, RunStatus, Shape
from perdure.api.validation import Request
from perdure.engine.core.pause_events import Clocks, Quota

Reason: TypeAlias = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=1024, extra={"accepts": "a text of 1 to 1,024 characters"}),
]


class PauseRequest(Request, frozen=True):
    """Why, which stands in the log; and whether time goes on: with `freeze` every limit keeps what is left of it."""

    reason: Reason
    clocks: Clocks = "run"


class UnpauseRequest(Request, frozen=True):
    """Why, if there is something to say."""

    reason: Reason | None = None


class Paused(Shape, frozen=True):
    """`paused`: by this call; `already paused`: by an earlier one, or by a quota; that stays as it is."""

    message: Literal["paused", "already paused"]


class Unpaused(Shape, frozen=True):
    """`unpaused`: by this call; `not paused`: there was nothing to do."""

    message: Literal["unpaused", "not paused"]


class PauseShown(Shape, frozen=True):
    """A pause. `quota`: the one that was used up; null: an operator paused it.

    `in_flight` tasks are still worked on by a step or a child; `quiescent`: none is.
    """

    since: Instant
    by: str
    reason: str | None
    clocks: Clocks
    quota: Quota | None
    in_flight: Count
    quiescent: bool


class PauseStatus(Shape, frozen=True):
    """A run's status, and its pause; null if it is not paused."""

    status: RunStatus
    pause: PauseShown | None
