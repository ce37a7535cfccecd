"""A run as a picture: the drawing of its definition, with the way that it took marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from engine.core.events import Recorded
from engine.history.visits import Course, follow
from engine.language.drawing import Mark, mermaid


def mermaid_run(definition: Mapping[str, Any], events: Iterable[Recorded]) -> str:
    """Draw a valid definition as a Mermaid flowchart, with the states that the events have visited, and how often.

    The state that was entered last is marked as `current`, after the end as `last`, and as `failed` if the execution
    failed there. The events ascend; where some are missing, the counts are of those that are given.
    """
    course = follow(events)
    visits = Counter(visit.state for visit in course.visits)
    marks = {state: Mark("visited", count) for state, count in visits.items()}
    if course.visits:
        newest = course.visits[-1].state
        marks[newest] = Mark(_style(course), visits[newest])
    return mermaid(definition, marks)


def _style(course: Course) -> str:
    """The style of the state that was entered last."""
    ends = {moment.what for moment in course.moments} & {"ended", "broken", "aborted"}
    if "broken" in ends:
        return "failed"
    return "last" if ends else "current"
