"""Idempotency keys of steps: equal for calls that are one piece of work, and different for any others.

The same place, visit and parameters have the same key, over attempts, crashes, and attempts of the Parallel or Map
states around it; other parameters never have the same key (decision record 22).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

import msgspec

from perdure.engine.core.decide.context import started_with
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.ids import percent_encoded
from perdure.engine.core.state import TOP, fork_and_index
from perdure.engine.language import HandlingState, TaskState

SALT: Final = "key_salt"
"""The member of the first event's payload that keys the digests."""

SALT_BYTES: Final = 16
DIGEST_DIGITS: Final = 32

KEY_MAX: Final = 255
"""Characters of a key: what payment services take."""

_sorted: Final = msgspec.json.Encoder(order="deterministic")


def salt_for(draft: ExecutionDraft) -> dict[str, str]:
    """The members of the first event's payload for keys: a salt, if some key of the run will hold a digest."""
    return {SALT: draft.facts.random_bytes(SALT_BYTES).hex()} if draft.facts.machine.varies else {}


def idempotency_key(draft: ExecutionDraft, scope: str, parameters: Any) -> str:
    """`execution/state/iteration/visit`, each percent-encoded, for the call of the Task state that a scope is in.

    The iteration is `STATE:VISIT:INDEX` of each Parallel and Map state around it, outermost first; none is `-`. Where
    another attempt could have other parameters, a fifth part is their digest.
    """
    # No attempt and no seq is part of it. A retry stays at the same visit; another attempt of a Parallel or Map around
    # it begins with new frames, whose visits are counted anew, and so comes to the same key.
    frame = draft.state.frames[scope]
    place, is_retried = _place(draft, scope)
    key = f"{draft.facts.execution}/{percent_encoded(frame.state)}/{place}/{frame.visit}"
    state = draft.definition(scope, TaskState)
    # Another attempt around it computes all below anew, and a state that reads the context object its own parameters:
    # what differs then is other work, and only its digest tells.
    if is_retried or (state.reads_context and state.retriers):
        key = f"{key}/{_digest(draft, parameters)}"
    # The execution stays readable: whoever finds the key at a payment service finds the run.
    if len(key) > KEY_MAX:
        return f"{draft.facts.execution}/{hashlib.sha256(key.encode()).hexdigest()}"
    return key


def _place(draft: ExecutionDraft, scope: str) -> tuple[str, bool]:
    """The path of a scope through its forks, the same in each attempt; and whether a fork around it can be retried."""
    parts: list[str] = []
    is_retried = False
    while scope != TOP:
        seq, index = fork_and_index(scope)
        scope = draft.state.forks[seq].scope
        frame = draft.state.frames[scope]
        parts.append(f"{percent_encoded(frame.state)}:{frame.visit}:{index}")
        around = draft.state_of(scope)
        is_retried = is_retried or (isinstance(around, HandlingState) and bool(around.retriers))
    return ":".join(reversed(parts)) or "-", is_retried


def _digest(draft: ExecutionDraft, parameters: Any) -> str:
    """A digest of the parameters that nobody can guess them by; the salt goes when the run's payloads are erased."""
    salt: str = started_with(draft).get(SALT, draft.facts.execution)
    return hmac.digest(salt.encode(), _sorted.encode(parameters), "sha256").hex()[:DIGEST_DIGITS]
