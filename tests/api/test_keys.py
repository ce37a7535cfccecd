"""Keys: who may do what, in either header and either spelling; made, listed, revoked and expired."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import freezegun
import httpx2
import pytest

from perdure.api.app import ROUTES, create_app
from perdure.api.http import throttle
from perdure.api.settings import Settings
from perdure.engine import Engine
from perdure.engine.core import ids, organization
from perdure.engine.core.events import Recorded
from perdure.engine.errors import RateLimited
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.services import key_uses as uses
from perdure.engine.services import known_keys
from perdure.engine.services.access import SCOPES
from perdure.engine.services.known_keys import KnownKeys
from perdure.store.errors import StoreError
from perdure.store.memory import MemoryStore
from tests.api.conftest import KEY, PROCESS, Api

UNKNOWN = "01977420-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"X-API-KEY": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}"},
        {"x-api-key": KEY, "Authorization": f"Bearer {KEY}"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/workflows", f"{PROCESS}/getOrganizationExecutions"])
async def test_a_key_is_taken_from_either_header(api: Api, headers: dict[str, str], path: str) -> None:
    """On every dialect, also from both if they agree."""
    assert (await api.get(path, key=None, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "nobody"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {KEY} {KEY}"},
        {"x-api-key": KEY, "Authorization": "Bearer other"},
        {"x-api-key": "\xff\xfe"},
    ],
)
async def test_without_a_known_key_there_is_no_answer(api: Api, headers: dict[str, str]) -> None:
    """401 in the dialect's envelope, and the header that says how to ask."""
    raw = [(name, value.encode("latin-1")) for name, value in headers.items()]
    enveloped = await api.get("/v1/workflows", key=None, headers=raw)
    process = await api.get(f"{PROCESS}/getOrganizationExecutions", key=None, headers=raw)
    assert enveloped.status_code == process.status_code == 401
    assert enveloped.json()["error"]["code"] == process.json()["error"]["code"] == "UNAUTHORIZED"
    assert enveloped.json()["success"] is False
    assert process.json()["message"] == enveloped.json()["error"]["message"]
    assert enveloped.headers["www-authenticate"].startswith("Bearer")


POSITIONED = [(route.method, route.path) for route in ROUTES if route.tells_position]


