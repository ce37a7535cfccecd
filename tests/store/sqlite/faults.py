"""Faults for a writer, wherever it lives: work that it is handed, found by its name."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

from store.sqlite.writer import Writer


def fail_commits(writer: Writer, *, code: int, commits: bool, times: int = 10**9) -> None:
    """Let so many COMMITs fail with this code, after they are durable or before; those of this call succeed."""
    really, left = writer.commit, times

    def commit(driver: sqlite3.Connection) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            really(driver)
            return
        if commits:
            really(driver)
        error = sqlite3.OperationalError("made up")
        error.sqlite_errorcode = code
        raise error

    writer.commit = commit


def hold_commits(writer: Writer, *, signal_file: str) -> None:
    """Let the next COMMIT wait for its death, and make a file once it does."""

    def commit(_driver: sqlite3.Connection) -> None:
        Path(signal_file).touch()
        signal.pause()

    writer.commit = commit
