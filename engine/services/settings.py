"""Settings as callers say them: read, checked, and shown back.

A change names the members that it changes, as JSON has them (`{"timeoutMs": 60000}`); null takes one back to its
default, and what is not named stays. Whatever is not accepted is refused with the field, the value and what is
accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar, get_args

import msgspec
from msgspec.structs import FieldInfo, asdict, fields

from perdure.engine.core.events import CountsRule, ResumeRule
from perdure.engine.core.settings import NO_QUOTAS, OrganizationSettings, PlanName, Quotas, VersionSettings
from perdure.engine.errors import Invalid
from perdure.engine.limits import Limits
from perdure.engine.services.key_expressions import check_expression
from perdure.engine.shown import shown, shown_name
from perdure.engine.suggestions import did_you_mean

TIMEOUT_MS_MAX: Final = 99_999_999_000
"""The most that `timeoutMs` may be: as many seconds as `TimeoutSeconds` may have."""

CONCURRENCY_MAX: Final = 100_000
"""The most that `concurrencyLimit` may be."""

EVENTS_MIN: Final = 100
"""The least that `quotas.events` may be: a run with fewer could not say why it does not go on."""

BYTES_MIN: Final = 1_024
"""The least that `quotas.bytes` may be."""

KEY_TEXT_MAX: Final = 1_024
"""So many characters an expression `concurrencyKey` has at most."""

S = TypeVar("S", VersionSettings, OrganizationSettings)


class _Rule(NamedTuple):
    """What is accepted for a member, in words, and whether a value is."""

    accepts: str
    is_accepted: Callable[[Any], bool]


def _whole(first: int, last: int) -> _Rule:
    def is_accepted(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and first <= value <= last

    return _Rule(f"a whole number from {first:,} to {last:,}, or null", is_accepted)


def _one_of(*words: str) -> _Rule:
    return _Rule(" or ".join(map(repr, words)), lambda value: isinstance(value, str) and value in words)


def _text(longest: int) -> _Rule:
    def is_accepted(value: Any) -> bool:
        return isinstance(value, str) and 0 < len(value) <= longest

    return _Rule(f"a text of 1 to {longest:,} characters, or null", is_accepted)


_RULES: Final[Mapping[str, _Rule]] = {
    "resume": _one_of(*get_args(ResumeRule)),
    "timeoutMs": _whole(1, TIMEOUT_MS_MAX),
    "concurrencyLimit": _whole(1, CONCURRENCY_MAX),
    "concurrencyKey": _text(KEY_TEXT_MAX),
    "concurrencyCounts": _one_of(*get_args(CountsRule)),
    "plan": _one_of(*get_args(PlanName)),
}
"""By member, as JSON names it, what is accepted."""


class _Ceiling(NamedTuple):
    """What is accepted for a quota: from a least value to what the engine itself is set to, and how that is named."""

    least: int
    of_engine: Callable[[Limits], int]
    name: str


_CEILINGS: Final[Mapping[str, _Ceiling]] = {
    "events": _Ceiling(EVENTS_MIN, lambda limits: limits.run_events_max, "run_events_max"),
    "bytes": _Ceiling(BYTES_MIN, lambda limits: limits.run_bytes_max, "run_bytes_max"),
    "transitionsPerSecond": _Ceiling(1, lambda limits: limits.run_transitions_per_s_max, "run_transitions_per_s_max"),
    "openRuns": _Ceiling(1, lambda limits: limits.workflow_open_runs_max, "workflow_open_runs_max"),
    "childDepth": _Ceiling(1, lambda limits: limits.child_depth_max, "child_depth_max"),
}
"""By member of `quotas`."""


def changed_version(current: VersionSettings, given: Mapping[str, Any] | None, limits: Limits) -> VersionSettings:
    """The settings of a version with these members changed. Raises `Invalid`; no quota may exceed the `limits`."""
    settings = _changed(current, given, limits)
    if settings.concurrency_key is not None:
        try:
            check_expression(settings.concurrency_key)
        except ValueError as error:
            raise _invalid("concurrencyKey", f"{shown(settings.concurrency_key)} is not accepted: {error}") from None
    if settings.concurrency_key is not None and settings.concurrency_limit is None:
        raise _invalid("concurrencyKey", "it needs settings.concurrencyLimit, how many runs of each key go on at once")
    return settings


def changed_organization(
    current: OrganizationSettings, given: Mapping[str, Any] | None, limits: Limits
) -> OrganizationSettings:
    """The settings of an organization with these members changed. Raises `Invalid`; likewise."""
    return _changed(current, given, limits)


def all_members(settings: VersionSettings | OrganizationSettings) -> dict[str, Any]:
    """Settings as they are shown: every member, also those at their default, as JSON names it."""
    quotas = settings.quotas or NO_QUOTAS
    return _members(settings) | {"quotas": _members(quotas)}


def _members(settings: VersionSettings | OrganizationSettings | Quotas) -> dict[str, Any]:
    values = asdict(settings)
    return {field.encode_name: values[field.name] for field in fields(settings)}


def _changed(current: S, given: Mapping[str, Any] | None, limits: Limits) -> S:
    if given is None:
        return current
    if not isinstance(given, Mapping):
        raise Invalid(f"settings: {shown(given)} is not accepted; it must be an object", {"field": "settings"})
    known = {field.encode_name: field for field in fields(current)}
    changes: dict[str, Any] = {}
    for name, value in given.items():
        field = known.get(name)
        if field is None:
            raise _unknown("", name, known)
        is_quotas = field.name == "quotas"
        changes[field.name] = _changed_quotas(current.quotas, value, limits) if is_quotas else _checked(field, value)
    return msgspec.structs.replace(current, **changes)


def _changed_quotas(current: Quotas | None, given: Any, limits: Limits) -> Quotas | None:
    """Quotas with these members changed; null takes back all of them. Raises `Invalid`."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise _invalid("quotas", f"{shown(given)} is not accepted; it must be an object, or null")
    known = {field.encode_name: field.name for field in fields(Quotas)}
    changes: dict[str, int | None] = {}
    for name, value in given.items():
        if name not in known:
            raise _unknown("quotas.", name, known)
        ceiling = _CEILINGS[name]
        rule = _whole(ceiling.least, ceiling.of_engine(limits))
        if value is not None and not rule.is_accepted(value):
            accepts = f"{rule.accepts}: more than the engine's own quota ({ceiling.name}) is not to be had"
            raise _invalid(f"quotas.{name}", f"{shown(value)} is not accepted; it must be {accepts}")
        changes[known[name]] = value
    quotas = msgspec.structs.replace(current or NO_QUOTAS, **changes)
    return None if quotas == NO_QUOTAS else quotas


def _checked(field: FieldInfo, value: Any) -> Any:
    """The value of a member, null as its default. Raises `Invalid`."""
    if value is None:
        return field.default
    rule = _RULES[field.encode_name]
    if not rule.is_accepted(value):
        raise _invalid(field.encode_name, f"{shown(value)} is not accepted; it must be {rule.accepts}")
    return value


def _unknown(within: str, name: Any, known: Iterable[str]) -> Invalid:
    near = did_you_mean(str(name), known)
    problem = f"there is no such setting; there are {', '.join(known)}.{near}"
    return _invalid(within + shown_name(str(name)), problem)


def _invalid(name: str, problem: str) -> Invalid:
    return Invalid(f"settings.{name}: {problem}", {"field": f"settings.{name}"})
