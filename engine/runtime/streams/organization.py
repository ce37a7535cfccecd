"""Organizations as streams, with their workspaces and keys: their decider, and the rows that show them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import Any

from perdure.engine.core import events, ids
from perdure.engine.core import organization as organizations
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.refs import Payloads
from perdure.engine.core.settings import settings_text
from perdure.engine.log.codec import Vocabulary, encode_json
from perdure.engine.runtime.streams.administrative import AdministrativeStreamType
from perdure.engine.runtime.streams.stream import HotStream, Rows
from perdure.store.records import ApiKeyRow, OrganizationRow, Row, StreamKind, WorkspaceRow


class OrganizationStreamType(AdministrativeStreamType):
    """Organizations. They stay in memory: to fold all their keys anew for each further one would cost the more."""

    name: StreamKind = "organization"
    vocabulary = Vocabulary(organizations.EVENTS)

    def initial(self) -> organizations.OrganizationState:
        return organizations.OrganizationState()

    def evolve(
        self, state: organizations.OrganizationState, recorded: events.Recorded
    ) -> organizations.OrganizationState:
        return organizations.evolve(state, recorded)

    def creates(self, command: Any) -> bool:
        return isinstance(command, organizations.CreateOrganization)

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome:
        return organizations.decide(hot.state, command, now=facts.now, actor=facts.actor, payloads=facts.payloads)

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:
        before: organizations.OrganizationState = hot.state
        state: organizations.OrganizationState = steps[-1].state
        payloads: Payloads = ChainMap({s.recorded.seq: s.recorded.payload for s in steps}, hot.payloads)
        organization, at = hot.organization_id, state.recorded_at
        puts: list[Row] = []
        if not before.seq:
            puts.append(organization_row(state, organization, command.name, command.secret, at))
        elif before.settings != state.settings:  # what is fixed of the row stays as it is
            puts.append(organization_row(state, organization, payloads[1]["name"], b"", at))
        for workspace, seq in state.workspaces.items():
            if workspace not in before.workspaces:
                puts.append(workspace_row(workspace, seq, state, organization, payloads, at))
        keys = (change.after for change in state.keys.changes_from(before.keys))
        puts += [key_row(key, state, organization, payloads) for key in keys if key is not None]
        return Rows(puts)

    def is_idle(self, state: Any) -> bool:  # noqa: ARG002
        return False


def organization_row(
    state: organizations.OrganizationState, organization: bytes, name: str, secret: bytes, created_at: int
) -> OrganizationRow:
    """An organization; its secret is in no event."""
    return OrganizationRow(organization, name, secret, created_at, settings_text(state.settings))


def workspace_row(
    workspace: str,
    seq: int,
    state: organizations.OrganizationState,
    organization: bytes,
    payloads: Payloads,
    created_at: int,
) -> WorkspaceRow:
    """A workspace, which the event of that seq created."""
    live = state.sandboxes.get(workspace)
    paired = None if live is None else ids.parse(live)
    return WorkspaceRow(ids.parse(workspace), organization, payloads[seq]["name"], created_at, paired)


def key_row(
    key: organizations.ApiKey, state: organizations.OrganizationState, organization: bytes, payloads: Payloads
) -> ApiKeyRow:
    """A key as its events show it: one whose workspace is a sandbox is a test key."""
    payload = payloads[key.seq]
    return ApiKeyRow(
        key_id=ids.parse(key.created.key),
        organization_id=organization,
        workspace_id=ids.parse(key.created.workspace),
        name=payload["name"],
        key_digest=bytes.fromhex(key.created.sha256),
        scopes=" ".join(key.created.scopes),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.created.expires_at,
        revoked_at=key.revoked_at,
        mode="test" if key.created.workspace in state.sandboxes else "live",
        user_id=payload.get("user_id"),
        role_ids=encode_json(payload.get("role_ids", [])).decode(),
    )
