"""Organizations, workspaces, keys, workflows and their versions."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import Row
from tests.store.builders import (
    NOW,
    ORG,
    OTHER_ORG,
    OTHER_WORKSPACE,
    WORKFLOW,
    WORKSPACE,
    api_key,
    digest,
    organization,
    part,
    uid,
    version,
    workflow,
    workspace,
)


async def put(store: Store, stream_number: int, *rows: Row) -> None:
    await store.append([part(uid(stream_number, space=0xF), puts=rows, kind="organization")])


async def test_organizations_are_found_by_id_and_name(store: Store) -> None:
    """A name is unique; the list ascends by id."""
    acme, other = organization(ORG, "acme"), organization(OTHER_ORG, "other")
    await put(store, 1, other, acme)

    assert await store.organization(ORG) == acme
    assert await store.organization_named("other") == other
    assert await store.organizations() == [acme, other]
    assert await store.organization(uid(9)) is None
    assert await store.organization_named("ACME") is None


async def test_a_name_moves_with_its_organization(store: Store) -> None:
    """A renamed organization is found by its new name only, and another can take the old one."""
    await put(store, 1, organization(ORG, "acme"))
    await put(store, 2, organization(ORG, "acme inc"), organization(OTHER_ORG, "acme"))

    assert await store.organization_named("acme") == organization(OTHER_ORG, "acme")
    assert await store.organization_named("acme inc") == organization(ORG, "acme inc")
    with pytest.raises(StoreError):
        await put(store, 3, organization(OTHER_ORG, "acme inc"))


async def test_workspaces_are_found_by_id_and_name(store: Store) -> None:
    """A workspace's name is unique within its organization only."""
    mine = workspace(WORKSPACE, "default")
    theirs = workspace(OTHER_WORKSPACE, "default", OTHER_ORG)
    await put(store, 1, mine, theirs)

    assert await store.workspace(OTHER_WORKSPACE) == theirs
    assert await store.workspace_named(ORG, "default") == mine
    assert await store.workspace_named(OTHER_ORG, "default") == theirs
    assert await store.workspace_named(ORG, "another") is None
    assert await store.workspace(uid(9)) is None


async def test_sandboxes_are_those_workspaces_that_are_paired(store: Store) -> None:
    """Of one organization, by ascending id."""
    paired = [workspace(uid(n), f"sandbox {n}")._replace(live_workspace_id=WORKSPACE) for n in (8, 7)]
    elsewhere = workspace(uid(9), "sandbox", OTHER_ORG)._replace(live_workspace_id=OTHER_WORKSPACE)
    await put(store, 1, workspace(WORKSPACE, "default"), *paired, elsewhere)
    assert await store.sandboxes(ORG) == paired[::-1]
    assert await store.sandboxes(OTHER_ORG) == [elsewhere]
    assert await store.sandboxes(uid(5)) == []


async def test_keys_are_found_by_id_and_digest(store: Store) -> None:
    """A key is looked up by what it is; the list is of an organization, or of one workspace of it."""
    mine, beside = api_key(uid(2)), api_key(uid(1), workspace_id=OTHER_WORKSPACE)
    theirs = api_key(uid(3), organization_id=OTHER_ORG)
    await put(store, 1, mine, beside, theirs)
    revoked = theirs._replace(revoked_at=NOW)
    await put(store, 2, revoked)

    assert await store.api_key(uid(2)) == mine
    assert await store.api_key_by_digest(digest(uid(3))) == revoked
    assert await store.api_key_by_digest(digest("unknown")) is None
    assert await store.api_keys(ORG) == [beside, mine]
    assert await store.api_keys(ORG, WORKSPACE) == [mine]
    assert await store.api_keys(OTHER_ORG) == [revoked]
    assert await store.api_keys(uid(9)) == []


