"""Conversion of values and texts from foreign code: to JSON that can be read back, and to valid Unicode."""

from __future__ import annotations

import inspect
import math
from typing import Any, Final

from perdure.engine.log.codec import decode_json, encode_json

DEPTH_MAX: Final = 64
"""Levels of arrays and objects."""
DIGITS_MAX: Final = 4_299
"""Decimal digits of an integer; with one more, and a sign, msgspec would not read it back."""

_INTEGER_END: Final = 10**DIGITS_MAX
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_PATH_MAX: Final = 200
_SIMPLE: Final = frozenset({str, int, float, bool, type(None)})
_ELLIPSIS: Final = "…"


class NotJson(Exception):
    """A value that is not JSON. `problem` says what is wrong, `path` where: keys, innermost first."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[Any] = []

    def __str__(self) -> str:
        where = "".join(f"[{key}]" if type(key) is int else f".{text_of(key)}" for key in reversed(self.path))
        return f"{self.problem} (at ${bounded(where, _PATH_MAX)})" if where else self.problem


class ValueTooLarge(Exception):
    """A value of more JSON text than allowed. `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit:,} bytes of JSON text, which is the limit")
        self.limit = limit


def json_copy(value: Any, size_max: int) -> Any:
    """Copy a value of any origin into plain JSON: dict, list, str, int, float, bool and None.

    Encoding and decoding the copy gives an equal value.

    Raises NotJson: it holds something else, or is nested more than DEPTH_MAX levels.
    Raises TooLarge: its JSON text has more than `size_max` bytes.
    """
    try:
        if type(value) is dict and _SIMPLE.issuperset(map(type, value.values())):  # as most results are
            encoded = encode_json(value)
            copied = decode_json(encoded)
            if copied == value and len(encoded) <= size_max:  # it is not if a key is no text, or a number not finite
                return copied
        text = encode_json(value) if _is_plain(value, size_max) else None
    except ValueTooLarge:
        raise
    except Exception:  # noqa: BLE001  # half of a surrogate pair, or a thread that changes the value meanwhile
        text = None
    if text is None:
        text = encode_json(_carefully(value, size_max))
    if len(text) > size_max:
        raise ValueTooLarge(size_max)
    return decode_json(text)


def _is_plain(value: Any, size_max: int) -> bool:  # noqa: C901  # one loop, for speed
    """Whether a value is such that encoding and decoding copies it; if not, `_Copier` takes a closer look.

    It goes level by level, and stops before a level that must be too large: an object can hold itself many times
    over, and sixty lists, each of which holds the one before it twice, would be 2**60 values to an encoder.

    Raises TooLarge: each value and each character is a byte of JSON at least, and there are more than `size_max`.
    """
    left = size_max
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                left -= len(item)
            elif kind is int:
                if not _INT64_MIN <= item <= _INT64_MAX:
                    return False
            elif kind is dict:
                left -= len("".join(item)) + 2 * len(item)  # raises TypeError for a key that is no text
                below += item.values()
            elif kind is list or kind is tuple:
                left -= len(item) + 1
                below += item
            elif kind is float:
                if not math.isfinite(item):
                    return False
            elif kind is not bool and item is not None:
                return False
            if left < 0:
                raise ValueTooLarge(size_max)
        if not below:
            return True
        level = below
    return False


def _carefully(value: Any, size_max: int) -> Any:
    try:
        return _Copier(size_max).copy(value, 0)
    except (NotJson, ValueTooLarge):
        raise
    except Exception as error:  # noqa: BLE001  # a subclass's methods, or a thread that changes it meanwhile
        raise NotJson(f"a value that cannot be read ({text_of(error)})") from None


class _Copier:
    """Copies one value, whatever it holds, and knows the place of what is no JSON. `left` bounds the work."""

    __slots__ = ("left", "size_max")

    def __init__(self, size_max: int) -> None:
        self.left = self.size_max = size_max

    def copy(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            copied: Any = self._text(value)
        elif kind is bool or value is None or (kind is int and _INT64_MIN <= value <= _INT64_MAX):
            copied = value
        elif kind is dict:
            copied = self._object(value, depth + 1)
        elif kind is list:
            copied = self._array(value, depth + 1)
        else:
            copied = self._other(value, depth)
        return copied

    def _object(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        self._open(depth, len(value))
        copied: dict[str, Any] = {}
        key: Any = None
        try:
            for key, member in value.items():
                name = self._text(key) if type(key) is str else self._key(key)
                copied[name] = self.copy(member, depth)
        except NotJson as refusal:
            refusal.path.append(key)
            raise
        return copied

    def _array(self, value: list[Any], depth: int) -> list[Any]:
        self._open(depth, len(value))
        copied: list[Any] = []
        try:
            for member in value:
                copied.append(self.copy(member, depth))  # noqa: PERF401  # the handler asks how far it came
        except NotJson as refusal:
            refusal.path.append(len(copied))
            raise
        return copied

    def _open(self, depth: int, members: int) -> None:
        if depth > DEPTH_MAX:
            raise NotJson(f"arrays and objects nested more than {DEPTH_MAX} levels deep")
        self.left -= members + 1
        if self.left < 0:
            raise ValueTooLarge(self.size_max)

    def _text(self, value: str) -> str:
        self.left -= len(value)
        if self.left < 0:
            raise ValueTooLarge(self.size_max)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise NotJson("a text that holds half of a surrogate pair") from None
        return value

    def _key(self, key: Any) -> str:
        if not isinstance(key, str):
            raise NotJson(f"an object with a key that is no text but {_a(key)}")
        return self._text(str.__str__(key))

    def _other(self, value: Any, depth: int) -> Any:
        """The rest: numbers, tuples, subclasses (read past their own methods), and what is no JSON."""
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            return _integer(int.__index__(value))
        if isinstance(value, float):
            return _number(float.__float__(value))
        if isinstance(value, dict):
            return self._object(dict(dict.items(value)), depth + 1)
        if isinstance(value, list):
            return self._array(list.copy(value), depth + 1)
        if isinstance(value, tuple):
            return self._array(list(tuple.__iter__(value)), depth + 1)
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody awaited it
            raise NotJson("a coroutine: only a step written with `async def` is awaited")
        raise NotJson(f"{_a(value)}, which is not JSON")


def _integer(value: int) -> int:
    if not -_INTEGER_END < value < _INTEGER_END:
        raise NotJson(f"an integer of more than {DIGITS_MAX:,} digits")
    return value


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise NotJson(f"the number {value}, which is not JSON")
    return value


def _a(value: Any) -> str:
    return f"a value of type {class_name(value)}"


# --- texts ----------------------------------------------------------------------------------------


def text_of(value: Any) -> str:
    """The text of any object as valid Unicode; if it cannot tell, one that says so. Never raises."""
    try:
        text = str.__str__(value if isinstance(value, str) else str(value))
        return text if text.isascii() else text.encode("utf-8", "replace").decode()
    except BaseException as error:  # noqa: BLE001  # __str__ is other people's code; this is the last resort
        return f"({class_name(value)}, whose text cannot be had: {class_name(error)})"


def class_name(value: Any) -> str:
    """The name of an object's class as valid Unicode. Never raises, whatever a metaclass says of it."""
    name: Any = type.__dict__["__name__"].__get__(type(value))
    return str(name).encode("utf-8", "replace").decode()


def bounded(text: str, size_max: int) -> str:
    """Cut valid Unicode to at most `size_max` bytes of UTF-8, with an ellipsis where it was cut."""
    if len(text) * 4 <= size_max:
        return text
    encoded = text.encode()
    if len(encoded) <= size_max:
        return text
    return encoded[: size_max - len(_ELLIPSIS.encode())].decode("utf-8", "ignore") + _ELLIPSIS
