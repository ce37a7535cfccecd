"""A verifier of a database, written from `store/LOG_FORMAT.md` alone: the standard library, and nothing of ours.

It is what a stranger would write: `verify` gives all that does not hold, in words, and nothing if all does.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import uuid
from contextlib import closing
from typing import Any

DOMAIN = b"perdure-event-1\n"
FIELDS = (
    *("organization_id", "stream_id", "seq", "type", "version", "recorded_at", "actor", "caused_by", "data"),
    "payload_digest",
)


def field(value: Any) -> bytes:
    """One field of what is hashed: a tag, a length, the value."""
    if value is None:
        tag, encoded = 0, b""
    elif isinstance(value, int):
        tag, encoded = 1, value.to_bytes(8, "big", signed=True)
    elif isinstance(value, str):
        tag, encoded = 2, value.encode()
    else:
        tag, encoded = 3, value
    return bytes([tag]) + len(encoded).to_bytes(8, "big") + encoded


def hashed(event: dict[str, Any], previous: bytes) -> bytes:
    """The bytes whose SHA-256 is an event's hash."""
    return DOMAIN + b"".join(field(event[name]) for name in FIELDS) + previous


def verify(path: str) -> list[str]:
    """What does not hold in a database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            return Database(connection).problems()
        except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            return [f"the database does not read as one: {error!r}"]


class Database:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._definitions: dict[tuple[bytes, int], str] = {}
        self._added: set[tuple[bytes, int]] = set()

    def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(query, values)]

    def problems(self) -> list[str]:
        streams = {row["stream_id"]: row for row in self._rows("SELECT * FROM streams")}
        found: list[str] = []
        for row in self._rows("SELECT * FROM workflow_versions"):
            digest = hashlib.sha256(row["definition"].encode())
            if digest.digest() != row["definition_digest"]:
                found.append(f"definition {row['version']}: its digest is another")
            self._definitions[row["workflow_id"], row["version"]] = digest.hexdigest()
        for stream in streams.values():
            events = self._rows("SELECT * FROM events WHERE stream_id = ? ORDER BY seq", stream["stream_id"])
            found += [f"stream {stream['stream_id'].hex()}: {problem}" for problem in self._stream(stream, events)]
        found += [f"definition {version} is told of nowhere" for _, version in self._definitions.keys() - self._added]
        return found + self._log(streams)

    def _stream(self, stream: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
        found: list[str] = []
        seq, previous, position, recorded_at = 0, bytes(32), 0, 0
        missing: set[int] = set()
        for event in events:
            if event["seq"] != seq + 1 or event["position"] <= position or event["recorded_at"] < recorded_at:
                found.append(f"event {event['seq']} is out of order")
            if hashlib.sha256(hashed(event, previous)).digest() != event["hash"]:
                found.append(f"event {event['seq']}: its hash is another")
            if event["organization_id"] != stream["organization_id"]:
                found.append(f"event {event['seq']} is of another organization")
            found += self._payload(event, missing)
            found += self._data(stream, event)
            if event["type"] == "Erased":
                missing -= {erased for erased in json.loads(event["data"])["seqs"] if erased < event["seq"]}
            seq, previous, position = event["seq"], event["hash"], event["position"]
            recorded_at = event["recorded_at"]
        if (seq, previous) != (stream["seq"], stream["hash"]):
            found.append("its head is another")
        if (stream["owner"], stream["epoch"]) != (None, 0):
            found.append("its owner or epoch is one that no row has")
        return found + [f"the payload of event {each} is missing" for each in sorted(missing)]

    def _payload(self, event: dict[str, Any], missing: set[int]) -> list[str]:
        payload, salt, digest = event["payload"], event["payload_salt"], event["payload_digest"]
        if digest is not None and payload is None and salt is None:
            missing.add(event["seq"])
            return []
        if (payload is None, salt is None, digest is None) not in {(True,) * 3, (False,) * 3}:
            return [f"half of the payload of event {event['seq']} is missing"]
        if digest is not None and hashlib.sha256(salt + payload.encode()).digest() != digest:
            return [f"the payload of event {event['seq']} has another digest"]
        return []

    def _data(self, stream: dict[str, Any], event: dict[str, Any]) -> list[str]:
        data = json.loads(event["data"])
        found: list[str] = []
        if event["seq"] == 1:
            workspace = None if stream["workspace_id"] is None else str(uuid.UUID(bytes=stream["workspace_id"]))
            if (data["kind"], data.get("workspace")) != (stream["kind"], workspace):
                found.append("streams says something else than event 1")
        if event["type"] in {"VersionAdded", "VersionPublished"}:
            named = (stream["stream_id"], data["version"])
            self._added.add(named)
        elif event["type"] == "ExecutionStarted":
            named = (uuid.UUID(data["workflow"]).bytes, data["workflow_version"])
        else:
            return found
        if self._definitions.get(named) != data["definition_sha256"]:
            found.append(f"event {event['seq']} names another definition")
        return found

    def _log(self, streams: dict[bytes, dict[str, Any]]) -> list[str]:
        found: list[str] = []
        hashes: dict[int, bytes] = {0: b"perdure-log-1\n"}
        pins: list[dict[str, Any]] = []
        for event in self._rows("SELECT position, stream_id, type, data, hash FROM events ORDER BY position"):
            hashes[event["position"]] = event["hash"]
            if event["position"] != len(hashes) - 1:
                found.append(f"position {len(hashes) - 1} is missing")
                break
            if event["stream_id"] not in streams:
                found.append(f"position {event['position']} is of no stream")
            if event["type"] == "LogPinned":
                pins.append(json.loads(event["data"]))
        held = [pin for pin in pins if self._holds(pin, hashes)]
        return found if len(held) == len(pins) else [*found, "a pin does not hold"]

    def _holds(self, pin: dict[str, Any], hashes: dict[int, bytes]) -> bool:
        position, after = pin["position"], pin.get("after")
        if position < 1 or hashes.get(position) != bytes.fromhex(pin["sha256"]):
            return False
        if after is None:
            return True
        covered = [hashes[0], *(hashes.get(each, b"") for each in range(after + 1, position + 1))]
        return hashlib.sha256(b"".join(covered)).hexdigest() == pin["log_sha256"]


if __name__ == "__main__":
    told = verify(sys.argv[1])
    print("\n".join(told) or "ok")  # noqa: T201 what it is for
    sys.exit(bool(told))
