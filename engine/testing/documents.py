"""Documents of steps, graphs and service steps, for a simulation."""

from __future__ import annotations

from typing import Any

from perdure.engine.language.formats.documents import DocumentOptions
from perdure.engine.services.documents import Format, GivenDocument, compile_given
from perdure.engine.steps import Registry
from perdure.engine.steps.action_forms import action_forms


def definition_of(document: Any, format: Format, *, steps: Registry | None = None) -> dict[str, Any]:  # noqa: A002 everybody's word
    """Compile a document of that format to the definition that `simulate` runs; its states are named as its steps.

    `steps` are those of your own that it calls. Raises `engine.errors.Invalid`, with every problem in
    `details["errors"]`.
    """
    options = DocumentOptions(action_forms(steps), is_standalone=True)
    return dict(compile_given(GivenDocument(format, document), options).definition)
