"""Many rows in one statement: what is written is what was given, whatever room is left in the statement."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text

from perdure.store.sqlite.bulk import SIZES, Bulk

THINGS = Table(
    "things",
    MetaData(),
    Column("id", LargeBinary, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("name", Text, nullable=True),
    Column("digest", LargeBinary, nullable=True),
)
INSERT = Bulk("INSERT INTO things (id, number, name, digest) VALUES (?, ?, ?, ?)", list(THINGS.columns))
KEEP = Bulk(
    "INSERT INTO things (id, number, name, digest) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", list(THINGS.columns)
)
RENUMBER = Bulk(
    "UPDATE things SET number = new.column2 FROM (VALUES (?, ?)) AS new WHERE things.id = new.column1",
    [THINGS.c.id, THINGS.c.number],
)
MOST = SIZES[-1]


@pytest.fixture
def cursor():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE things (id BLOB PRIMARY KEY, number INTEGER NOT NULL, name TEXT, digest BLOB)")
        yield connection.cursor()


def things(count):
    """Rows with and without nulls in every column that may have them."""
    return [
        (b"%06d" % n, n, None if n % 2 else f"ü{n}", None if n % 3 else bytes([n % 256, 0, 255])) for n in range(count)
    ]


def written(cursor):
    return cursor.execute("SELECT id, number, name, digest FROM things ORDER BY rowid").fetchall()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 16, 17, MOST - 1, MOST, MOST + 1, 2 * MOST, 3 * MOST + 7])
def test_every_row_is_written_once_and_in_order(cursor, count):
    """Ids as bytes, nulls as nulls, and nothing of what a statement was filled up with."""
    assert sum(prepared.write(cursor) for prepared in INSERT.prepare(things(count))) == count
    assert written(cursor) == things(count)


def test_rows_that_fit_need_one_statement(cursor):
    """However many they are, up to the room of the largest one."""
    assert [len(INSERT.prepare(things(count))) for count in (0, 1, 100, MOST, MOST + 1)] == [0, 1, 1, 1, 2]


def test_what_an_insert_passes_over_is_not_counted(cursor):
    """So that who counts sees that something was there already."""
    assert [prepared.write(cursor) for prepared in KEEP.prepare(things(5))] == [5]
    assert [prepared.write(cursor) for prepared in KEEP.prepare(things(7))] == [2]
    assert written(cursor) == things(7)


def test_an_update_writes_what_it_finds(cursor):
    """Rows that are not there, and the nulls behind the last one, match nothing."""
    for prepared in INSERT.prepare(things(3)):
        prepared.write(cursor)
    wanted = [(b"000001", 10), (b"000002", 20), (b"nobody", 30)]

    assert [prepared.write(cursor) for prepared in RENUMBER.prepare(wanted)] == [2]
    assert [number for _, number, _, _ in written(cursor)] == [0, 10, 20]


def test_rows_are_numbered_when_the_number_is_known(cursor):
    """In their first column, over all statements, and never what they are filled up with."""
    numbered = Bulk("INSERT INTO things (number, id) VALUES (?, ?)", [THINGS.c.number, THINGS.c.id])
    first = 7
    for prepared in numbered.prepare([(0, row[0]) for row in things(MOST + 3)]):
        first = prepared.number(first)
        prepared.write(cursor)

    assert first == MOST + 10
    assert [(row[1], row[0]) for row in written(cursor)] == [(7 + n, row[0]) for n, row in enumerate(things(MOST + 3))]


def test_a_row_of_another_width_is_a_mistake():
    """Or its values would be taken for those of other columns."""
    with pytest.raises(ValueError, match="other than the 4 values"):
        INSERT.prepare([*things(2), (b"x", 1, None)])


def test_a_statement_without_its_row_of_values_is_a_mistake():
    """It is found where the statement is declared, not when somebody writes."""
    with pytest.raises(AssertionError, match="no row of 2 values"):
        Bulk("INSERT INTO things (id) VALUES (?)", [THINGS.c.id, THINGS.c.number])
