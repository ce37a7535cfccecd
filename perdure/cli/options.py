"""Options and help that commands share. Imports nothing but click."""

from __future__ import annotations

import functools
import importlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

import click
from click.core import ParameterSource
from click.exceptions import NoSuchCommand

F = TypeVar("F", bound=Callable[..., Any])

SQLITE: Final = "sqlite:///perdure.db"


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")


class ExampledCommand(click.Command):
    """A command whose help ends with examples: lines of a shell that run as they stand."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Of what is too much say where it goes: a JSON value to the option that takes one."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            extra = [each for each in given if each.startswith(("{", "["))]
            takes = next((each for each in self.params if str(each.metavar).startswith("JSON")), None)
            if "extra argument" in error.message and extra and takes is not None:
                option = max(takes.opts, key=len)
                said = f"{error.message.rstrip('.')}. Did you mean {option} {shlex.quote(extra[-1])}?"
                raise click.UsageError(said, ctx) from None
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        _write_examples(formatter, self.examples)


class Group(click.Group):
    """A group of such commands, with examples of its own."""

    command_class = ExampledCommand

    def __init__(self, *args: Any, examples: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        _write_examples(formatter, self.examples)

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """The commands, each with the first sentence of its help."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return [(name, _sentence(each.help or "")) for name, each in found if each is not None]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; a sentence that is too long for a line goes on in the next, and is never cut."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))


def _sentence(text: str) -> str:
    """The first sentence of a help text, without its line breaks."""
    first = " ".join(text.partition("\n\n")[0].split())
    return f"{first.partition('. ')[0].removesuffix('.')}."


class Lazy(NamedTuple):
    """A command that is not imported yet: `MODULE:NAME`, and the line that a list of commands shows of it."""

    place: str
    summary: str


class LazyGroup(Group):
    """A group that imports a command when it is called, and none to list them."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **more: Any) -> None:
        super().__init__(*args, **more)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.lazy:
            return None
        module, _, name = self.lazy[cmd_name].place.partition(":")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, click.Command):
            raise TypeError(f"{self.lazy[cmd_name].place} is no command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.lazy and not name.startswith("-") and not ctx.resilient_parsing:
            raise NoSuchCommand(name, possibilities=self.lazy, ctx=ctx)
        return super().resolve_command(ctx, args)

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, each.summary) for name, each in self.lazy.items()]


# --- options -----------------------------------------------------------------------------------------------------


class DatabaseScope(NamedTuple):
    """Whose data of which database."""

    database: str
    organization: str | None
    workspace: str | None


class Where(NamedTuple):
    """The target of a command: a server, or a database (for a change, one that no server holds)."""

    server: str | None
    key: str | None
    scope: DatabaseScope


_DATABASE: Final = click.option(
    "--database",
    metavar="URL",
    envvar="PERDURE_DATABASE",
    default=SQLITE,
    show_default=True,
    show_envvar=True,
    help="Where the log is: sqlite:///PATH.",
)
_ORGANIZATION: Final = click.option("--organization", metavar="NAME", help="Whose.  [default: default]")
_WORKSPACE: Final = click.option("--workspace", metavar="NAME", help="Which of its workspaces.  [default: default]")
_SERVER: Final = click.option(
    "--server", metavar="URL", envvar="PERDURE_SERVER", show_envvar=True, help="The server to ask."
)
_KEY: Final = click.option(
    "--key",
    metavar="KEY",
    envvar="PERDURE_KEY",
    show_envvar=True,
    help="The server's key. Arguments can be seen by other users: prefer the variable.",
)

as_json: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
database: Final = _DATABASE
steps: Final = click.option(
    "--steps",
    metavar="MODULE:REGISTRY",
    envvar="PERDURE_STEPS",
    show_envvar=True,
    help="The registry of your own steps.",
)


def server(function: F) -> F:
    """Give a command that acts on a database, and may ask a server instead, `where`; its `database` stays."""

    def command(*args: Any, server: str | None, key: str | None, database: str, **more: Any) -> Any:
        where = Where(server or None, key, DatabaseScope(database, None, None))
        return function(*args, where=where, database=database, **more)

    return _with(function, command, _KEY, _SERVER)


def limit(highest: int, default: int = 20) -> Callable[[F], F]:
    """The option `--limit`."""
    return click.option(
        "--limit", type=click.IntRange(1, highest), default=default, show_default=True, help="How many at most."
    )


def anywhere(function: F) -> F:
    """Give a command that may go to a server `where` and `as_json`, and the options that they come from."""

    def command(
        *args: Any,
        server: str | None,
        key: str | None,
        database: str,
        organization: str | None,
        workspace: str | None,
        **more: Any,
    ) -> Any:
        scope = DatabaseScope(database, organization, workspace)
        return function(*args, where=Where(_server(server), key, scope), **more)

    return _with(function, command, as_json, _WORKSPACE, _ORGANIZATION, _DATABASE, _KEY, _SERVER)


def _with(function: F, command: Callable[..., Any], *options: Callable[[Any], Any]) -> F:
    wrapped = cast("F", functools.update_wrapper(command, function))  # what click has noted of it too
    for option in options:
        option(wrapped)
    return wrapped


def _server(server: str | None) -> str | None:
    """The server, if it is meant: of two that are given, what stands on the command line goes before a variable."""
    context = click.get_current_context()
    said = ParameterSource.COMMANDLINE
    named_server = context.get_parameter_source("server") is said
    named_database = context.get_parameter_source("database") is said
    if named_server and named_database:
        raise click.UsageError("it goes to --server or to --database: give one of them")
    return None if named_database else server or None
