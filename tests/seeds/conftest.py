"""The app of the API's tests, here too."""

from __future__ import annotations

from tests.api.conftest import api, quiet, start

__all__ = ["api", "quiet", "start"]
