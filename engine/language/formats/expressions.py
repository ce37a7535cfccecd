"""Rewrites the expression of a template to JSONata.

It is JSONata with the paths of the formats (`input.a`, `steps.ID.output`, `items.0.x`, `['odd name']`) and some
operators of JavaScript (`===`, `!==`, `==`, `&&`, `||`, `??`, `!`, `?.`). Equality takes what is missing for null, `??`
takes null for missing, and whoever uses the result does the first as well. Other operators, functions, filters, blocks
and lambdas are JSONata's and mean what they mean there.

A precedence parser, since `||` and `??` bind in JSONata otherwise than one reads them. What it writes is parsed again
by jlens, which has the last word; nothing here evaluates anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from perdure.engine.language.evaluate.jsonata.text import Token
from perdure.engine.language.formats.lexemes import PLAIN, joined, text_name, text_of, unquoted
from perdure.engine.language.formats.names import RESERVED, ROOTS, Names, TemplateRefused, unknown
from perdure.engine.language.formats.written import ATOM, DEFAULT, SEQUENCE, TERNARY, UNARY, Reads, Written
from perdure.engine.language.values import shown

DEPTH_MAX: Final = 40
"""Levels of brackets and operators in one expression."""

_BINARY: Final[Mapping[str, tuple[int, str]]] = {
    ":=": (10, ":="),
    "||": (DEFAULT, "?:"),
    "?:": (DEFAULT, "?:"),
    "??": (DEFAULT, "??"),
    "or": (25, "or"),
    "and": (30, "and"),
    "&&": (30, "and"),
    "=": (40, "="),
    "==": (40, "="),
    "===": (40, "="),
    "!=": (40, "!="),
    "!==": (40, "!="),
    "<": (40, "<"),
    ">": (40, ">"),
    "<=": (40, "<="),
    ">=": (40, ">="),
    "in": (40, "in"),
    "~>": (40, "~>"),
    "&": (50, "&"),
    "+": (50, "+"),
    "-": (50, "-"),
    "*": (60, "*"),
    "/": (60, "/"),
    "%": (60, "%"),
}
"""Operators: how tight they bind, and what JSONata calls them."""

_WHERE: Final = {"item": "it is there in the steps of a loop", "index": "it is there in the steps of a loop"}
_CONSTANTS: Final = frozenset({"true", "false", "null"})


def rewrite(source: str, names: Names, reads: Reads) -> Written:
    """Rewrite an expression to JSONata, and note what it reads.

    Raises TemplateRefused: it cannot be read, or names what is not in scope.
    """
    return _Parser(source, names, reads).whole()


class _Parser:
    """Reads the tokens of one expression from left to right, and writes JSONata."""

    def __init__(self, source: str, names: Names, reads: Reads) -> None:
        self._source = source
        self._tokens = joined(source)
        self._at = 0
        self._names = names
        self._reads = reads
        self._depth = 0
        self._relative = 0
        """How many brackets are around in which a bare name is a member of what the brackets follow."""

    # --- tokens ------------------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self._at + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def _is(self, text: str, ahead: int = 0) -> bool:
        token = self._peek(ahead)
        return token is not None and token.kind == "operator" and token.text == text

    def _next(self) -> Token:
        token = self._peek()
        if token is None:
            raise TemplateRefused(f"{self._shown()} ends too early")
        self._at += 1
        return token

    def _take(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(f"; {shown(text)} is missing")

    def _unexpected(self, more: str = "") -> TemplateRefused:
        token = self._peek()
        if token is None:
            return TemplateRefused(f"{self._shown()} ends too early{more}")
        if token.text == "(" and not more:
            more = "; functions are those of JSONata: $uppercase(input.name)"
        return TemplateRefused(f"{self._shown()} cannot be read at {shown(token.text)}{more}")

    def _shown(self) -> str:
        return "{{ " + shown(self._source.strip())[1:-1] + " }}"

    # --- operators ---------------------------------------------------------------------------------------------------

    def whole(self) -> Written:
        """Read all of it."""
        if not self._tokens:
            raise TemplateRefused("{{ }} is empty")
        written = self._expression(0)
        if self._peek() is not None:
            raise self._unexpected()
        return written

    def _expression(self, least: int) -> Written:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise TemplateRefused(f"an expression has at most {DEPTH_MAX} levels")
        written = self._operand()
        while (operator := self._operator()) is not None:
            if operator == "?":
                if least > TERNARY:
                    break
                written = self._ternary(written)
                continue
            level, _ = _BINARY[operator]
            if level < least:
                break
            self._at += 1
            is_right = operator == ":="
            written = self._combined(operator, written, self._expression(level if is_right else level + 1))
        self._depth -= 1
        return written

    def _operator(self) -> str | None:
        """Give the operator that comes next; None if there is none, and the expression ends here."""
        token = self._peek()
        if token is None or token.kind not in ("operator", "name"):
            return None
        return token.text if token.text in _BINARY or (token.text == "?" and token.kind == "operator") else None

    def _ternary(self, condition: Written) -> Written:
        self._at += 1
        then = self._expression(TERNARY)
        other = self._expression(TERNARY).within(TERNARY) if self._take(":") else "null"
        text = f"{condition.within(TERNARY + 1)} ? {then.within(TERNARY + 1)} : {other}"
        return Written(text, TERNARY)

    def _combined(self, operator: str, left: Written, right: Written) -> Written:
        level, name = _BINARY[operator]
        if name in ("=", "!="):
            return Written(f"{left.or_null} {name} {right.or_null}", level, may_be_missing=False)
        if operator == "??":
            test = f"$_0 = null or $not($exists($_0)) ? {right.within(TERNARY + 1)} : $_0"
            return Written(f"($_0 := {left.within(TERNARY)}; {test})", may_be_missing=right.may_be_missing)
        if operator == "+":
            self._check_sum(left, right)
        if level == DEFAULT:  # JSONata's binds tighter than one reads it
            return Written(f"({left.within(UNARY)} {name} {right.within(UNARY)})")
        is_text = name in ("&", "and", "or", "in")
        right_level = level if operator == ":=" else level + 1
        text = f"{left.within(level)} {name} {right.within(right_level)}"
        return Written(text, level, may_be_missing=not is_text)

    @staticmethod
    def _check_sum(left: Written, right: Written) -> None:
        if any(each.kind == "constant" and each.text.startswith('"') for each in (left, right)):
            raise TemplateRefused("+ adds numbers; write & to join texts")

    # --- operands ----------------------------------------------------------------------------------------------------

    def _operand(self) -> Written:
        token = self._next()
        if token.kind == "operator":
            written = self._opened(token)
        elif token.kind == "text":
            written = self._text(token)
        elif token.kind == "number":
            written = Written(token.text, kind="constant", may_be_missing=False)
        elif token.kind == "variable":
            written = self._variable(token)
        elif token.kind == "pattern":
            written = Written(token.text, may_be_missing=False)
        else:
            written = self._named(token)
        return self._postfix(written)

    def _opened(self, token: Token) -> Written:
        if token.text in ("-", "!"):
            self._depth += 1
            if self._depth > DEPTH_MAX:
                raise TemplateRefused(f"an expression has at most {DEPTH_MAX} levels")
            operand = self._operand()
            self._depth -= 1
            if token.text == "-":
                return Written(f"-{operand.within(UNARY)}", UNARY)
            return Written(f"({operand.within(TERNARY + 1)} ? false : true)", may_be_missing=False)
        if token.text == "(":
            return Written(f"({self._sequence(')', ';')})")
        if token.text == "[":
            return Written(f"[{self._items()}]", may_be_missing=False)
        if token.text == "{":
            return Written(f"{{{self._members()}}}", may_be_missing=False)
        if token.text == "|":
            return self._transform()
        self._at -= 1
        raise self._unexpected()

    def _sequence(self, end: str, separator: str) -> str:
        parts: list[str] = []
        while not self._take(end):
            parts.append(self._expression(0).text)
            if not self._is(end):
                self._expect(separator)
        return f"{separator} ".join(parts)

    def _items(self) -> str:
        parts: list[str] = []
        while not self._take("]"):
            item = self._expression(0).within(SEQUENCE)
            if self._take(".."):
                item = f"{item}..{self._expression(0).within(SEQUENCE)}"
            parts.append(item)
            if not self._is("]"):
                self._expect(",")
        return ", ".join(parts)

    def _members(self) -> str:
        parts: list[str] = []
        while not self._take("}"):
            key = self._key()
            self._expect(":")
            parts.append(f"{key}: {self._expression(0).or_null}")
            if not self._is("}"):
                self._expect(",")
        return ", ".join(parts)

    def _key(self) -> str:
        """Read the name of a member; a bare word before a colon is one, as in JavaScript."""
        token = self._peek()
        if token is not None and token.kind == "name" and self._is(":", 1) and not self._relative:
            self._at += 1
            return text_of(token.text)
        return self._expression(TERNARY + 1).within(TERNARY + 1)

    def _transform(self) -> Written:
        place = self._within(lambda: self._expression(0).text)
        self._expect("|")
        update = self._within(lambda: self._expression(0).text)
        removed = f", {self._within(lambda: self._expression(0).text)}" if self._take(",") else ""
        self._expect("|")
        return Written(f"| {place} | {update}{removed} |", may_be_missing=False)

    def _within(self, read: Callable[[], str]) -> str:
        """Read what is relative to something: bare names are its members."""
        self._relative += 1
        text = read()
        self._relative -= 1
        return text

    def _text(self, token: Token) -> Written:
        if token.text.startswith("`"):
            if not self._relative:
                raise TemplateRefused(f"{shown(token.text)} stands for nothing here")
            return Written(text_name(unquoted(token)))
        return Written(text_of(unquoted(token)), kind="constant", may_be_missing=False)

    def _variable(self, token: Token) -> Written:
        if RESERVED.fullmatch(token.text):
            raise TemplateRefused(f"{token.text} is the engine's own; paths begin with {_listed(self._names)}")
        return Written(token.text)

    def _named(self, token: Token) -> Written:
        name = token.text
        if name in _CONSTANTS:
            return Written(name, kind="constant", may_be_missing=False)
        if name in ("function", "λ") and self._is("("):
            return self._lambda()
        if name == "steps":
            return self._step()
        if name == "variables":
            return self._author_variable()
        if name == "credentials" and self._names.has_credentials:
            raise TemplateRefused("credentials.NAME stands alone in its braces: {{ credentials.NAME }}")
        if name in self._names.aliases or name in self._names.roots:
            return self._root(name)
        if self._relative:
            return Written(name if name in ("*", "**", "%") or PLAIN.fullmatch(name) else text_name(name))
        if name in ROOTS:
            raise TemplateRefused(f"{name} means nothing here; {_WHERE.get(name, 'it is not supported yet')}")
        raise TemplateRefused(
            f"{unknown('name', name, self._names.in_scope())} Paths begin with {_listed(self._names)}"
        )

    def _root(self, name: str) -> Written:
        if name in self._names.aliases:
            step = self._names.aliases[name]
            self._reads.steps.add(step)
            return Written(self._names.steps[step], kind="path")
        self._reads.roots.add(name)
        return Written(self._names.roots[name], kind="path")

    def _lambda(self) -> Written:
        start = self._at
        while not self._is("{"):
            token = self._next()
            if token.kind == "variable" and RESERVED.fullmatch(token.text):
                raise TemplateRefused(f"{token.text} is the engine's own name")
        head = self._source[self._tokens[start].start : self._tokens[self._at].start]
        self._at += 1
        body = self._expression(0)
        self._expect("}")
        return Written(f"function{head.strip()}{{{body.text}}}", may_be_missing=False)

    def _step(self) -> Written:
        name = self._member("steps", self._names.steps)
        if name not in self._names.steps:
            raise TemplateRefused(unknown("step", name, self._names.steps))
        self._reads.steps.add(name)
        self._skip_output()
        return Written(self._names.steps[name], kind="path")

    def _author_variable(self) -> Written:
        name = self._member("variables", self._names.variables)
        if name not in self._names.variables:
            raise TemplateRefused(unknown("variable", name, self._names.variables))
        self._reads.variables.add(name)
        return Written(self._names.variables[name], kind="path")

    def _member(self, root: str, known: Mapping[str, str]) -> str:
        """Read the name after `steps` or `variables`; one with dashes if there is one of that name."""
        if self._is("[") and (token := self._peek(1)) is not None and token.kind == "text" and self._is("]", 2):
            self._at += 3
            return unquoted(token)
        if not (self._take(".") or self._take("?.")):
            raise TemplateRefused(f"{root} is followed by a name: {root}.NAME or {root}['NAME']")
        first = self._next()
        if first.kind == "text":
            return unquoted(first)
        rest = self._source[first.start :]
        dashed = [name for name in known if "-" in name and rest.startswith(name)]
        longest = max((name for name in dashed if self._ends_token(first.start + len(name))), key=len, default="")
        if longest:
            end = first.start + len(longest)
            while (token := self._peek()) is not None and token.start < end:
                self._at += 1
            return longest
        if first.kind not in ("name", "number"):
            self._at -= 1
            raise self._unexpected(f"; write {root}['NAME']")
        return first.text

    def _ends_token(self, end: int) -> bool:
        return end in {token.end for token in self._tokens}

    def _skip_output(self) -> None:
        following = self._peek(1)
        if self._is(".") and following is not None and following.text == "output":
            self._at += 2
        elif self._is("[") and following is not None and following.kind == "text" and self._is("]", 2):
            self._at += 3 if unquoted(following) == "output" else 0

    # --- what follows an operand -------------------------------------------------------------------------------------

    def _postfix(self, written: Written) -> Written:
        while True:
            if self._take(".") or self._take("?."):
                written = self._step_on(written)
            elif self._take("["):
                written = self._bracket(written)
            elif self._is("(") and written.kind == "other":
                self._at += 1
                written = Written(f"{written.within(ATOM)}({self._sequence(')', ',')})")
            elif self._is("{") and written.kind != "constant":
                self._at += 1
                written = Written(f"{written.within(ATOM)}{{{self._within(self._members)}}}")
            elif self._is("^") and self._is("(", 1):
                self._at += 2
                written = Written(f"{written.within(ATOM)}^({self._within(self._order)})")
            elif (self._is("@") or self._is("#")) and (token := self._peek(1)) and token.kind == "variable":
                sign = self._next().text
                written = Written(f"{written.within(ATOM)}{sign}{self._variable(self._next()).text}")
            else:
                return written

    def _order(self) -> str:
        parts: list[str] = []
        while not self._take(")"):
            sign = next((each for each in ("<", ">") if self._take(each)), "")
            parts.append(sign + self._expression(0).within(TERNARY))
            if not self._is(")"):
                self._expect(",")
        return ", ".join(parts)

    def _step_on(self, written: Written) -> Written:
        """Read what follows a dot."""
        base = written.within(ATOM)
        token = self._next()
        if token.kind == "number":
            self._check_apart(token)
            return written._replace(text=base + "".join(f"[{part}]" for part in token.text.split(".")), level=ATOM)
        if token.kind == "text":
            return written._replace(text=f"{base}.{text_name(unquoted(token))}", level=ATOM)
        if token.kind == "name":
            is_wild = token.text in ("*", "**", "%")
            step = token.text if is_wild else text_name(token.text)
            return written._replace(text=f"{base}.{step}", kind="other" if is_wild else written.kind, level=ATOM)
        if token.kind == "operator" and token.text in ("*", "%"):  # after a dot the tokenizer takes them for operators
            return Written(f"{base}.{token.text}")
        if token.kind == "variable":
            return Written(f"{base}.{self._variable(token).text}")
        if token.kind == "operator" and token.text in ("(", "[", "{"):
            return Written(f"{base}.{self._within(lambda: self._opened(token).text)}")
        self._at -= 1
        raise self._unexpected()

    def _check_apart(self, number: Token) -> None:
        token = self._peek()
        if token is not None and token.kind == "name" and token.start == number.end:
            name = number.text + token.text
            raise TemplateRefused(f"{self._shown()} cannot be read at {shown(name)}; write [{shown(name)}]")

    def _bracket(self, written: Written) -> Written:
        """Read a member in quotes, an index, or a filter."""
        base = written.within(ATOM)
        token = self._peek()
        if self._take("]"):
            return Written(f"{base}[]")
        if token is not None and token.kind == "text" and not token.text.startswith("`") and self._is("]", 1):
            self._at += 2
            return written._replace(text=f"{base}.{text_name(unquoted(token))}", level=ATOM)
        self._relative += 1
        found = self._expression(0)
        self._relative -= 1
        self._expect("]")
        if found.kind == "path":  # a key or an index that is looked up
            looked = "$type($_1) = 'string' ? $lookup($_0, $_1) : $_0[$_1]"
            return Written(f"($_0 := {base}; $_1 := {found.text}; {looked})", kind=written.kind)
        is_index = found.text.lstrip("-").isdigit()
        return Written(f"{base}[{found.text}]", kind=written.kind if is_index else "other")


def _listed(names: Names) -> str:
    known = names.in_scope()
    return f"{', '.join(known[:-1])} and {known[-1]}" if len(known) > 1 else "".join(known)
