"""Trials of one state as types: what is tried, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from perdure.api.dialects.schemas import Count, Instant, Shape
from perdure.api.validation import Request

RETRIES_MAX: Final = 10_000


class MockedError(Request, frozen=True):
    """The failure of the state's step."""

    error: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    cause: Annotated[str, msgspec.Meta(max_length=32_768)] | None = None


class StateTrial(Request, frozen=True):
    """A state, or a machine and the name of one of its states; what goes in, and what its step gives.

    `result` or `error` is for Task, Parallel and Map states; without either, only the input is processed. `context` is
    the whole context object, `retry_count` how often the state has been tried again.
    """

    definition: dict[str, Any]
    input: Any = msgspec.field(default_factory=dict)
    state: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | None = None
    result: Any = msgspec.UNSET
    error: MockedError | None = None
    context: dict[str, Any] | None = None
    variables: dict[str, Any] | None = None
    retry_count: Annotated[int, msgspec.Meta(ge=0, le=RETRIES_MAX)] = 0


class StateTried(Shape, frozen=True):
    """The result of running one state by itself.

    `inspection` has the data after each step of its input and output processing, by the names of AWS TestState. Of a
    Task, Parallel or Map state for which neither `result` nor `error` was sent, only the input is processed:
    NEEDS_RESULT.
    """

    status: Literal["SUCCEEDED", "FAILED", "RETRIABLE", "CAUGHT_ERROR", "NEEDS_RESULT"]
    output: Any
    error: str | None
    cause: str | None
    next_state: str | None
    assigned: dict[str, Any]
    retry_delay_ms: Count | None
    wait_until: Instant | None
    inspection: dict[str, Any]
