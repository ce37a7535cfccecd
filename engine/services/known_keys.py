"""Which keys there are, by the digest of their text: enough to know a guess for one without asking the database."""

from __future__ import annotations

import asyncio
from typing import Final

from perdure.store.protocols import Catalog

KNOWN_MAX: Final = 20_000
"""So many are known, those that were used or made last: some 100 bytes each."""


class KnownKeys:
    """The digests of keys that were not revoked. They are read once, when somebody first asks."""

    def __init__(self, store: Catalog) -> None:
        self._store = store
        self._digests: dict[bytes, None] | None = None
        self._reading = asyncio.Lock()

    async def has(self, digest: bytes) -> bool:
        """Whether a key is among them."""
        async with self._reading:
            if self._digests is None:
                self._digests = {}  # what is made or revoked from here on is noted beside the read
                try:
                    digests = await self._store.latest_keys(KNOWN_MAX)
                except BaseException:
                    self._digests = None
                    raise
                self._digests = dict.fromkeys([*reversed(digests), *self._digests])
        return digest in self._digests

    def made(self, digest: bytes) -> None:
        """Note a new key."""
        if self._digests is not None:
            self._digests[digest] = None
            if len(self._digests) > KNOWN_MAX:
                del self._digests[next(iter(self._digests))]

    def ended(self, digest: bytes) -> None:
        """Forget a key; one that ends while they are read is forgotten when somebody comes with it."""
        if self._digests is not None:
            self._digests.pop(digest, None)
