"""Releases: a run that was set aside is tried again, by whoever may also end it."""

from __future__ import annotations

from perdure.engine.core import ids
from perdure.engine.core.events import ExecutionReleased
from tests.api.conftest import WITH_TOKEN, Api


async def test_a_run_that_was_set_aside_goes_on(api: Api) -> None:
    """By its process id or its execution id; the log has who did it, and an answer is taken again."""
    workflow_id = await api.workflow(WITH_TOKEN)
    execution_id = await api.trigger(workflow_id, {"process_id": "INV/7"})
    await api.settled()
    for name in ("INV%2F7", execution_id):
        await api.set_aside("INV/7")
        assert (await api.resume("INV%2F7")).status_code == 503
        answer = await api.ok("POST", f"/v1/executions/{name}/release")
        assert answer == {"success": True, "data": {"message": "released"}}
        await api.settled()
    assert (await api.resume("INV%2F7")).status_code == 200
    assert (await api.events(execution_id)).count("ExecutionReleased") == 2
    recorded = await api.engine.services.queries.events(ids.parse(execution_id))
    assert {each.actor[:4] for each in recorded if isinstance(each.event, ExecutionReleased)} == {"key:"}


async def test_a_run_that_was_not_set_aside_is_left_alone(api: Api) -> None:
    """409 for one that runs, 404 for none, 403 for a key that may not end runs."""
    execution_id = await api.trigger(await api.workflow(WITH_TOKEN))
    response = await api.post(f"/v1/executions/{execution_id}/release")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await api.post("/v1/executions/nobody/release")).status_code == 404
    narrow = await api.new_key("runs.resume")
    assert (await api.post(f"/v1/executions/{execution_id}/release", key=narrow)).status_code == 403
