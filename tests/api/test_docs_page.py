"""The docs page as a reader sees it: its script runs over the real document, in node, with the DOM that it uses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.api.app import ROUTES
from perdure.api.openapi import document

DOCUMENT = document(ROUTES)
PAGE = resources.files("perdure.api.openapi").joinpath("docs.html").read_text("utf-8")
READER = Path(__file__).with_name("page_reader.mjs")
NODE = shutil.which("node") or ""

pytestmark = pytest.mark.skipif(not NODE, reason="there is no node, which runs the page's script")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of the page, from its first sight to the last key."""
    folder = tmp_path_factory.mktemp("page")
    script = re.search(r"<script>(.*?)</script>", PAGE, re.DOTALL)
    assert script is not None
    (folder / "page.js").write_text(script[1])
    (folder / "openapi.json").write_bytes(msgspec.json.encode(DOCUMENT))
    done = subprocess.run(
        [NODE, str(READER), "page.js", "openapi.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def operations_of(name: str) -> set[str]:
    """The operations of a dialect; without a name all."""
    tags = [tag for group in DOCUMENT["x-tagGroups"] if name in ("", group["name"]) for tag in group["tags"]]
    operations = [each for methods in DOCUMENT["paths"].values() for each in methods.values()]
    return {each["operationId"] for each in operations if each["tags"][0] in tags}


def test_it_shows_every_operation(seen: dict[str, Any]) -> None:
    """Each once, until somebody chooses."""
    assert len(seen["all"]) == len(ROUTES)
    assert set(seen["all"]) == operations_of("")


def test_the_switch_shows_one_api(seen: dict[str, Any]) -> None:
    """Those that have operations; with it the link goes to that API's document."""
    assert seen["dialects"] == ["", *dict.fromkeys(group["name"] for group in DOCUMENT["x-tagGroups"])]
    for name in seen["dialects"]:
        assert set(seen["chosen"][name]) == operations_of(name), name
        assert seen["parts"][name] == [f"openapi/{name}.json" if name else "openapi.json"]


def test_the_search_leaves_what_matches(seen: dict[str, Any]) -> None:
    """Of all paths, names and summaries, and says how many."""
    expected = {
        operation["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if "bulk" in f"{method} {path} {operation['summary']} {operation['operationId']}".lower()
    }
    assert set(seen["searched"]["links"]) == expected
    assert seen["searched"]["said"] == f"{len(seen['searched']['links'])} of {len(ROUTES)} operations"
    assert 0 < len(seen["searched"]["links"]) < len(ROUTES)


def test_it_goes_by_keyboard(seen: dict[str, Any]) -> None:
    """A slash leads to the search; a link opens its operation, of another API too, and takes the focus there."""
    assert seen["slash"] is True
    assert seen["linked"] == {"open": True, "focused": "SUMMARY", "shown": True}


def test_snippets_are_tabs(seen: dict[str, Any]) -> None:
    """Arrows, Home and End go round; only the chosen tab is in the order of tabs; the choice stays for the next one."""
    chosen = [names for names, _ in seen["snippets"]]
    order = ["curl", "Python", "JavaScript", "curl", "JavaScript", "curl", "Python"]
    assert chosen == [[name] for name in order]
    for (name,), text in seen["snippets"]:
        assert {"curl": "curl -X POST", "Python": "perdure.create_workflow(", "JavaScript": "await fetch("}[
            name
        ] in text
        assert "http://perdure.test" in text
        assert "127.0.0.1" not in text
    assert (seen["focused"], seen["tabbable"], seen["kept"]) == ("Python", 1, ["Python"])


def test_its_words_can_be_read_in_the_dark_and_by_ear() -> None:
    """Both schemes have all colours; what is found is told as it changes; who tabs may skip what is beside."""
    light, dark = (set(re.findall(r"--(\w+):", part)) for part in re.findall(r":root \{([^}]*)\}", PAGE))
    assert light == dark
    for part in (
        "color-scheme: light dark",
        'role="status"',
        'class="skip" href="#main"',
        "<legend>",
        ":focus-visible",
    ):
        assert part in PAGE
