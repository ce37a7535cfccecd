"""Reading runs: `show`, `history`, `events` and `waits`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import click

from api.commands import output
from api.commands.output import compact, instant, readable
from api.commands.running import run
from api.commands.shape import Command, Scope, limit, reads
from api.commands.values import id_option
from api.commands.views import View, find_execution, find_workflow, run_json, values_json, view
from engine.codec import decode_json
from engine.core import ids
from engine.core.transitions import TERMINAL
from store.records import StoredEvent

AT_ONCE: Final = 500
"""So many events are held at a time."""

POLL_S: Final = 0.2
"""So often the log is looked at for what was added."""


AFTER: Final = click.option("--after", metavar="ID", callback=id_option, help="Go on after this one.")


# --- show --------------------------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    examples=[
        "perdure show INV-7",
        "perdure show INV-7 --json",
        "perdure show INV-7 --diagram",
    ],
)
@click.argument("run_id", metavar="PROCESS_ID_OR_EXECUTION")
@click.option("--diagram", is_flag=True, help="Draw the run instead, as Mermaid.")
@reads
def show(run_id: str, scope: Scope, *, diagram: bool, as_json: bool) -> None:
    """Show a run: its status, input, output and steps."""
    if diagram:
        output.drawing(run(_drawn(scope, run_id)), as_json=as_json)
        return
    shown = run(_shown(scope, run_id))
    if as_json:
        output.document(shown)
        return
    from api.commands.steps import steps_table  # noqa: PLC0415 with it comes the language

    names = ("input", "output", "error", "cause")
    values = {name: compact(shown[name], 400) for name in names if shown[name] is not None}
    output.facts(
        {
            "run": shown["execution_id"],
            "process id": shown["process_id"],
            "parent": shown["parent_execution_id"],
            "workflow": f"{shown['workflow_name']}, version {shown['workflow_version']} ({shown['workflow_id']})",
            "status": shown["status"],
            "state": shown["state"],
            "created": readable(shown["created_at"]),
            "modified": f"{readable(shown['modified_at'])} by {shown['modified_by']}",
            "ended": readable(shown["ended_at"]),
            **values,
        }
    )
    click.echo()
    steps_table(shown["steps"])


async def _shown(scope: Scope, run_id: str) -> dict[str, Any]:
    from api.commands.steps import steps_json  # noqa: PLC0415 likewise

    async with view(scope) as seen:
        row = await find_execution(seen.store, seen.caller, run_id)
        shown = (await seen.reading.views([row]))[0]
        workflow = await seen.store.workflow(row.workflow_id)
        steps = steps_json(await seen.reading.events(row.execution_id))
        waits = await seen.store.waits_of(row.execution_id)
        return {
            **run_json(row, shown.process_id, None if workflow is None else workflow.name),
            "parent_execution_id": None if row.parent_id is None else ids.text(row.parent_id),
            **values_json(shown),
            "steps": steps,
            "waits": [
                {"wait_id": ids.text(wait.wait_id), "state": wait.state, "opened_at": instant(wait.opened_at)}
                for wait in waits
                if wait.outcome is None
            ],
        }


async def _drawn(scope: Scope, run_id: str) -> str:
    from engine.history import mermaid_run  # noqa: PLC0415 likewise

    async with view(scope) as seen:
        row = await find_execution(seen.store, seen.caller, run_id)
        version = await seen.store.workflow_version(row.workflow_id, row.workflow_version)
        definition = {} if version is None else decode_json(version.definition)
        return mermaid_run(definition, await seen.reading.events(row.execution_id))


# --- history -----------------------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    examples=[
        "perdure history",
        'perdure history "invoice approval" --limit 5',
        "perdure history --json",
    ],
)
@click.argument("workflow", required=False)
@limit(1000)
@AFTER
@reads
def history(workflow: str | None, scope: Scope, *, limit: int, after: str | None, as_json: bool) -> None:
    """List runs, newest first; of one workflow, if its name or id is given."""
    page = run(_history(scope, workflow, limit, after))
    if as_json:
        output.document(page)
        return
    output.table(
        ["run", "process id", "workflow", "status", "state", "created"],
        [
            [
                each["execution_id"],
                "" if each["process_id"] == each["execution_id"] else each["process_id"],
                f"{each['workflow_name']} v{each['workflow_version']}",
                each["status"],
                each["state"],
                readable(each["created_at"]),
            ]
            for each in page["items"]
        ],
    )
    _say_more(page)


async def _history(scope: Scope, workflow: str | None, limit: int, after: str | None) -> dict[str, Any]:
    async with view(scope) as seen:
        workflow_id = None
        if workflow is not None:
            workflow_id = (await find_workflow(seen.store, seen.caller, workflow)).workflow_id
        rows, has_more = await seen.reading.page(
            seen.caller, workflow_id=workflow_id, before=None if after is None else ids.parse(after), limit=limit
        )
        names = await seen.reading.workflow_names(rows)
        process_ids = await seen.reading.process_ids(rows)
        items = [run_json(row, process_ids[row.execution_id], names.get(row.workflow_id)) for row in rows]
        return {"items": items, "after": items[-1]["execution_id"] if has_more else None}


def _say_more(page: dict[str, Any]) -> None:
    if not page["items"]:
        output.say("there are none")
    elif page["after"] is not None:
        output.say(f"there are more: --after {page['after']}")


# --- events ------------------------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    examples=[
        "perdure events INV-7",
        "perdure events INV-7 --json",
        "perdure events INV-6 --follow",
    ],
)
@click.argument("run_id", metavar="EXECUTION")
@click.option("--follow", is_flag=True, help="Go on with what is added, until the run has ended.")
@reads
def events(run_id: str, scope: Scope, *, follow: bool, as_json: bool) -> None:
    """Print the events of a run as they stand in the log, a line each; EXECUTION may be its process id."""
    try:
        run(_events(scope, run_id, follow=follow, as_json=as_json))
    except KeyboardInterrupt:  # how one stops to follow
        if not follow:
            raise


async def _events(scope: Scope, run_id: str, *, follow: bool, as_json: bool) -> None:
    async with view(scope) as seen:
        row = await find_execution(seen.store, seen.caller, run_id)
        async for stored in _stream(seen, row.execution_id, follow=follow):
            if as_json:
                output.json_line(_event_json(stored))
            else:
                output.line(_event_line(stored))


async def _stream(seen: View, execution_id: bytes, *, follow: bool) -> AsyncIterator[StoredEvent]:
    after = 0
    while True:
        while some := await seen.store.events(execution_id, after=after, limit=AT_ONCE):
            for stored in some:
                yield stored
            after = some[-1].row.seq
        row = await seen.store.execution(execution_id)
        if not follow or row is None or (row.status in TERMINAL and row.seq <= after):
            return
        await asyncio.sleep(POLL_S)


def _event_json(stored: StoredEvent) -> dict[str, Any]:
    position, row = stored
    return {
        "position": position,
        "seq": row.seq,
        "type": row.type,
        "version": row.version,
        "at": instant(row.recorded_at),
        "actor": row.actor,
        "caused_by": row.caused_by,
        "data": decode_json(row.data),
        "payload": None if row.payload is None else decode_json(row.payload),
        "hash": row.hash.hex(),
    }


def _event_line(stored: StoredEvent) -> str:
    row = stored.row
    state = decode_json(row.data).get("state") or ""  # as it stands there: an event of a newer program can be shown too
    payload = "" if row.payload is None else compact(decode_json(row.payload), 200)
    return f"{row.seq:>5}  {readable(row.recorded_at)}  {row.type:<20}  {state:<20}  {row.actor}  {payload}".rstrip()


# --- waits -------------------------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    examples=[
        "perdure waits",
        'perdure waits --workflow "invoice approval" --json',
        "perdure waits --process-id INV-7",
    ],
)
@click.option("--workflow", metavar="WORKFLOW", help="Only those of this workflow, by name or id.")
@click.option("--process-id", metavar="PROCESS_ID", help="Only those of this run.")
@limit(1000, default=100)
@AFTER
@reads
def waits(scope: Scope, *, as_json: bool, **query: Any) -> None:
    """List the waits that are open, oldest first: who may resume what."""
    page = run(_waits(scope, **query))
    if as_json:
        output.document(page)
        return
    output.table(
        ["process id", "state", "open since", "until", "workflow", "wait"],
        [
            [
                each["process_id"],
                each["state"],
                readable(each["opened_at"]),
                readable(each["due_at"]),
                each["workflow_name"],
                each["wait_id"],
            ]
            for each in page["items"]
        ],
    )
    _say_more(page)


async def _waits(
    scope: Scope, workflow: str | None, process_id: str | None, limit: int, after: str | None
) -> dict[str, Any]:
    async with view(scope) as seen:
        workflow_id = execution_id = None
        if workflow is not None:
            workflow_id = (await find_workflow(seen.store, seen.caller, workflow)).workflow_id
        if process_id is not None:
            execution_id = (await find_execution(seen.store, seen.caller, process_id)).execution_id
        found = await seen.reading.open_waits(
            seen.caller,
            execution_id=execution_id,
            workflow_id=workflow_id,
            after=b"" if after is None else ids.parse(after),
            limit=limit + 1,
        )
        workflows = await seen.store.workflows_of(list({row.workflow_id for row, _ in found}))
        items = [
            {
                "wait_id": ids.text(row.wait_id),
                "process_id": name,
                "execution_id": ids.text(row.execution_id),
                "workflow_id": ids.text(row.workflow_id),
                "workflow_name": workflows[row.workflow_id].name if row.workflow_id in workflows else None,
                "state": row.state,
                "opened_at": instant(row.opened_at),
                "due_at": instant(row.due_at),
            }
            for row, name in found[:limit]
        ]
        return {"items": items, "after": items[-1]["wait_id"] if len(found) > limit else None}
