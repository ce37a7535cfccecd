"""Faults for a writer, wherever it lives: work that it is handed, found by its name."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from perdure.store.sqlite.writer.writer import Writer


def execute(writer: Writer, *, statement: str) -> Any:
    """Run a statement on the writer's connection; gives its first row."""
    return writer._driver.execute(statement).fetchone()


def fail_commits(writer: Writer, *, code: int, commits: bool, times: int = 10**9) -> None:
    """Let so many COMMITs fail with this code, after they are durable or before they are anything."""
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


def hold_commits(writer: Writer, *, started: str, go_on: str) -> None:
    """Let a COMMIT make one file, and wait for another to be there."""
    really = writer.commit

    def commit(driver: sqlite3.Connection) -> None:
        Path(started).touch()
        while not Path(go_on).exists():
            time.sleep(0.001)
        really(driver)

    writer.commit = commit