async def test_keys_are_listed_in_pages(store: Store) -> None:
    """By ascending id, of an organization or of one workspace of it."""
    places = [WORKSPACE, OTHER_WORKSPACE, WORKSPACE, WORKSPACE]
    made = [api_key(uid(number), workspace_id=place) for number, place in enumerate(places, 1)]
    await put(store, 1, *reversed(made))

    assert await store.api_keys(ORG, limit=2) == made[:2]
    assert await store.api_keys(ORG, after=uid(2), limit=2) == made[2:]
    assert await store.api_keys(ORG, WORKSPACE, limit=2) == [made[0], made[2]]
    assert await store.api_keys(ORG, WORKSPACE, after=uid(3)) == [made[3]]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, True),
        ({"scopes": "operator"}, True),
        ({"scopes": "runs.view cooperator"}, False),
        ({"expires_at": NOW}, False),
        ({"expires_at": NOW + 1}, True),
        ({"revoked_at": NOW}, False),
        ({"organization_id": ORG}, False),
    ],
)
async def test_an_operator_elsewhere_is_found(store: Store, fields: dict[str, Any], found: bool) -> None:
    """One whose key is good, in another organization."""
    key = api_key(uid(1), organization_id=OTHER_ORG)._replace(scopes="runs.view operator keys.manage")
    await put(store, 1, key._replace(**fields))

    assert await store.has_operator(ORG, NOW) is found


async def test_uses_of_keys_are_noted(store: Store) -> None:
    """The last of each key, of those that have one."""
    assert await store.key_uses([uid(1)]) == {}
    await store.keys_used({uid(1): NOW, uid(2): NOW})
    await store.keys_used({uid(1): NOW + 5})

    assert await store.key_uses([uid(1), uid(2), uid(3)]) == {uid(1): NOW + 5, uid(2): NOW}


async def test_the_latest_keys_are_those_that_are_in_use(store: Store) -> None:
    """By their last use, or when they were made; those that were revoked are left out."""
    await put(
        store,
        1,
        api_key(uid(1)),
        api_key(uid(2), created_at=NOW + 7),
        api_key(uid(3), created_at=NOW + 9, revoked_at=NOW + 10),
        api_key(uid(4)),
    )
    await store.keys_used({uid(1): NOW + 8})

    latest = [digest(uid(1)), digest(uid(2)), digest(uid(4))]
    assert await store.latest_keys(10) == latest
    assert await store.latest_keys(2) == latest[:2]


async def test_versions_of_a_workflow(store: Store) -> None:
    """Versions ascend; the latest published one is not always the latest."""
    versions = [version(WORKFLOW, number) for number in (1, 2, 10)]
    draft = version(WORKFLOW, 11, published_at=None, mock_payload="{}")
    await put(store, 1, workflow(WORKFLOW), *reversed(versions), draft)

    assert await store.workflow(WORKFLOW) == workflow(WORKFLOW)
    assert await store.workflow_versions(WORKFLOW) == [*versions, draft]
    assert await store.workflow_version(WORKFLOW, 11) == draft
    assert await store.workflow_version(WORKFLOW, 3) is None
    assert await store.latest_published(WORKFLOW) == versions[2]
    assert await store.latest_published(uid(9)) is None
    assert await store.workflow(uid(9)) is None
    assert await store.workflows_of([uid(9), WORKFLOW]) == {WORKFLOW: workflow(WORKFLOW)}
    assert await store.workflows_of([]) == {}


NAMES = ["Invoices", "50% off", "under_score", "Überweisung", "invoice check", "a\\b"]


@pytest.fixture
async def named(store: Store) -> Store:
    """Six workflows of one workspace, the third a draft, and one of another."""
    rows = [workflow(uid(number), name=name) for number, name in enumerate(NAMES)]
    rows[2] = rows[2]._replace(status="draft")
    await put(store, 1, *rows, workflow(uid(99), name="Invoices", workspace_id=OTHER_WORKSPACE))
    return store


async def names(store: Store, **wanted: Any) -> tuple[list[str], int]:
    rows, count = await store.workflows(WORKSPACE, **wanted)
    return [row.name for row in rows], count


