"""All calls, and what both clients have in common."""

from __future__ import annotations

import random
import time
import uuid
from typing import Final

from perdure.api.client.addresses import Address, parse
from perdure.api.client.documents import DocumentCalls
from perdure.api.client.exchange import ClientSettings, Outside, Retries
from perdure.api.client.executions import ExecutionCalls
from perdure.api.client.many_runs import ManyRunCalls
from perdure.api.client.runs import RunCalls
from perdure.api.client.schedules import ScheduleCalls
from perdure.api.client.servers import ServerCalls
from perdure.api.client.workflows import WorkflowCalls

TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 5.0
IDLE_MAX_S: Final = 4.0
"""A connection that rests longer is not used again: a server of ours closes it after five seconds."""

OUTSIDE: Final = Outside(time.monotonic, random.random, lambda: uuid.uuid4().hex)


class Operations(RunCalls, ExecutionCalls, ManyRunCalls, WorkflowCalls, DocumentCalls, ScheduleCalls, ServerCalls):
    """A method for each route of the server."""

    def __init__(
        self, base_url: str, api_key: str, *, timeout_s: float, retries: Retries | None, outside: Outside | None
    ) -> None:
        if not (api_key and api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()):
            raise ValueError("api_key: it is empty, or has characters that no key has")
        self._address: Address = parse(base_url)
        self._settings = ClientSettings(api_key, timeout_s, retries or Retries(), outside or OUTSIDE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._address)!r})"
