"""Compares each snapshot with the fold of its stream at its seq, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

from perdure.engine.core.snapshots import FORMAT, workflow_format
from perdure.engine.log.snapshots import Unusable, check, restore
from perdure.engine.runtime.streams.fold import StreamFold
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import SnapshotRow, StreamRow

_FORMATS: Final[Mapping[str, int]] = {"execution": FORMAT, "workflow": workflow_format()}


def kind_of(snapshot: SnapshotRow) -> str:
    """The type of stream that a snapshot says it is of; one of a form that is not known is an execution's."""
    return "workflow" if snapshot.format == workflow_format() else "execution"


async def snapshots_with_flaws(
    store: Store, organization_id: bytes | None = None
) -> AsyncIterator[tuple[SnapshotRow, str]]:
    """Snapshots of a store, or of one organization, that differ from the fold of their stream, each with the reason.

    One of another form is not judged: it was so when it was written, and the next one will replace it.
    """
    after = b""
    while page := await store.snapshots(after=after):
        for snapshot in page:
            stream = await store.stream(snapshot.stream_id)
            if organization_id in {None, None if stream is None else stream.organization_id}:
                flaw = await _flaw(store, stream, snapshot)
                if flaw is not None:
                    yield snapshot, flaw
        after = page[-1].stream_id


async def _flaw(store: Store, stream: StreamRow | None, snapshot: SnapshotRow) -> str | None:
    if stream is None or stream.kind not in _FORMATS:
        return "there is no such execution or workflow"
    if snapshot.format != _FORMATS[stream.kind]:
        return None
    fold = StreamFold(stream)
    try:
        check(snapshot)
        await fold.read(store, to=snapshot.seq)
        restored = restore(snapshot, fold.head.hash if fold.head.seq == snapshot.seq else None)
    except Unusable as flaw:
        return str(flaw)
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
        return f"the events up to it cannot be folded: {error!r}"
    names = fold.state.__struct_fields__
    wrong = next((name for name in names if getattr(restored, name) != getattr(fold.state, name)), None)
    return None if wrong is None else f"its {wrong} is not the fold's"
