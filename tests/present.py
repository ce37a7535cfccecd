"""What is there, for type checkers: a test that knows better than a signature says so by failing if it is wrong."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """A value that is not None here."""
    assert value is not None
    return value
