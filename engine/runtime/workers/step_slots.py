"""Step slots: limits how many steps run at once, with fair queues by workspace and workflow.

Who waits has its turn by workspace, then by workflow, so that a wide Map of one makes no other wait behind it. And no
workflow ever holds all places: it may take four times as many as would be left, and a workspace sixteen times as many.
(So of 1,000 places one workflow has 800, two have 444 each; the rest is there for whoever comes next.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

WORKFLOW_SHARE: Final = 4
WORKSPACE_SHARE: Final = 16


class TaskKey(NamedTuple):
    """The key of a task: its stream, and the seq of its `TaskScheduled`."""

    stream_id: bytes
    seq: int


class Tenant(NamedTuple):
    """The workspace and workflow of a step."""

    workspace: str
    workflow: str


_Queue = OrderedDict[TaskKey, T]


class StepSlots(Generic[T]):
    """A number of slots, and a queue for them. `start` begins what was given a slot; `leave` frees that."""

    def __init__(self, limit: int, start: Callable[[TaskKey, T], None]) -> None:
        self.limit = limit
        self._start = start
        self._held: dict[TaskKey, Tenant] = {}
        self._of_workflow: dict[Tenant, int] = {}
        self._of_workspace: dict[str, int] = {}
        self._queues: OrderedDict[str, OrderedDict[Tenant, _Queue[T]]] = OrderedDict()
        self._queued: dict[TaskKey, Tenant] = {}
        self._is_filling = False

    @property
    def held(self) -> int:
        """The number of slots in use."""
        return len(self._held)

    @property
    def queued(self) -> int:
        """The number of tasks that wait for a slot."""
        return len(self._queued)

    def is_queued(self, key: TaskKey) -> bool:
        """Whether this task waits for a slot."""
        return key in self._queued

    def queued_of(self, stream_id: bytes) -> list[TaskKey]:
        """The tasks of a stream that wait for a slot, first come first."""
        return [key for key in self._queued if key.stream_id == stream_id]

    def holds(self, key: TaskKey) -> bool:
        """Whether this task has a slot."""
        return key in self._held

    def knows(self, key: TaskKey) -> bool:
        """Whether this task has a slot, or waits for one."""
        return key in self._held or key in self._queued

    def enter(self, key: TaskKey, tenant: Tenant, item: T) -> None:
        """Give the task a slot, now or when it is its turn."""
        if not self._queued and self._has_room(tenant):
            self._take(key, tenant, item)
            return
        queues = self._queues.setdefault(tenant.workspace, OrderedDict())
        queues.setdefault(tenant, OrderedDict())[key] = item
        self._queued[key] = tenant
        self.fill()

    def forget(self, key: TaskKey) -> T | None:
        """Remove the task from the queue; null if it is not there."""
        tenant = self._queued.pop(key, None)
        return None if tenant is None else self._remove(tenant, key)

    def leave(self, key: TaskKey) -> None:
        """Free a slot, and give it to the next task."""
        tenant = self._held.pop(key)
        _count_down(self._of_workflow, tenant)
        _count_down(self._of_workspace, tenant.workspace)
        self.fill()

    def clear(self) -> None:
        """Empty the queue."""
        self._queues.clear()
        self._queued.clear()

    def fill(self) -> None:
        """Give free places to who waits. What ends at once, within its start, is no reason to begin anew in here."""
        if self._is_filling:
            return
        self._is_filling = True
        try:
            while self._queued and (tenant := self._next()) is not None:
                key = next(iter(self._queues[tenant.workspace][tenant]))
                del self._queued[key]
                self._take(key, tenant, self._remove(tenant, key))
        finally:
            self._is_filling = False

    def _take(self, key: TaskKey, tenant: Tenant, item: T) -> None:
        self._held[key] = tenant
        self._of_workflow[tenant] = self._of_workflow.get(tenant, 0) + 1
        self._of_workspace[tenant.workspace] = self._of_workspace.get(tenant.workspace, 0) + 1
        self._start(key, item)

    def _has_room(self, tenant: Tenant) -> bool:
        free = self.limit - len(self._held)
        return (
            self._of_workflow.get(tenant, 0) < WORKFLOW_SHARE * free
            and self._of_workspace.get(tenant.workspace, 0) < WORKSPACE_SHARE * free
        )

    def _next(self) -> Tenant | None:
        """Whose turn it is, of those that may have a place; they are last in the next round."""
        if len(self._held) >= self.limit:
            return None
        for workspace, queues in self._queues.items():
            for tenant in queues:
                if self._has_room(tenant):
                    self._queues.move_to_end(workspace)
                    queues.move_to_end(tenant)
                    return tenant
        return None

    def _remove(self, tenant: Tenant, key: TaskKey) -> T:
        queues = self._queues[tenant.workspace]
        item = queues[tenant].pop(key)
        if not queues[tenant]:
            del queues[tenant]
        if not queues:
            del self._queues[tenant.workspace]
        return item


_K = TypeVar("_K")


def _count_down(counts: dict[_K, int], of: _K) -> None:
    if counts[of] > 1:
        counts[of] -= 1
    else:
        del counts[of]
