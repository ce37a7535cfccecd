"""The members of a workflow's requests that are its document, and who sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.workflows import schemas
from perdure.engine.core.workflow import Sharing
from perdure.engine.errors import Invalid
from perdure.engine.services.documents import GivenDocument
from perdure.store.records import WorkflowRow
from perdure.store.viewer import names_in

GRAPH: Final = ("nodes", "edges", "variables")
SCHEDULE: Final = ("trigger_type", "cron_expression", "timezone", "schedules")

_ONE_WAY: Final = "a workflow is written in one way: as a definition, as nodes and edges, or as steps"


def document_of(
    body: schemas.WrittenWorkflow, name: str, shown_graph: Mapping[str, Any] | None = None
) -> GivenDocument | None:
    """The document that a request gives of the workflow of this name, null if none.

    `shown_graph`: the graph of the version before, of which members that are not given stay. Raises `Invalid`.
    """
    graph = {each: getattr(body, each) for each in GRAPH if getattr(body, each) is not UNSET}
    given = [each for each in ("definition", *GRAPH, "steps") if getattr(body, each) is not UNSET]
    if len({"graph" if each in GRAPH else each for each in given}) > 1:
        raise Invalid(f"{given[-1]}: it cannot be sent together with {given[0]}; {_ONE_WAY}", {"field": given[-1]})
    if graph:
        return GivenDocument("graph", {**(shown_graph or {}), **graph})
    if not isinstance(body.steps, UnsetType):
        return GivenDocument("steps", {"name": name, "steps": body.steps})
    return None if isinstance(body.definition, UnsetType) else GivenDocument("asl", body.definition)


def needed_document(body: schemas.WrittenWorkflow, name: str) -> GivenDocument:
    """The document that a request must give. Raises `Invalid`."""
    document = document_of(body, name)
    if document is None:
        raise Invalid(f"definition: it is missing, and so are nodes and steps; {_ONE_WAY}", {"field": "definition"})
    return document


def check_schedules(document: GivenDocument, body: Any) -> None:
    """Raise `Invalid` if a request says when a workflow starts beside a document that says it itself."""
    if document.format == "asl":
        return
    for name in SCHEDULE:
        if getattr(body, name) not in (UNSET, None):
            where = "a node of type trigger" if document.format == "graph" else "its trigger"
            message = f"{name}: {where} says when the workflow starts; more schedules are added once it is there"
            raise Invalid(message, {"field": name})


def sharing_of(body: schemas.Shared, row: WorkflowRow | None = None) -> Sharing | None:
    """Who is to see a workflow, null if the request does not say it; what it leaves out stays. Raises `Invalid`."""
    lists = {"shared_user_ids": body.shared_user_ids, "shared_role_ids": body.shared_role_ids}
    named = [name for name, each in lists.items() if not isinstance(each, UnsetType)]
    if isinstance(body.visibility, UnsetType) and not named:
        return None
    had = Sharing("tenant") if row is None else _sharing(row)
    visibility = had.visibility if isinstance(body.visibility, UnsetType) else body.visibility
    if visibility != "shared":
        if any(lists[name] for name in named):
            raise Invalid(f"{named[0]}: it goes with visibility 'shared'", {"field": named[0]})
        return Sharing(visibility)
    users = had.users if isinstance(body.shared_user_ids, UnsetType) else tuple(body.shared_user_ids)
    roles = had.roles if isinstance(body.shared_role_ids, UnsetType) else tuple(body.shared_role_ids)
    if not users and not roles:
        message = "shared_user_ids: with visibility 'shared' at least one user or role is named"
        raise Invalid(message, {"field": "shared_user_ids"})
    return Sharing(visibility, users, roles)


def _sharing(row: WorkflowRow) -> Sharing:
    visibility: Any = row.visibility
    return Sharing(visibility, names_in(row.shared_users), names_in(row.shared_roles))


def sharing_json(row: WorkflowRow) -> dict[str, Any]:
    """Who sees a workflow, as it is shown."""
    return {
        "visibility": row.visibility,
        "shared_user_ids": list(names_in(row.shared_users)),
        "shared_role_ids": list(names_in(row.shared_roles)),
        "owner_user_id": row.owner or None,
    }
