"""Paths: the parts of a state's input or of the context object that a definition names.

A path is compiled once, when its definition is, and then called for every execution. Two kinds:

- A *reference path* (``$``, ``$.a.b``, ``$.a[0]['c d']``) names one place. Nearly all paths are of this
  kind, so they are parsed here and become a walk over dicts and lists that costs well under 1 µs.
- Everything else (``[*]``, ``[1:5]``, ``..``, ``[?(…)]``, ``[0,1]``) is left to ``jsonpath``, and gives the
  list of what it matches, empty if nothing does (recorded: base/test_base.py,
  test_json_path_array_wildcard_or_slice_with_no_input).

``$$`` is the context object: one ``$`` is stripped, and the context is the root.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Final, TypeAlias

from engine.language import jsonpath
from engine.language.values import MISSING, Context, Json

PATH_MAX: Final = 1024
"""Characters of a path: enough for anybody, and a bound on what compiling one can cost."""

STEPS_MAX: Final = 64
"""Steps of a reference path: no value that we store is deeper."""

Steps: TypeAlias = tuple[str | int, ...]
"""A reference path as member names and array indexes; empty for ``$``."""

Find: TypeAlias = Callable[[Json, Context], Json]
"""``find(input, context)``: the value, or MISSING."""

# One step of a reference path. A name after a dot runs to the next dot or bracket: AWS's reader takes
# `$.delivery-partner` and `$.@type`, which RFC 9535 does not. `.[` is its leniency too.
_STEP: Final = re.compile(
    r"""\.(?P<name>[^\s.\[\]()*'",?]+)
      | \.?\[\s*(?:(?P<index>-?[0-9]{1,9}) | (?P<quoted>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*"))\s*\]""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}
_VARIABLE: Final = re.compile(r"\$[^\W\d]")


class PathError(ValueError):
    """A text that is no path of the language, or one that is not supported; its text says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Path:
    """A compiled path.

    Attributes:
        text: The path as written.
        steps: Its steps if it is a reference path, else None.
        uses_context: Whether it reads the context object.
        find: ``find(input, context)`` gives the value, or MISSING where a reference path finds nothing.
            What a reference path gives is the very object that stands there, never a copy.
    """

    text: str
    steps: Steps | None
    uses_context: bool
    find: Find

    @property
    def is_identity(self) -> bool:
        """Whether this is ``$``, which gives its input unchanged."""
        return self.steps == () and not self.uses_context


def compile_path(text: str) -> Path:
    """Compile a path of any kind.

    Raises:
        PathError: The text is no path, or needs what is not supported.
    """
    uses_context = text.startswith("$$")
    rooted = text[1:] if uses_context else text
    if len(text) > PATH_MAX:
        raise PathError(f"a path has at most {PATH_MAX} characters")
    if not rooted.startswith("$"):
        raise PathError("a path starts with $")
    if _VARIABLE.match(rooted):
        raise PathError("variables are not supported yet")
    steps = parse_steps(rooted)
    if steps is not None:
        return Path(text, steps, uses_context, _walk(steps, uses_context=uses_context))
    try:
        match_all = jsonpath.compile_query(rooted)
    except ValueError as error:
        raise PathError(str(error)) from None
    if uses_context:
        return Path(text, None, True, lambda _value, context: match_all(context))  # noqa: FBT003
    return Path(text, None, False, lambda value, _context: match_all(value))  # noqa: FBT003


def compile_reference_path(text: str) -> Path:
    """Compile a path that must name one place.

    Raises:
        PathError: It is no path, or one that can match several places.
    """
    path = compile_path(text)
    if path.steps is None:
        raise PathError("a reference path is needed here: only .name, [0] and ['name'] may follow the $")
    return path


def parse_steps(text: str) -> Steps | None:
    """Read a reference path that starts with one ``$``; None if the text is something else.

    Raises:
        PathError: It is one, but too long, or a name in it is not Unicode.
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


def _walk(steps: Steps, *, uses_context: bool) -> Find:
    """Make the quickest function that follows the steps."""
    if not steps:
        return (lambda _value, context: context) if uses_context else (lambda value, _context: value)
    names = tuple(step for step in steps if isinstance(step, str))
    if len(names) < len(steps):
        if uses_context:
            return lambda _value, context: follow(context, steps)
        return lambda value, _context: follow(value, steps)
    if uses_context:
        members = _members(names)
        return lambda _value, context: members(context, context)
    return _members(names)


def _members(names: tuple[str, ...]) -> Find:
    def find(value: Json, _context: Context) -> Json:
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
