"""Commands over HTTP: the API of a server, and its errors as errors of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from perdure.api.client import Client, ClientError, NoAnswer, NotFound, Refusal, Retries, Unreachable
from perdure.api.client.calls import Call
from perdure.cli.names import SUGGESTED_FROM, is_id, only, only_schedule
from perdure.cli.options import DatabaseScope
from perdure.cli.runner import CommandFailed, CommandNotRun, NotThere, headline, problems
from perdure.engine.services.run_filters import Given
from perdure.engine.suggestions import did_you_mean

T = TypeVar("T")

TIMEOUT_S: Final = 60.0
RETRIES: Final = Retries(attempts_max=3, elapsed_max_s=5.0)
"""Somebody waits at a terminal, and can ask again."""

_BRIEF: Final = ("id", "name", "version", "status")
_ORGANIZATION: Final = ("id", "name", "plan", "settings")
_SAVED: Final = (*_BRIEF, "warnings")

_NOT_TRIED: Final = frozenset({401, 403})


class Asked(Client):
    """A client whose errors are those of a command."""

    def perform(self, call: Call[T]) -> T:
        """Raises `CommandFailed` or `CommandNotRun` with what the server says."""
        try:
            return super().perform(call)
        except ClientError as error:
            raise _failure(error) from None
        except ValueError as error:
            raise CommandFailed(str(error)) from None


def _failure(error: ClientError) -> CommandFailed:
    if isinstance(error, Unreachable):
        return CommandNotRun(error.message)
    if isinstance(error, NoAnswer):
        return CommandFailed(f"{error.message}; whether it was done is not known: ask again")
    if not isinstance(error, Refusal):
        return CommandFailed(error.message)
    kind = CommandNotRun if error.status in _NOT_TRIED else NotThere if isinstance(error, NotFound) else CommandFailed
    return kind(headline(error.message, error.details), problems(error.details))


_TAKEN: Final = {"graph": ("nodes", "edges", "variables"), "steps": ("steps",)}
"""The members of documents that a server is sent."""


class Remote:
    """A server. Implements `Target`."""

    def __init__(self, server: str, key: str, scope: DatabaseScope) -> None:
        if not (key.isascii() and key.isprintable()):
            raise CommandNotRun("--key: it has characters that no key has")
        try:
            self.client = Asked(server, key, timeout_s=TIMEOUT_S, retries=RETRIES)
        except ValueError as error:
            raise CommandNotRun(f"--server: {error}") from None
        self._scope = scope

    # --- changes -------------------------------------------------------------------------------------------------

    def create_workflow(
        self,
        name: str,
        definition: Any,
        description: str | None,
        *,
        is_draft: bool,
        settings: dict[str, Any],
        written_as: str,
    ) -> dict[str, Any]:
        if written_as != "asl":
            members = _written(written_as, definition, description, settings, is_draft=is_draft)
            return _members(self.client.write_workflow(name, members), _SAVED)
        made = self.client.create_workflow(
            name, definition, description=description, is_draft=is_draft, settings=settings
        )
        return _members(made, _SAVED)

    def apply_workflow(
        self,
        name: str,
        definition: Any,
        description: str | None,
        *,
        is_draft: bool,
        settings: dict[str, Any],
        written_as: str,
    ) -> dict[str, Any]:
        if written_as != "asl":
            members = _written(written_as, definition, description, settings, is_draft=is_draft)
            return _members(self.client.apply_document(name, members), (*_SAVED, "outcome"))
        made = self.client.apply_workflow(
            name, definition, description=description, is_draft=is_draft, settings=settings
        )
        return _members(made, (*_SAVED, "outcome"))

    def publish_workflow(self, workflow: str) -> dict[str, Any]:
        return _members(self.client.publish_workflow(self.workflow_id(workflow)), _SAVED)

    def archive_workflow(self, workflow: str) -> dict[str, Any]:
        return _members(self.client.archive_workflow(self.workflow_id(workflow)), _BRIEF)

    def switch_schedules(self, workflow: str, schedule: str | None, *, is_enabled: bool) -> dict[str, Any]:
        workflow_id = self.workflow_id(workflow)
        if schedule is None:
            version = self.client.workflow(workflow_id).version
            self.client.toggle_schedules(workflow_id, version, "PLAY" if is_enabled else "PAUSE")
        else:
            self.client.change_schedule(workflow_id, schedule, {"enabled": is_enabled})
        found = [each for each in self.client.schedules(workflow_id) if schedule in (None, each.id)]
        return {"items": [_members(each, ("id", "status")) for each in found]}

    def run_schedule(self, workflow: str, schedule: str | None) -> dict[str, Any]:
        workflow_id = self.workflow_id(workflow)
        if schedule is None:
            schedule = only_schedule([each.id for each in self.client.schedules(workflow_id)])
        return _members(self.client.run_schedule(workflow_id, schedule))

    def trigger(
        self, workflow: str, run_input: dict[str, Any], process_id: str | None, version: int | None
    ) -> dict[str, Any]:
        workflow_id = self.workflow_id(workflow)
        run = self.client.trigger(workflow_id, run_input, process_id=process_id, version=version)
        name = process_id or run_input.get("process_id") or run.execution_id
        return {"execution_id": run.execution_id, "process_id": name, "workflow_id": workflow_id}

    def resume(
        self, process_id: str, payload: Any, *, wait_id: str | None, state: str | None, hold_s: int
    ) -> dict[str, Any]:
        with self.of_run(process_id):
            told = self.client.resume(process_id, payload, wait_id=wait_id, state=state, hold_s=hold_s)
        return _members(told)

    def terminate(self, process_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        with self.of_run(process_id):
            return _members(self.client.terminate(process_id, payload))

    def redrive(self, process_id: str, reason: str | None) -> dict[str, Any]:
        with self.of_run(process_id):
            return _members(self.client.redrive(process_id, reason=reason))

    def rerun(self, process_id: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.of_run(process_id):
            return _members(
                self.client.rerun(
                    process_id,
                    run_input=body.get("input"),
                    version=body.get("version"),
                    new_process_id=body.get("process_id"),
                    reason=body.get("reason"),
                )
            )

    def fork(self, process_id: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.of_run(process_id):
            return _members(
                self.client.fork(
                    process_id,
                    body["seq"],
                    state_input=body.get("input", UNSET),
                    new_process_id=body.get("process_id"),
                    reason=body.get("reason"),
                )
            )

    def release(self, process_id: str) -> dict[str, Any]:
        return _members(self.client.release(process_id))

    def pause(self, process_id: str, reason: str, *, clocks: str) -> dict[str, Any]:
        with self.of_run(process_id):
            return _members(self.client.pause(process_id, reason, clocks=clocks))

    def unpause(self, process_id: str, reason: str | None) -> dict[str, Any]:
        with self.of_run(process_id):
            return _members(self.client.unpause(process_id, reason))

    def start_bulk(
        self,
        action: str,
        workflow: str | None,
        filters: Given,
        reason: str | None,
        arguments: dict[str, Any],
        *,
        is_dry_run: bool,
    ) -> dict[str, Any]:
        wanted = {**filters, **({} if workflow is None else {"workflow_id": self.workflow_id(workflow)})}
        payload = arguments.get("payload", msgspec.UNSET)
        asked = self.client.start_bulk(action, as_sent(wanted), reason=reason, payload=payload, is_dry_run=is_dry_run)
        return {name: value for name, value in _members(asked).items() if value is not msgspec.UNSET}

    def stop_bulk(self, bulk_id: str, reason: str | None) -> dict[str, Any]:
        return _members(self.client.stop_bulk(bulk_id, reason=reason))

    def answer_task(self, token: str, what: str, body: Any) -> dict[str, Any]:
        if what == "success":
            return _members(self.client.complete_task(token, **body))
        if what == "failure":
            return _members(self.client.fail_task(token, **body))
        return _members(self.client.keep_task_alive(token))

    def organization(self, settings: dict[str, Any]) -> dict[str, Any]:
        if not settings:
            return _members(self.client.organization(), _ORGANIZATION)
        others = {name: value for name, value in settings.items() if name != "plan"}
        plan = settings["plan"] or "unlimited" if "plan" in settings else None
        return _members(self.client.change_organization(others or None, plan=plan), _ORGANIZATION)

    def create_key(self, name: str, scopes: list[str], expires_at: str | None, more: dict[str, Any]) -> dict[str, Any]:
        made = self.client.create_key(
            name,
            scopes,
            organization=self._scope.organization or None,
            workspace=self._scope.workspace or None,
            expires_at=expires_at or None,
            **more,
        )
        return _members(made, ("id", "name", "scopes", "expires_at", "mode", "key"))

    def me(self) -> dict[str, Any]:
        """The key itself."""
        return {name: value for name, value in _members(self.client.me()).items() if value is not msgspec.UNSET}

    def actions(self) -> list[dict[str, Any]]:
        """What steps of workflows can do there, as the API tells it."""
        return [msgspec.to_builtins(action) for action in self.client.actions()]

    def revoke_key(self, key: str) -> dict[str, Any]:
        rows = [_members(row) for row in self.client.iter_keys()]
        found = next((row for row in rows if row["id"] == key.lower()), None) or only("key", key, rows)
        if found is None:
            raise CommandFailed(f"there is no key {key!r}.{did_you_mean(key, [row['name'] for row in rows])}")
        return _members(self.client.revoke_key(found["id"]), ("id", "name", "revoked_at"))

    # --- names ---------------------------------------------------------------------------------------------------

    def workflow_id(self, wanted: str) -> str:
        """The id of the workflow of that name or id. Raises `CommandFailed`, with names that are similar."""
        if is_id(wanted):
            return wanted
        found = only("workflow", wanted, self._workflows(wanted))
        if found is None:
            known = [each["name"] for each in self._workflows()]
            raise CommandFailed(f"there is no workflow {wanted!r}.{did_you_mean(wanted, known)}")
        return str(found["id"])

    def _workflows(self, search: str | None = None) -> list[dict[str, Any]]:
        return [_members(each) for each in islice(self.client.iter_workflows(search=search), SUGGESTED_FROM)]

    @contextmanager
    def of_run(self, run_id: str) -> Iterator[None]:
        """Calls about a run, by process id or execution id.

        Raises `CommandFailed` if there is none, with process ids that are similar among the newest that the key may
        see.
        """
        try:
            yield
        except NotThere as error:
            raise CommandFailed(f"{error.message}.{did_you_mean(run_id, self._process_ids())}") from None

    def _process_ids(self) -> list[str]:
        try:
            page = self.client.executions(limit=30)
        except CommandFailed:  # the key may not see them, and so is told none
            return []
        return [each.process_id for each in page.items if each.process_id != each.workflow_execution_id]


def _written(
    written_as: str, document: Any, description: str | None, settings: dict[str, Any], *, is_draft: bool
) -> dict[str, Any]:
    """The members of the API that a document is sent as. Raises `CommandNotRun` for one with more than those."""
    taken = _TAKEN.get(written_as, ())
    given = document if isinstance(document, dict) else {}
    more = sorted(given.keys() - {*taken, "name", "description"})
    if not taken or more:
        what = f"{written_as} with {', '.join(more)}" if taken else written_as
        raise CommandNotRun(
            f"--format: a server is given definitions, {' and '.join(_TAKEN)} from here, and not {what}",
            [f"perdure workflows convert FILE --from {written_as} --to asl makes one", "--database takes all formats"],
        )
    members = {name: given[name] for name in taken if name in given}
    members |= {"status": "draft" if is_draft else "published", **({"settings": settings} if settings else {})}
    return members if description is None else {**members, "description": description}


def as_sent(filters: Given) -> dict[str, str]:
    """Filters as the API has them: the command line has the engine's words for what a run is, whatever it asks."""
    return {"status_detail" if name == "status" else name: text for name, text in filters.items()}


def _members(result: msgspec.Struct, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """A result as JSON: all of it, or these members."""
    members: dict[str, Any] = msgspec.to_builtins(result)
    return members if names is None else {name: members[name] for name in names}
