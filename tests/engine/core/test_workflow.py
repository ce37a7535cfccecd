"""A workflow's stream: its versions from draft to archive, and what an auditor reads of them."""

from __future__ import annotations

import msgspec
import pytest

from perdure.engine.core import workflow as w
from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.events import CommandRefused, Recorded
from perdure.engine.core.refs import resolve
from perdure.engine.core.settings import VersionSettings
from perdure.engine.core.versions import Called, VersionAdded
from perdure.engine.log.verification import verify_stream
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.store.records import StoredEvent
from tests.chained import chained

from .checked import ORGANIZATION, STREAM, salts

FIRST, SECOND, THIRD = (w.Definition("{}", digit * 64) for digit in "123")
CREATE = w.CreateWorkflow("workspace", "Invoices", "All of them", FIRST)
DRAFT = w.CreateWorkflow("workspace", "Invoices", None, FIRST, is_published=False)
ARCHIVE = w.ArchiveWorkflow()


class Stream:
    """A workflow driven by hand; every decision is folded again from what the log keeps of it."""

    def __init__(self, *commands):
        self.state = w.WorkflowState()
        self.events: list[Recorded] = []
        self.now = 1000
        for command in commands:
            self.send(command)

    def send(self, command, actor="key:a"):
        before = msgspec.json.encode(self.state)
        outcome = w.decide(self.state, command, now=self.now, actor=actor)
        assert msgspec.json.encode(self.state) == before
        self.now += 1000
        self.last = outcome
        self.answer = outcome.answer if isinstance(outcome, Decision) else None
        if isinstance(outcome, Decision):
            self._take(outcome.steps)
        return self

    def _take(self, steps: tuple[DraftedEvent, ...]):
        self.new = [step.recorded.event for step in steps]
        self.events += [step.recorded for step in steps]
        self.state = steps[-1].state if steps else self.state
        rows = chained(ORGANIZATION, STREAM, self.events, salts)
        stored = [StoredEvent(row.seq, row) for row in rows]
        assert verify_stream(STREAM, stored, (rows[-1].seq, rows[-1].hash)) is None
        folded = w.WorkflowState()
        for recorded in STREAM_TYPES["workflow"].vocabulary.read_all(stored):
            folded = w.evolve(folded, recorded)
        assert folded == self.state

    def value(self, reference):
        return resolve(reference, {r.seq: r.payload for r in self.events})

    def is_refused(self, code):
        assert isinstance(self.last, Rejection)
        assert (self.last.code, self.last.steps) == (code, ())
        return self


def change(version=1, *, was_published=True, **fields):
    return w.ChangeWorkflow(**{"version": version, "current": FIRST, "was_published": was_published, **fields})


SHIP, BILL = Called("ship"), Called("bill", 3)


def calling(definition, **calls):
    return msgspec.structs.replace(definition, calls=calls)


def test_a_workflow_is_created_with_its_first_version():
    """Two events; name and description are business data, the definition's digest is not."""
    stream = Stream(CREATE)
    assert stream.new == [
        w.WorkflowCreated("workflow", "workspace", "1/name", "1/description"),
        VersionAdded(1, "1" * 64),
    ]
    assert stream.events[0].payload == {"name": "Invoices", "description": "All of them"}
    assert stream.answer == 1
    state = stream.state
    assert (state.status, state.latest, state.created_at, state.created_by) == ("published", 1, 1000, "key:a")
    assert state.versions[1] == w.Version("1" * 64, 1000, "key:a", 1000)


def test_a_draft_is_published_by_an_event_of_its_own():
    """Which carries the digest again: what was published stands in one event."""
    stream = Stream(DRAFT)
    assert (stream.state.status, stream.state.versions[1].published_at) == ("draft", None)
    assert stream.state.description is None
    stream.send(change(is_published=True), "key:b")
    assert stream.new == [w.VersionPublished(1, "1" * 64)]
    assert (stream.state.status, stream.state.versions[1].published_at) == ("published", 2000)
    assert (stream.state.created_by, stream.state.modified_by) == ("key:a", "key:b")
    stream.send(change(is_published=True))
    assert stream.new == []


