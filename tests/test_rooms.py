"""Rooms: which part of the house may import which, and that no imports run in a circle.

All of it reads the source and imports none of it. An import in a function, and one for type checking alone, count as
well: whoever reads the one module must know the other.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

from tests.test_tidy import ROOT, SHIPPED, Module, is_within, modules, report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDERS = ("engine", "store", "api", "perdure/cli")

ENTRIES_MAX = 10

# The rooms of each folder, the lowest first: each imports of its folder what stands in lines before its own, and
# nothing of its own line or of later ones. A new room gets a place here.
ROOMS = {
    ".": """
        store
        engine
        api
        cli
    """,
    "engine": """
        errors shown suggestions
        calendar fairness language yaml_text
        core
        limits log
        history steps
        runtime
        audit services
        compose database views
        following second_chances
        documented
        embedded
        testing
    """,
    "engine/language": """
        errors instants values
        diagnostics
        evaluate
        model
        parse
        analysis
        formats
        public
    """,
    "engine/runtime": """
        clock holds telemetry tuning
        streams
        watch
        callers
        processing
        workers
        node
    """,
    "store": """
        schedule_records
        errors forks records
        columns run_filter viewer audited
        retained
        batch chain migrations protocols schema
        migrate sql
        memory sqlite
    """,
    "store/sqlite": """
        errors inode location
        bulk compile lock schema_check
        readers statements
        checkup writer
        store
    """,
    "api": """
        actor client logging validation
        settings
        http
        dialects
        openapi
        app demo
        server
    """,
    "api/dialects": """
        schemas status_words
        envelopes pauses run_commands spellings
        root
        health process resource runs service
    """,
    "perdure/cli": """
        arguments filter_options options output setting_options
        event_lines runner step_lines
        document_text names
        targets
        commands
        main
    """,
}


@cache
def shipped() -> Mapping[str, Module]:
    """Return all modules by the name under which they are imported."""
    return {name_of(module): module for module in modules(*FOLDERS)}


def name_of(module: Module) -> str:
    parts = ["perdure", *module.path.with_suffix("").parts]
    parts = parts[1:] if parts[1] == "perdure" else parts  # the command line stands there, the other folders are links
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(name: str) -> Mapping[str, int]:
    """Return what of ours a module imports, and in which line."""
    found: dict[str, int] = {}
    for line, full in shipped()[name].imports:
        target = full if full in shipped() else full.rpartition(".")[0]
        if target in shipped() and target != name:
            found.setdefault(target, line)
    return found


def layers(folder: str) -> dict[str, int]:
    """Return the line in which each room of a folder stands."""
    lines = ROOMS[folder].strip().splitlines()
    return {room: number for number, line in enumerate(lines) for room in line.split()}


def room_of(name: str, folder: str) -> str | None:
    """Return the room of a folder that a module is in; none if it is elsewhere, or the folder's own `__init__`."""
    package = "perdure" if folder == "." else "perdure." + folder.removeprefix("perdure/").replace("/", ".")
    if not is_within(name, package) or name == package:
        return None
    return name[len(package) + 1 :].partition(".")[0]


def upward(folder: str) -> Iterator[str]:
    """Yield the imports in a folder that do not go down."""
    places = layers(folder)
    for name, module in shipped().items():
        room = room_of(name, folder)
        if room is None:
            continue
        if room not in places:
            yield f"{module.path}:1: {folder}/{room} has no place among the rooms of {folder}: give it one in ROOMS"
            continue
        for target, line in imported(name).items():
            other = room_of(target, folder)
            if other is not None and other != room and places.get(other, 0) >= places[room]:
                yield (
                    f"{module.path}:{line}: must not import {target}: in {folder}, {room} stands below {other} "
                    f"or beside it; pass in what it needs, or move what both need down"
                )


def circles() -> list[list[str]]:
    """Return every circle of imports: the modules that lead to each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        path.append(name)
        for target in imported(name):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in path:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            start = path.index(name)
            if len(path) > start + 1:
                found.append(sorted(path[start:]))
            del path[start:]

    for name in shipped():
        if name not in index:
            visit(name)
    return found


def test_no_imports_run_in_a_circle() -> None:
    """No module leads back to itself, however late or for whatever purpose it imports."""
    report([f"imports run in a circle: {', '.join(circle)}: let one be given what it needs" for circle in circles()])


def test_imports_go_down() -> None:
    """Each room imports lower ones only."""
    report([problem for folder in ROOMS for problem in upward(folder)])


def test_each_room_that_has_a_place_is_there() -> None:
    """A room that is gone is struck out."""
    there = {folder: {room_of(name, folder) for name in shipped()} for folder in ROOMS}
    report(
        [f"ROOMS: {folder}/{room} is gone" for folder in ROOMS for room in layers(folder) if room not in there[folder]]
    )


def test_what_is_inside_does_not_import_what_is_shown() -> None:
    """A package's `__init__` gathers what others may use; the package's own modules import each other."""
    shown = {"perdure.engine", "perdure.engine.language", "perdure.api", "perdure.store"}
    report(
        [
            f"{module.path}:{imported(name)[package]}: must not import {package}, which it is in: import the module"
            for name, module in shipped().items()
            for package in shown & imported(name).keys()
            if is_within(name, package)
        ]
    )


def test_nobody_imports_by_the_name_of_the_folder() -> None:
    """What is imported is `perdure`: somebody else's `engine`, `api` or `store` may stand before ours."""
    report(
        [
            f"{module.path}:{line}: imports {name}: import perdure.{name}"
            for module in modules(*SHIPPED, "perdure/__init__.py", "tests")
            for line, name in module.imports
            if name.partition(".")[0] in FOLDERS
        ]
    )


def test_the_largest_rooms_can_be_looked_over() -> None:
    """The folders of the runtime and of the language have ten entries at most, beside their `__init__`."""
    for folder in ("engine/runtime", "engine/language"):
        entries = {path.name for path in (ROOT / folder).iterdir() if not path.name.startswith("__")}
        assert len(entries) <= ENTRIES_MAX, f"{folder}: {sorted(entries)}: make a room of some that belong together"


def test_the_api_does_not_reach_into_the_node() -> None:
    """What it wants to know of an engine it asks the engine."""
    report(
        [
            f"{module.path}:{node.lineno}: must not look into {ast.unparse(node)}: ask Engine for what all may see"
            for module in modules("api", "perdure/cli")
            for node in module.of(ast.Attribute)
            if node.attr == "node"
        ]
    )
