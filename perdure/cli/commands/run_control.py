"""Changing runs: `trigger`, `resume`, `terminate`, `release`, `pause` and `unpause`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from perdure.cli import output
from perdure.cli.arguments import id_option, read_json, read_object
from perdure.cli.options import ExampledCommand, Where, anywhere
from perdure.cli.targets.choice import no_elsewhere, target

F = TypeVar("F", bound=Callable[..., Any])


def what_to_start(function: F) -> F:
    """Give a command a workflow, and how a run of it is to start."""
    options = (
        click.argument("workflow"),
        click.option("--input", "given", metavar="JSON|@FILE", help="The run's input, a JSON object.  [default: {}]"),
        click.option(
            "--process-id", metavar="ID", help="Your own name for the run: the same call again starts nothing."
        ),
        click.option(
            "--version", type=click.IntRange(1, 2**31 - 1), help="Of the workflow.  [default: the latest published]"
        ),
    )
    for option in reversed(options):
        option(function)
    return function


@click.command(
    cls=ExampledCommand,
    examples=[
        """perdure trigger "invoice approval" --input '{"amount": 120}' --process-id INV-9""",
        'perdure trigger "invoice approval" --input @invoice.json',
        'perdure trigger "invoice approval" --version 1 --json',
    ],
)
@what_to_start
@anywhere
def trigger(
    workflow: str, given: str | None, process_id: str | None, version: int | None, where: Where, *, as_json: bool
) -> None:
    """Start a run of a workflow, by its name or id, and print the run's id.

    Straight to a database the start is recorded, and the next server on it calls the steps.
    """
    no_elsewhere(where)
    answer = target(where).trigger(workflow, read_object(given, "--input"), process_id, version)
    output.answer(answer, answer["execution_id"], as_json=as_json)
    if where.server is None:
        output.say("recorded; a server on this database takes it on")


@click.command(
    cls=ExampledCommand,
    examples=[
        """perdure resume INV-7 --state Ask --payload '{"approved": true}'""",
        "perdure resume INV-7 --payload @approval.json --state Ask",
    ],
)
@click.argument("process_id")
@click.option("--payload", metavar="JSON|@FILE", help="A JSON value: what the state that waits gives.  [default: {}]")
@click.option("--source", metavar="NAME", help="Who answers: the payload's member of that name.")
@click.option("--state", metavar="NAME", help="Only a wait at this state.")
@click.option("--wait-id", metavar="ID", callback=id_option, help="Exactly this wait (perdure waits).")
@click.option(
    "--hold",
    type=click.IntRange(0, 30),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How long a server holds the call if its wait has not opened yet.",
)
@anywhere
def resume(
    process_id: str,
    payload: str | None,
    source: str | None,
    where: Where,
    *,
    state: str | None,
    wait_id: str | None,
    hold: int,
    as_json: bool,
) -> None:
    """End a wait of a run: `restarted`, or `already restarted` if an earlier resume did."""
    no_elsewhere(where)
    value = {} if payload is None else read_json(payload, "--payload")
    if source is not None:
        if not isinstance(value, dict):
            raise click.UsageError("--source: the payload is no JSON object that it could stand in")
        if value.setdefault("source", source) != source:
            raise click.UsageError("--source: the payload has another one; give one of them")
    answer = target(where).resume(process_id, value, wait_id=wait_id, state=state, hold_s=hold)
    output.answer(answer, answer["message"], as_json=as_json)


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure terminate INV-7",
        'perdure terminate INV-7 --reason "entered twice"',
        """perdure terminate INV-7 --payload '{"ticket": 4711}'""",
    ],
)
@click.argument("process_id")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the log.")
@click.option("--payload", metavar="JSON|@FILE", help="A JSON object that is kept in the log beside the reason.")
@anywhere
def terminate(process_id: str, reason: str | None, payload: str | None, where: Where, *, as_json: bool) -> None:
    """End a run from outside: `terminated`, or `already terminated`."""
    no_elsewhere(where)
    value = read_object(payload, "--payload")
    if reason is not None and value.setdefault("termination_reason", reason) != reason:
        raise click.UsageError("--reason: the payload has another one; give one of them")
    answer = target(where).terminate(process_id, value)
    output.answer(answer, answer["message"], as_json=as_json)


@click.command(cls=ExampledCommand, examples=["perdure release INV-7"])
@click.argument("process_id")
@anywhere
def release(process_id: str, where: Where, *, as_json: bool) -> None:
    """Try a run again that was set aside, since deciding about it had failed (`perdure doctor` lists such runs).

    It is read anew from its first event, and what was under way is taken up, under the same idempotency keys. If that
    fails as before, it is set aside again: update the program first.
    """
    no_elsewhere(where)
    answer = target(where).release(process_id)
    output.answer(answer, answer["message"], as_json=as_json)


@click.command(
    cls=ExampledCommand,
    examples=[
        'perdure pause INV-7 --reason "the bank is down"',
        'perdure pause INV-7 --reason "until Monday" --freeze',
    ],
)
@click.argument("process_id")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it stands in the log.")
@click.option("--freeze", is_flag=True, help="Stop the clocks too: every time limit keeps what is left of it.")
@anywhere
def pause(process_id: str, reason: str, where: Where, *, freeze: bool, as_json: bool) -> None:
    """Stop a run for a while: `paused`, or `already paused`. `perdure show` says when nothing is in flight any more.

    No state is entered and no step is called until `perdure unpause`; what is called goes on, and what comes in is
    recorded.
    """
    no_elsewhere(where)
    answer = target(where).pause(process_id, reason, clocks="freeze" if freeze else "run")
    output.answer(answer, answer["message"], as_json=as_json)


@click.command(cls=ExampledCommand, examples=["perdure unpause INV-7"])
@click.argument("process_id")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the log.")
@anywhere
def unpause(process_id: str, reason: str | None, where: Where, *, as_json: bool) -> None:
    """Let a paused run go on where it stands: `unpaused`, or `not paused`. A quota is granted once more."""
    no_elsewhere(where)
    answer = target(where).unpause(process_id, reason)
    output.answer(answer, answer["message"], as_json=as_json)
