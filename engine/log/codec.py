"""Encoding of events: data and payloads as JSON text, and back (`store/LOG_FORMAT.md`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from perdure.engine.core.events import Event, Recorded
from perdure.engine.core.upcast import EARLIER, Earlier, Upcast
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.store.records import EventRow, NewEvent, StoredEvent

encode_json: Callable[[Any], bytes] = msgspec.json.Encoder().encode
decode_json: Callable[[str | bytes], Any] = msgspec.json.Decoder().decode

_VERSIONS: Final = {name: len(before) + 1 for name, before in EARLIER.items()}
"""The versions that are written, where it is not the first."""

# As `NewEvent._make`, in a third of the time of its constructor.
_new_event: Callable[[tuple[Any, ...]], NewEvent] = partial(tuple.__new__, NewEvent)


class UnknownEvent(Exception):
    """An event of a type or version that this program does not know: it must not be skipped."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"event {name} version {version} is not known to this version of Perdure")


class Vocabulary:
    """The event types of one stream type, by name and version: those of today, and the versions before them."""

    def __init__(self, types: Iterable[type[Event]], earlier: Mapping[str, tuple[Earlier[Any], ...]] = EARLIER) -> None:
        self._decoders: dict[tuple[str, int], msgspec.json.Decoder[Any]] = {}
        self._upcasts: dict[tuple[str, int], tuple[Upcast, ...]] = {}
        for cls in types:
            before = earlier.get(cls.__name__, ())
            for version, form in enumerate((*(each.form for each in before), cls), start=1):
                self._decoders[cls.__name__, version] = msgspec.json.Decoder(form)
                self._upcasts[cls.__name__, version] = tuple(each.upcast for each in before[version - 1 :])

    def read(self, row: EventRow) -> Recorded:
        """The event of a row, in today's version. An erased payload reads as null. Raises `UnknownEvent`."""
        key = (row.type, row.version)
        decoder = self._decoders.get(key)
        if decoder is None:
            raise UnknownEvent(*key)
        event = decoder.decode(row.data)
        for upcast in self._upcasts[key]:
            event = upcast(event, row.seq, row.recorded_at)
        payload = None if row.payload is None else decode_json(row.payload)
        return Recorded(row.seq, row.recorded_at, row.actor, row.caused_by, event, payload)

    def read_all(self, stored: Iterable[StoredEvent]) -> list[Recorded]:
        """The events of several rows."""
        return [self.read(item.row) for item in stored]


def new_events(events: Iterable[Recorded], random: Callable[[int], bytes]) -> list[NewEvent]:
    """Events as the store takes them; `random(n)` gives n bytes for the salts. Raises what cannot be written as JSON.

    (A defect of ours: what comes in from outside has been checked.)
    """
    drafts: list[NewEvent] = []
    for recorded in events:
        event, payload = recorded.event, recorded.payload
        text = salt = None
        if payload is not None:
            text, salt = encode_json(payload).decode(), random(16)
        name, data = type(event).__name__, encode_json(event).decode()
        version = _VERSIONS.get(name, 1)
        draft = (name, version, recorded.recorded_at, recorded.actor, recorded.caused_by, data, text, salt)
        drafts.append(_new_event(draft))
    return drafts


EXECUTION: Final = Vocabulary(EXECUTION_EVENTS)
"""The vocabulary of the streams of executions."""