def test_a_new_definition_makes_the_next_version():
    """It is published at once if the one before it is; a published version never changes."""
    stream = Stream(CREATE).send(change(definition=SECOND))
    assert stream.new == [VersionAdded(2, "2" * 64)]
    assert (stream.answer, stream.state.versions[1].definition_sha256) == (2, "1" * 64)


def test_a_new_definition_of_a_draft_is_a_draft():
    """Unless it is to be published."""
    stream = Stream(DRAFT).send(change(definition=SECOND, was_published=False))
    assert stream.new == [VersionAdded(2, "2" * 64, is_published=False)]
    stream.send(change(2, current=SECOND, definition=THIRD, is_published=True, was_published=False))
    assert stream.new == [VersionAdded(3, "3" * 64)]
    assert stream.state.status == "published"


def test_a_draft_may_follow_a_published_version():
    """The workflow stays published: the draft is beside it."""
    stream = Stream(CREATE).send(change(definition=SECOND, is_published=False))
    assert stream.new == [VersionAdded(2, "2" * 64, is_published=False)]
    assert (stream.state.status, stream.state.latest) == ("published", 2)


def test_the_same_definition_is_no_new_version():
    """A repeated request changes nothing."""
    stream = Stream(CREATE).send(change(definition=FIRST))
    assert stream.new == []
    assert stream.answer == 1


def test_a_published_version_is_never_taken_back():
    """It may have runs."""
    Stream(CREATE).send(change(is_published=False)).is_refused("CONFLICT")


def test_a_draft_may_be_left_a_draft():
    """Saying so changes nothing."""
    assert Stream(DRAFT).send(change(is_published=False)).new == []


@pytest.mark.parametrize(
    ("fields", "name", "description"),
    [
        ({"name": "Bills"}, "Bills", "All of them"),
        ({"description": "Some"}, "Invoices", "Some"),
        ({"name": "Bills", "description": ""}, "Bills", ""),
    ],
)
def test_a_workflow_is_described_anew(fields, name, description):
    """What is not given stays; the words are business data."""
    stream = Stream(CREATE).send(change(**fields))
    assert stream.new == [w.WorkflowDescribed(**{field: f"3/{field}" for field in fields})]
    assert (stream.value(stream.state.name), stream.value(stream.state.description)) == (name, description)


def test_one_change_may_do_everything():
    """Words and definition in one decision: all of it or nothing."""
    stream = Stream(CREATE).send(change(name="Bills", definition=SECOND))
    assert [type(event) for event in stream.new] == [w.WorkflowDescribed, VersionAdded]


def test_a_change_of_what_is_no_longer_there_is_refused():
    """Whoever changes a workflow must have seen its latest version."""
    stream = Stream(CREATE).send(change(definition=SECOND))
    stream.send(change(name="Late")).is_refused("CONFLICT")
    assert stream.state.latest == 2


NAMED = msgspec.structs.replace(FIRST, settings=VersionSettings(resume="named"))
MOCKED = msgspec.structs.replace(SECOND, mock_payload="{}")


@pytest.mark.parametrize(
    "first", [SECOND, NAMED, MOCKED, calling(FIRST, Sell=SHIP)], ids=["d", "resume", "mock", "calls"]
)
def test_a_version_that_takes_over_what_is_no_longer_so_is_refused(first):
    """Whatever of the latest version was changed meanwhile: its definition, resume rule, mock payload or calls."""
    stream = Stream(CREATE).send(change(definition=first))
    stream.send(change(definition=THIRD)).is_refused("CONFLICT")
    assert (stream.state.latest, stream.state.versions[2].settings) == (2, first.settings)


