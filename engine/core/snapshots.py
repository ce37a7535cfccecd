"""Serialization of the states of executions and workflows, for snapshots.

A snapshot may be thrown away at any time, so nothing here is a promise: another `FORMAT` means a full fold.
"""

from __future__ import annotations

import zlib
from functools import cache
from types import GenericAlias, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args, get_origin

import msgspec

from perdure.engine.core import state as states
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.state import State

if TYPE_CHECKING:  # its rules, and the language with them, which commands that read have no use for, come with it
    from perdure.engine.core.workflow import WorkflowState

_MEANING: Final = 2
"""To be raised when `evolve` makes another state of the same events, in fields that are the same."""


def _form(*modules: ModuleType) -> int:
    """A number for the fields of a state and of all that is in it, by name, type and order."""
    named = [each for module in modules for each in vars(module).values()]
    structs = [each for each in named if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    fields = [(each.__name__, list(each.__annotations__.items())) for each in structs]
    return zlib.crc32(f"{_MEANING} {fields}".encode()) >> 1  # a column of 32 bits has a sign


FORMAT: Final = _form(states)
"""The version of the form. It changes by itself with `State`: a text without a new field would read as its default."""


class _Workflows(NamedTuple):
    """The form of a workflow's state, and what reads it."""

    format: int
    decoder: msgspec.json.Decoder[WorkflowState]


@cache
def _workflows() -> _Workflows:
    from perdure.engine.core import schedules, workflow  # noqa: PLC0415 see above

    return _Workflows(_form(workflow, schedules), msgspec.json.Decoder(workflow.WorkflowState))


def _plain(value: Any) -> Any:
    """A persistent map as a dict, for the encoder."""
    if isinstance(value, PersistentMap):
        return dict(sorted(value.items()))  # in order, so that equal states have equal bytes
    message = f"a state holds no {type(value).__name__}"
    raise NotImplementedError(message)


def _persistent(kind: Any, value: Any) -> Any:
    """A persistent map from a dict, for the decoder."""
    if get_origin(kind) is not PersistentMap:
        message = f"a state holds no {kind}"
        raise NotImplementedError(message)
    plain: Any = GenericAlias(dict, get_args(kind))
    return PersistentMap(msgspec.convert(value, plain, strict=False, dec_hook=_persistent))


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain)
_decoder: Final = msgspec.json.Decoder(State, dec_hook=_persistent)


def format_of(state: State | WorkflowState) -> int:
    """The version of the form that a state is written in."""
    return FORMAT if isinstance(state, State) else workflow_format()


def workflow_format() -> int:
    """The version of the form of workflows' states."""
    return _workflows().format


def encode_state(state: State | WorkflowState) -> bytes:
    """A state as JSON. Equal states give equal bytes."""
    return _encoder.encode(state)


def decode_state(text: bytes) -> State:
    """The state that `encode_state` wrote. Raises `msgspec.ValidationError` if it is of another form."""
    return _decoder.decode(text)


def decode_workflow(text: bytes) -> WorkflowState:
    """The state of a workflow, likewise."""
    return _workflows().decoder.decode(text)
