"""`fmae sweep`."""

from pathlib import Path
from typing import Any

import click

from fmae_zoo.cli.engine import Engine, engine_options
from fmae_zoo.cli.output import (
    UserPath,
    data_option,
    emit_json,
    emit_table,
    json_option,
    note,
    seed_option,
)


@click.command("sweep")
@click.argument("name")
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="KEY=VALUES",
    help="Values of a key of the spec: A,B,C or LOW:HIGH, log:LOW:HIGH, int:LOW:HIGH. Repeatable.",
)
@click.option(
    "--objective",
    type=click.Choice(("linear_probe", "knn", "mse", "loss")),
    default="linear_probe",
    show_default=True,
    help="What trials are compared by, on validation images.",
)
@click.option("--trials", type=click.IntRange(min=1), help="[30, or the whole grid]")
@click.option(
    "--sampler", type=click.Choice(("tpe", "random", "grid")), default="tpe", show_default=True
)
@click.option("--epochs", type=click.IntRange(min=1), help="Of each trial. [those of the spec]")
@click.option(
    "--jobs",
    type=click.IntRange(0, 1024),
    help="Processes at a time; 0: this process. [1; on Ray as many as it has CPUs for]",
)
@click.option("--prune/--no-prune", default=None, help="Stop trials of a high validation loss.")
@click.option("--best-name", metavar="NAME", help="Name of the best spec. [NAME-best]")
@seed_option
@click.option("--output", "-o", type=UserPath(), help="Folder of the sweep. [sweeps/NAME]")
@data_option
@engine_options
@json_option
def sweep_command(
    name: str,
    settings: tuple[str, ...],
    best_name: str | None,
    output: str | None,
    data_source: str | None,
    jobs: int | None,
    engine: Engine,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model with many values of its spec, and find the best by validation.

    NAME is a registered name or a folder with a spec.toml. The same command goes on where a stopped
    sweep was. Needs Optuna: pip install "fmae-zoo[sweep]"

    \b
    Example: fmae sweep dense-vae --set latent.size=16,32,64 \\
                 --set recipe.learning_rate=log:1e-4:1e-2 --trials 30
             fmae sweep dense-vae --set latent.size=16,32 --engine ray --address auto
    """
    space: dict[str, str] = {}
    for setting in settings:
        key, equals, values = setting.partition("=")
        if not equals or key in space:
            raise click.UsageError(f"--set {setting}: expected KEY=VALUES, once for each key")
        space[key.strip()] = values
    if engine.is_ray and jobs == 0:
        raise click.UsageError("--jobs 0 is for --engine local.")
    import fmae_zoo
    from fmae_zoo._backend import require_backend

    require_backend()
    from fmae_zoo.registry import find_spec
    from fmae_zoo.sweeping.sweep import sweep

    folder = Path(output or f"sweeps/{find_spec(name).name}")
    try:
        with engine.launching(jobs) as (launch, at_once):
            found = sweep(
                name,
                space,
                output=folder,
                name=best_name,
                data=fmae_zoo.load_data(data_source) if data_source else None,
                progress=lambda row: note(_line(row)),
                jobs=at_once,
                launch=launch,
                **options,
            )
    except KeyboardInterrupt:
        raise click.Abort("Stopped. The same command goes on with what was begun.") from None
    if as_json:
        paths = {"spec": str(found.best_folder), "run": str(found.best_run)}
        content = {"folder": str(folder), "objective": found.objective, "best": found.best | paths}
        emit_json(content | {"trials": found.trials, "plots": [str(each) for each in found.plots]})
        return
    columns = ("trial", "state", found.objective, *space, "epochs", "seconds")
    rows = [
        [row["trial"], row["state"], row["value"], *(_text(row[key]) for key in space)]
        + [row["epochs"], round(row["seconds"])]
        for row in _ranked(found)
    ]
    emit_table(columns, rows, title=f"{name}: {found.objective} on validation images")
    note(f"The best spec: {found.best_folder}. Train it with: fmae train {found.best_folder}")
    note(f"The best run: {found.best_run}. Load it with: fmae_zoo.load('local:{found.best_run}')")
    note(f"Pictures and table: {', '.join(map(str, [*found.plots, folder / 'trials.csv']))}")


def _ranked(found: Any) -> list[dict[str, Any]]:
    """Return the rows, those with the best value first and those without one last."""
    from fmae_zoo.sweeping.criterion import CRITERIA

    sign = -1.0 if CRITERIA[found.objective].direction == "maximize" else 1.0
    return sorted(found.trials, key=lambda row: (row["value"] is None, sign * (row["value"] or 0)))


def _line(row: dict[str, Any]) -> str:
    state = row["state"] if row["value"] is None else f"{row['value']:.5g}"
    words = ", ".join(f"{key}={_text(value)}" for key, value in row.items() if "." in key)
    return f"trial {row['trial']}: {state} with {words} {row['message']}".rstrip()


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
