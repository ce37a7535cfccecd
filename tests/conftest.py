"""What holds for all tests: a machine that is busy with something else makes no property fail."""

from __future__ import annotations

import gc
import os
import sys

from hypothesis import HealthCheck, settings

# The tests are many processes that import the same modules: each of them compiles all that it imports, if the machine's
# owner wants no bytecode written, as in containers. Here it is, beside the code, where git does not see it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Where time is the point it is measured, and then the processor's: a deadline by the clock tells of the neighbours.
settings.register_profile("perdure", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("perdure")


def pytest_collection_finish() -> None:
    """Let the collector of cycles leave alone what is there to the end: modules, tests and their parameters.

    It took a tenth of the suite's time, and of tests that make many objects the half.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
