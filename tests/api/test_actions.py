"""The catalog of actions over HTTP: what can be run is listed, and what cannot is told by name."""

from __future__ import annotations

from perdure.engine.steps.catalog import CATALOG
from tests.api.conftest import Api


async def test_what_can_be_run_is_listed_and_shown(api: Api) -> None:
    """By name, each as it is shown by itself; nothing that is not there yet."""
    listed = (await api.ok("GET", "/v1/actions"))["data"]
    names = [action["name"] for action in listed]
    assert names == sorted(names)
    assert {action.name for action in CATALOG} <= set(names)
    assert "send_email" not in names
    for action in CATALOG:
        shown = (await api.ok("GET", f"/v1/actions/{action.name}"))["data"]
        assert shown in listed
        assert shown == action.document()


async def test_an_action_that_is_not_there_is_told_by_name(api: Api) -> None:
    """With what it comes, or what was probably meant."""
    for name, message in (
        ("send_email", "send_email is not there yet: it comes with notifications"),
        ("http_reqest", "there is no action 'http_reqest'. Did you mean 'http_request'?"),
    ):
        answer = await api.get(f"/v1/actions/{name}")
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == message


async def test_a_definition_with_such_a_task_is_refused(api: Api) -> None:
    """When it is saved."""
    definition = {"StartAt": "a", "States": {"a": {"Type": "Task", "Resource": "send_email", "End": True}}}
    answer = await api.post("/v1/workflows", json={"name": "mail", "definition": definition})
    assert answer.status_code == 400
    assert "send_email is not there yet: it comes with notifications" in answer.text
