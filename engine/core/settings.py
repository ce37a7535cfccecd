"""The settings of a version of a workflow, and of an organization: rules for runs beside their definition.

They are stored as the JSON text of these structs, in the event that sets them and in the row that shows them. A member
at its default is not written, and one that is not known is refused: what a newer program meant by it must not be
passed over. What callers may say is checked in `engine.services.settings`.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from perdure.engine.core.events import CountsRule, ResumeRule

PlanName: TypeAlias = Literal["free", "starter", "pro", "business", "unlimited"]
"""The name of a plan, which is how much an organization may ask for. What each allows is in `engine.services.plans`."""


class Quotas(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """The quotas of a workflow's runs. What is not said here is as for the organization, else as for the engine.

    A run that has so many `events`, of so many `bytes`, or that enters so many states a second over a minute
    (`transitions_per_second`) is paused. While so many of the workflow's runs are open (`open_runs`) no further one is
    started; the task that would start a child nested deeper than `child_depth` fails.
    """

    events: int | None = None
    bytes: int | None = None
    transitions_per_second: int | None = None
    open_runs: int | None = None
    child_depth: int | None = None


class VersionSettings(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel", gc=False
):
    """The settings of a version of a workflow.

    `resume` is what a resume of its runs must say. A run ends as `timed_out` when `timeout_ms` have passed since it
    began. `concurrency_limit` of the workflow's runs go on at once; with `concurrency_key`, an expression over the
    input, so many of each value of it. `concurrency_counts` says which runs count.
    `quotas` are those of its runs.
    """

    resume: ResumeRule = "any"
    timeout_ms: int | None = None
    concurrency_limit: int | None = None
    concurrency_key: str | None = None
    concurrency_counts: CountsRule = "all"
    quotas: Quotas | None = None


class OrganizationSettings(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel", gc=False
):
    """The settings of an organization. `concurrency_limit` of all its runs go on at once, whatever their workflow.

    `quotas` hold for the runs of each of its workflows that has none of its own. `plan` is how many requests it may
    send.
    """

    concurrency_limit: int | None = None
    quotas: Quotas | None = None
    plan: PlanName = "unlimited"


VERSION_DEFAULTS: Final = VersionSettings()
"""What holds where nothing is set."""

ORGANIZATION_DEFAULTS: Final = OrganizationSettings()
"""Likewise of an organization."""

NO_QUOTAS: Final = Quotas()
"""The quotas of settings that say none."""

_VERSION: Final = msgspec.json.Decoder(VersionSettings)
_ORGANIZATION: Final = msgspec.json.Decoder(OrganizationSettings)
_ENCODER: Final = msgspec.json.Encoder()


def settings_text(settings: VersionSettings | OrganizationSettings) -> str:
    """The JSON text that is stored of settings."""
    return _ENCODER.encode(settings).decode()


def version_settings(text: str) -> VersionSettings:
    """The settings of a version from the text of its row."""
    return _VERSION.decode(text)


def organization_settings(text: str) -> OrganizationSettings:
    """The settings of an organization from the text of its row."""
    return _ORGANIZATION.decode(text)
