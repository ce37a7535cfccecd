"""Style as a test: where modules may point, how long they may grow, what tests look like.

Each failure names file, line, and what to do. All of it reads the source and imports none of it.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

# Ratchets: turn them down when the code allows it, never up.
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
TEST_SLEEP_S_MAX = 0.1

SHIPPED = ("engine", "store", "api", "perdure/cli", "benchmarks", "dev.py")
PURE = ("engine/core", "engine/language")
IMPURE = (
    *("asyncio", "logging", "os", "random", "secrets", "socket", "time", "uuid.uuid1", "uuid.uuid4"),
    *("aiohttp", "aiosqlite", "sqlalchemy", "starlette", "structlog"),
    *("perdure.api", "perdure.engine.runtime", "perdure.engine.steps", "perdure.store"),
)
IMPURE_CALLS = ("now", "today", "utcnow", "uuid1", "uuid4")
DIALECTS = ("process", "resource", "runs", "service")
# Where: what must not be imported there, and what to do instead.
ARROWS = {
    "engine/core": (IMPURE, "pure code is given its time, chance and data: let perdure.engine.runtime pass them in"),
    "engine/language": (
        (*IMPURE, "perdure.engine.core"),
        "the language knows no executions: move what both need into perdure.engine.language, or pass it in",
    ),
    "engine": (("perdure.api",), "the engine serves any caller: let api import it"),
    "api/client": (
        (
            "perdure.engine",
            "perdure.store",
            "starlette",
            "click",
            "perdure.cli.commands",
            "perdure.api.dialects",
            "perdure.api.validation",
            "perdure.api.http.problems",
        ),
        "the client is on its own: write what both need twice, and let a test compare",
    ),
    "api/http": (
        ("perdure.api.app", "perdure.cli", "perdure.api.dialects", "perdure.api.openapi"),
        "what every request goes through knows no API of its own: ask the route's Dialect",
    ),
    **{
        f"api/dialects/{name}": (
            tuple(f"perdure.api.dialects.{other}" for other in DIALECTS if other != name),
            "a dialect knows no other: move what both need into api/dialects, or into a service",
        )
        for name in DIALECTS
    },
    "store": (
        ("perdure.api", "perdure.engine"),
        "the store takes and gives records: let perdure.engine.runtime translate",
    ),
}


# Type names that may be defined in several of these files or folders: those listed, or any if none is. And why.
TWICE = (
    (
        (
            "api/client/results.py",
            "api/client/action_results.py",
            "api/client/chance_results.py",
            "api/client/document_results.py",
            "api/client/documents.py",
            "api/client/execution_results.py",
            "api/client/key_results.py",
            "api/client/many_results.py",
            "api/client/pause_results.py",
            "api/client/schedule_results.py",
            "api/dialects/",
        ),
        (),
        "the client imports nothing of the server, and names its results as the API's document names the schemas",
    ),
    (
        ("api/client/errors.py", "engine/errors.py", "engine/services/principals.py", "api/http/problems.py"),
        (),
        "a client raises, under the same names, what an embedded engine raises and the server answers",
    ),
    (
        ("engine/core/events.py", "engine/errors.py", "api/client/errors.py"),
        ("WaitExpired",),
        "the event, and the error of a caller that comes after it",
    ),
    (
        ("engine/core/commands.py", "api/dialects/"),
        ("Resume", "Terminate", "TaskSuccess", "TaskFailure"),
        "a request body is named, in the API's document, as the command that it becomes",
    ),
    (
        ("engine/core/events.py", "api/dialects/", "api/client/results.py"),
        ("TaskFailed",),
        "the event, and the request body or response that go with it, as the API's document names them",
    ),
    (
        ("engine/core/workflow.py", "api/dialects/"),
        ("Definition", "Version"),
        "the core's value, and the part of a request or response that has it, as the API's document names them",
    ),
    (
        ("engine/services/event_log.py", "api/dialects/", "api/client/results.py"),
        ("EventLog", "RunEvents"),
        "the service, and its answer as the API's document names it",
    ),
    (
        ("engine/views.py", "api/dialects/", "api/client/results.py"),
        ("Page", "Result"),
        "public names of three interfaces: the embedded engine, the API's document, the client",
    ),
    (
        ("engine/language/errors.py", "api/dialects/"),
        ("Problem",),
        "a public name of the language, and the API's document's name for an error's body",
    ),
    (
        ("api/dialects/", "api/client/errors.py"),
        ("Refusal",),
        "the API's document's name for an error, and what the client raises for it",
    ),
    (
        ("engine/core/refs.py", "api/dialects/"),
        ("Payloads",),
        "payloads by seq, and the query parameter `payloads`",
    ),
    (
        ("engine/core/events.py", "api/dialects/resource/workflows/setting_schemas.py", "api/client/workflows.py"),
        ("ResumeRule",),
        "one literal: the command line and the client import nothing of the core, so as to start quickly",
    ),
)


KINDS = (
    *(ast.Attribute, ast.Call, ast.Expr),
    *(ast.AsyncFunctionDef, ast.ClassDef, ast.FunctionDef),
    *(ast.Import, ast.ImportFrom),
)
"""The kinds of nodes that anybody asks for."""

Kind = TypeVar("Kind", bound=ast.AST)


class Module(NamedTuple):
    """A source file, read, parsed and walked through once; `path` is relative to the project."""

    path: Path
    lines: int
    tree: ast.Module
    nodes: tuple[ast.AST, ...]

    def of(self, kind: type[Kind]) -> Iterator[Kind]:
        """The nodes of this kind, which is one of KINDS, at any depth."""
        return (node for node in self.nodes if isinstance(node, kind))

    @property
    def calls(self) -> Iterator[ast.Call]:
        return self.of(ast.Call)

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        yield from self.of(ast.FunctionDef)
        yield from self.of(ast.AsyncFunctionDef)

    @property
    def documented(self) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
        """What may have a docstring."""
        yield self.tree
        yield from self.of(ast.ClassDef)
        yield from self.functions

    @property
    def imports(self) -> Iterator[tuple[int, str]]:
        """The line and the full name of everything imported, for type checking alone included."""
        package = self.path.with_suffix("").parts[:-1]
        for plain in self.of(ast.Import):
            yield from ((plain.lineno, alias.name) for alias in plain.names)
        for node in self.of(ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


@cache
def module_at(path: Path) -> Module:
    """Read a file, once for all who look at it."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, str(path))
    nodes = tuple(node for node in ast.walk(tree) if isinstance(node, KINDS))
    return Module(path.relative_to(ROOT), source.count("\n"), tree, nodes)


