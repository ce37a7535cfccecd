"""`perdure verify`."""

from __future__ import annotations

from typing import Any

import click

from perdure.cli import output
from perdure.cli.options import ExampledCommand, as_json, database
from perdure.cli.runner import CommandFailed, run
from perdure.cli.targets.reader import reader
from perdure.engine.audit.store_audit import NO_STREAM, NOT_COMPARED
from perdure.engine.audit.store_audit import verify as audit
from perdure.engine.core import ids


@click.command(
    cls=ExampledCommand,
    examples=["perdure verify", "perdure verify --json"],
)
@database
@as_json
def verify(database: str, *, as_json: bool) -> None:
    """Verify every chain of the log, and what other tables say by it; also beside a running server.

    Compared with the log are keys, organizations, workspaces, workflows and their versions, process ids, executions,
    waits, timers and snapshots. Not compared, since no event tells of them: which request an idempotency key stood
    for, when servers ran, and when a key was last used. What was appended last and cut off again, or a log that
    somebody wrote anew from its first event on, is seen only by who keeps a head of it elsewhere.

    Exit status 1 if something does not hold: each stream is named with the first event that does not fit.
    """
    found = run(_verified(database))
    if as_json:
        output.document(found)
    else:
        for broken in found["breaks"]:
            is_whole = broken["stream_id"] == ids.text(NO_STREAM)
            where = "the database" if is_whole else f"{broken['kind']} {broken['stream_id']}, seq {broken['seq']}"
            output.line(f"{where}: {broken['reason']}")
    if found["broken_streams"]:
        raise CommandFailed(f"{found['broken_streams']} of {found['streams']} streams do not hold")
    if not as_json:
        for each in found["not_compared"]:
            output.say(f"not compared: {each}")
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
        "not_compared": list(NOT_COMPARED),
    }
