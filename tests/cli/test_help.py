"""The help: quick, and each example in it runs as it stands."""

from __future__ import annotations

import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from perdure.cli.main import COMMANDS, main
from tests.cli.conftest import KEY, ROOT, Perdure

HELP_S_MAX = 1.0
"""Measured on a warm machine it is below 0.1 s, of a processor's time too, which no busy machine adds to."""


def commands() -> Iterator[tuple[str, ...]]:
    """Every command and group, as it is written on a command line."""
    context = click.Context(main)
    yield ()
    for name in main.list_commands(context):
        yield (name,)
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)


def examples(*command: str) -> list[str]:
    """The lines below `Examples:` in a help text."""
    text = CliRunner().invoke(main, [*command, "--help"], prog_name="perdure", terminal_width=200).output
    _, _, below = text.partition("\nExamples:\n")
    return [line.strip() for line in below.splitlines() if line.strip()]


ELSEWHERE = {("release",), ("redrive",)}
ALL = sorted({line for command in commands() for line in examples(*command) if command not in ELSEWHERE})
"""Without those that need a run that was set aside, or has failed: test_changing.py and test_chances.py run them."""
IN_PROCESS = [line for line in ALL if line.startswith("perdure ") and not re.search(r"[>|$]|perdure serve", line)]
IN_SHELL = [line for line in ALL if line not in IN_PROCESS]
CHANGING = re.compile(
    r"perdure (run|trigger|resume|terminate|rerun|fork|bulk|workflows create|keys (create|revoke)"
    r"|doctor --accept-clock|me)"
)
OF_A_SERVER = re.compile(r"perdure (doctor --accept-clock|me)")
"""What goes to a server, and to nothing else."""


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_each_help_has_examples(command: tuple[str, ...]) -> None:
    """Each command's help ends with examples of that very command."""
    found = examples(*command)
    assert found
    assert all(" ".join(("perdure", *command)) in line for line in found)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_no_help_is_cut(command: tuple[str, ...]) -> None:
    """However narrow the terminal is, a list of commands tells each one's whole sentence."""
    text = CliRunner().invoke(main, [*command, "--help"], prog_name="perdure", terminal_width=60).output
    assert "..." not in text.replace("[ARGS]...", "").replace("]...", "").replace("VALUE...", "")


@pytest.mark.parametrize("line", [line for line in IN_PROCESS if not OF_A_SERVER.match(line)])
def test_each_example_runs_as_it_stands(perdure: Perdure, line: str) -> None:
    """Each example runs against a database, and ends with 0."""
    assert perdure(*shlex.split(line)[1:]).stdout


