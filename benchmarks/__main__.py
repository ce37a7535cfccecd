"""`python3 dev.py bench [NAME …]`: run the benchmarks, all of them or those that are named."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import cli, dialects, finding, latency, loop, over_http, records, runaway, throughput, timers, wide
from perdure.engine.runtime.tuning import tune_interpreter

BENCHMARKS: dict[str, Callable[[], int]] = {
    "throughput": throughput.main,
    "latency": latency.main,
    "loop": loop.main,
    "wide": wide.main,
    "timers": timers.main,
    "trigger_http": over_http.trigger,
    "resume_http": over_http.resume,
    "pages": over_http.page,
    "finding": finding.main,
    "records": records.main,
    "dialects": dialects.main,
    "runaway": runaway.main,
    "cli": cli.main,
}


def main(names: list[str]) -> int:
    """Run benchmarks by name; not 0 if one is unknown or did not complete its work."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    tune_interpreter()
    return max([BENCHMARKS[name]() for name in names or BENCHMARKS])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
