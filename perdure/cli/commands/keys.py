"""Keys: `create`, `list` and `revoke`."""

from __future__ import annotations

from typing import Any

import click

from perdure.cli import output
from perdure.cli.options import Group, Where, anywhere, as_json, database
from perdure.cli.output import readable
from perdure.cli.runner import run
from perdure.cli.targets.choice import no_elsewhere, target
from perdure.cli.targets.reading import runs_of


@click.group(
    cls=Group,
    examples=[
        "perdure keys create worker --scope workflows.run --scope runs.resume",
        "perdure keys list",
        "perdure keys revoke ci",
        "perdure keys recover",
    ],
)
def keys() -> None:
    """Create, list, revoke and recover the keys of the HTTP API."""


@keys.command(
    examples=[
        "perdure keys create worker --scope workflows.run --scope runs.resume",
        "perdure keys create auditor --scope runs.view,workflows.view --expires-at 2099-12-31T23:59:59Z --json",
        "perdure keys create ci --scope workflows.run,runs.view --mode test --user ann --role finance",
        "perdure keys create billing --scope runs.view --organization acme --workspace billing",
    ],
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="What it may do, such as runs.view; again, or with commas, for more.",
)
@click.option("--expires-at", metavar="TIME", help="Until when, such as 2099-12-31T23:59:59Z.  [default: for ever]")
@click.option(
    "--mode",
    type=click.Choice(["live", "test"]),
    help="A test key acts in the workspace's sandbox: nothing outside is changed.  [default: live]",
)
@click.option("--user", "user_id", metavar="USER", help="Whose key it is.  [default: nobody's]")
@click.option("--role", "role_ids", multiple=True, metavar="ROLE", help="A role that they have; again for more.")
@anywhere
def create(
    name: str, scopes: tuple[str, ...], expires_at: str | None, where: Where, *, as_json: bool, **person: Any
) -> None:
    """Create a key and print it: it is shown only now.

    A test key sees the workflows of its workspace, has runs of its own, and changes nothing outside.

    Organization and workspace are made if they are not there; over HTTP that takes a key with the scope operator.
    """
    wanted = [scope.strip() for each in scopes for scope in each.split(",") if scope.strip()]
    more = {member: list(value) if isinstance(value, tuple) else value for member, value in person.items() if value}
    made = target(where).create_key(name, wanted, expires_at, more)
    output.answer(made, made["key"], as_json=as_json)
    output.say(f"key {made['id']} ({made['name']}): {' '.join(made['scopes'])}; it is shown only now")


@keys.command("list", examples=["perdure keys list", "perdure keys list --json"])
@anywhere
def list_(where: Where, *, as_json: bool) -> None:
    """List the keys of a workspace, without their texts, which nobody has any more.

    A server lists those that its key may see: with the scope operator, all of its organization.
    """
    found = runs_of(where).keys()
    if as_json:
        output.document(found)
        return
    output.table(
        ["key", "name", "mode", "scopes", "created", "expires", "revoked", "last used"],
        [
            [
                each["id"],
                each["name"],
                each["mode"],
                " ".join(each["scopes"]),
                readable(each["created_at"]),
                readable(each["expires_at"]),
                readable(each["revoked_at"]),
                readable(each["last_used_at"]),
            ]
            for each in found["items"]
        ],
    )


@keys.command(examples=["perdure keys revoke ci", "perdure keys revoke ci --json"])
@click.argument("key_or_name", metavar="KEY")
@anywhere
def revoke(key_or_name: str, where: Where, *, as_json: bool) -> None:
    """Revoke a key, by its name or id, at once and for ever."""
    no_elsewhere(where)
    revoked = target(where).revoke_key(key_or_name)
    output.answer(revoked, f"{revoked['id']} revoked at {readable(revoked['revoked_at'])}", as_json=as_json)


@keys.command(examples=["perdure keys recover", "perdure keys recover --database sqlite:///runs.db --json"])
@click.argument("name", default="recovered")
@database
@as_json
def recover(name: str, database: str, *, as_json: bool) -> None:
    """Make a key with all scopes when none is left that works, and print it: it is shown only now.

    It needs the database itself, and no server that holds it: whoever can write the file can do this.
    """
    from perdure.cli.targets.database import recovered  # noqa: PLC0415 the engine, which a client has no use for

    made = run(recovered(database, name))
    output.answer(made, made["key"], as_json=as_json)
    output.say(f"key {made['id']} ({made['name']}) has all scopes; it is shown only now")
