"""Appending: the expected head, all or nothing per stream, positions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.store.chain import event_hash, sealed
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import NEW_STREAM, Head, Refusal, StreamRow, TimerRow
from tests.store.builders import (
    NOW,
    ORG,
    OTHER_ORG,
    WORKSPACE,
    digest,
    event,
    execution,
    head_of,
    organization,
    part,
    uid,
)

A, B, C = uid(1), uid(2), uid(3)
STALE = Refusal("stale")


async def test_a_new_stream_is_made_with_its_first_events(store: Store) -> None:
    """A batch for a stream that does not exist makes it; its head is the last event, its epoch 0."""
    first = part(A, events=3)

    appended = await store.append([first])

    assert appended == (3, {}, {A: head_of(first)})
    assert await store.stream(A) == StreamRow(A, "execution", ORG, WORKSPACE, 3, head_of(first).hash, None, 0)
    assert await store.events(A) == [(position, row) for position, row in enumerate(sealed(first), 1)]


async def test_an_existing_stream_goes_on_from_its_head(store: Store) -> None:
    """Events are appended behind the head that the writer saw."""
    first = part(A, events=2)
    await store.append([first])
    second = part(A, head_of(first), events=2)

    assert await store.append([second]) == (4, {}, {A: head_of(second)})
    assert [event.row for event in await store.events(A)] == [*sealed(first), *sealed(second)]
    stream = await store.stream(A)
    assert stream is not None
    assert stream.head == head_of(second)


async def test_events_are_numbered_and_chained(store: Store) -> None:
    """The first behind 32 zero bytes, each other one behind the one before it, whatever batches they come in."""
    first = part(A, events=2)
    await store.append([first])
    await store.append([part(A, head_of(first), events=2)])

    rows = [event.row for event in await store.events(A)]

    assert [row.seq for row in rows] == [1, 2, 3, 4]
    before = [NEW_STREAM.hash, *(row.hash for row in rows)]
    assert [row.hash for row in rows] == [event_hash(row, hashed) for row, hashed in zip(rows, before, strict=False)]


async def test_a_stream_without_events_in_the_log_is_not_there(store: Store) -> None:
    """What was never appended to has no head."""
    assert await store.stream(A) is None
    assert await store.position() == 0


async def test_a_stream_that_is_there_is_not_new(store: Store) -> None:
    """Expecting a new stream where one exists is stale, with events and without."""
    await store.append([part(A)])

    assert (await store.append([part(A, branch="other")]))[:2] == (1, {A: STALE})
    assert (await store.append([part(A, events=0)]))[:2] == (1, {A: STALE})


@pytest.mark.parametrize("events", [0, 1])
@pytest.mark.parametrize("missed", ["seq", "hash", "epoch"])
async def test_each_of_seq_hash_and_epoch_must_be_as_expected(store: Store, missed: str, events: int) -> None:
    """One of the three that differs is enough to be refused, and nothing of the stream's part is written."""
    first = part(A, events=2)
    await store.append([first])
    wrong: dict[str, Any] = {"seq": 1, "hash": digest("another"), "epoch": 1}
    expected = head_of(first)._replace(**{missed: wrong[missed]})
    refused = part(A, expected, events=events, puts=[execution(A)], branch="late")

    assert (await store.append([refused]))[:2] == (2, {A: STALE})
    assert await store.execution(A) is None
    stream = await store.stream(A)
    assert stream is not None
    assert stream.head == head_of(first)


async def test_a_stream_that_is_not_there_cannot_go_on(store: Store) -> None:
    """A head is expected of a stream that does not exist: stale."""
    expected = Head(3, digest("gone"), 0)

    assert (await store.append([part(A, expected), part(B, expected, events=0)]))[:2] == (0, {A: STALE, B: STALE})


async def test_no_events_only_compare(store: Store) -> None:
    """An append without events is accepted if the head is as expected, and moves nothing."""
    first = part(A)
    await store.append([first])
    before = await store.stream(A)

    appended = await store.append([part(A, head_of(first), events=0), part(B, NEW_STREAM, events=0)])

    assert appended == (1, {}, {})
    assert await store.stream(A) == before
    assert await store.stream(B) is None


async def test_rows_come_with_an_append_without_events(store: Store) -> None:
    """What stands beside a decision without events is written if its comparison holds."""
    first = part(A)
    await store.append([first])

    await store.append([part(A, head_of(first), events=0, puts=[execution(A)])])

    assert await store.execution(A) == execution(A)


async def test_other_streams_of_a_batch_are_not_touched_by_a_refusal(store: Store) -> None:
    """A stale stream is left out whole; those around it are written, without a gap in the positions."""
    await store.append([part(B)])
    batch = [
        part(A, events=2, puts=[execution(A)]),
        part(B, puts=[execution(B)], branch="stale"),
        part(C, events=2, puts=[execution(C)]),
    ]

    assert await store.append(batch) == (5, {B: STALE}, {A: head_of(batch[0]), C: head_of(batch[2])})
    assert [event.row.stream_id async for event in store.log()] == [B, A, A, C, C]
    assert await store.execution(A) == execution(A)
    assert await store.execution(B) is None
    assert await store.execution(C) == execution(C)


