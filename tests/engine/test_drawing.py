"""Runs as Mermaid flowcharts."""

from perdure.engine.core import commands as c
from perdure.engine.history import mermaid_run
from perdure.engine.language import mermaid
from perdure.engine.testing import failed, given, succeeded

LOOP = {
    "StartAt": "Charge",
    "States": {
        "Charge": {"Type": "Task", "Resource": "charge", "ResultPath": "$.charge", "Next": "Enough"},
        "Enough": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.charge.done", "BooleanEquals": True, "Next": "Ask"}],
            "Default": "Charge",
        },
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}


def marked(drawing):
    """The lines of a drawing that a definition's own has not."""
    return [line.strip() for line in drawing.splitlines() if line not in mermaid(LOOP).splitlines()]


def looped():
    return given(LOOP, {}).when(succeeded("Charge", {"done": False})).when(succeeded("Charge", {"done": True}))


def styles(drawing):
    """The classes of a drawing: which nodes have which."""
    return [line for line in marked(drawing) if line.startswith("class ")]


def test_the_way_so_far_is_marked():
    """Visited states have their counts, and the one that the run is in stands out."""
    drawing = mermaid_run(LOOP, looped().events)
    assert marked(drawing) == [
        's1["Charge #215;2"]',
        's2{"Enough #215;2"}',
        "classDef visited fill:#e3f1e5,stroke:#2e7d32,color:#111",
        "class s1,s2 visited",
        "classDef current fill:#fff3cd,stroke:#b26a00,stroke-width:3px,color:#111",
        "class s3 current",
    ]


def test_the_last_state_of_a_run_that_is_over_is_marked_as_such():
    """Completed or terminated, nothing is current any more."""
    completed = looped().when(c.Resume({})).events
    terminated = looped().when(c.Terminate("enough")).events
    for events in (completed, terminated):
        assert styles(mermaid_run(LOOP, events)) == ["class s1,s2 visited", "class s3 last"]


def test_the_state_that_failed_is_marked():
    """The execution failed in the state that it had entered last."""
    events = given(LOOP, {}).when(failed("Charge", "Boom")).events
    assert styles(mermaid_run(LOOP, events)) == ["class s1 failed"]


def test_a_part_of_the_events_marks_what_it_tells():
    """With the first events missing the rest is drawn, and with none the definition alone."""
    assert styles(mermaid_run(LOOP, looped().events[3:])) == ["class s1,s2 visited", "class s3 current"]
    assert mermaid_run(LOOP, []) == mermaid(LOOP)


def test_all_states_that_a_run_is_in_are_marked():
    """In branches there are several; after a failure the branch's state and the one around it have failed."""
    task = {"Type": "Task", "Resource": "charge", "End": True}
    branches = [{"StartAt": name, "States": {name: task}} for name in ("One", "Two")]
    definition = {"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}}
    run = given(definition, {})
    assert "class s1,s2,s3 current" in mermaid_run(definition, run.events)
    drawing = mermaid_run(definition, run.when(failed("Two", "Boom")).events)
    assert "class s1,s3 failed" in drawing
    assert "class s2 visited" in drawing