@pytest.mark.parametrize(("method", "path"), POSITIONED)
async def test_who_has_no_key_is_not_told_how_far_the_log_is(
    api: Api, method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by 401, nor 405, nor 503 because the keys cannot be read; who has one, may it do this or not, is."""
    url = path.replace("{process_id}", "A").replace("{token}", "T")
    weak = await api.new_key("credentials.manage")
    assert "x-log-position" in (await api.send(method, url, key=weak)).headers
    assert "x-log-position" not in (await api.send("TRACE", url)).headers
    for key in (None, "unknown"):
        assert "x-log-position" not in (await api.send(method, url, key=key)).headers

    async def unreadable(_digest: bytes) -> None:
        message = "the disk does not answer"
        raise StoreError(message)

    monkeypatch.setattr(api.store, "api_key_by_digest", unreadable)
    refused = await api.send(method, url, key="another")
    assert (refused.status_code, "x-log-position" in refused.headers) == (503, False)


async def test_the_key_is_asked_for_before_anything_is_looked_at(api: Api) -> None:
    """A caller without a key learns nothing about what its request lacks."""
    response = await api.post("/v1/workflows?x=1", key=None, content=b"{")
    assert response.status_code == 401


@pytest.mark.parametrize("route", [r for r in ROUTES if r.scope], ids=lambda r: f"{r.method} {r.path}")
async def test_every_route_asks_for_its_scope(api: Api, route: Any) -> None:
    """A key with all scopes but the route's is 403, which names the scope; one with that scope alone passes."""
    path = route.path.replace("{workflow_id}", UNKNOWN).replace("{id}", UNKNOWN).replace("{workflow_version}", "1")
    path = path.replace("{process_id}", "A")
    without = await api.new_key(*(scope for scope in SCOPES if scope not in (route.scope, "operator")))
    refused = await api.send(route.method, path, key=without)
    assert refused.status_code == 403
    error, details = refused.json()["error"], {"scope": route.scope}
    assert error["code"] == route.dialect.code("FORBIDDEN")
    assert error["details"] in (details, [details])
    assert route.scope in refused.text
    alone = await api.new_key(route.scope)
    assert (await api.send(route.method, path, key=alone)).status_code not in (401, 403)


# --- making keys -------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once(api: Api) -> None:
    """201 with its text; the list has all but that."""
    body = {"name": "erp", "scopes": ["runs.view", "runs.view", "runs.resume"], "expires_at": "2030-01-01T00:00:00"}
    response = await api.post("/v1/keys", json=body)
    assert response.status_code == 201
    made = response.json()["data"]
    assert made["scopes"] == ["runs.view", "runs.resume"]
    assert made["expires_at"] == "2030-01-01T00:00:00.000Z"
    text = made.pop("key")
    listed = (await api.ok("GET", "/v1/keys"))["data"]
    assert made in listed
    assert text not in str(listed)
    assert (await api.get(f"{PROCESS}/getOrganizationExecutions", key=text)).status_code == 200


async def test_scopes_may_be_written_as_the_service_api_does(api: Api) -> None:
    """With the prefix `service.workflows.` they are the same scopes."""
    key = await api.new_key("service.workflows.runs.view", "service.workflows.workflows.run")
    listed = (await api.ok("GET", "/v1/keys"))["data"][-1]
    assert listed["scopes"] == ["runs.view", "workflows.run"]
    assert (await api.get(f"{PROCESS}/getOrganizationExecutions", key=key)).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "runs.view"},
        {"scopes": [7]},
        {"name": ""},
        {"name": "a\rb"},
        {"expires_at": "tomorrow"},
        {"expires_at": 1_900_000_000_000},
        {"expires_at": "2025-06-15T15:06:40Z"},
        {"expires_at": "0001-01-01T00:00:00"},
        {"expires_at": "9999-12-31T23:59:59-10:00"},
        {"organization": ""},
        {"org": "x"},
    ],
)
async def test_a_key_that_cannot_be_is_not_made(api: Api, fields: dict[str, Any]) -> None:
    """400, naming the field; one that has expired before it is made is among them."""
    response = await api.post("/v1/keys", json={"name": "k", "scopes": ["runs.view"], **fields})
    assert response.status_code == 400
    assert next(iter(fields)) in response.json()["error"]["message"]
    assert len((await api.ok("GET", "/v1/keys"))["data"]) == 1


async def test_nobody_grants_a_scope_that_they_lack(api: Api) -> None:
    """403, naming the scope."""
    key = await api.new_key("keys.manage", "runs.view")
    response = await api.post("/v1/keys", json={"name": "k", "scopes": ["runs.view", "runs.resume"]}, key=key)
    assert response.status_code == 403
    assert "runs.resume" in response.json()["error"]["message"]


async def test_only_an_operator_names_another_place(api: Api) -> None:
    """Organizations and workspaces are made if they are not there, the workspace `default` where none is named."""
    manager = await api.new_key("keys.manage", "runs.view")
    for place in ({"organization": "acme"}, {"workspace": "other"}):
        response = await api.post("/v1/keys", json={"name": "k", "scopes": ["runs.view"], **place}, key=manager)
        assert response.status_code == 403
        assert "operator" in response.json()["error"]["message"]
    body = {"name": "k", "scopes": ["runs.view"], "organization": "acme"}
    one = (await api.ok("POST", "/v1/keys", json=body))["data"]
    other = (await api.ok("POST", "/v1/keys", json={**body, "workspace": "default"}))["data"]
    assert one["organization_id"] == other["organization_id"]
    assert one["workspace_id"] == other["workspace_id"]


async def test_a_revoked_key_is_unknown(api: Api) -> None:
    """At once; revoking it again is the same, and a key that is not there 404."""
    key = await api.new_key("runs.view")
    row = (await api.ok("GET", "/v1/keys"))["data"][-1]
    assert (await api.get("/v1/waits", key=key)).status_code == 200
    first = await api.ok("DELETE", f"/v1/keys/{row['id']}")
    assert first["data"]["revoked_at"] is not None
    assert await api.ok("DELETE", f"/v1/keys/{row['id']}") == first
    assert (await api.get("/v1/waits", key=key)).status_code == 401
    assert (await api.send("DELETE", f"/v1/keys/{UNKNOWN}")).status_code == 404


