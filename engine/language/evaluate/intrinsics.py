r"""Intrinsic functions: ``States.Format('{}', $.name)``, which JSONPath states may write in place of a path.

A call is read once, when its definition is compiled, into one function of (value, env). An argument is

- a text in apostrophes, in which ``\'``, ``\{``, ``\}`` and ``\\`` stand for the character after the backslash; any
  other backslash is refused (in a definition that is stored it stands for itself, as it did when that was created),
- a number, ``true``, ``false`` or ``null``,
- a path: ``$…``, ``$$…`` or ``$variable…``,
- another call.

The reader looks at each character once and recurses no deeper than NESTING_MAX. The functions themselves are the table
in ``intrinsic_functions``.
"""

import re
from typing import Final, NamedTuple

from perdure.engine.language import errors
from perdure.engine.language.errors import StatesError, TooSlow
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import Evaluate, Expression
from perdure.engine.language.evaluate.intrinsic_functions import FUNCTIONS, ArgumentRefused, Function
from perdure.engine.language.evaluate.paths import Path, PathError, compile_path
from perdure.engine.language.evaluate.sizes import LEVELS_MAX, exceeds
from perdure.engine.language.values import JSON_TYPES, MISSING, Json, quoted, shown

TEXT_MAX: Final = 10_000
"""Characters of a call, nested ones included: what AWS allows a text argument to have."""

NESTING_MAX: Final = 10
"""Calls within each other, the outermost one counted (Amazon: "You can nest up to 10 intrinsic functions")."""

ARGUMENTS_MAX: Final = 100
"""Arguments of all the calls of a field: each may be a whole input, and a result may hold them all."""

SIZE_MAX: Final = 16 * 1024 * 1024
"""Bytes of JSON that the arguments of one call may have together: what a path or a call in it gives may be shared."""

