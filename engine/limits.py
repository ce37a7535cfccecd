"""The limits of a node."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.engine.core.decision import (
    EVENTS_MAX,
    PAYLOAD_MAX,
    RUN_BYTES_MAX,
    RUN_PAYLOADS_MAX,
    TRANSITIONS_MAX,
    TRANSITIONS_PER_S_MAX,
)

STEPS_MAX: Final = 1000
STEP_THREADS: Final = 32
COMMIT_STALL_MS: Final = 5_000
CHILD_DEPTH_MAX: Final = 25
WORKFLOW_OPEN_RUNS_MAX: Final = 100_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a node. Each is a setting of the server's too.

    `steps_max`: so many async steps run at once; what waits for a place has its turn by workflow
        (`engine.runtime.workers.step_slots`).
    `step_threads`: so many plain steps run at once, each in a thread.
    `payload_max_bytes`: the most JSON text that a value of a run may have, at most PAYLOAD_MAX: an input or a payload
        that has more is refused, and a state that makes more fails with `States.DataLimitExceeded`.
    `run_payloads_max_bytes`: the most JSON text that all values together have that a run holds at once: what would make
        it more fails with `States.DataLimitExceeded`.
    `run_events_max`, `run_bytes_max`, `run_transitions_per_s_max`: quotas of one run, which is paused if it uses one up
        (`engine.core.decide.quota`): how many events its log has, of how many bytes of JSON text, and how many states
        it enters a second, over a minute.
        A setting of the workflow or its organization may say less (`engine.services.quotas`), as of the next two.
    `workflow_open_runs_max`: while a workflow has so many runs that have not ended, no further one is started.
    `child_depth_max`: so deep children are nested in children; the task that would start a deeper one fails.
    `transitions_max`: so many states a run passes in a row before others have their turn.
    `commit_stall_ms`: while a commit takes longer, readiness says so, and calls that change something raise
        `engine.errors.Unavailable`.
    """

    steps_max: int = STEPS_MAX
    step_threads: int = STEP_THREADS
    payload_max_bytes: int = PAYLOAD_MAX
    run_payloads_max_bytes: int = RUN_PAYLOADS_MAX
    run_events_max: int = EVENTS_MAX
    run_bytes_max: int = RUN_BYTES_MAX
    run_transitions_per_s_max: int = TRANSITIONS_PER_S_MAX
    workflow_open_runs_max: int = WORKFLOW_OPEN_RUNS_MAX
    transitions_max: int = TRANSITIONS_MAX
    child_depth_max: int = CHILD_DEPTH_MAX
    commit_stall_ms: int = COMMIT_STALL_MS


DEFAULT_LIMITS: Final = Limits()
