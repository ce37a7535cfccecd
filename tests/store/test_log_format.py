"""The page of the log's format agrees with the code, and is enough to verify a database by.

`python -m tests.store.test_log_format` writes the parts of the page that are made: run it when an event has changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import re
import shutil
import sqlite3
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.engine import Engine
from perdure.engine.core import bulk, organization, schedules, workflow
from perdure.engine.core import events as e
from perdure.engine.core.settings import OrganizationSettings, Quotas, VersionSettings
from perdure.engine.core.upcast import EARLIER
from perdure.engine.core.versions import Called, VersionSource
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.engine.services.bulk import BulkOrder
from perdure.engine.testing import ManualClock
from perdure.store import schema
from perdure.store.chain import seal
from perdure.store.records import NEW_STREAM, NewEvent
from perdure.store.schema import metadata
from tests.store.log_verifier import Database, field, hashed, verify

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "store" / "LOG_FORMAT.md"
MADE = "<!-- made by tests/store/test_log_format.py -->\n"
END = "<!-- end -->"

KINDS = {
    "Executions": EXECUTION_EVENTS,
    "Workflows": workflow.EVENTS,
    "Organizations": organization.EVENTS,
    "Bulk jobs": bulk.EVENTS,
}


# --- what the page is made of ----------------------------------------------------------------------------------------

WORDS = {
    "str": "*text*",
    "int": "*integer*",
    "bool": "*boolean*",
    "Ref": "*ref*",
    "dict[str, Ref]": "{*ref*}",
    "tuple[str, ...]": "[*text*]",
    "dict[str, int]": "{*integer*}",
    "dict[str, Called]": "{*called*}",
    "Then": "*what follows*",
    "Parent": "*parent*",
    "Origin": "*origin*",
    "tuple[RunLimit, ...]": "[*limit*]",
    "tuple[int, ...]": "[*integer*]",
    "VersionSource": "*source*",
    "VersionSettings": "*settings*",
    "OrganizationSettings": "*settings of an organization*",
    "Quotas": "*quotas*",
    "Visibility": '`"private"` or `"tenant"` or `"shared"`',
    "PlanName": '`"free"` or `"starter"` or `"pro"` or `"business"` or `"unlimited"`',
    "CountsRule": '`"all"` or `"active"`',
    "ResumeRule": '`"any"` or `"named"`',
    "Timing": "*timing*",
    "Overlap": '`"allow"` or `"skip"` or `"buffer_one"`',
    "CatchUp": '`"none"` or `"latest"` or `"all"`',
    "SlotOutcome": '`"fired"` or `"caught_up"` or `"missed"` or `"skipped_overlap"` or `"skipped_paused"`',
    "Quota": '`"events"` or `"bytes"` or `"transitions"`',
}


def event_types() -> str:
    """The list of the page: of each type every version, with its members and what it says."""
    parts = []
    for title, types in KINDS.items():
        parts.append(f"### {title}\n")
        for cls in types:
            before = EARLIER.get(cls.__name__, ())
            parts.append(described(cls, f"**`{cls.__name__}`** {len(before) + 1}"))
            for version, earlier in enumerate(before, start=1):
                parts.append(described(earlier.form, f"**`{cls.__name__}`** {version}"))
    parts.append("### What stands in some of them\n")
    parts.append(described(e.Parent, "*parent*: an object"))
    parts.append(described(e.Origin, "*origin*: an object"))
    parts.append(described(e.RunLimit, "*limit*: an object"))
    parts.append(described(Called, "*called*: an object"))
    parts.append(described(VersionSource, "*source*: an object"))
    parts.append(described(schedules.Timing, "*timing*: an object"))
    parts.append(described(VersionSettings, "*settings*: an object"))
    parts.append(described(OrganizationSettings, "*settings of an organization*: an object"))
    parts.append(described(Quotas, "*quotas*: an object"))
    parts.append("*what follows* a failure is one of two objects, which `type` tells apart:\n")
    parts += [described(each, f"`type` {json.dumps(tag_of(each))}") for each in (e.Retry, e.Caught)]
    return "\n".join(parts)


def described(cls: type[msgspec.Struct], title: str) -> str:
    about = re.sub(r"\s+", " ", inspect.getdoc(cls) or "")
    members = ", ".join(member(cls, each) for each in msgspec.structs.fields(cls)) or "none"
    text = f"{title}: {members}.\n{about}"
    return "\n".join(textwrap.fill(line, 120, break_on_hyphens=False) for line in text.splitlines()) + "\n"


def member(cls: type[msgspec.Struct], each: msgspec.structs.FieldInfo) -> str:
    declared = next(base.__annotations__[each.name] for base in cls.__mro__ if each.name in base.__annotations__)
    text, _, null = declared.partition(" | None")
    assert not null, declared
    literal = re.fullmatch(r"Literal\[(.*)\]", text)
    words = " or ".join(f"`{value}`" for value in literal[1].replace("'", '"').split(", ")) if literal else WORDS[text]
    if each.required:
        return f"`{each.name}` {words}"
    default = each.default if each.default is not msgspec.NODEFAULT else each.default_factory()
    return f"`{each.encode_name}` {words}{'?' if default is None else f' = {json.dumps(default)}'}"


def tag_of(cls: type[msgspec.Struct]) -> str:
    return str(cls.__struct_config__.tag)


def example(given: dict[str, Any]) -> dict[str, Any]:
    """The page's example, with what our own code makes of its values."""
    row: dict[str, Any] = {
        name: bytes.fromhex(value) if name.endswith(("_id", "_salt")) else value for name, value in given.items()
    }
    new = NewEvent(**{name: row[name] for name in NewEvent._fields})
    sealed = seal(row["organization_id"], row["stream_id"], NEW_STREAM, [new])[0]
    bytes_hashed = hashed(sealed._asdict(), bytes(32))
    return {
        **given,
        "payload_digest": (sealed.payload_digest or b"").hex(),
        "hashed": bytes_hashed.hex(),
        "hash": sealed.hash.hex(),
    }


