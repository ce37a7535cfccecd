"""Events on disk: what is written today is read for ever, and whatever is changed behind our back is found.

The files in `tests/golden/events-1` are the released format: they are added to, never changed. To add the file of a
new event, or the cases of a new version of one, run the tests with PERDURE_NEW_GOLDEN=1; what is there already is
never written again. (Before the first release, and only then, a file may be removed to be made anew.)
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.core import events as e
from perdure.engine.core.events import Recorded
from perdure.engine.core.upcast import Earlier
from perdure.engine.log.codec import UnknownEvent, Vocabulary, decode_json, encode_json
from perdure.engine.log.verification import verify_stream
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.store.chain import event_hash, payload_digest
from perdure.store.records import NO_HASH, EventRow, StoredEvent
from tests.chained import chained
from tests.present import present

GOLDEN = Path(__file__).parent.parent / "golden" / "events-1"
ORGANIZATION = bytes.fromhex("0190000000007000800000000000000a")
STREAM = bytes.fromhex("01900000000070008000000000000001")
SALT = bytes(range(16))
PREVIOUS = hashlib.sha256(b"the event before").digest()
FORMS = {
    (name, version): decoder.type
    for kind in STREAM_TYPES.values()
    for (name, version), decoder in kind.vocabulary._decoders.items()
}
CLASSES = {
    (kind.name, name): decoder.type  # of an event with several versions, the last one
    for kind in STREAM_TYPES.values()
    for (name, _), decoder in kind.vocabulary._decoders.items()
}
VERSIONS = {name: max(version for other, version in FORMS if other == name) for _, name in CLASSES}


# --- golden files ----------------------------------------------------------------------------------------------------

MEMBERS: dict[str, Any] = {
    "action": "terminate",
    "done": 48,
    "expected": 1_000,
    "failed": {"CONFLICT": 1, "NOT_WAITING": 2},
    "runs": ["01900000-0000-7000-8000-00000000001a", "01900000-0000-7000-8000-00000000001b"],
    "unchanged": 7,
    "why": "asked",
    "after": 60_000,
    "at": 1_750_000_030_000,
    "assigned": {"total": "7/assigned/total"},
    "attempt": 2,
    "beside": 3,
    "bytes_until": 3_000_000_000,
    "calls": {
        "Sell": {"workflow": "01900000-0000-7000-8000-00000000000f", "version": 3},
        "Ship": {"workflow": "01900000-0000-7000-8000-000000000010"},
    },
    "catch_up": "all",
    "cause": "7/cause",
    "child": "01900000-0000-7000-8000-00000000000d",
    "code": "NOT_WAITING",
    "command": "resume",
    "concurrency": 8,
    "count": 64,
    "counts": "active",
    "deaths": 4,
    "deaths_alone": 1,
    "deaths_watched": 2,
    "defect": "KeyError",
    "definition_sha256": "d" * 64,
    "description": "7/description",
    "due_at": 1_750_000_060_000,
    "entered": "Task",
    "error": "States.TaskFailed",
    "error_ref": "7/error",
    "events_until": 2_000_000,
    "expires_at": 1_760_000_000_000,
    "first": 1_750_000_000_000,
    "frozen_at": 1_750_000_050_000,
    "heartbeat_due_at": 1_750_000_015_000,
    "heartbeat_ms": 20_000,
    "index": 12,
    "input": "7/input",
    "is_awaited": True,
    "is_enabled": False,
    "is_entry": True,
    "is_held": True,
    "is_main": True,
    "is_published": False,
    "is_test": True,
    "items": "3/input/invoices",
    "key": "01900000-0000-7000-8000-00000000000b",
    "keyed": 1,
    "last": 1_750_000_120_000,
    "left_ms": 45_000,
    "limit_at": 1_750_000_050_000,
    "limit_left_ms": 30_000,
    "limit_ms": 50_000,
    "limits": [{"kind": "key", "key": "f" * 64}, {"kind": "organization", "key": "9" * 64}],
    "places": [3, 17],
    "live": "01900000-0000-7000-8000-000000000013",
    "log_sha256": "c" * 64,
    "name": "7/name",
    "node": "01900000-0000-7000-8000-000000000011",
    "next": "Book “it”",
    "origin": {
        "kind": "fork",
        "execution": "01900000-0000-7000-8000-000000000011",
        "seq": 12,
        "hash": "f" * 64,
    },
    "output": "7/output",
    "overlap": "skip",
    "owner": "user-7",
    "roles": ["controllers"],
    "source": {"format": "steps", "sha256": "5" * 64, "outline_sha256": "6" * 64},
    "summary": "7/summary",
    "users": ["user-7", "user-9"],
    "visibility": "shared",
    "parameters": "3/parameters",
    "parent": {
        "execution": "01900000-0000-7000-8000-00000000000e",
        "scope": "4.0",
        "state": "Sell",
        "seq": 9,
        "visit": 2,
        "attempt": 1,
        "pattern": "sync:2",
        "is_awaited": True,
        "depth": 3,
    },
    "quota": "bytes",
    "reason": "7/reason",
    "resource": "charge.waitForResume",
    "result": "7/result",
    "position": 70_000,
    "resume": "named",
    "rule": 2,
    "run": "01900000-0000-7000-8000-000000000012",
    "schedule": "01900000-0000-7000-8000-000000000011",
    "scope": "Map[3]/A",
    "scopes": ["runs.view", "runs.resume"],
    "shift_ms": 90_000,
    "secret_sha256": "b" * 64,
    "settings": {
        "resume": "named",
        "timeoutMs": 60_000,
        "concurrencyLimit": 3,
        "concurrencyKey": "$.customer",
        "concurrencyCounts": "active",
        "quotas": {"events": 5_000, "bytes": 2_000_000, "transitionsPerSecond": 10, "openRuns": 7, "childDepth": 2},
    },
    "sha256": "a" * 64,
    "slot": 1_750_000_000_000,
    "start_at": "Ask",
    "state": "Charge/ü",
    "step_ms": -3_600_000,
    "then": {"type": "retry", "retrier": 1, "due_at": 1_750_000_004_000},
    "timeout_ms": 60_000,
    "timer": 5,
    "timing": {
        "cron": "30 2 * * mon-fri",
        "timezone": "Europe/Berlin",
        "start_at": 1_740_000_000_000,
        "end_at": 1_760_000_000_000,
    },
    "token_sha256": "e" * 64,
    "tolerated": 3,
    "trigger": "REQUEST",
    "type": "Task",
    "version": 3,
    "visit": 2,
    "wait": "01900000-0000-7000-8000-00000000000c",
    "workflow": "01900000-0000-7000-8000-000000000002",
    "workflow_version": 3,
    "workspace": "01900000-0000-7000-8000-000000000003",
}
"""A value for each member that an event has; none is a default."""

OWN: dict[str, dict[str, Any]] = {
    "OrganizationSettingsChanged": {"settings": {"concurrencyLimit": 40, "quotas": {"openRuns": 9}}}
}
"""By event, values of members that mean something else in others."""


def example(cls: type[e.Event], *, is_full: bool) -> e.Event:
    """Make an event with all members, or with the needed ones only."""
    hints = get_type_hints(cls)
    fields = [f for f in msgspec.structs.fields(cls) if is_full or f.required]
    chosen = {f.name: get_args(hints[f.name]) for f in fields if f.name in {"kind", "type", "outcome", "limit"}}
    values = {name: options[0] for name, options in chosen.items() if options}
    values |= {f.name: ("Ask", "Book") for f in fields if f.name == "start_at" and f.type is not str}
    own = OWN.get(cls.__name__, {})
    return msgspec.convert({f.name: own.get(f.name, MEMBERS.get(f.name)) for f in fields} | values, cls)


CAUGHT = {"type": "catch", "catcher": 2, "next": "Mend", "output": "7/output", "assigned": {"why": "7/assigned/why"}}


def examples(cls: type[e.Event]) -> list[e.Event]:
    """Make the events whose bytes are kept: with all members, and with those that are needed."""
    full, least = (example(cls, is_full=is_full) for is_full in (True, False))
    if not hasattr(full, "then"):
        return [full, least]
    return [full, least, msgspec.structs.replace(full, then=msgspec.convert(CAUGHT, e.Caught))]


def golden_case(event: e.Event, *, is_full: bool) -> dict[str, Any]:
    payload = {"input": {"text": "ü €", "number": 1.5}, "none": None} if is_full else None
    recorded = Recorded(7, 1_750_000_000_000, "key:test", 6 if is_full else None, event, payload)
    (row,) = chained(ORGANIZATION, STREAM, [recorded], lambda _: SALT, PREVIOUS)
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in row._asdict().items()}
    reads_as = decode_json(encode_json(msgspec.structs.asdict(event)))
    return {"reads_as": reads_as, "previous_hash": PREVIOUS.hex(), **shown}


def write_new_golden() -> None:
    for (_, name), cls in CLASSES.items():
        path = GOLDEN / f"{name}.json"
        cases = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        known = [case["data"] for case in cases if case["version"] == VERSIONS[name]]
        made = [golden_case(event, is_full=event != example(cls, is_full=False)) for event in examples(cls)]
        added = [case for case in made if case["data"] not in known]
        if added:
            path.write_text(json.dumps(cases + added, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if os.environ.get("PERDURE_NEW_GOLDEN"):
    write_new_golden()

CASES = [
    pytest.param(case, id=f"{path.stem}-{number}")
    for path in sorted(GOLDEN.glob("*.json"))
    for number, case in enumerate(json.loads(path.read_text(encoding="utf-8")))
]


def row_of(case: dict[str, Any]) -> EventRow:
    binary = {"stream_id", "organization_id", "payload_salt", "payload_digest", "hash"}
    values: dict[str, Any] = {name: case[name] for name in EventRow._fields}
    return EventRow(**values | {name: bytes.fromhex(values[name]) for name in binary if values[name] is not None})


def vocabulary_of(case: dict[str, Any]) -> Any:
    (kind,) = [kind for kind, name in CLASSES if name == case["type"]]
    return STREAM_TYPES[kind].vocabulary


def test_every_event_has_its_golden_file():
    """Of all kinds of streams, and none is left over: a released event is never taken away."""
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == sorted(name for _, name in CLASSES)
    assert len({name for _, name in CLASSES}) == len(CLASSES), "two kinds share a name"


SINCE: dict[tuple[str, int], Any] = {
    ("ExecutionStarted", 1): lambda members: members | {"live": None},
    ("TaskScheduled", 1): lambda members: {name: value for name, value in members.items() if name != "keyed"},
    ("BranchesStarted", 1): lambda members: members | {"visit": 7},
    ("MapStarted", 1): lambda members: members | {"visit": 7},
    ("VersionAdded", 1): lambda members: (
        {name: value for name, value in members.items() if name != "resume"}
        | {"settings": {"resume": "named"} if members["resume"] == "named" else None, "source": None, "summary": None}
    ),
    ("VersionAdded", 2): lambda members: members | {"source": None, "summary": None},
    ("LogPinned", 1): lambda members: members | {"after": None, "log_sha256": None},
    ("WaitOpened", 1): lambda members: (
        members | {"heartbeat_due_at": 1_750_000_020_000 if members["heartbeat_ms"] else None}
    ),
}
"""What has become of the members of an earlier version: `SINCE[name, version](members)` gives those of today."""


@pytest.mark.parametrize("case", CASES)
def test_a_released_event_is_read_as_it_was_meant(case):
    """From bytes to meaning: every member, also those that are not written because they are at their default.

    Members that the event did not have when the case was made are at their default, too. An event of an earlier
    version is read as the one of today that means the same.
    """
    recorded = vocabulary_of(case).read(row_of(case))
    assert type(recorded.event).__name__ == case["type"]
    fields = msgspec.structs.fields(FORMS[case["type"], case["version"]])
    added = {field.name: field for field in fields if field.name not in case["reads_as"]}
    assert not any(field.required for field in added.values())
    defaults = {n: {} if n in {"assigned", "calls"} else field.default for n, field in added.items()}
    meant = case["reads_as"] | decode_json(encode_json(defaults))
    since = SINCE.get((case["type"], case["version"]), dict)
    assert decode_json(encode_json(msgspec.structs.asdict(recorded.event))) == since(meant)
    placed = (recorded.seq, recorded.recorded_at, recorded.actor, recorded.caused_by)
    assert placed == (case["seq"], case["recorded_at"], case["actor"], case["caused_by"])
    assert recorded.payload == (None if case["payload"] is None else json.loads(case["payload"]))


@pytest.mark.parametrize("case", CASES)
def test_a_released_event_is_written_as_it_was(case):
    """From meaning to bytes: the same text, and if it is of today's version, the same digest and hash."""
    event = msgspec.convert(case["reads_as"], FORMS[case["type"], case["version"]])
    assert encode_json(event).decode() == case["data"]
    if case["version"] < VERSIONS[case["type"]]:
        return
    payload = None if case["payload"] is None else json.loads(case["payload"])
    recorded = Recorded(case["seq"], case["recorded_at"], case["actor"], case["caused_by"], event, payload)
    previous = bytes.fromhex(case["previous_hash"])
    whose = bytes.fromhex(case["organization_id"]), bytes.fromhex(case["stream_id"])
    assert chained(*whose, [recorded], lambda count: SALT[:count], previous) == [row_of(case)]


