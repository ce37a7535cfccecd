"""A page along several indexes shows one moment: whoever goes from one to another meanwhile is there once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.store.run_filter import IndexWalk, RunFilter, Walked
from perdure.store.sql.finding import _Search
from perdure.store.sqlite import open_sqlite
from tests.store.builders import NOW, ORG, WORKSPACE, execution, head_of, part

RUN = NOW.to_bytes(6, "big") + bytes(10)


@pytest.mark.parametrize(("before", "after"), [("waiting", "running"), ("running", "waiting")])
@pytest.mark.parametrize("prefix", [None, "0"])
async def test_a_run_that_moves_between_two_walks_is_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, prefix: str | None
) -> None:
    """The first walk is along the runs that are live, the second along those that wait: it is in either at any time."""
    store = await open_sqlite(tmp_path / "runs.db")
    started = part(RUN, puts=[execution(RUN, status=before)], claims=[])
    await store.append([started])
    real, walked = _Search.walk, list[IndexWalk]()

    async def walk(self: _Search, index: IndexWalk, *args: Any) -> Walked:
        if len(walked) == 1:
            await store.append([part(RUN, head_of(started), puts=[execution(RUN, status=after)], claims=[])])
        walked.append(index)
        return await real(self, index, *args)

    monkeypatch.setattr(_Search, "walk", walk)
    wanted = RunFilter(ORG, WORKSPACE, {"status": ["pending", "running", "waiting"]}, process_id=prefix)
    found = await store.find_executions(wanted)
    await store.close()
    assert [each.along for each in walked] == ["live", "by_status"]
    assert [row.execution_id for row in found.rows] == [RUN]
