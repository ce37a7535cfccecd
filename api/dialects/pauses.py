"""A pause, as the dialects and the command line show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.engine.services.pauses import PauseBrief, PauseView


def brief_json(pause: PauseBrief, instant: Callable[[int], Any]) -> dict[str, Any]:
    """The pause of a run on a page; `instant` gives milliseconds as the dialect has them."""
    return {
        "since": instant(pause.since),
        "quota": pause.quota,
        "in_flight": pause.in_flight,
        "quiescent": pause.quiescent,
    }


def pause_json(pause: PauseView, instant: Callable[[int], Any]) -> dict[str, Any]:
    """The pause of one run, with who, why and how."""
    said = {"by": pause.by, "reason": pause.reason, "clocks": pause.clocks}
    return {**brief_json(pause.brief, instant), **said}