async def test_an_expired_key_is_unknown(api: Api) -> None:
    """To the millisecond."""
    key = await api.new_key("runs.view", expires_at="2025-06-15T15:06:50Z")
    await api.push(9_999)
    assert (await api.get("/v1/waits", key=key)).status_code == 200
    await api.push(1)
    assert (await api.get("/v1/waits", key=key)).status_code == 401


async def made_by(api: Api, key: str, *scopes: str, **fields: Any) -> dict[str, Any]:
    """What the answer says of a key that another one has made."""
    body = {"name": "child", "scopes": scopes or ["keys.manage", "runs.view"], **fields}
    made: dict[str, Any] = (await api.ok("POST", "/v1/keys", json=body, key=key))["data"]
    return made


async def test_a_key_lives_no_longer_than_the_one_that_made_it(api: Api) -> None:
    """Without an expiry it has its maker's; a later one is refused, an earlier one is its own."""
    key = await api.new_key("keys.manage", "runs.view", expires_at="2025-06-15T15:06:50Z")
    assert (await made_by(api, key))["expires_at"] == "2025-06-15T15:06:50.000Z"
    assert (await made_by(api, key, expires_at="2025-06-15T15:06:45Z"))["expires_at"] == "2025-06-15T15:06:45.000Z"
    body = {"name": "k", "scopes": ["runs.view"], "expires_at": "2025-06-15T15:06:51Z"}
    refused = await api.post("/v1/keys", json=body, key=key)
    assert refused.status_code == 400
    assert "expires at 2025-06-15T15:06:50" in refused.json()["error"]["message"]


async def test_what_a_key_made_is_revoked_with_it(api: Api) -> None:
    """The children of a manager's key go with it, and theirs; an operator's only if that is asked for."""
    manager = await made_by(api, KEY)
    child = await made_by(api, manager["key"])
    grandchild = await made_by(api, child["key"])
    await api.ok("DELETE", f"/v1/keys/{manager['id']}")
    for gone in (manager, child, grandchild):
        assert (await api.get("/v1/waits", key=gone["key"])).status_code == 401
    for with_children, status in ((None, 200), ("true", 401)):
        operator = await made_by(api, KEY, "operator", "keys.manage", "runs.view")
        child = await made_by(api, operator["key"])
        query = {} if with_children is None else {"with_children": with_children}
        await api.ok("DELETE", f"/v1/keys/{operator['id']}", params=query)
        assert (await api.get("/v1/waits", key=operator["key"])).status_code == 401
        assert (await api.get("/v1/waits", key=child["key"])).status_code == status


async def test_nobody_revokes_a_key_that_may_do_more(api: Api) -> None:
    """403, naming the scope that is lacking; the operator's key goes on working."""
    manager = await api.new_key("keys.manage", "runs.view")
    first = (await api.ok("GET", "/v1/keys"))["data"][0]
    refused = await api.send("DELETE", f"/v1/keys/{first['id']}", key=manager)
    assert refused.status_code == 403
    assert refused.json()["error"]["details"]["scope"] in SCOPES
    assert (await api.get("/v1/waits")).status_code == 200


async def test_the_last_operator_key_cannot_be_revoked(api: Api) -> None:
    """409, until there is another one that is good, wherever it is."""
    first = (await api.ok("GET", "/v1/keys"))["data"][0]
    await api.new_key("operator", expires_at="2025-06-15T15:06:50Z")
    await api.push(10_000)
    refused = await api.send("DELETE", f"/v1/keys/{first['id']}")
    assert refused.status_code == 409
    assert "make another" in refused.json()["error"]["message"]
    other = await api.new_key("operator", "runs.view", organization="acme")
    await api.ok("DELETE", f"/v1/keys/{first['id']}")
    assert (await api.get("/v1/waits")).status_code == 401
    assert (await api.get("/v1/waits", key=other)).status_code == 200


