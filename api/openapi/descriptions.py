"""Descriptions of parameters, headers, tags and statuses; tests check that none is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from perdure.api.http.headers import HOLD_DEFAULT_MS, HOLD_MAX_S, KEY_MAX
from perdure.engine.services.run_filters import FILTERS

TITLE: Final = "Perdure"
ABOUT: Final = """A durable state-machine engine: every execution is an append-only stream of events.

Each 2xx that reports a change is sent after the change is on disk. Numbers, and true and false, may come as text. A
field that is not known is refused by name; whatever is refused leaves nothing behind that could be run or resumed.
What is no request at all is a `VALIDATION_ERROR` too, with the status 400, 408 (it did not come in time) or 431.
"""

PARAMETERS: Final[Mapping[str, str]] = {
    **{each.name: each.words for each in FILTERS},
    "all": "Whatever a step can do here, too.",
    "after": "Where the page before ended: `after` of its `meta`.",
    "cursor": "Where the page before ended, as its `meta` says; empty, it asks for the first page.",
    "expand": "What is shown beside: the definition that the workflow compiles to, or the document as it was written.",
    "id": "The id.",
    "limit": "How many items a page has.",
    "organization_id": "Part of the position from `lastKey`; it must be the key's own.",
    "name": "The workflow's name. `/` in it is `%2F`.",
    "offset": "So many are left out, the newest. It goes as far as 10,000; beyond that send `cursor`.",
    "order": "From the first event on, or from the last one back.",
    "page": "The number of the page, from 1.",
    "payloads": "Whether each event comes with its payload, or only with that one's digest.",
    "process_id": "The caller's own name for the run, or its execution id. `/` in it is `%2F`.",
    "schedule_id": "The schedule's id.",
    "search": "A part of the name, without regard to case.",
    "state": (
        "The state whose wait is meant. Without it a call ends whichever wait is open, so that an answer that is sent "
        "twice may answer the next question too."
    ),
    "sort": "Which runs come first: the newest, or the oldest.",
    "status": "Only those with this status.",
    "status_detail": "Only runs with this status in the engine's words; several are separated by commas.",
    "test": "Runs drafts too; without a body the workflow's mock payload is the input.",
    "token": "The task token, as `$$.Task.Token` gave it.",
    "types": "Names of events, separated by commas: only these.",
    "version": "The number of the version, from 1; without it the latest.",
    "wait": "So many seconds may the call be held until there is something to tell.",
    "wait_id": "The wait that is meant, if several are open.",
    "with_children": "Whether the keys that it made go with it; if it is not said: unless it is an operator's.",
    "workflow_execution_id": "The run's id; on a page the position from `lastKey`.",
    "workflow_id": "The workflow's id; where there is a `lastKey` with it, it may be part of the position.",
    "workflow_version": "The number of the version, from 1.",
}

DIALECT: Final = "dialect"
"""The parameter that is the name of a dialect."""

PATH_PARAMETERS: Final[Mapping[str, str]] = {
    DIALECT: "The name of an API.",
    "n": "The number of the version, from 1.",
}
"""Words for parts of paths, for whichever dialect has them; beside those of `PARAMETERS`."""


def parameter(name: str) -> str:
    """The words for a parameter; one in camelCase is what it is in snake_case. Raises `ValueError` if there are none.

    What ends as an id does, and has no words of its own, is the id of what stands before.
    """
    plain = in_snake_case(name)
    found = PATH_PARAMETERS.get(name) or PARAMETERS.get(name) or PARAMETERS.get(plain)
    if found is None and plain.endswith("_id"):
        return f"The {plain.removesuffix('_id').replace('_', ' ')}'s id."
    if found is None:
        message = f"parameter {name}: it has no words in PARAMETERS: give it some"
        raise ValueError(message)
    return found


def in_snake_case(name: str) -> str:
    """`waitId` as `wait_id`."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0]}", name).lower()


REQUEST_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Idempotency-Key": {
        "description": "Repeated with the same request it gets the first 200 again; with another one 409.",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": "^[ -~]*$"},
    },
    "If-Match": {
        "description": "The `ETag` of the thing as it was read, or several: if it is another by now, nothing is done.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "The `ETag` of what the caller has, or several: if it is that still, 304 says so.",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "description": (
            f"`wait=N`: hold the call for up to N seconds (0 to {HOLD_MAX_S}) until a wait opens; "
            f"{HOLD_DEFAULT_MS // 1000} if it is not sent. Other preferences are ignored."
        ),
        "schema": {"type": "string"},
    },
    "X-Request-Id": {
        "description": "The caller's own name for the request. One that is not fit for a log is ignored.",
        "schema": {"type": "string"},
    },
}

ANSWER_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "X-Request-Id": {
        "description": "The request's name; the log has it too.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "X-Log-Position": {
        "description": "Where the log stood when the answer became true; left out where no key was accepted.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Preference-Applied": {
        "description": "The `Prefer: wait=N` that was heeded.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    },
    "ETag": {
        "description": "The tag of exactly this answer: for `If-None-Match`, and for the `If-Match` of a change.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[A-Za-z0-9_-]+"$'},
    },
    "Retry-After": {
        "description": "So many seconds later a repetition may do better.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Limit": {
        "description": "How many requests the organization's plan allows in the minute, or the day, that is nearer to "
        "its end. Left out where the plan has no limit, as the other two.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {
        "description": "How many of them are left.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-RateLimit-Reset": {
        "description": "When one more is: seconds since the epoch.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "How to send a key.",
        "required": True,
        "schema": {"type": "string"},
    },
}

DEPRECATION_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Deprecation": {
        "description": "Since when this should not be used (RFC 9745): `@` and seconds since the epoch.",
        "required": True,
        "schema": {"type": "string", "pattern": "^@[0-9]+$"},
    },
    "Link": {"description": "The page that tells what to use instead.", "required": True, "schema": {"type": "string"}},
    "Sunset": {"description": "From when on this may be gone (RFC 8594).", "schema": {"type": "string"}},
}
"""Of answers of routes whose end is foretold."""

CODES: Final[Mapping[str, str]] = {
    "VALIDATION_ERROR": "A field is wrong; the message names it, what is wrong, and what is accepted.",
    "UNAUTHORIZED": "There is no key, or it is unknown, revoked or expired.",
    "FORBIDDEN": "The key lacks a scope, which is named.",
    "NOT_FOUND": "What the request names is not there, or not to be seen with this key.",
    "CONFLICT": "The state of things does not allow it.",
    "NOT_WAITING": "No wait that the call could mean has opened yet. Repeat the call later.",
    "AMBIGUOUS_WAIT": "Several waits are open, and the call names none; `details.waits` lists them.",
    "NAME_THE_WAIT": "The workflow wants each resume to say which wait it means; `details.waits` lists the open ones.",
    "WAIT_EXPIRED": "That wait timed out or was cancelled.",
    "PRECONDITION_FAILED": "It is no longer what `If-Match` says; read it again.",
    "PAYLOAD_TOO_LARGE": "The body is longer than the setting allows.",
    "RATE_LIMITED": (
        "Too many wrong keys came from this address, the organization has sent more than its plan allows, or its "
        "workspace asks for too much at once."
    ),
    "INTERNAL_ERROR": "A defect of ours; the log has it under `X-Request-Id`.",
    "UNAVAILABLE": "Nothing was done, or it cannot be said: repeat the call later.",
}

UNSUPPORTED_TYPE: Final = (
    "The body says that it is something else than JSON (or YAML, where it holds a definition), or packed."
)
