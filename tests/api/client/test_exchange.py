"""The rules of a call, without I/O: what is sent, what is sent again and when, what an answer means."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest

from perdure.api.client import Client, Conflict, NoAnswer, RateLimited, Refusal, StrangeAnswer, Unavailable, Unreachable
from perdure.api.client.calls import Call
from perdure.api.client.exchange import ClientSettings, Outside, Pause, Retries, WireRequest, WireResponse, exchange

KEY = "pk_a_secret"
TOKEN = "a-token-of-somebody"
OK = WireResponse(200, {}, b'{"success":true,"data":{"message":"done","then":{"kind":"end"}}}')
READING = Call[Any]("GET", "/x", dict[str, Any], is_safe=True)
CHANGING = Call[Any]("POST", "/x", dict[str, Any])
KEYED = Call[Any]("POST", "/x", dict[str, Any], idempotency_key=True)


def refused(status: int, code: str, **headers: str) -> WireResponse:
    return WireResponse(status, headers, b'{"error":{"code":"%s","message":"said"}}' % code.encode())


class Run:
    """A call that is driven: what was sent, and how long was paused."""

    def __init__(self, call: Call[Any], *outcomes: Any, chance: float = 1.0, took_s: float = 0, **retries: Any) -> None:
        self.sent: list[WireRequest] = []
        self.pauses: list[float] = []
        self._now = 0.0
        names = itertools.count(1)
        outside = Outside(lambda: self._now, lambda: chance, lambda: f"id-{next(names)}")
        steps = exchange(call, ClientSettings(KEY, 7, Retries(**retries), outside))
        self.result: Any = None
        self.error: Exception | None = None
        following = iter(outcomes)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self._now += step.seconds
                    self.pauses.append(step.seconds)
                    step = steps.send(None)
                    continue
                self.sent.append(step)
                self._now += took_s
                outcome = next(following)
                step = steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
        except StopIteration as done:
            self.result = done.value
        except Exception as error:  # noqa: BLE001 it is looked at
            self.error = error


LOST = [NoAnswer("lost"), refused(503, "UNAVAILABLE"), WireResponse(502, {}, b"<html>"), WireResponse(504, {}, b"")]
NOT_DONE = [Unreachable("nobody"), refused(429, "RATE_LIMITED")]
FINAL = [
    refused(500, "INTERNAL_ERROR"),
    refused(409, "NOT_WAITING", **{"retry-after": "2"}),
    refused(404, "NOT_FOUND"),
    WireResponse(500, {}, b"<html>"),
    WireResponse(302, {"location": "http://elsewhere"}, b""),
    WireResponse(200, {}, b'{"success"'),
    Unreachable("wrong certificate", retryable=False),
]


@pytest.mark.parametrize("outcome", LOST)
def test_what_may_have_been_done_is_repeated_only_if_that_is_safe(outcome: Any) -> None:
    """What reads, and what carries a key of its own, which is the same each time; nothing else."""
    assert Run(READING, outcome, OK).result is not None
    keyed = Run(KEYED, outcome, outcome, OK)
    assert keyed.result is not None
    assert len({each.headers["Idempotency-Key"] for each in keyed.sent}) == 1
    assert len({each.headers["X-Request-Id"] for each in keyed.sent}) == 1
    once = Run(CHANGING, outcome, OK)
    assert (len(once.sent), once.pauses) == (1, [])
    assert isinstance(once.error, NoAnswer | Unavailable | StrangeAnswer)


@pytest.mark.parametrize("outcome", NOT_DONE)
def test_what_was_not_done_is_repeated_whatever_it_is(outcome: Any) -> None:
    """No connection, or a rate limit: it was never looked at."""
    for call in (READING, CHANGING, KEYED):
        assert Run(call, outcome, OK).result is not None


@pytest.mark.parametrize("outcome", FINAL)
def test_what_will_be_the_same_again_is_not_repeated(outcome: Any) -> None:
    """Refusals, answers that nobody understands, redirects (which would carry the key away), a wrong certificate."""
    for call in (READING, CHANGING, KEYED):
        run = Run(call, outcome, OK)
        assert (len(run.sent), run.result) == (1, None)
        assert run.error is not None


def test_pauses_grow_and_are_drawn() -> None:
    """Exponential with full jitter: from nothing to a bound that doubles up to the longest one."""
    lost = [NoAnswer("lost")] * 9
    longest = Run(READING, *lost, attempts_max=8, pause_base_s=1.0, pause_max_s=10.0)
    assert longest.pauses == [1, 2, 4, 8, 10, 10, 10]
    assert Run(READING, *lost, attempts_max=8, chance=0.0).pauses == [0] * 7
    half = Run(READING, *lost, attempts_max=4, pause_base_s=1.0, chance=0.5)
    assert half.pauses == [0.5, 1, 2]
    assert isinstance(half.error, NoAnswer)


def test_it_gives_up_after_so_many_tries_or_so_long() -> None:
    """No try begins later than the limit says, and what was the matter last is raised."""
    assert len(Run(READING, *[NoAnswer("lost")] * 9).sent) == 5
    assert len(Run(READING, NoAnswer("lost"), OK, attempts_max=1).sent) == 1
    slow = Run(READING, *[NoAnswer("lost")] * 9, took_s=25, elapsed_max_s=60)
    assert len(slow.sent) == 3
    asked = Run(READING, refused(503, "UNAVAILABLE", **{"retry-after": "61"}), OK)
    assert (len(asked.sent), isinstance(asked.error, Unavailable)) == (1, True)


def test_a_retry_after_is_honoured() -> None:
    """At least so long is paused; a date, or nonsense, is left alone."""
    asked = refused(429, "RATE_LIMITED", **{"retry-after": "7"})
    assert Run(CHANGING, asked, OK, chance=0.0).pauses == [7]
    assert Run(CHANGING, asked, OK, pause_base_s=1.0).pauses == [8]
    assert Run(READING, WireResponse(503, {"retry-after": "3"}, b"<html>"), OK, chance=0.0).pauses == [3]
    for odd in ("Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9", "9" * 30):
        assert Run(CHANGING, refused(429, "RATE_LIMITED", **{"retry-after": odd}), OK, chance=0.0).pauses == [0]


@pytest.mark.parametrize(("status", "code"), [(503, "UNAVAILABLE"), (429, "RATE_LIMITED")])
def test_who_follows_comes_again_for_as_long_as_the_server_is_full(status: int, code: str) -> None:
    """When it says so; that is no try, so that something else that goes wrong afterwards is tried as often as ever."""
    following = Call[Any]("GET", "/x", dict[str, Any], is_safe=True, is_patient=True)
    full = refused(status, code, **{"retry-after": "1"})
    run = Run(following, *[full] * 200, *[NoAnswer("lost")] * 3, OK, attempts_max=4, elapsed_max_s=5, chance=0.0)
    assert run.result is not None
    assert run.pauses == [1] * 200 + [0] * 3
    assert max(Run(following, *[full] * 20, OK).pauses) == 11
    assert isinstance(Run(following, *[refused(status, code)] * 9).error, Refusal)
    assert isinstance(Run(READING, *[full] * 9).error, Refusal)


def test_errors_say_what_the_server_says() -> None:
    """In both envelopes; of a code that is newer than the client the status says the kind."""
    process = Run(
        READING, WireResponse(409, {}, b'{"message":"m","error":{"code":"CONFLICT","details":{"a":1}}}')
    ).error
    assert isinstance(process, Conflict)
    assert (process.message, process.details, str(process)) == ("m", {"a": 1}, "m (CONFLICT)")
    newer = Run(READING, refused(409, "QUITE_NEW", **{"x-request-id": "theirs"})).error
    assert isinstance(newer, Conflict)
    assert (newer.code, newer.request_id) == ("QUITE_NEW", "theirs")
    teapot = Run(READING, refused(418, "TEAPOT")).error
    assert type(teapot) is Refusal
    limited = Run(READING, refused(429, "RATE_LIMITED"), attempts_max=1).error
    assert isinstance(limited, RateLimited)
    assert limited.retryable
    lost = Run(READING, NoAnswer("lost"), attempts_max=1).error
    assert isinstance(lost, NoAnswer)
    assert lost.request_id == "id-1"


def calls() -> list[Call[Any]]:
    """Calls whose repetition is a matter of what they are."""
    return [
        Client.trigger(None, "w", {}),
        Client.trigger(None, "w", {}, process_id="P"),
        Client.trigger(None, "w", {"process_id": "P"}),
        Client.terminate(None, "P"),
        Client.resume(None, "P", 1, state="Ask"),
        Client.complete_task(None, TOKEN, 1),
        Client.redrive(None, "P"),
        Client.fork(None, "P", 1),
        Client.apply_workflow(None, "n", {}),
        Client.resume(None, "P", 1),
        Client.create_workflow(None, "n", {}),
        Client.create_key(None, "n", ["runs.view"]),
        Client.release(None, "P"),
    ]


def test_each_call_is_as_repeatable_as_it_may_be() -> None:
    """A run that has a name needs no key; a resume that names no wait gets none, which would stand for naming it."""
    repeated = [Run(call, NoAnswer("lost"), NoAnswer("lost")) for call in calls()]
    assert [len(run.sent) > 1 for run in repeated] == [True] * 9 + [False] * 4
    keyed = ["Idempotency-Key" in run.sent[0].headers for run in repeated]
    assert keyed == [True, False, False, True, True, True, True, True, False, False, False, False, False]


def test_no_secret_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A repetition is logged with its route and what was the matter: no key, token, or process id."""
    caplog.set_level(logging.DEBUG, "perdure.client")
    call = Client.complete_task(None, TOKEN, {"x": 1})
    run = Run(call, NoAnswer("lost"), OK)
    assert run.sent[0].target == f"/v1/tasks/{TOKEN}/success"
    assert "POST /v1/tasks/{token}/success: NoAnswer; again in" in caplog.text
    for secret in (KEY, TOKEN):
        assert secret not in caplog.text + repr(run.sent) + repr(call)
        assert secret not in repr(ClientSettings(KEY, 1, Retries(), Outside(float, float, str)))


def test_what_is_sent_says_who_asks_and_how_long_it_may_take() -> None:
    """A user agent, the key, an id for the server's log; a call that is held has that much longer."""
    (sent,) = Run(Client.resume(None, "INV/7", None, hold_s=30), OK).sent
    assert (sent.method, sent.target, sent.timeout_s) == ("POST", "/v1/executions/INV%2F7/resume", 37)
    assert (sent.body, sent.headers["Prefer"]) == (b'{"payload":null}', "wait=30")
    assert sent.headers["User-Agent"].startswith("perdure-client/")
    assert (sent.headers["x-api-key"], sent.headers["X-Request-Id"]) == (KEY, "id-1")
    (read,) = Run(Client.waits(None, process_id="a b&c", limit=3), OK).sent
    assert (read.target, read.body) == ("/v1/waits?process_id=a%20b%26c&limit=3", None)
