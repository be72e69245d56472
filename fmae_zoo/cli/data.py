"""`fmae data`."""

import click

from fmae_zoo.cli.output import data_option, emit_json, emit_table, json_option, note


@click.command("data")
@data_option
@json_option
def data_command(data_folder: str | None, as_json: bool) -> None:
    """Find or get Fashion-MNIST: which source, where, and checksums.

    \b
    Example: fmae data
    """
    from fmae_zoo.data import find_data, load_data, load_sample

    failures: dict[str, str] = {}

    def report(source: str, error: Exception) -> None:
        failures[source] = str(error)
        note(f"{source}: {error}")

    data = load_data(data_folder) if data_folder else find_data(report) or load_sample()
    facts = {
        "source": data.source,
        "sample": data.is_sample,
        "train_images": list(data.train_images.shape),
        "test_images": list(data.test_images.shape),
        "digest": data.digest,
        "files": dict(data.files),
        "failed_sources": failures,
    }
    if as_json:
        emit_json(facts)
    else:
        rows = [("source", data.source), ("digest of the arrays", data.digest)]
        rows += [("training images", str(data.train_images.shape))]
        rows += [("test images", str(data.test_images.shape))]
        rows += [(f"sha256 of {name}", digest) for name, digest in data.files.items()]
        emit_table(("", ""), rows, title=data.name)
    if data.is_sample:
        note("This is only the sample in the package: figures computed on it are of the sample.")
