"""The README tells the truth: its Python runs, its diagram is the table's, and its commands and settings exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.settings import Settings
from engine.core.transitions import diagram

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_diagram_is_drawn_from_the_table() -> None:
    """The diagram of statuses is what the transition table says."""
    assert blocks("mermaid") == [diagram() + "\n"]


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_each_python_example_runs(number: int, tmp_path: Path) -> None:
    """Each Python block is a program that runs as it stands."""
    program = tmp_path / "example.py"
    program.write_text(blocks("python")[number])
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "restarted" in done.stdout
    assert "completed" in done.stdout


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
