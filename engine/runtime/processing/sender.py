"""Sending from inside: commands of the engine's own about executions that exist."""

from __future__ import annotations

import asyncio
import os
import platform
from typing import Any

from perdure.engine.core import ids
from perdure.engine.runtime.processing.processor import Processor
from perdure.engine.runtime.processing.requests import CommandReply, from_inside


class Sender:
    """Sends as one node: `id` and `name` are the node's, `actor` is what the log says."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self.id = processor.new_id()
        self.name = f"{platform.node() or 'node'}:{os.getpid()}"
        self.actor = f"engine:{ids.text(self.id)}"  # every tenant reads it: `nodes` and our log lines know the host
        processor.act_as(self.actor)

    def send(self, stream_id: bytes, command: Any) -> asyncio.Future[CommandReply]:
        """Send a command; its reply is done once what it says is on disk."""
        return self._processor.submit(from_inside(stream_id, command, self.actor))

    def post(self, stream_id: bytes, command: Any) -> None:
        """Send a command to whose reply nobody listens."""
        self._processor.post(from_inside(stream_id, command, self.actor))
