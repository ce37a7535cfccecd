"""References: where in a stream a value stands."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine.core.refs import PayloadMissing, ref, resolve, seq_of

PAYLOADS: dict[int, Any] = {1: {"input": {"a/b": [10, {"m~n": "x"}], "": 0}}, 2: {"result": None}, 3: None}


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("1/input", PAYLOADS[1]["input"]),
        ("1/input/a~1b/0", 10),
        ("1/input/a~1b/1/m~0n", "x"),
        ("1/input/", 0),
        ("2/result", None),
        ("1", PAYLOADS[1]),
    ],
)
def test_a_reference_is_a_seq_and_a_json_pointer(reference, value):
    """RFC 6901: `~1` is a slash, `~0` a tilde, an array is indexed, an empty name is a name."""
    assert resolve(reference, PAYLOADS) == value


def test_the_first_payloads_that_have_the_event_count():
    """A decision looks among its own events, then among the stream's."""
    assert resolve("1/x", {1: {"x": "mine"}}, {1: {"x": "theirs"}}) == "mine"
    assert resolve("2/result", {1: {"x": 1}}, PAYLOADS) is None


def test_a_payload_that_is_not_loaded_is_named():
    """So that the driver can load it."""
    with pytest.raises(PayloadMissing, match="event 7") as missing:
        resolve("7/input", PAYLOADS, {})
    assert missing.value.seqs == (7,)


@pytest.mark.parametrize("reference", ["1/none", "1/input/a~1b/9", "1/input/a~1b/x", "2/result/x", "3/result"])
def test_a_place_that_is_not_there_is_an_error(reference):
    """The payload is erased, or the log is damaged; either way there is one error to catch."""
    with pytest.raises(LookupError, match=f"nothing stands at {reference}"):
        resolve(reference, PAYLOADS)


def test_a_reference_is_made_and_read():
    """What `ref` writes, `seq_of` reads."""
    assert ref(12, "output") == "12/output"
    assert seq_of("12/output") == 12
