"""The main job as a story: `python -m api.demo`, which `python3 dev.py demo` runs.

An invoice waits for approval, the server is killed with -9 while it waits, and the approval comes afterwards.
All of it is real: a server process on a free port, a SQLite file, and the client of the HTTP API.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlsplit

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from perdure.api.client import Client, ClientError, Unauthorized
from perdure.api.client.results import RunItem

DEADLINE_S: Final = 30.0
POLL_S: Final = 0.05
WIDTH: Final = 120

PERDURE: Final = (sys.executable, "-m", "perdure")

WAITING_STATE: Final = "Wait for approval"
DEFINITION: Final[dict[str, Any]] = {
    "Comment": "Invoices above 100 are booked only if somebody approves them.",
    "StartAt": "Check amount",
    "States": {
        "Check amount": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.amount", "NumericLessThanEquals": 100, "Next": "Booked"}],
            "Default": "Summarize",
        },
        "Summarize": {
            "Type": "Task",
            "Resource": "transform",
            "Parameters": {"value.$": "$", "pick": ["supplier", "amount"], "set": {"ask": "Shall we pay?"}},
            "ResultPath": "$.summary",
            "Next": "Grace period",
        },
        "Grace period": {"Type": "Wait", "Seconds": 1, "Next": WAITING_STATE},
        WAITING_STATE: {
            "Type": "Task",
            "Resource": "wait_for_resume",
            "ResultPath": "$.approval",
            "Next": "Decide",
        },
        "Decide": {
            "Type": "Choice",
            "Choices": [
                {
                    "And": [
                        {"Variable": "$.approval.approved", "IsPresent": True},
                        {"Variable": "$.approval.approved", "BooleanEquals": True},
                    ],
                    "Next": "Booked",
                }
            ],
            "Default": "Rejected",
        },
        "Booked": {"Type": "Succeed"},
        "Rejected": {"Type": "Fail", "Error": "InvoiceRejected", "Cause": "The approver said no."},
    },
}
APPROVAL: Final = {"payload": {"source": "TEAMS", "approved": True, "by": "jo"}}


class DemoFailed(Exception):
    """The story went wrong; the message says where, and what happened instead."""


# --- the server ------------------------------------------------------------------------------------------


class DemoServer:
    """`perdure serve` as a process of its own, so that it can be killed, and a client of it once it has started."""

    client: Client

    def __init__(self, folder: Path, database: str, key: str) -> None:
        self.database = database
        self.key = key
        self.url = ""
        self._said = folder / "server.err"
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once it has been started."""
        if self._process is None:
            raise DemoFailed("the server has not been started")
        return self._process

    def start(self) -> None:
        """Start it, on a free port the first time and on the same one again later, and wait until it is ready."""
        port = str(urlsplit(self.url).port or 0)
        command = [*PERDURE, "serve", "--host", "127.0.0.1", "--port", port, "--database", self.database]
        with self._said.open("wb") as said, self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 our own program
                [*command, "--log-format", "json"],
                env={**os.environ, "PERDURE_BOOTSTRAP_KEY": self.key},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for us: it is we who stop it
            )
        deadline = time.monotonic() + DEADLINE_S
        while not (ready := re.search(r"ready at (http://\S+)", self._said.read_text(encoding="utf-8"))):
            if self._process.poll() is not None:
                self.fail()
            if time.monotonic() > deadline:
                raise DemoFailed(f"the server was not ready within {DEADLINE_S:.0f} s")
            time.sleep(POLL_S)
        if self.url != ready[1]:
            self.url = ready[1]
            self.client = Client(self.url, self.key, timeout_s=DEADLINE_S)

    def fail(self) -> NoReturn:
        """Say how it ended, though nobody asked it to."""
        said = self._said.read_text(encoding="utf-8", errors="replace").strip()
        raise DemoFailed(f"the server ended with status {self.process.returncode}: {said}")

    def kill(self) -> None:
        """End it as a power failure would: with no chance to say or write anything."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop it as a supervisor would, with SIGTERM. It must end with status 0."""
        if self._process is None or self._process.poll() is not None:
            return
        if self.url:
            self.client.close()
        self._process.terminate()
        try:
            status = self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DemoFailed(f"the server did not stop within {DEADLINE_S:.0f} s of SIGTERM") from None
        if status != 0:
            raise DemoFailed(f"the server ended with status {status} after SIGTERM")


