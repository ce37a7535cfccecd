"""Reads of waits and timers that take pending endings into account (`store.records.Ending`)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, case, func, literal_column, select

from perdure.store.records import CANCELLED
from perdure.store.schema import OPEN, endings, timers, waits

_ENDS: Final = and_(endings.c.execution_id == waits.c.execution_id, endings.c.seq >= waits.c.opened_seq)
_LATER: Final = endings.alias("later")
_BY: Final = (
    select(func.min(_LATER.c.seq))
    .where(_LATER.c.execution_id == waits.c.execution_id, _LATER.c.seq >= waits.c.opened_seq)
    .scalar_subquery()
)

IS_OPEN: Final = and_(OPEN, ~select(endings.c.seq).where(_ENDS).exists())
"""Whether a wait is open."""

IS_CURRENT: Final = ~(
    select(endings.c.seq)
    .where(endings.c.execution_id == timers.c.execution_id, endings.c.seq >= timers.c.timer, timers.c.timer > 1)
    .exists()
)
"""Whether a timer is there."""

_OUTCOME: Final = case((endings.c.seq.is_(None), waits.c.outcome), else_=literal_column(f"'{CANCELLED}'"))

SEEN_WAITS: Final = select(
    *(column for column in waits.columns if column.name not in {"outcome", "ended_seq", "ended_at"}),
    _OUTCOME.label("outcome"),
    func.coalesce(waits.c.ended_seq, endings.c.seq).label("ended_seq"),
    func.coalesce(waits.c.ended_at, endings.c.ended_at).label("ended_at"),
).select_from(
    waits.outerjoin(endings, and_(OPEN, endings.c.execution_id == waits.c.execution_id, endings.c.seq == _BY))
)
"""Waits, each of them with its end."""
