"""The resource API: its routes; what is asked for most is looked for first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.api.dialects.resource import (
    bulk,
    chances,
    clock,
    events,
    executions,
    finding,
    keys,
    organizations,
    pauses,
    releases,
    schedules,
    tasks,
    trials,
    waits,
    workflows,
)
from perdure.api.http.routing import Route

ROUTES: Final[Sequence[Route]] = (
    *(*executions.ROUTES, *events.ROUTES, *workflows.ROUTES, *schedules.ROUTES, *keys.ROUTES, *waits.ROUTES),
    *finding.ROUTES,
    *bulk.ROUTES,
    *(*chances.ROUTES, *tasks.ROUTES, *organizations.ROUTES, *releases.ROUTES, *pauses.ROUTES),
    *(*trials.ROUTES, *clock.ROUTES),
)
