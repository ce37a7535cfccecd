"""Viewers of workflows, and which of them they see.

A workflow is seen by everybody in its workspace (`tenant`), by its owner alone (`private`), or by those whom it is
shared with (`shared`). Its owner is the user who made it; of one that nobody's key made, that key is the owner.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from perdure.store.records import WorkflowRow

TENANT: Final = "tenant"
SHARED: Final = "shared"


class Viewer(NamedTuple):
    """A viewer: the user, if the key is anybody's, with their roles, and the actor as the log has it."""

    user_id: str | None
    role_ids: tuple[str, ...]
    actor: str


def listed(names: tuple[str, ...]) -> str:
    r"""Names as a row keeps them: each between line feeds, so that `\nNAME\n` is in the text if it is among them."""
    return "".join(f"\n{name}\n" for name in names)


def names_in(text: str) -> tuple[str, ...]:
    """The names that a row keeps."""
    return tuple(filter(None, text.split("\n")))


def mark(name: str | None) -> str:
    """The text to look for in a row's names, "" for what is none: no name is empty, or has a line feed in it."""
    return listed((name,)) if name and "\n" not in name else ""


def sees(viewer: Viewer, row: WorkflowRow) -> bool:
    """Whether the viewer sees a workflow of their workspace.

    An owner is compared with users and a maker with actors: a user may be named as a key is.
    """
    is_own = row.owner == viewer.user_id if row.owner else row.created_by == viewer.actor
    if row.visibility == TENANT or is_own:
        return True
    if row.visibility != SHARED:
        return False
    user = mark(viewer.user_id)
    if user and user in row.shared_users:
        return True
    return any(role in row.shared_roles for role in map(mark, viewer.role_ids) if role)
