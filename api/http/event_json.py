"""An event of the log as JSON, alike over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perdure.api.http.instants import iso
from perdure.engine.core import ids
from perdure.store.records import StoredEvent


def event_json(stored: StoredEvent, names: Mapping[str, str], decode: Callable[[str], Any]) -> dict[str, Any]:
    """An event with all that stands in its row but the salt; `names` are those of the keys that acted, by actor."""
    row = stored.row
    return {
        "position": stored.position,
        "stream_id": ids.text(row.stream_id),
        "seq": row.seq,
        "type": row.type,
        "version": row.version,
        "at": iso(row.recorded_at),
        "actor": row.actor,
        "actor_name": names.get(row.actor),
        "caused_by": row.caused_by,
        "data": decode(row.data),
        "payload": None if row.payload is None else decode(row.payload),
        "payload_digest": None if row.payload_digest is None else row.payload_digest.hex(),
        "hash": row.hash.hex(),
    }
