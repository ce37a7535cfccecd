"""Executions found by filter, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.store.protocols import Store
from perdure.store.records import CountChange, CountRow, ExecutionRow, ProcessIdRow, StreamAppend
from perdure.store.run_filter import ID_MAX, RunFilter
from tests.store.builders import (
    NOW,
    ORG,
    OTHER_WORKFLOW,
    OTHER_WORKSPACE,
    WORKFLOW,
    WORKSPACE,
    event,
    execution,
    head_of,
    part,
    process_id,
    uid,
)
from tests.store.contract.conftest import BACKENDS

ALL = RunFilter(ORG, WORKSPACE)
STATUSES = ["pending", "running", "waiting", "completed", "failed", "timed_out", "terminated"]


def run_id(number: int) -> bytes:
    """An id that was drawn at `NOW`, in the order of the numbers."""
    return NOW.to_bytes(6, "big") + number.to_bytes(10, "big")


def started(row: ExecutionRow, name: str | None = None, own_error: str | None = None) -> StreamAppend:
    """An execution with the process id that it chose, and the error of its own that is in its payload."""
    claims: list[ProcessIdRow] = [] if name is None else [process_id(name, row.execution_id)]
    added = part(row.execution_id, puts=[row], claims=[c._replace(workspace_id=row.workspace_id) for c in claims])
    if own_error is None:
        return added
    return added._replace(
        events=[event(1, payload=f'{{"error":"{own_error}"}}')],
        puts=[row._replace(error=None, error_ref="1/error")],
    )


async def found(store: Store, wanted: RunFilter, limit: int = 3, *, newest_first: bool = True) -> list[bytes]:
    """What is on all pages, one after the other."""
    ids: list[bytes] = []
    beyond, is_end = None, False
    while not is_end:
        page = await store.find_executions(wanted, newest_first=newest_first, beyond=beyond, limit=limit)
        assert len(page.rows) <= limit
        ids += [row.execution_id for row in page.rows]
        beyond, is_end = page.position, page.is_end
    return ids


async def some(store: Store) -> None:
    """One execution of each status, the last two of another workflow; and one of another workspace."""
    rows = [
        execution(run_id(number), status=status, created_at=NOW + number) for number, status in enumerate(STATUSES, 1)
    ]
    rows[5:] = [row._replace(workflow_id=OTHER_WORKFLOW, state="B") for row in rows[5:]]
    await store.append([started(row) for row in rows])
    await store.append([started(execution(run_id(99), workspace_id=OTHER_WORKSPACE, status="failed"), "INV-99")])


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (ALL, [7, 6, 5, 4, 3, 2, 1]),
        (ALL._replace(values={"status": ["failed"]}), [5]),
        (ALL._replace(values={"status": ["running", "terminated", "waiting", "pending"]}), [7, 3, 2, 1]),
        (ALL._replace(values={"status": ["completed", "failed"]}), [5, 4]),
        (ALL._replace(values={"workflow_id": [OTHER_WORKFLOW]}), [7, 6]),
        (ALL._replace(values={"workflow_id": [OTHER_WORKFLOW], "status": ["failed", "timed_out"]}), [6]),
        (ALL._replace(values={"workflow_id": [WORKFLOW], "status": ["waiting"]}), [3]),
        (ALL._replace(values={"state": ["B"]}), [7, 6]),
        (ALL._replace(values={"trigger_type": ["SCHEDULE"]}), []),
        (ALL._replace(created_from=NOW + 3, created_to=NOW + 5), [5, 4, 3]),
        (ALL._replace(created_from=NOW + 3 * 3_600_000), []),
        (ALL._replace(before=run_id(4), after=run_id(1)), [3, 2]),
        (ALL._replace(workspace_id=OTHER_WORKSPACE), [99]),
        (ALL._replace(workspace_id=OTHER_WORKSPACE, process_id="INV"), [99]),
        (ALL._replace(process_id="INV"), []),
    ],
)
async def test_what_is_found(store: Store, wanted: RunFilter, numbers: list[int]) -> None:
    """All that the filter lets through, of this workspace alone, in either direction."""
    await some(store)

    assert await found(store, wanted) == [run_id(number) for number in numbers]
    assert await found(store, wanted, newest_first=False) == [run_id(number) for number in reversed(numbers)]


async def test_errors_are_found_wherever_their_name_stands(store: Store) -> None:
    """A reserved name stands in the column, a business's own in the payload; the first is not found by the second."""
    await store.append(
        [
            started(execution(run_id(1), status="failed", error="States.Timeout")),
            started(execution(run_id(2), status="failed"), own_error="CardDeclined"),
            started(execution(run_id(3), status="timed_out", error="States.Timeout")),
            started(execution(run_id(4), status="failed"), own_error="CardExpired"),
            started(execution(run_id(5), status="completed")),
        ]
    )

    assert await found(store, ALL._replace(error="States.Timeout")) == [run_id(3), run_id(1)]
    assert await found(store, ALL._replace(error="CardDeclined")) == [run_id(2)]
    assert await found(store, ALL._replace(error="Card")) == []
    assert await found(store, ALL._replace(error="States.Timeout", values={"status": ["failed"]})) == [run_id(1)]
    assert await found(store, ALL._replace(error="CardDeclined", values={"status": ["timed_out"]})) == []
    assert await found(store, ALL._replace(error="CardDeclined", values={"status": ["timed_out", "failed"]})) == [
        run_id(2)
    ]


