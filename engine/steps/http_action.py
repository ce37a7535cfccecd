"""The row of the catalog for `http_request`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

from perdure.engine.steps.actions import Action, Example
from perdure.engine.steps.schemas import ConfigSchema

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of requests that change nothing outside."""
BODIES: Final = ("body", "json", "form", "multipart", "xml", "text")
"""The members that hold a body; a request has one of them at most."""
TIMEOUT_S: Final = 30.0
TIMEOUT_S_MAX: Final = 300.0
PAGES: Final = 10
PAGES_MAX: Final = 100
ITEMS: Final = 1_000
ITEMS_MAX: Final = 10_000
RATE_MAX: Final = 1_000
RATE_SECONDS_MAX: Final = 3_600
PARTS_MAX: Final = 100

_ONE_BODY: Final = [{"not": {"required": list(pair)}} for pair in combinations(BODIES, 2)]
_VALUES: Final = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "array"]}}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_PART: Final = {
    **_closed(
        ["name"],
        name={"type": "string", "minLength": 1, "maxLength": 200},
        text={"type": "string"},
        base64={"type": "string", "description": "bytes, in base64"},
        filename={"type": "string", "minLength": 1, "maxLength": 255},
        contentType={"type": "string", "minLength": 1, "maxLength": 200},
    ),
    "anyOf": [{"required": ["text"]}, {"required": ["base64"]}],
    "not": {"required": ["text", "base64"]},
}
_AUTH: Final = {
    **_closed(
        ["type"],
        type={"enum": ["basic", "bearer"]},
        username={"type": "string"},
        password={"type": "string"},
        token={"type": "string", "minLength": 1},
    ),
    "if": {"properties": {"type": {"const": "basic"}}},
    "then": {"required": ["username", "password"]},
    "else": {"required": ["token"]},
    "description": "`{type: basic, username, password}` or `{type: bearer, token}`; not with an Authorization header",
}
_PAGINATION: Final = {
    **_closed(
        ["type"],
        type={"enum": ["link", "cursor"]},
        itemsPath={
            "type": "string",
            "maxLength": 500,
            "description": "where a page has its items; its body if not given",
        },
        cursorPath={"type": "string", "minLength": 1, "maxLength": 500, "description": "where a page has the cursor"},
        cursorParam={"type": "string", "minLength": 1, "maxLength": 200, "default": "cursor"},
        maxPages={"type": "integer", "minimum": 1, "maximum": PAGES_MAX, "default": PAGES},
        maxItems={"type": "integer", "minimum": 1, "maximum": ITEMS_MAX, "default": ITEMS},
    ),
    "if": {"properties": {"type": {"const": "cursor"}}},
    "then": {"required": ["cursorPath"]},
    "description": "`{type: link}` follows `Link: <…>; rel=next`, `{type: cursor, cursorPath, cursorParam}` sends the "
    f"cursor of one page with the next; `itemsPath`, `maxPages` {PAGES} (at most {PAGES_MAX}), `maxItems` {ITEMS} "
    f"(at most {ITEMS_MAX}). For GET. `body` is the list of items then, with `pages` and `hasMore`",
}
CONFIG: Final = {
    "type": "object",
    "properties": {
        "url": {
            "type": "string",
            "minLength": 1,
            "maxLength": 8_192,
            "description": "an `http:` or `https:` URL; private addresses are refused unless allowed",
        },
        "method": {
            "enum": [*METHODS, *map(str.lower, METHODS)],
            "description": "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
            "default": "GET",
        },
        "headers": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "an object of texts",
            "default": {},
        },
        "query": {
            **_VALUES,
            "description": "an object: text, numbers, true, false, or arrays of these",
            "default": {},
        },
        "body": {"description": "any JSON value, sent as JSON; text as it is if `headers` has a content type"},
        "json": {"description": "any JSON value, sent as JSON, text too"},
        "form": {**_VALUES, "description": "an object as `query`, sent as `application/x-www-form-urlencoded`"},
        "multipart": {
            "type": "array",
            "items": _PART,
            "minItems": 1,
            "maxItems": PARTS_MAX,
            "description": "parts `{name, text | base64, filename, contentType}`, sent as `multipart/form-data`",
        },
        "xml": {"type": "string", "description": "text, sent as `application/xml`"},
        "text": {"type": "string", "description": "text, sent as `text/plain` unless `headers` has a content type"},
        "auth": _AUTH,
        "pagination": _PAGINATION,
        "rateLimit": {
            **_closed(
                ["requests", "seconds"],
                requests={"type": "integer", "minimum": 1, "maximum": RATE_MAX},
                seconds={"type": "number", "exclusiveMinimum": 0, "maximum": RATE_SECONDS_MAX},
            ),
            "description": "`{requests, seconds}`: so many requests to a host are sent in any span of so many seconds, "
            "over all runs of the workspace on this server; the others wait their turn",
        },
        "response": {
            "enum": ["auto", "json", "text"],
            "description": "what the body is read as; `auto`: JSON if its content type says so, else text",
            "default": "auto",
        },
        "timeout_s": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": TIMEOUT_S_MAX,
            "description": "seconds, up to 300, for all of it from when it is sent (of pages: for each): "
            "100 requests of a workspace may be under way to a host",
            "default": 30,
        },
    },
    "required": ["url"],
    "additionalProperties": False,
    "allOf": _ONE_BODY,
}