@pytest.mark.parametrize(("name", "version"), sorted(FORMS))
def test_a_golden_file_shows_every_member(name, version):
    """Some case has a value for each, one has those only that are always there; and each way on after a failure."""
    every = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    cases = [case for case in every if case["version"] == version]
    fields = msgspec.structs.fields(FORMS[name, version])
    shown = [set(json.loads(case["data"])) for case in cases]
    assert {field.name for field in fields} in shown
    assert {field.name for field in fields if field.required} in shown
    assert any(set(case["reads_as"]) == {field.name for field in fields} for case in cases)
    ways = {json.loads(case["data"]).get("then", {}).get("type") for case in cases}
    assert ways == ({None, "retry", "catch"} if any(field.name == "then" for field in fields) else {None})


@pytest.mark.parametrize("case", CASES)
def test_a_golden_hash_is_what_the_format_says(case):
    """Computed once more as a stranger does who has only the page of the format."""
    row = row_of(case)
    assert stranger_hash(row, bytes.fromhex(case["previous_hash"])) == row.hash
    if row.payload is not None:
        assert hashlib.sha256(present(row.payload_salt) + row.payload.encode("utf-8")).digest() == row.payload_digest


def stranger_hash(row: EventRow, previous: bytes) -> bytes:
    """Hash a row by the text of the format: tag byte, u64 big-endian length, value; the previous hash alone."""

    def field(value: int | str | bytes | None) -> bytes:
        if value is None:
            tag, encoded = 0, b""
        elif isinstance(value, int):
            tag, encoded = 1, value.to_bytes(8, "big", signed=True)
        elif isinstance(value, str):
            tag, encoded = 2, value.encode("utf-8")
        else:
            tag, encoded = 3, value
        return bytes([tag]) + len(encoded).to_bytes(8, "big") + encoded

    fields: list[int | str | bytes | None] = [
        row.organization_id,
        row.stream_id,
        row.seq,
        row.type,
        row.version,
        row.recorded_at,
        row.actor,
        row.caused_by,
        row.data,
        row.payload_digest,
    ]
    return hashlib.sha256(b"perdure-event-1\n" + b"".join(map(field, fields)) + previous).digest()


