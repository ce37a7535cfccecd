"""Changes that a commit makes: asked by whoever keeps what was read of a workflow or an organization.

Most commits of a workflow that has schedules are about its slots and runs, and most of an organization are pins of the
log. They change nothing that anybody keeps, and come all the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.engine.core.organization import OrganizationSettingsChanged
from perdure.engine.core.schedules import RUN_EVENTS
from perdure.engine.runtime.streams.stream import HotStream
from perdure.store.records import NewEvent

_OF_RUNS: Final = frozenset(kind.__name__ for kind in RUN_EVENTS)


def changes_workflow(hot: HotStream, events: Sequence[NewEvent]) -> bool:
    """Whether events of a stream change what a workflow is: its versions, settings or status."""
    return hot.kind.name == "workflow" and any(event.type not in _OF_RUNS for event in events)


def changes_organization(hot: HotStream, events: Sequence[NewEvent]) -> bool:
    """Whether events of a stream change the settings of an organization."""
    is_organization = hot.kind.name == "organization"
    return is_organization and any(event.type == OrganizationSettingsChanged.__name__ for event in events)
