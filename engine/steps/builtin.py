"""The built-in steps: `http_request`, `transform`, `log` and `webhook_reply`.

They are async, though all but one never wait, so that the driver calls them at once and in no thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from perdure.engine.steps import http
from perdure.engine.steps.catalog import LEVELS, LOG, TRANSFORM, WEBHOOK_REPLY
from perdure.engine.steps.http_action import HTTP_REQUEST
from perdure.engine.steps.mapping import MappingFailed, mapped
from perdure.engine.steps.registry import Registry, StepContext, StepFailed

_STATUS_MIN: Final = 200
_STATUS_MAX: Final = 599


def builtin_steps(client: http.HttpClient) -> Registry:
    """The built-in steps. `client` sends for `http_request`; whoever made it closes it."""
    registry = Registry()

    @registry.step(HTTP_REQUEST.name, has_effects=HTTP_REQUEST.has_effects)
    async def http_request(value: Any, context: StepContext) -> Any:
        return await http.call(client, value, context)

    registry.step(TRANSFORM.name, has_effects=TRANSFORM.has_effects)(transform)
    registry.step(LOG.name, has_effects=LOG.has_effects)(log)
    registry.step(WEBHOOK_REPLY.name, has_effects=WEBHOOK_REPLY.has_effects)(webhook_reply)
    return registry.as_builtin()


async def log(value: Any, context: StepContext) -> Any:
    """Write a line to the process's log; gives its input.

    Input: `message`, text; `level`, one of debug, info (the default), warning, error; `fields`, an object.

    Raises StepFailed: `Log.InvalidInput`, naming the field.
    """
    error = "Log.InvalidInput"
    _check_fields(value, LOG.members, error)
    level = value.get("level", "info")
    if level not in LEVELS:
        raise StepFailed(error, f"level must be one of {', '.join(LEVELS)}.", is_retryable=False)
    message = value.get("message")
    if not isinstance(message, str):
        raise StepFailed(error, "message must be text.", is_retryable=False)
    fields = _object(value.get("fields", {}), "fields", error)
    # The event is a constant and users' data stands in values alone: renderers for terminals print names raw.
    getattr(context.logger, level)("step_log", text=message, fields=fields)
    return value


async def transform(value: Any) -> Any:
    """Make a new object out of `value`, an object.

    In this order: `pick` keeps the members that it names, in its order; `drop` leaves out those that it
    names; `rename` maps old names to new ones, all at once; `set` puts its members in. Names that the object
    does not have are passed over.

    Or out of `sourceData` by `mappingRules`, as a step of type `transform` does in the step formats.

    Raises StepFailed: `Transform.InvalidInput`, naming the field.
    """
    error = "Transform.InvalidInput"
    _check_fields(value, TRANSFORM.members, error)
    if "mappingRules" in value or "sourceData" in value:
        return _by_rules(value, error)
    if "value" not in value:
        raise StepFailed(error, "value is missing.", is_retryable=False)
    made = dict(_object(value["value"], "value", error))
    if "pick" in value:
        made = {name: made[name] for name in _names(value["pick"], "pick", error) if name in made}
    for name in _names(value.get("drop", []), "drop", error):
        made.pop(name, None)
    made = _renamed(made, _object(value.get("rename", {}), "rename", error), error)
    return {**made, **_object(value.get("set", {}), "set", error)}


def _by_rules(value: Mapping[str, Any], error: str) -> dict[str, Any]:
    for name in ("sourceData", "mappingRules"):
        if name not in value:
            raise StepFailed(
                error, f"{name} is missing: sourceData and mappingRules belong together.", is_retryable=False
            )
    others = [name for name in value if name not in ("sourceData", "mappingRules")]
    if others:
        raise StepFailed(error, f"{others[0]} and mappingRules cannot stand together.", is_retryable=False)
    try:
        made = mapped(value["sourceData"], value["mappingRules"])
    except MappingFailed as failed:
        raise StepFailed(error, str(failed), is_retryable=False) from None
    return {**made, "result": made}


async def webhook_reply(value: Any) -> Any:
    """Say what the caller of a webhook is answered: gives it with what is not told filled in.

    Input: `status`, from 200 to 599 (200 if absent); `headers`, an object of texts; `body`, any JSON.

    Raises StepFailed: `WebhookReply.InvalidInput`, naming the field.
    """
    error = "WebhookReply.InvalidInput"
    _check_fields(value, WEBHOOK_REPLY.members, error)
    status = value.get("status", _STATUS_MIN)
    if type(status) is not int or not _STATUS_MIN <= status <= _STATUS_MAX:
        message = f"status must be a whole number from {_STATUS_MIN} to {_STATUS_MAX}."
        raise StepFailed(error, message, is_retryable=False)
    headers = _object(value.get("headers", {}), "headers", error)
    for name, text in headers.items():
        if not isinstance(text, str):
            raise StepFailed(error, f"headers.{name} must be text.", is_retryable=False)
    return {"status": status, "headers": headers, "body": value.get("body")}


def _renamed(value: Mapping[str, Any], names: Mapping[str, Any], error: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, member in value.items():
        new = names.get(name, name)
        if not isinstance(new, str):
            raise StepFailed(error, f"rename.{name} must be text.", is_retryable=False)
        if new in made:
            raise StepFailed(error, f"rename would give two members the name {new}.", is_retryable=False)
        made[new] = member
    return made


def _check_fields(value: Any, known: Iterable[str], error: str) -> None:
    if not isinstance(value, dict):
        raise StepFailed(error, "The input must be an object.", is_retryable=False)
    for name in value:
        if name not in known:
            raise StepFailed(error, f"{name} is no field of it; there are {', '.join(known)}.", is_retryable=False)


def _object(value: Any, field: str, error: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StepFailed(error, f"{field} must be an object.", is_retryable=False)
    return value


def _names(value: Any, field: str, error: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise StepFailed(error, f"{field} must be an array of names.", is_retryable=False)
    return value
