"""Validation of what callers give with a run: the same rules for every API and for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perdure.engine.errors import Invalid
from perdure.engine.language.model.schemas import SchemaRefused, schema_of
from perdure.engine.shown import shown


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
    try:
        problems = schema_of(schema).problems(run_input)
    except SchemaRefused as refused:  # of a version from before such schemas were refused
        problems = [("", f"it cannot be checked: the schema {refused.why}")]
    if problems:
        found = [{"path": path, "message": message} for path, message in problems]
        first = f"input{found[0]['path']}: {found[0]['message']}"
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InputRefused(f"{first}{more}; see the workflow's inputSchema", {"field": "input", "errors": found})


def check_source(payload: Mapping[str, Any], sources: Sequence[str]) -> None:
    """Raise `Invalid` unless the payload of a resume comes from one of these sources."""
    if payload.get("source") not in sources:
        found = f"{shown(payload['source'])} is not accepted" if "source" in payload else "it is missing"
        wanted = " or ".join(map(repr, sources))
        raise Invalid(f"payload.source: {found}; it must be {wanted}", {"field": "payload.source"})


def said_beside(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a termination's payload has beside the reason, if anything: it is kept with it."""
    return {name: value for name, value in payload.items() if name != "termination_reason"} or None
