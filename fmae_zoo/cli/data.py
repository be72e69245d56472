"""`fmae data`."""

import click

from fmae_zoo.cli.output import data_option, emit_json, emit_table, json_option, note


@click.command("data")
@data_option
@click.option("--verbose", "-v", is_flag=True, help="Tell of each source that did not serve.")
@json_option
def data_command(data_source: str | None, verbose: bool, as_json: bool) -> None:
    """List the data sets known by name; with --data, get one and show its source and checksums.

    \b
    Example: fmae data
             fmae data --data kmnist
    """
    from fmae_zoo.datasets import DEFAULT, find_data, load_data, load_sample

    if data_source is None:
        _list(as_json)
        return
    failures: dict[str, Exception] = {}
    is_default = data_source == DEFAULT
    found = find_data(failures.__setitem__) if is_default else load_data(data_source)
    data = found or load_sample()
    if verbose or data.is_sample:
        for source, reason in failures.items():
            note(f"{source}: {reason}")
    labels = None if data.train_labels is None else data.num_classes
    facts = {
        "source": data.source,
        "sample": data.is_sample,
        "shape": list(data.shape),
        "train_images": list(data.train_images.shape),
        "test_images": list(data.test_images.shape),
        "classes": labels,
        "class_names": data.class_names,
        "digest": data.digest,
        "files": dict(data.files),
        "failed_sources": {source: str(reason) for source, reason in failures.items()},
    }
    if as_json:
        emit_json(facts)
    else:
        rows = {
            "source": data.source,
            "digest of the arrays": data.digest,
            "training images": str(data.train_images.shape),
            "test images": str(data.test_images.shape),
            "classes": ", ".join(data.class_names or ()) or str(labels or "no labels"),
            **{f"sha256 of {name}": digest for name, digest in data.files.items()},
        }
        emit_table(("", ""), list(rows.items()), title=data.name)
    if data.is_sample:
        note("This is only the sample in the package: figures computed on it are of the sample.")


def _list(as_json: bool) -> None:
    from fmae_zoo.datasets import TABLE, in_cache

    keys = ("name", "title", "shape", "classes", "licence", "homepage")
    facts = [
        {**{key: getattr(each, key) for key in keys}, "cached": in_cache(each)}
        for each in TABLE.values()
    ]
    if as_json:
        emit_json(facts)
        return
    rows = [
        (
            each["name"],
            "x".join(map(str, each["shape"])),
            len(each["classes"]),
            each["licence"],
            each["cached"],
            each["homepage"],
        )
        for each in facts
    ]
    emit_table(("name", "shape", "classes", "licence", "in the cache", "homepage"), rows)
