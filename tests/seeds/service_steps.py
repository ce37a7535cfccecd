"""Steps of the names that the service API promises, for a server of the tests: they say that they were called."""

from __future__ import annotations

from typing import Any

from perdure.engine.steps import Registry

NAMES = (
    "send_email",
    "create_notification",
    "send_invoice_reminder",
    "generate_recurring_invoice",
    "mark_invoices_overdue",
    "invoicing_ar_summary",
    "forms_submission_digest",
    "payments_summary",
)

registry = Registry()


def _named(name: str) -> Any:
    async def called(config: Any) -> dict[str, Any]:
        return {"called": name, "config": config}

    return called


for each in NAMES:
    registry.step(each)(_named(each))