@pytest.mark.parametrize("look", [2, 10_000])
async def test_process_ids_are_found_by_how_they_begin(
    store: Store, look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen ones, whatever stands in them, and those that are the execution's id; many of them, or few."""
    monkeypatch.setattr("perdure.store.sql.finding.CLOSE_LOOK_MAX", look)
    names = ["INV-1", "INV-10", "INV", "INW", "inv-1", "INV\U0010fffd", "100%", "10_", None, run_id(2).hex()]
    await store.append([started(execution(run_id(number)), name) for number, name in enumerate(names, 1)])

    async def numbers(prefix: str, **more: Any) -> list[int]:
        wanted = ALL._replace(process_id=prefix, **more)
        return [int.from_bytes(each[6:], "big") for each in await found(store, wanted)]

    assert await numbers("INV") == [6, 3, 2, 1]
    assert await numbers("INV-1") == [2, 1]
    assert await numbers("10_") == [8]
    assert await numbers("%") == []
    implied = run_id(9).hex()
    assert await numbers(f"{implied[:8]}-{implied[8:10]}") == [9]  # of no other: those have names of their own
    assert await numbers(implied[:8]) == [10, 9]
    assert await numbers("INV", values={"status": ["failed"]}) == []
    assert await numbers("INV", error="E") == []
    assert await numbers("INV", before=run_id(3)) == [2, 1]


async def test_a_page_looks_at_so_much_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lets through almost nothing costs what all do: pages are short, or empty, and say how far they looked."""
    monkeypatch.setattr("perdure.store.sql.finding.LOOK_MAX", 10)
    rows = [execution(run_id(number), state="B" if number == 5 else "A") for number in range(1, 101)]
    await store.append([started(row) for row in rows])
    wanted = ALL._replace(values={"state": ["B"]})

    page = await store.find_executions(wanted)

    assert page.is_end or (page.rows, page.position) == ([], run_id(91))
    assert await found(store, wanted) == [run_id(5)]
    assert await found(store, wanted, newest_first=False) == [run_id(5)]


async def test_a_walk_shows_each_once_while_runs_are_added_and_end(store: Store) -> None:
    """What was there at the start is shown once, whatever is added and changes between the pages."""
    first = [started(execution(run_id(10 * number))) for number in range(1, 21)]
    await store.append(first)
    ids: list[bytes] = []
    beyond, is_end = None, False
    while not is_end:
        page = await store.find_executions(ALL, beyond=beyond, limit=3)
        ids += [row.execution_id for row in page.rows]
        beyond, is_end = page.position, page.is_end
        if first:
            ended = first.pop()
            row = execution(ended.stream_id, status="completed")
            await store.append([part(ended.stream_id, head_of(ended), puts=[row])])
            await store.append([started(execution(run_id(1000 + len(ids))))])

    assert ids == [run_id(10 * number) for number in range(20, 0, -1)]


# --- any executions, any filter ------------------------------------------------------------------------------------

ROWS = st.builds(
    *(execution, st.just(b"")),
    status=st.sampled_from(STATUSES),
    state=st.sampled_from(["A", "B", None]),
    workflow_id=st.sampled_from([WORKFLOW, OTHER_WORKFLOW]),
    workspace_id=st.sampled_from([WORKSPACE, WORKSPACE, OTHER_WORKSPACE]),
    created_at=st.integers(NOW, NOW + 3),
    error=st.sampled_from([None, "E"]),
)
DRAWN = st.lists(
    st.tuples(ROWS, st.sampled_from([None, "INV-", "X"]), st.sampled_from([None, None, "E", "F"])), max_size=12
)
FILTERS = st.builds(
    *(partial(RunFilter, ORG, WORKSPACE),),
    values=st.fixed_dictionaries(
        {},
        optional={
            "status": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=4),
            "workflow_id": st.lists(st.sampled_from([WORKFLOW, OTHER_WORKFLOW]), min_size=1, max_size=2),
            "state": st.just(["A"]),
        },
    ),
    error=st.sampled_from([None, None, "E", "F"]),
    process_id=st.sampled_from([None, None, "I", "INV-1", run_id(0).hex()[:8], "X"]),
    created_from=st.none() | st.integers(NOW, NOW + 3),
    created_to=st.none() | st.integers(NOW, NOW + 3),
    after=st.just(b""),
    before=st.just(ID_MAX),
)


def lets(wanted: RunFilter, row: ExecutionRow, name: str | None, own_error: str | None) -> bool:
    """What a filter means, said once more."""
    error = own_error if row.status == "failed" and own_error is not None else row.error
    shown = name or f"{row.execution_id.hex()[:8]}-{row.execution_id.hex()[8:12]}"
    return (
        row.workspace_id == WORKSPACE
        and row.status in wanted.values.get("status", STATUSES)
        and row.workflow_id in wanted.values.get("workflow_id", [WORKFLOW, OTHER_WORKFLOW])
        and ("state" not in wanted.values or row.state == "A")
        and wanted.error in {None, error}
        and (wanted.process_id is None or shown.startswith(wanted.process_id))
        and row.created_at >= (wanted.created_from or 0)
        and row.created_at <= (wanted.created_to or 2**62)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=DRAWN, wanted=st.lists(FILTERS, min_size=4, max_size=8), limit=st.integers(1, 5), look=st.integers(1, 6))
def test_any_filter_finds_what_it_lets_through(
    tmp_path_factory: pytest.TempPathFactory,
    backend: Any,
    drawn: Sequence[Any],
    wanted: list[RunFilter],
    limit: int,
    look: int,
) -> None:
    """Whatever is there, all pages together show what the filter lets through, each once and in order."""

    async def run(folder: Path) -> None:
        rows = [
            (
                row._replace(execution_id=run_id(number)),
                name and f"{name}{number}",
                own if row.status == "failed" else None,
            )
            for number, (row, name, own) in enumerate(drawn)
        ]
        async with backend(folder) as store:
            await store.append([started(*each) for each in rows])
            for each in wanted:
                expected = [row.execution_id for row, name, own in rows if lets(each, row, name, own)]
                assert await found(store, each, limit, newest_first=False) == expected
                assert await found(store, each, limit) == expected[::-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perdure.store.sql.finding.LOOK_MAX", look)
        patch.setattr("perdure.store.sql.finding.CLOSE_LOOK_MAX", look)
        asyncio.run(run(tmp_path_factory.mktemp("finding")))


# --- counts ----------------------------------------------------------------------------------------------------------


def counted(stream: StreamAppend, *changes: tuple[str, int], workflow: bytes = WORKFLOW) -> StreamAppend:
    return stream._replace(counts=[CountChange(WORKSPACE, workflow, *change) for change in changes])


async def test_counts_are_added_up(store: Store) -> None:
    """What each part of a batch says is added; what there is none of any more is not shown."""
    first, second, third = (part(uid(number), puts=[execution(uid(number))]) for number in (1, 2, 3))
    await store.append([counted(first, ("running", 1)), counted(second, ("running", 1))])
    await store.append([counted(third, ("waiting", 1), workflow=OTHER_WORKFLOW)])
    await store.append([counted(part(uid(1), head_of(first)), ("running", -1), ("completed", 1))])

    completed, running = (CountRow(WORKSPACE, WORKFLOW, status, 1) for status in ("completed", "running"))
    assert await store.execution_counts(WORKSPACE, workflow_id=WORKFLOW) == [completed, running]
    assert await store.execution_counts(WORKSPACE) == [
        *(completed, running, CountRow(WORKSPACE, OTHER_WORKFLOW, "waiting", 1)),
    ]
    await store.append([counted(part(uid(2), head_of(second)), ("running", -1), ("completed", 1))])
    assert await store.execution_counts(WORKSPACE, workflow_id=WORKFLOW) == [completed._replace(total=2)]
    assert await store.execution_counts(OTHER_WORKSPACE) == []


async def test_what_is_left_out_counts_nothing(store: Store) -> None:
    """A part that was refused leaves the counts as they were, those of its batch are added."""
    first, other = part(uid(1)), part(uid(2))
    await store.append([counted(first, ("running", 1))])

    answer = await store.append([counted(first, ("running", 1)), counted(other, ("running", 1))])

    assert set(answer.refused) == {uid(1)}
    assert await store.execution_counts(WORKSPACE) == [CountRow(WORKSPACE, WORKFLOW, "running", 2)]


async def test_a_count_that_is_wrong_shows(store: Store) -> None:
    """Counts are compared with the executions there are, those of which there is no row too."""
    await store.append([counted(part(uid(1), puts=[execution(uid(1))]), ("running", 1))])
    assert await store.miscounted() == []

    await store.append([counted(part(uid(2)), ("failed", 1)), part(uid(3), puts=[execution(uid(3), status="waiting")])])

    assert await store.miscounted() == [
        (CountRow(WORKSPACE, WORKFLOW, "failed", 1), 0),
        (CountRow(WORKSPACE, WORKFLOW, "waiting", 0), 1),
    ]