# --- writing and reading ---------------------------------------------------------------------------------------------

texts = st.text(max_size=8)  # no half of a surrogate pair: what comes in is UTF-8
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
numbers = st.integers(-(2**63), 2**63 - 1)


def recorded_passes(payloads: list[Any], times: list[int], actor: str) -> list[Recorded]:
    return [
        Recorded(seq, at, actor, seq - 1 or None, e.StatePassed(actor, "Pass", "1/x", f"{seq}"), payload)
        for seq, (payload, at) in enumerate(zip(payloads, times, strict=False), start=1)
    ]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.one_of(st.none(), st.dictionaries(texts, json_values)), min_size=1, max_size=4),
    st.lists(numbers, min_size=4, max_size=4),
    texts,
    st.integers(0, 4),
)
def test_what_is_written_reads_back(payloads, times, actor, cut):
    """Any JSON, any text, any instant; in one go or in parts; and every row is hashed as the format says."""
    events = recorded_passes(payloads, times, actor)
    salts = iter(range(256))
    rows = chained(ORGANIZATION, STREAM, events, lambda count: bytes(next(salts) for _ in range(count)))
    assert [STREAM_TYPES["execution"].vocabulary.read(row) for row in rows] == events
    previous = NO_HASH
    for row in rows:
        assert row.hash == event_hash(row, previous) == stranger_hash(row, previous)
        previous = row.hash
    salts = iter(range(256))
    first = chained(ORGANIZATION, STREAM, events[:cut], lambda count: bytes(next(salts) for _ in range(count)))
    previous = first[-1].hash if first else NO_HASH
    rest = chained(ORGANIZATION, STREAM, events[cut:], lambda count: bytes(next(salts) for _ in range(count)), previous)
    assert first + rest == rows


