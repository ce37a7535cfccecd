"""References to business data: the seq of an event and a JSON Pointer into its payload.

A payload stands in one place, `events.payload`; state, projections and later events point there. A reference is the
text `SEQ/POINTER`: the event's seq, and a JSON Pointer (RFC 6901) into its payload.

So there is one place to erase, and state, snapshots and projections hold nothing that would have to be found and erased
beside it. And what passes through a hundred states unchanged is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Ref: TypeAlias = str
Payloads: TypeAlias = Mapping[int, Any]
"""Payloads of a stream by seq, as far as they are loaded."""


class PayloadMissing(LookupError):
    """Referenced payloads are not loaded; `seqs` says which. The driver loads them and decides again (`Need`)."""

    def __init__(self, *seqs: int) -> None:
        super().__init__(f"the payload of event {seqs[0]} is not loaded")
        self.seqs = seqs


def ref(seq: int, member: str) -> Ref:
    """The reference to a top-level member of the payload of event `seq`."""
    return f"{seq}/{member}"


def below(reference: Ref, *steps: str | int) -> Ref:
    """The reference to a part of a referenced value, by member names and indexes."""
    return "/".join((reference, *(str(step).replace("~", "~0").replace("/", "~1") for step in steps)))


def seq_of(reference: Ref) -> int:
    """The seq of the event that holds the value."""
    return int(reference[: reference.index("/")])


def resolve(reference: Ref, *payloads: Payloads) -> Any:
    """The value that a reference points to, in the first of these payloads that have its event.

    Raises `PayloadMissing` if none has, `LookupError` if the payload has no such place: it is erased, or the log is
    damaged.
    """
    head, slash, pointer = reference.partition("/")
    seq = int(head)
    for known in payloads:
        if seq in known:
            payload = known[seq]
            if type(payload) is dict and pointer in payload and "/" not in pointer and "~" not in pointer:
                return payload[pointer]  # a member itself, as nearly all are
            return _follow(payload, pointer.split("/"), reference) if slash else payload
    raise PayloadMissing(seq)


def _follow(value: Any, tokens: list[str], reference: Ref) -> Any:
    """The value at a JSON pointer (RFC 6901) in a payload. Raises `PayloadMissing` if there is none."""
    try:
        for token in tokens:
            name = token.replace("~1", "/").replace("~0", "~") if "~" in token else token
            value = value[int(name)] if isinstance(value, list) else value[name]
    except (LookupError, TypeError, ValueError):
        message = f"nothing stands at {reference}"
        raise LookupError(message) from None
    return value
