"""Child executions: started, followed and ended for the tasks that want them."""

from __future__ import annotations

from typing import Protocol

from perdure.engine.core import effects as fx
from perdure.engine.runtime.streams.stream import HotStream


class ChildRunner(Protocol):
    """Starts and follows child executions: `ChildExecutions`, or in a simulation its source of outcomes.

    All of it may be asked for more than once, before and after a crash, and must be harmless then.
    """

    def start(self, hot: HotStream, wanted: fx.StartChild) -> None:
        """Start the child of a task under the id that the log gives it, and tell the task so (`ChildStarted`)."""
        ...

    def follow(self, hot: HotStream, wanted: fx.FollowChild) -> None:
        """Complete the task if the child that it awaits has ended meanwhile."""
        ...

    def end(self, hot: HotStream, child: str) -> None:
        """Terminate a child whose task was given up."""
        ...

    def tell_parent(self, hot: HotStream, wanted: fx.TellParent) -> None:
        """Complete the parent's task that awaited this execution."""
        ...

    def follow_parent(self, hot: HotStream, wanted: fx.FollowParent) -> None:
        """Terminate this execution if the task that awaited it is gone."""
        ...

    async def close(self, grace_s: float) -> None:
        """Start nothing more, and bring what is under way to an end within about `grace_s` seconds."""
        ...
