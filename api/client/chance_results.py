"""Results of calls about second chances, in the form of `results`."""

from __future__ import annotations

from perdure.api.client.results import Result


class RunMade(Result, frozen=True):
    """Another run is on disk, and starts."""

    execution_id: str
    process_id: str


class OriginShown(Result, frozen=True):
    """The run that a run was made from (`rerun` or `fork`), and the event of it, whose hash tells it from any other."""

    kind: str
    execution_id: str
    seq: int
    hash: str


class RunRelated(Result, frozen=True):
    """A run that was made from another one."""

    execution_id: str
    process_id: str
    status: str
    created_at: str


class Lineage(Result, frozen=True):
    """The origin of a run, how often it was redriven, and what was made from it: the first hundred runs."""

    execution_id: str
    status: str
    redrives: int
    origin: OriginShown | None
    reruns: list[RunRelated]
    forks: list[RunRelated]
    has_more: bool
