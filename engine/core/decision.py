"""The result types of `decide` (a decision, a rejection, or data to be loaded first), and its inputs (`Facts`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.effects import Effect
from perdure.engine.core.pause_events import Quota
from perdure.engine.core.refs import Payloads
from perdure.engine.language import Machine

RejectionCode: TypeAlias = Literal[
    "VALIDATION_ERROR",
    "NOT_FOUND",
    "CONFLICT",
    "NOT_WAITING",
    "AMBIGUOUS_WAIT",
    "NAME_THE_WAIT",
    "WAIT_EXPIRED",
    "UNAVAILABLE",
    "STALE",
]
"""Why a command was refused. `STALE`: it comes from inside (a timer, a recovery) and is out of date."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Append first: only when `steps` are on disk may `answer` be given and `effects` be run. No steps: a no-op."""

    steps: tuple[DraftedEvent, ...]
    effects: tuple[Effect, ...]
    answer: Any = None


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """The command was refused. `details` are JSON values; `steps` record the refusal, where it is recorded.

    `is_early`: time may lift it, so the caller may hold the request. `is_counted`: it is one of the refusals that the
    stream counts, whether or not this one is recorded.
    """

    code: RejectionCode
    message: str
    details: Mapping[str, Any] = {}
    steps: tuple[DraftedEvent, ...] = ()
    is_early: bool = False
    is_counted: bool = False


class Need(msgspec.Struct, frozen=True, gc=False):
    """Payloads, by seq, or ended waits, by id, that must be loaded; then decide again with all else the same.

    `is_slow`: the decision takes longer than `Facts.expression_timeout_s` allows; decide again without that limit, in a
    thread.
    """

    seqs: tuple[int, ...] = ()
    waits: tuple[str, ...] = ()
    is_slow: bool = False


Outcome: TypeAlias = Decision | Rejection | Need


class Trial(NamedTuple):
    """Options of a run of one single state: its context object, and a mapping that receives the data of each step."""

    context: dict[str, Any] | None
    trace: dict[str, Any]


PAYLOAD_MAX: Final = 1024 * 1024
"""Bytes of JSON text that a value of a run may have, unless a setting says otherwise (AWS: 262,144)."""


RUN_PAYLOADS_MAX: Final = 64 * 1024 * 1024
"""Bytes of JSON text that all payloads together may have that a run holds at once, unless a setting says otherwise."""


QUOTA_NAMES: Final[Mapping[Quota, str]] = MappingProxyType(
    {
        "events": "run_events_max",
        "bytes": "run_bytes_max",
        "transitions": "run_transitions_per_s_max",
    }
)
"""The settings of a node that are quotas of a run."""


EVENTS_MAX: Final = 1_000_000
"""A run that has so many events is paused, unless a setting says otherwise (AWS: 25,000, more of them to a state)."""


RUN_BYTES_MAX: Final = 1024 * 1024 * 1024
"""A run whose events have so many bytes of JSON text is paused, unless a setting says otherwise."""


TRANSITIONS_PER_S_MAX: Final = 2000
"""A run that enters so many states a second, over a minute, is paused, unless a setting says otherwise.

A loop of states that need nobody makes 20,000 and more; a Map of ten thousand items makes as many once."""


TRANSITIONS_MAX: Final = 256
"""So many states a decision passes at the most before others have their turn, unless a setting says otherwise."""


class Facts(msgspec.Struct, frozen=True):
    """The inputs of a decision beside state and command.

    `execution` is the stream's id as text, `machine` the definition that an execution runs (other streams have none).

    `new_id` draws an id, and `random_bytes` so many bytes that nobody can guess: the same ones if asked again in the
    same order.

    `known_waits` tells how waits ended that the state no longer knows (null: there is no such wait); `refusals` is
    how many commands were refused without a record since the last recorded one. `names` are those of the context
    object: execution_id, execution_name, role_arn, state_machine_id, state_machine_name. `expression_timeout_s`
    gives, while the decision is made, the seconds of real time that are left for it: an expression may take no longer,
    and when none are left it stops between two states; null: no limit. `transitions_max` is how many states it passes
    at most. `trial` is set where one state is tried out by itself. `payload_max` is how many bytes of JSON any value of
    the run may have, `events_max` how many events the run.

    `payload_sizes` has the bytes of the payloads that are live, loaded or not, by seq, and maybe of some that are not
    live any more; `payload_bytes` is their sum. `run_payloads_max` is how many those that are live may have together.

    `events_max` and what follows are quotas of the run, which pause it: its log may have `log_bytes_max`, and it may
    enter `transitions_minute_max` states within a minute. `quota_names` says which setting each of them is. `engine` is
    the actor of what the engine does by itself.
    """

    execution: str
    machine: Machine
    payloads: Payloads
    now: int
    actor: str
    new_id: Callable[[], str]
    random_bytes: Callable[[int], bytes]
    known_waits: Mapping[str, str | None] = {}
    refusals: int = 0
    names: Mapping[str, str] = {}
    expression_timeout_s: Callable[[], float] | None = None
    transitions_max: int = TRANSITIONS_MAX
    trial: Trial | None = None
    payload_max: int = PAYLOAD_MAX
    events_max: int = EVENTS_MAX
    payload_sizes: Mapping[int, int] = {}
    payload_bytes: int = 0
    run_payloads_max: int = RUN_PAYLOADS_MAX
    engine: str = "engine:"
    log_bytes_max: int = RUN_BYTES_MAX
    transitions_minute_max: int = 60 * TRANSITIONS_PER_S_MAX
    quota_names: Mapping[Quota, str] = QUOTA_NAMES


RECORDED_REFUSALS: Final = 32
"""So many refusals of a stream are recorded one by one; then one at each power of two."""

ITERATIONS_AHEAD: Final = 40
"""So many iterations are begun before the states of those that are there are entered: AWS runs as many at once."""