def example_of(page: str) -> tuple[str, dict[str, Any]]:
    """The text of the example in the page, and its values."""
    block = page.split("<!-- example: tests/store/test_log_format.py -->\n```json\n")[1].split("```", maxsplit=1)[0]
    return block, json.loads(block)


def write() -> None:
    page = PAGE.read_text(encoding="utf-8")
    block, given = example_of(page)
    page = page.replace(block, json.dumps(example(given), indent=2, ensure_ascii=False) + "\n")
    before, rest = page.split(MADE)
    PAGE.write_text(f"{before}{MADE}{event_types()}{END}{rest.split(END)[1]}", encoding="utf-8")


# --- the page and the code -------------------------------------------------------------------------------------------


def test_the_page_has_every_event_type() -> None:
    """Every version of every type, with its members, their types and defaults, is what the code has."""
    made = PAGE.read_text(encoding="utf-8").split(MADE)[1].split(END)[0]
    assert made == event_types(), "run `python -m tests.store.test_log_format`"


def test_the_example_of_the_page_is_right() -> None:
    """Whoever hashes the values of the example as the page says gets its bytes and its hash, as our code does."""
    _, given = example_of(PAGE.read_text(encoding="utf-8"))
    assert example(given) == given
    assert hashlib.sha256(bytes.fromhex(given["hashed"])).hexdigest() == given["hash"]
    assert field(1).hex() == "01" + "0000000000000008" + "0000000000000001"


