"""Schedules in a workflow's stream: each slot is decided once, and a run that comes of it is asked for until told."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.core import effects as fx
from perdure.engine.core import schedules as s
from perdure.engine.core import workflow as w
from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.events import Event
from perdure.engine.core.snapshots import decode_workflow, encode_state
from perdure.engine.log.codec import new_events
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.store.records import EventRow

MINUTE = 60_000
HOURLY = s.Timing(cron="0 * * * *")
CREATE = w.CreateWorkflow("workspace", "Invoices", None, w.Definition("{}", "1" * 64))


class Stream:
    """A workflow with one schedule, driven by hand; slots are whole minutes from minute 1 on, unless a test says."""

    def __init__(self, **spec):
        self.state = w.WorkflowState()
        self.events = []
        self.now = 0
        self.numbers = itertools.count(1)
        self.send(CREATE)
        fields = {"timing": HOURLY, "due_at": MINUTE, **spec}
        self.send(s.EditSchedules(added=(s.ScheduleSpec(**fields),)))
        (self.name,) = self.answer

    def send(self, command, actor="key:a"):
        before = msgspec.json.encode(self.state)
        self.last = w.decide(self.state, command, now=self.now, actor=actor, new_id=self.new_id)
        assert msgspec.json.encode(self.state) == before, "decide changed the state that it was given"
        self.new: list[Event] = []
        self.effects: tuple[fx.Effect, ...] = ()
        if isinstance(self.last, Decision):
            self.answer, self.effects = self.last.answer, self.last.effects
            self.new = [step.recorded.event for step in self.last.steps]
            self.events += [step.recorded for step in self.last.steps]
            self.state = self.last.steps[-1].state if self.last.steps else self.state
            self.check()
        return self

    def new_id(self):
        return f"id-{next(self.numbers)}"

    def check(self):
        """What is on disk folds to the same state, and a snapshot of it reads as it was."""
        folded, kind = w.WorkflowState(), STREAM_TYPES["workflow"]
        for recorded, new in zip(self.events, new_events(self.events, bytes), strict=True):
            assert "secret" not in new.data
            row = EventRow(bytes(16), recorded.seq, bytes(16), *new[:5], new.data, new.payload, None, None, b"")
            folded = kind.evolve(folded, kind.vocabulary.read(row))
        assert folded == self.state
        assert decode_workflow(encode_state(self.state)) == self.state

    @property
    def schedule(self):
        return self.state.schedules[self.name]

    def due(self, until=None, *, is_over=False, step=MINUTE, most=3, **changes):
        """What a calendar says has come, up to now."""
        first, until = self.schedule.next_at, self.now if until is None else until
        slots = list(range(first, until + 1, step))
        shown = slots[-most:]
        fields = {
            "schedule": self.name,
            "revision": self.schedule.revision,
            "first": first,
            "count": len(slots),
            "slots": tuple(shown),
            "due_at": slots[-1] + step,
            "older": slots[-most - 1] if len(slots) > most else None,
            "run": self.schedule.last_run,
            "is_over": is_over,
        }
        return s.Due(**{**fields, **changes})

    def tick(self, now, **changes):
        """The clock comes to an instant, and whoever watches it says what is due."""
        self.now = now
        return self.send(s.DecideSlots((self.due(**changes),)))

    @property
    def decided(self):
        return [
            (e.outcome, e.first // MINUTE, e.last // MINUTE, e.count) for e in self.new if isinstance(e, s.SlotDecided)
        ]

    def is_refused(self, code):
        assert isinstance(self.last, Rejection)
        assert self.last.code == code
        return self


def test_a_slot_that_comes_starts_a_run():
    """The run's id stands in the decision; the run is asked for after it, and the next slot is looked for."""
    stream = Stream(input={"text": "secret"})
    assert list(stream.effects) == [fx.SetSchedule(MINUTE)]
    stream.tick(MINUTE)
    run = stream.schedule.last_run
    assert stream.new == [s.SlotDecided(stream.name, "fired", MINUTE, MINUTE, 1, 2 * MINUTE, run, "3/input")]
    assert stream.effects == (
        fx.StartScheduled(stream.name, run, MINUTE, "UTC", "3/input"),
        fx.SetSchedule(2 * MINUTE),
    )
    assert stream.schedule.starting == {run: s.Intent(MINUTE, "3/input")}
    stream.send(s.AcknowledgeRuns((s.RunsOf(stream.name, (run,)),)))
    assert stream.new == [s.ScheduledRunsStarted(stream.name, (run,))]
    assert stream.schedule.starting == {}
    stream.send(s.AcknowledgeRuns((s.RunsOf(stream.name, (run,)),)))
    assert stream.new == []


