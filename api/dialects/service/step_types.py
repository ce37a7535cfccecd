"""Step types (part of the service API): what a step can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from perdure.api.dialects.service import schemas
from perdure.api.dialects.service.dialect import STEP_TYPES, data, route
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.language.formats.later import not_yet


class PromisedStep(NamedTuple):
    """A step type that this API names: what it is for, and what its config has at least."""

    name: str
    title: str
    category: str
    config: Sequence[str] = ()
    is_summary: bool = False


OWN: Final = (
    PromisedStep("send_email", "Send an email", "delivery", ("to", "subject")),
    PromisedStep("create_notification", "Create a notification", "delivery"),
    PromisedStep("send_invoice_reminder", "Send an invoice reminder", "invoices"),
    PromisedStep("generate_recurring_invoice", "Generate a recurring invoice", "invoices"),
    PromisedStep("mark_invoices_overdue", "Mark invoices overdue", "invoices"),
    PromisedStep(
        "invoicing_ar_summary", "Summarize accounts receivable", "summaries", ("date_range",), is_summary=True
    ),
    PromisedStep(
        "forms_submission_digest", "Summarize form submissions", "summaries", ("date_range",), is_summary=True
    ),
    PromisedStep("payments_summary", "Summarize payments", "summaries", ("date_range",), is_summary=True),
)
"""Those that the API promises, in its order. They are listed before they can be run, and not as if they could."""


async def list_step_types(call: RouteCall[schemas.StepTypesQuery, None]) -> Reply:
    """The step types of this API; with `all`, whatever else a step can do here."""
    actions = call.engine.services.actions
    names = [each.name for each in OWN]
    others = [action.name for action in actions.values() if call.query.all and action.name not in names]
    known = {name: {**actions[name].service_document(), "available": True} for name in actions}
    own = [known.get(each.name) or _later(each) for each in OWN]
    return data([*own, *(known[name] for name in others)])


def _later(wanted: PromisedStep) -> dict[str, Any]:
    """A step type that cannot be run yet: it says so, and with what it comes."""
    return {
        "step_type": wanted.name,
        "title": wanted.title,
        "description": not_yet(wanted.name) or "",
        "category": wanted.category,
        "config_schema": {"type": "object", "properties": {name: {} for name in wanted.config}},
        "is_summary": wanted.is_summary,
        "needs_delivery": wanted.is_summary,
        "available": False,
    }


ROUTES: Final[Sequence[Route]] = (
    route(
        *(STEP_TYPES, "GET", "action-catalog", "workflows.view", list_step_types),
        query=schemas.StepTypesQuery,
        answer=schemas.StepTypesListed,
    ),
)
