"""The steps of a run, as JSON and as a table: of one that is recorded, and of one that is simulated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from perdure.cli import output
from perdure.cli.output import compact, instant, readable
from perdure.engine.core.events import Recorded
from perdure.engine.history import condensed


def steps_json(events: Iterable[Recorded]) -> list[dict[str, Any]]:
    """The steps of a run, in the order in which they were entered."""
    return [_told(step) for step in condensed(events)["steps"]]


def _told(step: dict[str, Any]) -> dict[str, Any]:
    told = {**step, "entered_on": instant(step["entered_on"]), "exited_on": instant(step["exited_on"])}
    if "retries" in step:
        told["retries"] = [
            {**each, "failed_on": instant(each["failed_on"]), "retry_on": instant(each["retry_on"])}
            for each in step["retries"]
        ]
    return told


def steps_table(steps: Sequence[dict[str, Any]]) -> None:
    """The same for people."""
    output.table(["step", "entered", "exited", "attempts", "output"], [_row(step) for step in steps])


def _row(step: dict[str, Any]) -> list[Any]:
    gave = step["error"] if "error" in step else step["output"]
    at = [readable(step["entered_on"]), readable(step["exited_on"])]
    places = [f"{each['state']}[{each['index']}]" for each in step.get("within", ())]
    shown = "" if gave is None else compact(gave)
    if "cancelled" in step:
        shown = "cancelled"
    return ["/".join([*places, step["state"]]), *at, step["attempts"], shown]
