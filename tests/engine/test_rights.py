"""Tables beside the log: whatever decides who may act, or what an answer says, is compared with it."""

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import verify
from perdure.engine.core import ids
from perdure.engine.services.access import SCOPES
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore
from perdure.store.records import (
    ApiKeyRow,
    ExecutionRow,
    IdempotencyRow,
    OrganizationRow,
    ProcessIdRow,
    TimerRow,
    WaitRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)
from perdure.store.sqlite import open_sqlite
from tests.present import present

ASK = {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 60, "End": True}
APPROVAL = {"StartAt": "Ask", "States": {"Ask": ASK}}
OTHER = {bytes: b"x" * 16, str: "other", int: 7, type(None): 7}


async def fill(database):
    """Make something of everything: keys, one of them revoked, workflows, one archived, drafts, names, answers."""
    async with Engine.open(database, clock=ManualClock()) as engine:
        caller = await engine._caller()
        first = await engine.services.access.make_key(caller, "first", SCOPES)
        principal = present(await engine.services.access.principal(first.text))
        second = await engine.services.access.make_key(caller, "second", ("runs.view",), expires_at=2**45)
        await engine.services.access.revoke_key(principal, second.row.key_id)
        archived = await engine.create_workflow("archived", APPROVAL)
        await engine.services.workflows.archive(caller, ids.parse(archived.id))
        workflow = await engine.create_workflow("approval", APPROVAL, description="asks")
        changed = {**APPROVAL, "Comment": "again"}
        await engine.services.workflows.change(
            caller, ids.parse(workflow.id), definition=changed, is_published=False, mock_payload={"of": "everything"}
        )
        for name in ("P-1", "P-2", "P-3"):
            await engine.trigger(workflow.id, {"of": name}, process_id=name, idempotency_key=f"key of {name}")
        await engine.resume("P-1", {"source": "SAP"}, idempotency_key="resumed")
        await engine.resume("P-1", {"source": "SAP"}, idempotency_key="resumed again")
        await engine.terminate("P-2", idempotency_key="terminated")
        await engine.trigger(workflow.id, {})


@pytest.fixture
async def store():
    made = MemoryStore()
    await fill(made)
    made._closed = False
    return made


def tables(store):
    """Give all tables of which a stream tells."""
    return {**store._tables, ProcessIdRow: store._process_ids}


async def reasons(store):
    return [found.reason for found in (await verify(store)).breaks]


@pytest.mark.parametrize(
    "kind",
    [
        *(OrganizationRow, WorkspaceRow, ApiKeyRow, WorkflowRow, WorkflowVersionRow),
        *(ProcessIdRow, ExecutionRow, WaitRow, TimerRow),
    ],
)
async def test_each_row_is_what_the_log_says(store, kind):
    """A column with another value, a row that is missing, one too many, and one of nobody are found."""
    table = tables(store)[kind]
    assert await reasons(store) == []
    for row in list(table.rows.values()):
        for column, value in zip(row._fields, row, strict=True):
            if column == "execution_id":
                continue
            other = b"\0" * 32 if column == "secret" else value + 1 if isinstance(value, int) else OTHER[type(value)]
            changed = row._replace(**{column: other})
            table.delete(row)
            table.put(changed)
            assert await reasons(store), (kind.__name__, column)
            table.delete(changed)
            assert await reasons(store), (kind.__name__, "no row")
            table.put(row)
    assert await reasons(store) == []
    forged = row._replace(**{row._fields[0]: 2**40 if kind is TimerRow else b"f" * 16})
    table.put(forged)
    assert await reasons(store), (kind.__name__, "a row too many")


async def test_a_key_that_was_reinstated_is_named(store):
    """The key, the column, what it is and what the log says stand in the reason."""
    row = next(row for row in store._api_keys.rows.values() if row.revoked_at is not None)
    store._api_keys.put(row._replace(revoked_at=None, scopes="operator"))

    (reason,) = await reasons(store)

    name = f"key {ids.text(row.key_id)}"
    assert reason == f"{name}: scopes is 'operator', the fold says 'runs.view' (and 1 more)"


