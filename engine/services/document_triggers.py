"""Problems with what a document says of when it runs, which its compiler, that knows no calendar, does not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from perdure.engine import calendar
from perdure.engine.language import Problem

NOT_YET: Final = {
    "webhook": "they come with webhooks",
    "form": "they come with forms",
    "event": "they come with webhooks",
}
"""Triggers of documents that start no run yet, and why."""


class TriggerPlace(NamedTuple):
    """A trigger in a document: where it stands (a JSON Pointer), and its members."""

    pointer: str
    members: Mapping[str, Any]


def trigger_place(name: str, document: Any) -> TriggerPlace | None:
    """Find the trigger of a document of the format of that name; null if it has none."""
    if not isinstance(document, dict):
        return None
    if name == "steps" and isinstance(document.get("trigger"), dict):
        return TriggerPlace("/trigger", document["trigger"])
    if name == "graph" and isinstance(document.get("nodes"), list):
        for index, node in enumerate(document["nodes"]):
            if isinstance(node, dict) and node.get("type") == "trigger":
                member = "config" if node.get("config") else "data"
                found = node.get(member)
                return TriggerPlace(f"/nodes/{index}/{member}", found) if isinstance(found, dict) else None
    return None


def trigger_problems(name: str, document: Any) -> list[Problem]:
    """Find a trigger that comes later, and a cron expression or a time zone that means nothing."""
    if name == "service" and isinstance(document, dict):
        cron = "schedule" if document.get("cron_expression") is None else "cron_expression"
        return list(_calendar_problems(TriggerPlace("", document), cron))
    place = trigger_place(name, document)
    if place is None:
        return []
    kind = place.members.get("type", "api")
    if isinstance(kind, str) and kind in NOT_YET:
        return [Problem(f"{place.pointer}/type", not_yet(kind))]
    if kind != "schedule":
        return []
    inside = place.members.get("config")
    if isinstance(inside, dict) and inside:
        place = TriggerPlace(f"{place.pointer}/config", inside)
    return list(_calendar_problems(place, "cron"))


def not_yet(kind: str) -> str:
    """Say that triggers of this type start nothing yet."""
    return f"{kind!r} is not there yet ({NOT_YET[kind]}); it must be 'api' or 'schedule'"


def _calendar_problems(place: TriggerPlace, cron: str) -> Iterator[Problem]:
    zone, text = place.members.get("timezone"), place.members.get(cron)
    if isinstance(zone, str):
        try:
            calendar.parse_zone(zone)
        except calendar.BadCalendar as problem:
            yield Problem(f"{place.pointer}/timezone", str(problem))
    if isinstance(text, str):
        try:
            calendar.parse_cron(text, "UTC", now=None)
        except calendar.BadCalendar as problem:
            yield Problem(f"{place.pointer}/{cron}", str(problem))
