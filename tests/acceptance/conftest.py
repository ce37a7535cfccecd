"""Real servers: child processes of the command `perdure serve`, with a client for each."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.api.client import AsyncClient, Retries
from perdure.api.client.results import RunListed

KEY = "pk_acceptance_of_all"
HERE = Path(__file__).parent


class Server:
    """One server on one SQLite file; it can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = f"sqlite:///{folder / 'runs.db'}"
        self.process: asyncio.subprocess.Process | None = None
        self._client: AsyncClient | None = None

    @property
    def client(self) -> AsyncClient:
        """Asks once: what these tests look at is what the server does."""
        assert self._client is not None
        return self._client

    async def start(self) -> None:
        """Start, and wait until it says that it is ready."""
        self.process = await spawn("serve", "--port", "0", "--database", self.database, folder=self.folder)
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while b"ready at" not in (line := await self.process.stderr.readline()):
                assert line, "the server ended before it was ready"
        address = line.decode().split("ready at ")[1].strip()
        self._client = AsyncClient(address, KEY, timeout_s=60, retries=Retries(attempts_max=1))

    async def kill(self) -> None:
        """`kill -9`."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(15):
            await self.process.communicate()
        await self.close()
        status = self.process.returncode
        assert status is not None
        return status

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def create(self, name: str, definition: Any) -> str:
        """Create a workflow; gives its id."""
        return (await self.client.create_workflow(name, definition)).id

    async def executions(self, workflow_id: str) -> list[RunListed]:
        """All executions of a workflow, by walking over the pages."""
        return [each async for each in self.client.iter_history(workflow_id)]


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, in any of its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for found in lists for child in found.read_text().split()]


async def spawn(*arguments: str, folder: Path) -> asyncio.subprocess.Process:
    """Start the command `perdure`."""
    environment = {
        **os.environ,
        "PERDURE_BOOTSTRAP_KEY": KEY,
        "PERDURE_TEST_FOLDER": str(folder),
        "PERDURE_STEPS": "steps_for_tests:registry",
        "PYTHONPATH": str(HERE),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; from perdure.cli.main import main; sys.exit(main())",
        *arguments,
        env=environment,
        cwd=HERE.parent.parent,
        stdout=asyncio.subprocess.DEVNULL if arguments[0] == "serve" else asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    await made.start()
    yield made
    if made.process is not None and made.process.returncode is None:
        await made.kill()
    else:
        await made.close()
