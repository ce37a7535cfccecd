"""What the tests of the SQLite store share."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure.store.protocols import WriterPlace

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


@contextmanager
def forked_child() -> Iterator[int]:
    """A child that this process forks, as a step may, and that lives until the end; it runs already."""
    theirs, ours = os.pipe()
    running, says_so = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it does nothing that another thread could be at
        child = os.fork()
    if not child:
        os.close(ours)
        os.write(says_so, b"1")
        os.read(theirs, 1)
        os._exit(0)
    os.close(theirs)
    os.read(running, 1)
    os.close(running)
    os.close(says_so)
    try:
        yield child
    finally:
        os.close(ours)
        os.waitpid(child, 0)


def is_shared(database: Path) -> bool:
    """Whether some connection of this process has SQLite's lock of those that read or write: asked from outside."""
    program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)"
    asked = subprocess.run([sys.executable, "-S", "-c", program, database], check=False, stderr=subprocess.PIPE)
    return b"BlockingIOError" in asked.stderr


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
