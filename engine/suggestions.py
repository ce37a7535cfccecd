"""Suggests the known name that is most similar to an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to end a message with; empty if nothing known is similar."""
    lowered = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.55)
    return f" Did you mean {' or '.join(repr(lowered[each]) for each in close)}?" if close else ""
