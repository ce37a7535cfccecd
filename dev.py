"""The front door: `python3 dev.py TASK [ARGS...]` makes the environment if need be, then runs TASK in it.

Needs Python 3.11 and nothing else. It is written for 3.8, so that an older Python can say what is wrong.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / os.environ.get("DEV_VENV", ".venv")  # another one for another Python
PYTHON = str(VENV / "bin" / "python")
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "made-from"

COMPILE = (
    "uv pip compile pyproject.toml --quiet --output-file requirements.lock --universal --python-version 3.11"
    " --generate-hashes --all-extras --no-emit-index-url --no-emit-find-links"
    " --custom-compile-command 'python3 dev.py lock'"
)
# name: (what it does, its commands). ARGS go to a single command; of several, all run, and each must succeed.
TASKS = {
    "demo": (
        "the engine on SQLite: runs a sample workflow, shows its history; then serves until Ctrl-C (--once: ends)",
        ["python -m perdure.api.demo"],
    ),
    "serve": ("the server", ["perdure serve"]),
    "test": ("the whole test suite, two at a time unless ARGS have -n or -p", ["python -m pytest"]),
    "fuzz": (
        "5,000 drawn requests against the whole document; ARGS: how many, and a seed",
        ["python -m tests.api.fuzzing"],
    ),
    "calendar": (
        "schedules in all time zones, at each change of their clocks from 2000 to 2040, against brute force",
        ["python -m tests.engine.calendar_oracle"],
    ),
    "schedules": (
        "processes with schedules that are killed: each slot is decided once; ARGS: how many kills",
        ["python -m tests.engine.schedule_kills"],
    ),
    "walk": (
        "every sequence of commands on a few tiny definitions, each paused at every place",
        ["python -m tests.engine.core.walk_all"],
    ),
    "crash": ("only the tests that start real server processes", ["python -m pytest -m real_process"]),
    "limits": (
        "limits of real servers that are killed: never too many at once, in order, none lost; ARGS: runs, kills",
        ["python -m tests.acceptance.limits_proof"],
    ),
    "cover": ("branch coverage of engine/core", ["coverage run -m pytest tests/engine", "coverage report"]),
    "lint": ("all checks", ["ruff check", "ruff format --check", "mypy", "pyright --warnings"]),
    "format": ("rewrites the code in the project's style", ["ruff check --fix-only", "ruff format"]),
    "bench": ("measures, and prints ratios", ["python -m benchmarks"]),
    "lock": ("remakes requirements.lock; --upgrade takes newer versions", [COMPILE]),
}
USAGE = "python3 dev.py TASK [ARGS...]\n\n" + "\n".join(f"  {name:10}{TASKS[name][0]}" for name in TASKS)


class Refused(Exception):
    """Nothing was run; the message says why and what to do."""


def main(arguments: list[str]) -> int:
    """Run the task that the arguments name and return its exit code."""
    name, *rest = arguments or [""]
    if name in {"-h", "--help"}:
        print(USAGE)
        return 0
    if name not in TASKS:
        raise Refused(USAGE)
    if sys.version_info < (3, 11):
        raise Refused(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}.")
    commands = [shlex.split(command) for command in TASKS[name][1]]
    if rest and len(commands) > 1:
        raise Refused(f"{name} takes no ARGS: it runs {len(commands)} commands.")
    if name == "test" and not any(argument.startswith(("-n", "-p")) for argument in rest):
        commands[0] += ["-n", "2"]
    try:
        prepare()
    except ModuleNotFoundError as error:
        raise Refused(f"Python's {error.name} is missing. On Debian: apt-get install python3-venv") from None
    except (subprocess.CalledProcessError, OSError) as error:
        raise Refused(f"The environment could not be made: {error}") from None
    return run(commands, rest)


def prepare() -> None:
    """Make the environment, or bring it up to date, unless this Python made it from the files as they are."""
    interpreter = f"{sys.base_prefix} {sys.version_info[:3]}"
    files = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if made_from() == [interpreter, files]:
        return
    import fcntl  # noqa: PLC0415  (not on Windows, whose users can still read the help)

    with (ROOT / ".venv.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two first runs one waits; freed however this process ends
        found = made_from()
        if found == [interpreter, files]:
            return
        print(f"Preparing {VENV} ...", file=sys.stderr, flush=True)
        install(anew=found[:1] != [interpreter])
        STAMP.write_text(f"{interpreter}\n{files}\n", encoding="utf-8")


def made_from() -> list[str]:
    """Return the Python and the files that the environment was made from; nothing if it is unfinished."""
    return STAMP.read_text(encoding="utf-8").splitlines() if STAMP.exists() else []


def install(*, anew: bool) -> None:
    """Install the packages, checked by the lock file's hashes, and the project: with uv, or else with pip."""
    uv = shutil.which("uv")
    if anew:
        import venv  # noqa: PLC0415

        if not uv:
            import ensurepip  # noqa: F401, PLC0415  (Debian leaves it out: find out before making anything)
        venv.create(VENV, clear=True, with_pip=not uv)
    STAMP.unlink(missing_ok=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    project = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    if not uv and subprocess.call([*pip, "uv"]) == 0:
        uv = str(VENV / "bin" / "uv")
    options = ["--quiet", "--python", PYTHON]
    sync = [str(uv), "pip", "sync", *options, "--require-hashes", "--compile-bytecode", str(LOCK)]
    if uv and subprocess.call(sync) == 0:
        subprocess.check_call([uv, "pip", "install", *options, *project])
    else:
        subprocess.check_call([PYTHON, "-m", "ensurepip"])
        subprocess.check_call([*pip, "--require-hashes", "--requirement", str(LOCK)])
        subprocess.check_call([*pip, *project])


def run(commands: list[list[str]], rest: list[str]) -> int:
    """Run the commands in the environment, in the project's folder; one alone takes this process's place."""
    os.chdir(ROOT)
    os.environ["VIRTUAL_ENV"] = str(VENV)
    os.environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.environ["PYRIGHT_PYTHON_GLOBAL_NODE"] = "0"  # the lock file's Node.js, not the machine's
    os.environ["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"  # asks nobody whether there is a newer one
    if len(commands) == 1:
        os.execvp(commands[0][0], [*commands[0], *rest])
    failed = [shlex.join(command) for command in commands if subprocess.call(command) != 0]
    for command in failed:
        print(f"failed: {command}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
