"""Compiles a document of any format: a table of compilers by the format's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from perdure.engine.language.diagnostics import Diagnostics
from perdure.engine.language.formats.flow import ActionForm, CompiledDocument, DocumentError
from perdure.engine.language.formats.graph import compile_graph
from perdure.engine.language.formats.later import named_too_early
from perdure.engine.language.formats.service_steps import compile_service
from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.language.parse.definition import problems, unsupported
from perdure.engine.language.parse.shape import read_definition


class DocumentOptions(NamedTuple):
    """The surroundings of a document.

    `actions`: what its steps can do, by name.
    `has_credentials`: whether `credentials.NAME` may stand in templates.
    `is_standalone`: whether the definition stands alone, as one written by hand: it says itself how long a run may
        take, in whole seconds, and checks no output. Else the workflow's settings say it, to the millisecond.
    `is_draft`: whether nodes that nothing leads to are warnings.
    """

    actions: Mapping[str, ActionForm]
    has_credentials: bool = False
    is_standalone: bool = False
    is_draft: bool = False


def compile_states(document: object, actions: Mapping[str, ActionForm] = MappingProxyType({})) -> CompiledDocument:
    """Take over a definition that is written in Amazon States Language; each state is its own step.

    Its Tasks may name steps that are none of `actions`, but no action of the catalog that is not there yet.

    Raises DocumentError: it is not valid, or needs what is not supported.
    """
    found = problems(document) or unsupported(document)
    if found:
        raise DocumentError(found)
    definition = read_definition(document, Diagnostics())
    found = named_too_early(definition, actions)
    if found:
        raise DocumentError(found)
    return CompiledDocument(definition=definition, states={name: name for name in definition["States"]})


_COMPILERS: Final[Mapping[str, Callable[[object, DocumentOptions], CompiledDocument]]] = MappingProxyType(
    {
        "asl": lambda document, options: compile_states(document, options.actions),
        "graph": lambda document, options: compile_graph(
            document,
            actions=options.actions,
            has_credentials=options.has_credentials,
            is_standalone=options.is_standalone,
            is_draft=options.is_draft,
        ),
        "service": lambda document, options: compile_service(
            document,
            actions=options.actions,
            has_credentials=options.has_credentials,
            is_standalone=options.is_standalone,
        ),
        "steps": lambda document, options: compile_steps(
            document,
            actions=options.actions,
            has_credentials=options.has_credentials,
            is_standalone=options.is_standalone,
        ),
    }
)
FORMATS: Final = tuple(_COMPILERS)
"""The names of all formats."""


def compile_document(name: str, document: object, options: DocumentOptions) -> CompiledDocument:
    """Compile a document of the format of that name, one of FORMATS.

    Raises DocumentError, with every problem that is found; nothing else, whatever the document is.
    """
    return _COMPILERS[name](document, options)
