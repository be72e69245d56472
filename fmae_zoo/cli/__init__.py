"""The `fmae` command, whose subcommands each call one public function."""

import importlib
import os
import sys
from typing import Any

import click

import fmae_zoo
from fmae_zoo.cli.output import emit_json, fail
from fmae_zoo.errors import FmaeError
from fmae_zoo.interrupts import insistent_interrupts

COMMANDS = {
    "list": "models",
    "info": "models",
    "verify": "models",
    "data": "data",
    "train": "train",
    "sweep": "sweep",
    "evaluate": "evaluate",
    "classify": "classify",
    "embed": "images",
    "reconstruct": "images",
    "generate": "images",
    "show": "images",
    "anomalies": "anomalies",
    "similar": "anomalies",
    "samplers": "samplers",
    "benchmark": "benchmark",
    "export": "export",
    "push": "hub",
    "pull": "hub",
    "search": "hub",
    "publish": "hub",
}


class LazyGroup(click.Group):
    """A command group that imports a subcommand only when it is used, to keep `fmae list` quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the subcommands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return a subcommand, or return None for an unknown name."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"fmae_zoo.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

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
