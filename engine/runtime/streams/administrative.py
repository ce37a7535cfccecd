"""Administrative streams: the part that workflows and organizations share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from perdure.store.records import CountChange, Row


class AdministrativeStreamType:
    """A stream type of workflows or organizations: they are rare, and keep all their payloads at hand."""

    snapshot_due = sys.maxsize

    def row(self, state: Any, stream_id: bytes, organization_id: bytes) -> Row | None:  # noqa: ARG002 one of a kind
        return None

    def weigh(self, state: Any, before: Any, written: int) -> None:
        """No quota looks at them."""

    def counts(self, stored: Any, state: Any) -> Sequence[CountChange]:  # noqa: ARG002
        return ()

    def live_seqs(self, state: Any) -> frozenset[int] | None:  # noqa: ARG002
        return None

    def width(self, state: Any) -> int:  # noqa: ARG002
        return 0

    def is_idle(self, state: Any) -> bool:  # noqa: ARG002
        return True
