"""Tuning of the interpreter, for a process that does nothing but run an engine."""

from __future__ import annotations

import gc
import sys
from typing import Final

_THRESHOLDS: Final = (20_000, 50, 100)
_SWITCH_INTERVAL_S: Final = 0.001


def tune_interpreter() -> None:
    """Set what Python's own settings make dear for an engine. It concerns the whole process.

    - The cycle collector looks less often, and not at what was there from the start: an engine makes many objects that
      live until their commit, and hardly a cycle; to find that out took the collector a sixth of the time.
    - Threads take turns after 1 ms and not after 5: the one that commits needs the interpreter for a moment several
      times a commit, and while the event loop is busy it waits that long each time.

    An embedding program decides for itself whether to call it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
