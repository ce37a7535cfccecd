"""The clock over HTTP: a step of the computer's clock turns readiness red, until it is undone or accepted."""

from __future__ import annotations

import time

import pytest

from perdure.api.settings import Settings
from perdure.engine import Engine
from perdure.engine.runtime.clock import SystemClock
from perdure.engine.testing import START
from perdure.store.memory import MemoryStore
from tests.api.conftest import KEY, SLEEPING, Api, eventually

HOUR = 3_600_000


async def test_a_step_is_told_and_accepted(api: Api) -> None:
    """Readiness says how large it is; requests are answered; what has come due by it fires with the acceptance."""
    workflow_id = await api.workflow(SLEEPING)
    execution_id = await api.trigger(workflow_id)
    await api.settled()
    assert (await api.get("/health/ready", key=None)).status_code == 200
    api.clock.set_wall(HOUR)

    red = await api.get("/health/ready", key=None)
    assert (red.status_code, red.json()["error"]["code"]) == (503, "UNAVAILABLE")
    assert "fires no timers: the computer's clock was set forward by 1 h (3600000 ms)" in red.json()["error"]["message"]
    assert (await api.get("/health/live", key=None)).status_code == 200
    shown = (await api.ok("GET", "/v1/clock"))["data"]
    assert (shown["now"], shown["wall"]) == ("2025-06-15T15:06:40.000Z", "2025-06-15T16:06:40.000Z")
    assert (shown["is_trusted"], shown["step_ms"]) == (False, HOUR)
    assert shown["problem"] in red.json()["error"]["message"]
    await api.trigger(workflow_id)
    await api.push(59_999)
    assert "TimerFired" not in await api.events(execution_id)

    answer = await api.ok("POST", "/v1/clock/accept", json={"step_ms": HOUR})
    assert answer == {"success": True, "data": {"message": "accepted", "step_ms": HOUR}}
    await api.settled()
    assert "TimerFired" in await api.events(execution_id)
    assert (await api.get("/health/ready", key=None)).status_code == 200
    assert api.engine.now() == START + HOUR + 59_999
    again = await api.ok("POST", "/v1/clock/accept")
    assert again["data"] == {"message": "nothing to accept", "step_ms": 0}
    log = (await api.ok("GET", "/v1/events", params={"limit": 1000}))["data"]
    (event,) = [each for each in log if each["type"] == "ClockAccepted"]
    assert event["data"] == {"step_ms": HOUR, "node": api.engine.node_id}
    assert event["actor"].startswith("key:")


async def test_a_step_that_is_undone_is_forgotten(api: Api) -> None:
    """Nobody has to say so."""
    api.clock.set_wall(-10 * HOUR)
    assert (await api.get("/health/ready", key=None)).status_code == 503
    api.clock.set_wall(10 * HOUR - 60_000)
    assert (await api.get("/health/ready", key=None)).status_code == 200
    assert (await api.ok("GET", "/v1/clock"))["data"]["problem"] is None


async def test_a_step_is_accepted_by_operators_only(api: Api) -> None:
    """403 for any other key; 409 for another step than the one that is meant; 400 for what is no step."""
    api.clock.set_wall(HOUR)
    narrow = await api.new_key()
    for method, path in (("GET", "/v1/clock"), ("POST", "/v1/clock/accept")):
        response = await api.send(method, path, key=narrow)
        assert (response.status_code, response.json()["error"]["details"]) == (403, {"scope": "operator"})
    other = await api.post("/v1/clock/accept", json={"step_ms": -HOUR})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "CONFLICT")
    assert other.json()["error"]["details"] == {"field": "step_ms", "step_ms": HOUR}
    assert "forward by 1 h" in other.json()["error"]["message"]
    for body in ({"step_ms": "an hour"}, {"step_ms": 1.5}, {"step_ms": 2**60}, {"step": 1}):
        assert (await api.post("/v1/clock/accept", json=body)).status_code == 400
    assert (await api.get("/health/ready", key=None)).status_code == 503


async def test_keys_expire_by_the_engines_clock(api: Api) -> None:
    """A step ends no key, until it is accepted."""
    key = await api.new_key("runs.view", expires_at="2025-06-15T15:30:00Z")
    api.clock.set_wall(HOUR)
    assert (await api.get("/v1/waits", key=key)).status_code == 200
    await api.ok("POST", "/v1/clock/accept")
    assert (await api.get("/v1/waits", key=key)).status_code == 401


async def test_wrong_keys_are_counted_whatever_the_clock_is_set_to(api: Api) -> None:
    """After a step back that was accepted a second is a second."""
    told = [(await api.get("/v1/waits", key="pk_wrong")).status_code for _ in range(30)]
    assert told[-1] == 429
    api.clock.set_wall(-HOUR)
    await api.ok("POST", "/v1/clock/accept")
    await api.push(60_000)
    assert (await api.get("/v1/waits", key="pk_wrong")).status_code == 401


async def test_uses_of_keys_are_noted_after_a_step_back(api: Api) -> None:
    """The last use is the last, and not the latest."""
    key = await api.new_key("runs.view")
    await api.get("/v1/waits", key=key)
    await api.push(20_000)
    api.clock.set_wall(-HOUR)
    await api.ok("POST", "/v1/clock/accept")
    await api.get("/v1/waits", key=key)
    await api.push(20_000)
    used = [each["last_used_at"] for each in (await api.ok("GET", "/v1/keys"))["data"] if each["name"] == "a key"]
    assert used == ["2025-06-15T14:07:00.000Z"]


@pytest.mark.parametrize("step", [-HOUR, HOUR, 87_600 * HOUR])
async def test_a_system_clock_whose_wall_is_set_end_to_end(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with the clock of a server, whose reading of the wall is another's from one moment to the next."""
    monkeypatch.setattr(SystemClock, "_PIECE_S", 0.01)
    ahead = [0]
    clock = SystemClock(lambda: time.time_ns() + ahead[0] * 1_000_000)
    engine = await Engine.start(MemoryStore(), clock=clock)
    await engine.services.access.bootstrap(KEY, "cli:test")
    await engine.recovered()
    api = Api(engine, Settings())
    try:
        short = {"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 1, "End": True}}}
        workflow_id = await api.workflow(short)
        began = time.monotonic()
        execution_id = await api.trigger(workflow_id)
        ahead[0] = step
        await eventually(lambda: not engine.node.parts.guard.may_fire())
        assert (await api.get("/health/ready", key=None)).status_code == 503
        await api.trigger(workflow_id)
        assert (await api.ok("GET", "/v1/clock"))["data"]["step_ms"] == pytest.approx(step, abs=50)
        if step > 0:
            assert (await api.ok("POST", "/v1/clock/accept"))["data"]["message"] == "accepted"
            assert time.monotonic() - began < 0.9
        else:
            ahead[0] = 0
        assert (await api.get("/health/ready", key=None)).status_code == 200
        assert (await engine.result(execution_id, timeout=5)).status == "completed"
        if step < 0:
            assert time.monotonic() - began >= 1
    finally:
        await api.close()