def _reads(given: Any) -> bool:
    """Whether a request, in this action's words or in those of States' `http:invoke`, is one that only reads."""
    members = given if isinstance(given, Mapping) else {}
    return str(members.get("method", members.get("Method", "GET"))).upper() in READING


def _undone(given: Any) -> Any:
    """An answer without a body, in the words of the request."""
    if isinstance(given, Mapping) and "ApiEndpoint" in given:
        return {"StatusCode": 200, "StatusText": "OK", "Headers": {}, "ResponseBody": None}
    return {"status": 200, "headers": {}, "body": None}


HTTP_REQUEST: Final = Action(
    name="http_request",
    title="HTTP request",
    description="sends an HTTP request, with the task's idempotency key as `Idempotency-Key`",
    category="integration",
    config=ConfigSchema(CONFIG),
    output={
        "type": "object",
        "properties": {
            "status": {"type": "integer"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {},
            "pages": {"type": "integer"},
            "hasMore": {"type": "boolean"},
        },
        "required": ["status", "headers", "body"],
    },
    gives="`{status, headers, body}`; the body is JSON if its content type says so, else text",
    errors=(
        "States.Http.StatusCode.N (from 400 on)",
        "States.Http.Socket",
        "States.Timeout",
        "States.DataLimitExceeded",
        "Http.AddressRefused",
        "Http.InvalidResponse",
        "Http.RateLimited",
        "Http.InvalidInput",
    ),
    examples=(
        Example("Read something", {"url": "https://api.example.com/orders/{{ input.orderId }}"}),
        Example(
            "Send JSON, with a token",
            {
                "url": "https://api.example.com/orders",
                "method": "POST",
                "json": {"customer": "{{ input.customer }}", "amount": 12},
                "auth": {"type": "bearer", "token": "{{ input.token }}"},
            },
        ),
        Example(
            "Send a form",
            {"url": "https://api.example.com/forms", "method": "POST", "form": {"name": "Ada", "tags": ["a", "b"]}},
        ),
        Example(
            "Send a file",
            {
                "url": "https://api.example.com/files",
                "method": "POST",
                "multipart": [
                    {"name": "file", "base64": "SGVsbG8=", "filename": "hello.txt", "contentType": "text/plain"},
                    {"name": "note", "text": "for {{ input.customer }}"},
                ],
            },
        ),
        Example(
            "All pages of a list",
            {
                "url": "https://api.example.com/invoices",
                "pagination": {"type": "cursor", "itemsPath": "data", "cursorPath": "meta.cursor", "maxPages": 5},
                "rateLimit": {"requests": 100, "seconds": 60},
            },
        ),
    ),
    step="http_request",
    has_effects=True,
    reads=_reads,
    undone=_undone,
    connection_types=("api_key", "bearer", "basic", "oauth2_client"),
)
