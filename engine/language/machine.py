"""Machines: compiled definitions."""

from collections.abc import Mapping

import msgspec

from engine.language.states import State


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled definition.

    Attributes:
        start_at: Name of the first state.
        states: Its states by name, in document order.
        comment: What the author says about it.
        query_language: The query language of states that name none.
        timeout_seconds: How long an execution may take; None for no limit. Not supported yet.
    """

    start_at: str
    states: Mapping[str, State]
    comment: str | None = None
    query_language: str = "JSONPath"
    timeout_seconds: int | None = None
