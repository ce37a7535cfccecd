"""`perdure verify`."""

from __future__ import annotations

from typing import Any

import click

from api.commands import output
from api.commands.running import Failed, run
from api.commands.shape import Command, as_json, database
from api.commands.views import reader
from engine.audit import verify as audit
from engine.core import ids


@click.command(
    cls=Command,
    examples=["perdure verify", "perdure verify --json"],
)
@database
@as_json
def verify(database: str, *, as_json: bool) -> None:
    """Verify every chain of the log; also beside a running server.

    Exit status 1 if one does not hold: each is named with the first event that does not fit.
    """
    found = run(_verified(database))
    if as_json:
        output.document(found)
    else:
        for broken in found["breaks"]:
            output.line(f"{broken['kind']} {broken['stream_id']}, seq {broken['seq']}: {broken['reason']}")
    if found["broken_streams"]:
        raise Failed(f"{found['broken_streams']} of {found['streams']} streams do not hold")
    if not as_json:
        output.line(f"{found['events']} events in {found['streams']} streams: every chain holds")


async def _verified(database: str) -> dict[str, Any]:
    async with reader(database) as store:
        report = await audit(store)
        breaks = []
        missing = set()
        for broken in report.breaks:
            stream = await store.stream(broken.stream_id)
            if stream is None:
                missing.add(broken.stream_id)
            breaks.append(
                {
                    "kind": "stream" if stream is None else stream.kind,
                    "stream_id": ids.text(broken.stream_id),
                    "seq": broken.seq,
                    "reason": broken.reason,
                }
            )
    return {
        # A stream may have several faults, and one that the log alone knows of was not counted as one.
        "streams": report.streams + len(missing),
        "events": report.events,
        "broken_streams": len({each["stream_id"] for each in breaks}),
        "breaks": breaks,
    }
