"""What holds for all tests: a machine that is busy with something else makes no property fail."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Where time is the point it is measured, and then the processor's: a deadline by the clock tells of the neighbours.
settings.register_profile("perdure", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("perdure")
