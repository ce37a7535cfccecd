"""The resource API: its routes; what is asked for most is looked for first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.api.dialects.resource.access import clock, keys, organizations
from perdure.api.dialects.resource.executions import (
    bulk,
    chances,
    events,
    execution,
    executions,
    finding,
    pauses,
    releases,
    tasks,
    waits,
)
from perdure.api.dialects.resource.workflows import actions, documents, schedules, trials, workflows
from perdure.api.http.routing import Route

ROUTES: Final[Sequence[Route]] = (
    *(*executions.ROUTES, *events.ROUTES, *documents.NAMED_ROUTES, *workflows.ROUTES),
    *(*documents.ROUTES, *schedules.ROUTES, *keys.ROUTES, *waits.ROUTES),
    *(*finding.ROUTES, *execution.ROUTES),
    *bulk.ROUTES,
    *(*chances.ROUTES, *tasks.ROUTES, *organizations.ROUTES, *releases.ROUTES, *pauses.ROUTES),
    *(*trials.ROUTES, *clock.ROUTES, *actions.ROUTES),
)
