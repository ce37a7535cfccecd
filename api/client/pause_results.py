"""Results about pauses: structs with at least these members, as those of `perdure.api.client.results`."""

from __future__ import annotations

import msgspec


class PauseShown(msgspec.Struct, frozen=True, kw_only=True):
    """A pause. `quota`: the one that was used up, null: an operator did it; `clocks`: `run` or `freeze`.

    `in_flight` tasks are still worked on; `quiescent`: none is.
    """

    since: str
    by: str
    reason: str | None
    clocks: str
    quota: str | None
    in_flight: int
    quiescent: bool


class PauseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A run's status, and its pause; null if it is not paused."""

    status: str
    pause: PauseShown | None


class PauseListed(msgspec.Struct, frozen=True, kw_only=True):
    """The pause of a run. `quota` is used up, null: an operator did it; `quiescent`: nothing is `in_flight` now."""

    since: int
    quota: str | None
    in_flight: int
    quiescent: bool


class PauseDetails(PauseListed, frozen=True, kw_only=True):
    """The pause of a run, and who did it, why, and whether time goes on meanwhile (`clocks`: run or freeze)."""

    by: str
    reason: str | None
    clocks: str


class PauseOfRun(msgspec.Struct, frozen=True, kw_only=True):
    """The pause that a run is in. `quota` is used up, null: an operator did it; `quiescent`: nothing is `in_flight`."""

    since: str
    quota: str | None
    in_flight: int
    quiescent: bool