def tables_of(page: str) -> Iterator[tuple[str, list[str]]]:
    """The columns that the page tells of, by table."""
    for table, heading in (("streams", "## Streams"), ("events", "## An event"), ("workflow_versions", "## Definiti")):
        section = page.split(f"\n{heading}")[1].split("| column | type | meaning |\n")[1].split("\n\n", maxsplit=1)[0]
        cells = [line.split("|")[1] for line in section.splitlines()[1:]]
        yield table, [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_the_page_has_every_column() -> None:
    """The columns of the tables that a verifier reads, in their order; and every table has its place in the page."""
    page = PAGE.read_text(encoding="utf-8")
    for table, columns in tables_of(page):
        there = [column.name for column in metadata.tables[table].columns]
        assert sorted(columns) == sorted(there), table
    lists = page.split("**Primary**")[1].split("\n\n")[0]
    primary, projections, unused = (
        re.findall(r"`(\w+)`", re.sub(r"`perdure \w+`", "", part))
        for part in re.split(r"\*\*Projections\*\*|\*\*Not used yet\*\*", lists)
    )
    unused_tables = {table.name for table in schema.UNUSED}
    assert set(primary) == {table.name for table in schema.PRIMARY} - unused_tables
    assert set(projections) == {table.name for table in schema.PROJECTIONS} - unused_tables
    assert set(unused) == unused_tables


def test_the_page_names_the_version_of_the_tables() -> None:
    """It is of the latest migration."""
    latest = max(path.stem for path in (ROOT / "store" / "migrations" / "versions").glob("perdure_*.py"))
    assert f"this page describes `{latest}`" in PAGE.read_text(encoding="utf-8")


def test_the_verifier_knows_nothing_of_ours() -> None:
    """It imports the standard library only, as a stranger's would."""
    source = (Path(__file__).parent / "log_verifier.py").read_text(encoding="utf-8")
    names = re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE)
    assert set(names) <= sys.stdlib_module_names


# --- a database that the engine made ---------------------------------------------------------------------------------

ASKING = {
    "StartAt": "Both",
    "States": {
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}},
                {"StartAt": "Sleep", "States": {"Sleep": {"Type": "Wait", "Seconds": 3600, "End": True}}},
            ],
            "End": True,
        }
    },
}


async def _fill(database: str) -> None:
    engine = await Engine.start(database, clock=ManualClock())
    made = await engine.create_workflow("Grüße", ASKING)
    for number in range(3):
        await engine.trigger(made.id, {"text": "ä\u2028\x1f", "big": 2**70, "n": number}, process_id=f"P-{number}")
    await engine.resume("P-0", {"approved": True})
    await engine.terminate("P-1", "enough")
    await engine.services.bulk.start(await engine._caller(), BulkOrder("resume", {"state": "Nowhere"}))
    await engine.node.jobs.settle()
    await engine.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("format") / "runs.db"
    asyncio.run(_fill(f"sqlite:///{path}"))
    return path


