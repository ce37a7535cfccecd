"""Reads what steps of all formats have in common: type, action, error handling, retries, time limits, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.formats.flow import ActionForm, ErrorPlan, RetryPlan
from perdure.engine.language.formats.later import LATER, not_yet
from perdure.engine.language.formats.members import TIME_MAX_MS, Members
from perdure.engine.language.formats.names import unknown
from perdure.engine.language.model.schemas import SchemaRefused, schema_of
from perdure.engine.language.parse.handler_fields import INTERVAL_MAX
from perdure.engine.language.values import MISSING, Json

KINDS: Final = (
    "action",
    "approval",
    "code",
    "condition",
    "loop",
    "parallel",
    "terminate",
    "transform",
    "wait",
    "wait_for_resume",
    "workflow",
)
"""The types of steps that need nothing but the engine."""

ATTEMPTS_MAX: Final = 1_000
STRATEGIES: Final = ("fail", "continue", "retry")
ID_MAX: Final = 200

_RETRY_FIELDS: Final = (
    "maxAttempts",
    "backoffMs",
    "initialDelayMs",
    "multiplier",
    "backoffMultiplier",
    "maxDelayMs",
)


class StepType(NamedTuple):
    """The kind of a step, and the action that it calls if that is `action`."""

    kind: str
    action: str = ""


def step_type(
    members: Members, config: Members, actions: Mapping[str, ActionForm], field: str = "type"
) -> StepType | None:
    """Read the type of a step; None, with a problem, if it has none that can be done."""
    written = members.get(field)
    if type(written) is not str:
        members.refuse("", f"{field} is missing" if written is None else f"{field} must be a text")
        return None
    if written != "action":
        return _known(members, field, written, actions)
    holder = members if "action" in members else config
    if "action" in members and "action" in config:
        config.refuse("action", "stands beside config already: give one of them")
    name = holder.get("action")
    if type(name) is not str:
        members.refuse("", "action is missing: the name of what is to be done, here or in config")
        return None
    if name in actions:
        return StepType("action", name)
    return _known(holder, "action", name, actions)


def _known(members: Members, field: str, name: str, actions: Mapping[str, ActionForm]) -> StepType | None:
    if name in KINDS and name != "action":
        return StepType(name)
    if name in actions:
        return StepType("action", name)
    if (later := not_yet(name)) is not None:
        members.refuse(field, later)
        return None
    members.refuse(field, unknown("type of step" if field != "action" else "action", name, (*KINDS, *actions, *LATER)))
    return None


def error_plan(members: Members, kind: str, diagnostics: Diagnostics) -> ErrorPlan:
    """Read `errorHandling` and `retryConfig`."""
    pointer = members.pointer / "errorHandling"
    given: Json = members.get("errorHandling")
    fallback: Json = MISSING
    if type(given) is dict:
        inner = Members(given, pointer, diagnostics)
        inner.check(("strategy", "fallback"))
        strategy = inner.one_of("strategy", STRATEGIES, "continue" if "fallback" in inner else "fail")
        fallback = given.get("fallback", MISSING)
        if strategy == "fail" and fallback is not MISSING:
            inner.refuse("fallback", "belongs to the strategies continue and retry")
    else:
        strategy = members.one_of("errorHandling", STRATEGIES, "retry" if "retryConfig" in members else "fail")
    retry = _retry_plan(members) if strategy == "retry" or "retryConfig" in members else None
    if strategy == "fail" and retry is not None:
        members.refuse("retryConfig", "belongs to errorHandling retry or continue")
    if strategy != "fail" and kind == "terminate":
        members.refuse("errorHandling", "a step of type terminate takes no error handling but fail")
        return ErrorPlan()
    return ErrorPlan("continue" if strategy == "continue" else "fail", retry, fallback, pointer)


def _retry_plan(members: Members) -> RetryPlan:
    config, usual = members.inner("retryConfig"), RetryPlan()
    config.check(_RETRY_FIELDS)
    first = config.milliseconds("backoffMs", "initialDelayMs")
    longest = config.number("maxDelayMs", 1, INTERVAL_MAX * 1000)
    names = [name for name in ("multiplier", "backoffMultiplier") if name in config]
    if len(names) > 1:
        config.refuse(names[1], f"means the same as {names[0]}: give one of them")
    multiplier = config.number(names[0], 1, 1000) if names else None
    return RetryPlan(
        config.whole("maxAttempts", 1, ATTEMPTS_MAX, usual.attempts),
        usual.backoff_ms if first is None else first,
        usual.multiplier if multiplier is None else multiplier,
        usual.delay_max_ms if longest is None else longest,
    )


SETTINGS: Final = ("timeoutMs", "concurrencyLimit", "concurrencyKey", "concurrencyCounts", "resume")
"""What a document may set for its runs: rules of the workflow, which are no part of the machine."""

CONCURRENCY_MAX: Final = 100_000


class DocumentSchemas(NamedTuple):
    """The JSON Schemas of a document, for inputs and outputs of its runs; None: anything fits."""

    input: Json = None
    output: Json = None


NO_SCHEMAS: Final = DocumentSchemas()


def schemas_of(members: Members) -> DocumentSchemas:
    """Read `inputSchema` and `outputSchema`."""
    return DocumentSchemas(_schema(members, "inputSchema"), _schema(members, "outputSchema"))


def _schema(members: Members, name: str) -> Json:
    schema = members.object(name)
    if schema is None:
        return None
    try:
        schema_of(schema)
    except SchemaRefused as refusal:
        members.refuse_at(refusal.pointer(members.pointer / name), refusal.why)
    return schema


def settings_of(members: Members) -> dict[str, Json]:
    """Read `settings`."""
    settings = members.inner("settings")
    settings.check(SETTINGS)
    settings.whole("timeoutMs", 1, TIME_MAX_MS, 1)
    settings.whole("concurrencyLimit", 1, CONCURRENCY_MAX, 1)
    for name in ("concurrencyKey", "concurrencyCounts", "resume"):
        settings.text(name, most=1000)
    return dict(settings.source)


_TRIGGERS: Final[Mapping[str, tuple[str, ...]]] = {
    "api": (),
    "manual": (),
    "webhook": ("provider", "events", "path", "verifySignature"),
    "schedule": ("cron", "interval", "timezone", "enabled"),
    "form": ("formId",),
    "event": ("event",),
}


def trigger_of(members: Members, diagnostics: Diagnostics) -> str:
    """Read the type of the trigger, and check its members: they stand beside it or in its config."""
    source = members.object("trigger")
    if source is None:
        return "api"
    pointer: JsonPointer = members.pointer / "trigger"
    trigger = Members(source, pointer, diagnostics)
    if "type" not in trigger:
        trigger.refuse("", f"type is missing; there are {', '.join(_TRIGGERS)}")
    kind = trigger.one_of("type", tuple(_TRIGGERS), "api")
    config = trigger.inner("config")
    trigger.check(("type", "config", *_TRIGGERS[kind]), f" of a trigger of type {kind}")
    config.check(_TRIGGERS[kind], f" of a trigger of type {kind}")
    _check_trigger(kind, config if source.get("config") else trigger)
    return kind


def _check_trigger(kind: str, config: Members) -> None:
    if kind == "schedule":
        given = [name for name in ("cron", "interval") if config.get(name) is not None]
        if len(given) != 1:
            config.refuse("", "needs a cron or an interval, one of them")
        config.text("cron", most=200)
        config.text("timezone", most=100)
        config.flag("enabled", default=True)
        if given == ["interval"]:
            interval = config.inner("interval")
            interval.check(("value", "unit"))
            interval.whole("value", 1, 525_600, 1)
            interval.one_of("unit", ("minutes", "hours", "days", "weeks"), "minutes")
    elif kind == "webhook":
        config.text("provider", most=100)
        config.texts("events")
        config.text("path", most=500)
        config.flag("verifySignature", default=True)
    elif kind == "form":
        config.needed_text("formId", most=200)
    elif kind == "event":
        config.needed_text("event", most=200)


def step_timeout(members: Members) -> float | None:
    """Read `timeoutMs` of a step."""
    return members.number("timeoutMs", 1, TIME_MAX_MS)
