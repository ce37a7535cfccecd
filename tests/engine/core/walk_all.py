"""`python3 dev.py walk`: goes everywhere that commands lead, with a pause at every place, not at some as the suite."""

from __future__ import annotations

import sys
import time

from perdure.engine.core.transitions import TRANSITIONS
from perdure.engine.language import compile_machine

from .test_walk import DEFINITIONS, limit, walk


def main() -> int:
    """Walk through all definitions; 1 if a move of the table was never made."""
    table = {(before, event, after) for (before, event), statuses in TRANSITIONS.items() for after in statuses}
    for name, states in DEFINITIONS.items():
        start = time.perf_counter()
        machine = compile_machine({"StartAt": next(iter(states)), "States": states, **limit(name)})
        places, moves = walk(machine, name)
        table -= moves
        sys.stdout.write(f"{name}: {places} places in {time.perf_counter() - start:.1f} s\n")
        sys.stdout.flush()
    for move in sorted(table):
        sys.stdout.write(f"never made: {' '.join(move)}\n")
    return bool(table)


if __name__ == "__main__":
    raise SystemExit(main())
