"""The actions that are not there yet, by name: a definition that names one is told so, and with what it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perdure.engine.language.analysis.steps import steps_of
from perdure.engine.language.errors import Problem
from perdure.engine.language.values import Json

_TABLES: Final = "tables"

LATER: Final[Mapping[str, str]] = {
    "agent": "agents",
    "table": _TABLES,
    "data_table": _TABLES,
    "email": "notifications",
    "send_email": "notifications",
    "create_notification": "notifications",
    "slack": "connections",
    "teams": "connections",
    "mark_invoices_overdue": _TABLES,
    "send_invoice_reminder": "tables and notifications",
    "generate_recurring_invoice": _TABLES,
    "invoicing_ar_summary": _TABLES,
    "payments_summary": _TABLES,
    "forms_submission_digest": "forms",
}
"""By name, what an action comes with. Who registers a step of such a name has it: this is asked last."""


def not_yet(name: str) -> str | None:
    """Say that an action is not there yet, and with what it comes; None for any other name."""
    family, dot, _ = name.partition(".")
    comes_with = LATER.get(name) or (_TABLES if family == "table" and dot else None)
    return None if comes_with is None else f"{name} is not there yet: it comes with {comes_with}"


def named_too_early(definition: Mapping[str, Json], known: Mapping[str, object]) -> list[Problem]:
    """Find the Tasks of a valid definition that name such an action, unless it is among those that are `known`."""
    return [
        Problem(pointer, message)
        for pointer, name in steps_of(definition)
        if name not in known and (message := not_yet(name)) is not None
    ]
