"""The writer in a thread of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from perdure.store.errors import StoreError
from perdure.store.records import Appended, StreamAppend
from perdure.store.sqlite.lock import FileLock
from perdure.store.sqlite.writer.apply import plan
from perdure.store.sqlite.writer.writer import Writer

T = TypeVar("T")


class WriterThread:
    """A writer, the thread that it lives in, and the lock that makes it the only one."""

    def __init__(self, path: str) -> None:
        """Take the lock and open the database. It blocks. Raises StoreError, DatabaseInUse above all."""
        self._lock = FileLock.acquire(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="perdure-writer")
        try:
            self.writer = self._thread.submit(Writer, path).result()
        except BaseException:
            self._end()
            raise

    @classmethod
    async def open(cls, path: str) -> WriterThread:
        """As the constructor, while the event loop goes on."""
        return await asyncio.to_thread(cls, path)

    def watch(self, on_lost: Callable[[StoreError], None]) -> None:
        """Do nothing: a thread is never lost."""

    def append(self, batch: Sequence[StreamAppend]) -> asyncio.Future[Appended]:
        """Append a batch. It is planned here, so that the writer's thread needs the interpreter for little."""
        return self.run(partial(Writer.append, planned=plan(batch)))

    def run(self, work: Callable[[Writer], T]) -> asyncio.Future[T]:
        """Run in the thread, and to the end even if the caller is cancelled meanwhile.

        It is handed over before this returns: the loop may have much to do before a task has its turn.
        """
        return asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work, self.writer))

    async def close(self) -> None:
        """Close the writer after what it was handed before."""
        try:
            await self.run(Writer.close)
        finally:
            self._end()

    async def abandon(self) -> None:
        """Begin nothing more. What hangs cannot be ended, and the lock is its own until this process ends."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _end(self) -> None:
        self._thread.shutdown()
        self._lock.release()
