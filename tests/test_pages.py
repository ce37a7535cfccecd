"""The pages of the project, and what the code says of them: nothing that is cited is missing, no page is left behind.

Paths, modules, tests, pages and their sections, wherever they are cited in a page, a docstring or a comment.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.test_tidy import module_at

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("engine", "store", "api", "perdure/cli", "tests", "benchmarks")

# What was true on its day is not rewritten.
DATED = {"CHANGELOG.md", *(f"engine/adr/{path.name}" for path in (ROOT / "engine" / "adr").glob("[0-9]*.md"))}

PATH = re.compile(rf"(?<![\w./*-])(?P<path>(?:{'|'.join(ROOMS)})/[\w./-]*\w/?)(?:::(?P<test>\w+))?")
MODULE = re.compile(rf"(?<![\w./*-])(?P<name>(?:{'|'.join(ROOMS)})(?:\.(?!md\b)[A-Za-z_]\w*)+)(?![\w/-])")
BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
NEIGHBOUR = re.compile(r"`(?P<name>[\w-]+\.py)`")
COMMENT = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?P<comment>\#[^\n]*)""",
    re.DOTALL,
)
"""A comment, or a string, in which a # begins none."""
CITED_PAGE = re.compile(r"(?<![\w/-])(?P<page>[\w./-]*\w\.md)\b`?(?:,\s+\"(?P<section>[^\"]+)\")?")


class Text(NamedTuple):
    """Something that is read by people: where it stands, and what it says."""

    path: str
    line: int
    words: str

    def at(self, found: re.Match[str]) -> str:
        """Where something stands in it."""
        return f"{self.path}:{self.line + self.words.count(chr(10), 0, found.start())}"


def _pages() -> Iterator[Text]:
    for path in [*ROOT.glob("*.md"), *(page for room in ROOMS for page in (ROOT / room).rglob("*.md"))]:
        name = path.relative_to(ROOT).as_posix()
        if name not in DATED:
            yield Text(name, 1, path.read_text(encoding="utf-8"))


def _sources() -> Iterator[Path]:
    yield ROOT / "dev.py"
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))


def _told(path: Path) -> Iterator[Text]:
    """The docstrings and comments of a module, comments that follow one another as one."""
    module = module_at(path)
    name = module.path.as_posix()
    for node in module.of(ast.Expr):
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Text(name, node.lineno, node.value.value)
    comments = list(_comments(path.read_text(encoding="utf-8")))
    block: list[str] = []
    for place, (line, words) in enumerate(comments):
        block.append(words.lstrip("# "))
        following = comments[place + 1][0] if place + 1 < len(comments) else None
        if following != line + 1:
            yield Text(name, line - len(block) + 1, "\n".join(block))
            block = []


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Each comment with its line; as `tokenize` has them, and a hundred times as fast."""
    line = place = 0
    for found in COMMENT.finditer(source):
        if found["comment"]:
            line += source.count("\n", place, found.start())
            place = found.start()
            yield line + 1, found["comment"]


@cache
def texts() -> list[Text]:
    """All that is read by people: pages, docstrings, comments."""
    return [*_pages(), *(text for path in _sources() for text in _told(path))]


def report(problems: list[str]) -> None:
    """Fail with one line for each problem, if there is any."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@cache
def names_in(path: Path) -> frozenset[str]:
    """What a module defines or imports at its top, and the tests in it."""
    found: set[str] = set()
    for node in module_at(path).tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        else:
            found |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return frozenset(found)


def test_every_path_that_is_cited_exists() -> None:
    """A file, a folder, or a test in a file."""
    problems = []
    for text in texts():
        for cited in PATH.finditer(text.words):
            path = ROOT / cited["path"]
            if not path.exists():
                problems.append(f"{text.at(cited)}: {cited['path']} is not there")
            elif cited["test"] and cited["test"] not in names_in(path):
                problems.append(f"{text.at(cited)}: {cited['path']} has no {cited['test']}")
    report(problems)


def test_every_neighbour_that_is_cited_exists() -> None:
    """A module by its bare name is one of the same folder, or of the project's."""
    problems = []
    for text in texts():
        for cited in NEIGHBOUR.finditer(text.words):
            places = ((ROOT / text.path).parent, ROOT)
            if not any((place / cited["name"]).is_file() for place in places):
                problems.append(f"{text.at(cited)}: {cited['name']} is not there")
    report(problems)


def test_every_module_that_is_cited_exists() -> None:
    """With what is cited of it, as far as that stands at its top."""
    problems = []
    for text in texts():
        for cited in MODULE.finditer(BLOCK.sub(_blank, text.words)):  # a program has objects of its own
            problem = _missing(cited["name"])
            if problem is not None:
                problems.append(f"{text.at(cited)}: {problem}")
    report(problems)