def test_every_payload_has_a_salt_of_its_own():
    """Equal payloads have unequal digests; an event without one has none of the three."""
    events = recorded_passes([{"a": 1}, {"a": 1}, None], [1, 1, 1], "key:a")
    one, two, none = chained(ORGANIZATION, STREAM, events, os.urandom)
    assert one.payload == two.payload == '{"a":1}'
    assert len({one.payload_salt, two.payload_salt}) == len({one.payload_digest, two.payload_digest}) == 2
    assert (none.payload, none.payload_salt, none.payload_digest) == (None, None, None)
    assert one.payload_digest == payload_digest(present(one.payload_salt), b'{"a":1}')


@pytest.mark.parametrize("change", [{"type": "StateSkipped"}, {"version": 2}, {"type": "VersionAdded"}])
def test_an_event_that_is_not_known_is_never_skipped(change):
    """Of another type, of another version, or of another kind of stream: reading stops."""
    (row,) = chained(ORGANIZATION, STREAM, recorded_passes([None], [1], "key:a"), os.urandom)
    with pytest.raises(UnknownEvent, match=f"event {change.get('type', 'StatePassed')} version"):
        STREAM_TYPES["execution"].vocabulary.read_all([StoredEvent(1, row._replace(**change))])


@pytest.mark.parametrize(
    "data",
    [
        '{"state":"A","type":"Pass","output":"1/x","skipped":true}',
        '{"state":"A","type":"Pass"}',
        '{"state":"A","type":"Map","output":"1/x"}',
        '{"state":1,"type":"Pass","output":"1/x"}',
        "[]",
        "",
    ],
)
def test_data_that_is_not_the_event_s_is_an_error(data):
    """A member too many or too few, or a wrong value: nothing of it is guessed or passed over."""
    (row,) = chained(ORGANIZATION, STREAM, recorded_passes([None], [1], "key:a"), os.urandom)
    with pytest.raises(msgspec.DecodeError):
        STREAM_TYPES["execution"].vocabulary.read(row._replace(data=data))


