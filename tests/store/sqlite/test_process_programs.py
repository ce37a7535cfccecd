"""A writer's process in programs of all kinds: it is started anew only where that is a Python, and not the program."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import zipapp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.store.errors import StoreUnavailable
from perdure.store.sqlite import open_sqlite
from perdure.store.sqlite.writer import process
from tests.store.sqlite.conftest import files

ROOT = Path(__file__).parents[3]

PROGRAM = """
import asyncio
from perdure.store.sqlite import open_sqlite

async def main():
    store = await open_sqlite("runs.db", writer="process")
    print("position", await store.position(), flush=True)
    await store.close()

asyncio.run(main())
"""

HOST = """#!{python}
import asyncio, os, sys
sys.path[:] = {path!r}
sys.executable = {itself!r}  # as in an application that brings its interpreter along
from pathlib import Path
from perdure.store.sqlite import open_sqlite

with Path("starts").open("a") as file:
    print(os.getpid(), file=file)

async def main():
    await open_sqlite(f"{{os.getpid()}}.db", writer="process")

asyncio.run(main())
"""


def python(*arguments: str | Path, folder: Path, entered: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        input=entered,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("arguments", [["-c", PROGRAM], ["-"], ["-i", "-"], ["app.pyz"], ["app.py"]], ids=" ".join)
def test_a_program_without_a_main_guard(tmp_path: Path, arguments: Sequence[str]) -> None:
    """Given as text, typed, zipped, or as a file, it is not run again for the writer's process."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(PROGRAM)
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    (tmp_path / "app.py").write_text(PROGRAM)
    typed = PROGRAM.replace("\n\nasyncio.run", "\n\n\nasyncio.run") if "-" in arguments else None

    done = python(*arguments, folder=tmp_path, entered=typed)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("position 0") == 1


def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", popen)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frozen", True),
        ("frozen", "macosx_app"),
        ("oxidized", True),
        ("executable", ""),
        ("executable", None),
        ("executable", "/nowhere/app"),
    ],
)
async def test_an_application_that_is_no_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """Frozen, or with an interpreter that has no program of its own: it is not started again, and told what to do."""
    nothing_is_started(monkeypatch)
    monkeypatch.setattr(sys, name, value, raising=False)
    with pytest.raises(StoreUnavailable, match='use writer="thread"'):
        await open_sqlite(tmp_path / "runs.db", writer="process")
    with pytest.raises(StoreUnavailable, match='use writer="thread"'):
        await Engine.start(f"sqlite:///{tmp_path / 'runs.db'}", writer="process")

    assert files(tmp_path / "runs.db") == set()

    async with Engine.open(f"sqlite:///{tmp_path / 'runs.db'}", writer="thread"):
        pass


def test_an_application_that_does_not_say_that_it_is_none(tmp_path: Path) -> None:
    """It is started once as the writer, which then starts nothing more, whatever database it opens."""
    host = tmp_path / "host"
    host.write_text(HOST.format(python=sys.executable, path=[str(ROOT), *sys.path], itself=str(host)))
    host.chmod(0o755)

    done = subprocess.run([host], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert f'{host} ended before it had opened the database; use writer="thread"' in done.stderr
    assert len((tmp_path / "starts").read_text().split()) == 2
    assert not list(tmp_path.glob("*.lock"))


async def test_an_application_that_goes_on_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not say in time that it is the writer is ended."""
    host = tmp_path / "host"
    host.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec {shutil.which('sleep')} 60\n")
    host.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(host))
    monkeypatch.setattr(process, "_BEGIN_S", 0.3)

    with pytest.raises(StoreUnavailable, match=r'within 0\.3 s; use writer="thread"'):
        await open_sqlite(tmp_path / "runs.db", writer="process")

    pid = await asyncio.to_thread((tmp_path / "pid").read_text)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert files(tmp_path / "runs.db") == {"host", "pid", "runs.db"}


async def test_what_is_no_text_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python passes it over, and so does the writer's process."""
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    store = await open_sqlite(tmp_path / "runs.db", writer="process")
    await store.close()
