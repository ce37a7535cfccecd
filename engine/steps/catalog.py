"""The catalog of built-in steps: parameters, results and errors. The README's reference is generated from it."""

from __future__ import annotations

from typing import Final, NamedTuple


class StepField(NamedTuple):
    """A member of a step's input. `default` is used if it is absent; null: the member is required."""

    name: str
    accepts: str
    default: str | None


class BuiltinStep(NamedTuple):
    """A built-in step. `errors` are those that it fails with itself."""

    name: str
    summary: str
    fields: tuple[StepField, ...]
    gives: str
    errors: tuple[str, ...]

    @property
    def field_names(self) -> tuple[str, ...]:
        """The members that its input may have."""
        return tuple(field.name for field in self.fields)


HTTP_REQUEST: Final = BuiltinStep(
    "http_request",
    "sends an HTTP request, with the task's idempotency key as `Idempotency-Key`",
    (
        StepField("url", "an `http:` or `https:` URL; private addresses are refused unless allowed", None),
        StepField("method", "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS", "GET"),
        StepField("headers", "an object of texts", "{}"),
        StepField("query", "an object: text, numbers, true, false, or arrays of these", "{}"),
        StepField("body", "any JSON value, sent as JSON; text as it is if `headers` has a content type", "nothing"),
        StepField(
            "timeout_s",
            "seconds, up to 300, for all of it from when it is sent: "
            "100 requests of a workspace may be under way to a host",
            "30",
        ),
    ),
    "`{status, headers, body}`; the body is JSON if its content type says so, else text",
    (
        "States.Http.StatusCode.N (from 400 on)",
        "States.Http.Socket",
        "States.Timeout",
        "States.DataLimitExceeded",
        "Http.AddressRefused",
        "Http.InvalidInput",
    ),
)
TRANSFORM: Final = BuiltinStep(
    "transform",
    "makes a new object out of another; what follows is done in this order",
    (
        StepField("value", "an object", None),
        StepField("pick", "names: keep these, in this order", "all"),
        StepField("drop", "names: leave these out", "none"),
        StepField("rename", "an object from old names to new ones", "{}"),
        StepField("set", "an object whose members are put in", "{}"),
    ),
    "the new object",
    ("Transform.InvalidInput",),
)
LOG: Final = BuiltinStep(
    "log",
    "writes a line to the server's log",
    (
        StepField("message", "text", None),
        StepField("level", "debug, info, warning or error", "info"),
        StepField("fields", "an object, shown with the line", "{}"),
    ),
    "its input",
    ("Log.InvalidInput",),
)
CATALOG: Final = (HTTP_REQUEST, TRANSFORM, LOG)


def reference() -> str:
    """The catalog in Markdown."""
    return "\n".join(_section(step) for step in CATALOG)


def _section(step: BuiltinStep) -> str:
    rows = [
        f"| `{field.name}` | {field.accepts} | {'required' if field.default is None else field.default} |"
        for field in step.fields
    ]
    errors = ", ".join(f"`{name}`" if " " not in name else f"`{name.replace(' ', '` ', 1)}" for name in step.errors)
    return "\n".join(
        [
            f"**`{step.name}`** {step.summary}. It gives {step.gives}; it fails with {errors}.",
            "",
            "| member | accepts | default |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )
