"""`Idempotency.run_once`: given what is kept under a key, when a request is sent, then it is answered once."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine.errors import Conflict, Unavailable
from perdure.engine.log.digests import request_digest
from perdure.engine.runtime.callers import Caller, IdempotencyClaim, IdempotencyKey
from perdure.engine.services.idempotency import TURNS_MAX, Answered, Idempotency
from perdure.store.records import IdempotencyRow

CALLER = Caller(b"o" * 16, b"w" * 16, "key:a")
RUN = b"r" * 16
SALT = b"s" * 16
REQUEST = ["POST", "/a", [], {"n": 1}]
KEY = IdempotencyKey("k-1", REQUEST)


class Kept:
    """What is kept: a store and its node, as far as they are asked."""

    def __init__(self) -> None:
        self.rows: dict[str, IdempotencyRow] = {}
        self.lookups = 0
        self.store = self

    def keep(self, key: IdempotencyKey, answer: str) -> None:
        digest = request_digest(SALT, key.request)
        self.rows[key.key] = IdempotencyRow(
            CALLER.organization_id, CALLER.workspace_id, key.key, RUN, SALT, digest, f'"{answer}"', created_at=0
        )

    async def idempotency_of(self, _organization: bytes, _workspace: bytes, keys: list[str]) -> dict[str, Any]:
        self.lookups += 1
        return {key: self.rows[key] for key in keys if key in self.rows}

    async def position(self) -> int:
        return 7

    def random(self, count: int) -> bytes:
        return b"x" * count


class Sender:
    """Sends nothing: each turn comes to the next of `outcomes`, and the last again and again."""

    def __init__(self, outcomes: list[Answered | None]) -> None:
        self.outcomes = outcomes
        self.claims: list[IdempotencyClaim | None] = []

    async def __call__(self, claim: IdempotencyClaim | None) -> Answered | None:
        self.claims.append(claim)
        return self.outcomes[min(len(self.claims), len(self.outcomes)) - 1]


def sender(*outcomes: Answered | None) -> Sender:
    return Sender(list(outcomes))


ANSWER = Answered("restarted", RUN, 9)


@pytest.fixture
def kept() -> Kept:
    """Nothing is kept yet."""
    return Kept()


def once(kept: Kept) -> Idempotency:
    node: Any = kept
    return Idempotency(node)


async def test_a_first_request_is_sent_with_its_claim(kept: Kept) -> None:
    """Given nothing, when a request is sent, then its answer is given; it claims its key for what it asks."""
    send = sender(ANSWER)
    assert await once(kept).run_once(CALLER, KEY, send) == ANSWER
    salt = b"x" * 16
    assert send.claims == [
        IdempotencyClaim(CALLER.workspace_id, "k-1", salt, request_digest(salt, REQUEST), CALLER.organization_id)
    ]


async def test_without_a_key_nothing_is_looked_up_or_claimed(kept: Kept) -> None:
    """Given a request without a key, when it is sent, then it is sent as it is."""
    send = sender(ANSWER)
    assert await once(kept).run_once(CALLER, None, send) == ANSWER
    assert (send.claims, kept.lookups) == ([None], 0)


async def test_what_was_answered_is_not_sent_again(kept: Kept) -> None:
    """Given an answer under the key, when the request comes again, then it is answered so, where the log stands now."""
    kept.keep(KEY, "restarted")
    send = sender()
    assert await once(kept).run_once(CALLER, KEY, send) == Answered("restarted", RUN, 7)
    assert send.claims == []


async def test_a_claim_that_is_lost_twice_is_tried_a_third_time(kept: Kept) -> None:
    """Given others that are faster twice, when a request is sent, then each turn looks first; the third is answered."""
    send = sender(None, None, ANSWER)
    assert await once(kept).run_once(CALLER, KEY, send) == ANSWER
    assert (len(send.claims), kept.lookups) == (3, 3)


async def test_who_loses_a_claim_to_the_same_request_hears_its_answer(kept: Kept) -> None:
    """Given the same request under way, when this one loses the claim to it, then it gets that one's answer."""

    async def lose(_claim: IdempotencyClaim | None) -> Answered | None:
        kept.keep(KEY, "restarted")
        return None

    assert await once(kept).run_once(CALLER, KEY, lose) == Answered("restarted", RUN, 7)


async def test_another_request_under_the_same_key_is_refused(kept: Kept) -> None:
    """Given an answer to another request, when this one comes with its key, then it is a conflict, and is not sent."""
    kept.keep(IdempotencyKey("k-1", ["POST", "/a", [], {"n": 2}]), "restarted")
    send = sender(ANSWER)
    with pytest.raises(Conflict, match="it was used for another request") as refused:
        await once(kept).run_once(CALLER, KEY, send)
    assert (refused.value.position, send.claims) == (7, [])


@pytest.mark.parametrize("key", [KEY, None])
async def test_too_many_turns_end(kept: Kept, key: IdempotencyKey | None) -> None:
    """Given others that are faster for ever, when a request is sent, then it is refused for now, in the words given."""
    send = sender(None)
    with pytest.raises(Unavailable, match=r"^busy$"):
        await once(kept).run_once(CALLER, key, send, turns_max=4, busy="busy")
    assert len(send.claims) == 4
    with pytest.raises(Unavailable, match="idempotency key"):
        await once(kept).run_once(CALLER, key, send)
    assert len(send.claims) == 4 + TURNS_MAX