# --- the story -------------------------------------------------------------------------------------------


class Story:
    """One invoice, from the workflow's creation to the audit of what happened."""

    def __init__(self, server: DemoServer, console: Console) -> None:
        self._server = server
        self._console = console
        self._workflow = ""
        self._execution = ""
        self._invoice = f"INV-{datetime.now(UTC):%y%m%d-%H%M%S}"

    def tell(self) -> None:
        """Everything, in order. Raises `Failed` at the first thing that is not as it should be."""
        try:
            self._tell()
        except Unauthorized:
            raise DemoFailed("the database is not new: PERDURE_BOOTSTRAP_KEY must be one of its keys") from None
        except ClientError as error:
            raise DemoFailed(f"the server did not do it: {error}") from error

    def _tell(self) -> None:
        self._server.start()
        self._say("Server", self._server.url, f"its log is {self._server.database}")
        self._create()
        self._trigger()
        before = self._until("waiting")
        self._say("Waiting", f"at {WAITING_STATE!r}, until somebody resumes it", "nothing but rows on disk")
        self._crash(before)
        self._resume("Resume", "restarted")
        self._resume("Again", "already restarted", "exactly one resume ends a wait")
        item = self._until("completed")
        self._say("Completed", f"in {item.workflow_current_state!r}")
        self._say("Verified", verified(self._server.database))
        self._console.print()
        self._console.print(history(events_of(item)))

    def _say(self, what: str, text: str, note: str = "") -> None:
        line = Text.assemble((f"{what:<11}", "bold cyan"), text, (f"  ({note})" if note else "", "dim"))
        self._console.print(line, soft_wrap=True)

    def _create(self) -> None:
        self._workflow = self._server.client.create_workflow("invoice approval", DEFINITION).id
        way = ("Check amount", "Summarize", "Grace period", WAITING_STATE, "Decide", "Booked")
        self._say("Workflow", " → ".join(way))

    def _trigger(self) -> None:
        invoice = {"process_id": self._invoice, "supplier": "Paper & Co", "amount": 1250}
        self._execution = self._server.client.trigger(self._workflow, invoice).execution_id
        self._say("Trigger", f"{self._invoice}, amount {invoice['amount']}", f"execution {self._execution}")

    def _crash(self, before: RunItem) -> None:
        """Kill the server while the execution waits; after a restart it must still wait, event for event."""
        self._say("kill -9", f"of the server, process {self._server.process.pid}")
        self._server.kill()
        self._server.start()
        after = self._until("waiting")
        if events_of(after) != events_of(before):
            raise DemoFailed("after the restart the log is not the one from before")
        note = f"all {len(events_of(after))} events are there"
        self._say("Restart", f"the wait survives: still at {after.workflow_current_state!r}", note)

    def _resume(self, what: str, wanted: str, note: str = "") -> None:
        told = self._server.client.resume_workflow(self._invoice, APPROVAL["payload"], state=WAITING_STATE).message
        if told != wanted:
            raise DemoFailed(f"the resume was answered with {told!r} and not {wanted!r}")
        self._say(what, f"{self._invoice} → {told}", note)

    def _until(self, status: str) -> RunItem:
        """The execution, as soon as it has this status."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            item = self._server.client.execution(self._workflow, self._execution)
            if item.status == status:
                return item
            if item.status not in {"pending", "running", "waiting"} or time.monotonic() > deadline:
                raise DemoFailed(f"the execution should be {status}, and is {item.status}")
            time.sleep(POLL_S)

    def next_commands(self) -> list[str]:
        """What to try next, ready to be pasted into a shell."""
        api = f"{self._server.url}/v2/workflows"
        curl = f"curl -H {shlex.quote(f'x-api-key: {self._server.key}')}"
        post = f"{curl} -H 'content-type: application/json'"
        another = {"process_id": "INV-8", "supplier": "Ink Ltd", "amount": 800}
        resume = f"{api}/resumeWorkflow/INV-8?state={quote(WAITING_STATE, safe='')}"
        script = Path(sys.executable).with_name("perdure")
        perdure = [str(script)] if script.exists() else PERDURE
        return [
            f"{post} {api}/triggerworkflow/{self._workflow} -d {shlex.quote(json.dumps(another))}",
            f"{curl} {self._server.url}/v1/waits",
            f"{post} '{resume}' -d {shlex.quote(json.dumps(APPROVAL))}",
            f"{curl} '{api}/getWorkflowExecutionHistory?workflow_id={self._workflow}&limit=5'",
            shlex.join([*perdure, "verify", "--database", self._server.database]),
        ]


def events_of(item: RunItem) -> list[dict[str, Any]]:
    """The events of an execution, as the process API shows them."""
    return item.workflow_event_log.events


def verified(database: str) -> str:
    """What `perdure verify` says, run beside the server."""
    command = [*PERDURE, "verify", "--database", database]
    try:
        done = subprocess.run(  # noqa: S603 our own program
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DemoFailed(f"perdure verify did not end within {DEADLINE_S:.0f} s") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise DemoFailed(f"perdure verify ended with status {done.returncode}: {said}")
    return done.stdout.strip()


def history(events: Sequence[dict[str, Any]]) -> Table:
    """The log of an execution as a table."""
    title = "Its history, as it is recorded"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, expand=True)
    for name in ("#", "after"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("event", "state", "by"):
        table.add_column(name, no_wrap=True)
    table.add_column("what", overflow="ellipsis", no_wrap=True, ratio=1)
    for event in events:
        after = f"{(event['at'] - events[0]['at']) / 1000:.3f} s"
        actor = event["actor"].partition(":")[0]
        cells = (event["type"], event.get("state", ""), actor, _gist(event))
        table.add_row(str(event["seq"]), after, *map(Text, cells))
    return table


def _gist(event: dict[str, Any]) -> str:
    """What an event brought, or where it led."""
    for name in ("input", "result", "resource", "next"):
        if name in event:
            value = event[name]
            return f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
    return ""


# --- the command -----------------------------------------------------------------------------------------


@click.command()
@click.option("--once", is_flag=True, help="End after the story, with status 0 if all went well.")
@click.option("--database", metavar="URL", help="Where the log is: sqlite:///PATH.  [default: a temporary file]")
def main(*, once: bool, database: str | None) -> None:
    """Run the main job on SQLite, over HTTP, with a kill -9 in the middle; then keep serving until Ctrl-C."""
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a supervisor's way to press Ctrl-C
    with tempfile.TemporaryDirectory(prefix="perdure-demo-") as folder:
        key = os.environ.get("PERDURE_BOOTSTRAP_KEY") or f"demo-{secrets.token_hex(8)}"
        server = DemoServer(Path(folder), database or f"sqlite:///{folder}/runs.db", key)
        try:
            _play(server, console, once=once)
        except DemoFailed as failure:
            console.print(Text(f"The demo failed: {failure}", style="bold red"), soft_wrap=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            _leave_nothing(server)


def _play(server: DemoServer, console: Console, *, once: bool) -> None:
    then = "" if once else "; then it serves until Ctrl-C"
    console.print(f"[bold]Perdure: an invoice waits for its approval, and the wait survives a kill -9[/bold]{then}\n")
    story = Story(server, console)
    story.tell()
    heading = "With the server still running (without --once) you could go on:" if once else "Go on from here:"
    console.print(f"\n[bold]{heading}[/bold]")
    for command in story.next_commands():
        console.print(Text(f"  {command}"), soft_wrap=True)
    if once:
        server.stop()
        return
    console.print(f"\nServing at {server.url} until Ctrl-C.")
    try:
        server.process.wait()
    except KeyboardInterrupt:
        console.print("\nStopping.")
        server.stop()
    else:
        server.fail()


def _leave_nothing(server: DemoServer) -> None:
    """End the server, however the story ended."""
    try:
        server.stop()
    except DemoFailed as failure:
        print(failure, file=sys.stderr)


if __name__ == "__main__":
    main()