def modules(*folders: str) -> list[Module]:
    """Read the Python files in these folders of the project, so far as there are any."""
    found: list[Module] = []
    for folder in folders:
        place = ROOT / folder
        paths = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        found += [module_at(path) for path in paths if path.exists()]
    return found


def is_within(name: str, package: str) -> bool:
    """Tell whether the name is the package's or of something in it."""
    return name == package or name.startswith(f"{package}.")


def called(call: ast.Call) -> str:
    """Return the last part of what is called: `now` of `datetime.now()`."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def report(problems: list[str]) -> None:
    """Fail with one line for each problem, if there is any."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_the_core_makes_nothing_that_the_collector_looks_at() -> None:
    """Its structs are part of no cycle, so they are not tracked; those that hold what the driver gives are."""
    tracked = {"Facts", "ScopeContext"}
    for path in sorted((ROOT / "engine" / "core").rglob("*.py")):
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.match(r"class (\w+)\(msgspec\.Struct", line)
            if found and found[1] not in tracked:
                assert "gc=False" in line, f"{path.relative_to(ROOT)}: {found[1]} lacks gc=False (see events.Event)"


def slots_of(path: str, name: str) -> set[str]:
    """Return what stands in the `__slots__` of a class."""
    classes = [
        node for node in module_at(ROOT / path).tree.body if isinstance(node, ast.ClassDef) and node.name == name
    ]
    slots = [node.value for node in classes[0].body if isinstance(node, ast.Assign)]
    return set(ast.literal_eval(slots[0]))


