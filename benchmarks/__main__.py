"""The command line `python -m benchmarks`, which measures, reports and compares."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

import click

from benchmarks.case import BACKENDS, CONTESTANTS, PRECISIONS, Case
from benchmarks.entries import ENTRIES
from benchmarks.machine import host
from benchmarks.quality import GOALS
from benchmarks.results import RESULTS, SPEED, compare, merge_rows, print_comparison, read_rows
from fmae_zoo.cli.output import note
from fmae_zoo.errors import FmaeError
from fmae_zoo.registry import find_entry, short_name

INFERENCE = ("encode", "reconstruct")


def _check_entries(context: Any, option: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the short names of registered entries, checked before anything is measured."""
    try:
        return tuple(short_name(find_entry(name)) for name in names)
    except FmaeError as error:
        raise click.BadParameter(str(error)) from error


def _several(word: str, default: Sequence[str], note: str = "", **options: Any) -> Any:
    """Return a click option that may be repeated."""
    return click.option(
        f"--{word}",
        "entries" if word == "entry" else f"{word}s",
        multiple=True,
        default=default,
        show_default=True,
        help=f"May be repeated.{note}",
        **options,
    )


def _entry_option(default: Sequence[str]) -> Any:
    return _several("entry", default, " A registered name.", callback=_check_entries)


backend_option = _several("backend", BACKENDS, type=click.Choice(BACKENDS))


def speed_options(*entries: str) -> Callable[..., Any]:
    """Return a decorator that adds the options of the commands that measure images per second."""
    positive = click.IntRange(min=1)
    options = [
        _entry_option(entries),
        backend_option,
        _several(
            "contestant",
            CONTESTANTS,
            " pythae runs on torch alone.",
            type=click.Choice(CONTESTANTS),
        ),
        _several("precision", PRECISIONS, type=click.Choice(PRECISIONS)),
        click.option("--batch-size", type=positive, default=128, show_default=True),
        click.option("--rounds", type=positive, default=7, show_default=True, help="Blocks each."),
        click.option(
            "--seconds",
            type=click.FloatRange(min=0, min_open=True),
            default=3.0,
            show_default=True,
            help="Of a block, about.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(0, len(os.sched_getaffinity(0))),
            default=0,
            show_default=True,
            help="Of the CPU; 0 leaves it to the framework.",
        ),
        click.option(
            "--device", type=click.Choice(("cpu", "gpu")), default="cpu", show_default=True
        ),
        click.option(
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            default=SPEED,
            help="JSON; what is measured again replaces all rows that it competes with.  "
            "[benchmarks/results/speed.json]",
        ),
    ]
    return lambda function: reduce(
        lambda decorated, option: option(decorated), reversed(options), function
    )


def measure(
    tasks: Sequence[str],
    entries: Sequence[str],
    backends: Sequence[str],
    contestants: Sequence[str],
    precisions: Sequence[str],
    batch_size: int,
    rounds: int,
    seconds: float,
    threads: int,
    device: str,
    output: Path,
) -> None:
    """Measure all combinations, group by group, and write the rows of each finished group.

    Raises:
        ClickException: Some measurements failed; their rows hold the errors.
    """
    from benchmarks.runner import run

    _check_output(output, device)
    failed = []
    for task, entry, precision in product(tasks, entries, precisions):
        everything = (
            Case(task, entry, contestant, backend, precision, batch_size, threads, device)
            for backend, contestant in product(backends, contestants)
        )
        cases = [case for case in everything if case.exists]
        rows = run(cases, rounds, seconds, report=note)
        merge_rows(rows, output)
        failed += [row for row in rows if "error" in row]
    note(f"written to {output}")
    if failed:
        raise click.ClickException(f"{len(failed)} measurements failed; their rows say why")


