"""Kinds of keys: scopes in every spelling, live and test ones, and those of people."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from perdure.engine.audit.store_audit import verify
from perdure.engine.services.access import BEYOND_SANDBOX, SCOPES
from tests.api.conftest import Api

SPELLINGS = {
    **{scope: scope for scope in SCOPES},
    **{f"service.workflows.{scope}": scope for scope in SCOPES},
    "workflows:read": "workflows.view",
    "workflows:write": "workflows.manage",
    "workflows:execute": "workflows.run",
    "runs:read": "runs.view",
    "connections:read": "connections.view",
    "connections:write": "connections.manage",
}


async def made(api: Api, *scopes: str, key: str | None = None, **fields: Any) -> dict[str, Any]:
    """A key that was made, with its text."""
    body = {"name": "k", "scopes": scopes or ("runs.view",), **fields}
    answer: dict[str, Any] = (await api.ok("POST", "/v1/keys", json=body, key=key or api.key))["data"]
    return answer


async def refused(api: Api, status: int, key: str | None = None, **fields: Any) -> dict[str, Any]:
    """The error by which a key is refused; nothing is made."""
    before = len((await api.ok("GET", "/v1/keys"))["data"])
    body = {"name": "k", "scopes": ["runs.view"], **fields}
    response: httpx2.Response = await api.post("/v1/keys", json=body, key=key or api.key)
    assert response.status_code == status, response.text
    assert len((await api.ok("GET", "/v1/keys"))["data"]) == before
    error: dict[str, Any] = response.json()["error"]
    return error


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_scope_is_taken_in_each_spelling_and_shown_in_ours(api: Api, spelling: str) -> None:
    """Of the three APIs that have one; and the document's pattern takes it too."""
    assert (await made(api, spelling))["scopes"] == [SPELLINGS[spelling]]
    document = (await api.get("/openapi.json", key=None)).json()
    pattern = document["components"]["schemas"]["NewKey"]["properties"]["scopes"]["items"]["pattern"]
    assert re.search(pattern, spelling)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("runs.veiw", "runs.view"),
        ("workflow:read", "workflows:read"),
        ("service.workflows.run.view", "service.workflows.runs.view"),
        ("Forms.Submit", "forms.submit"),
    ],
)
async def test_a_misspelt_scope_is_refused_by_name(api: Api, misspelt: str, meant: str) -> None:
    """With what it may have meant, and all that would be accepted."""
    error = await refused(api, 400, scopes=["runs.view", misspelt])
    assert f"{misspelt!r} is no scope" in error["message"]
    assert "Did you mean" in error["message"]
    assert repr(meant) in error["message"].partition("?")[0]
    assert all(scope in error["message"] for scope in (*SCOPES, "runs:read", "service.workflows."))
    assert error["details"] == {"field": "scopes", "scope": misspelt}


@pytest.mark.parametrize(
    ("mode", "prefix", "shown"),
    [(None, "wfk_", "live"), ("live", "sk_live_", "live"), ("test", "sk_test_", "test")],
)
async def test_the_text_of_a_key_says_what_it_was_made_as(api: Api, mode: Any, prefix: str, shown: str) -> None:
    """And `GET /v1/me` tells it, needing no scope."""
    key = await made(api, "forms.view", **({} if mode is None else {"mode": mode}))
    assert (key["key"].startswith(prefix), key["mode"]) == (True, shown)
    me = (await api.ok("GET", "/v1/me", key=key["key"]))["data"]
    assert me == {
        "key_id": key["id"],
        "name": "k",
        "scopes": ["forms.view"],
        "mode": shown,
        "organization_id": key["organization_id"],
        "workspace_id": key["workspace_id"],
        "plan": "unlimited",
    }


async def test_the_prefix_decides_nothing(api: Api) -> None:
    """A key of before goes on, and one that looks like another kind is unknown."""
    key = await made(api, mode="test")
    alike = key["key"].replace("sk_test_", "sk_live_")
    assert (await api.get("/v1/me", key=alike)).status_code == 401
    caller = await api.engine.services.access.default_caller("cli:test")
    old = await api.engine.services.access.make_key(caller, "old", ("runs.view",), text="sk_test_" + "x" * 43)
    assert (await api.ok("GET", "/v1/me", key=old.text))["data"]["mode"] == "live"
    assert (await api.ok("GET", "/v1/me"))["data"]["mode"] == "live"  # a key that begins with pk_


