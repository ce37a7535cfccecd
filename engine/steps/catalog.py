"""The catalog: one table of what a definition may name. Everything that is told of an action is made from its row.

A row holds the JSON Schemas of config and output, examples, and the registered step that does it. From the table come
what the formats of definitions accept, the checks of configs, `GET /v1/actions`, the service API's catalog, and the
README's reference. Some actions the machine does itself (`wait`, `workflow`, `terminate`): they have no step.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from perdure.engine.language.formats.lower_values import TRANSFORMS, UNITS_MS
from perdure.engine.log.codec import encode_json
from perdure.engine.steps.actions import Action, Actions, Example
from perdure.engine.steps.http_action import HTTP_REQUEST
from perdure.engine.steps.registry import Registry
from perdure.engine.steps.schemas import ConfigSchema

LEVELS: Final = ("debug", "info", "warning", "error")

_NAMES: Final = {"type": "array", "items": {"type": "string"}}


def _config(required: list[str], **properties: Any) -> ConfigSchema:
    return ConfigSchema(
        {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    )


_RULE: Final = {
    "type": "object",
    "properties": {
        "source": {"type": "string", "minLength": 1},
        "target": {"type": "string", "minLength": 1},
        "transform": {"enum": list(TRANSFORMS), "default": "direct"},
        "default": {},
    },
    "required": ["source", "target"],
    "additionalProperties": False,
}
TRANSFORM: Final = Action(
    name="transform",
    title="Transform data",
    description="makes a new object out of another, by members or by mapping rules; what follows is done in this order",
    category="data",
    config=ConfigSchema(
        {
            "type": "object",
            "properties": {
                "value": {"type": "object", "description": "an object; this or `sourceData` is needed"},
                "pick": {**_NAMES, "description": "names: keep these, in this order; all if not given"},
                "drop": {**_NAMES, "description": "names: leave these out", "default": []},
                "rename": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "an object from old names to new ones",
                    "default": {},
                },
                "set": {"type": "object", "description": "an object whose members are put in", "default": {}},
                "sourceData": {"description": "any value, which the rules read; with `mappingRules` alone"},
                "mappingRules": {
                    "type": "array",
                    "items": _RULE,
                    "maxItems": 1_000,
                    "description": "rules `{source, target, transform, default}`, with paths such as `a.b.0`; "
                    f"`transform` is one of {', '.join(TRANSFORMS)}",
                },
            },
            "additionalProperties": False,
            "anyOf": [{"required": ["value"]}, {"required": ["sourceData", "mappingRules"]}],
            "allOf": [
                {"not": {"required": [rules, other]}}
                for rules in ("sourceData", "mappingRules")
                for other in ("value", "pick", "drop", "rename", "set")
            ],
        }
    ),
    output={"type": "object"},
    gives="the new object; by rules also as its member `result`",
    errors=("Transform.InvalidInput",),
    examples=(
        Example("Members", {"value": {"a": 1, "b": 2}, "pick": ["a"], "rename": {"a": "c"}, "set": {"d": True}}),
        Example(
            "Mapping rules",
            {
                "sourceData": {"customer": {"email": " ADA@EXAMPLE.ORG "}},
                "mappingRules": [
                    {"source": "customer.email", "target": "email", "transform": "lowercase"},
                    {"source": "customer.name", "target": "name", "default": "nobody"},
                ],
            },
        ),
    ),
    step="transform",
)
LOG: Final = Action(
    name="log",
    title="Log a line",
    description="writes a line to the server's log",
    category="utility",
    config=_config(
        ["message"],
        message={"type": "string", "description": "text"},
        level={"enum": list(LEVELS), "description": "debug, info, warning or error", "default": "info"},
        fields={"type": "object", "description": "an object, shown with the line", "default": {}},
    ),
    output={"type": "object"},
    gives="its input",
    errors=("Log.InvalidInput",),
    examples=(Example("A line", {"message": "Order {{ input.orderId }} is paid", "fields": {"amount": 12}}),),
    step="log",
)
WEBHOOK_REPLY: Final = Action(
    name="webhook_reply",
    title="Reply to a webhook",
    description="says what the caller of the webhook that started the run is answered; where none waits for an answer, "
    "it is kept as the step's output",
    category="integration",
    config=_config(
        [],
        status={
            "type": "integer",
            "minimum": 200,
            "maximum": 599,
            "description": "the status of the answer, from 200 to 599",
            "default": 200,
        },
        headers={
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "an object of texts",
            "default": {},
        },
        body={"description": "any JSON value", "default": None},
    ),
    output={
        "type": "object",
        "properties": {"status": {"type": "integer"}, "headers": {"type": "object"}, "body": {}},
        "required": ["status", "headers", "body"],
    },
    gives="`{status, headers, body}`",
    errors=("WebhookReply.InvalidInput",),
    examples=(Example("Accepted", {"status": 202, "body": {"order": "{{ input.body.orderId }}"}}),),
    step="webhook_reply",
)
WAIT: Final = Action(
    name="wait",
    title="Wait",
    description="lets time pass, or waits until an instant",
    category="flow",
    config=ConfigSchema(
        {
            "type": "object",
            "properties": {
                "duration": {"type": "number", "minimum": 0, "description": "how long, in `unit`"},
                "unit": {"enum": list(UNITS_MS), "default": "milliseconds"},
                "until": {"type": "string", "description": "an instant such as `2026-11-06T09:00:00Z`"},
            },
            "additionalProperties": False,
            "anyOf": [{"required": ["duration"]}, {"required": ["until"]}],
            "allOf": [{"not": {"required": ["until", other]}} for other in ("duration", "unit")],
        }
    ),
    output={"type": "object", "properties": {"waited": {"type": "number"}}, "required": ["waited"]},
    gives="`{waited}`, in milliseconds",
    examples=(Example("Two days", {"duration": 2, "unit": "days"}), Example("Until", {"until": "{{ input.due }}"})),
)
WORKFLOW: Final = Action(
    name="workflow",
    title="Run a workflow",
    description="starts a run of another workflow, and waits for its output unless told not to",
    category="flow",
    config=_config(
        ["workflowId"],
        workflowId={"type": "string", "minLength": 1, "description": "the id or the name of a workflow"},
        input={"description": "its input", "default": {}},
        waitForCompletion={"type": "boolean", "default": True, "description": "whether its output is waited for"},
    ),
    output={},
    gives="the run's output; `{runId}` if it is not waited for",
    errors=("States.TaskFailed",),
    examples=(Example("Another workflow", {"workflowId": "ship-order", "input": {"order": "{{ input.orderId }}"}}),),
    has_effects=True,
)
TERMINATE: Final = Action(
    name="terminate",
    title="End the run",
    description="ends the run, from however deep",
    category="flow",
    config=ConfigSchema(
        {
            "type": "object",
            "properties": {
                "status": {"enum": ["completed", "failed"], "default": "completed", "description": "how it ends"},
                "output": {"description": "the run's output, if it completes"},
                "reason": {"type": "string", "minLength": 1, "description": "why"},
            },
            "additionalProperties": False,
        }
    ),
    output={},
    gives="nothing: no step follows",
    examples=(
        Example("Nothing to do", {"status": "completed", "output": {"sent": 0}, "reason": "there are no orders"}),
    ),
)

CATALOG: Final = (HTTP_REQUEST, TRANSFORM, LOG, WEBHOOK_REPLY, WAIT, WORKFLOW, TERMINATE)
"""All actions of ours, in the order of the reference."""
BY_NAME: Final[Mapping[str, Action]] = MappingProxyType({action.name: action for action in CATALOG})


def actions_of(registry: Registry | None = None) -> Actions:
    """The actions that can be run with a registry: those of the catalog, and the steps that were added to it."""
    return Actions(BY_NAME, registry)


# --- the README's reference -----------------------------------------------------------------------


def reference() -> str:
    """The catalog in Markdown."""
    return "\n".join(_section(action) for action in CATALOG)


def _section(action: Action) -> str:
    source = action.config.source
    rows = [
        f"| `{name}` | {member.get('description') or _accepts(member)} | {_default(action, name, member)} |"
        for name, member in source["properties"].items()
    ]
    errors = ", ".join(f"`{name}`" if " " not in name else f"`{name.replace(' ', '` ', 1)}" for name in action.errors)
    fails = f"; it fails with {errors}" if errors else ""
    return "\n".join(
        [
            f"**`{action.name}`** {action.description}. It gives {action.gives}{fails}.",
            "",
            "| member | accepts | default |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _accepts(member: Mapping[str, Any]) -> str:
    return ", ".join(map(str, member["enum"])) if "enum" in member else str(member.get("type", "any JSON value"))


def _default(action: Action, name: str, member: Mapping[str, Any]) -> str:
    if name in action.required:
        return "required"
    default = member.get("default", "–")
    return default if isinstance(default, str) else encode_json(default).decode()
