"""Tuning of the interpreter, for a process that does nothing but run an engine."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 50, 100)


def tune_garbage_collection() -> None:
    """Let the cycle collector look less often, and not at what was there from the start.

    An engine makes many objects that live until their commit, and hardly a cycle; with Python's own thresholds the
    collector takes a sixth of the time to find that out. It concerns the whole process, so an embedding program
    decides for itself whether to call it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
