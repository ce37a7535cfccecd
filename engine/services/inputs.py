"""Validation of what callers give with a run: the same rules for every API and for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec

from perdure.engine.errors import Invalid
from perdure.engine.shown import shown

SCHEMAS_MAX: Final = 256
"""So many schemas are kept as they were compiled."""

PROBLEMS_MAX: Final = 100
"""So many problems of an input are told at a time."""


class ProcessIdNoText(Invalid):
    """The input has a member `process_id` that is no text."""


class ProcessIdsDiffer(Invalid):
    """The input has another process id than the one given beside it."""


def chosen_process_id(given: str | None, run_input: Mapping[str, Any]) -> str | None:
    """The process id that is given beside the input, or in it; in both, if it is the same.

    Raises `ProcessIdNoText`, `ProcessIdsDiffer`.
    """
    details = {"field": "process_id"}
    if "process_id" not in run_input:
        return given
    inside = run_input["process_id"]
    if not isinstance(inside, str):
        raise ProcessIdNoText(f"process_id: {shown(inside)} is not accepted; it must be a text", details)
    if given not in (None, inside):
        raise ProcessIdsDiffer("process_id: the body has another one than the query; send one of them", details)
    return inside


class InputRefused(Invalid):
    """The input of a run does not fit the schema of its workflow."""


def check_input(run_input: Any, schema: Any) -> None:
    """Raise `InputRefused`, with every problem by its place, unless an input fits a JSON Schema (null: all do)."""
    if schema is None:
        return
    text = msgspec.json.encode(schema, order="deterministic")
    found = []
    for error in _validator(text).iter_errors(run_input):
        pointer = "".join(f"/{_escaped(str(part))}" for part in error.instance_path)
        found.append({"path": pointer, "message": error.message})
        if len(found) == PROBLEMS_MAX:
            break
    if found:
        first = f"input{found[0]['path']}: {found[0]['message']}"
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InputRefused(f"{first}{more}; see the workflow's inputSchema", {"field": "input", "errors": found})


@lru_cache(maxsize=SCHEMAS_MAX)
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(msgspec.json.decode(schema), retriever=_nowhere)


def _nowhere(uri: str) -> Any:
    message = f"{uri}: a schema stands by itself, and nothing is fetched"
    raise ValueError(message)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def check_source(payload: Mapping[str, Any], sources: Sequence[str]) -> None:
    """Raise `Invalid` unless the payload of a resume comes from one of these sources."""
    if payload.get("source") not in sources:
        found = f"{shown(payload['source'])} is not accepted" if "source" in payload else "it is missing"
        wanted = " or ".join(map(repr, sources))
        raise Invalid(f"payload.source: {found}; it must be {wanted}", {"field": "payload.source"})


def said_beside(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a termination's payload has beside the reason, if anything: it is kept with it."""
    return {name: value for name, value in payload.items() if name != "termination_reason"} or None
