"""Spellings of scopes: each dialect's own, and all of them together, which are taken where keys are made."""

from __future__ import annotations

from typing import Final

from perdure.api.http.dialect import ScopeSpelling

RUNS_WORDS: Final = ScopeSpelling(
    words={
        "workflows:read": "workflows.view",
        "workflows:write": "workflows.manage",
        "workflows:execute": "workflows.run",
        "runs:read": "runs.view",
        "connections:read": "connections.view",
        "connections:write": "connections.manage",
    }
)
SERVICE_PREFIX: Final = ScopeSpelling(prefix="service.workflows.")
EVERY: Final = ScopeSpelling(prefix=SERVICE_PREFIX.prefix, words=RUNS_WORDS.words)
