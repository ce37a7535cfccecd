"""Who sees which workflows: every store lists for a viewer what `store.viewer.sees` lets them see, and counts that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from perdure.store.protocols import Store
from perdure.store.records import Row, WorkflowRow
from perdure.store.viewer import Viewer, listed, names_in, sees
from tests.store.builders import ORG, WORKSPACE, part, uid, version, workflow

USERS: tuple[tuple[str, ...], ...] = ((), ("ann",), ("ann", "bob"), ("annabel",), ("ANN",), ("a%", "b_b"))
ROLES: tuple[tuple[str, ...], ...] = ((), ("auditor",), ("audit", "controller"))
VIEWERS = [
    Viewer(None, (), "key:1"),
    Viewer(None, (), "key:2"),
    Viewer("ann", (), "key:2"),
    Viewer("bob", ("auditor",), "key:3"),
    Viewer("b", ("controller", "auditor", "other"), "key:3"),
    Viewer("a%", (), "key:3"),
    Viewer("cay", ("audi",), "key:1"),
    Viewer("", ("",), "key:2"),
    Viewer("ann\n\nbob", ("audit\n\ncontroller",), "key:2"),
    Viewer("key:1", (), "key:2"),
]


def rows() -> Iterator[WorkflowRow]:
    """Workflows of every visibility, whoever owns them and whomever they are shared with."""
    ways = product(("private", "tenant", "shared"), ("", "ann", "bob"), USERS, ROLES)
    for number, (visibility, owner, users, roles) in enumerate(ways):
        yield workflow(
            uid(number + 1),
            visibility=visibility,
            owner=owner,
            shared_users=listed(users),
            shared_roles=listed(roles),
            status="draft" if number % 3 else "published",
        )


ROWS = list(rows())


@pytest.fixture
async def filled(store: Store) -> Store:
    """A store with all of them, each with a version."""
    for row in ROWS:
        puts: list[Row] = [row, version(row.workflow_id, 1)]
        await store.append([part(row.workflow_id, kind="workflow", puts=puts)])
    return store


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_a_viewer_is_listed_what_they_see(filled: Store, viewer: Viewer) -> None:
    """Newest first, full pages and the number of what is seen: nothing is told of the others."""
    seen = [row for row in reversed(ROWS) if sees(viewer, row)]
    assert 0 < len(seen) < len(ROWS)

    assert await filled.workflows(WORKSPACE, viewer=viewer, limit=1000) == (seen, len(seen))
    assert await filled.workflows(WORKSPACE, viewer=viewer, limit=7, offset=3) == (seen[3:10], len(seen))
    drafts = [row for row in seen if row.status == "draft"]
    found = await filled.workflows(WORKSPACE, viewer=viewer, status="draft", search="A WORK", limit=5)
    assert found == (drafts[:5], len(drafts))


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_a_name_means_what_a_viewer_sees(filled: Store, viewer: Viewer) -> None:
    """However many newer ones of the name are not for them."""
    seen = [row for row in reversed(ROWS) if sees(viewer, row)]
    assert await filled.workflows_named(WORKSPACE, ROWS[0].name, viewer) == seen[:2]
    assert await filled.workflows_named(WORKSPACE, ROWS[0].name) == ROWS[-1:-3:-1]


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_a_page_goes_on_below_a_workflow(filled: Store, viewer: Viewer) -> None:
    """Pages by id meet, and the number stays that of all."""
    seen = [row for row in reversed(ROWS) if sees(viewer, row)]
    found: list[WorkflowRow] = []
    before = None
    while True:
        page, total = await filled.workflows(WORKSPACE, viewer=viewer, before=before, limit=10)
        assert total == len(seen)
        if not page:
            break
        found += page
        before = page[-1].workflow_id
    assert found == seen


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("workspace_id", [WORKSPACE, None])
async def test_a_viewer_is_listed_versions_of_what_they_see(
    filled: Store, viewer: Viewer, workspace_id: bytes | None
) -> None:
    """The pages are full, of a workspace as of the organization."""
    seen = [row.workflow_id for row in reversed(ROWS) if sees(viewer, row)]
    page = await filled.workflow_version_page(ORG, workspace_id=workspace_id, viewer=viewer, limit=9)
    assert [row.workflow_id for row, _ in page] == seen[:9]
    before = (page[-1][1].workflow_id, page[-1][1].version)
    more = await filled.workflow_version_page(ORG, workspace_id=workspace_id, viewer=viewer, before=before, limit=1000)
    assert [row.workflow_id for row, _ in more] == seen[9:]


async def test_nobody_in_particular_is_listed_everything(filled: Store) -> None:
    """The engine itself looks for all."""
    assert await filled.workflows(WORKSPACE, limit=1000) == (ROWS[::-1], len(ROWS))


async def test_what_a_version_was_made_from_is_kept_as_it_is(store: Store) -> None:
    """Byte for byte, with what goes with it."""
    made = version(
        uid(1), 1, format="steps", source='{"name": "\u00fc", "steps" : []}', outline='{"steps":[]}', summary="first\n"
    )
    await store.append([part(uid(1), kind="workflow", puts=[workflow(uid(1)), made, version(uid(1), 2)])])
    assert await store.workflow_versions(uid(1)) == [made, version(uid(1), 2)]
    plain = await store.workflow_version(uid(1), 2)
    assert plain is not None
    assert (plain.format, plain.source, plain.outline, plain.summary) == ("asl", None, None, None)


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b c"), ("%", "_", "\\")])
def test_names_are_kept_in_a_text(names: tuple[str, ...]) -> None:
    """And come out as they went in."""
    assert names_in(listed(names)) == names


@pytest.mark.parametrize("viewer", [*VIEWERS[-3:], VIEWERS[1]])
def test_who_is_nobody_in_particular_sees_no_more_than_everybody(viewer: Viewer) -> None:
    """No empty name, no several names in one, and no user who is named as the key that made a workflow."""
    assert {row.visibility for row in ROWS if sees(viewer, row)} == {"tenant"}