@pytest.fixture
def database(written: Path, tmp_path: Path) -> Iterator[tuple[str, sqlite3.Connection]]:
    path = str(shutil.copy(written, tmp_path / "runs.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield path, connection


def test_a_stranger_verifies_what_the_engine_wrote(written: Path) -> None:
    """The verifier that was written from the page finds nothing, in a database with all kinds of streams and a pin."""
    with closing(sqlite3.connect(written)) as connection:
        kinds = {kind for (kind,) in connection.execute("SELECT kind FROM streams")}
        pins = connection.execute("SELECT count(*) FROM events WHERE type = 'LogPinned'").fetchone()[0]
    assert kinds == {"execution", "workflow", "organization", "bulk"}
    assert pins >= 1
    assert verify(str(written)) == []


def changed(value: Any) -> Any:
    """The value with one byte changed, or one more."""
    if value is None:
        return 1
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value[:-1] + chr(ord(value[-1]) ^ 1)


COLUMNS = [
    *(("events", column.name) for column in metadata.tables["events"].columns),
    *(("streams", name) for name in ("stream_id", "kind", "organization_id", "workspace_id", "seq", "hash")),
    *(("workflow_versions", name) for name in ("workflow_id", "version", "definition", "definition_digest")),
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_stranger_finds_a_changed_byte(database: tuple[str, sqlite3.Connection], table: str, column: str) -> None:
    """Whichever row and column: one byte of it changed, and the database does not hold any more."""
    path, connection = database
    key = "position" if table == "events" else metadata.tables[table].primary_key.columns[0].name
    update = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"  # noqa: S608 names of ours
    for place, value in connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall():  # noqa: S608 names of ours
        if table == "streams" and column == "workspace_id" and value is None:
            continue
        connection.execute("BEGIN")
        try:
            connection.execute(update, (changed(value), place))
        except sqlite3.IntegrityError:  # another row has that: SQLite itself does not take it
            connection.execute("ROLLBACK")
            continue
        connection.execute("COMMIT")
        assert verify(path) != [], f"{table}.{column} of {place!r}"
        connection.execute(update, (value, changed_key(column, key, place)))
    assert verify(path) == []


def changed_key(column: str, key: str, place: Any) -> Any:
    return changed(place) if column == key else place


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events WHERE position = 5",
        "DELETE FROM events WHERE position = (SELECT max(position) FROM events)",
        "DELETE FROM streams WHERE kind = 'workflow'",
        "UPDATE events SET payload = NULL, payload_salt = NULL WHERE position = 2",
        (
            "UPDATE events SET position = -position WHERE position > 5; UPDATE events SET position = 1 - position "
            "WHERE position < 0; INSERT INTO events SELECT 6, stream_id, seq + 90, organization_id, type, version, "
            "recorded_at, actor, caused_by, data, payload, payload_salt, payload_digest, hash FROM events "
            "WHERE position = 5"
        ),
    ],
)
def test_a_stranger_finds_missing_and_added_rows(database: tuple[str, sqlite3.Connection], statement: str) -> None:
    """A row that was taken away, put in, or emptied as if it had been erased."""
    path, connection = database
    connection.executescript(statement)
    assert verify(path) != []


def test_a_stranger_finds_a_run_that_was_taken_out(database: tuple[str, sqlite3.Connection]) -> None:
    """With all its rows, and the rest numbered anew: the pin does not hold."""
    path, connection = database
    run = connection.execute("SELECT stream_id FROM streams WHERE kind = 'execution'").fetchone()
    connection.execute("DELETE FROM events WHERE stream_id = ?", run)
    connection.execute("DELETE FROM streams WHERE stream_id = ?", run)
    rows = connection.execute("SELECT position FROM events ORDER BY position").fetchall()
    for number, (position,) in enumerate(rows, start=1):
        connection.execute("UPDATE events SET position = ? WHERE position = ?", (number, position))
    assert verify(path) == ["a pin does not hold"]


def test_a_stranger_finds_two_runs_that_changed_places(database: tuple[str, sqlite3.Connection]) -> None:
    """Each in its own order, on the positions of the other: the digest of the pin is another."""
    path, connection = database
    runs = connection.execute("SELECT stream_id FROM streams WHERE kind = 'execution' LIMIT 2").fetchall()
    query = "SELECT position FROM events WHERE stream_id = ? ORDER BY seq LIMIT 1"
    (first,), (second,) = (connection.execute(query, run).fetchone() for run in runs)
    for new, old in ((-1, first), (first, second), (second, -1)):
        connection.execute("UPDATE events SET position = ? WHERE position = ?", (new, old))
    assert "a pin does not hold" in verify(path)


def test_a_stranger_accepts_an_erased_payload() -> None:
    """What the format reserves: a payload may be missing if a later event of its stream says that it was erased."""
    salt, data = bytes(16), '{"seqs":[1]}'
    stream, owner = bytes(15) + b"\x01", bytes(16)
    first = NewEvent("WorkflowCreated", 1, 5, "cli:x", None, '{"kind":"workflow","workspace":null}', "{}", salt)
    erased = NewEvent("Erased", 1, 5, "cli:x", None, data, None, None)
    for events, wanted in (([first, erased], []), ([first], ["the payload of event 1 is missing"])):
        rows = seal(owner, stream, NEW_STREAM, events)
        rows[0] = rows[0]._replace(payload=None, payload_salt=None)
        assert problems_of(rows) == wanted


def problems_of(rows: list[Any]) -> list[str]:
    """What a stranger says of one stream of these rows."""
    stream = {"kind": "workflow", "workspace_id": None, "organization_id": rows[0].organization_id}
    stream |= {"owner": None, "epoch": 0}
    events = [{"position": number, **row._asdict()} for number, row in enumerate(rows, start=1)]
    with closing(sqlite3.connect(":memory:")) as connection:
        return Database(connection)._stream({**stream, "seq": rows[-1].seq, "hash": rows[-1].hash}, events)


if __name__ == "__main__":
    write()
