"""Words of the warnings that a workflow may come with beside those of its definition."""

from __future__ import annotations

from typing import Final

SEVERAL_WAITS: Final = (
    "a run can open more than one wait, and a resume that names none ends whichever is open, so that an answer that is "
    "sent twice may answer the next question too: name the wait in every resume (state, or wait_id where a state asks "
    'again), or set settings.resume to "named"'
)

SAME_NAME: Final = (
    "another workflow is named {!r} too ({}), so that neither can be called by its name; to make the next version of "
    "one, apply the definition (PUT /v1/workflows/by-name/NAME, perdure workflows apply)"
)