def written(module: Module) -> Iterator[ast.Attribute]:
    """Yield every attribute that is assigned to, or deleted."""
    return (node for node in module.of(ast.Attribute) if isinstance(node.ctx, ast.Store | ast.Del))


def test_a_hot_stream_is_written_by_itself_alone() -> None:
    """Nobody assigns to an attribute of what is called `hot`: the class has a method for whatever happens to it."""
    slots = slots_of("engine/runtime/streams/stream.py", "HotStream")
    assert "stored" in slots
    report(
        [
            f"{module.path}:{target.lineno}: must not assign to {ast.unparse(target)}: give HotStream a method for it"
            for module in modules(*SHIPPED)
            for target in written(module)
            if target.attr in slots and ast.unparse(target.value).split(".")[-1] == "hot"
        ]
    )


def test_imports_follow_the_arrows() -> None:
    """The api points to the engine, the engine to the store, pure code to nothing that waits or varies."""
    report(
        [
            f"{module.path}:{line}: must not import {name}: {advice}"
            for folder, (forbidden, advice) in ARROWS.items()
            for module in modules(folder)
            for line, name in module.imports
            if any(is_within(name, package) for package in forbidden)
        ]
    )


def test_pure_code_reads_no_clock_and_draws_no_ids() -> None:
    """engine.core and engine.language are told what time it is, and which ids are new."""
    report(
        [
            f"{module.path}:{call.lineno}: must not call {called(call)}(): take its result as an argument"
            for module in modules(*PURE)
            for call in module.calls
            if isinstance(call.func, ast.Attribute) and called(call) in IMPURE_CALLS
        ]
    )


def test_pure_code_awaits_nothing() -> None:
    """engine.core and engine.language have no async functions: the driver waits, and they decide."""
    report(
        [
            f"{module.path}:{function.lineno}: {function.name} must not be async: let perdure.engine.runtime await"
            for module in modules(*PURE)
            for function in module.functions
            if isinstance(function, ast.AsyncFunctionDef)
        ]
    )


def test_functions_stay_short() -> None:
    """A function outside the tests does one thing, in at most FUNCTION_LINES_MAX lines."""
    report(
        [
            f"{module.path}:{function.lineno}: {function.name} has {lines} lines, and {FUNCTION_LINES_MAX} "
            "is the most: it does several things, so give each its own function"
            for module in modules(*SHIPPED)
            for function in module.functions
            if (lines := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LINES_MAX
        ]
    )


def test_modules_stay_short() -> None:
    """A module outside the tests has one subject, in at most MODULE_LINES_MAX lines."""
    report(
        [
            f"{module.path}:1: has {module.lines} lines, and {MODULE_LINES_MAX} is the most: split it by subject"
            for module in modules(*SHIPPED)
            if module.lines > MODULE_LINES_MAX
        ]
    )


def test_tests_are_no_package() -> None:
    """No folder of tests is a package, since tests/engine would then shadow engine."""
    report(
        [
            f"{path.relative_to(ROOT)}:1: remove this file: it makes its folder shadow a package of that name"
            for path in sorted((ROOT / "tests").rglob("__init__.py"))
        ]
    )


def test_every_test_says_what_it_shows() -> None:
    """Each test function has a docstring that says the behaviour."""
    report(
        [
            f"{module.path}:{function.lineno}: {function.name} needs a docstring: "
            "say in one sentence how the system behaves"
            for module in modules("tests")
            for function in module.functions
            if function.name.startswith("test_") and not ast.get_docstring(function)
        ]
    )


def test_tests_do_not_wait_for_a_fixed_time() -> None:
    """A test pushes a clock, or polls to a deadline: a fixed sleep is too long here and too short there."""
    report(
        [
            f"{module.path}:{call.lineno}: sleeps {ast.unparse(call.args[0])} s: push the clock, or poll to a deadline"
            for module in modules("tests")
            for call in module.calls
            if called(call) == "sleep"
            if call.args and isinstance(call.args[0], ast.Constant)
            if isinstance(call.args[0].value, int | float) and call.args[0].value > TEST_SLEEP_S_MAX
        ]
    )


def test_the_front_door_needs_only_the_standard_library() -> None:
    """dev.py runs before anything is installed."""
    report(
        [
            f"{module.path}:{line}: must not import {name}: use the standard library"
            for module in modules("dev.py")
            for line, name in module.imports
            if name.partition(".")[0] not in sys.stdlib_module_names
        ]
    )


def test_the_front_door_can_be_read_by_an_old_python() -> None:
    """dev.py parses on Python 3.8, so that it can say there which Python it needs."""
    path = ROOT / "dev.py"
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))


