"""Which payloads of an execution a later decision may look at: those that a driver should have at hand."""

from __future__ import annotations

from perdure.engine.core.refs import seq_of
from perdure.engine.core.state import State


def live_seqs(state: State) -> frozenset[int]:
    """Seqs of the payloads that the state's references point to.

    What ended branches and iterations gave is not among them: it is looked at once, when their fork ends.
    """
    ends = (state.input, state.output, state.error_ref, state.cause)
    references = [reference for reference in ends if reference]
    for frame in state.frames.values():
        references.append(frame.input)
        references.extend(frame.variables.values())
        if frame.parameters is not None:
            references.append(frame.parameters)
    references.extend(fork.items for fork in state.forks.values() if fork.items is not None)
    return frozenset(map(seq_of, references))
