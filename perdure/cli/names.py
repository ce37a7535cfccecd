"""Resolution of names on the command line, with suggestions for unknown ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.cli.runner import CommandFailed
from perdure.engine.core import ids

SUGGESTED_FROM = 1000
"""Among so many names, the newest, a similar one is looked for."""


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    try:
        ids.parse(text)
    except ValueError:
        return False
    return True


def only(what: str, name: str, found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The one of that name; of several one that is in use goes before what is archived or revoked. None: none."""
    named = [each for each in found if each["name"] == name]
    in_use = [each for each in named if each.get("status") != "archived" and not each.get("revoked_at")]
    candidates = in_use or named
    if len(candidates) > 1:
        raise CommandFailed(
            f"there are {len(candidates)} {what}s named {name!r}: say which by its id",
            [str(each["id"]) for each in candidates],
        )
    return candidates[0] if candidates else None


def only_schedule(found: Sequence[str]) -> str:
    """The one schedule of a workflow. Raises `CommandFailed` if it has none, or several."""
    if not found:
        raise CommandFailed("the workflow has no schedule")
    if len(found) > 1:
        raise CommandFailed(f"the workflow has {len(found)} schedules: say which by its id", list(found))
    return found[0]
