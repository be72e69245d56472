"""`fmae samplers`."""

import click

from fmae_zoo.cli.images import autoencoder
from fmae_zoo.cli.output import (
    about,
    data_for,
    data_option,
    emit_json,
    emit_table,
    json_option,
    seed_option,
    steps_shown,
)
from fmae_zoo.registry import find_entry
from fmae_zoo.samplers import SAMPLERS


@click.command("samplers")
@click.argument("name")
@click.option("--sampler", "names", type=click.Choice(list(SAMPLERS)), multiple=True, help="[all]")
@seed_option
@click.option("--write", is_flag=True, help="Keep them with the model, and the best as default.")
@data_option
@json_option
def samplers_command(
    name: str,
    names: tuple[str, ...],
    seed: int,
    write: bool,
    data_source: str | None,
    as_json: bool,
) -> None:
    """Fit samplers to the codes of training images; say which gives images nearest to real ones.

    \b
    Example: fmae samplers local:runs/mine --write
             fmae generate local:runs/mine -o new.png
    """
    import fmae_zoo
    from fmae_zoo.evaluation.record import check_data, record_samplers

    entry = find_entry(name)
    data = data_for(data_source, name, entry)
    if write:
        check_data(entry, data)
    model = autoencoder(name)
    with steps_shown() as bar:
        distances = fmae_zoo.fit_samplers(
            model, data, seed, names or tuple(SAMPLERS), progress=bar.begin, advance=bar
        )
    if write:
        record_samplers(name, model)
    if as_json:
        emit_json({**about(name, data), "frechet": distances, "default": model.sampler})
    else:
        rows = [
            (each, distances.get(each), "default" if each == model.sampler else "")
            for each in model.samplers
        ]
        emit_table(("sampler", "Frechet to validation images", ""), rows, title=name)
