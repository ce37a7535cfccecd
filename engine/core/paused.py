"""The meaning of each command to a paused execution, as a table: the README shows it, and `decide` looks it up.

What is `put off` is not decided: the driver is told that it is out of date, and the unpause asks for it again. All else
is decided as ever, by the same functions; they enter nothing since `advance` stops, and call nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from perdure.engine.core import commands as c

Does: TypeAlias = Literal["recorded", "put off", "as ever", "no change", "goes on"]


class Meaning(NamedTuple):
    """The meaning of a command: `what` comes, what it `does`, and what follows from that."""

    what: str
    does: Does
    then: str


PAUSED: Final[Mapping[type, Meaning]] = {
    c.CompleteTask: Meaning(
        "a step or a child ends",
        "recorded",
        "the next state is entered by the unpause; the last state of the run ends the run",
    ),
    c.ChildStarted: Meaning("a child was started", "recorded", "the child goes on: it is paused by itself, if at all"),
    c.Resume: Meaning("a resume", "recorded", "it is told `restarted`; the next state is entered by the unpause"),
    c.AnswerTask: Meaning("an answer by task token", "recorded", "as for a resume; a retry delay stands still"),
    c.Beat: Meaning("a heartbeat", "recorded", "with frozen clocks there is nothing to put off, and no event"),
    c.FireTimer: Meaning(
        "a timer is due",
        "recorded",
        "a time limit, or the end of a Wait state; retry delays and frozen clocks stand still",
    ),
    c.QueueTask: Meaning("a step waits for a slot", "recorded", "no limit of it runs"),
    c.StartTask: Meaning("a waiting step has a slot", "put off", "the unpause has it wait for one again"),
    c.Redispatch: Meaning("a suspect has its turn", "put off", "the unpause has it wait for its turn again"),
    c.Advance: Meaning("its next states are due", "put off", "the unpause enters them"),
    c.Recover: Meaning(
        "the engine has restarted", "recorded", "deaths are counted and children followed; steps wait for the unpause"
    ),
    c.Admit: Meaning("there are places for it", "recorded", "it has them, and begins, or goes on, with the unpause"),
    c.Terminate: Meaning("a termination", "as ever", "it ends, and is paused no more"),
    c.Quarantine: Meaning("it is set aside", "as ever", "it is both, until it is released"),
    c.Release: Meaning("a release from quarantine", "as ever", "it is paused still"),
    c.PauseExecution: Meaning("a pause", "no change", "it is told `already paused`; reason and clocks stay"),
    c.UnpauseExecution: Meaning("an unpause", "goes on", "what was put off is asked for, and what is ready entered"),
    c.RedriveExecution: Meaning("a redrive", "as ever", "it is refused: the run has not ended"),
    c.ForkExecution: Meaning("a repeated fork", "as ever", "it is told which execution that is"),
    c.Trigger: Meaning("a repeated trigger", "as ever", "it is told which execution that is"),
    c.Confirm: Meaning("an answer is stored", "as ever", "nothing changes"),
    c.Refuse: Meaning("a refusal is recorded", "as ever", "nothing changes"),
}


def table() -> str:
    """The table in Markdown: what the README shows."""
    rows = [f"| {meaning.what} | {meaning.does} | {meaning.then} |" for meaning in PAUSED.values()]
    return "\n".join(["| what comes | | and then |", "| --- | --- | --- |", *rows]) + "\n"
