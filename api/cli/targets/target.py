"""Targets of changes: a server over HTTP, or a database that no server holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import click

from perdure.api.cli.options import Where

if TYPE_CHECKING:
    from perdure.api.cli.targets.server import Remote

ResumeRule: TypeAlias = Literal["any", "named"]


class Target(Protocol):
    """The changes that a command can make. Each returns after it is on disk; answers are JSON values.

    Raises `CommandFailed` if what was asked for is bad or not possible, `CommandNotRun` if it was not tried.
    """

    def create_workflow(
        self, name: str, definition: Any, description: str | None, *, is_draft: bool, resume: ResumeRule
    ) -> dict[str, Any]: ...

    def apply_workflow(
        self, name: str, definition: Any, description: str | None, *, is_draft: bool, resume: ResumeRule | None
    ) -> dict[str, Any]: ...

    def publish_workflow(self, workflow: str) -> dict[str, Any]: ...

    def archive_workflow(self, workflow: str) -> dict[str, Any]: ...

    def trigger(
        self, workflow: str, run_input: dict[str, Any], process_id: str | None, version: int | None
    ) -> dict[str, Any]: ...

    def resume(
        self, process_id: str, payload: Any, *, wait_id: str | None, state: str | None, hold_s: int
    ) -> dict[str, Any]: ...

    def terminate(self, process_id: str, payload: dict[str, Any]) -> dict[str, Any]: ...

    def release(self, process_id: str) -> dict[str, Any]: ...

    def answer_task(
        self, token: str, what: Literal["success", "failure", "heartbeat"], body: Any
    ) -> dict[str, Any]: ...

    def create_key(self, name: str, scopes: list[str], expires_at: str | None) -> dict[str, Any]: ...

    def revoke_key(self, key: str) -> dict[str, Any]: ...


def target(where: Where, steps: str | None = None) -> Target:
    """The server if one is named, else the database. `steps`: a registry of steps, which a server has its own of."""
    if where.server is None:
        from perdure.api.cli.targets.database import Direct  # noqa: PLC0415 the engine, which a client has no use for

        return Direct(where.scope, steps)
    return server_of(where)


def server_of(where: Where) -> Remote:
    """The server that is named. Raises `click.UsageError` without a key for it."""
    from perdure.api.cli.targets.server import Remote  # noqa: PLC0415 the client, which who writes directly has no use for

    if where.server is None or not where.key:
        raise click.UsageError("a server wants a key: set PERDURE_KEY, or give --key")
    remote = Remote(where.server, where.key, where.scope)
    click.get_current_context().call_on_close(remote.client.close)
    return remote


def no_elsewhere(where: Where) -> None:
    """A key acts in its own workspace: refuse another one to be named with it. Raises `click.UsageError`."""
    if where.server is not None and (where.scope.organization or where.scope.workspace):
        raise click.UsageError("--organization, --workspace: a key acts in its own; they go with --database")
