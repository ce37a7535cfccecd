"""Filters of executions: which are wanted, as data, and the indexes along which they are looked for.

A page is by execution id. It is found along one index or several, each walked in that order, and what the index does
not tell is looked at in each row. Every walk is bounded, so a filter that lets through almost nothing costs what others
do: its pages are short, and say how far they looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from perdure.store.records import ExecutionRow

LOOK_MAX: Final = 10_000
"""So many entries of an index a page looks at."""

CLOSE_LOOK_MAX: Final = 2_000
"""And at so many where each takes longer: names that begin as is wanted, payloads that may have an error's name."""

ENDED_BADLY: Final = frozenset({"failed", "timed_out", "terminated"})
LIVE: Final = frozenset({"pending", "running"})
COMPLETED: Final = "completed"

ID_MIN: Final = b""
ID_MAX: Final = b"\xff" * 17
"""Below and above all ids."""

TIME_BYTES: Final = 6
ID_SLACK_MS: Final = 60_000
"""An execution begins at most so long after, or before, the instant that its id tells, or it is not found by time.

An id is drawn just before the run begins. A child's may be older: its start is repeated after a crash.
"""

RunIndex: TypeAlias = Literal["workspace", "workflow", "live", "by_status", "ended_badly", "with_error"]


class RunFilter(NamedTuple):
    """A filter of executions, which must be all of this. What has no value lets everything through.

    `values`: by column of `ExecutionRow`, those that it may have. `error` is its name, wherever it stands: in its
    column, or as a business's own name in the payload that `error_ref` names, unless it `is_reserved`. `process_id` is
    how the process id begins (the chosen one, or else the text of the execution id). `created_from` is the first
    instant of its beginning and `created_to` the last; `after` and `before` are ids between which its own lies.
    """

    organization_id: bytes
    workspace_id: bytes
    values: Mapping[str, Sequence[Any]] = {}
    error: str | None = None
    is_reserved: bool = False
    process_id: str | None = None
    created_from: int | None = None
    created_to: int | None = None
    after: bytes = ID_MIN
    before: bytes = ID_MAX

    @property
    def bounds(self) -> tuple[bytes, bytes]:
        """The ids above and below which nothing is looked at."""
        lowest, highest = self.after, self.before
        if self.created_from is not None:
            lowest = max(lowest, _id_at(self.created_from - ID_SLACK_MS))
        if self.created_to is not None:
            highest = min(highest, _id_at(self.created_to + ID_SLACK_MS + 1))
        return lowest, highest

    def lets(self, row: ExecutionRow) -> bool:
        """Whether what a row has of itself lets it through; of the error and the process id it does not tell all."""
        return (
            row.workspace_id == self.workspace_id
            and all(getattr(row, column) in accepted for column, accepted in self.values.items())
            and (self.created_from is None or row.created_at >= self.created_from)
            and (self.created_to is None or row.created_at <= self.created_to)
        )


class FoundRuns(NamedTuple):
    """Some executions by id. Up to `position` nothing is left out; `is_end`: there are none beyond it."""

    rows: list[ExecutionRow]
    position: bytes
    is_end: bool


class IndexWalk(NamedTuple):
    """An index to be walked by id, with the value it is entered at; `workspace` has none but the workspace.

    `is_named`: the error's name is in the column. If false it is looked for in the payloads; null: nobody asks.
    """

    along: RunIndex
    value: Any = None
    is_named: bool | None = None


def walks(wanted: RunFilter) -> list[IndexWalk]:
    """The indexes along which all is found that a filter lets through, each execution along one of them."""
    if wanted.error is not None:
        named = IndexWalk("with_error", wanted.error, is_named=True)
        # Only a run that failed has a name of its own for what went wrong.
        may_be_own = not wanted.is_reserved and "failed" in wanted.values.get("status", ("failed",))
        return [named, IndexWalk("by_status", "failed", is_named=False)] if may_be_own else [named]
    workflows, statuses = wanted.values.get("workflow_id"), wanted.values.get("status")
    if statuses and COMPLETED not in statuses:
        return _by_status(sorted(set(statuses)), workflows)
    if workflows:
        return [IndexWalk("workflow", workflow) for workflow in sorted(set(workflows))]
    return [IndexWalk("workspace")]


def _by_status(statuses: Sequence[str], workflows: Sequence[bytes] | None) -> list[IndexWalk]:
    found: list[IndexWalk] = []
    for status in statuses:
        if status in LIVE:
            found += [] if IndexWalk("live") in found else [IndexWalk("live")]
        elif status in ENDED_BADLY and workflows:
            found += [IndexWalk("ended_badly", (workflow, status)) for workflow in sorted(set(workflows))]
        else:
            found.append(IndexWalk("by_status", status))
    return found


class Walked(NamedTuple):
    """The executions that a walk has found: all, or those up to `reached`."""

    rows: list[ExecutionRow]
    reached: bytes | None


def merged(found: Sequence[Walked], *, newest_first: bool, limit: int) -> FoundRuns:
    """One page of what several walks found: no further than the one that came least far."""
    reached = [walked.reached for walked in found if walked.reached is not None]
    rows = sorted(
        (row for walked in found for row in walked.rows), key=lambda row: row.execution_id, reverse=newest_first
    )
    if reached:
        end = max(reached) if newest_first else min(reached)
        rows = [row for row in rows if (row.execution_id >= end if newest_first else row.execution_id <= end)]
    else:
        end = ID_MIN if newest_first else ID_MAX
    if len(rows) > limit:
        return FoundRuns(rows[:limit], rows[limit - 1].execution_id, is_end=False)
    return FoundRuns(rows, end, is_end=not reached)


def begins_with(prefix: str) -> tuple[str, str | None]:
    """The texts from which, and below which, all begin with this one, by code point; null: nothing is above them."""
    for at in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[at]) + 1
        if code == 0xD800:  # noqa: PLR2004 surrogates are in no text
            code = 0xE000
        if code <= 0x10FFFF:  # noqa: PLR2004 the last code point
            return prefix, prefix[:at] + chr(code)
    return prefix, None


def ids_beginning_with(prefix: str) -> tuple[bytes, bytes] | None:
    """The first and the last id of which the text begins so; null if none does."""
    shape = "00000000-0000-0000-0000-000000000000"
    if len(prefix) > len(shape):
        return None
    for at, character in enumerate(prefix):
        if (character != "-") if shape[at] == "-" else character not in "0123456789abcdef":
            return None
    rest = shape[len(prefix) :]
    return tuple(bytes.fromhex((prefix + rest.replace("0", digit)).replace("-", "")) for digit in "0f")  # type: ignore[return-value]


def _id_at(instant: int) -> bytes:
    """What all ids of this instant, and of later ones, are above."""
    return max(0, min(instant, (1 << 8 * TIME_BYTES) - 1)).to_bytes(TIME_BYTES, "big")
