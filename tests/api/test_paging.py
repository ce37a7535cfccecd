"""Pages of runs and of versions: every one of the start exactly once, whatever happens meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine.core import ids
from perdure.store.protocols import Catalog, Executions, LogReader
from tests.api.conftest import ENDING, PROCESS, Api

HISTORY = f"{PROCESS}/getWorkflowExecutionHistory"
ORGANIZATION = f"{PROCESS}/getOrganizationExecutions"
VERSIONS = f"{PROCESS}/getOrganizationWorkflows"
RANDOM = "8b7a1f0e-7d2c-4f5b-9c3e-1a2b3c4d5e6f"
UNKNOWN = "01977420-0000-7000-8000-000000000000"


async def many_runs(api: Api, workflow_id: str, count: int) -> list[str]:
    caller = (await api.engine.services.access.principal(api.key)).caller  # type: ignore[union-attr]
    runs = api.engine.services.runs
    return [(await runs.trigger(caller, ids.parse(workflow_id), {"n": n})).answer for n in range(count)]


async def walk(api: Api, url: str, key: dict[str, Any], limit: int, meanwhile: Any = None) -> list[str]:
    """All ids that the pages show, from the first to the last."""
    seen: list[str] = []
    query = {**key, "limit": limit}
    while True:
        page = await api.quick(url, query)
        assert page["count"] == len(page["items"])
        seen += [item["workflow_execution_id"] for item in page["items"]]
        if "lastKey" not in page:
            return seen
        assert page["count"] == limit
        query = {**page["lastKey"], "limit": limit}
        if meanwhile is not None:
            await meanwhile()


@pytest.mark.parametrize("url", [HISTORY, ORGANIZATION])
async def test_a_walk_shows_every_run_of_its_start_once(api: Api, url: str) -> None:
    """With every page size, of 1,000 runs of one millisecond, while runs are added and end."""
    workflow_id = await api.workflow()
    runs = await many_runs(api, workflow_id, 1_000)
    assert len({run[:13] for run in runs}) == 1  # the milliseconds of their ids
    pages = 0

    async def meanwhile() -> None:
        nonlocal pages
        pages += 1
        if pages % 25 == 0:
            runs.append(await api.trigger(workflow_id))
            await api.resume(runs[-pages // 25 * 7 % len(runs)], headers={"Prefer": "wait=0"})

    key = {"workflow_id": workflow_id} if url == HISTORY else {}
    sizes = range(1, 31) if url == HISTORY else (1, 7, 30)
    for limit in sizes:
        at_the_start = list(reversed(runs))
        assert await walk(api, url, key, limit, meanwhile) == at_the_start, limit


async def test_the_last_page_has_no_key(api: Api) -> None:
    """`lastKey` is there exactly when another page exists, also where a page is just full."""
    workflow_id = await api.workflow(ENDING)
    empty = await api.ok("GET", HISTORY, params={"workflow_id": workflow_id})
    assert empty == {"message": "success", "count": 0, "items": []}
    runs = await many_runs(api, workflow_id, 30)
    page = await api.ok("GET", HISTORY, params={"workflow_id": workflow_id, "limit": 30})
    assert "lastKey" not in page
    page = await api.ok("GET", HISTORY, params={"workflow_id": workflow_id, "limit": 29})
    assert page["lastKey"] == {"workflow_id": workflow_id, "workflow_execution_id": runs[1]}
    page = await api.ok("GET", HISTORY, params={"workflow_id": workflow_id})
    assert page["count"] == 20


async def test_a_position_need_not_exist(api: Api) -> None:
    """An id that no run has is as good a place as any other."""
    workflow_id = await api.workflow(ENDING)
    await many_runs(api, workflow_id, 3)
    after_all = {"workflow_id": workflow_id, "workflow_execution_id": "ffffffff-ffff-7fff-bfff-ffffffffffff"}
    assert (await api.ok("GET", HISTORY, params=after_all))["count"] == 3
    before_all = {"workflow_id": UNKNOWN, "workflow_execution_id": "00000000-0000-7000-8000-000000000000"}
    assert (await api.ok("GET", ORGANIZATION, params=before_all))["count"] == 0


@pytest.mark.parametrize("limit", ["0", "31", "-1", "1.0", "x", "", " 5", "1e1", "٣", "9" * 40, "null", "true"])
async def test_a_limit_is_a_number_from_1_to_30(api: Api, limit: str) -> None:
    """Anything else is 400, and the message says what is accepted."""
    workflow_id = await api.workflow()
    for url, key in ((HISTORY, {"workflow_id": workflow_id}), (ORGANIZATION, {}), (VERSIONS, {})):
        response = await api.get(url, params={**key, "limit": limit})
        assert response.status_code == 400
        assert "limit: " in response.json()["message"]
        assert "from 1 to 30" in response.json()["message"]


@pytest.mark.parametrize("position", ["x", RANDOM, "", UNKNOWN[:-1], UNKNOWN.replace("-", ""), "{" + UNKNOWN + "}"])
async def test_a_position_is_a_uuid_of_version_7(api: Api, position: str) -> None:
    """Anything else is 400, naming the parameter."""
    workflow_id = await api.workflow()
    for url in (HISTORY, ORGANIZATION):
        query = {"workflow_id": workflow_id, "workflow_execution_id": position}
        response = await api.get(url, params=query)
        assert response.status_code == 400
        assert response.json()["error"]["details"] == {"field": "workflow_execution_id"}


async def test_half_a_position_is_none(api: Api) -> None:
    """In the organization's lists an id alone is 400; in a workflow's the workflow is required, and must be there."""
    workflow_id = await api.workflow()
    assert (await api.get(ORGANIZATION, params={"workflow_id": workflow_id})).status_code == 400
    assert (await api.get(VERSIONS, params={"workflow_id": workflow_id})).status_code == 400
    assert (await api.get(VERSIONS, params={"workflow_version": 1})).status_code == 400
    assert (await api.get(HISTORY)).status_code == 400
    assert (await api.get(HISTORY, params={"workflow_id": UNKNOWN})).status_code == 404


@pytest.mark.parametrize("url", [HISTORY, ORGANIZATION, VERSIONS])
async def test_a_mistyped_parameter_is_refused(api: Api, url: str) -> None:
    """And the one that was meant is named; so is one that is there twice with two values."""
    response = await api.get(url, params={"limt": 3})
    assert response.status_code == 400
    assert "did you mean limit?" in response.json()["message"]
    assert (await api.get(f"{url}?limit=1&limit=2")).status_code == 400


@pytest.mark.parametrize("url", [HISTORY, ORGANIZATION, VERSIONS])
async def test_a_last_key_works_behind_what_is_there(api: Api, url: str) -> None:
    """Its members are put behind the query that gave it; the `workflow_id` that is then there twice is the same one."""
    workflow_id = await api.workflow(ENDING)
    await api.workflow(ENDING)
    for _ in range(2):
        await api.trigger(workflow_id)
    query = f"limit=1&workflow_id={workflow_id}" if url == HISTORY else "limit=1"
    first = await api.ok("GET", f"{url}?{query}")
    assert first["count"] == 1
    query += "".join(f"&{name}={value}" for name, value in first["lastKey"].items())
    last = await api.ok("GET", f"{url}?{query}")
    assert last["count"] == 1
    assert "lastKey" not in last


async def test_versions_are_paged_by_workflow_and_version(api: Api) -> None:
    """A row a version, newest first; a walk with any page size shows each once."""
    expected: list[tuple[str, int]] = []
    for number in range(4):
        workflow_id = await api.workflow(ENDING)
        for version in range(number):
            await api.ok(
                "PATCH", f"/v1/workflows/{workflow_id}", json={"definition": {**ENDING, "Comment": str(version)}}
            )
        expected += [(workflow_id, version + 1) for version in range(number + 1)]
    for limit in range(1, 12):
        seen, query = [], {"limit": limit}
        while True:
            page = await api.ok("GET", VERSIONS, params=query)
            seen += [(item["workflow_id"], item["workflow_version"]) for item in page["items"]]
            if "lastKey" not in page:
                break
            assert set(page["lastKey"]) == {"organization_id", "workflow_id", "workflow_version"}
            query = {"limit": limit, **page["lastKey"]}
        assert seen == sorted(expected, reverse=True)


async def test_a_position_belongs_to_an_organization(api: Api) -> None:
    """Another organization's id sent back as part of a position is 404."""
    assert (await api.get(VERSIONS, params={"organization_id": UNKNOWN})).status_code == 404
    assert (await api.get(VERSIONS, params={"organization_id": "x"})).status_code == 400


