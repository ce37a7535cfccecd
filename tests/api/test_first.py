from __future__ import annotations
from tests.api.conftest import Api

async def test_main(api: Api):
    """The line."""
    wf = await api.workflow()
    ex = await api.trigger(wf, {"process_id": "INV/7", "amount": 120})
    print(await api.item(wf, ex))
    r = await api.resume("INV%2F7")
    print(r.status_code, r.headers, r.json())
    print(await api.item(wf, ex))
    for u in ["/v1/workflows","/v1/keys","/v1/waits","/health/live","/health/ready","/v2/workflows/getOrganizationExecutions","/v2/workflows/getOrganizationWorkflows",f"/v2/workflows/getWorkflowSchemaById?workflow_id={wf}&workflow_version=1",f"/v2/workflows/getWorkflowById?workflow_id={wf}&workflow_version=1", "/nope", "/v2/workflows/nope"]:
        r = await api.get(u); print(u, r.status_code, r.text)
    r = await api.get(f"/v2/workflows/triggerworkflow/{wf}"); print(r.status_code, r.text, r.headers)
    r = await api.resume("INV%2F7"); print(r.status_code, r.text, r.headers)
    r = await api.resume("INV%2F7?stat=x"); print(r.status_code, r.text, r.headers)
    r = await api.resume("INV%2F7", {"payload": "{}"}); print(r.status_code, r.text, r.headers)
    r = await api.resume("INV%2F7", {"payload": {"source":"X"}}); print(r.status_code, r.text, r.headers)
    r = await api.resume("INV%2F7", {"payload": {"source":"X"}, "x":1}); print(r.status_code, r.text, r.headers)
    r = await api.post("/v1/workflows", json={"name":"x"*200,"definition":{}}); print(r.status_code, r.text)
    r = await api.post("/v1/workflows", json={"name":"x","definition":{}}); print(r.status_code, r.text)
    r = await api.post("/v1/workflows", json={"name":"x","definition":"{}"}); print(r.status_code, r.text)
    r = await api.post("/v1/workflows", json={"name":"x","definition":{}, "timezone":1}); print(r.status_code, r.text)
    r = await api.post("/v1/workflows", json={"name":"x","definition":{}, "settings":{"timeoutMs":1}}); print(r.status_code, r.text)
    r = await api.post("/v1/workflows", json={"name":"x","definition":{}, "trigger_type":"schedule"}); print(r.status_code, r.text)
    r = await api.post("/v1/keys", json={"name":"x","scopes":[1]}); print(r.status_code, r.text)
    r = await api.post("/v1/keys", json={"name":"x","scopes":["nope"]}); print(r.status_code, r.text)
    r = await api.post("/v1/keys", json={"name":"x","scopes":["service.workflows.runs.view"], "expires_at":"x"}); print(r.status_code, r.text)
    r = await api.get("/v1/workflows?limt=3"); print(r.status_code, r.text)
    r = await api.get("/v1/workflows?limit=300"); print(r.status_code, r.text)
    r = await api.get("/v1/workflows?limit=3.0"); print(r.status_code, r.text)
    r = await api.get("/v2/workflows/getOrganizationExecutions?limit=0"); print(r.status_code, r.text)
    assert 0
