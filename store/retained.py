"""The tables of what retention leaves of a stream, and of checkpoints. Nothing writes to them yet."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table

from perdure.store import columns

# The tombstone of a stream that retention removed; `seq`, `hash` and `position` are those of its last event.
archived_streams = Table(
    "archived_streams",
    columns.metadata,
    columns.id_column("stream_id", key=True),
    columns.text_column("kind"),
    columns.id_column("organization_id"),
    columns.id_column("workspace_id", null=True),
    columns.number_column("seq"),
    columns.digest_column("hash"),
    Column("position", BigInteger, nullable=False),
    columns.id_column("workflow_id", null=True),
    columns.number_column("workflow_version", null=True),
    columns.text_column("status", null=True),
    columns.text_column("last_wait_outcome", null=True),
    columns.digest_column("archive_digest"),
    columns.ms_column("archived_at"),
    sqlite_with_rowid=False,
)

# What the tree of checkpoints needs of events that retention removed: one row an event, so positions show
# here too.
leaves = Table(
    "leaves",
    columns.metadata,
    Column("position", columns.POSITION, primary_key=True, autoincrement=False),
    columns.id_column("organization_id"),
    columns.digest_column("leaf_hash"),
)

# `note` is the signed note as it was exported; `position` is that of the checkpoint's own event.
checkpoints = Table(
    "checkpoints",
    columns.metadata,
    columns.id_column("organization_id", key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    columns.digest_column("root"),
    columns.text_column("note"),
    columns.ms_column("created_at"),
)
