"""`Idempotency-Key` on whatever makes or starts something: it happens once, and a repetition is told so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.app import ROUTES
from perdure.api.http.headers import one_key
from perdure.engine.errors import Invalid
from tests.api.conftest import ENDING, WAITING, Api

ONCE = {"Idempotency-Key": "k-1"}
DAILY = {"interval": {"value": 1, "unit": "days"}}
KINDS = ["workflow", "schedule", "bulk"]


async def request_of(api: Api, kind: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The path and body of a request that makes something, and another body."""
    if kind == "workflow":
        body = {"name": "a", "definition": WAITING}
        return "/v1/workflows", body, {**body, "name": "b"}
    if kind == "schedule":
        return f"/v1/workflows/{await api.workflow()}/schedules", DAILY, {"cron_expression": "0 9 * * *"}
    body = {"action": "terminate", "filter": {"process_id_prefix": "x"}}
    return "/v1/bulk", body, {**body, "reason": "r"}


def test_whatever_makes_or_starts_something_takes_a_key() -> None:
    """By its status; what repeats an answer itself says that it looks at the header."""
    made = [route for route in ROUTES if route.method == "POST" and route.status in (201, 202)]
    assert len(made) >= 5
    assert [route.path for route in made if "Idempotency-Key" not in route.headers] == []
    repeated = [route for route in ROUTES if route.repeated is not None]
    assert all("Idempotency-Key" in route.headers and "CONFLICT" in route.refusals for route in repeated)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_request_makes_one_thing(api: Api, kind: str) -> None:
    """It gets the first answer again; another one under the key is 409, and without the key there is another thing."""
    path, body, other = await request_of(api, kind)
    first = await api.post(path, json=body, headers=ONCE)
    before = len(api.store._idempotency.rows)
    again = await api.post(path, json=body, headers=ONCE)
    assert (again.status_code, again.json()["data"]["id"]) == (first.status_code, first.json()["data"]["id"])
    assert first.status_code in (201, 202)
    refused = await api.post(path, json=other, headers=ONCE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    assert len(api.store._idempotency.rows) == before == 1
    assert (await api.post(path, json=body)).json()["data"]["id"] != first.json()["data"]["id"]


@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_crowd_one_makes_it_and_all_are_told_the_same(api: Api, kind: str) -> None:
    """However close together they come."""
    path, body, _ = await request_of(api, kind)
    answers = await asyncio.gather(*(api.post(path, json=body, headers=ONCE) for _ in range(8)))
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert len({answer.status_code for answer in answers}) == 1


@pytest.mark.parametrize("place", [{}, {"organization": "B"}, {"workspace": "B"}], ids=["here", "elsewhere", "beside"])
async def test_the_text_of_a_key_is_told_once(api: Api, place: dict[str, str]) -> None:
    """A repetition hears which key was made, wherever that was, so that it can be revoked; nothing else is made."""
    body = {"name": "k", "scopes": ["runs.view"], **place}
    made = await api.post("/v1/keys", json=body, headers=ONCE)
    assert made.status_code == 201, made.text
    log = len(api.store._log)
    again = await api.post("/v1/keys", json=body, headers=ONCE)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")
    assert again.json()["error"]["details"]["id"] == made.json()["data"]["id"]
    assert made.json()["data"]["key"] not in again.text
    assert len(api.store._log) == log
    kept = str(api.store._idempotency.rows)
    assert made.json()["data"]["key"] not in kept
    other = await api.post("/v1/keys", json={**body, "name": "other"}, headers=ONCE)
    assert (other.status_code, "another request" in other.text) == (409, True)


async def test_a_repetition_shows_the_thing_as_it_is_now(api: Api) -> None:
    """It is the same thing, with the status of the first answer."""
    body = {"name": "a", "definition": ENDING}
    made = (await api.post("/v1/workflows", json=body, headers=ONCE)).json()["data"]["id"]
    await api.ok("PATCH", f"/v1/workflows/{made}", json={"name": "b"})
    again = await api.post("/v1/workflows", json=body, headers=ONCE)
    assert (again.status_code, again.json()["data"]["id"], again.json()["data"]["name"]) == (201, made, "b")


async def test_what_was_refused_is_not_kept(api: Api) -> None:
    """Under the same key it may be tried again, mended."""
    refused = await api.post("/v1/workflows", json={"name": "a", "definition": {"StartAt": "No"}}, headers=ONCE)
    assert refused.status_code == 400
    assert (await api.post("/v1/workflows", json={"name": "a", "definition": ENDING}, headers=ONCE)).is_success


async def test_a_key_is_a_workspaces_own(api: Api) -> None:
    """Another workspace's key of the same text is another one."""
    other = await api.new_key("workflows.manage", "workflows.view", workspace="B")
    body = {"name": "a", "definition": ENDING}
    made = [await api.post("/v1/workflows", json=body, headers=ONCE, key=key) for key in (api.key, other)]
    assert len({answer.json()["data"]["id"] for answer in made}) == 2


@pytest.mark.parametrize(
    ("in_header", "in_body", "meant"),
    [(None, None, None), ("a", None, "a"), (None, "b", "b"), ("c", "c", "c")],
)
def test_a_key_may_stand_in_the_body(in_header: str | None, in_body: str | None, meant: str | None) -> None:
    """Or in the header, or in both."""
    assert one_key(in_header, in_body) == meant


@pytest.mark.parametrize(("in_header", "in_body"), [("a", "b"), (None, ""), (None, "ü"), (None, "x" * 256)])
def test_two_keys_are_refused(in_header: str | None, in_body: str | None) -> None:
    """And one that could not be a header's."""
    with pytest.raises(Invalid, match=r"^idempotencyKey: "):
        one_key(in_header, in_body)
