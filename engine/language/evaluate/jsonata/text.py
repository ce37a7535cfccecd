"""JSONata as text: its tokens, and how an expression is written for jlens, which reads it otherwise than it should.

jlens takes no regular expression right after ``(`` or ``[``; and a division by zero gives it a number that is none,
which JSON has as null; and it makes a range before it looks how long that is. All are put right in the text: ``[/a/]``
is handed over as ``[(true?/a/:0)]``, ``$a / $b`` as ``$a / $_divisor($b)``, and ``[$a..$b]`` as ``[$_range($a,$b)]``,
whose definitions are in ``jsonata_functions.PRELUDES``.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

DIVISOR: Final = "_divisor"
"""The function that lets every divisor but zero pass."""

RANGE: Final = "_range"
"""The function that makes a range, unless that is too long."""

SHORT_MAX: Final = 1000
"""A range between two numbers that are not further apart is left as it is."""

PICTURED: Final = frozenset({"fromMillis", "toMillis", "formatNumber", "formatInteger", "parseInteger"})
"""Functions whose second argument is a picture."""

PICTURE_MAX: Final = 64
"""A picture of so many characters costs next to nothing, unless it has words."""

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+ | /\*.*?(?:\*/|\Z))
      | (?P<text>"(?:[^"\\]|\\.)*"? | '(?:[^'\\]|\\.)*'? | `[^`]*`?)
      | (?P<variable>\$\$ | \$\w*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>\w+)
      | (?P<operator>\.\. | := | != | <= | >= | \*\* | ~> | \?: | \?\? | .)""",
    re.VERBOSE | re.DOTALL,
)
_FLAGS: Final = re.compile(r"[a-z]*")
_WORDS: Final = frozenset({"and", "or", "in"})
"""Operators that are written as names."""

_PLAIN: Final = 3
"""The tokens of a range of two numbers, the dots included."""

_Edit: TypeAlias = tuple[int, str, str]
"""A place in an expression, what stands there and goes, and what comes instead."""

_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}
_SUFFIXES: Final = frozenset({"(", "[", "{"})
"""What goes on with an operand, and binds closer than a division does."""


class Token(NamedTuple):
    """A part of an expression: ``kind`` is text, variable, number, name, pattern or operator."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where it ends in the expression."""
        return self.start + len(self.text)

    @property
    def is_complete(self) -> bool:
        """Whether an operand ends with it, after which an operator follows."""
        if self.kind == "operator":
            return self.text in ")]}"
        return not (self.kind == "name" and self.text in _WORDS)


class _Item(NamedTuple):
    """An item of an array: the token that it starts with, and that of the two dots in it, if there are some."""

    start: int
    dots: int | None = None


def tokens(source: str) -> Iterator[Token]:
    """List the tokens of an expression, blanks and comments left out. Any text has some."""
    position, before = 0, None
    while position < len(source):
        token = _next(source, position, before)
        if token.kind != "blank":
            yield token
            before = token
        position = token.end


def _next(source: str, position: int, before: Token | None) -> Token:
    match = _TOKEN.match(source, position)
    if match is None:
        raise AssertionError("every character begins a token")
    kind, text = match.lastgroup or "", match.group()
    if kind != "operator" or (before is not None and before.is_complete):
        return Token(kind, text, position)
    if text == "/":
        return Token("pattern", source[position : _pattern_end(source, position)], position)
    return Token("name" if text in ("*", "**", "%") else kind, text, position)  # a wildcard, or the parent


def _pattern_end(source: str, start: int) -> int:
    """Where a regular expression ends: after the first slash that is in no brackets, and its flags."""
    depth, position = 0, start + 1
    while position < len(source):
        character = source[position]
        if character == "\\":
            position += 1
        elif character == "/" and depth == 0:
            flags = _FLAGS.match(source, position + 1)
            return flags.end() if flags else position + 1
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        position += 1
    return len(source)


def readable(source: str) -> str:
    """Write an expression so that jlens reads it as JSONata says."""
    found = list(tokens(source))
    edits = _ranges(found)
    for index, token in enumerate(found):
        if token.kind == "pattern" and index and found[index - 1].text in ("(", "["):
            edits += ((token.start, "", "(true?"), (token.end, "", ":0)"))
        elif token.kind == "operator" and token.text in ("/", "%"):
            edits += _guard(found, index + 1)
    parts: list[str] = []
    position = 0
    for start, replaced, text in sorted(
        edits, key=lambda edit: (edit[0], edit[1])
    ):  # what is put before it comes first
        parts += (source[position:start], text)
        position = start + len(replaced)
    return "".join(parts) + source[position:]


