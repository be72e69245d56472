"""`fmae completion`."""

from typing import Any

import click
from click.shell_completion import get_completion_class

from fmae_zoo.cli.output import emit_json, json_option

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def completion_command(shell: str, as_json: bool) -> None:
    """Print the script by which a shell completes commands, options, models and figures.

    \b
    Example: fmae completion bash > ~/.local/share/bash-completion/completions/fmae
             fmae completion zsh > ~/.zfunc/_fmae
             fmae completion fish > ~/.config/fish/completions/fmae.fish
    For zsh, ~/.zshrc needs, before compinit: fpath+=~/.zfunc
    """
    from fmae_zoo.cli import cli

    kind: Any = get_completion_class(shell)
    script = kind(cli, {}, "fmae", "_FMAE_COMPLETE").source()
    if as_json:
        emit_json({"shell": shell, "script": script})
    else:
        click.echo(script)