@pytest.mark.parametrize("line", [line for line in IN_PROCESS if CHANGING.match(line)])
def test_each_changing_example_runs_with_a_server_too(
    perdure: Perdure, line: str, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same examples go to a server if the environment names one."""
    monkeypatch.setenv("PERDURE_SERVER", served)
    monkeypatch.setenv("PERDURE_KEY", "pk_the_operator_of_these_tests")
    assert perdure(*shlex.split(line)[1:]).stdout


@pytest.mark.parametrize("line", [line for line in IN_SHELL if "perdure serve" not in line])
def test_each_example_of_a_shell_runs_in_one(line: str, shell: Callable[[str], subprocess.Popen[str]]) -> None:
    """Examples that need a shell run in one."""
    with shell(line) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("line", [line for line in IN_SHELL if "perdure serve" in line])
def test_each_example_of_a_server_serves(line: str, shell: Callable[[str], subprocess.Popen[str]]) -> None:
    """Examples of `serve` come up, and end with 0 on SIGTERM."""
    with shell(line.replace("perdure serve", "exec perdure serve")) as process:
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        assert any("ready at http://" in each for each in said)
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    """Each name leads to the command of that name, and its summary begins as its help does."""
    context = click.Context(main)
    for name, lazy in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        own = (command.help or "").split(".")[0].replace("`", "")
        assert own.split()[0] == lazy.summary.split()[0], (own, lazy.summary)


def test_help_is_quick_and_imports_no_engine() -> None:
    """`perdure --help` takes less than a second of a processor's time, and imports nothing of ours but the list."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "perdure", "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime < HELP_S_MAX
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    heavy = (
        "perdure.engine",
        "perdure.store",
        "sqlalchemy",
        "asyncio",
        "rich",
        "msgspec",
        "starlette",
        "perdure.api.settings",
    )
    assert not [name for name in imported if name.startswith(heavy)]


SERVING = {
    "aiohttp",
    "alembic",
    "perdure.engine.embedded",
    "http.client",
    "prometheus_client",
    "starlette",
    "structlog",
    "uvicorn",
}
LANGUAGE = {"croniter", "perdure.engine.core.decide", "perdure.engine.language.parse.definition", "jlens", "jsonpath"}
STORING = {
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "perdure.store.sqlite.writer.writer",
}
READING = ("history", "events INV-7", "waits", "workflows list", "keys list", "show INV-7")
SERVED = ("history", "events INV-7", "waits", "workflows list", "keys list", "show INV-7")

IMPORTED = """
import sys
from perdure.cli.main import main
for line in sys.argv[2:]:
    try:
        main(line.split())
    except SystemExit as end:
        assert not end.code, line
    print("imported", *sorted(set(sys.argv[1].split(",")) & set(sys.modules)), file=sys.stderr)
"""


def imported(lines: Sequence[str], unwanted: set[str], **environment: str) -> dict[str, set[str]]:
    """Which of these modules are there after each command, all in one process."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, ",".join(unwanted), *lines],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = [set(line.split()[1:]) for line in done.stderr.splitlines() if line.startswith("imported")]
    return dict(zip(lines, said, strict=True))


def test_commands_that_read_import_little(folder: Path) -> None:
    """They start without HTTP, steps, engine and language, without what writes, and without SQLAlchemy's ORM."""
    found = imported(READING, SERVING | LANGUAGE | STORING)
    assert found == {line: set() for line in READING}


def test_doctor_imports_no_migrations_and_no_steps(folder: Path) -> None:
    """A sound database is looked at without them, which would take most of the time."""
    assert imported(["doctor"], {"alembic", "aiohttp", "perdure.engine.steps.http"}) == {"doctor": set()}


def test_commands_that_ask_a_server_import_no_store(served: str) -> None:
    """They start without the engine, the language, and all that opens a database."""
    unwanted = (SERVING - {"http.client"}) | LANGUAGE | {"aiosqlite", "sqlalchemy", "sqlite3"}
    found = imported(SERVED, unwanted, PERDURE_SERVER=served, PERDURE_KEY=KEY)
    assert found == {line: set() for line in SERVED}


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["histroy"], "history"),
        (["workflow"], "workflows"),
        (["history", "--limt", "3"], "--limit"),
        (["keys", "lst"], "list"),
        (["show", "INV-7", "--jsn"], "--json"),
        (["resume", "INV-7", '{"y": 2}'], """--payload '{"y": 2}'"""),
        (["trigger", "invoice approval", '{"y": 2}'], """--input '{"y": 2}'"""),
        (["terminate", "INV-7", "--reason", "x", '{"y": 2}'], """--payload '{"y": 2}'"""),
    ],
)
def test_a_slip_of_the_finger_is_understood(perdure: Perdure, arguments: list[str], meant: str) -> None:
    """A command or option that is not there: 2, and which was perhaps meant."""
    said = perdure(*arguments, exits=2).stderr
    assert "Did you mean" in said
    assert meant in said


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts(perdure: Perdure, shell_name: str) -> None:
    """Each shell gets a script that asks `perdure` itself."""
    assert "_PERDURE_COMPLETE" in perdure("completion", shell_name).stdout


def test_completion_knows_commands(folder: Path, shell: Callable[[str], subprocess.Popen[str]]) -> None:
    """What the script asks for is answered: the commands that begin so."""
    line = "COMP_WORDS='perdure wor' COMP_CWORD=1 _PERDURE_COMPLETE=bash_complete perdure"
    with shell(line) as process:
        output, _ = process.communicate(timeout=30)
    assert output.split() == ["plain,workflows"]
