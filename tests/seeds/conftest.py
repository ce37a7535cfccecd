"""A real server for the tests that hold it against the seeds: a child process, asked over HTTP as anybody would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx2
import pytest

from tests.api.conftest import api, quiet, start

__all__ = ["api", "quiet", "start"]

T = TypeVar("T")

KEY = "pk_the_reader_of_the_seeds"
SEEDS = Path(__file__).resolve().parents[2].parent / "shared" / "seeds"
READY_S = 60


class Asked(NamedTuple):
    """An address under which routes are asked for, and the key that asks."""

    address: str
    key: str | None = KEY

    def send(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {**more.pop("headers", {}), **({} if self.key is None else {"Authorization": f"Bearer {self.key}"})}
        return httpx2.request(method, f"{self.address}{path}", headers=headers, timeout=30, **more)

    def ok(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """The body of an answer that must have this status."""
        response = self.send(method, path, **more)
        assert response.status_code == status, response.text
        return response.json()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on a file of its own."""
    folder = tmp_path_factory.mktemp("seed")
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "import sys; from perdure.cli.main import main; sys.exit(main())"),
            *("serve", "--port", "0", "--database", f"sqlite:///{folder / 'runs.db'}"),
        ],
        env={**os.environ, "PERDURE_BOOTSTRAP_KEY": KEY},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "ready at " in line:
                break
        else:
            pytest.fail("the server ended before it was ready")
        yield line.split("ready at ")[1].strip()
    finally:
        process.terminate()
        process.communicate(timeout=READY_S)


def seed(beginning: str) -> str:
    """The text of the seed whose name begins so; the test is skipped where the seeds are not at hand."""
    found = sorted(SEEDS.glob(f"{beginning}_*"))
    if not found:
        pytest.skip(f"the seeds are not at {SEEDS}: the table cannot be compared with what it was written from")
    return found[0].read_text(encoding="utf-8")


def eventually(look: Callable[[], T | None]) -> T:
    """What a look gives, as soon as it gives anything."""
    deadline = time.monotonic() + READY_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found