async def test_of_two_operators_that_revoke_each_other_one_is_left(api: Api) -> None:
    """Also across organizations, at the same time."""
    first = (await api.ok("GET", "/v1/keys"))["data"][0]
    other = await made_by(api, KEY, "operator", "keys.manage", organization="acme")
    own = [api.send("DELETE", f"/v1/keys/{row['id']}", key=key) for row, key in ((first, KEY), (other, other["key"]))]
    one, two = await asyncio.gather(*own)
    # Each has all scopes of itself but the one lacks nothing of the other: whoever comes second stays.
    assert sorted((one.status_code, two.status_code)) == [200, 409]


async def test_keys_are_listed_in_pages(api: Api) -> None:
    """Oldest first; a walk shows each once, and `after` is there while there are more."""
    for _ in range(4):
        await api.new_key("runs.view")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while query.get("after", "") is not None:
        page = await api.ok("GET", "/v1/keys", params=query)
        assert (page["meta"]["limit"], page["meta"]["has_more"]) == (2, page["meta"]["after"] is not None)
        seen += [row["id"] for row in page["data"]]
        query["after"] = page["meta"]["after"]
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen)


async def test_a_key_shows_when_it_was_last_used(api: Api) -> None:
    """To the minute, and by and by: a use costs no commit of its own."""
    key = await api.new_key("runs.view")

    async def last_used() -> Any:
        return (await api.ok("GET", "/v1/keys"))["data"][-1]["last_used_at"]

    assert await last_used() is None
    await api.get("/v1/waits", key=key)
    await api.push(uses.DELAY_MS)
    assert await last_used() == "2025-06-15T15:06:40.000Z"
    await api.get("/v1/waits", key=key)
    await api.push(uses.DELAY_MS)
    assert await last_used() == "2025-06-15T15:06:40.000Z"
    await api.push(uses.PRECISION_MS)
    await api.get("/v1/waits", key=key)
    await api.push(uses.DELAY_MS)
    assert await last_used() == "2025-06-15T15:08:00.000Z"


async def test_uses_that_were_not_yet_written_are_at_the_end(api: Api) -> None:
    """A clean stop loses none."""
    key = await api.new_key("runs.view")
    await api.get("/v1/waits", key=key)
    await api.engine.services.access.close()
    assert (await api.ok("GET", "/v1/keys"))["data"][-1]["last_used_at"] is not None


def test_making_a_key_costs_the_same_however_many_there_are() -> None:
    """Counted, not timed: a further one among ten thousand copies one shard, and asks for one row."""
    state = organization.OrganizationState()
    recorded = [organization.OrganizationCreated("organization"), organization.WorkspaceCreated("w")]
    recorded += [organization.KeyCreated(f"k{n}", "w", "0" * 64, ("runs.view",)) for n in range(10_000)]
    before = state
    for seq, event in enumerate(recorded, 1):
        before, state = state, organization.evolve(state, Recorded(seq, 0, "key:a", None, event, None))
    assert len(list(state.keys.changes_from(before.keys))) == 1
    shared = {id(shard) for shard in before.keys.parts()} & {id(shard) for shard in state.keys.parts()}
    assert len(shared) == len(state.keys.parts()) - 1
    assert not STREAM_TYPES["organization"].is_idle(state)  # or each command would fold all of it anew


# --- wrong keys --------------------------------------------------------------------------------------------------