def test_docstrings_have_one_form() -> None:
    """Prose with `single` backquotes: no sections (Args:, Raises: …), no ``double`` backquotes."""
    section = re.compile(r"^\s*(Args|Arguments|Attributes|Raises|Returns|Yields):$", re.MULTILINE)
    report(
        [
            f"{module.path}:{getattr(node, 'lineno', 1)}: {advice}"
            for module in modules("engine", "store", "api", "perdure/cli")
            for node in module.documented
            for pattern, advice in (
                (section, "write what a section says as a sentence: `name`: what it is; Raises X: when"),
                (re.compile(r"(?<!`)``(?!`)"), "use `single` backquotes"),
            )
            if pattern.search(ast.get_docstring(node) or "")
        ]
    )


def test_modules_with_code_defer_their_annotations() -> None:
    """Each has `from __future__ import annotations`; what has a docstring and imports only needs none."""
    report(
        [
            f"{module.path}:1: add `from __future__ import annotations`"
            for module in modules("engine", "api", "perdure/cli", "store/memory", "store/sql", "store/sqlite")
            if any(isinstance(node, ast.AsyncFunctionDef | ast.ClassDef | ast.FunctionDef) for node in module.tree.body)
            and not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in module.tree.body)
        ]
    )


def test_structs_are_declared_in_one_way() -> None:
    """The language's values are msgspec structs or named tuples, as the core's are, and never dataclasses."""
    report(
        [
            f"{module.path}:{line}: make it a msgspec.Struct"
            for module in modules(*PURE)
            for line, name in module.imports
            if is_within(name, "dataclasses")
        ]
    )


def type_names() -> dict[str, set[str]]:
    """The public classes and type aliases of the program by name, each with the modules that define it."""
    found: dict[str, set[str]] = {}
    for module in modules("engine", "store", "api"):
        for node in module.tree.body:
            name = ""
            if isinstance(node, ast.ClassDef):
                name = node.name
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id if getattr(node.annotation, "id", "") == "TypeAlias" else ""
            if name and not name.startswith("_"):
                found.setdefault(name, set()).add(str(module.path))
    return found


def test_no_type_name_stands_for_two_things() -> None:
    """A name has one meaning in the whole program; the exceptions are in TWICE, each with its reason."""
    twice = {name: places for name, places in type_names().items() if len(places) > 1}
    reported = [
        f"{min(places)}: {name} is also defined in {', '.join(sorted(places)[1:])}: rename one of them"
        for name, places in sorted(twice.items())
        if not any(
            name in (names or (name,)) and all(place.startswith(files) for place in places) for files, names, _ in TWICE
        )
    ]
    unused = [
        f"tests/test_tidy.py: {name} has one meaning now: take it out of TWICE"
        for files, names, _ in TWICE
        for name in names
        if not any(place.startswith(files) for place in twice.get(name, ()))
    ]
    report(reported + unused)


def test_docstrings_begin_with_the_thing() -> None:
    """Modules and public classes say what they are in a noun or a verb, and not in a question (What, Where, How …)."""
    question = re.compile(r"(What|Where|How|Who|Whoever|Whether|When|Which|Whatever)\b")
    report(
        [
            f"{module.path}:{getattr(node, 'lineno', 1)}: begin with what it is: a noun of the field, or a verb"
            for module in modules("engine", "store", "api")
            for node in (module.tree, *module.tree.body)
            if isinstance(node, ast.Module) or (isinstance(node, ast.ClassDef) and not node.name.startswith("_"))
            if question.match(ast.get_docstring(node) or "")
        ]
    )
