"""Commands that ask a server which misbehaves: what they repeat, what they say, and how they end."""

from __future__ import annotations

import json

import pytest

from tests.api.client.test_misbehaving import Misbehaving, drops, losing, says
from tests.cli.conftest import KEY, NAME, Perdure, perdure  # noqa: F401 a fixture


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(
        "perdure.api.client.exchange.Retries.pause", lambda self, _e, attempts, *_: 0 if attempts < 3 else None
    )


def test_a_trigger_whose_answer_is_lost_starts_one_run(perdure: Perdure, served: str) -> None:  # noqa: F811
    """The command repeats it under one key, and prints the run that the first one started."""
    with losing(served, answers=1) as server:
        started = perdure("trigger", NAME, "--input", '{"amount": 500}', "--server", server.url, "--key", KEY).stdout
    runs = [item["execution_id"] for item in perdure.json("history")["items"]]
    assert (len(runs), runs[0]) == (3, started.strip())


def test_what_is_not_known_is_said(perdure: Perdure, folder: object) -> None:  # noqa: F811
    """Without an answer the command ends with 1; what may make two is sent once."""
    with Misbehaving(drops) as server:
        there = ("--server", server.url, "--key", KEY)
        said = perdure("workflows", "create", "invoice.asl.json", *there, exits=1).stderr
        assert f"{server.url} did not answer (" in said
        assert "whether it was done is not known: ask again" in said
        assert len(server.requests) == 1
        perdure("history", *there, exits=1)
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", json.dumps({"error": "no"}).encode(), json.dumps({"error": {"code": 1}}).encode()]
)
def test_another_program_is_told_apart(perdure: Perdure, folder: object, answer: bytes) -> None:  # noqa: F811
    """It ends with 1, and asks whether it is a server of ours."""
    with Misbehaving(says(b"HTTP/1.1 404 No\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))) as server:
        said = perdure("terminate", "INV-7", "--server", server.url, "--key", KEY, exits=1).stderr
    assert said == "Error: the server answered 404, and not as Perdure does: is it one?\n"
