"""Who looks at workflows, and which of them they see.

A workflow is seen by everybody in its workspace (`tenant`), by its owner alone (`private`), or by those whom it is
shared with (`shared`). Its owner is the user who made it; of one that nobody's key made, that key is the owner.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from perdure.store.records import WorkflowRow

TENANT: Final = "tenant"
SHARED: Final = "shared"


class Viewer(NamedTuple):
    """Who looks: the user, if the key is anybody's, with their roles, and the actor as the log has it."""

    user_id: str | None
    role_ids: tuple[str, ...]
    actor: str


def listed(names: tuple[str, ...]) -> str:
    r"""Names as a row keeps them: each between line feeds, so that `\nNAME\n` is in the text if it is among them."""
    return "".join(f"\n{name}\n" for name in names)


def names_in(text: str) -> tuple[str, ...]:
    """The names that a row keeps."""
    return tuple(filter(None, text.split("\n")))


def sees(viewer: Viewer, row: WorkflowRow) -> bool:
    """Whether the viewer sees a workflow of their workspace."""
    if row.visibility == TENANT or (row.owner or row.created_by) in {viewer.user_id or viewer.actor, viewer.actor}:
        return True
    if row.visibility != SHARED:
        return False
    is_named = viewer.user_id is not None and listed((viewer.user_id,)) in row.shared_users
    return is_named or any(listed((role,)) in row.shared_roles for role in viewer.role_ids)
