"""Documents: workflows in whatever format they are written, compiled, shown and converted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from perdure.engine.core.workflow import SourceText
from perdure.engine.errors import Invalid
from perdure.engine.language import Problem, problems, steps_of, unsupported
from perdure.engine.language.formats.documents import DocumentOptions, compile_document
from perdure.engine.language.formats.flow import ActionForm, CompiledDocument, DocumentError, DocumentOutline
from perdure.engine.language.formats.later import not_yet
from perdure.engine.language.formats.projections import PROJECTIONS
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.streams.bulky import apart_if_bulky, check_bulky
from perdure.engine.services.document_triggers import trigger_problems
from perdure.engine.shown import shown
from perdure.engine.steps import Registry
from perdure.engine.steps.action_forms import action_forms
from perdure.engine.suggestions import did_you_mean
from perdure.engine.yaml_text import looks_like_json, read_yaml
from perdure.store.records import WorkflowVersionRow

Format: TypeAlias = Literal["asl", "graph", "service", "steps"]

OUTLINES_MAX: Final = 256
"""So many outlines are kept as they were read."""


class GivenDocument(NamedTuple):
    """A workflow as somebody wrote it: the name of its format, and the document as a JSON value (or text, or YAML).

    A definition in Amazon States Language is of the format `asl`.
    """

    format: str
    document: Any


class CompiledText(NamedTuple):
    """A document that was compiled, as it is stored; `settings` are the rules for runs that it has itself.

    `source` is null for a definition in Amazon States Language, which is stored as it is.
    """

    text: str
    sha256: str
    source: SourceText | None
    settings: Mapping[str, Any]
    warnings: Sequence[Problem]


class Documents:
    """Compiles documents, with the actions that this engine's steps can do."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @property
    def actions(self) -> Mapping[str, ActionForm]:
        """By name, what steps of documents can do: what a step that is registered does, of the catalog too."""
        registered = frozenset(self.registry.names())
        return {name: form for name, form in action_forms(self.registry).items() if form.name in registered}

    def outline(self, row: WorkflowVersionRow) -> DocumentOutline:
        """The outline of a version, as `outline_of` has it."""
        return outline_of(row)

    async def compiled(self, caller: Caller, given: GivenDocument, *, is_draft: bool = False) -> CompiledText:
        """Compile a document to what is stored of it. Raises `Invalid` with every problem, and `RateLimited`."""
        check_format(given.format)
        size = len(given.document if isinstance(given.document, str | bytes) else encode_json(given.document))
        check_bulky(caller.workspace_id, size)
        return await apart_if_bulky(caller.workspace_id, size, self._compiled, given, is_draft)

    def _compiled(self, given: GivenDocument, is_draft: bool) -> CompiledText:  # noqa: FBT001 called by position
        document = decoded(given.document)
        made = self.compile(GivenDocument(given.format, document), is_draft=is_draft)
        encoded = encode_json(made.definition)
        source = None
        if given.format != "asl":
            source = SourceText(given.format, encode_json(document).decode(), made.outline.to_json())
        return CompiledText(encoded.decode(), hashlib.sha256(encoded).hexdigest(), source, made.settings, made.warnings)

    def compile(self, given: GivenDocument, *, is_draft: bool = False, is_standalone: bool = False) -> CompiledDocument:
        """Compile a document. Raises `Invalid`, with every problem in `details["errors"]`."""
        return compile_given(given, DocumentOptions(self.actions, is_draft=is_draft, is_standalone=is_standalone))

    def encoded(self, definition: Any) -> bytes:
        """A definition in Amazon States Language as it is stored. Raises `Invalid`, with every problem."""
        if isinstance(definition, str | bytes) and not looks_like_json(definition):
            definition = read_yaml(definition)
        found = problems(definition)
        if not found:
            definition = decode_json(definition) if isinstance(definition, str | bytes) else definition
            found = [*unsupported(definition), *self._unserved(definition)]
        if found:
            raise refused(found, "definition")
        return encode_json(definition)

    def _unserved(self, definition: Mapping[str, Any]) -> list[Problem]:
        known = ", ".join(sorted(self.registry.names()))
        return [
            Problem(pointer, not_yet(name) or f"no step {name!r} is registered; there are: {known}")
            for pointer, name in steps_of(definition)
            if self.registry.get(name) is None
        ]

    async def convert(self, caller: Caller, given: GivenDocument, target: str) -> Any:
        """The document in another format: as it is, or the definition that it compiles to, projected."""
        check_format(target, "to")
        if target == given.format:
            self.compile(given)
            return given.document
        size = len(encode_json(given.document))
        check_bulky(caller.workspace_id, size)
        return await apart_if_bulky(caller.workspace_id, size, self._converted, given, target)

    def _converted(self, given: GivenDocument, target: str) -> Any:
        return PROJECTIONS[target](self.compile(given, is_standalone=True).definition)


def compile_given(given: GivenDocument, options: DocumentOptions) -> CompiledDocument:
    """Compile a document, and look at its trigger. Raises `Invalid`, with every problem in `details["errors"]`."""
    check_format(given.format)
    what = "definition" if given.format == "asl" else given.format
    found = trigger_problems(given.format, given.document)
    try:
        compiled = compile_document(given.format, given.document, options)
    except DocumentError as error:
        places = {problem.path for problem in error.problems}
        raise refused([*(each for each in found if each.path not in places), *error.problems], what) from None
    if found:
        raise refused(found, what)
    return compiled


def shown_as(row: WorkflowVersionRow, name: str) -> Any:
    """A version's document in a format: its source if it was written so, else a projection of its definition."""
    if row.format == name and row.source is not None:
        return decode_json(row.source)
    return PROJECTIONS[name](decode_json(row.definition))


def outline_of(row: WorkflowVersionRow) -> DocumentOutline:
    """What the log of a run of this version is read with, by somebody who thinks in steps."""
    if row.outline is None:
        return _outline_of_definition(row.definition)
    return _outline(row.outline)


def input_schema_of(row: WorkflowVersionRow) -> Any:
    """The JSON Schema that the input of a run of this version must fit; null if there is none."""
    return None if row.outline is None else _outline(row.outline).input_schema


@lru_cache(maxsize=OUTLINES_MAX)
def _outline(text: str) -> DocumentOutline:
    return DocumentOutline.from_json(text)


@lru_cache(maxsize=OUTLINES_MAX)
def _outline_of_definition(text: str) -> DocumentOutline:
    return DocumentOutline.of_definition(decode_json(text))


def check_format(name: str, field: str = "format") -> None:
    """Raise `Invalid` unless there is a format of this name."""
    known = get_args(Format)
    if name not in known:
        message = f"{field}: {shown(name)} is not accepted; it must be one of {', '.join(known)}"
        raise Invalid(message + did_you_mean(name, known), {"field": field})


def refused(problems: Sequence[Problem], what: str) -> Invalid:
    """The refusal of a document, with every problem."""
    errors = [{"path": problem.path, "message": problem.message} for problem in problems]
    first = f"{problems[0].path or '/'}: {problems[0].message}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Invalid(f"{what}: {first}{more}", {"errors": errors})


def decoded(document: Any) -> Any:
    """A document that may be JSON or YAML text, as a JSON value. Raises `Invalid`."""
    if not isinstance(document, str | bytes):
        return document
    if not looks_like_json(document):
        return read_yaml(document)
    try:
        return msgspec.json.decode(document)
    except msgspec.DecodeError as error:
        raise Invalid(f"document: it is not JSON: {error}", {"field": "document"}) from None
