"""Claims: the first has the key, and who loses one is left out whole."""

from __future__ import annotations

from perdure.store.protocols import Store
from perdure.store.records import Claim, Refusal
from tests.store.builders import (
    ORG,
    OTHER_ORG,
    OTHER_WORKSPACE,
    WORKSPACE,
    execution,
    head_of,
    idempotency,
    part,
    process_id,
    uid,
)

A, B, C = uid(1), uid(2), uid(3)


async def test_a_claim_is_won_and_kept(store: Store) -> None:
    """The row of a claim is there with its stream's events."""
    claims: list[Claim] = [process_id("invoice/7", A), idempotency("key-1", A)]

    assert (await store.append([part(A, claims=claims)]))[:2] == (1, {})
    assert await store.process_id(ORG, WORKSPACE, "invoice/7") == claims[0]
    assert (await store.idempotency_of(ORG, WORKSPACE, ["key-1"])).get("key-1") == claims[1]
    assert await store.idempotency_of(ORG, WORKSPACE, ["key-1", "key-2", "key-1"]) == {"key-1": claims[1]}
    assert await store.idempotency_of(ORG, uid(9), ["key-1"]) == {}
    assert await store.idempotency_of(ORG, WORKSPACE, []) == {}
    assert await store.process_ids_of([B, A]) == {A: "invoice/7"}


async def test_names_are_told_apart_by_organization_workspace_and_case(store: Store) -> None:
    """The same name is free in another organization or workspace, and with other letters."""
    claims = [
        process_id("a", A),
        process_id("a", B, workspace_id=OTHER_WORKSPACE),
        process_id("a", C, organization_id=OTHER_ORG),
        process_id("A", uid(4)),
    ]

    appended = await store.append([part(claim.stream_id, claims=[claim]) for claim in claims])

    assert appended.refused == {}
    assert await store.process_id(OTHER_ORG, WORKSPACE, "a") == claims[2]
    assert await store.process_id(OTHER_ORG, OTHER_WORKSPACE, "a") is None
    assert await store.process_ids_named(OTHER_ORG, WORKSPACE, ["b", "a", "a"]) == {"a": claims[2]}
    assert await store.process_ids_named(OTHER_ORG, OTHER_WORKSPACE, ["a"]) == {}
    assert await store.process_ids_named(OTHER_ORG, WORKSPACE, []) == {}


async def test_a_taken_name_is_lost_in_a_later_batch(store: Store) -> None:
    """The loser's events, rows and other claims are left out; the answer holds the claim that was lost."""
    await store.append([part(A, claims=[process_id("a", A)])])
    lost = process_id("a", B)
    late = part(B, events=2, claims=[idempotency("key", B), lost], puts=[execution(B)])

    assert (await store.append([late]))[:2] == (1, {B: Refusal("claimed", lost)})
    assert await store.stream(B) is None
    assert await store.execution(B) is None
    assert (await store.idempotency_of(ORG, WORKSPACE, ["key"])).get("key") is None
    assert await store.process_ids_of([B]) == {}


async def test_the_first_of_a_batch_has_the_name(store: Store) -> None:
    """Two streams of one batch claim one name: the first in the batch's order has it, whatever its id."""
    lost = process_id("a", A)
    batch = [part(B, claims=[process_id("a", B)]), part(A, claims=[lost]), part(C)]

    assert (await store.append(batch))[:2] == (2, {A: Refusal("claimed", lost)})
    assert await store.process_ids_of([A, B]) == {B: "a"}


async def test_a_stream_that_is_left_out_has_won_nothing(store: Store) -> None:
    """What a stream won before it lost another claim is free for the next stream of the same batch."""
    await store.append([part(A, claims=[process_id("a", A)])])
    lost = idempotency("key", B)
    await store.append([part(C, claims=[idempotency("key", C)])])
    loser, next_one = (
        part(B, claims=[process_id("b", B), lost]),
        part(uid(4), claims=[process_id("b", uid(4))]),
    )

    assert (await store.append([loser, next_one]))[:2] == (3, {B: Refusal("claimed", lost)})
    assert await store.process_ids_of([B, uid(4)]) == {uid(4): "b"}


async def test_a_stale_stream_claims_nothing(store: Store) -> None:
    """A stream whose head moved leaves its claims to others, and is called stale even if they are taken."""
    first = part(A, claims=[process_id("a", A)])
    await store.append([first])
    stale = part(A, claims=[idempotency("key", A), process_id("a", A)], branch="stale")

    assert (await store.append([stale, part(B, claims=[idempotency("key", B)])]))[:2] == (2, {A: Refusal("stale")})
    kept = (await store.idempotency_of(ORG, WORKSPACE, ["key"])).get("key")
    assert kept is not None
    assert kept.stream_id == B


async def test_an_answer_without_an_event_is_remembered(store: Store) -> None:
    """A claim may come with no events, on a stream that exists and on one that does not."""
    first = part(A)
    await store.append([first])
    claims = [idempotency("one", A), idempotency("two", B)]
    batch = [part(A, head_of(first), events=0, claims=claims[:1]), part(B, events=0, claims=claims[1:])]

    assert (await store.append(batch))[:2] == (1, {})
    assert (await store.idempotency_of(ORG, WORKSPACE, ["one"])).get("one") == claims[0]
    assert (await store.idempotency_of(ORG, WORKSPACE, ["two"])).get("two") == claims[1]
    assert await store.stream(B) is None


async def test_a_stream_has_one_process_id(store: Store) -> None:
    """A second name for a stream is lost like a taken one."""
    first = part(A, claims=[process_id("a", A)])
    await store.append([first])
    second = process_id("b", A)

    appended = await store.append([part(A, head_of(first), claims=[second])])

    assert appended[:2] == (1, {A: Refusal("claimed", second)})
    assert await store.process_ids_of([A]) == {A: "a"}


async def test_a_claim_that_was_won_is_lost_the_second_time(store: Store) -> None:
    """The very row that is there already is taken too, and so is one that stands twice in one part."""
    key = idempotency("key", A)
    first = part(A, claims=[key])
    await store.append([first])

    assert (await store.append([part(A, head_of(first), claims=[key])]))[:2] == (1, {A: Refusal("claimed", key)})
    twice = idempotency("twice", B)
    assert (await store.append([part(B, claims=[twice, twice])]))[:2] == (1, {B: Refusal("claimed", twice)})
    assert (await store.idempotency_of(ORG, WORKSPACE, ["twice"])).get("twice") is None