@pytest.mark.parametrize("url", [HISTORY, ORGANIZATION])
async def test_a_page_takes_as_many_reads_however_many_rows_it_has(
    api: Api, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """What belongs to its rows is read for all of them together: names, events, workflows."""
    reads: list[str] = []
    for name in [name for name in vars(LogReader) | vars(Catalog) | vars(Executions) if name[0] != "_"]:
        monkeypatch.setattr(api.store, name, counted(name, getattr(api.store, name), reads))
    workflows = [await api.workflow(name=f"w{number}") for number in range(30)]
    for workflow_id in workflows if url == ORGANIZATION else workflows[:1] * 30:
        await api.trigger(workflow_id)
    key = {"workflow_id": workflows[0]} if url == HISTORY else {}
    counts = []
    for limit in (1, 30):
        await api.quick(url, {**key, "limit": limit})  # who asks is known then
        reads.clear()
        page = await api.quick(url, {**key, "limit": limit})
        assert [item["workflow_event_log"]["count"] for item in page["items"]] == [2] * limit
        counts.append(len(reads))
    assert counts[0] == counts[1] <= 5, reads


def counted(name: str, method: Any, reads: list[str]) -> Any:
    def call(*arguments: Any, **more: Any) -> Any:
        reads.append(name)
        return method(*arguments, **more)

    return call
