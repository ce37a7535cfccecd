"""What the package's docstring says of the way of a command agrees with the code."""

from __future__ import annotations

import re

import perdure.engine.runtime
from perdure.engine.runtime.processing import facts, failures, group_commit, processor
from perdure.engine.runtime.processing import requests as orders
from perdure.engine.runtime.processing.commits import RETRY_MS
from perdure.engine.runtime.processing.inbox import REQUESTS_AT_ONCE
from perdure.engine.runtime.streams import stream as hot

DOC = perdure.engine.runtime.__doc__ or ""


def test_what_it_names_of_the_processor_is_there() -> None:
    """Each function of the processor that a transition names."""
    names = {*re.findall(r"`(_\w+)`", DOC), "submit", "post", "stop"}
    assert len(names) >= 7
    assert [name for name in names if not hasattr(processor.Processor, name) or f"`{name}`" not in DOC] == []
    parts = {"GroupCommit.begin": group_commit.GroupCommit.begin, "Failures.not_decided": failures.Failures.not_decided}
    assert [name for name in parts if f"`{name}`" not in DOC] == []
    assert {"state", "head", "stored"} <= set(hot.HotStream.__slots__)
    assert {orders.Accepted, orders.Rejected, orders.ClaimConflict} == set(orders.CommandReply.__args__)


def test_its_numbers_are_those_of_the_code() -> None:
    """How much may be under way, how many have their turn at once, and how long one may take."""
    assert f"while {processor.PENDING_MAX:,} are under way" in DOC
    assert f"`_pump` takes {REQUESTS_AT_ONCE} at once" in DOC
    assert f"than {facts.DECISION_TIME_S * 1000:g} ms is made in a thread" in DOC
    assert RETRY_MS == 1000, "a second later"


def test_every_state_of_the_diagram_is_explained() -> None:
    """What stands in the drawing stands in the table, and the other way round."""
    drawing, table = DOC.split("    to         from        when\n")
    words = r"\b(?:[A-Z]{4,}|PUT OFF)\b"
    assert set(re.findall(words, drawing)) == set(re.findall(words, table.split("\n\n")[0])) - {"PUT"}
