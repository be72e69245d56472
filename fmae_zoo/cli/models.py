"""`fmae list`, `fmae info`, `fmae verify`."""

from typing import Any

import click

from fmae_zoo import registry
from fmae_zoo.cli.output import (
    data_option,
    emit_json,
    emit_table,
    fail,
    flat_figures,
    hub_options,
    json_option,
    note,
    token_in,
)
from fmae_zoo.entry import Entry
from fmae_zoo.errors import FmaeError, NoWeightsError, SpecError, WeightsError
from fmae_zoo.evaluation import columns
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.summary import summary_of

SORT_KEYS = ("name", "parameters", *columns())


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--exclude", multiple=True, help="Leave out names that match this wildcard.")
@click.option("--pretrained", is_flag=True, help="Only models with weights.")
@click.option("--sort", type=click.Choice(SORT_KEYS), default="name", show_default=True)
@json_option
def list_command(
    pattern: str, exclude: tuple[str, ...], pretrained: bool, sort: str, as_json: bool
) -> None:
    """List the models, with their published figures.

    \b
    Example: fmae list "conv-*" --pretrained --sort linear_probe
    """
    names = registry.list_models(pattern, exclude=exclude, pretrained=pretrained)
    rows = []
    for name in names:
        # One damaged entry, perhaps from another package, must not hide the others.
        try:
            rows.append(summary_of(registry.find_entry(name)))
        except FmaeError as error:
            note(str(error))
    smallest_first = sort in ("name", "parameters") or columns()[sort].less_is_better
    rows.sort(
        key=lambda row: (row[sort] is None, row[sort] if smallest_first else -(row[sort] or 0))
    )
    if as_json:
        emit_json(rows)
        return
    if not rows:
        note(f"no model matches {pattern!r}")
        return
    emit_table(list(rows[0]), [list(row.values()) for row in rows])


@click.command("info")
@click.argument("name")
@hub_options
def info_command(name: str, token_file: str | None, timeout: float, as_json: bool) -> None:
    """Show all that is known of a model: spec, files, training and results.

    \b
    Example: fmae info conv-ae-bn
    """
    entry = registry.find_entry(name, HubOptions(token_in(token_file), timeout=timeout))
    if as_json:
        emit_json(_everything(entry))
        return
    emit_table(("", ""), list(_facts(entry)), title=entry.title)


def _everything(entry: Entry) -> dict[str, Any]:
    head = entry.head
    return {
        "spec": entry.spec.model_dump(mode="json"),
        "head": head.model_dump(mode="json") if head else None,
        "folder": str(entry.folder) if entry.folder else None,
        "manifest": entry.manifest.model_dump(mode="json") if entry.pretrained else None,
    }


def _facts(entry: Entry) -> Any:
    spec = entry.spec
    yield "summary", spec.summary
    yield "network", spec.network.model_dump_json()
    yield "latent", spec.latent.model_dump_json()
    yield "objective", spec.objective.model_dump_json()
    yield "recipe", spec.recipe.model_dump_json(exclude_none=True)
    yield "licence", spec.licence
    for reference in spec.references:
        yield "reference", reference
    yield "folder", str(entry.folder or "-")
    if not entry.pretrained:
        yield "weights", f"none; train it with: fmae train {registry.short_name(entry)}"
        return
    head = entry.head
    if head is not None:
        yield "head", head.model_dump_json(exclude={"labels"})
        yield "classes", ", ".join(head.labels or ["without names"])
    manifest = entry.manifest
    for part, count in manifest.parameters.items():
        yield f"{part} parameters", f"{count:,}"
    for file, record in manifest.files.items():
        yield file, f"{record.size:,} bytes, sha256 {record.sha256}"
    if manifest.training is not None:
        training = manifest.training
        yield "trained", f"{training.epochs} epochs, seed {training.seed}, {training.seconds:.0f} s"
        yield "trained on", training.data_source
        yield "environment", " ".join(f"{k} {v}" for k, v in training.environment.items())
    for figure, key, value in flat_figures(manifest.results):
        yield f"{figure} {key}".replace("_", " "), value


@click.command("verify")
@click.argument("name", required=False)
@data_option
@hub_options
def verify_command(
    name: str | None,
    data_source: str | None,
    token_file: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Check files, goldens and published figures of one model, or of all with weights.

    \b
    Example: fmae verify conv-ae-bn
    """
    names = [name] if name else registry.list_models(pretrained=True)
    options: dict[str, Any] = {"token": token_in(token_file), "timeout": timeout}
    if data_source is not None:
        from fmae_zoo.datasets import load_data

        options["data"] = load_data(data_source)
    results = {each: _verified(each, **options) for each in names}
    if as_json:
        emit_json({each: [vars(check) for check in checks] for each, checks in results.items()})
    else:
        words = {True: "ok", False: "FAILED", None: "not checked"}
        emit_table(
            ("model", "check", "", "detail"),
            [
                (each, check.name, words[check.passed], check.detail)
                for each, checks in results.items()
                for check in checks
            ],
        )
    failed = [c for checks in results.values() for c in checks if c.passed is False]
    if failed:
        raise SystemExit(fail(f"{len(failed)} of the checks failed"))


def _verified(name: str, **options: Any) -> list[Any]:
    """Return the checks of an entry; a damaged entry counts as one failed check."""
    import fmae_zoo

    # This import explains a missing backend, which the import of `Check` below would not.
    verify = fmae_zoo.verify
    from fmae_zoo.verification import Check

    try:
        return verify(name, **options)
    except (SpecError, NoWeightsError, WeightsError) as error:
        return [Check("manifest", False, str(error))]
