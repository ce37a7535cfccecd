"""Which processes served the database."""

from __future__ import annotations

from perdure.store.protocols import Store
from tests.store.builders import NOW, node


async def test_a_clean_stop_is_not_reported(store: Store) -> None:
    """A node that stopped before the next one starts did not die."""
    assert await store.node_started(node(1)) == []
    await store.node_stopped(node(1).node_id, NOW + 5)

    assert await store.node_started(node(2)) == []


async def test_a_node_that_died_is_reported_once(store: Store) -> None:
    """Whoever did not stop is reported to the next start, as it was, and to no later one."""
    await store.node_started(node(1))

    assert await store.node_started(node(2)) == [node(1)]
    assert await store.node_started(node(3)) == [node(2)]
    await store.node_stopped(node(3).node_id, NOW + 5)
    assert await store.node_started(node(4)) == []


async def test_a_node_may_start_again_under_its_id(store: Store) -> None:
    """Its earlier run is reported if it died; the new one counts as running."""
    await store.node_started(node(1))
    again = node(1, started_at=NOW + 9, heartbeat_at=NOW + 9)

    assert await store.node_started(again) == [node(1)]
    assert await store.node_started(node(2)) == [again]


async def test_to_stop_an_unknown_node_is_no_error(store: Store) -> None:
    """Nothing happens."""
    await store.node_stopped(node(7).node_id, NOW)

    assert await store.node_started(node(1)) == []


async def test_what_a_node_notes_is_told_when_it_has_died(store: Store) -> None:
    """It stands in its row, as it was noted last."""
    await store.node_started(node(1))
    await store.node_noted(node(1, crashes=2, alone_with=b"x" * 32))
    noted = node(1, crashes=3, alone_with=b"")
    await store.node_noted(noted)

    assert await store.node_started(node(2)) == [noted]