async def test_a_workspace_has_one_sandbox(api: Api) -> None:
    """Made with the first test key; what a test key makes belongs to it too; each workspace has its own."""
    live = await made(api)
    tests = [await made(api, "keys.manage", "runs.view", mode="test") for _ in range(2)]
    child = await made(api, key=tests[0]["key"])
    assert child["key"].startswith("sk_test_")
    other = await made(api, mode="test", workspace="other")
    places = [key["workspace_id"] for key in (live, *tests, child, other)]
    assert places[1] == places[2] == places[3]
    assert len(set(places)) == 3
    assert {key["mode"] for key in (*tests, child, other)} == {"test"}
    assert (await verify(api.store)).breaks == []


@pytest.mark.parametrize("scope", BEYOND_SANDBOX)
async def test_no_test_key_reaches_beyond_its_sandbox(api: Api, scope: str) -> None:
    """Neither the organization's rows nor what an operator does."""
    error = await refused(api, 400, scopes=["runs.view", scope], mode="test")
    assert scope in error["message"]
    assert error["details"] == {"field": "scopes", "scope": scope}


async def test_a_sandbox_has_test_keys_alone(api: Api) -> None:
    """Whoever asks: a test key, or an operator who names the sandbox."""
    manager = await made(api, "keys.manage", "runs.view", mode="test")
    assert "mode" in (await refused(api, 400, key=manager["key"], mode="live"))["message"]
    assert "mode" in (await refused(api, 400, workspace="default (sandbox)", mode="live"))["message"]
    assert (await made(api, workspace="default (sandbox)"))["mode"] == "test"
    await refused(api, 403, key=manager["key"], workspace="default")
    assert "mode" in (await refused(api, 400, mode="prod"))["message"]


async def test_who_manages_a_workspace_manages_its_test_keys(api: Api) -> None:
    """They are listed and revoked by a live key of it, and not the other way round."""
    manager = await made(api, "keys.manage", "runs.view")
    test = await made(api, "keys.manage", "runs.view", mode="test")
    seen = [each["id"] for each in (await api.ok("GET", "/v1/keys", key=manager["key"]))["data"]]
    assert test["id"] in seen
    assert seen == sorted(seen)
    own = (await api.ok("GET", "/v1/keys", key=test["key"]))["data"]
    assert [each["id"] for each in own] == [test["id"]]
    assert (await api.send("DELETE", f"/v1/keys/{manager['id']}", key=test["key"])).status_code == 404
    await api.ok("DELETE", f"/v1/keys/{test['id']}", key=manager["key"])
    assert (await api.get("/v1/me", key=test["key"])).status_code == 401


async def test_a_key_may_be_a_persons(api: Api) -> None:
    """It says so, its caller is that person, and what it makes is theirs."""
    ann = await made(api, "keys.manage", "runs.view", user_id="ann", role_ids=["finance", "sales", "finance"])
    assert (ann["user_id"], ann["role_ids"]) == ("ann", ["finance", "sales"])
    assert (await api.ok("GET", "/v1/me", key=ann["key"]))["data"]["user_id"] == "ann"
    principal = await api.engine.services.access.principal(ann["key"])
    assert principal is not None
    assert (principal.caller.user_id, principal.caller.role_ids) == ("ann", frozenset({"finance", "sales"}))
    child = await made(api, key=ann["key"])
    assert (child["user_id"], child["role_ids"]) == ("ann", ["finance", "sales"])
    fewer = await made(api, key=ann["key"], user_id="ann", role_ids=["sales"])
    assert fewer["role_ids"] == ["sales"]
    for other in ({"user_id": "bob"}, {"user_id": "ann", "role_ids": ["admin"]}, {"role_ids": ["finance"]}):
        assert "user_id" in (await refused(api, 403, key=ann["key"], **other))["message"]
    assert (await verify(api.store)).breaks == []


@pytest.mark.parametrize(
    "fields", [{"user_id": ""}, {"user_id": "a b"}, {"user_id": "x" * 129}, {"role_ids": ["a\n"]}, {"role_ids": "a"}]
)
async def test_a_person_has_a_plain_name(api: Api, fields: dict[str, Any]) -> None:
    """400, naming the field."""
    assert next(iter(fields)) in (await refused(api, 400, **fields))["message"]
