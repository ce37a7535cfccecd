"""Columns as all tables have them: ids, digests, texts, numbers and instants."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Text

metadata: Final = MetaData()

POSITION: Final = BigInteger().with_variant(Integer, "sqlite")
"""The type of a position. SQLite makes a column the row id itself only if its type is spelled INTEGER."""


def id_column(name: str, *, key: bool = False, null: bool = False) -> Column[bytes]:
    """An id, of 16 bytes."""
    return Column(name, LargeBinary(16), primary_key=key, nullable=null)


def digest_column(name: str, *, key: bool = False, null: bool = False) -> Column[bytes]:
    """A hash or a digest, of 32 bytes."""
    return Column(name, LargeBinary(32), primary_key=key, nullable=null)


def text_column(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    """A text."""
    return Column(name, Text, primary_key=key, nullable=null)


def number_column(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    """A number that is never large."""
    return Column(name, Integer, primary_key=key, autoincrement=False, nullable=null)


def ms_column(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    """An instant, or another number that may be large."""
    return Column(name, BigInteger, primary_key=key, autoincrement=False, nullable=null)
