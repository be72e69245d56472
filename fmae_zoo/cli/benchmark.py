"""`fmae benchmark`."""

from typing import Any

import click

from fmae_zoo.cli.output import emit_json, emit_table, json_option, note


@click.command("benchmark")
@click.argument("name", default="conv-ae-bn")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True, max=60),
    default=1.0,
    show_default=True,
    help="Of a block; there are 5 for each figure.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True)
@json_option
def benchmark_command(name: str, as_json: bool, **options: Any) -> None:
    """Measure every installed backend on this machine, and recommend one.

    Each backend runs in a process of its own. Run nothing else on the machine meanwhile.

    \b
    Example: fmae benchmark conv-ae-bn
    """
    import fmae_zoo

    measured = fmae_zoo.benchmark(
        name,
        progress=lambda backend, precision: note(f"measuring {backend}, {precision} ..."),
        **options,
    )
    best = {task: measured.fastest(task) for task in ("train", "encode")}
    if as_json:
        chosen = {
            task: {"backend": row.backend, "precision": row.precision} for task, row in best.items()
        }
        emit_json(measured.model_dump() | {"fastest": chosen})
        return
    columns = ("backend", "precision", "train, images/s", "encode, images/s", "first step, s")
    rows = [
        (row.backend, row.precision, row.error, "", "")
        if row.error
        else (
            row.backend,
            row.precision,
            f"{row.train:,.0f}",
            f"{row.encode:,.0f}",
            f"{row.first_step:.1f}",
        )
        for row in measured.rows
    ]
    emit_table(columns, rows, title=measured.model)
    for task, row in best.items():
        click.echo(f"Fastest to {task}: KERAS_BACKEND={row.backend}, precision {row.precision}.")
