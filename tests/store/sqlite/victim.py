"""A process that serves a database until it is killed: `python -m tests.store.sqlite.victim PATH WRITER`.

It says READY, then the number of each batch once its append has been answered.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from perdure.store.protocols import WriterPlace
from perdure.store.records import NEW_STREAM
from perdure.store.sqlite import open_sqlite
from tests.store.builders import execution, head_of, node, part, process_id, uid

STREAMS, EVENTS = 5, 4  # in a batch


def stream_ids(batch: int) -> list[bytes]:
    return [uid(number, space=batch) for number in range(1, STREAMS + 1)]


async def serve(path: str, writer: WriterPlace) -> None:
    store = await open_sqlite(path, writer=writer)
    await store.node_started(node(1))
    print("READY", flush=True)  # noqa: T201
    shared = NEW_STREAM
    for batch in range(1, 100_000):
        parts = [
            part(
                stream_id,
                events=EVENTS,
                claims=[process_id(stream_id.hex(), stream_id)],
                puts=[execution(stream_id)],
            )
            for stream_id in stream_ids(batch)
        ]
        common = part(uid(1, space=0xFFFF), shared)
        shared = head_of(common)
        await store.append([*parts, common])
        print(batch, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], cast("WriterPlace", sys.argv[2])))
