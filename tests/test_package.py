"""The package: what is installed is `perdure` alone, beside whatever packages a project has of its own."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent
FOLDERS = ("api", "engine", "store")
KEY = "a-key-of-this-very-test"

STEPS = """\
from perdure.steps import Registry, StepContext

registry = Registry()


@registry.step("ours")
async def ours(value: dict[str, int], context: StepContext) -> dict[str, int]:
    return {"doubled": 2 * value["amount"]}
"""

PROGRAM = """\
import asyncio

from api.steps import registry
from perdure import Engine, Limits, Result
from perdure.errors import NotFound
from perdure.history import states_history
from perdure.language import problems
from perdure.testing import simulate

DEFINITION = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "ours", "End": True}}}


async def main() -> Result:
    assert not problems(DEFINITION)
    async with Engine.open("sqlite:///own.db", steps=registry, limits=Limits()) as engine:
        workflow = await engine.apply_workflow("own", DEFINITION)
        try:
            await engine.status("nobody")
        except NotFound:
            pass
        execution = await engine.trigger(workflow.id, {"amount": 21})
        result = await engine.result(execution.id, timeout=30)
        assert states_history([event async for event in engine.events(execution.id)])
        return result


if __name__ == "__main__":
    print(asyncio.run(main()).output, simulate.__name__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    (made,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(made)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of an environment that has the wheel, what it needs, and nothing of this checkout."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, symlinks=True)
    own = next(home.glob("lib/python*/site-packages"))
    (own / "needed.pth").write_text("\n".join(site.getsitepackages()) + "\n")  # whose own .pth files are not read
    zipfile.ZipFile(wheel).extractall(own)
    return home / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with packages that are called as our folders are."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("OURS = True\n")
    (tmp_path / "api" / "steps.py").write_text(STEPS)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def run(python: Path, project: Path, *arguments: str) -> str:
    """Run Python in a project, without this checkout's path; gives what it prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, *arguments], cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_one_package(wheel: Path) -> None:
    """It installs `perdure` and its metadata, with types, migrations, pages of the API, licence and links."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].removesuffix("-0.1.0.dev0.dist-info") for name in names} == {"perdure"}
    assert {"perdure/py.typed", "perdure/api/openapi/docs.html", "perdure/store/migrations/env.py"} <= set(names)
    assert "perdure/checkout.py" not in names
    metadata = next(name for name in names if name.endswith("/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    for said in ("License-Expression: MIT", "Project-URL: ", "Description-Content-Type: text/markdown", "# Perdure"):
        assert said in text
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_each_module_of_the_checkout_is_in_the_wheel(wheel: Path) -> None:
    """Nothing that is imported is left behind."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    ours = {f"perdure/{path.relative_to(ROOT)}" for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    ours |= {str(path.relative_to(ROOT)) for path in (ROOT / "perdure" / "cli").rglob("*.py")}
    assert ours <= inside


def test_a_project_keeps_its_own_names(python: Path, project: Path) -> None:
    """Its `api`, `engine` and `store` are its own, beside ours; a program of it runs."""
    seen = run(
        python, project, "-c", "import perdure.engine, api, engine, store; print(api.OURS, engine.OURS, store.OURS)"
    )
    assert seen.split() == ["True"] * 3
    assert run(python, project, "program.py").split() == ["{'doubled':", "42}", "simulate"]


def test_the_programs_of_the_readme_run_when_installed(python: Path, project: Path) -> None:
    """They run as they stand, with nothing of the checkout."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    programs = [block for block in blocks if "\ndef test_" not in block and "perdure.client" not in block]
    assert programs
    for number, program in enumerate(programs):
        (project / f"example{number}.py").write_text(program)
        assert run(python, project, f"example{number}.py")


def test_a_program_is_checked_strictly(python: Path, project: Path) -> None:
    """`mypy --strict` reads our types, finds nothing in a sound program, and finds what is wrong in another."""
    (project / "wrong.py").write_text("from perdure import Engine\n\nengine: int = Engine.open('sqlite:///x.db')\n")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--cache-dir", ".mypy"]
    done = subprocess.run([*mypy, "program.py"], cwd=project, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*mypy, "wrong.py"], cwd=project, capture_output=True, text=True, timeout=300, check=False)
    assert "Incompatible types in assignment" in done.stdout


@pytest.mark.real_process
def test_a_server_takes_the_projects_steps(python: Path, project: Path) -> None:
    """`--steps` means a module of the project that it is started in, whatever that is called."""
    (project / "own.json").write_text(
        '{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "ours", "End": true}}}'
    )
    command = [str(python), "-m", "perdure", "serve", "--port", "0", "--steps", "api.steps:registry"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["PERDURE_BOOTSTRAP_KEY"] = KEY
    with subprocess.Popen(
        command, cwd=project, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            url = next(found[0] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            there = ("--server", url, "--key", KEY)
            run(python, project, "-m", "perdure", "workflows", "apply", "own.json", "--name", "own", *there)
            run(
                python,
                project,
                "-m",
                "perdure",
                "trigger",
                "own",
                "--input",
                '{"amount": 21}',
                "--process-id",
                "P-1",
                *there,
            )
            run(python, project, "-m", "perdure", "events", "P-1", "--follow", *there)  # until it has ended
            shown = run(python, project, "-m", "perdure", "show", "P-1", "--json", *there)
            assert json.loads(shown)["output"] == {"doubled": 42}
        finally:
            server.terminate()
            server.wait(30)
