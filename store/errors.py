"""The exceptions of stores.

StoreError
├── CommitUnknown      a commit failed, and nobody knows whether it is on disk: stop, and read back at restart
├── StoreFull          nothing was written: no space left
├── StoreUnavailable   nothing was written: the database could not be reached or is locked
├── DatabaseInUse      another process serves this SQLite file
└── SchemaError        the database is not one of Perdure's, or it is newer than this program
"""

from __future__ import annotations


class StoreError(Exception):
    """The base of all exceptions that the store raises on purpose."""


class CommitUnknown(StoreError):
    """COMMIT raised: the batch may be durable, or not."""


class StoreFull(StoreError):
    """There is no space left; the batch was rolled back."""


class StoreUnavailable(StoreError):
    """The database did not answer; the batch was not written."""


class DatabaseInUse(StoreError):
    """Another process holds this SQLite file. `holder` says which, as far as is known."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{path} is in use by {holder}; only one server may serve a SQLite file")
        self.path = path
        self.holder = holder


class SchemaError(StoreError):
    """The database cannot be used by this version of Perdure."""
