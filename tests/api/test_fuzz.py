"""Fuzzing: no request drawn from the document, or from just beside it, is answered otherwise than it says."""

from __future__ import annotations

from tests.api.fuzzing import fuzz


def test_every_answer_is_as_the_document_says() -> None:
    """No 5xx, no status or shape that is not documented, nothing wrong accepted, no row left by a refused request."""
    api = fuzz(150, seed=1)
    operations = {operation for operation, _ in api.statuses}
    statuses = {status for _, status in api.statuses}
    assert api.sent > 100
    assert len(operations) > 20
    assert {200, 201, 400, 404, 409} <= statuses