def _blank(block: re.Match[str]) -> str:
    return "\n" * block[0].count("\n")


def _missing(name: str) -> str | None:
    place = ROOT
    parts = name.split(".")
    for number, part in enumerate(parts):
        if (place / part).is_dir():
            place /= part
            continue
        module = place / f"{part}.py"
        if module.exists():
            rest = parts[number + 1 :]
            return None if not rest or rest[0] in names_in(module) else f"{name}: {module.name} has no {rest[0]}"
        package = place / "__init__.py"
        is_there = package.exists() and part in names_in(package)
        return None if is_there else f"{name}: there is no {part}"
    return None


def test_every_page_that_is_cited_exists() -> None:
    """By its path from the project's folder (or in its own), with the section that is named."""
    problems = []
    for text in texts():
        for cited in CITED_PAGE.finditer(text.words):
            page, section = cited["page"], cited["section"]
            path = next((p for p in (ROOT / page, (ROOT / text.path).parent / page) if p.is_file()), None)
            if path is None:
                if text.path != "engine/adr/README.md":  # it says what the records mean by such names
                    problems.append(f"{text.at(cited)}: there is no page {page}: name it by its path")
            elif section is not None:
                title = re.sub(r"\s+", " ", section).rstrip(".")
                if not re.search(rf"^#+ {re.escape(title)}$", path.read_text(encoding="utf-8"), re.MULTILINE):
                    problems.append(f"{text.at(cited)}: {page} has no section {title!r}")
    report(problems)


def test_dialects_go_by_their_names() -> None:
    """Not by the numbers of documents that nobody has."""
    report(
        [
            f"{text.at(found)}: {found[0]!r}: say the dialect's name"
            for text in texts()
            if (found := _numbered(text.words))
        ]
    )


def _numbered(words: str) -> re.Match[str] | None:
    return re.search(r"\bseed[s_ ]*`?0\d\d|`0\d\d_\*`|\bseed's\b", words, re.IGNORECASE)


STRINGS = r"""
s = 'it # is' "none" # "one"
t = r"#\"#" #two
u = '''it's
# none'''; '\\' # it's three
# four"""


def test_comments_are_found_as_python_finds_them() -> None:
    """Whatever strings are around them."""
    for source in (STRINGS, Path(__file__).read_text(encoding="utf-8")):
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        found = [(each.start[0], each.string) for each in tokens if each.type == tokenize.COMMENT]
        assert list(_comments(source)) == found


# --- decision records ------------------------------------------------------------------------------------------------


def test_the_index_has_every_record() -> None:
    """Each with its number and its title, in order; and each has a status and a line."""
    index = (ROOT / "engine" / "adr" / "README.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in index.splitlines() if line.startswith("| [")]
    records = []
    for path in sorted((ROOT / "engine" / "adr").glob("[0-9]*.md")):
        number, title = re.fullmatch(r"# (\d+)\. (.*)", path.read_text(encoding="utf-8").splitlines()[0]).groups()  # type: ignore[union-attr]
        assert int(path.name[:4]) == int(number), path.name
        records.append([f"[{number}]({path.name})", title])
    assert [row[:2] for row in rows] == records
    assert all(len(row) == 4 and all(row) for row in rows)


# --- the architecture ------------------------------------------------------------------------------------------------

ARCHITECTURE = ROOT / "engine" / "ARCHITECTURE.md"


def test_every_room_is_in_the_architecture() -> None:
    """Every package has its row in the table of rooms."""
    rooms = ARCHITECTURE.read_text(encoding="utf-8").split("\n## Rooms\n")[1].split("\n## ")[0]
    cells = " ".join(line.split("|")[1] for line in rooms.splitlines() if line.startswith("| `"))
    packages = {
        path.parent for room in ("engine", "store", "api", "perdure/cli") for path in (ROOT / room).rglob("__init__.py")
    }
    missing = [
        name
        for path in sorted(packages)
        if (name := f"{path.relative_to(ROOT).as_posix()}/") not in {cell.strip("`,") for cell in cells.split()}
        and path.name != "versions"
    ]
    assert missing == []


def test_the_architecture_has_its_paths_in_tables() -> None:
    """So that who moves a module finds them."""
    lines = ARCHITECTURE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if PATH.search(line) and ".py`" in line and not line.startswith("|")] == [
        "Held by `tests/test_tidy.py`, and by `tests/test_rooms.py`, which has the order of the rooms:"
    ]
