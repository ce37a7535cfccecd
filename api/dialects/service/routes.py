"""The service API: its routes; what is asked for most is looked for first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.api.dialects.service import runs, step_types, workflows
from perdure.api.http.routing import Route

ROUTES: Final[Sequence[Route]] = (*runs.ROUTES, *workflows.ROUTES, *step_types.ROUTES)