async def from_address(api: Api, address: str | None, key: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(api.app, client=(address, 1) if address else None)  # type: ignore[arg-type]
    async with httpx2.AsyncClient(transport=transport, base_url="http://perdure.test") as client:
        return await client.get("/v1/waits", headers={"x-api-key": key})


@pytest.mark.parametrize(
    ("address", "alike", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("a socket", "a socket", "192.0.2.2"),
    ],
)
async def test_an_address_that_sends_wrong_keys_is_throttled(
    api: Api, address: str, alike: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 with Retry-After, before the database is asked; others, and good keys, go on; time takes it back."""
    for n in range(throttle.WRONG_MAX):
        assert (await from_address(api, address, f"guess-{n}")).status_code == 401
    asked: list[Any] = []
    original = api.store.api_key_by_digest

    async def noting(digest: bytes) -> Any:
        asked.append(digest)
        return await original(digest)

    monkeypatch.setattr(api.store, "api_key_by_digest", noting)
    refused = await from_address(api, alike, "another guess")
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "RATE_LIMITED"
    assert refused.headers["retry-after"] == "1"
    assert asked == []
    assert (await from_address(api, address, KEY)).status_code == 200
    assert (await from_address(api, other, "a guess")).status_code == 401
    await api.push(throttle.REFILL_MS)
    assert (await from_address(api, address, "a guess")).status_code == 401


async def throttled(api: Api, address: str) -> None:
    """Send wrong keys until the address is not listened to."""
    for n in range(throttle.WRONG_MAX):
        assert (await from_address(api, address, f"guess-{n}")).status_code == 401
    assert (await from_address(api, address, "another guess")).status_code == 429


def forgetful(api: Api) -> None:
    """Let its engine know no key, as after a start."""
    access = api.engine.services.access
    access._keys._values.clear()
    access._keys.known = access._known = KnownKeys(api.store)


async def test_a_good_key_is_let_through_though_it_was_not_used_since_the_start(api: Api) -> None:
    """Who guesses behind the same address locks nobody out: of no key that there was, and of none that is new."""
    old, revoked = [await api.new_key("runs.view") for _ in range(2)]
    row = await api.store.api_key_by_digest(hashlib.sha256(revoked.encode()).digest())
    assert row is not None
    await api.ok("DELETE", f"/v1/keys/{ids.text(row.key_id)}")
    forgetful(api)
    await throttled(api, "192.0.2.1")

    assert (await from_address(api, "192.0.2.1", old)).status_code == 200
    assert (await from_address(api, "192.0.2.1", await api.new_key("runs.view"))).status_code == 200
    assert (await from_address(api, "192.0.2.1", revoked)).status_code == 401
    assert (await from_address(api, "192.0.2.1", "a guess")).status_code == 429


async def test_of_very_many_keys_those_not_known_are_looked_up_at_a_bounded_rate(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a guess in the form of a key costs the database little, and a good key comes through."""
    unknown = await api.new_key("runs.view")
    monkeypatch.setattr(known_keys, "KNOWN_MAX", 1)
    forgetful(api)
    await from_address(api, "192.0.2.9", KEY)
    await throttled(api, "192.0.2.1")
    await api.new_key("runs.view")
    guesses = ["pk_" + f"{n:043}" for n in range(throttle.DOUBTED_MAX + 5)]
    answers = [(await from_address(api, "192.0.2.1", guess)).status_code for guess in guesses]
    assert answers == [401] * throttle.DOUBTED_MAX + [429] * 5
    assert (await from_address(api, "192.0.2.1", unknown)).status_code == 429

    await api.push(throttle.DOUBTED_REFILL_MS)

    assert (await from_address(api, "192.0.2.1", unknown)).status_code == 200
    refused = await from_address(api, "192.0.2.1", guesses[0])
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")


async def test_throttled_addresses_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many the oldest are forgotten."""
    monkeypatch.setattr(throttle, "ADDRESSES_MAX", 2)
    counting = throttle.Throttle(api.clock)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        for _ in range(throttle.WRONG_MAX):
            counting.wrong(address)
    counting.check("192.0.2.1")
    with pytest.raises(RateLimited):
        counting.check("192.0.2.2")


async def test_a_key_expires_by_the_computers_clock() -> None:
    """The same through the engine's own clock, which is the computer's."""
    with freezegun.freeze_time("2025-06-15T12:00:00", real_asyncio=True, tick=False) as frozen:
        engine = await Engine.start(MemoryStore())
        await engine.services.access.bootstrap(KEY, "cli:test")
        transport = httpx2.ASGITransport(create_app(engine, Settings()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://perdure.test") as client:
            body = {"name": "k", "scopes": ["runs.view"], "expires_at": "2025-06-15T14:00:00+02:00"}
            late = await client.post("/v1/keys", json=body, headers={"x-api-key": KEY})
            assert late.status_code == 400
            body["expires_at"] = "2025-06-15T14:00:01+02:00"
            made = await client.post("/v1/keys", json=body, headers={"x-api-key": KEY})
            headers = {"x-api-key": made.json()["data"]["key"]}
            assert (await client.get("/v1/waits", headers=headers)).status_code == 200
            frozen.tick(1)
            assert (await client.get("/v1/waits", headers=headers)).status_code == 401
        await engine.close(grace_s=0)
