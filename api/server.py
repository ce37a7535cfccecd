"""The server: an engine behind uvicorn, from the first line to an exit status that tells how it ended.

A signal turns readiness red, refuses what is new, answers the calls that are held, lets the rest end, and drains the
engine; all within ten seconds. A failed commit ends it the same way, with a status that is not 0
(`engine/RELIABILITY.md`, "Facts that bite").
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, cast

import structlog
import uvicorn

from perdure.api.actor import terminal_actor
from perdure.api.app import ROUTES, create_app
from perdure.api.http.connections import Door, HttpConnection, refuse
from perdure.api.http.dialect import Dialects
from perdure.api.http.metrics import HttpMetrics
from perdure.api.http.middleware import RequestLog
from perdure.api.http.routing import Route
from perdure.api.settings import Settings
from perdure.engine.embedded import Engine
from perdure.engine.errors import EngineFailed
from perdure.engine.runtime.tuning import tune_interpreter
from perdure.engine.steps import Registry
from perdure.store.forks import open_alone

_log = structlog.get_logger("perdure.server")

KEPT_BACK: Final = 128
"""So many of the files that the process may have open are no connections."""

ACCEPTED_AT_ONCE: Final = 16
"""So many connections are accepted in one turn of the loop: it takes some turns until those that are too many are
closed, and all of them have to be fewer than the files that are kept back."""

WAITING_MAX: Final = 1024
"""So many wait to be accepted."""

FAILED: Final = 70
"""The exit status after a failed commit (`EX_SOFTWARE`)."""

UNFINISHED: Final = 75
"""The exit status of a stop that could not bring everything to its end (`EX_TEMPFAIL`): the database did not answer."""

ANSWERING_S: Final = 2
"""So long may answers take that are under way when the server is told to stop."""

STEPS_S: Final = 4.0
"""So long may steps take after that; then they run again at the next start."""

STOPPING_S: Final = 9.5
"""After so long the process ends whatever hangs. Nothing that was answered is lost: the next start recovers."""


class CannotListen(Exception):
    """The address cannot be listened on."""


class Server(uvicorn.Server):
    """uvicorn over one engine. It is stopped by `stop`; signals are left to whoever runs it.

    uvicorn itself would raise a captured signal again after its shutdown, and the exit status would be the signal's.
    """

    def __init__(self, engine: Engine, settings: Settings, routes: Sequence[Route] = ROUTES) -> None:
        http = HttpMetrics()
        dialects = Dialects(route.dialect for route in routes)
        self.door = Door(
            connections_max(settings.connections_max),
            settings.receive_timeout_s,
            RequestLog(refuse, dialects, http),
        )
        config = uvicorn.Config(
            create_app(engine, settings, http, routes),
            http=cast("Any", partial(HttpConnection, self.door)),
            access_log=False,
            backlog=ACCEPTED_AT_ONCE,
            lifespan="off",
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=ANSWERING_S,
            ws="none",
        )
        super().__init__(config)
        self._engine = engine
        engine.hold_at_most(max(1, self.door.connections_max // 2))

    def stop(self) -> None:
        """Take nothing new, answer what is held, and shut down; again: without waiting for answers under way."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._engine.begin_drain()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            sockets[0].listen(WAITING_MAX)
            host, port = sockets[0].getsockname()[:2]  # here: a server that is stopped at once has closed it by then
            self._announcing = asyncio.create_task(self._announce(host, port))

    async def _announce(self, host: str, port: int) -> None:
        """Say where we are, once what was under way has been taken up again."""
        await self._engine.recovered()
        say(f"perdure: ready at http://{f'[{host}]' if ':' in host else host}:{port}")


async def serve(settings: Settings, steps: Registry | None) -> int:
    """Serve until a signal or a failed commit; the exit status. Raises `CannotListen`, `StoreError`, `Invalid`."""
    listener = _bind(settings.host, settings.port)
    stop = _Stop()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(AcceptErrors())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    try:
        tune_interpreter()
        engine = await Engine.start(
            settings.database,
            steps=steps,
            allow_private_addresses=settings.allow_private_addresses,
            writer=settings.writer,
            limits=settings.limits,
            on_failure=stop.on_failure,
        )
        return await _serve(engine, settings, listener, stop)
    finally:
        listener.close()


