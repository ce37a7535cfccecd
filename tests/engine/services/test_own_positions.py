"""Where a page went on to is told without a run of somebody else's, and nothing is left out or shown twice by that."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.services.finding import own_position
from perdure.store.records import ExecutionRow
from tests.store.builders import execution

LOOK = 3
"""So many entries a page looks at."""

IDS = st.builds(
    lambda ms, rest: ms.to_bytes(6, "big") + rest.to_bytes(10, "big"), st.integers(1, 4), st.integers(1, 2**80 - 1)
)


def page(
    runs: dict[bytes, bool], beyond: bytes | None, is_newest_first: bool
) -> tuple[list[ExecutionRow], bytes, bool]:
    """What is found among the next entries, how far that was, and whether it was the end."""
    ordered = sorted(runs, reverse=is_newest_first)
    if beyond is not None:
        ordered = [each for each in ordered if (each < beyond if is_newest_first else each > beyond)]
    looked = ordered[:LOOK]
    rows = [execution(each) for each in looked if runs[each]]
    return rows, looked[-1] if looked else b"", len(ordered) < LOOK


@given(runs=st.dictionaries(IDS, st.booleans(), max_size=40), is_newest_first=st.booleans())
def test_pages_go_on_right_beside_the_runs_of_others(runs: dict[bytes, bool], is_newest_first: bool) -> None:
    """Each run of one's own is found once, in order; of others no id is told, unless a page would not move on."""
    others = {each for each, is_own in runs.items() if not is_own}
    found: list[bytes] = []
    beyond: bytes | None = None
    while True:
        rows, position, is_end = page(runs, beyond, is_newest_first)
        found += [row.execution_id for row in rows]
        if is_end:
            break
        told = own_position(position, rows, beyond, is_newest_first=is_newest_first)
        has_moved: Any = beyond is None or (told < beyond if is_newest_first else told > beyond)
        assert has_moved
        crowd = [each for each in runs if each[:6] == position[:6]]
        assert told not in others or len(crowd) >= LOOK
        beyond = told
    assert found == sorted((each for each, is_own in runs.items() if is_own), reverse=is_newest_first)
