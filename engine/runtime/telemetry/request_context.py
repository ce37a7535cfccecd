"""Log context: binds log lines to an execution, its process id if known, and the request that caused the work.

The processor decides for everybody in a context of its own, so an order carries the request that it came with; what it
sets going (a step, and what follows from its outcome) carries it on. Nobody's request sets off a timer or a recovery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

_request: ContextVar[str | None] = ContextVar("perdure_request", default=None)


@contextmanager
def bind_request(request_id: str) -> Iterator[None]:
    """Bind everything in the block to a request, and later to the execution that it turns out to be about."""
    token = _request.set(request_id)
    try:
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            yield
    finally:
        structlog.contextvars.unbind_contextvars("execution_id", "process_id")
        _request.reset(token)


def current_request() -> str | None:
    """The request that caused the current work; null if none did."""
    return _request.get()


def set_request(request_id: str | None) -> None:
    """Bind the rest of this context to a request, or to none."""
    _request.set(request_id)


def bind_execution(execution_id: str, process_id: str | None = None) -> None:
    """Bind the rest of the request to an execution. Outside one (an embedding program's own context) do nothing."""
    if _request.get() is not None:
        structlog.contextvars.bind_contextvars(execution_id=execution_id, process_id=process_id or execution_id)


def bind_step(run: Mapping[str, str], state: str) -> None:
    """Bind a step's own asyncio task, with all that it logs by loggers of its own."""
    request_id = _request.get()
    if request_id is None:
        structlog.contextvars.bind_contextvars(**run, state=state)
    else:
        structlog.contextvars.bind_contextvars(**run, state=state, request_id=request_id)