_NAME: Final = re.compile(r"States\.([A-Za-z0-9]{1,40})[ \t\r\n]*\(")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?(?=[\s,)]|\Z)", re.ASCII)
_TEXT: Final = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(['{}\\])")
_STRAY: Final = re.compile(r"(?:[^\\]|\\['{}\\])*+\\")
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_PATH_PART: Final = re.compile(r"""[^\s,()\[\]'"]+""")
_BRACKETED_PART: Final = re.compile(r"""[^\[\]'"]+|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_A_TYPE: Final = {kind: f"{'an' if kind[0] in 'ao' else 'a'} {kind}" for kind in JSON_TYPES.values()} | {"null": "null"}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_CONSTANT: Final = re.compile(r"(true|false|null)(?=[\s,)]|\Z)")


class _Absent(Exception):
    """A path among the arguments finds nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.text)
        self.text = path.text.removeprefix("$") if path.text.startswith("$$") else path.text


class _Argument(NamedTuple):
    """An argument, or a whole call; `kind` is the JSON type of what it gives, "" if only a run can tell."""

    evaluate: Evaluate
    kind: str = ""


def compile_intrinsic(text: str, kind: str = "", *, accepts_old: bool = False) -> Expression:
    """Compile a call of an intrinsic function, and the calls in it.

    The expression raises StatesError: States.IntrinsicFailure if a function refuses its arguments, and
    States.Runtime if a path among them finds nothing (AWS's words, seen in us-east-1; the whole call is quoted).

    Args:
        text: The call.
        kind: The JSON type of what it must give; "" for any.
        accepts_old: Whether it may hold what was accepted earlier (`Diagnostics.accepts_old`).

    Raises:
        PathError: The text is no call, names no function, gives it wrong arguments, or is too long.
    """
    if len(text) > TEXT_MAX:
        raise PathError(f"an intrinsic function has at most {TEXT_MAX} characters")
    call = _Reader(text, accepts_old=accepts_old).whole(kind)

    def evaluate(value: Json, env: Environment) -> Json:
        try:
            return call(value, env)
        except ArgumentRefused as refusal:
            raise StatesError(errors.INTRINSIC_FAILURE, _cause(text, str(refusal))) from None
        except _Absent as absent:
            reason = (
                f"The JsonPath argument for the field '{absent.text}' could not be found in the input '{quoted(value)}'"
            )
            raise StatesError(errors.RUNTIME, _cause(text, reason)) from None
        except RecursionError:
            reason = "its arguments are nested too deeply"
            raise StatesError(errors.INTRINSIC_FAILURE, _cause(text, reason)) from None

    return Expression(text, evaluate)


def _cause(text: str, reason: str) -> str:
    return f"The function '{text}' had the following error: {reason}"


class _Reader:
    """Reads one call from left to right."""

    def __init__(self, text: str, *, accepts_old: bool) -> None:
        self.text = text
        self.accepts_old = accepts_old
        self.position = 0
        self.arguments_left = ARGUMENTS_MAX

    def whole(self, kind: str) -> Evaluate:
        call = self.call(1)
        self.skip_blanks()
        if self.position < len(self.text):
            raise PathError(f"nothing may follow the call of an intrinsic function, but there is {self.rest()}")
        if not self.fits(call, kind):
            raise PathError(f"this must give {_A_TYPE[kind]}, and the function gives {_A_TYPE[call.kind]}")
        return call.evaluate

    def fits(self, argument: _Argument, kind: str) -> bool:
        """Say whether an argument may be of a type."""
        return self.accepts_old or not kind or argument.kind in ("", kind)

    def call(self, depth: int) -> _Argument:
        """Read a call, of which the name begins here."""
        if depth > NESTING_MAX:
            raise PathError(f"intrinsic functions nest at most {NESTING_MAX} deep")
        match = _NAME.match(self.text, self.position)
        if match is None:
            raise PathError(f"a call of an intrinsic function, States.NAME(…), is needed at {self.rest()}")
        name = match.group(1)
        function = FUNCTIONS.get(name)
        if function is None:
            raise PathError(f"there is no intrinsic function States.{name}; there are: {', '.join(FUNCTIONS)}")
        self.position = match.end()
        arguments = self.arguments(function, depth)
        if not function.takes(len(arguments)):
            raise PathError(f"States.{name} takes {function.arity}, not {len(arguments)}")
        for index, argument in enumerate(arguments):
            if not self.fits(argument, kind := function.kind(index)):
                wanted = f"argument {index + 1} of States.{name} must be {_A_TYPE[kind]}"
                raise PathError(f"{wanted}, not {_A_TYPE[argument.kind]}")
        return _Argument(_bind(function, [argument.evaluate for argument in arguments]), function.gives)

    def arguments(self, function: Function, depth: int) -> list[_Argument]:
        arguments: list[_Argument] = []
        self.skip_blanks()
        if self.skip(")"):
            return arguments
        while True:
            if not self.arguments_left:
                raise PathError(f"the intrinsic functions of a field have at most {ARGUMENTS_MAX} arguments")
            self.arguments_left -= 1
            self.skip_blanks()
            arguments.append(self.argument(depth, is_raw=function.reads_escapes and not arguments))
            self.skip_blanks()
            if self.skip(")"):
                return arguments
            if not self.skip(","):
                raise PathError(f"a comma or a closing parenthesis is needed at {self.rest()}")

    def argument(self, depth: int, *, is_raw: bool) -> _Argument:
        start = self.text[self.position : self.position + 1]
        if start == "$":
            return _Argument(_argument_path(self.path()))
        if start == "'":
            return _constant(self.literal(is_raw=is_raw))
        if start == "S":
            return self.call(depth + 1)
        if match := _NUMBER.match(self.text, self.position):
            self.position = match.end()
            return _constant(_number(match))
        if match := _CONSTANT.match(self.text, self.position):
            self.position = match.end()
            return _constant(_CONSTANTS[match.group()])
        raise PathError(
            f"an argument is a path, a text in apostrophes, a number, true, false, null or a call, not {self.rest()}"
        )

    def literal(self, *, is_raw: bool) -> str:
        match = _TEXT.match(self.text, self.position)
        if match is None:
            raise PathError(f"the apostrophe that ends a text is missing at {self.rest()}")
        body = match.group(1)
        stray = None if self.accepts_old else _STRAY.match(body)
        if stray is not None:
            self.position += stray.end()  # the apostrophe at the start stands for the backslash at the end
            message = r"in a text only ', {, } and \ may follow a backslash (\\ stands for one)"
            raise PathError(f"{message}, not {self.rest()}")
        self.position = match.end()
        return body.replace(r"\'", "'") if is_raw else _ESCAPE.sub(r"\1", body)

    def path(self) -> Path:
        """Read a path: up to a comma, a parenthesis or a blank that is in none of its brackets."""
        start, depth = self.position, 0
        while self.position < len(self.text):
            if match := (_BRACKETED_PART if depth else _PATH_PART).match(self.text, self.position):
                self.position = match.end()
            elif (character := self.text[self.position]) in "[]" and depth + (1 if character == "[" else -1) >= 0:
                depth += 1 if character == "[" else -1
                self.position += 1
            else:
                break
        return compile_path(self.text[start : self.position])

    def skip_blanks(self) -> None:
        match = _BLANKS.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def skip(self, character: str) -> bool:
        is_there = self.text.startswith(character, self.position)
        self.position += is_there
        return is_there

    def rest(self) -> str:
        return shown(self.text[self.position :]) if self.position < len(self.text) else "the end"


def _number(match: re.Match[str]) -> int | float:
    fraction, exponent = match.groups()
    if fraction is None and exponent is None:
        return int(match.group())
    number = float(match.group())
    if number in (float("inf"), float("-inf")):
        raise PathError(f"the number {match.group()} is too large")
    return number


def _constant(value: Json) -> _Argument:
    return _Argument(lambda _value, _env: value, JSON_TYPES[type(value)])


def _argument_path(path: Path) -> Evaluate:
    find = path.find

    def evaluate(value: Json, env: Environment) -> Json:
        found = find(value, env)
        if found is MISSING:
            raise _Absent(path)
        return found

    return evaluate


def _bind(function: Function, arguments: list[Evaluate]) -> Evaluate:
    call = function.call

    def evaluate(value: Json, env: Environment) -> Json:
        given = [argument(value, env) for argument in arguments]
        patience_s = env.world.expression_timeout_s
        if patience_s is not None and patience_s <= 0:  # there may be many such calls, with much each
            raise TooSlow
        if exceeds(given, SIZE_MAX):
            raise ArgumentRefused(
                f"its arguments must have at most {SIZE_MAX} bytes of JSON, and at most {LEVELS_MAX} levels"
            )
        return call(given, env.world)

    return evaluate
