"""Documents of the service API: what they do, and what is refused."""

from typing import Any

import pytest

from perdure.engine.language import problems
from perdure.engine.language.formats.flow import ActionForm, DocumentError
from perdure.engine.language.formats.service_steps import compile_service
from perdure.engine.steps.action_forms import ACTION_FORMS
from perdure.engine.testing import Succeeded, TaskRequest, simulate

ACTIONS = {
    **ACTION_FORMS,
    "mark_invoices_overdue": ActionForm("mark_invoices_overdue", frozenset()),
    "payments_summary": ActionForm("payments_summary", frozenset({"date_range"}), is_summary=True),
    "forms_submission_digest": ActionForm("forms_submission_digest", frozenset({"date_range"}), is_summary=True),
    "send_email": ActionForm(
        "send_email", frozenset({"to", "subject", "body"}), ("to", "subject"), delivers=True, text_field="body"
    ),
}


def document(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"name": "Daily", "trigger_type": "manual", "steps": list(steps), **more}


def calls_of(source: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a document calls, in order."""
    made = compile_service(source, actions=ACTIONS)
    assert problems(made.definition, is_compiled=True) == []
    calls: list[tuple[str, Any]] = []

    def tasks(request: TaskRequest) -> Succeeded:
        calls.append((request.resource, request.parameters))
        return Succeeded(f"made by {request.resource}")

    assert simulate(made.definition, {}, tasks=tasks).status == "SUCCEEDED"
    return calls


SUMMARY = {"step_type": "payments_summary", "step_config": {"date_range": "today"}}
MAIL = {"step_type": "send_email", "step_config": {"to": "a@x.org", "subject": "s"}}


def test_the_example_of_the_seed_runs() -> None:
    """Spelling for spelling."""
    seed = {"name": "Daily overdue sweep", "schedule": "0 9 * * *", "steps": [{"type": "mark_invoices_overdue"}]}
    assert calls_of(seed) == [("mark_invoices_overdue", {})]


def test_a_delivery_carries_the_summary() -> None:
    """Its text is the summary if it has none, and `summary` stands for it where it has one."""
    assert calls_of(document(SUMMARY, MAIL))[1][1]["body"] == "made by payments_summary"
    texted = {**MAIL, "step_config": {**MAIL["step_config"], "body": "See: {{ summary }}"}}  # type: ignore[dict-item]
    assert calls_of(document(SUMMARY, {"type": "log", "config": {"message": "m"}}, texted))[2][1]["body"] == (
        "See: made by payments_summary"
    )


def test_two_summaries_go_with_one_delivery() -> None:
    """Both stand in its text, in order."""
    digest = {"step_type": "forms_submission_digest"}
    body = calls_of(document(SUMMARY, digest, MAIL))[2][1]["body"]
    assert body == "made by payments_summary\n\nmade by forms_submission_digest"


def test_a_delivery_without_a_summary_is_as_it_is() -> None:
    """Nothing is put into it."""
    assert calls_of(document(MAIL)) == [("send_email", {"to": "a@x.org", "subject": "s"})]


REFUSED: list[tuple[Any, str, str]] = [
    ([], "", "a document is a JSON object"),
    ({"name": "x", "trigger_type": "manual"}, "/steps", "1 to 50 steps"),
    (document(), "/steps", "1 to 50 steps"),
    (document(*[MAIL] * 51), "/steps", "1 to 50 steps"),
    (document(1), "/steps/0", "must be an object"),
    (document({}), "/steps/0", "step_type is missing"),
    (document({"step_typ": "send_email"}), "/steps/0/step_typ", "Did you mean 'step_type'"),
    (document({"step_type": "send_mail"}), "/steps/0/step_type", "Did you mean 'send_email'"),
    (
        document({"type": "create_notification"}),
        "/steps/0/type",
        "create_notification is not there yet: it comes with notifications",
    ),
    (document({"type": "loop"}), "/steps/0/type", "holds other steps"),
    (document({**MAIL, "type": "log"}), "/steps/0/type", "means the same as step_type"),
    (document({"step_type": "send_email", "step_config": {"to": "x"}}), "/steps/0/step_config", "subject is missing"),
    (document(SUMMARY), "/steps/0", "step 'payments_summary' makes a summary"),
    (document(MAIL, SUMMARY), "/steps/1", "must follow it"),
    (document(MAIL, name="x" * 121), "/name", "1 to 120"),
    (document(MAIL, description="x" * 501), "/description", "1 to 500"),
    ({"name": "x", "steps": [MAIL]}, "", "cron_expression is missing"),
    ({"name": "x", "steps": [MAIL], "schedule": "daily"}, "/schedule", "5 fields"),
    (document(MAIL, schedule="0 9 * * *"), "/schedule", "belongs to the trigger_type schedule"),
    (document(MAIL, visibility="public"), "/visibility", "must be one of private, tenant, shared"),
    (document(MAIL, shared_user_ids=["u"]), "/shared_user_ids", "belongs to the visibility shared"),
    (document(MAIL, statsu="active"), "/statsu", "Did you mean 'status'?"),
    (document({"type": "log", "config": {"message": "{{ summary }}"}}), "/steps/0/config/message", "no name 'summary'"),
]


@pytest.mark.parametrize(("source", "pointer", "says"), REFUSED, ids=lambda value: str(value)[-50:])
def test_what_is_wrong_is_named(source: Any, pointer: str, says: str) -> None:
    """Each problem points into the document, by the spelling that it uses."""
    with pytest.raises(DocumentError) as raised:
        compile_service(source, actions=ACTIONS)
    found = [(problem.path, problem.message) for problem in raised.value.problems]
    assert any(at == pointer and says in message for at, message in found), found


def test_what_needs_a_resource_is_refused_by_name() -> None:
    """Each of the eight steps of the service says what it comes with, as long as no action does it."""
    names = ["send_email", "create_notification", "send_invoice_reminder", "generate_recurring_invoice"]
    names += ("mark_invoices_overdue", "invoicing_ar_summary", "forms_submission_digest", "payments_summary")
    for name in names:
        with pytest.raises(DocumentError, match=f"{name} is not there yet: it comes with"):
            compile_service(document({"step_type": name}), actions=ACTION_FORMS)
