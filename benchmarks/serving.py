"""A server in a process of its own, and clients that send it requests which are made beforehand.

`python -m benchmarks.serving` is the ceiling: the same HTTP server with an application that reads a body and answers,
and does nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvicorn
from starlette.types import Receive, Scope, Send

KEY: Final = "a-key-for-benchmarks"
READY: Final = "ready at http://"
TICKS: Final = os.sysconf("SC_CLK_TCK")


class Measured(NamedTuple):
    """What requests cost: by the clock, of the server's CPU (its writer's too), and each of them in milliseconds."""

    answers: list[Any]
    seconds: float
    cpu_seconds: float
    times: list[float]

    @property
    def per_second(self) -> float:
        return len(self.answers) / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a request."""
        return self.cpu_seconds * 1e6 / len(self.answers)


class Served(NamedTuple):
    """A server that runs."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """The CPU time so far of the server and of its writer."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        return sum(map(_cpu_seconds, [self.pid, *map(int, children)]))

    async def send(self, requests: Sequence[bytes], connections: int) -> Measured:
        """Send all requests, so many at once. Raises `RuntimeError` for an answer that is not 200 or 201."""
        left, answers, times = iter(requests), list[Any](), list[float]()

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            for request in left:
                began = time.perf_counter()
                writer.write(request)
                answers.append(await _answer(reader))
                times.append((time.perf_counter() - began) * 1000)
            writer.close()
            await writer.wait_closed()

        cpu_seconds, started = self.cpu_seconds(), time.perf_counter()
        await asyncio.gather(*(client() for _ in range(connections)))
        return Measured(answers, time.perf_counter() - started, self.cpu_seconds() - cpu_seconds, times)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def request(method: str, path: str, body: Any = None) -> bytes:
    """A request as it goes over the wire."""
    raw = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nX-Api-Key: {KEY}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


async def _answer(reader: asyncio.StreamReader) -> Any:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if not head.startswith((b"http/1.1 200", b"http/1.1 201")):
        message = f"not done: {head!r} {body!r}"
        raise RuntimeError(message)
    return json.loads(body)


@contextmanager
def served(*command: str, folder: str) -> Iterator[Served]:
    """Run a server until it is left; its log is dropped."""
    environment = {**os.environ, "PERDURE_BOOTSTRAP_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(  # noqa: S603 a command of ours
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Served(_port(process), process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _port(process: subprocess.Popen[str]) -> int:
    for line in process.stderr or ():
        if READY in line:
            return int(line.rpartition(":")[2])
    message = f"the server ended with {process.wait()} before it was ready"
    raise RuntimeError(message)


@contextmanager
def perdure() -> Iterator[Served]:
    """A Perdure server on a new SQLite file."""
    with (
        tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder,
        served("perdure", "serve", "--port", "0", "--database", "sqlite:///bench.db", folder=folder) as server,
    ):
        yield server


@contextmanager
def ceiling() -> Iterator[Served]:
    """The HTTP server alone."""
    with served("benchmarks.serving", folder=tempfile.gettempdir()) as server:
        yield server


async def _nothing(_: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):
        pass
    body = b'{"message": "success"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve nothing."""
    # With its protocol named, asyncio sends small answers at once, as it does for Perdure's own socket.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(f"{READY}127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    config = uvicorn.Config(
        _nothing, http="httptools", access_log=False, lifespan="off", log_level="warning", ws="none"
    )
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