def _check_output(output: Path, device: str) -> None:
    """Check that a results file can be read and its CPU rows were measured on this CPU.

    Raises:
        ValueError: The file cannot be read.
        ClickException: The file has rows that were measured on another CPU.
    """
    rows = read_rows(output) if output.exists() else []
    here = host()["cpu"]
    of_cpus = [row["machine"]["cpu"] for row in rows if row["device"] == "cpu" and "machine" in row]
    others = set(of_cpus) - {here}
    if device == "cpu" and others:
        raise click.ClickException(
            f"{output} was measured on {', '.join(sorted(others))}, and this is {here}: remove it, "
            "or name another --output"
        )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Measure the speed of the zoo beside loops that users would write.

    \b
    Example: python -m benchmarks train --entry conv-ae-bn --backend jax
    """


@cli.command("train")
@speed_options("conv-ae-bn", "conv-ae-bn-spatial", "dense-ae", "dense-vae")
def train_command(**options: Any) -> None:
    """Measure training: images per second, first step, memory.

    Every contestant trains the entry's network with Adam, in its own process. The contestants take
    turns, block by block.

    \b
    Example: python -m benchmarks train --entry dense-ae --backend torch --rounds 5
    """
    measure(("train",), **options)


@cli.command("infer")
@speed_options("conv-ae-bn")
def infer_command(**options: Any) -> None:
    """Measure inference: images encoded, and images reconstructed, per second.

    \b
    Example: python -m benchmarks infer --backend jax --contestant fmae_zoo --contestant keras
    """
    measure(INFERENCE, **options)


@cli.command("against")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_entry_option(("conv-ae-bn", "dense-ae"))
@backend_option
@_several("precision", PRECISIONS, type=click.Choice(PRECISIONS))
@_several("task", ("train", *INFERENCE), type=click.Choice(("train", *INFERENCE)))
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@click.option("--seconds", type=float, default=1.0, show_default=True, help="Of a block.")
def against_command(
    folder: Path,
    entries: tuple[str, ...],
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    tasks: tuple[str, ...],
    rounds: int,
    seconds: float,
) -> None:
    """Measure the zoo of this checkout beside the zoo of another one, in turns.

    \b
    Example: python -m benchmarks against ../a-git-worktree --entry dense-ae
    """
    from benchmarks import checkouts

    cases = [
        Case(task, entry, "fmae_zoo", backend, precision)
        for task, entry, precision, backend in product(tasks, entries, precisions, backends)
    ]
    checkouts.run(folder, cases, rounds, seconds, report=note)


@cli.command("load")
@_entry_option(ENTRIES)
@backend_option
def load_command(entries: tuple[str, ...], backends: tuple[str, ...]) -> None:
    """Measure loading a pretrained model, building it without weights, and `import fmae_zoo`.

    \b
    Example: python -m benchmarks load --entry dense-ae --backend jax
    """
    from benchmarks import loading

    loading.run(entries, backends)


@cli.command("parity")
@_entry_option(ENTRIES)
@backend_option
def parity_command(entries: tuple[str, ...], backends: tuple[str, ...]) -> None:
    """Measure how much backends differ in outputs and in the weights after a training step.

    \b
    Example: python -m benchmarks parity --entry conv-vae-bn --backend torch --backend jax
    """
    from benchmarks import parity

    if len(backends) < 2:
        raise click.UsageError("Expected at least two backends to compare.")
    parity.run(entries, backends)


@cli.command("embed")
@_entry_option(("conv-ae-bn",))
@backend_option
@click.option("--count", type=click.IntRange(min=1), default=1_000_000, show_default=True)
def embed_command(entries: tuple[str, ...], backends: tuple[str, ...], count: int) -> None:
    """Measure the encoding of a million images from disk: images per second, and memory.

    \b
    Example: python -m benchmarks embed --backend torch --count 100000
    """
    from benchmarks import embedding

    embedding.run(entries, backends, count)


@cli.command("quality")
@_several("goal", tuple(GOALS), type=click.Choice(tuple(GOALS)))
@backend_option
def quality_command(goals: tuple[str, ...], backends: tuple[str, ...]) -> None:
    """Measure the seconds from an untrained model to the accuracy of the original projects.

    \b
    Example: python -m benchmarks quality --goal "linear probe" --backend torch
    """
    from benchmarks import quality

    quality.run(goals, backends)


@cli.command("report")
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=RESULTS
)
def report_command(folder: Path) -> None:
    """Write speed.csv, speed.md and speed.png from speed.json, without measuring.

    \b
    Example: python -m benchmarks report
    """
    from benchmarks.report import write_report

    for path in write_report(folder):
        note(f"written to {path}")


@cli.command("compare")
@click.argument("old", type=click.Path(exists=True, dir_okay=False))
@click.argument("new", type=click.Path(exists=True, dir_okay=False))
def compare_command(old: str, new: str) -> None:
    """Say for each case in two files whether it became faster, slower, or neither.

    If the interquartile ranges of the blocks overlap, the difference is within noise.

    \b
    Example: python -m benchmarks compare before.json benchmarks/results/speed.json
    """
    compared = compare(read_rows(old), read_rows(new))
    if not compared:
        raise click.ClickException(f"{old} and {new} have no case in common")
    print_comparison(compared)


@cli.command("all")
@click.pass_context
def all_command(context: click.Context) -> None:
    """Measure everything with the default options, and write the report. Takes hours.

    \b
    Example: python -m benchmarks all
    """
    failed = []
    commands = (train_command, infer_command, load_command, parity_command, embed_command)
    for command in (*commands, quality_command):
        try:
            context.invoke(command, **command.make_context(command.name, [], context).params)
        except (click.ClickException, RuntimeError) as error:
            failed.append(f"{command.name}: {error}")
    context.invoke(report_command, folder=RESULTS)
    if failed:
        raise click.ClickException("\n".join(failed))


def main() -> None:
    """Run the command line; print expected errors as a message and exit with code 1."""
    try:
        cli(prog_name="python -m benchmarks")
    except (FmaeError, OSError, RuntimeError, ValueError) as error:
        click.ClickException(str(error)).show()
        sys.exit(1)


if __name__ == "__main__":
    main()