def _ranges(found: list[Token]) -> list[_Edit]:
    """Say how the ranges of array constructors are written as calls of RANGE, unless they are short ones of numbers."""
    edits: list[_Edit] = []
    around: list[_Item | None] = []  # the item that each open bracket is in; None in brackets that make no array
    for index, token in enumerate(found):
        item = around[-1] if around else None
        if token.kind != "operator":
            continue
        if token.text in _PAIRS:
            is_array = token.text == "[" and not (index and found[index - 1].is_complete)
            around.append(_Item(index + 1) if is_array else None)
        elif token.text == ".." and item is not None and item.dots is None:
            around[-1] = item._replace(dots=index)
        elif token.text in (",", ")", "]", "}"):
            if item is not None and item.dots is not None:
                edits += _call(found, item.start, item.dots, index)
            if token.text != ",":
                del around[-1:]
            elif item is not None:
                around[-1] = _Item(index + 1)
    return edits


def _call(found: list[Token], start: int, dots: int, end: int) -> list[_Edit]:
    """Say how the range between these tokens is written as a call; nothing if it has no two ends, or is short."""
    if not start < dots < end - 1 or (end - start == _PLAIN and _is_short(found[start], found[dots + 1])):
        return []
    last = found[end - 1]
    return [(found[start].start, "", f"${RANGE}("), (found[dots].start, "..", ","), (last.end, "", ")")]


def _is_short(first: Token, last: Token) -> bool:
    return first.kind == last.kind == "number" and float(last.text) - float(first.text) < SHORT_MAX


def _guard(found: list[Token], start: int) -> list[_Edit]:
    """Say what to put around the divisor that starts with a token; nothing if it is a number, and not zero."""
    end = _operand_end(found, start)
    if end is None:
        return []
    if end == start + 1 and found[start].kind == "number" and float(found[start].text):
        return []
    return [(found[start].start, "", f"${DIVISOR}("), (found[end - 1].end, "", ")")]


def _operand_end(found: list[Token], index: int) -> int | None:
    """Find the token after an operand; None if it does not end, or is no operand."""
    while index < len(found) and found[index].text == "-":
        index += 1
    end = _primary_end(found, index)
    while end is not None and end < len(found):
        following = found[end]
        if following.kind != "operator":
            break
        if following.text in _SUFFIXES:
            end = _closing(found, end)
        elif following.text in (".", "@", "#"):
            end = _primary_end(found, end + 1)
        else:
            break
    return end


def _primary_end(found: list[Token], index: int) -> int | None:
    if index >= len(found):
        return None
    if found[index].kind != "operator":
        return index + 1
    return _closing(found, index) if found[index].text in _PAIRS else None


def _closing(found: list[Token], index: int) -> int | None:
    """Find the token after the bracket that closes the one at an index."""
    waiting: list[str] = []
    for position in range(index, len(found)):
        token = found[position]
        if token.kind != "operator":
            continue
        if token.text in _PAIRS:
            waiting.append(_PAIRS[token.text])
        elif token.text in ")]}" and (not waiting or waiting.pop() != token.text):
            return None
        if not waiting:
            return position + 1
    return None


def with_costly_pictures(found: list[Token]) -> set[str]:
    """Name the functions of PICTURED that an expression does not only call with a short picture that stands in it."""
    return {
        token.text[1:]
        for index, token in enumerate(found)
        if token.kind == "variable" and token.text[1:] in PICTURED and not _has_short_picture(found, index)
    }


def _has_short_picture(found: list[Token], index: int) -> bool:
    """Say whether the function that stands here is called, with a short picture or none."""
    if index + 1 >= len(found) or found[index + 1].text != "(" or (index and found[index - 1].text == "~>"):
        return False
    depth, commas, picture = 0, 0, list[Token]()
    for token in found[index + 2 :]:
        if token.kind == "operator" and token.text in _PAIRS:
            depth += 1
        elif token.kind == "operator" and token.text in (")", "]", "}"):
            depth -= 1
            if depth < 0:
                break
        elif token.text == "," and depth == 0:
            commas += 1
            continue
        if commas == 1:
            picture.append(token)
    if not picture:
        return True
    is_short = len(picture) == 1 and picture[0].kind == "text" and len(picture[0].text) <= PICTURE_MAX
    return is_short and "w" not in picture[0].text.lower()