def structs_in(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where in an event's data a struct stands, the event itself included; objects by variable or code are none."""
    if not isinstance(value, dict) or at[-1:] in (("assigned",), ("failed",)):
        return []
    own = [] if at[-1:] == ("calls",) else [at]
    return [*own, *(found for name, inner in value.items() for found in structs_in(inner, (*at, name)))]


@pytest.mark.parametrize("case", CASES)
def test_a_member_that_is_not_known_is_refused_at_any_depth(case):
    """In the parent of a run and in what follows a failure as in the event itself: a newer program meant something."""
    for at in structs_in(json.loads(case["data"])):
        data = json.loads(case["data"])
        inner = data
        for name in at:
            inner = inner[name]
        inner["since_then"] = 1
        with pytest.raises(msgspec.ValidationError, match="unknown field `since_then`"):
            vocabulary_of(case).read(row_of(case)._replace(data=json.dumps(data)))


class Sold(e.Event, frozen=True):
    """An event of today: its third version."""

    cents: int
    number: int
    sold_at: int


class Sold1(e.Event, frozen=True):
    """As it was first."""

    euros: int


class Sold2(e.Event, frozen=True):
    """As it was then."""

    cents: int


SALES = Vocabulary(
    [Sold],
    {
        "Sold": (
            Earlier(Sold1, lambda event, _seq, _at: Sold2(event.euros * 100)),
            Earlier(Sold2, lambda event, seq, recorded_at: Sold(event.cents, seq, recorded_at)),
        )
    },
)


@pytest.mark.parametrize(
    ("version", "data"), [(1, '{"euros":5}'), (2, '{"cents":500}'), (3, '{"cents":500,"number":1,"sold_at":10}')]
)
def test_an_event_of_an_earlier_version_is_brought_up_to_today(version, data):
    """Version by version; each with its own members, and no other version's."""
    (row,) = chained(ORGANIZATION, STREAM, recorded_passes([None], [10], "key:a"), os.urandom)
    row = row._replace(type="Sold", version=version, data=data)
    assert SALES.read(row).event == Sold(500, 1, 10)
    for other in {1, 2, 3} - {version}:
        with pytest.raises(msgspec.ValidationError):
            SALES.read(row._replace(version=other))
    with pytest.raises(UnknownEvent):
        SALES.read(row._replace(version=4))


def test_an_erased_payload_reads_as_null():
    """Data and hash stay: the machine needs no more."""
    (row,) = chained(ORGANIZATION, STREAM, recorded_passes([{"a": 1}], [1], "key:a"), os.urandom)
    erased = row._replace(payload=None, payload_salt=None)
    assert STREAM_TYPES["execution"].vocabulary.read(erased).payload is None
    assert event_hash(erased, NO_HASH) == row.hash


def test_json_is_kept_to_the_last_digit():
    """Integers of any size and the difference between 1 and 1.0 survive."""
    values = [2**64, -(2**70), 1, 1.0, True, 0.1, 1e22, "\u2028\x00é", {"": []}]
    assert encode_json(values) == encode_json(decode_json(encode_json(values)))
    assert [type(value) for value in decode_json(encode_json(values))] == [type(value) for value in values]


# --- verification ----------------------------------------------------------------------------------------------------


def stored_events() -> list[StoredEvent]:
    """Five events, some with payloads, at positions with gaps."""
    events = recorded_passes([{"n": 1}, None, {"n": 3}, {"n": 4}, None], [10, 10, 20, 30, 40], "key:a")
    rows = chained(ORGANIZATION, STREAM, events, os.urandom)
    return [StoredEvent(10 * row.seq, row) for row in rows]


def broken_at(stored: list[StoredEvent], head: Any = ...) -> int | None:
    """Give the seq at which verification stops, or None."""
    if head is ...:
        head = (len(stored), stored[-1].row.hash)
    found = verify_stream(STREAM, stored, head)
    assert found is None or (found.stream_id == STREAM and found.reason)
    return None if found is None else found.seq


def rehashed(rows: list[EventRow]) -> list[StoredEvent]:
    """Chain rows as they now are: what somebody would do who may write to everything."""
    previous, stored = NO_HASH, []
    for row in rows:
        chained = row._replace(hash=stranger_hash(row, previous))
        previous = chained.hash
        stored.append(StoredEvent(10 * row.seq, chained))
    return stored


def flipped(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


FORGERIES: dict[str, list[Any]] = {
    "stream_id": [flipped(STREAM), b""],
    "seq": [0, 2, 7, -3],
    "organization_id": [flipped(ORGANIZATION), ORGANIZATION + b"\0"],
    "type": ["TaskSucceeded", "statePassed", ""],
    "version": [0, 2],
    "recorded_at": [0, 19, 21],
    "actor": ["key:b", "", "key:a\0"],
    "caused_by": [None, 1, 3],
    "data": ["{}", " "],
    "payload": ['{"n":4}', '{"n":3} ', "", None],
    "payload_salt": [bytes(16), b"", None],
    "payload_digest": [bytes(32), b"", None],
    "hash": [bytes(32), b"", NO_HASH[:31]],
}


@pytest.mark.parametrize("column", EventRow._fields)
def test_a_change_of_any_column_is_found(column):
    """At the event that was changed, whatever it was changed to."""
    assert set(FORGERIES) == set(EventRow._fields)
    for forged in FORGERIES[column]:
        stored = stored_events()
        assert broken_at(stored) is None
        assert getattr(stored[2].row, column) != forged
        stored[2] = stored[2]._replace(row=stored[2].row._replace(**{column: forged}))
        assert broken_at(stored) == 3, forged


@settings(deadline=None)
@given(st.integers(0, 4), st.data())
def test_a_change_of_any_bit_is_found(index, data):
    """In the middle of what is hashed or digested."""
    stored = stored_events()
    row = stored[index].row
    columns = [name for name in EventRow._fields if getattr(row, name) not in {None, ""}]
    column = data.draw(st.sampled_from(columns))
    value = getattr(row, column)
    if isinstance(value, int):
        forged: Any = value ^ (1 << data.draw(st.integers(0, 62)))
    else:
        encoded = value.encode() if isinstance(value, str) else value
        at = data.draw(st.integers(0, len(encoded) - 1))
        turned = encoded[:at] + bytes([encoded[at] ^ 1 << data.draw(st.integers(0, 6))]) + encoded[at + 1 :]
        forged = turned.decode() if isinstance(value, str) else turned
    stored[index] = stored[index]._replace(row=row._replace(**{column: forged}))
    assert broken_at(stored) == index + 1


def test_a_change_with_a_new_hash_is_found_at_the_next_event():
    """Whoever re-hashes one event breaks the chain behind it, or, at the end, the head."""
    for index in range(5):
        stored = stored_events()
        head = (5, stored[-1].row.hash)
        row = stored[index].row._replace(actor="key:forger")
        previous = stored[index - 1].row.hash if index else NO_HASH
        stored[index] = stored[index]._replace(row=row._replace(hash=stranger_hash(row, previous)))
        assert broken_at(stored, head) == (index + 2 if index < 4 else 5)


def test_a_chain_that_was_written_anew_is_found_by_its_head():
    """The whole stream re-hashed: the head that somebody kept tells."""
    stored = stored_events()
    forged = rehashed([stored[0].row._replace(actor="key:forger"), *(item.row for item in stored[1:])])
    assert broken_at(forged) is None
    assert broken_at(forged, (5, stored[-1].row.hash)) == 5


def test_a_row_that_was_removed_added_or_moved_is_found():
    """The numbers 1, 2, 3 … have no gap and no double."""
    stored = stored_events()
    head = (5, stored[-1].row.hash)
    assert broken_at(stored[1:], head) == 1
    assert broken_at([*stored[:2], *stored[3:]], head) == 3
    assert broken_at([*stored[:2], stored[1], *stored[2:]], head) == 3
    assert broken_at([stored[0], stored[2], stored[1], *stored[3:]], head) == 2


def test_a_tail_that_was_cut_off_is_found_by_the_head():
    """Without a head, nothing inside the stream can tell: heads are exported for that."""
    stored = stored_events()
    head = (5, stored[-1].row.hash)
    assert broken_at(stored[:4], head) == 5
    assert broken_at(stored[:4], None) is None
    assert broken_at([], head) == 1
    assert broken_at(stored, (4, stored[3].row.hash)) == 5
    assert broken_at(stored, (5, bytes(32))) == 5


def test_positions_ascend():
    """The order of a stream is that of the whole log."""
    for position in (20, 19, 0, -5):
        stored = stored_events()
        stored[2] = stored[2]._replace(position=position)
        assert broken_at(stored) == 3


# --- erasure ---------------------------------------------------------------------------------------------------------


def erase(stored: list[StoredEvent], *seqs: int) -> list[StoredEvent]:
    """Take payloads and salts away; digests and hashes stay."""
    return [
        item._replace(row=item.row._replace(payload=None, payload_salt=None)) if item.row.seq in seqs else item
        for item in stored
    ]


def with_erased_event(stored: list[StoredEvent], data: str, at: int = 6) -> list[StoredEvent]:
    """Put an `Erased` event into the stream as event `at`, and chain all again."""
    rows = [item.row for item in stored]
    named = rows[0]._replace(type="Erased", data=data, payload=None, payload_salt=None, payload_digest=None)
    rows.insert(at - 1, named)
    return rehashed([row._replace(seq=seq) for seq, row in enumerate(rows, start=1)])


def test_a_payload_that_was_erased_by_an_event_is_no_fault():
    """A later `Erased` names its seq."""
    stored = with_erased_event(stored_events(), '{"seqs":[1,3]}')
    assert broken_at(stored) is None
    assert broken_at(erase(stored, 1, 3)) is None
    assert broken_at(erase(stored, 1)) is None


def test_a_payload_that_no_event_erased_is_missing():
    """It is not named, or named by an event that came before it."""
    assert broken_at(erase(stored_events(), 3)) == 3
    stored = with_erased_event(stored_events(), '{"seqs":[1]}')
    assert broken_at(erase(stored, 1, 4)) == 4
    early = with_erased_event(stored_events(), '{"seqs":[4]}', at=3)
    assert early[3].row.payload == '{"n":3}'
    assert broken_at(early) is None
    assert broken_at(erase(early, 4)) == 4


@pytest.mark.parametrize("data", ['{"seqs":3}', "{}", "[]", "nonsense", '{"seqs":["3"]}'])
def test_an_erasure_that_names_nothing_erases_nothing(data):
    """Whatever its data may be."""
    assert broken_at(erase(with_erased_event(stored_events(), data), 3)) == 3


def test_an_erasure_is_whole():
    """Half of a payload gone is a fault, and so is a digest that went with it."""
    stored = with_erased_event(stored_events(), '{"seqs":[1,3]}')
    changes: tuple[dict[str, Any], ...] = ({"payload": None}, {"payload_salt": None})
    for change in changes:
        broken = [item._replace(row=item.row._replace(**change)) if item.row.seq == 3 else item for item in stored]
        assert broken_at(broken) == 3
    gone: dict[str, Any] = {"payload": None, "payload_salt": None, "payload_digest": None}
    broken = [item._replace(row=item.row._replace(**gone)) if item.row.seq == 3 else item for item in stored]
    assert broken_at(broken) == 3


def test_an_erased_payload_cannot_come_back_changed():
    """What is there is checked, also if it could have been erased."""
    stored = with_erased_event(stored_events(), '{"seqs":[1,3]}')
    stored[2] = stored[2]._replace(row=stored[2].row._replace(payload='{"n":5}'))
    assert broken_at(stored) == 3
