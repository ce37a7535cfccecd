"""The event of an organization's stream that pins the log; apart, so that who only reads events imports no more."""

from __future__ import annotations

from perdure.engine.core.events import Event


class LogPinned(Event, frozen=True):
    """A pin: the event at a position of the whole log, so this stream's hash says where all events before it stand.

    `sha256` is the hash of the event there. `log_sha256` is the digest of the log above `after` up to there: SHA-256
    of `perdure-log-1`, a line feed, and the hashes of the events at those positions, in their order.
    """

    position: int
    sha256: str
    after: int | None = None
    log_sha256: str | None = None
