"""What the client needs of the rest: nothing; and what its users need not wait for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perdure.api import client

ROOT = Path(__file__).parents[3]
HEAVY = {"aiohttp", "asyncio", "click", "engine", "httptools", "sqlalchemy", "starlette", "store", "structlog", "yarl"}


def imported(program: str) -> set[str]:
    """The modules that are there after a program."""
    program += "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_client_needs_nothing_of_the_server() -> None:
    """It is a package for itself beside msgspec and the standard library, and brings no event loop."""
    found = imported("import perdure.api.client")
    assert not HEAVY & found
    assert {name for name in found if name.startswith("api.") and not name.startswith("perdure.api.client")} == set()
    assert "aiohttp" in imported("from perdure.api.client import AsyncClient")


@pytest.mark.parametrize("module", ["server", "served_runs"])
def test_a_command_that_asks_a_server_imports_no_engine(module: str) -> None:
    """So that it starts quickly: no core, no language, no store, no HTTP library but the standard one."""
    found = imported(f"import perdure.cli.targets.{module}")
    assert (
        not {
            "perdure.engine.core.decide",
            "perdure.engine.language",
            "sqlalchemy",
            "perdure.store.protocols",
            "aiohttp",
        }
        & found
    )


def test_an_unknown_name_is_said() -> None:
    """The package imports one of its names late, and no others."""
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        client.Nothing  # noqa: B018
