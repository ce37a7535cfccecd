"""Tokens, texts and names in the expressions of templates."""

from __future__ import annotations

import json
import re
from typing import Final

from perdure.engine.language.evaluate.jsonata.text import Token, tokens
from perdure.engine.language.formats.names import TemplateRefused
from perdure.engine.language.values import shown

TOKENS_MAX: Final = 5_000
"""Tokens of one expression."""

_JOINED: Final = ("===", "!==", "==", "&&", "||", "?.")
"""Operators that JSONata has not, so that its tokenizer takes them apart."""

PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS: Final = frozenset({"and", "or", "in", "function", "true", "false", "null"})
_BACKSLASH: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES: Final = {'"': '"', "'": "'", "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def joined(source: str) -> list[Token]:
    """List the tokens of an expression, operators of JavaScript in one piece. Raises TemplateRefused: too many."""
    found: list[Token] = []
    for token in tokens(source):
        if len(found) >= TOKENS_MAX:
            raise TemplateRefused(f"an expression has at most {TOKENS_MAX} parts")
        before = found[-1] if found else None
        if (
            before is not None
            and before.kind == token.kind == "operator"
            and before.end == token.start
            and before.text + token.text in _JOINED
        ):
            found[-1] = Token("operator", before.text + token.text, before.start)
        else:
            found.append(token)
    return found


def text_of(value: str) -> str:
    """Write a text as a constant of JSONata."""
    return json.dumps(value, ensure_ascii=False)


def text_name(name: str) -> str:
    """Write the name of a member as a step of a path."""
    return name if PLAIN.fullmatch(name) and name not in _WORDS else text_of(name)


def unquoted(token: Token) -> str:
    """Read the text of a token in quotes. Raises TemplateRefused: it has no end, or an escape that means nothing."""
    quote = token.text[0]
    if len(token.text) < len("''") or not token.text.endswith(quote):
        raise TemplateRefused(f"the text {shown(token.text)} has no end")
    inner = token.text[1:-1]
    if quote == "`":
        return inner
    text = _BACKSLASH.sub(_unescaped, inner)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs of escapes are one character


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    if code not in _ESCAPES:
        raise TemplateRefused(f"\\{code} means nothing in a text")
    return _ESCAPES[code]
