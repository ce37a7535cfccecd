"""Answering for tasks by their tokens: `success`, `failure` and `heartbeat`."""

from __future__ import annotations

from typing import Any, Literal

import click

from perdure.cli import output
from perdure.cli.arguments import read_json
from perdure.cli.options import Group, Where, anywhere
from perdure.cli.output import readable
from perdure.cli.targets.choice import no_elsewhere, target


@click.group(
    cls=Group,
    examples=[
        """perdure task success "$TOKEN" --output '{"approved": true}'""",
        """perdure task failure "$TOKEN" --error Approval.Refused""",
        """perdure task heartbeat "$TOKEN\"""",
    ],
)
def task() -> None:
    """Answer for a task by the token that it handed out (.waitForTaskToken)."""


@task.command(
    examples=[
        """perdure task success "$TOKEN" --output '{"approved": true}'""",
        """perdure task success "$TOKEN" --output @approval.json --json""",
    ],
)
@click.argument("token")
@click.option("--output", "given", metavar="JSON|@FILE", required=True, help="What the task gives: any JSON value.")
@anywhere
def success(token: str, given: str, where: Where, *, as_json: bool) -> None:
    """End the task with an output. A token is good for one answer."""
    _answer(where, token, "success", {"output": read_json(given, "--output")}, as_json=as_json)


@task.command(
    examples=["""perdure task failure "$TOKEN" --error Approval.Refused --cause "not on the contract\""""],
)
@click.argument("token")
@click.option("--error", metavar="NAME", help="The error's name, which Retry and Catch can name.")
@click.option("--cause", metavar="TEXT", help="What happened, in words.")
@anywhere
def failure(token: str, where: Where, *, as_json: bool, **given: str | None) -> None:
    """Fail the task. A token is good for one answer."""
    body = {name: value for name, value in given.items() if value is not None}
    _answer(where, token, "failure", body, as_json=as_json)


@task.command(examples=["""perdure task heartbeat "$TOKEN\""""])
@click.argument("token")
@anywhere
def heartbeat(token: str, where: Where, *, as_json: bool) -> None:
    """Say that the task is alive, before its HeartbeatSeconds have passed."""
    _answer(where, token, "heartbeat", {}, as_json=as_json)


def _follows(then: dict[str, Any]) -> str:
    if then["kind"] == "retry":
        return f"the task is tried again at {readable(then['retry_at'])}"
    if then["kind"] == "catch":
        return f"its state catches that, and goes on to {then['next']!r}"
    return "nothing catches that: its state has failed"


def _answer(
    where: Where, token: str, what: Literal["success", "failure", "heartbeat"], body: dict[str, Any], *, as_json: bool
) -> None:
    no_elsewhere(where)
    told = target(where).answer_task(token, what, body)
    if "then" in told:
        output.say(_follows(told["then"]))
    output.answer(told, told["message"], as_json=as_json)
