"""What the tests of the SQLite store share."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.protocols import WriterPlace

ROOT = Path(__file__).parents[3]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a database is to be."""
    return tmp_path / "perdure.db"


@contextmanager
def victim(database: Path, writer: WriterPlace = "thread") -> Iterator[subprocess.Popen[str]]:
    """A process that serves the database, and appends to it; killed in the end, if it was not before."""
    command = [sys.executable, "-m", "tests.store.sqlite.victim", str(database), writer]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "READY\n"
            yield process
        finally:
            process.kill()


def let_go(database: Path) -> None:
    """Wait until nobody holds the database: a process that was killed may have left a writer at its last commit."""
    with Path(f"{database}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


def content(database: Path) -> bytes:
    """The bytes of a file (which the event loop may wait for here)."""
    return database.read_bytes()


def modes(database: Path) -> set[int]:
    """Who may do what with a database and the files beside it."""
    return {path.stat().st_mode & 0o777 for path in database.parent.iterdir()}


def exists(path: Path) -> bool:
    """Whether there is such a file."""
    return path.exists()


def make(path: Path) -> None:
    """Make an empty file."""
    path.touch()


def files(database: Path) -> set[str]:
    """The names of the files beside a database, and its own."""
    return {path.name for path in database.parent.iterdir()}
