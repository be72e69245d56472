"""`fmae evaluate`."""

from typing import Any

import click

from fmae_zoo.cli.figures import figure_table, nested_in
from fmae_zoo.cli.output import (
    about,
    data_for,
    data_option,
    emit_json,
    json_option,
    note,
    section,
    seed_option,
    steps_shown,
)
from fmae_zoo.evaluation import FIGURES
from fmae_zoo.registry import find_entry

_ON_REQUEST = ", ".join(name for name, figure in FIGURES.items() if figure.on_request)


@click.command("evaluate")
@click.argument("name")
@click.option(
    "--figure",
    "figures",
    type=click.Choice(tuple(FIGURES)),
    multiple=True,
    help=f"Only this figure; may be repeated. {_ON_REQUEST}: only if named.",
)
@seed_option
@click.option("--write", is_flag=True, help="Write the figures into the entry's manifest.")
@data_option
@json_option
def evaluate_command(
    name: str,
    figures: tuple[str, ...],
    seed: int,
    write: bool,
    data_source: str | None,
    as_json: bool,
) -> None:
    """Measure a pretrained model, or local:FOLDER, on the test set.

    \b
    Example: fmae evaluate conv-ae-bn --figure reconstruction --figure knn
    """
    import fmae_zoo

    model = fmae_zoo.load(name, pretrained=True)
    # This imports Keras, so it comes after `load`, which explains a missing backend.
    from fmae_zoo.evaluation.record import check_data, record_results

    entry = find_entry(name)
    data = data_for(data_source, name, entry)
    if write:
        check_data(entry, data)

    def keep(figure: str, result: dict[str, Any]) -> None:
        if write:
            record_results(name, {figure: result}, data, seed)

    with steps_shown() as bar:
        results = fmae_zoo.evaluate(
            model,
            figures or None,
            data=data,
            seed=seed,
            progress=lambda figure: bar.begin(f"measuring {figure}"),
            done=keep,
            advance=bar,
        )
    if as_json:
        emit_json({**about(name, data), "figures": results})
    else:
        section(name, figure_table(results))
        for figure in nested_in(results):
            note(f"{figure} has lists too, such as curves or a confusion matrix: see --json.")
    for figure in set(figures) - set(results):
        note(f"{figure} does not apply to {name}.")
