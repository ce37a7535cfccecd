"""The ports of a processor: what it asks and calls outside itself, given by whoever builds it (`engine.compose`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from perdure.engine.core.effects import Effect
from perdure.engine.runtime.processing.quotas import QuotaSource
from perdure.engine.runtime.streams.stream import HotStream
from perdure.store.records import NewEvent


class Ports(NamedTuple):
    """The calls are made on the loop, and return at once. `quotas` says which hold for the runs of a workflow.

    - `effect`: run an effect, which is on disk.
    - `moved`: the log stands there on disk now.
    - `administered`: a workflow or an organization was changed by these events; before anybody is told of it.
    - `stopped`: after a commit of unknown fate nothing may be begun.
    - `failed`: and this is why; after all who waited were told.
    """

    effect: Callable[[HotStream, Effect], None]
    moved: Callable[[int], None]
    administered: Callable[[HotStream, Sequence[NewEvent]], None]
    stopped: Callable[[], None]
    failed: Callable[[Exception], None]
    quotas: QuotaSource