async def test_workflows_are_listed_newest_first(named: Store) -> None:
    """A page of a workspace's workflows, and how many there are in all."""
    assert await names(named) == (NAMES[::-1], 6)
    assert await names(named, limit=2, offset=1) == (["invoice check", "Überweisung"], 6)
    assert await names(named, limit=2, offset=5) == (["Invoices"], 6)
    assert await names(named, offset=6) == ([], 6)
    assert await names(named, status="draft") == (["under_score"], 1)
    assert await named.workflows(uid(9)) == ([], 0)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("INVOICE", ["invoice check", "Invoices"]),
        ("üBER", ["Überweisung"]),
        ("%", ["50% off"]),
        ("_", ["under_score"]),
        ("\\", ["a\\b"]),
        ("", NAMES[::-1]),
        ("nothing like it", []),
        ("x" * 100_000, []),
    ],
)
async def test_workflows_are_searched_by_a_part_of_the_name(named: Store, search: str, found: list[str]) -> None:
    """A search is without case, in all alphabets; what LIKE would take for a wildcard means itself."""
    assert await names(named, search=search) == (found, len(found))


@pytest.mark.parametrize("name", NAMES)
async def test_workflows_are_found_by_their_name(named: Store, name: str) -> None:
    """Exactly that name, in that workspace; what a search would find too is not meant."""
    assert [row.workflow_id for row in await named.workflows_named(WORKSPACE, name)] == [uid(NAMES.index(name))]
    for other in (name.swapcase(), name[:-1], f"{name} ", ""):
        assert await named.workflows_named(WORKSPACE, other) == []
    assert await named.workflows_named(uid(9), name) == []


async def test_a_name_that_several_workflows_have(store: Store) -> None:
    """The newest two of those in use, or if all are archived of those; a renamed one has its new name only."""
    for number in range(1, 5):
        await put(store, number, workflow(uid(number), name="same"))

    async def found(name: str = "same") -> list[bytes]:
        return [row.workflow_id for row in await store.workflows_named(WORKSPACE, name)]

    assert await found() == [uid(4), uid(3)]
    await put(store, 11, workflow(uid(4), name="same", status="archived"), workflow(uid(3), name="new"))
    assert (await found(), await found("new")) == ([uid(2), uid(1)], [uid(3)])
    await put(store, 12, workflow(uid(2), name="same", status="archived"))
    assert await found() == [uid(1)]
    await put(store, 13, workflow(uid(1), name="same", status="archived"))
    assert await found() == [uid(4), uid(2)]


async def test_search_and_status_go_together(named: Store) -> None:
    """Both must hold, and the count is of what both leave."""
    assert await names(named, search="_", status="draft") == (["under_score"], 1)
    assert await names(named, search="_", status="published") == ([], 0)


async def test_pages_of_versions(store: Store) -> None:
    """A row a version, by workflow and version descending, of a workspace or of the whole organization."""
    rows: list[Row] = []
    for number, place in ((1, WORKSPACE), (2, OTHER_WORKSPACE), (3, WORKSPACE)):
        rows.append(workflow(uid(number), workspace_id=place))
        rows += [version(uid(number), which, workspace_id=place) for which in (1, 2)]
    rows += [workflow(uid(4), organization_id=OTHER_ORG), version(uid(4), 1, organization_id=OTHER_ORG)]
    await put(store, 1, *rows)

    async def page(**wanted: Any) -> list[tuple[int, int]]:
        found = await store.workflow_version_page(ORG, **wanted)
        assert all(parent.workflow_id == row.workflow_id for parent, row in found)
        return [(int.from_bytes(row.workflow_id, "big"), row.version) for _, row in found]

    assert await page(workspace_id=None) == [(3, 2), (3, 1), (2, 2), (2, 1), (1, 2), (1, 1)]
    assert await page(workspace_id=WORKSPACE) == [(3, 2), (3, 1), (1, 2), (1, 1)]
    assert await page(workspace_id=WORKSPACE, before=(uid(3), 2), limit=2) == [(3, 1), (1, 2)]
    assert await page(workspace_id=None, before=(uid(2), 1)) == [(1, 2), (1, 1)]
    assert await page(workspace_id=WORKSPACE, before=(uid(2), 1)) == [(1, 2), (1, 1)]
    assert await page(workspace_id=OTHER_WORKSPACE, before=(uid(2), 1)) == []