async def test_a_batch_in_which_all_is_refused_changes_nothing(store: Store) -> None:
    """The position stays when no stream was accepted."""
    await store.append([part(A)])

    assert (await store.append([part(A, branch="stale")]))[:2] == (1, {A: STALE})
    assert (await store.append([]))[:2] == (1, {})
    assert await store.position() == 1


async def test_positions_ascend_in_the_order_given(store: Store) -> None:
    """Positions are drawn stream by stream in the batch's order, whatever the ids are."""
    batch = [part(C, events=2), part(A, events=1), part(B, events=2)]
    await store.append(batch)
    await store.append([part(A, head_of(batch[1]))])

    log = [(event.position, event.row.stream_id, event.row.seq) async for event in store.log()]

    assert log == [(1, C, 1), (2, C, 2), (3, A, 1), (4, B, 1), (5, B, 2), (6, A, 2)]


async def test_puts_replace_by_key_and_the_last_one_counts(store: Store) -> None:
    """A row is inserted or replaced whole; of several with one key in a batch the last counts."""
    old = execution(A, state="A", error="States.Timeout")
    first = part(A, puts=[execution(A, state="never"), old])
    await store.append([first])
    assert await store.execution(A) == old

    new = execution(A, status="completed", state=None, ended_at=NOW)
    await store.append([part(A, head_of(first), puts=[new])])

    assert await store.execution(A) == new


async def test_deletes_come_after_puts(store: Store) -> None:
    """A timer both put and deleted in a batch is gone; to delete what is not there is no error."""
    timer, gone = TimerRow(NOW, A, 1), TimerRow(NOW, A, 2)
    first = part(A, puts=[timer, gone])
    await store.append([first])

    await store.append([part(A, head_of(first), puts=[timer], deletes=[timer, gone, TimerRow(NOW, A, 3)])])

    assert await store.timers_of(A) == []


async def test_a_batch_that_breaks_the_contract_is_a_bug(store: Store) -> None:
    """A stream that stands in it twice raises ValueError before anything is written."""
    with pytest.raises(ValueError, match="stream 0"):
        await store.append([part(A), part(B), part(A)])

    assert await store.position() == 0


@pytest.mark.parametrize("broken", [{"payload": None}, {"payload_salt": None}])
async def test_a_payload_and_its_salt_go_together(store: Store, broken: dict[str, None]) -> None:
    """An event with one of them only could never be verified: nothing of its batch is written."""
    half = part(A)._replace(events=(event(1, **broken),))

    with pytest.raises((StoreError, ValueError), match="go together"):
        await store.append([part(B), half])

    assert await store.position() == 0


async def test_an_error_leaves_nothing_behind(store: Store) -> None:
    """A batch that breaks a unique key raises StoreError and is not there; its positions are drawn again."""
    await store.append([part(A, puts=[organization(ORG, "acme")])])
    broken = [part(B, events=3, puts=[execution(B)]), part(C, puts=[organization(OTHER_ORG, "acme")])]

    with pytest.raises(StoreError):
        await store.append(broken)

    assert await store.stream(B) is None
    assert await store.execution(B) is None
    assert await store.organization(OTHER_ORG) is None
    assert (await store.append([part(B, events=3)]))[:2] == (4, {})


async def test_text_is_kept_as_it_is(store: Store) -> None:
    """Data and payload come back character for character, with all columns that may be null both ways."""
    texts = ['{"a" : 1.0,"a":2}', '"\\u00e9 é \U0001f600 \x00"', "", "' ; -- %s ? :x"]
    events = [event(seq, data=text, payload=text) for seq, text in enumerate(texts, 1)]
    events.append(event(5, caused_by=None, payload=None, payload_salt=None))
    written = part(A)._replace(events=tuple(events))

    await store.append([written])

    rows = [event.row for event in await store.events(A)]
    assert rows == sealed(written)
    assert [(row.data, row.payload) for row in rows[:-1]] == [(text, text) for text in texts]
    assert (rows[-1].caused_by, rows[-1].payload, rows[-1].payload_salt, rows[-1].payload_digest) == (None,) * 4


async def test_a_cancelled_append_is_written_whole(store: Store) -> None:
    """Cancelling the caller does not cut a batch in two: it is there, and the store goes on."""
    appending = asyncio.ensure_future(store.append([part(A, events=50, puts=[execution(A)])]))
    await asyncio.sleep(0)
    appending.cancel()
    await asyncio.gather(appending, return_exceptions=True)

    assert (await store.append([part(B)]))[:2] == (51, {})
    assert len(await store.events(A)) == 50
    assert await store.execution(A) == execution(A)


async def test_appends_at_once_are_one_after_the_other(store: Store) -> None:
    """Of many appends that expect the same head exactly one is accepted."""
    first = part(A)
    await store.append([first])
    rivals = [part(A, head_of(first), branch=str(rival)) for rival in range(20)]

    answers = await asyncio.gather(*(store.append([rival]) for rival in rivals))

    assert sorted(len(answer.refused) for answer in answers) == [0] + [1] * 19
    assert len(await store.events(A)) == 2


async def test_a_closed_store_says_so(store: Store) -> None:
    """After close (which may be said twice) nothing can be written."""
    await store.close()
    await store.close()

    with pytest.raises(StoreError, match="closed"):
        await store.append([part(A)])