async def _serve(engine: Engine, settings: Settings, listener: socket.socket, stop: _Stop) -> int:
    """Serve an engine that has been started, and close it. From here on nothing is raised: a status always comes."""
    status = 0
    try:
        _log.info("node_started", node_id=engine.node_id, node=engine.node_name)
        await _bootstrap(engine, settings)
        stop.server = Server(engine, settings)
        if not stop.is_asked and engine.condition.failure is None:
            await stop.server.serve([listener])
    except Exception:  # noqa: BLE001 whatever it is, the log and the status tell it
        _log.critical("server_failed", exc_info=True)
        status = FAILED
    try:
        await engine.close(STEPS_S)
    except EngineFailed as unfinished:
        _log.critical("stop_unfinished", reason=unfinished.message)
        status = status or UNFINISHED
    except Exception:  # noqa: BLE001 whatever it is, the log and the status tell it
        _log.critical("closing_failed", exc_info=True)
        status = FAILED
    return status or (0 if engine.condition.failure is None else FAILED)


def connections_max(wanted: int) -> int:
    """The limit of open connections: some descriptors are kept for the database, steps and health checks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + KEPT_BACK:
        soft = wanted + KEPT_BACK if hard == resource.RLIM_INFINITY else min(hard, wanted + KEPT_BACK)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted + KEPT_BACK:
            allowed = max(1, soft - KEPT_BACK)
            _log.warning("fewer_connections", wanted=wanted, allowed=allowed, files=soft)
            return allowed
    return wanted


class AcceptErrors:
    """The loop's handler of exceptions: of errors to accept a connection, which come by the thousand, one a second."""

    def __init__(self) -> None:
        self._told_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message", "")).startswith("socket.accept()"):
            loop.default_exception_handler(context)
        elif time.monotonic() - self._told_at >= 1:
            self._told_at = time.monotonic()
            _log.error("accept_failed", error=str(context.get("exception")))


class _Stop:
    """The wish that the server end, which may come before there is one."""

    def __init__(self) -> None:
        self.is_asked = False
        self.server: Server | None = None

    def ask(self) -> None:
        if not self.is_asked:
            _log.info("stopping")
            _watch_over_the_end(UNFINISHED)
        self.is_asked = True
        if self.server is not None:
            self.server.stop()

    def on_failure(self, _failure: Exception) -> None:
        """A commit has failed: answer nothing more that rests on it, and end."""
        if self.server is not None:
            _watch_over_the_end(FAILED)
            self.server.stop()


def _watch_over_the_end(status: int) -> None:
    """End the process if it does not end by itself: a loop that is blocked keeps no promise of its own."""

    def end() -> None:
        say("perdure: something hangs; ending without waiting for it")
        leave(status)

    timer = threading.Timer(STOPPING_S, end)
    timer.daemon = True
    timer.start()


def _bind(host: str, port: int) -> socket.socket:
    """A socket at an address, not listening yet: until the engine is up a caller is refused at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # A child that a step forks, and that outlives this process, must not keep the port.
        listener = open_alone(lambda: socket.socket(family, kind, protocol))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


async def _bootstrap(engine: Engine, settings: Settings) -> None:
    """In an empty database make the first key: the one of the setting, or a new one, which is shown once."""
    made = await engine.services.access.bootstrap(settings.bootstrap_key, actor=terminal_actor())
    if made is not None and settings.bootstrap_key is None:
        say(f"perdure: this database is new. Its first key, with all scopes, is shown only now:\n\n    {made.text}\n")


def say(text: str) -> None:
    """A line for the person at the terminal; the log's lines are on stdout."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 it is what the command says


def leave(status: int) -> None:
    """End the process now: the thread of a plain step that is stuck would keep it alive for ever."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
