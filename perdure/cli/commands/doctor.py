"""`perdure doctor`: what may be wrong with a database, from the file to the newest runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import click

from perdure.cli import output
from perdure.cli.options import ExampledCommand, as_json, database, server, steps
from perdure.cli.runner import CommandFailed, CommandNotRun, run
from perdure.cli.targets.reader import open_database
from perdure.engine.audit.store_audit import administrative_streams, verify_streams
from perdure.engine.core import ids
from perdure.engine.log.codec import decode_json
from perdure.store.errors import StoreError
from perdure.store.migrate import REVISIONS
from perdure.store.protocols import Store
from perdure.store.records import ExecutionRow
from perdure.store.sqlite.checkup import WAL_RESET_BUG, Checkup, check_up

if TYPE_CHECKING:
    from perdure.cli.options import Where
    from perdure.engine.steps import Registry

CheckStatus: TypeAlias = Literal["ok", "warn", "fail"]

WAL_BYTES_MAX: Final = 64 * 1024 * 1024
OVERDUE_MS: Final = 60_000
SHOWN_MAX: Final = 5
COUNTED_MAX: Final = 10_000
OTHERS: Final = 0o077


class Check(NamedTuple):
    """One check of `perdure doctor`: its subject, its result, and what to do about it."""

    check: str
    status: CheckStatus
    detail: str
    advice: str = ""


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure doctor",
        "perdure doctor --streams 20 --json",
        "perdure doctor --accept-clock",
    ],
)
@database
@steps
@click.option(
    "--streams", type=click.IntRange(0), default=100, show_default=True, help="Verify the chains of so many new runs."
)
@click.option(
    "--accept-clock",
    is_flag=True,
    help="Nothing of that: accept that the clock of the server's computer was set while it ran.",
)
@server
@as_json
def doctor(database: str, steps: str | None, streams: int, where: Where, *, accept_clock: bool, as_json: bool) -> None:
    """Look for what is wrong with a database, also beside a running server, and say what to do.

    Exit status 1 if a check fails; a warning is none. With --steps it also looks for runs that call a step that is not
    registered.

    A server whose computer's clock is set by more than a minute fires no timers until the clock is set right, or until
    the step is accepted with --accept-clock; that takes a key with the scope operator. What has come due by the step is
    fired then.
    """
    if accept_clock:
        _accept_clock(where, as_json=as_json)
        return
    checks = run(_checks(database, _registry(steps), streams))
    if as_json:
        output.document({"status": _worst(checks), "checks": [each._asdict() for each in checks]})
    else:
        output.table(["check", "", "found"], [[each.check, each.status, each.detail] for each in checks])
        for each in checks:
            if each.advice and each.status != "ok":
                output.say(f"{each.check}: {each.advice}")
    failed = sum(each.status == "fail" for each in checks)
    if failed:
        raise CommandFailed(f"{failed} of {len(checks)} checks failed")


def _accept_clock(where: Where, *, as_json: bool) -> None:
    """Accept the step that a server sees now; of one that comes after this look nothing is accepted."""
    from perdure.cli.targets.choice import server_of  # noqa: PLC0415 the client, which the checks have no use for

    if where.server is None:
        raise click.UsageError("--accept-clock: it is a server's clock; name the server with --server")
    client = server_of(where).client
    step_ms = client.clock().step_ms
    told = client.accept_clock(step_ms=step_ms)
    output.answer({"message": told.message, "step_ms": told.step_ms}, told.message, as_json=as_json)
    if told.step_ms:
        output.say(f"the server's clock was moved by {told.step_ms} ms; what has come due by that is fired")


def _worst(checks: list[Check]) -> CheckStatus:
    found = {each.status for each in checks}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def _registry(steps: str | None) -> Registry | None:
    if not steps:
        return None
    from perdure.engine.steps import load_registry  # noqa: PLC0415 a third of the time, and only --steps needs it
    from perdure.engine.steps.builtin import builtin_steps  # noqa: PLC0415 likewise
    from perdure.engine.steps.http import HttpClient  # noqa: PLC0415 likewise

    try:
        return builtin_steps(HttpClient()).merged(load_registry(steps))
    except ValueError as error:
        raise CommandNotRun(f"steps: {error}") from None


async def _checks(database: str, registry: Registry | None, streams: int) -> list[Check]:
    try:
        store = await open_database(database)
    except StoreError as error:
        return [Check("database", "fail", str(error), "name the right one, or mend what it says")]
    found = [Check("database", "ok", "it can be read")]
    try:
        found.append(await _schema(store))
        looked = check_up(database)
        found += [*_file(looked), *_nodes(looked), _quarantined(looked), _over_quota(looked)]
        found += [await _timers(store), await _keys(store)]
        if registry is not None:
            found += await _steps(store, registry)
        found.append(await _chains(store, streams))
    except StoreError as error:
        found.append(Check("reading", "fail", str(error), "`perdure verify` says how far the log can be read"))
    finally:
        await store.close()
    return found


async def _schema(store: Store) -> Check:
    flaws = await store.shape_flaws()
    if flaws:
        advice = "find out who did that; without a server, drop what is not ours and make again what is missing"
        return Check("schema", "fail", _some(flaws), advice)
    return Check("schema", "ok", f"{REVISIONS[-1]}, the newest that this program knows")


# --- the file ----------------------------------------------------------------------------------------------------


def _file(looked: Checkup) -> Iterator[Check]:
    version = ".".join(map(str, looked.sqlite_version))
    first, last = WAL_RESET_BUG
    if first <= looked.sqlite_version <= last:
        detail = f"{version} lies in the range of the WAL-reset bug (up to {'.'.join(map(str, last))})"
        advice = (
            "Perdure writes and checkpoints on one connection; let nothing else write to the file, or update SQLite"
        )
        yield Check("sqlite", "warn", detail, advice)
    else:
        yield Check("sqlite", "ok", version)
    if looked.mode & OTHERS:
        yield Check("file mode", "warn", f"{looked.mode:04o}: others can open it", f"chmod 600 {looked.path}")
    else:
        yield Check("file mode", "ok", f"{looked.mode:04o}")
    size = f"{looked.wal_bytes / 1024 / 1024:.1f} MiB"
    if looked.wal_bytes > WAL_BYTES_MAX:
        yield Check("wal", "warn", size, "a reader holds it back, or nobody has served it since: start the server")
    else:
        yield Check("wal", "ok", size)


def _nodes(looked: Checkup) -> Iterator[Check]:
    running = looked.holder is not None
    yield Check("server", "ok", f"process {looked.holder} serves it" if running else "none serves it")
    # The one that runs has not stopped either.
    left = looked.unclean[:-1] if running else looked.unclean
    if left:
        names = ", ".join(f"{node.name} ({output.readable(node.started_at)})" for node in left[:SHOWN_MAX])
        yield Check("nodes", "warn", f"not stopped cleanly: {names}", "the next server takes up what they left")
    else:
        yield Check("nodes", "ok", "all were stopped cleanly")


# --- what stands in it -------------------------------------------------------------------------------------------


def _quarantined(looked: Checkup) -> Check:
    if not looked.quarantined:
        return Check("quarantine", "ok", "no run is quarantined")
    detail = f"{len(looked.quarantined)} runs: {_some([ids.text(each) for each in looked.quarantined])}"
    advice = "a defect of ours: `perdure events ID` has it; update, then `perdure release ID`"
    return Check("quarantine", "fail", detail, advice)


def _over_quota(looked: Checkup) -> Check:
    if not looked.over_quota:
        return Check("quotas", "ok", "no run is paused by a quota")
    detail = f"{len(looked.over_quota)} runs are paused: {_some([ids.text(each) for each in looked.over_quota])}"
    advice = "`perdure show ID` says which quota; then raise it, `perdure unpause ID` or `perdure terminate ID`"
    return Check("quotas", "warn", detail, advice)


async def _timers(store: Store) -> Check:
    overdue = await store.due_timers(int(time.time() * 1000) - OVERDUE_MS, limit=COUNTED_MAX)
    if not overdue:
        return Check("timers", "ok", "none is overdue")
    runs = {ids.text(timer.execution_id) for timer in overdue}
    detail = f"{len(overdue)} are more than a minute overdue, of {_some(sorted(runs))}"
    return Check(
        "timers", "warn", detail, "start a server: it fires them all; of one that runs /health/ready says why not"
    )


async def _keys(store: Store) -> Check:
    for organization in await store.organizations():
        for key in await store.api_keys(organization.organization_id):
            if key.revoked_at is None:
                return Check("keys", "ok", "there are keys for the HTTP API")
    return Check("keys", "warn", "there is no key for the HTTP API", "perdure keys create NAME --scope SCOPE")


async def _alive(store: Store) -> AsyncIterator[ExecutionRow]:
    """Runs that call steps, or may at any moment: not those that only wait."""
    after = b""
    while page := await store.live_executions(after=after):
        for row in page:
            if row.status != "waiting":
                yield row
        after = page[-1].execution_id


async def _steps(store: Store, registry: Registry) -> list[Check]:
    """Runs that are at a step that is not registered, and those that may come to one."""
    missing: dict[tuple[bytes, int], Mapping[str, str]] = {}
    stuck, ahead = Counter[str](), Counter[str]()
    async for row in _alive(store):
        version = (row.workflow_id, row.workflow_version)
        if version not in missing:
            missing[version] = await _missing(store, registry, *version)
        for state, step in missing[version].items():
            (stuck if row.state == state else ahead)[step] += 1
    if not stuck and not ahead:
        return [Check("steps", "ok", "all that running workflows call are registered")]
    counted = stuck or ahead
    what = "runs are at a step" if stuck else "running workflows have a step"
    detail = f"{what} that is not registered: {_some([f'{step} ({count})' for step, count in counted.items()])}"
    advice = "start the server with a registry that has them: --steps MODULE:REGISTRY"
    return [Check("steps", "fail" if stuck else "warn", detail, advice)]


async def _missing(store: Store, registry: Registry, workflow_id: bytes, number: int) -> dict[str, str]:
    """The states of a version that call what is not registered, and what they call."""
    from perdure.engine.language import steps_of  # noqa: PLC0415 likewise

    version = await store.workflow_version(workflow_id, number)
    if version is None:
        return {}
    found: dict[str, str] = {}
    for pointer, step in steps_of(decode_json(version.definition)):
        if registry.get(step) is None:
            found[pointer.split("/")[2].replace("~1", "/").replace("~0", "~")] = step
    return found


async def _chains(store: Store, count: int) -> Check:
    """The newest runs, and whatever decides who may act and what is run."""
    newest: list[ExecutionRow] = []
    for organization in await store.organizations():
        newest += await store.execution_page(organization_id=organization.organization_id, limit=count)
    newest.sort(key=lambda row: row.execution_id, reverse=True)
    found = [await store.stream(row.execution_id) for row in newest[:count]]
    missing = [ids.text(row.execution_id) for row, stream in zip(newest, found, strict=False) if stream is None]
    report = await verify_streams(store, [stream for stream in found if stream is not None])
    broken = missing + [ids.text(each.stream_id) for each in report.breaks]
    advice = "`perdure verify` names each first event that does not fit"
    if broken:
        detail = f"{len(broken)} of the {len(found)} newest runs do not hold: {_some(broken)}"
        return Check("chains", "fail", detail, advice)
    rights = await verify_streams(store, [each async for each in administrative_streams(store)])
    if rights.breaks:
        broken = [f"{ids.text(each.stream_id)} ({each.reason})" for each in rights.breaks]
        return Check("chains", "fail", f"keys or workflows are not as the log says: {_some(broken)}", advice)
    return Check("chains", "ok", f"those of the {len(found)} newest runs hold, and all of keys and workflows")


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN_MAX
    return ", ".join(names[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
