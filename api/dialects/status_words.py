"""Status words of runs: what each dialect calls a status of ours, and what its words mean in a filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from perdure.engine.errors import Invalid
from perdure.engine.services.run_filters import STATUSES
from perdure.engine.shown import shown
from perdure.engine.suggestions import did_you_mean

SUSPENDED: Final = "suspended"
"""Any dialect's word in a filter for runs that wait for somebody."""


class StatusWords(NamedTuple):
    """The words of a dialect, by status of ours.

    `has_detail`: it shows our word beside its own (`status_detail`).
    `has_suspended`: it says of a run that waits that it is `suspended`.
    """

    words: Mapping[str, str]
    has_detail: bool = False
    has_suspended: bool = False

    def word(self, status: str) -> str:
        """The dialect's word for a status of ours."""
        return self.words[status]

    def detail(self, status: str) -> str | None:
        """Our word, if the dialect shows it."""
        return status if self.has_detail else None

    @property
    def accepted(self) -> tuple[str, ...]:
        """The words that a filter takes: the dialect's, ours, and `suspended`."""
        return tuple(dict.fromkeys((*self.words.values(), *STATUSES, SUSPENDED)))

    def meant(self, text: str, *, field: str = "status") -> str:
        """The statuses of ours that a filter means, as our filter takes them: separated by commas.

        A word that is the dialect's and ours means what it means in the dialect. Raises `Invalid`, naming the field.
        """
        found = dict[str, None]()
        for word in text.split(","):
            own = [status for status, known in self.words.items() if known == word]
            if own:
                found.update(dict.fromkeys(own))
            elif word in STATUSES:
                found[word] = None
            elif word == SUSPENDED:
                found["waiting"] = None
            else:
                names = ", ".join(self.accepted)
                near = did_you_mean(word, self.accepted)
                message = f"{field}: {shown(word)} is not accepted; it must be one or several of {names}.{near}"
                raise Invalid(message, {"field": field})
        return ",".join(found)


RUNS_WORDS: Final = StatusWords(
    {
        "pending": "pending",
        "running": "running",
        "waiting": "running",
        "completed": "completed",
        "failed": "failed",
        "timed_out": "timed_out",
        "terminated": "cancelled",
    },
    has_suspended=True,
)
"""The runs API."""

_FOUR: Final[Mapping[str, str]] = {
    "pending": "pending",
    "running": "running",
    "waiting": "running",
    "completed": "completed",
    "failed": "failed",
    "timed_out": "failed",
    "terminated": "failed",
}

RESOURCE_WORDS: Final = StatusWords(_FOUR, has_detail=True)
"""The resource API."""

SERVICE_WORDS: Final = StatusWords({**_FOUR, "pending": "queued"}, has_detail=True)
"""The service API."""

TRIGGERS: Final[Mapping[str, str]] = {
    "REQUEST": "api",
    "SCHEDULE": "schedule",
    "WEBHOOK": "webhook",
    "FORM": "form",
    "MANUAL": "manual",
}
"""What started a run, by our word."""