async def test_what_is_secret_is_not_shown(store):
    """Of a secret and of business data the reason says that they are others, and not which."""
    (organization,) = store._organizations.rows.values()
    store._organizations.rows[organization.organization_id,] = organization._replace(secret=b"s" * 32)
    version = next(row for row in store._versions.rows.values() if row.mock_payload is not None)
    store._versions.put(version._replace(mock_payload='{"iban":"DE02"}'))

    assert await reasons(store) == [
        "its row: secret is not the one that the log has the digest of",
        "version 2: mock_payload is not the one that the log has the digest of",
    ]


async def test_process_ids_that_were_swapped_are_found(store):
    """Two runs cannot change names, and a name cannot stand for another input."""
    rows = store._process_ids.rows
    (one, first), (other, second), *_ = list(rows.items())
    rows[one] = first._replace(stream_id=second.stream_id)
    rows[other] = second._replace(stream_id=first.stream_id)
    store._by_stream.move(first, rows[one])
    store._by_stream.move(second, rows[other])

    assert len(await reasons(store)) == 2

    store._by_stream.move(rows[one], first)
    store._by_stream.move(rows[other], second)
    rows[other] = second
    rows[one] = first._replace(salt=second.salt, request_digest=second.request_digest)
    assert ["request_digest" in reason for reason in await reasons(store)] == [True]


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("key of P-1", {"answer": '"restarted by hand"'}),
        ("key of P-1", {"answer": "no JSON"}),
        ("key of P-1", {"answer": '["restarted"]'}),
        ("key of P-1", {"stream_id": b"f" * 16}),
        ("key of P-1", {"workspace_id": b"f" * 16}),
        ("key of P-3", {"answer": '"restarted"'}),
        ("key of P-3", {"answer": '"completed"'}),
        ("resumed", {"answer": '"terminated"'}),
        ("terminated", {"answer": '"already restarted"'}),
    ],
)
async def test_an_answer_that_a_run_never_gave_is_found(store, key, change):
    """A remembered answer is one that its run can have given, in its workspace."""
    rows = store._idempotency.rows
    assert sorted(row.key for row in rows.values()) == [
        *("key of P-1", "key of P-2", "key of P-3", "resumed", "resumed again", "terminated")
    ]
    at, row = next(item for item in rows.items() if item[1].key == key)
    rows[at] = row._replace(**change)

    assert len(await reasons(store)) == 1


async def test_an_answer_of_another_run_is_found(store):
    """Two triggers cannot change their answers, nor can one be told of another's run."""
    rows = store._idempotency.rows
    (one, first), (_, second), *_ = list(rows.items())
    assert isinstance(first, IdempotencyRow)
    rows[one] = first._replace(answer=second.answer)

    assert ["never gave the answer" in reason for reason in await reasons(store)] == [True]


async def test_rows_of_nobody_in_a_file_are_found(tmp_path):
    """Each table is looked through for rows of streams that are not there, or that are of another kind."""
    path = tmp_path / "runs.db"
    await fill(f"sqlite:///{path}")
    store = await open_sqlite(path)
    assert (await verify(store)).breaks == []
    some_run = (await store.streams(kind="execution"))[0].stream_id

    def forge(writer):
        forged = {
            **dict.fromkeys(["executions", "waits", "timers", "process_ids", "idempotency"], ""),
            **dict.fromkeys(["workflows", "workflow_versions", "organizations", "workspaces", "api_keys"], ""),
        }
        for table in forged:
            columns = [row[1:3] for row in writer._driver.execute(f"PRAGMA table_info({table})")]
            values = [some_run if kind.startswith("B") and "INT" not in kind else "1" for _, kind in columns]
            if table in {"executions", "waits", "timers", "process_ids", "idempotency"}:
                values = [b"n" * 16 if value == some_run else value for value in values]
            marks = ", ".join("?" * len(values))
            writer._driver.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608
        writer._driver.execute("INSERT INTO leaves VALUES (1, zeroblob(16), zeroblob(32))")
        return set(forged)

    expected = await store._write(forge)
    found = await store.strays()
    assert {stray.table for stray in found} == expected | {"leaves"}
    assert {found.reason.partition(":")[0] for found in (await verify(store)).breaks} >= {"executions", "workflows"}
    await store.close()
