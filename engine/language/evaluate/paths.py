"""Reference paths and JSONPath: the values of a state's input or of the context object that a definition names.

A path is compiled once, when its definition is, and then called for every execution. Two kinds:

- A *reference path* (`$`, `$.a.b`, `$.a[0]['c d']`) names one place. Nearly all paths are of this
  kind, so they are parsed here and become a walk over dicts and lists that costs well under 1 µs.
- Everything else (`[*]`, `[1:5]`, `..`, `[?(…)]`, `[0,1]`) is left to `jsonpath`, and gives the
  list of what it matches, empty if nothing does (recorded: base/test_base.py,
  test_json_path_array_wildcard_or_slice_with_no_input).

A path starts from the value it is given (`$`), from the context object (`$$`), or from a variable
(`$name`). The first kind never looks at its environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from perdure.engine.language.evaluate import jsonpath
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.values import MISSING, Json, shown

PATH_MAX: Final = 1024
"""Characters of a path: enough for anybody, and a bound on what compiling one can cost."""

STEPS_MAX: Final = 64
"""Steps of a reference path: no value that we store is deeper."""

BLANKS: Final = " \t\r\n"
"""Text after a path that is ignored: AWS accepts it, and real definitions have it."""

Steps: TypeAlias = tuple[str | int, ...]
"""A reference path as member names and array indexes; empty for `$`."""

Find: TypeAlias = Callable[[Json, Environment], Json]
"""`find(value, env)`: what the path finds, or MISSING."""

CONTEXT: Final = "$"
"""The root of a path that starts from the context object, as `Path.root` has it."""

RESERVED: Final = "states"
"""The one name that no variable has."""

NAME_MAX: Final = 80
"""Characters of a variable's name (AWS: Passing data between states with variables)."""

# One step of a reference path. A name after a dot runs to the next dot or bracket: AWS's reader takes
# `$.delivery-partner` and `$.@type`, which RFC 9535 does not. `.[` is its leniency too.
_STEP: Final = re.compile(
    r"""\.(?P<name>[^\s.\[\]()*'",?]+)
      | \.?\[\s*(?:(?P<index>-?[0-9]{1,9}) | (?P<quoted>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*"))\s*\]""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}
_VARIABLE: Final = re.compile(r"\$(?P<name>[^\W\d]\w*)")


class PathError(ValueError):
    """A text that is no path of the language, or one that is not supported; its text says why."""


class Path(msgspec.Struct, frozen=True):
    """A compiled path.

    `text`: the path as written.
    `steps`: its steps below its root if it is a reference path, else None.
    `root`: where it starts: "" for the value that it is given, CONTEXT, or the name of a variable.
    `find`: `find(value, env)` gives what is there, or MISSING where a reference path finds nothing. What a reference
        path gives is the very object that stands there, never a copy.
    """

    text: str
    steps: Steps | None
    root: str
    find: Find

    @property
    def is_identity(self) -> bool:
        """Whether this is `$`, which gives its value unchanged."""
        return self.steps == () and not self.root


def is_variable_name(name: str) -> bool:
    """Say whether a variable may have this name: a Unicode identifier of NAME_MAX characters, not `states`."""
    return name.isidentifier() and len(name) <= NAME_MAX and name != RESERVED


def compile_path(text: str) -> Path:
    """Compile a path of any kind.

    Raises PathError: the text is no path, or needs what is not supported.
    """
    if len(text) > PATH_MAX:
        raise PathError(f"a path has at most {PATH_MAX} characters")
    text = text.rstrip(BLANKS)
    root, rooted = _split_root(text)
    steps = parse_steps(rooted)
    return Path(text, steps, root, _from_root(root, _search(rooted) if steps is None else _walk(steps)))


def _search(rooted: str) -> Find:
    """Compile a path that can match several places."""
    try:
        match_all = jsonpath.compile_query(rooted)
    except ValueError as error:
        raise PathError(str(error)) from None
    return lambda value, _env: match_all(value)


def _split_root(text: str) -> tuple[str, str]:
    """Give the root of a path, and the path as it would be written from `$`."""
    if not text.startswith("$"):
        raise PathError("a path starts with $")
    if text.startswith("$$"):
        return CONTEXT, text[1:]
    variable = _VARIABLE.match(text)
    if variable is None:
        return "", text
    name = variable["name"]
    if name == RESERVED:
        raise PathError(f"${RESERVED} is there in JSONata only")
    if not is_variable_name(name):
        raise PathError(f"{shown(name)} cannot be the name of a variable")
    return name, "$" + text[variable.end() :]


def _from_root(root: str, find: Find) -> Find:
    if not root:
        return find
    if root == CONTEXT:
        return lambda _value, env: find(env.context, env)

    def find_in_variable(_value: Json, env: Environment) -> Json:
        value = env.evaluation.variable(root)
        return MISSING if value is MISSING else find(value, env)

    return find_in_variable


def compile_reference_path(text: str) -> Path:
    """Compile a path that must name one place.

    Raises PathError: it is no path, or one that can match several places.
    """
    path = compile_path(text)
    if path.steps is None:
        raise PathError("a reference path is needed here: only .name, [0] and ['name'] may follow the $")
    return path


def parse_steps(text: str) -> Steps | None:
    """Read a reference path that starts with one `$`; None if the text is something else.

    Raises PathError: it is one, but too long, or a name in it is not Unicode.
    """
    steps: list[str | int] = []
    position = 1
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            return None
        name, index, quoted = match.group("name", "index", "quoted")
        if quoted is not None:
            steps.append(_unquoted(quoted))
        else:
            steps.append(name if name is not None else int(index))
        position = match.end()
    if len(steps) > STEPS_MAX:
        raise PathError(f"a path has at most {STEPS_MAX} steps")
    return tuple(steps)


def _unquoted(quoted: str) -> str:
    r"""Read a name in quotes. What is no escape, such as \" within '…', stands for itself.

    Recorded: scenarios/test_base_scenarios.py, test_escape_sequence_parsing[ESCAPE_SEQUENCES_JSONPATH].
    """

    def unescape(escape: re.Match[str]) -> str:
        code, character = escape.groups()
        if code is not None:
            return chr(int(code, 16))
        return character if character == quoted[0] else _ESCAPED.get(character, escape.group())

    name = _ESCAPE.sub(unescape, quoted[1:-1])
    try:  # two escapes may make up one character beyond U+FFFF
        return name.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise PathError("a name in quotes is not Unicode: it holds half of a surrogate pair") from None


def _walk(steps: Steps) -> Find:
    """Make the quickest function that follows the steps."""
    if not steps:
        return lambda value, _env: value
    names = tuple(step for step in steps if isinstance(step, str))
    if len(names) < len(steps):
        return lambda value, _env: follow(value, steps)
    return _members(names)


def _members(names: tuple[str, ...]) -> Find:
    def find(value: Json, _env: Environment) -> Json:
        try:
            for name in names:
                value = value[name]
        except (KeyError, TypeError):  # a text as index is a TypeError for everything but objects
            return MISSING
        return value

    return find


def follow(value: Json, steps: Steps) -> Json:
    """Follow steps from a value: what stands there, or MISSING.

    Names are looked up in objects only and indexes in arrays only; a negative index counts from the end.
    """
    for step in steps:
        if isinstance(step, str):
            if type(value) is not dict or (value := value.get(step, MISSING)) is MISSING:
                return MISSING
        elif type(value) is list and -len(value) <= step < len(value):
            value = value[step]
        else:
            return MISSING
    return value
