"""Maps a database URL to its store."""

from __future__ import annotations

from perdure.engine.errors import Invalid
from perdure.store.protocols import PLACES, Store, WriterPlace


async def open_store(url: str, *, read_only: bool = False, writer: WriterPlace = "thread") -> Store:
    """Open the database that a URL names: `sqlite:///runs.db`, or with an absolute path `sqlite:////var/lib/runs.db`.

    Raises `Invalid` for another kind of URL or place, `store.errors.StoreError` if it cannot be opened.
    """
    if writer not in PLACES:
        raise Invalid(f"writer: {writer!r} is not accepted; it must be {' or '.join(PLACES)}", {"field": "writer"})
    if url.startswith("sqlite:"):
        from perdure.store.sqlite import open_sqlite  # noqa: PLC0415 the driver is imported by who uses it

        return await open_sqlite(url, read_only=read_only, writer=writer)
    raise Invalid(
        f"database: {url.split(':', maxsplit=1)[0]!r} is not supported; use sqlite:///PATH", {"field": "database"}
    )
