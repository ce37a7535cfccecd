"""The port of what does bulk jobs: it is built over services, which stand above the driver."""

from __future__ import annotations

from typing import Protocol


class JobRunner(Protocol):
    """Does the jobs that are under way, from `begin` to `close`."""

    def begin(self) -> None: ...

    async def close(self) -> None: ...

    async def settle(self) -> None:
        """Wait until no job is under way."""
        ...
