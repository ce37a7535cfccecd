"""The README tells the truth: its Python runs, its diagram is the table's, and its commands and settings exist."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure.api.app import DIALECTS
from perdure.api.dialects.runs.dialect import RUNS_API
from perdure.api.dialects.service.dialect import SERVICE
from perdure.api.settings import Settings
from perdure.engine.core import bulk
from perdure.engine.core.paused import table
from perdure.engine.core.transitions import diagram

ROOT = Path(__file__).parent.parent
PERDURE = Path(sys.executable).with_name("perdure")
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_diagram_is_drawn_from_the_table() -> None:
    """The diagrams of statuses, of runs and of bulk jobs, are what the transition tables say."""
    assert blocks("mermaid") == [diagram() + "\n", bulk.diagram() + "\n"]


def test_the_table_of_pauses_is_what_the_engine_looks_up() -> None:
    """What each command means to a paused run."""
    assert README.split("<!-- made from engine/core/paused.py -->\n")[1].split("<!-- end -->")[0] == table()


CLIENTS = [block for block in blocks("python") if "perdure.client" in block]
PROGRAMS = [block for block in blocks("python") if "\ndef test_" not in block and block not in CLIENTS]
TESTS = [block for block in blocks("python") if "\ndef test_" in block]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_each_python_example_runs(number: int, tmp_path: Path) -> None:
    """Each Python block is a program that runs as it stands, twice."""
    for answer in ("restarted", "already restarted"):  # and again: what it made is there then
        done = python(tmp_path, "example.py", PROGRAMS[number])
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(answer)
        assert "completed" in done.stdout


@pytest.mark.parametrize("number", range(len(TESTS)))
def test_each_example_of_a_test_passes(number: int, tmp_path: Path) -> None:
    """Each Python block of tests passes under pytest as it stands."""
    done = python(tmp_path, "test_example.py", TESTS[number], "-m", "pytest", "-q", "--rootdir", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert f"{TESTS[number].count('def test_')} passed" in done.stdout


def python(folder: Path, name: str, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a file of this source in a folder of its own."""
    (folder / name).write_text(source)
    return subprocess.run(
        [sys.executable, *options, name], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.real_process
async def test_each_example_of_the_client_runs(tmp_path: Path) -> None:
    """Each block that asks a server runs as it stands, against a real one."""
    async with serving(tmp_path) as address:
        for block in CLIENTS:
            source = block.replace("http://127.0.0.1:8080", address)
            done = await asyncio.to_thread(python, tmp_path, "example.py", source)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("restarted")
            assert done.stdout.endswith("Q-1 completed\n")


@pytest.mark.real_process
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_each_command_of_the_first_workflow_runs(tmp_path: Path) -> None:
    """The commands of the README, run in order against a real server, answer what it says."""
    async with serving(tmp_path) as address:
        told = await asyncio.to_thread(run_blocks, address, tmp_path)
    for expected in ('"restarted"', '"terminated"', '"count"', "every chain holds", '"archived"'):
        assert expected in told, told


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """A server on a new database; gives its address."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perdure", "serve", "--port", "0", "--database", "sqlite:///runs.db"),
        cwd=folder,
        env={**os.environ, "PERDURE_BOOTSTRAP_KEY": "a-long-secret-of-yours"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stderr is not None
        async with asyncio.timeout(30):
            while b"ready at" not in (line := await server.stderr.readline()):
                assert line
        yield line.decode().split("ready at ")[1].strip()
    finally:
        server.terminate()
        async with asyncio.timeout(15):
            await server.communicate()


def run_blocks(address: str, folder: Path) -> str:
    """Run the console blocks from the first that names the API on; gives all that they print."""
    blocks_to_run = [block for block in blocks("console") if "$API" in block or ".venv/bin/perdure" in block]
    variables = ""
    told = ""
    for block in blocks_to_run:
        script = block.replace("http://127.0.0.1:8080", address).replace(".venv/bin/perdure", str(PERDURE))
        script = re.sub(r"^WORKFLOW=….*$", "", script, flags=re.MULTILINE)
        variables += "\n".join(re.findall(r"^API=.*$", script, re.MULTILINE)) + "\n"
        done = subprocess.run(
            ["bash", "-euc", variables + script], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        assert '"error":{' not in done.stdout, done.stdout
        told += done.stdout
        for name, pattern in (
            ("WORKFLOW", r'"data":\{"id":"([0-9a-f-]{36})"'),
            ("EXECUTION", r'"looply_execution_id":"([^"]+)"'),
        ):
            found = re.search(pattern, done.stdout)
            if found and f"\n{name}=" not in variables:
                variables += f"\n{name}={found[1]}\n"
    return told


API_ROW = re.compile(r"^\| [^|]+ \| `(?P<mounted>/[^`]+)` \| [^|]+ \| `(?P<call>curl [^`]+)` \|$", re.MULTILINE)


def test_every_api_has_a_row() -> None:
    """Where it is mounted; the root is no API."""
    rows = [row["mounted"] + "/" for row in API_ROW.finditer(README)]
    skeletons = {RUNS_API.prefix, SERVICE.prefix}
    assert set(rows) == {dialect.prefix for dialect in DIALECTS.all if dialect.prefix != "/"} | skeletons
    assert len(rows) == len(set(rows))


@pytest.mark.real_process
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_each_call_of_the_table_of_apis_runs(tmp_path: Path) -> None:
    """As it stands, with the variables of the first workflow; those of APIs that are mounted."""
    calls = [
        row["call"] for row in API_ROW.finditer(README) if f"{row['mounted']}/" in {r.prefix for r in DIALECTS.all}
    ]
    assert calls

    def answers(address: str) -> list[str]:
        variables = f"API={address} KEY='x-api-key: a-long-secret-of-yours'"
        script = "\n".join([variables, *(each.replace("curl ", "curl --fail-with-body ", 1) for each in calls)])
        done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout.split("}{")

    async with serving(tmp_path) as address:
        assert len(await asyncio.to_thread(answers, address)) == len(calls)


def test_every_setting_is_documented() -> None:
    """Each setting's environment variable stands in the README."""
    for name in Settings.__struct_fields__:
        assert f"PERDURE_{name.upper()}" in README, name


def test_the_two_commands_are_tasks() -> None:
    """The two commands of the README, and the tasks it names, are tasks of dev.py."""
    listed = subprocess.run(
        [sys.executable, str(ROOT / "dev.py"), "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for task in re.findall(r"python3 dev\.py (\w+)", README):
        assert re.search(rf"^\s*{task}\b", listed, re.MULTILINE), task
