"""Calls about a server and who may call it: keys, health, metrics, and its own description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from perdure.api.client import action_results, key_results, results
from perdure.api.client.calls import Call, Iteration, Operation, Walk, given

PAGE: Final = 100
"""So many items an iterator asks for at once."""


_ORGANIZATION: Final = "/v1/organizations/{id}"


class ServerCalls:
    """Calls about keys and the server itself."""

    @Operation
    def create_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        organization: str | None = None,
        workspace: str | None = None,
        expires_at: datetime | str | None = None,
        mode: Literal["live", "test"] | None = None,
        user_id: str | None = None,
        role_ids: Sequence[str] | None = None,
    ) -> Call[key_results.KeyMade]:
        """Make a key with scopes such as `runs.view`. Its text, `key`, is in this answer and nowhere else.

        A `test` key acts in the workspace's sandbox: the same workflows, runs of its own, nothing changed outside.
        `user_id`, `role_ids`: the person that the key is of.

        Only a key with the scope `operator` may name another `organization` or `workspace`, which is made if it is not
        there. `expires_at`: for ever unless given; without an offset it is UTC. Raises `Invalid`, `Forbidden`. Is not
        repeated by itself if its answer is lost.
        """
        until = expires_at.isoformat() if isinstance(expires_at, datetime) else expires_at
        body = {"name": name, "scopes": list(scopes)}
        body |= given(organization=organization, workspace=workspace, expires_at=until)
        body |= given(mode=mode, user_id=user_id, role_ids=None if role_ids is None else list(role_ids))
        return Call("POST", "/v1/keys", key_results.KeyMade, "data", body=body)

    @Operation
    def me(self) -> Call[key_results.Me]:
        """The key that asks: its scopes, its mode, and where it acts."""
        return Call("GET", "/v1/me", key_results.Me, "data", is_safe=True)

    @Operation
    def organization(self) -> Call[results.OrganizationShown]:
        """The organization that the key belongs to, with its settings. Raises `Forbidden`."""
        return Call("GET", "/v1/organization", results.OrganizationShown, "data", is_safe=True)

    @Operation
    def change_organization(
        self, settings: Mapping[str, Any] | None = None, *, plan: str | None = None
    ) -> Call[results.OrganizationShown]:
        """Change the settings that are given, by the API's names (`{"concurrencyLimit": 100}`); null takes one back.

        They hold at once, for all runs of the organization. `plan` bounds its requests: `free`, `starter`, `pro`,
        `business` or `unlimited`. Raises `Invalid`, `Forbidden`, `Conflict`.
        """
        body = given(settings=None if settings is None else dict(settings), plan=plan)
        return Call("PATCH", "/v1/organization", results.OrganizationShown, "data", body=body, is_safe=True)

    @Operation
    def any_organization(self, organization_id: str) -> Call[results.OrganizationShown]:
        """An organization; another than the key's own only an operator sees. Raises `Forbidden`, `NotFound`."""
        values = {"id": organization_id}
        return Call("GET", _ORGANIZATION, results.OrganizationShown, "data", values=values, is_safe=True)

    @Operation
    def change_any_organization(
        self, organization_id: str, settings: Mapping[str, Any] | None = None, *, plan: str | None = None
    ) -> Call[results.OrganizationShown]:
        """Change the settings or the plan of any organization, as `change_organization` does of the key's own.

        Raises `Invalid`, `Forbidden`, `NotFound`, `Conflict`.
        """
        body, values = given(settings=None if settings is None else dict(settings), plan=plan), {"id": organization_id}
        shown = results.OrganizationShown
        return Call("PATCH", _ORGANIZATION, shown, "data", values=values, body=body, is_safe=True)

    @Operation
    def keys(self, *, after: str | None = None, limit: int | None = None) -> Call[results.KeyPage]:
        """A page of keys, without their texts, oldest first, 1 to 100, 20 unless given; `after` is `meta.after`."""
        return _keys(after, limit)

    @Iteration
    def iter_keys(self) -> Walk[key_results.KeyShown]:
        """All keys of the workspace, without their texts, oldest first; an operator's sees its organization's."""

        def then(page: results.KeyPage) -> Call[results.KeyPage] | None:
            return None if page.meta.after is None else _keys(page.meta.after, PAGE)

        return Walk(_keys(None, PAGE), lambda page: page.data, then)

    @Operation
    def key(self, key_id: str) -> Call[key_results.KeyShown]:
        """A key, without its text. Raises `Forbidden`, `NotFound`."""
        return Call("GET", "/v1/keys/{id}", key_results.KeyShown, "data", values={"id": key_id}, is_safe=True)

    @Operation
    def revoke_key(self, key_id: str, *, with_children: bool | None = None) -> Call[key_results.KeyShown]:
        """Revoke a key, at once and for ever; `with_children`: the keys that it made, too.

        Raises `NotFound`, `Conflict` (the last operator's stays).
        """
        query = {"with_children": with_children}
        values = {"id": key_id}
        return Call("DELETE", "/v1/keys/{id}", key_results.KeyShown, "data", values=values, query=query, is_safe=True)

    @Operation
    def actions(self) -> Call[list[action_results.ActionShown]]:
        """All that steps of workflows can do on this server, by name."""
        return Call("GET", "/v1/actions", list[action_results.ActionShown], "data", is_safe=True)

    @Operation
    def action(self, name: str) -> Call[action_results.ActionShown]:
        """One action, with its JSON Schemas. Raises `NotFound`, naming similar ones."""
        return Call(
            "GET", "/v1/actions/{name}", action_results.ActionShown, "data", values={"name": name}, is_safe=True
        )

    @Operation
    def live(self) -> Call[results.Health]:
        """Check liveness: the process runs and its event loop turns."""
        return Call("GET", "/health/live", results.Health, "data", is_safe=True)

    @Operation
    def ready(self) -> Call[results.Health]:
        """Check readiness. Raises `Unavailable`, which says why not."""
        return Call("GET", "/health/ready", results.Health, "data", is_safe=True)

    @Operation
    def clock(self) -> Call[results.ClockShown]:
        """The server's clock, and the step of the computer's that stops it from firing timers; for an operator."""
        return Call("GET", "/v1/clock", results.ClockShown, "data", is_safe=True)

    @Operation
    def accept_clock(self, *, step_ms: int | None = None) -> Call[results.ClockAnswer]:
        """Accept that the computer's clock was set while the server ran; for an operator.

        `step_ms` is the step as `clock` showed it: of another one that has come since nothing is accepted. Raises
        `Conflict` then. Without it a call whose answer is lost is not repeated by itself.
        """
        body = given(step_ms=step_ms)
        is_safe = step_ms is not None
        return Call("POST", "/v1/clock/accept", results.ClockAnswer, "data", body=body, is_safe=is_safe)

    @Operation
    def metrics(self) -> Call[str]:
        """The server's metrics, in the text format of Prometheus; for a key with the scope `operator`."""
        return Call("GET", "/metrics", str, is_safe=True)

    @Operation
    def openapi(self) -> Call[dict[str, Any]]:
        """The server's own description, in OpenAPI 3.1."""
        return Call("GET", "/openapi.json", dict[str, Any], is_safe=True)

    @Operation
    def docs(self) -> Call[str]:
        """That description as a page of HTML."""
        return Call("GET", "/docs", str, is_safe=True)


def _keys(after: str | None, limit: int | None) -> Call[results.KeyPage]:
    return Call("GET", "/v1/keys", results.KeyPage, query={"after": after, "limit": limit}, is_safe=True)
