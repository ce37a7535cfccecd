"""Limits on a real server that is really killed; `dev.py limits` does the same with more."""

from __future__ import annotations

import pytest

from .conftest import Server
from .limits_proof import Shape, prove

pytestmark = pytest.mark.real_process


async def test_limits_are_kept_in_order_and_nothing_is_lost(server: Server) -> None:
    """Whatever the kills cut off: a look at a line, an admission, a step, an answer."""
    await prove(server, [Shape(1, 1), Shape(10, 3)], runs=30, kills=2)