def test_what_does_not_agree_with_the_state_decides_nothing():
    """A slot is decided once: whoever is told of it late, early or from an older state is stale."""
    stream = Stream()
    stream.tick(MINUTE)
    before = len(stream.events)
    stream.now = 3 * MINUTE
    for changes in ({"first": MINUTE}, {"revision": 1}, {"schedule": "another"}, {"slots": (2 * MINUTE, 4 * MINUTE)}):
        stream.send(s.DecideSlots((stream.due(**changes),))).is_refused("STALE")
    assert len(stream.events) == before


def test_what_has_moved_on_is_named_and_the_others_are_decided():
    """Of schedules that are decided together, one that was overtaken holds up none; it is the answer."""
    stream = Stream()
    stream.now = MINUTE
    right = stream.due()
    stream.send(s.DecideSlots((stream.due(schedule="another"), right, right)))
    assert stream.decided == [("fired", 1, 1, 1)]
    assert isinstance(stream.last, Decision)
    assert stream.last.answer == ("another", stream.name)


@pytest.mark.parametrize(
    ("catch_up", "now", "decided"),
    [
        ("none", 10 * MINUTE + 500, [("missed", 1, 9, 9), ("fired", 10, 10, 1)]),
        ("latest", 10 * MINUTE + 500, [("missed", 1, 9, 9), ("fired", 10, 10, 1)]),
        (
            "all",
            4 * MINUTE + 500,
            [("caught_up", 1, 1, 1), ("caught_up", 2, 2, 1), ("caught_up", 3, 3, 1), ("fired", 4, 4, 1)],
        ),
    ],
)
def test_an_outage_of_a_schedule_that_is_due_again(catch_up, now, decided):
    """The slot of this very minute is on time; those before it were missed, or are made up for."""
    stream = Stream(catch_up=catch_up).tick(now, most=1000 if catch_up == "all" else 3)
    assert stream.decided == decided
    assert stream.schedule.next_at == (now // MINUTE + 1) * MINUTE


@pytest.mark.parametrize(
    ("catch_up", "decided"),
    [
        ("none", [("missed", 1, 121, 3)]),
        ("latest", [("missed", 1, 61, 2), ("caught_up", 121, 121, 1)]),
        ("all", [("caught_up", 1, 1, 1), ("caught_up", 61, 61, 1), ("caught_up", 121, 121, 1)]),
    ],
)
def test_an_outage_that_ends_between_two_slots(catch_up, decided):
    """The last slot is late too: `latest` runs it once."""
    stream = Stream(catch_up=catch_up).tick(150 * MINUTE, step=60 * MINUTE)
    assert stream.decided == decided
    assert len(stream.schedule.starting) == sum(1 for each in decided if each[0] == "caught_up")


def test_all_of_a_long_outage_is_bounded():
    """The latest ones are made up for, and those before them were missed, in one event."""
    stream = Stream(catch_up="all").tick(5000 * MINUTE + 500, most=1000)
    assert stream.decided[0] == ("missed", 1, 4000, 4000)
    assert len(stream.decided) == 1001
    assert len(stream.schedule.starting) == 1000


def test_a_run_that_goes_on_has_slots_skipped():
    """As long as it is not known to have ended; skipped ones of an outage are one event, with the run's name."""
    stream = Stream(overlap="skip").tick(MINUTE)
    run = stream.schedule.last_run
    stream.tick(2 * MINUTE)
    assert stream.new == [s.SlotDecided(stream.name, "skipped_overlap", 2 * MINUTE, 2 * MINUTE, 1, 3 * MINUTE, run)]
    stream.tick(3 * MINUTE, is_over=True)
    assert stream.decided == [("fired", 3, 3, 1)]
    stream.tick(4 * MINUTE, run="an older one", is_over=True).is_refused("STALE")


def test_all_that_is_caught_up_heeds_the_run_before():
    """With `skip` the first runs, and the others overlap it."""
    stream = Stream(overlap="skip", catch_up="all").tick(100 * MINUTE, step=20 * MINUTE, most=1000)
    assert stream.decided == [("caught_up", 1, 1, 1), ("skipped_overlap", 21, 81, 4)]


def test_one_slot_waits_for_the_run_before_it():
    """It is decided when that has ended; those that come meanwhile are skipped, also if the end is known by then."""
    stream = Stream(overlap="buffer_one").tick(MINUTE)
    first = stream.schedule.last_run
    stream.tick(2 * MINUTE)
    assert stream.new == [s.SlotBuffered(stream.name, 2 * MINUTE, 3 * MINUTE)]
    assert fx.FollowScheduled(stream.name, 2 * MINUTE, first) in stream.effects
    stream.tick(3 * MINUTE, is_over=True)
    assert stream.decided == [("skipped_overlap", 3, 3, 1)]
    stream.send(s.TakeBuffered(stream.name, 2 * MINUTE, first))
    assert stream.decided == [("fired", 2, 2, 1)]
    assert (stream.schedule.buffered, stream.schedule.next_at) == (None, 4 * MINUTE)
    stream.send(s.TakeBuffered(stream.name, 2 * MINUTE, first)).is_refused("STALE")


def test_a_buffered_slot_waits_for_whichever_run_is_the_last():
    """One of a later slot, where the policy was changed, is waited for, too; one that never began is not."""
    stream = Stream(overlap="buffer_one").tick(MINUTE).tick(2 * MINUTE)
    first = next(iter(stream.schedule.starting))
    spec = s.ScheduleSpec(timing=stream.schedule.timing, due_at=3 * MINUTE)
    edit = s.ScheduleEdit(schedule=stream.name, revision=stream.schedule.revision, spec=spec, keeps_input=True)
    stream.send(s.EditSchedules(edited=(edit,)))
    later = stream.tick(3 * MINUTE).schedule.last_run
    stream.send(s.TakeBuffered(stream.name, 2 * MINUTE, first))
    assert (stream.new, stream.effects) == ([], (fx.FollowScheduled(stream.name, 2 * MINUTE, later),))
    stream.send(
        s.AcknowledgeRuns((s.RunsOf(stream.name, (first,), (s.RunRefusal(later, "CONFLICT", "secret: a draft"),)),))
    )
    assert [type(each) for each in stream.new] == [s.ScheduledRunsStarted, s.ScheduledRunRefused, s.SlotDecided]
    assert stream.decided == [("fired", 2, 2, 1)]


@pytest.mark.parametrize("overlap", ["skip", "buffer_one"])
def test_a_run_that_was_asked_for_is_beside_the_slots(overlap):
    """However it ends, the run of the last slot is what the next one looks at."""
    stream = Stream(overlap=overlap).tick(MINUTE)
    first = stream.schedule.last_run
    asked = stream.send(s.RunNow(stream.name)).answer
    assert (stream.schedule.last_run, set(stream.schedule.starting)) == (first, {first, asked})
    stream.send(s.AcknowledgeRuns((s.RunsOf(stream.name, (first, asked)),)))
    stream.tick(2 * MINUTE)
    assert [each for each in stream.decided if each[0] == "fired"] == []


def test_slots_of_a_pause_are_skipped_in_one_event():
    """They are decided when it ends, and not made up for."""
    stream = Stream(catch_up="all").send(s.SwitchSchedules(("id-1",), is_enabled=False))
    stream.tick(4 * MINUTE).is_refused("STALE")
    stream.send(s.SwitchSchedules((stream.name,), is_enabled=True)).is_refused("STALE")
    stream.send(s.SwitchSchedules((stream.name,), True, (stream.due(),)))
    assert stream.new == [
        s.SlotDecided(stream.name, "skipped_paused", MINUTE, 4 * MINUTE, 4, 5 * MINUTE),
        s.SchedulePlayed(stream.name),
    ]
    assert stream.effects == (fx.SetSchedule(5 * MINUTE),)
    stream.send(s.SwitchSchedules((stream.name,), is_enabled=True))
    assert stream.new == []


def test_a_paused_workflow_skips_slots_and_refuses_runs():
    """A schedule that is paused by itself stays so when the workflow is resumed."""
    stream = Stream()
    stream.send(s.EditSchedules(added=(s.ScheduleSpec(timing=HOURLY, due_at=MINUTE, is_enabled=False),)))
    stream.send(s.PauseWorkflow())
    assert stream.new == [s.WorkflowPaused()]
    stream.send(s.PauseWorkflow())
    assert stream.new == []
    stream.now = 2 * MINUTE
    stream.send(s.RunNow(stream.name)).is_refused("CONFLICT")
    stream.send(s.ResumeWorkflow()).is_refused("STALE")
    stream.send(s.ResumeWorkflow((stream.due(),)))
    assert stream.decided == [("skipped_paused", 1, 2, 2)]
    assert stream.new[-1] == s.WorkflowResumed()
    assert stream.effects == (fx.SetSchedule(3 * MINUTE),)


def test_a_change_decides_first_what_has_come():
    """And nothing is changed from what somebody else has changed meanwhile."""
    stream = Stream()
    stream.now = MINUTE
    other = s.ScheduleSpec(timing=s.Timing(cron="0 9 * * *"), due_at=99 * MINUTE, overlap="skip", input={"n": 1})
    edit = s.ScheduleEdit(schedule=stream.name, revision=3, spec=other)
    stream.send(s.EditSchedules(edited=(edit,))).is_refused("STALE")
    stream.send(s.EditSchedules(edited=(msgspec.structs.replace(edit, due=stream.due()),)))
    assert [type(each) for each in stream.new] == [s.SlotDecided, s.ScheduleChanged]
    assert (stream.schedule.next_at, stream.schedule.overlap, stream.schedule.input) == (99 * MINUTE, "skip", "5/input")
    stream.send(s.EditSchedules(edited=(edit,))).is_refused("STALE")
    same = msgspec.structs.replace(edit, revision=stream.schedule.revision, keeps_input=True)
    stream.send(s.EditSchedules(edited=(same,)))
    assert stream.new == []


def test_a_schedule_that_is_removed_stays_until_its_runs_have_started():
    """After a crash they are asked for again."""
    stream = Stream().tick(MINUTE)
    run = stream.schedule.last_run
    revision = stream.schedule.revision
    stream.send(s.EditSchedules(edited=(s.ScheduleEdit(schedule=stream.name, revision=revision),)))
    assert stream.new == [s.ScheduleRemoved(stream.name)]
    stream.send(s.RecoverSchedules())
    assert stream.effects == (fx.StartScheduled(stream.name, run, MINUTE, "UTC"),)
    stream.send(s.RunNow(stream.name)).is_refused("NOT_FOUND")
    stream.send(s.AcknowledgeRuns((s.RunsOf(stream.name, (run,)),)))
    assert stream.state.schedules == {}


def test_a_crash_loses_neither_a_run_nor_a_buffered_slot():
    """Both stand in the state, and are asked for again."""
    stream = Stream(overlap="buffer_one").tick(MINUTE).tick(2 * MINUTE).send(s.RecoverSchedules())
    run = stream.schedule.last_run
    assert stream.new == []
    assert stream.effects == (
        fx.StartScheduled(stream.name, run, MINUTE, "UTC"),
        fx.FollowScheduled(stream.name, 2 * MINUTE, run),
    )


def test_an_archived_workflow_decides_nothing_more():
    """Its schedules have ended."""
    stream = Stream().send(w.ArchiveWorkflow())
    stream.tick(MINUTE).is_refused("STALE")
    for command in (
        s.PauseWorkflow(),
        s.RunNow(stream.name),
        s.EditSchedules(),
        s.SwitchSchedules((), is_enabled=True),
    ):
        stream.send(command).is_refused("CONFLICT")


def test_a_workflow_has_so_many_schedules_at_most():
    """One more is refused, and nothing of the request is done."""
    spec = s.ScheduleSpec(timing=HOURLY, due_at=MINUTE)
    stream = Stream().send(s.EditSchedules(added=(spec,) * s.SCHEDULES_MAX)).is_refused("CONFLICT")
    assert len(stream.state.schedules) == 1


def test_what_is_about_runs_does_not_modify_a_workflow():
    """Who changed it last, and when, is who changed it."""
    stream = Stream()
    stream.now = 500
    stream.send(s.SwitchSchedules((stream.name,), is_enabled=True), "key:b").tick(MINUTE)
    assert (stream.state.modified_at, stream.state.modified_by, stream.state.recorded_at) == (0, "key:a", MINUTE)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(1, 6), st.booleans()),
        st.tuples(st.just("late"), st.integers(100, 200), st.booleans()),
        st.sampled_from([("pause",), ("play",), ("halt",), ("go on",), ("now",), ("ended",), ("refused",)]),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(
    overlap=st.sampled_from(["allow", "skip", "buffer_one"]),
    catch_up=st.sampled_from(["none", "latest", "all"]),
    steps=moves,
)
def test_each_slot_is_decided_exactly_once(overlap, catch_up, steps):
    """Whatever happens in between: no slot is left out, none is decided twice, and a run has one slot."""
    stream = Stream(overlap=overlap, catch_up=catch_up)
    for kind, *more in steps:
        _move(stream, kind, *more)
    decided = [each.event for each in stream.events if isinstance(each.event, s.SlotDecided)]
    slots = sorted(
        slot
        for e in decided
        for slot in range(e.first, e.last + 1, MINUTE)
        if e.count == (e.last - e.first) // MINUTE + 1
    )
    buffered = [] if stream.schedule.buffered is None else [stream.schedule.buffered]
    assert sorted(slots + buffered) == list(range(MINUTE, stream.schedule.next_at, MINUTE))
    runs = [e.run for e in decided if e.outcome in ("fired", "caught_up")]
    assert len(runs) == len(set(runs))
    assert all(e.run is not None for e in decided if e.outcome in ("fired", "caught_up"))


def _move(stream, kind, minutes=0, is_over=False):
    due = (stream.due(most=1000),) if stream.schedule.next_at <= stream.now else ()
    runs = tuple(stream.schedule.starting)
    match kind:
        case "tick" | "late":
            stream.tick(max(stream.now + minutes * MINUTE, stream.schedule.next_at), is_over=is_over, most=1000)
        case "pause" | "play":
            stream.send(s.SwitchSchedules((stream.name,), kind == "play", due))
        case "halt":
            stream.send(s.PauseWorkflow())
        case "go on":
            stream.send(s.ResumeWorkflow(due))
        case "now":
            stream.send(s.RunNow(stream.name))
        case "ended":
            stream.send(s.AcknowledgeRuns((s.RunsOf(stream.name, runs),)))
            if stream.schedule.buffered is not None:
                stream.send(s.TakeBuffered(stream.name, stream.schedule.buffered, stream.schedule.last_run))
        case "refused":
            refused = tuple(s.RunRefusal(run, "CONFLICT", "no") for run in runs)
            stream.send(s.AcknowledgeRuns((s.RunsOf(stream.name, (), refused),)))
