"""A run as a Mermaid flowchart: its definition, with the states marked that were visited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from perdure.engine.core.events import Recorded
from perdure.engine.core.state import TOP
from perdure.engine.history.handlers import follow
from perdure.engine.history.timeline import Timeline, Visit
from perdure.engine.language.analysis.drawing import Mark, mermaid


def mermaid_run(definition: Mapping[str, Any], events: Iterable[Recorded]) -> str:
    """Draw a valid definition as a Mermaid flowchart, with the states that the events have visited, and how often.

    The states that the run is in are marked as `current`. After the end the one that was entered last at the top level
    is the `last`, or it has `failed` if the execution failed there, and so has what failed below it. The events ascend;
    where some are missing, the counts are of those that are given.
    """
    timeline = follow(events)
    visits = Counter(visit.state for visit in timeline.visits)
    styles = dict.fromkeys(visits, "visited") | _styles(timeline)
    return mermaid(definition, {state: Mark(style, visits[state]) for state, style in styles.items()})


def _styles(timeline: Timeline) -> dict[str, str]:
    """The styles of the states that stand out."""
    if timeline.ending is None:
        return {visit.state: "current" for visit in timeline.current}
    below: list[Visit] = []
    for visit in reversed(timeline.visits):
        if visit.scope != TOP:
            below.append(visit)
        elif timeline.ending == "broken":
            failed = [visit, *(inner for inner in below if inner.failure is not None and inner.output is None)]
            return {inner.state: "failed" for inner in failed}
        else:
            return {visit.state: "last"}
    return {}