def test_a_new_version_that_goes_by_a_status_that_changed_is_refused():
    """Of a draft it would be a draft; the draft was published meanwhile. Who says what it is to be is not concerned."""
    stream = Stream(DRAFT).send(change(is_published=True, was_published=False))
    stream.send(change(definition=SECOND, was_published=False)).is_refused("CONFLICT")
    stream.send(change(name="Bills", was_published=False))
    stream.send(change(definition=SECOND, is_published=False, was_published=False))
    assert stream.new == [VersionAdded(2, "2" * 64, is_published=False)]


def test_two_publications_at_once_are_one():
    """The second finds what it wants."""
    stream = Stream(DRAFT).send(change(is_published=True, was_published=False))
    assert stream.send(change(is_published=True, was_published=False)).new == []


def test_an_archived_workflow_stays_archived():
    """Archiving it again is no error; changing it is."""
    stream = Stream(CREATE).send(ARCHIVE)
    assert (stream.new, stream.state.status) == ([w.WorkflowArchived()], "archived")
    assert stream.send(ARCHIVE).new == []
    stream.send(change(name="Late")).is_refused("CONFLICT")


def test_a_workflow_is_created_once_and_first():
    """A second creation is refused, as is everything before the first."""
    Stream(CREATE).send(CREATE).is_refused("CONFLICT")
    Stream().send(ARCHIVE).is_refused("NOT_FOUND")
    Stream().send(change(name="Early")).is_refused("NOT_FOUND")


def test_an_event_of_another_kind_of_stream_is_an_error():
    """The fold skips nothing."""
    with pytest.raises(TypeError, match=r"perdure\.engine\.core\.workflow has no row for CommandRefused"):
        w.evolve(w.WorkflowState(), Recorded(1, 0, "key:a", None, CommandRefused("c", "CONFLICT", 1), None))


def test_what_is_called_stands_in_the_event_that_publishes():
    """Of a version that is published at once, and of a draft: not before."""
    at_once = Stream(w.CreateWorkflow("workspace", "Invoices", None, calling(FIRST, Sell=SHIP)))
    assert at_once.new[-1] == VersionAdded(1, "1" * 64, calls={"Sell": SHIP})
    draft = Stream(w.CreateWorkflow("workspace", "Invoices", None, calling(FIRST, Sell=SHIP), is_published=False))
    assert draft.state.versions[1].calls == {}
    draft.send(change(current=calling(FIRST, Sell=BILL), is_published=True, was_published=False))
    assert draft.new == [w.VersionPublished(1, "1" * 64, {"Sell": BILL})]
    assert draft.state.versions[1].calls == {"Sell": BILL}


def test_the_definition_of_a_draft_that_is_given_again_says_what_it_calls():
    """When it is published with that."""
    draft = Stream(DRAFT).send(change(definition=calling(FIRST, Sell=SHIP), is_published=True))
    assert draft.new == [w.VersionPublished(1, "1" * 64, {"Sell": SHIP})]


def test_a_name_that_means_another_workflow_makes_the_next_version():
    """What means none keeps its meaning, as long as the definition is the same; a draft's names mean nothing yet."""
    stream = Stream(CREATE).send(change(definition=calling(FIRST, Sell=SHIP, Send=SHIP)))
    assert stream.new == [VersionAdded(2, "1" * 64, calls={"Sell": SHIP, "Send": SHIP})]
    assert stream.send(change(2, definition=calling(FIRST, Sell=SHIP))).new == []
    assert stream.send(change(2, definition=FIRST)).new == []
    stream.send(change(2, definition=calling(FIRST, Sell=BILL), is_published=False)).is_refused("CONFLICT")
    stream.send(change(2, definition=calling(FIRST, Sell=BILL)))
    assert stream.new == [VersionAdded(3, "1" * 64, calls={"Sell": BILL, "Send": SHIP})]
    stream.send(change(3, definition=calling(SECOND, Sell=SHIP)))
    assert stream.new == [VersionAdded(4, "2" * 64, calls={"Sell": SHIP})]
    assert Stream(DRAFT).send(change(definition=calling(FIRST, Sell=SHIP))).new == []
