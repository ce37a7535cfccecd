"""The quotas that hold for a run: found outside the core, and brought to its decisions as facts.

Which ones hold is said by settings, which change while runs are under way. So they are looked up for each decision, by
the workflow of the run. That costs a look into memory; for a workflow that is not known there, the decision waits until
its settings have been read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

from perdure.engine.core.commands import ForkExecution, Trigger
from perdure.engine.core.decision import QUOTA_NAMES
from perdure.engine.core.pause_events import Quota
from perdure.engine.limits import Limits
from perdure.engine.runtime.processing.requests import CommandRequest
from perdure.engine.runtime.streams.stream import HotStream

WorkflowKey: TypeAlias = tuple[bytes, str]
"""A workflow, by its organization's id and by its own as text."""


class Ceiling(NamedTuple):
    """A quota that holds: how much, and which setting says so."""

    most: int
    name: str


class RunQuotas(NamedTuple):
    """The quotas that hold for a workflow's runs. `names` are of those that pause a run, as facts have them."""

    events_max: int
    bytes_max: int
    transitions_minute_max: int
    names: Mapping[Quota, str]
    open_runs: Ceiling
    child_depth: Ceiling


class QuotaSource(Protocol):
    """The quotas of workflows, by the settings that are in force."""

    def known(self, key: WorkflowKey) -> RunQuotas | None:
        """The quotas that hold for a workflow; null if they must be read first."""
        ...

    async def read(self, key: WorkflowKey) -> RunQuotas:
        """Likewise, read if need be; right after it they are known. Raises `StoreError`."""
        ...


def quotas_of_engine(limits: Limits) -> RunQuotas:
    """The quotas that hold where no setting of a workflow or an organization says otherwise."""
    return RunQuotas(
        limits.run_events_max,
        limits.run_bytes_max,
        60 * limits.run_transitions_per_s_max,
        QUOTA_NAMES,
        Ceiling(limits.workflow_open_runs_max, "workflow_open_runs_max"),
        Ceiling(limits.child_depth_max, "child_depth_max"),
    )


def workflow_key(hot: HotStream, request: CommandRequest) -> WorkflowKey | None:
    """The workflow whose quotas a decision needs; null: it is about no run."""
    if request.kind != "execution":
        return None
    workflow: str = hot.state.workflow
    if not workflow:  # nothing has happened yet: what begins it says of which workflow it is
        command = request.command
        if isinstance(command, Trigger):
            workflow = command.workflow
        elif isinstance(command, ForkExecution):
            workflow = command.events[0].event.workflow  # type: ignore[attr-defined]  # how every run begins
    return (hot.organization_id, workflow) if workflow else None
