"""Documents in files: which format they are of, and in which line of the text a place of them stands."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar, cast

import click

from perdure.cli.arguments import parse_json, read_file
from perdure.cli.runner import CommandFailed
from perdure.engine.errors import Invalid
from perdure.engine.yaml_text import looks_like_json, read_yaml

FORMATS: Final = ("steps", "graph", "service", "asl")
"""As the engine has them; importing it to draw a help text would take longer than the rest."""

F = TypeVar("F", bound=Callable[..., Any])

_POINTER: Final = re.compile(r"(?P<pointer>/|(?:/[^/:]*)+): ")


class DocumentText(NamedTuple):
    """A document that was read from a file: its JSON value, and the text that it is of, in JSON or YAML."""

    path: str
    value: Any
    raw: bytes

    def line(self, pointer: str) -> int | None:
        """The line, from 1, in which the value at a JSON Pointer begins; of one that is not there, what it is in."""
        node = _composed(self.raw)
        if node is None:
            return None
        line = node.start_mark.line
        for token in pointer.split("/")[1:]:
            found = _inner(node, token.replace("~1", "/").replace("~0", "~"))
            if found is None:
                break
            line, node = found
        return int(line) + 1

    def located(self, told: str) -> str:
        """A problem that begins with a pointer, with the line before it."""
        found = _POINTER.match(told)
        line = None if found is None else self.line("" if found["pointer"] == "/" else found["pointer"])
        return told if line is None else f"line {line}: {told}"

    @contextmanager
    def telling_lines(self) -> Iterator[None]:
        """Have problems of this document told with the lines that they are in."""
        try:
            yield
        except CommandFailed as refused:
            refused.more = [self.located(each) for each in refused.more]
            raise


@functools.lru_cache(maxsize=1)
def _composed(raw: bytes) -> Any:
    """The nodes of a text, with their places; none if YAML cannot read it."""
    import yaml  # noqa: PLC0415 most documents are right

    text = raw.decode("utf-8", "replace").replace("\t", " ")  # which JSON may have, and YAML not
    try:
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def _inner(node: Any, token: str) -> tuple[int, Any] | None:
    """The line of a member or item of a node of YAML, and its own node."""
    if node.id == "mapping":
        return next(((key.start_mark.line, value) for key, value in node.value if key.value == token), None)
    if node.id == "sequence" and token.isascii() and token.isdigit() and int(token) < len(node.value):
        item = node.value[int(token)]
        return item.start_mark.line, item
    return None


def read_document(path: str, name: str) -> DocumentText:
    """The document in a file, or in stdin if it is `-`, in JSON or YAML. Raises `click.UsageError`."""
    raw = read_file(path, name)
    if looks_like_json(raw):
        return DocumentText(path, parse_json(raw, path), raw)
    try:
        return DocumentText(path, read_yaml(raw), raw)
    except Invalid as error:
        raise click.UsageError(f"{path}: {error.message}") from None


class GivenFile(NamedTuple):
    """A file that is named on the command line, and the format that is said of it."""

    path: str
    form: str | None

    def read(self) -> tuple[DocumentText, str]:
        """Its document, and the format, which may be guessed. Raises `click.UsageError`."""
        document = read_document(self.path, "FILE")
        found = self.form or guessed(document.value)
        if found is None:
            known = ", ".join(FORMATS)
            raise click.UsageError(f"--format: {self.path} may be of several formats; say of which: {known}")
        return document, found


def a_file(function: F) -> F:
    """Give a command the file of a document of any format: `file`."""

    def command(*args: Any, file: str, form: str | None, **more: Any) -> Any:
        return function(*args, file=GivenFile(file, form), **more)

    wrapped = cast("F", functools.update_wrapper(command, function))
    said = "The format of FILE.  [default: what its members say, or else asl]"
    click.option("--format", "form", type=click.Choice(FORMATS), help=said)(wrapped)
    click.argument("file")(wrapped)
    return wrapped


def guessed(value: Any) -> str | None:
    """The format of a document by its members; none if they may be those of several, or of more than one."""
    if not isinstance(value, Mapping):
        return "asl"  # which says what is wrong with it
    members = [name for name in ("States", "nodes", "steps") if name in value]
    if not members:
        return "asl"
    if len(members) > 1:
        return None
    if members != ["steps"]:
        return {"States": "asl", "nodes": "graph"}[members[0]]
    steps = value["steps"] if isinstance(value["steps"], list) else []
    of_service = [isinstance(each, Mapping) and "step_type" in each for each in steps]
    of_steps = [isinstance(each, Mapping) and "id" in each for each in steps]
    if any(of_service) == any(of_steps):
        return None
    return "service" if any(of_service) else "steps"
