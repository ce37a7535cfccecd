"""JSON Schemas of inputs and outputs: checked themselves, and values checked against them.

They refer to nothing outside of themselves. Regular expressions are of the kind that takes linear time.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from itertools import islice
from typing import Final, NoReturn

import jsonschema_rs

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.errors import StatesError
from perdure.engine.language.model.schema_work import EXPANSION_MAX, WORK_MAX, SchemaWork
from perdure.engine.language.values import Json, cut

OUTPUT_VIOLATED: Final = "Output.SchemaViolated"
"""The error of a run whose output does not fit the schema of its document."""

PROBLEMS_MAX: Final = 100
"""Problems of a value that are found."""

TOO_MUCH: Final = f"to check it by this schema is too much work: more than {WORK_MAX:,} schemas would be asked"

PROBLEMS_NAMED: Final = 5
"""Problems of a value that a message names."""

MESSAGE_MAX: Final = 500
"""Characters of one of them."""

_CACHED: Final = 256
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1_000_000)


class SchemaRefused(ValueError):
    """A schema that is none. `at`: the keys that lead to what is wrong, if it is known. `why`: what that is."""

    def __init__(self, at: Sequence[str | int], why: str) -> None:
        super().__init__(why)
        self.at = tuple(at)
        self.why = why

    def pointer(self, schema: JsonPointer) -> JsonPointer:
        """Give the pointer to what is wrong; `schema` is that of the schema."""
        for key in self.at:
            schema = schema / key
        return schema


class ValueSchema:
    """A schema that is valid, ready to check values."""

    def __init__(self, validator: jsonschema_rs.Validator, work: SchemaWork) -> None:
        self._validator = validator
        self._work = work

    def problems(self, value: Json) -> list[tuple[str, str]]:
        """Find what does not fit, PROBLEMS_MAX at most: pointers into the value, and what is wrong there.

        What cannot be judged does not fit either: it is nested too deeply, or too much work for this schema.
        """
        if self._work.is_too_much_for(value):
            return [("", TOO_MUCH)]
        try:
            found = list(islice(self._validator.iter_errors(value), PROBLEMS_MAX))
        except (ValueError, RecursionError) as error:
            return [("", f"it cannot be checked: {cut(str(error), MESSAGE_MAX)}")]
        return sorted((_pointer(error.instance_path), cut(error.message, MESSAGE_MAX)) for error in found)

    def check_output(self, output: Json) -> None:
        """Check the output of a run. Raises StatesError, OUTPUT_VIOLATED: it does not fit; the cause says where."""
        found = self.problems(output)
        if not found:
            return
        named = [f"{path or 'all of it'}: {message}" for path, message in found[:PROBLEMS_NAMED]]
        more = f"; and {len(found) - PROBLEMS_NAMED} more" if len(found) > PROBLEMS_NAMED else ""
        raise StatesError(OUTPUT_VIOLATED, f"The output does not fit outputSchema: {'; '.join(named)}{more}.")


def schema_of(source: Json) -> ValueSchema:
    """Read a schema. Raises SchemaRefused: it is not valid, or refers to another document."""
    return _read(json.dumps(source))


@functools.lru_cache(maxsize=_CACHED)
def _read(text: str) -> ValueSchema:
    try:
        # Formats are checked: who writes `"format": "email"` means it.
        source = json.loads(text)
        validator = jsonschema_rs.validator_for(
            source, validate_formats=True, retriever=_refuse_remote, pattern_options=_PATTERNS
        )
        work = SchemaWork(source)
    except jsonschema_rs.ValidationError as error:
        raise SchemaRefused(error.instance_path, _reason(error.message)) from None
    except (ValueError, RecursionError) as error:
        raise SchemaRefused((), _reason(str(error))) from None
    if work.is_too_large:
        message = f"comes to more than {EXPANSION_MAX:,} schemas, with what it refers to in the place of each reference"
        raise SchemaRefused((), message)
    return ValueSchema(validator, work)


def _reason(message: str) -> str:
    if _REMOTE in message:
        return "refers to another document, which is not read: put what it needs into $defs"
    return cut(f"is no JSON Schema: {message}", MESSAGE_MAX)


_REMOTE: Final = "another document"


def _refuse_remote(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is {_REMOTE}")


def _pointer(path: Sequence[str | int]) -> str:
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in path)
