"""The `fmae` command, whose subcommands each call one public function."""

import importlib
import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

import fmae_zoo
from fmae_zoo.cli.output import MODEL, emit_json, fail
from fmae_zoo.cli.quiet import keep_quiet
from fmae_zoo.errors import FmaeError
from fmae_zoo.interrupts import insistent_interrupts

COMMANDS = {
    "list": ("models", "List the models, with their published figures."),
    "info": ("info", "Show what is known of a model."),
    "verify": ("models", "Check files, goldens and published figures."),
    "data": ("data", "List the data sets known by name, or get one."),
    "train": ("train", "Train a model by its recipe."),
    "sweep": ("sweep", "Train a model with many values of its spec."),
    "evaluate": ("evaluate", "Measure a model on the test set."),
    "classify": ("classify", "Train a classifier on an encoder."),
    "embed": ("images", "Write the codes of images into a file."),
    "reconstruct": ("images", "Draw images over their reconstructions."),
    "generate": ("images", "Draw new images."),
    "show": ("images", "Write a page of pictures of a model."),
    "anomalies": ("anomalies", "Rank images, the most unusual first."),
    "similar": ("anomalies", "Find the images most similar to one."),
    "samplers": ("samplers", "Fit samplers, which draw codes of new images."),
    "benchmark": ("benchmark", "Measure the installed backends."),
    "export": ("export", "Write a model as a file that runs without Keras."),
    "app": ("app", "Serve a page to look at, compare and train models."),
    "push": ("hub", "Publish a model on the Hugging Face Hub."),
    "pull": ("hub", "Fetch and verify a model of the Hub."),
    "search": ("hub", "Find the zoo's models on the Hub."),
    "publish": ("hub", "Push registry entries, and pin their commits."),
    "completion": ("completion", "Print the script that completes commands."),
}
"""The module of each command, and what the command does."""


class LazyGroup(click.Group):
    """A command group that imports a subcommand only when it is used, to be quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the subcommands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return a subcommand, or return None for an unknown name.

        Its arguments `name` and `names` complete to the names of models.
        """
        if name not in COMMANDS:
            return None
        module, _ = COMMANDS[name]
        found = getattr(importlib.import_module(f"fmae_zoo.cli.{module}"), f"{name}_command")
        command: click.Command = found
        for parameter in command.params:
            if parameter.name in ("name", "names"):
                parameter.type = MODEL
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the subcommands that begin with a text, without importing them."""
        found = [
            CompletionItem(name, help=words)
            for name, (_, words) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found or click.Command.shell_complete(self, context, incomplete)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        """Find the subcommand; for an unknown name, fail and suggest the most similar one."""
        import difflib

        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and near:
            context.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(context, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fmae_zoo.__version__, prog_name="fmae")
def cli() -> None:
    """Named, pretrained autoencoders for Fashion-MNIST on TensorFlow, PyTorch or JAX.

    Exit codes: 0 success, 1 an error that the message explains, 2 wrong usage.

    \b
    Example: fmae list "conv-*" --pretrained
    """


def main() -> None:
    """Run the command line; turn the zoo's errors into a message and exit code 1.

    Wrong usage gives exit code 2. With `--json`, an error is also printed as JSON on stdout.
    """
    keep_quiet()
    try:
        with insistent_interrupts():
            code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(_told(error, error.format_message(), 2))
    except click.ClickException as error:
        sys.exit(_told(error, error.format_message(), fail(error.format_message())))
    except (click.Abort, KeyboardInterrupt) as stop:
        message = str(stop) or "Stopped."
        _leave(_told(KeyboardInterrupt(), message, fail(message)))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except (FmaeError, OSError) as error:
        sys.exit(_told(error, str(error), fail(str(error))))
    sys.exit(code if isinstance(code, int) else 0)


def _told(error: BaseException, message: str, code: int) -> int:
    if "--json" in sys.argv[1:]:
        emit_json({"error": {"type": type(error).__name__, "message": message}})
    return code


def _leave(code: int) -> None:
    """End the process at once, because an interrupted framework can crash in its own clean-up."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
