"""Events over HTTP (part of the resource API): those of a run, and all that happens in an organization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource import fields
from perdure.api.dialects.resource.dialect import EXECUTIONS, LOG, route
from perdure.api.dialects.resource.executions import schemas
from perdure.api.dialects.resource.executions.executions import PREFIX
from perdure.api.http.event_json import event_json
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.core import ids
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.engine.errors import Invalid
from perdure.engine.runtime.callers import KEY_ACTOR
from perdure.engine.shown import shown
from perdure.engine.suggestions import did_you_mean
from perdure.store.records import StoredEvent

_TYPES: Final = tuple(sorted(each.__name__ for each in EXECUTION_EVENTS))
_HIDDEN: Final = {"KeyCreated": "sha256", "OrganizationCreated": "secret_sha256"}
"""Members that are shown to nobody: digests of what only its owner, or nobody, may know."""


async def list_execution_events(call: RouteCall[schemas.EventsQuery, None]) -> Reply:
    """A run's events as they stand in the log, whole; with `wait` the call is held until there is one."""
    query = call.query
    found = await call.engine.services.event_log.of_execution(
        call.caller,
        await call.engine.services.runs.find(call.caller, call.path["process_id"]),
        after=query.after,
        limit=query.limit,
        types=_types(query.types),
        newest_first=query.order == "desc",
        hold_ms=query.wait * 1000,
    )
    meta = {
        "limit": query.limit,
        "has_more": found.page.has_more,
        "after": found.page.after,
        "execution_id": ids.text(found.run.execution_id),
        "workflow_id": ids.text(found.run.workflow_id),
        "status": found.run.status,
    }
    return await _page(call, found.page.events, query.payloads, meta)


async def list_events(call: RouteCall[schemas.LogQuery, None]) -> Reply:
    """The log of the key's workspace, or with `organization.view` of its organization, without a gap.

    Sent back as `after`, the position of an answer gives what came later; with `wait` the call is held until there is
    something. A page may be empty and have a next one: what it has looked at was others'.
    """
    query = call.query
    page = await call.engine.services.event_log.of_organization(
        call.caller,
        whole="organization.view" in call.principal.scopes,
        after=query.after,
        limit=query.limit,
        hold_ms=query.wait * 1000,
    )
    meta = {"limit": query.limit, "has_more": page.has_more, "after": page.after}
    return await _page(call, page.events, query.payloads, meta)


def _types(given: str | None) -> Sequence[str]:
    """The types that a query names. Raises `Invalid` for one that no run has."""
    names = [] if given is None else given.split(",")
    for name in names:
        if name not in _TYPES:
            hint = did_you_mean(name, _TYPES)
            message = f"types: {shown(name)} is no event of a run;{hint} there are: {', '.join(_TYPES)}"
            raise Invalid(message, {"field": "types"})
    return names


async def _page(
    call: RouteCall[Any, None], events: Sequence[StoredEvent], payloads: fields.Payloads, meta: dict[str, Any]
) -> Reply:
    names = await call.engine.services.access.key_names(call.caller, {stored.row.actor for stored in events})
    return data([_event(stored, payloads, names) for stored in events], meta=meta)


def _event(stored: StoredEvent, payloads: fields.Payloads, names: Mapping[str, str]) -> dict[str, Any]:
    """An event; data and payload are the text that the log has."""
    event = event_json(stored, names, _raw)
    if stored.row.actor.startswith(KEY_ACTOR) and stored.row.actor not in names:
        event["actor"] = "operator:elsewhere"
    if stored.row.type in _HIDDEN:
        members: dict[str, Any] = msgspec.json.decode(stored.row.data)
        event["data"] = {name: value for name, value in members.items() if name != _HIDDEN[stored.row.type]}
    if payloads == "digest":
        del event["payload"]
    return event


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


ROUTES: Final[Sequence[Route]] = (
    route(
        *(EXECUTIONS, "GET", f"{PREFIX}/events", "runs.view", list_execution_events),
        query=schemas.EventsQuery,
        answer=common.Page[schemas.EventStored, schemas.AfterSeq],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(LOG, "GET", "events", "audit.read", list_events),
        query=schemas.LogQuery,
        answer=common.Page[schemas.EventStored, schemas.AfterPosition],
    ),
)
