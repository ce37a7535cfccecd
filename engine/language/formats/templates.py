"""Compiles texts with templates, `{{ … }}`, to fields of a machine in JSONata.

A text that is one template gives the value of its expression, whatever its type; in any other text the values are
joined with what stands between: objects and arrays as JSON, what is null or missing as nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import jlens

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.evaluate.jsonata.compile import CLOSING, OPENING, TEXT_MAX, compile_jsonata
from perdure.engine.language.evaluate.jsonata.functions import BUILT_IN, FUNCTIONS, PRELUDES
from perdure.engine.language.evaluate.jsonata.text import readable, tokens
from perdure.engine.language.formats.expressions import rewrite
from perdure.engine.language.formats.lexemes import text_of
from perdure.engine.language.formats.names import RESERVED, Names, TemplateRefused, unknown
from perdure.engine.language.formats.written import TERNARY, UNARY, Reads, Written
from perdure.engine.language.values import Json, shown

TEMPLATES_MAX: Final = 200
"""Templates in one text."""

_CREDENTIAL: Final = re.compile(
    r"""\s*credentials(?:\.(?P<plain>[\w-]+)|\[\s*(?P<quote>['"])(?P<odd>[^'"\\]+)(?P=quote)\s*])\s*"""
)

AddProblem: TypeAlias = Callable[[JsonPointer, str], None]


class Reference(NamedTuple):
    """A credential that a text names: its value is put in when the step is called, and stands nowhere before."""

    name: str

    @property
    def text(self) -> str:
        """The text that stands for it until then."""
        return f"{{{{credentials.{self.name}}}}}"


Piece: TypeAlias = str | Written | Reference


class Templates:
    """Compiles the texts of one place; adds what is wrong with them to the problems, and raises nothing.

    `reads`: what they read, so far.
    """

    def __init__(self, names: Names, refuse: AddProblem, checked: set[str] | None = None) -> None:
        self._names = names
        self._refuse = refuse
        self._checked = set[str]() if checked is None else checked
        """Expressions in which nothing wrong was found: they need not be read again."""
        self.reads = Reads.none()

    def value(self, value: Json, pointer: JsonPointer) -> Json:
        """Compile any JSON whose texts may have templates, to a field of a state that may be JSONata in part."""
        if type(value) is str:
            return self._field(value, pointer)
        if type(value) is dict:
            return {name: self.value(member, pointer / name) for name, member in value.items()}
        if type(value) is list:
            return [self.value(item, pointer / index) for index, item in enumerate(value)]
        return value

    def expression(self, value: Json, pointer: JsonPointer) -> Written:
        """Compile a value to one expression of JSONata; null if it cannot be one."""
        if type(value) is str:
            written = self._written(value, pointer)
            if written is not None:
                return written
        elif not has_templates(value):
            return Written(json.dumps(value, ensure_ascii=False), kind="constant", may_be_missing=False)
        else:
            self._refuse(pointer, "templates cannot stand inside an array or an object here; write one template")
        return Written("null", kind="constant", may_be_missing=False)

    def _field(self, text: str, pointer: JsonPointer) -> Json:
        written = self._written(text, pointer)
        if written is None:
            return None
        if written.kind == "constant" and written.text.startswith('"'):
            plain = json.loads(written.text)
            return field_of(written) if plain.startswith(OPENING) or plain.endswith(CLOSING) else plain
        return field_of(written)

    def _written(self, text: str, pointer: JsonPointer) -> Written | None:
        """Compile a text; None, with a problem, if it cannot be."""
        try:
            pieces = list(self._pieces(text))
            written = _joined(pieces)
            if any(isinstance(piece, Written) for piece in pieces) and written.text not in self._checked:
                check(written)
                self._checked.add(written.text)
        except TemplateRefused as refusal:
            self._refuse(pointer, str(refusal))
            return None
        return written

    def _pieces(self, text: str) -> Iterator[Piece]:
        if "{{" in text and len(text) > TEXT_MAX:
            raise TemplateRefused(f"a text with templates has at most {TEXT_MAX} characters")
        position, count = 0, 0
        while (start := text.find("{{", position)) >= 0:
            count += 1
            if count > TEMPLATES_MAX:
                raise TemplateRefused(f"a text has at most {TEMPLATES_MAX} templates")
            if start > position:
                yield text[position:start]
            end = _end(text, start + 2)
            yield self._piece(text[start + 2 : end])
            position = end + 2
        if position < len(text):
            yield text[position:]

    def _piece(self, source: str) -> Written | Reference:
        named = _CREDENTIAL.fullmatch(source)
        if named is not None and self._names.has_credentials:
            name = named["plain"] or named["odd"]
            self.reads.credentials.add(name)
            return Reference(name)
        return rewrite(source, self._names, self.reads)


def field_of(written: Written) -> str:
    """Write an expression as a field: null if it gives nothing."""
    text = written.or_null[1:-1] if written.may_be_missing else written.text  # without the parentheses
    return f"{OPENING} {text} {CLOSING}"


def as_template(text: str) -> str:
    """Take a text that must be an expression for one, with its braces or without."""
    return text if "{{" in text else f"{{{{ {text} }}}}"


def has_templates(value: Json) -> bool:
    """Say whether any text in a value has a template."""
    if type(value) is str:
        return "{{" in value
    if type(value) is dict:
        return any(map(has_templates, value.values()))
    return type(value) is list and any(map(has_templates, value))


def _end(text: str, start: int) -> int:
    """Find the braces that end the template whose expression starts here."""
    rest, depth = text[start:], 0
    for token in tokens(rest):
        if token.kind != "operator":
            continue
        if token.text == "{":
            depth += 1
        elif token.text == "}" and depth:
            depth -= 1
        elif token.text == "}" and rest.startswith("}}", token.start):
            return start + token.start
    raise TemplateRefused(f"{shown(text[start - 2 :])} has no }}}} that ends it")


def _joined(pieces: list[Piece]) -> Written:
    if len(pieces) == 1 and isinstance(pieces[0], Written):
        return pieces[0]
    if not any(isinstance(piece, Written) for piece in pieces):
        plain = "".join(piece.text if isinstance(piece, Reference) else str(piece) for piece in pieces)
        return Written(text_of(plain), kind="constant", may_be_missing=False)
    return Written(" & ".join(map(_part, pieces)), level=50, may_be_missing=False)


def _part(piece: Piece) -> str:
    if isinstance(piece, str):
        return text_of(piece)
    if isinstance(piece, Reference):
        return text_of(piece.text)
    if not piece.may_be_missing:
        return piece.within(UNARY)
    return f'($_0 := {piece.within(TERNARY)}; $_0 = null ? "" : $_0)'


def check(written: Written) -> None:
    """Let the evaluator read an expression, and look for names that stand for nothing.

    Raises TemplateRefused: it is no expression, or reads a variable or calls a function that nobody knows.
    """
    text = f"{OPENING} {written.text} {CLOSING}"
    try:
        compile_jsonata(text)
        reads = _reads(written.text)
    except (ValueError, RecursionError, jlens.JlensError) as error:
        raise TemplateRefused(f"an expression cannot be read: {error}") from None
    if "everyBinding" in reads:
        raise TemplateRefused("$eval is not supported")
    for name in reads.get("bindings", {}):
        if not RESERVED.fullmatch(f"${name}") and name not in _FUNCTION_NAMES:
            raise TemplateRefused(
                unknown("variable or function", f"${name}", (f"${each}" for each in sorted(_FUNCTION_NAMES)))
            )
    if reads.get("input"):
        raise TemplateRefused("$ stands for nothing here: begin with a name, such as input")


_FUNCTION_NAMES: Final = frozenset({*BUILT_IN, *FUNCTIONS, *PRELUDES} - {name for name in FUNCTIONS if name[0] == "_"})


def _reads(source: str) -> Mapping[str, Any]:
    """Ask jlens what an expression reads; of a function that it does not know it would say that it reads everything."""
    compiled = jlens.Expression(readable(source))
    first: dict[str, Any] = dict(compiled.reads())
    names = set(first.get("bindings", {}))
    if "everyBinding" not in first and not names & _FUNCTION_NAMES:
        return first
    known: dict[str, Any] = dict.fromkeys(names, lambda *_: None)
    is_called = compiled.reads(known)
    return {**is_called, "bindings": {**dict.fromkeys(names, True), **is_called.get("bindings", {})}}
