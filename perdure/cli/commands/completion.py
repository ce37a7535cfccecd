"""`perdure completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from perdure.cli.options import ExampledCommand
from perdure.cli.runner import CommandFailed


@click.command(
    cls=ExampledCommand,
    examples=[
        'eval "$(perdure completion bash)"',
        "perdure completion fish > perdure.fish",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands and options; evaluate it where the shell starts."""
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandFailed(f"there is no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "perdure", "_PERDURE_COMPLETE").source())
