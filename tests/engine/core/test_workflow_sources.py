"""What a workflow's stream says of the documents that versions were made from, and of who sees the workflow."""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec.structs import replace

from perdure.engine.core import workflow as w
from perdure.engine.core.versions import VersionAdded, VersionSource, VisibilityChanged

from .test_workflow import CREATE, DRAFT, FIRST, Stream

STEPS = w.SourceText("steps", '{"steps":["a"]}', '{"steps":[]}')
WRITTEN = replace(FIRST, source=STEPS)


def told(source: w.SourceText) -> VersionSource:
    """What an event says of a source."""
    text, outline = (hashlib.sha256(each.encode()).hexdigest() for each in (source.text, source.outline))
    return VersionSource(source.format, text, outline)


def change(number: int = 1, *, was_published: bool = True, **fields: Any) -> w.ChangeWorkflow:
    """A change of the version of that number."""
    return w.ChangeWorkflow(version=number, current=WRITTEN, was_published=was_published, **fields)


def test_a_version_names_the_digests_of_its_document() -> None:
    """Of the text and of what goes with it, and never the text itself; a definition has none."""
    stream = Stream(replace(CREATE, definition=WRITTEN))
    assert stream.new[-1] == VersionAdded(1, "1" * 64, source=told(STEPS))
    assert stream.state.versions[1].source == told(STEPS)
    assert Stream(CREATE).state.versions[1].source is None


def test_another_document_is_another_version_though_it_compiles_alike() -> None:
    """Another text, outline or format, or the definition by itself: each is the next version."""
    others = [
        replace(STEPS, text=STEPS.text + " "),
        replace(STEPS, outline="{}"),
        replace(STEPS, format="graph"),
        None,
    ]
    for other in others:
        stream = Stream(replace(CREATE, definition=WRITTEN))
        stream.send(change(definition=replace(WRITTEN, source=other)))
        assert [type(event) for event in stream.new] == [VersionAdded]
        assert stream.state.versions[2].source == (None if other is None else told(other))


def test_the_same_document_changes_nothing() -> None:
    """Whatever summary comes with it: nothing is summed up where nothing has changed."""
    stream = Stream(replace(CREATE, definition=WRITTEN))
    stream.send(change(definition=replace(WRITTEN, summary="as before")))
    assert stream.new == []
    assert stream.answer == 1


def test_a_summary_is_business_data() -> None:
    """The event refers to it in the payload; a mock payload beside it leaves its digest there, too."""
    stream = Stream(replace(CREATE, definition=replace(WRITTEN, summary="for Ms Ito", mock_payload="{}")))
    added = stream.new[-1]
    assert isinstance(added, VersionAdded)
    assert added.summary is not None
    assert stream.value(added.summary) == "for Ms Ito"
    payload = stream.events[-1].payload
    assert payload == {"summary": "for Ms Ito", "mock_sha256": hashlib.sha256(b"{}").hexdigest()}
    assert "Ito" not in repr(added)


def test_a_published_draft_keeps_its_document() -> None:
    """Publishing says what was published, and leaves the rest of the version alone."""
    stream = Stream(replace(DRAFT, definition=WRITTEN))
    stream.send(change(was_published=False, is_published=True))
    assert [type(event) for event in stream.new] == [w.VersionPublished]
    assert stream.state.versions[1].source == told(STEPS)


def test_a_workflow_is_everybodys_unless_something_is_said() -> None:
    """No event says what was so before there was one; a maker who is somebody is recorded, though."""
    assert Stream(CREATE).state.sharing == w.Sharing("tenant")
    assert not any(isinstance(event, VisibilityChanged) for event in Stream(CREATE).new)
    stream = Stream(replace(CREATE, owner="u-1"))
    assert stream.new[-1] == VisibilityChanged("tenant", owner="u-1")
    assert stream.state.owner == "u-1"


def test_a_change_of_who_sees_it_is_an_event_and_leaves_the_owner() -> None:
    """No version is made; said again it is nothing new."""
    stream = Stream(replace(CREATE, owner="u-1", sharing=w.Sharing("private")))
    shared = w.Sharing("shared", ("u-2",), ("auditors",))
    stream.send(change(sharing=shared))
    assert stream.new == [VisibilityChanged("shared", ("u-2",), ("auditors",))]
    assert (stream.state.sharing, stream.state.owner, stream.state.latest) == (shared, "u-1", 1)
    assert stream.send(change(sharing=shared)).new == []


def test_who_sees_an_archived_workflow_stays_as_it_is() -> None:
    """As all else of it does."""
    stream = Stream(CREATE, w.ArchiveWorkflow())
    stream.send(change(sharing=w.Sharing("private"))).is_refused("CONFLICT")
