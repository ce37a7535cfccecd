"""The stream types, each with its own fold, rules and rows; the processor treats all alike."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.engine.runtime.streams.bulk import BulkStreamType
from perdure.engine.runtime.streams.execution import ExecutionStreamType
from perdure.engine.runtime.streams.organization import OrganizationStreamType
from perdure.engine.runtime.streams.stream import StreamType
from perdure.engine.runtime.streams.workflow import WorkflowStreamType
from perdure.store.records import StreamKind

STREAM_TYPES: Mapping[StreamKind, StreamType] = {
    "execution": ExecutionStreamType(),
    "workflow": WorkflowStreamType(),
    "organization": OrganizationStreamType(),
    "bulk": BulkStreamType(),
}
