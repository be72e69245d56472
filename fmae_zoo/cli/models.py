"""`fmae list`, `fmae verify`."""

from typing import Any

import click
from click.shell_completion import CompletionItem

from fmae_zoo import registry
from fmae_zoo.cli.output import (
    MODEL,
    data_option,
    emit_json,
    emit_table,
    fail,
    hub_options,
    json_option,
    note,
    steps_shown,
)
from fmae_zoo.errors import FmaeError, NoWeightsError, SpecError, WeightsError
from fmae_zoo.evaluation import columns
from fmae_zoo.summary import summary_of

TITLES = {
    "latent": "latent",
    "parameters": "params",
    "epochs": "epochs",
    **{key: measure.column.replace(" ", "\n") for key, measure in columns().items()},
    "weights": "weights",
}
"""Titles of the columns beside the name, by key; a title of two lines keeps its column narrow."""

SHOWN = ("latent", "mse", "linear_probe", "knn", "frozen_head", "frechet")
"""Columns that are shown by default; with the longest name of the zoo they fill 80 characters."""


class Columns(click.ParamType[list[str]]):
    """Names of columns, separated by commas, or `all`."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[str]:
        """Return the names, or fail if there is no such column."""
        names = list(TITLES) if value == "all" else [each.strip() for each in value.split(",")]
        for each in names:
            if each not in ("name", *TITLES):
                self.fail(f"{each!r}: expected all, or some of {', '.join(TITLES)}", param, ctx)
        return [each for each in dict.fromkeys(names) if each != "name"]

    def shell_complete(
        self, context: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the columns that begin with what follows the last comma."""
        before, comma, begun = incomplete.rpartition(",")
        return [CompletionItem(before + comma + key) for key in TITLES if key.startswith(begun)]


@click.command("list")
@click.argument("pattern", default="*", type=MODEL)
@click.option("--exclude", multiple=True, help="Leave out names that match this wildcard.")
@click.option("--pretrained", is_flag=True, help="Only models with weights.")
@click.option(
    "--sort",
    type=click.Choice(("name", "parameters", *columns())),
    default="name",
    show_default=True,
    help="The best first.",
)
@click.option(
    "--columns",
    "chosen",
    type=Columns(),
    help=f"all, or some of {','.join(TITLES)}. [those that fit in 80 characters]",
)
@json_option
def list_command(
    pattern: str,
    exclude: tuple[str, ...],
    pretrained: bool,
    sort: str,
    chosen: list[str] | None,
    as_json: bool,
) -> None:
    """List the models, with their published figures.

    \b
    Example: fmae list "conv-*" --pretrained --sort linear_probe
             fmae list --columns parameters,epochs,fine_tuned
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
        kept = set(TITLES if chosen is None else chosen)
        emit_json([{k: v for k, v in row.items() if k == "name" or k in kept} for row in rows])
        return
    if not rows:
        note(f"no model matches {pattern!r}")
        return
    if chosen is None:
        chosen = [*SHOWN] if sort in ("name", *SHOWN) else [*SHOWN[:-1], sort]
    shown = ["name", *chosen]
    emit_table(
        [TITLES.get(key, key) for key in shown],
        [[row[key] for key in shown] for row in rows],
        forms={shown.index(key): each.shown for key, each in columns().items() if key in shown},
    )


@click.command("verify")
@click.argument("name", required=False)
@data_option
@hub_options
def verify_command(
    name: str | None,
    data_source: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Check files, goldens and published figures of one model, or of all with weights.

    \b
    Example: fmae verify conv-ae-bn
    """
    names = [name] if name else registry.list_models(pretrained=True)
    if data_source is not None:
        from fmae_zoo.datasets import load_data

        options["data"] = load_data(data_source)
    results = {}
    with steps_shown(f"verifying {name or 'all models'}") as bar:
        for done, each in enumerate(names):
            results[each] = _verified(each, **options)
            if name is None:
                bar(done + 1, len(names))
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
