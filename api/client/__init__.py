"""A client of Perdure's HTTP API, blocking (`Client`) and awaited (`AsyncClient`); it imports none of the engine.

```python
from perdure.client import Client, NotWaiting

with Client("http://127.0.0.1:8080", "wfk_…") as perdure:
    workflow = perdure.apply_workflow("invoice approval", definition)
    run = perdure.trigger(workflow.id, {"amount": 120}, process_id="INV-7")
    try:
        print(perdure.resume("INV-7", {"approved": True}, state="Ask").message)
    except NotWaiting as early:
        print(early.details["status"], early.request_id)
    for each in perdure.iter_history(workflow.id):
        print(each.process_id, each.status)
    for each in perdure.iter_found_executions({"status": "failed"}):
        print(each.process_id, each.error)
    for event in perdure.iter_execution_events("INV-7", follow=True):
        print(event.seq, event.type)
```

`AsyncClient` has the same methods: `await perdure.trigger(…)`, `async for each in perdure.iter_history(…)`.

- **Results** are structs (`perdure.client.results`); what a newer server adds is ignored.
- **Errors** are a class for each kind (`perdure.api.client.errors`), with `request_id`, `retryable`, and what the
  server says.
- **Repetition.** A call is repeated by itself, with pauses that grow and are drawn, where that can do no harm: what
  reads or comes to the same a second time, and what carries an idempotency key, which `trigger`, `terminate` and the
  answers to tasks make themselves. A `resume` makes one if it names its wait. After the last try the error is raised;
  what came of a call that ended with `NoAnswer` or `Unavailable` is found out by making it again with the same
  `idempotency_key`.
- **Pages** are a method each (`history`), and an iterator over all of them (`iter_history`).
- Nothing has a key or token in its `repr`, in a message or in a log line (`logging.getLogger("perdure.client")`).

How it is made: `calls` (a call as data), `runs`, `many_runs`, `workflows`, `schedules`, `servers` (all calls),
`exchange` (the rules, without I/O), and two thin transports: `blocking` and `awaiting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.client import results
from perdure.api.client.blocking import Client
from perdure.api.client.errors import (
    AmbiguousWait,
    ClientError,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    MethodNotAllowed,
    NoAnswer,
    NotFound,
    NotWaiting,
    PayloadTooLarge,
    PreconditionFailed,
    RateLimited,
    Refusal,
    StrangeAnswer,
    Unauthorized,
    Unavailable,
    UnnamedWait,
    Unreachable,
    WaitExpired,
)
from perdure.api.client.exchange import Retries

if TYPE_CHECKING:
    from perdure.api.client.awaiting import AsyncClient

__all__ = [
    "AmbiguousWait",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "Forbidden",
    "Internal",
    "Invalid",
    "MethodNotAllowed",
    "NoAnswer",
    "NotFound",
    "NotWaiting",
    "PayloadTooLarge",
    "PreconditionFailed",
    "RateLimited",
    "Refusal",
    "Retries",
    "StrangeAnswer",
    "Unauthorized",
    "Unavailable",
    "UnnamedWait",
    "Unreachable",
    "WaitExpired",
    "results",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncClient":
        from perdure.api.client.awaiting import AsyncClient  # noqa: PLC0415 aiohttp takes longer than all the rest

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
