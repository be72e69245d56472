"""Output of the commands: tables for people, JSON for machines, errors on stderr."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fmae_zoo.arguments import MAX_SEED
from fmae_zoo.hub.options import TIMEOUT, read_token

if TYPE_CHECKING:
    from fmae_zoo.datasets import Dataset
    from fmae_zoo.entry import Entry
    from fmae_zoo.progress import StepsProgress

PIPE_WIDTH = 160
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""Control characters, removed so that text from a repo cannot control the terminal."""


class UserPath(click.Path):
    """A path on the command line, with `~` expanded even if the shell did not expand it."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path as click does, with `~` replaced by the home folder."""
        return super().convert(os.path.expanduser(value), param, ctx)


class DataSource(UserPath):
    """A data set on the command line: a name in the table, a path, or a Hub address."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the name, path or address, or fail if it is none of these."""
        from fmae_zoo.datasets.table import TABLE, unknown

        path = os.path.expanduser(value)
        if value in TABLE or value.startswith("hf://") or os.path.exists(path):
            return value if value in TABLE else path
        return self.fail(unknown(value), param, ctx)


class ModelName(click.ParamType[str]):
    """The name of a model on the command line, which the shell can complete."""

    name = "text"

    def shell_complete(
        self, context: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the registered names that begin with a text."""
        from fmae_zoo.registry import list_models

        return [CompletionItem(each) for each in list_models(f"{incomplete}*")]


MODEL = ModelName()

stderr = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
data_option = click.option(
    "--data",
    "data_source",
    type=DataSource(),
    metavar="NAME|PATH",
    help="A name that `fmae data` lists, hf://NAMESPACE/NAME, or a file or folder. "
    "[what the model was trained on, else fashion-mnist]",
)
seed_option = click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True)


def hub_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `token`, `timeout` and `as_json`, which all commands that access the Hub take."""
    token = click.option(
        "--token-file",
        "token",
        type=UserPath(exists=True, dir_okay=False),
        callback=lambda context, parameter, path: read_token(path) if path else None,
        help="File with the token. [HF_TOKEN, or that of `hf auth login`]",
    )
    timeout = click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=TIMEOUT,
        show_default=True,
        help="Seconds that may be spent on the Hub, for each model.",
    )
    return token(timeout(json_option(function)))


def data_for(source: str | None, model: str, entry: "Entry") -> "Dataset":
    """Return the data set of --data, else that of the model's training, else Fashion-MNIST.

    Raises:
        DataError: If the model was trained on data that are not in the table, or are other there.
    """
    import fmae_zoo
    from fmae_zoo.datasets import DEFAULT, TABLE
    from fmae_zoo.errors import DataError

    training = entry.manifest.training if source is None and entry.pretrained else None
    if training is None or training.data_name in (None, DEFAULT):
        return fmae_zoo.load_data(source)
    name = training.data_source
    if training.data_name in TABLE:
        data = fmae_zoo.load_data(training.data_name)
        if data.digest == training.data_digest:
            return data
        name = f"another {training.data_name}"
    raise DataError(f"{model} was trained on {name}; name it with --data")


@contextmanager
def steps_shown(title: str | None = None) -> "Iterator[StepsProgress]":
    """Show progress bars on stderr, the first for a task of a title."""
    from fmae_zoo.progress import StepsProgress

    with StepsProgress(stderr) as bar:
        if title:
            bar.begin(title)
        yield bar


def emit_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    click.echo(json.dumps(value, indent=2))


def emit_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    title: str = "",
    forms: Mapping[int, Callable[[Any], str]] = MappingProxyType({}),
) -> None:
    """Print a table on stdout with right-aligned numbers; into a pipe, 160 columns wide.

    Args:
        columns: Titles of the columns; a title may have several lines.
        rows: Values of each row; None is shown as a dash.
        title: Title of the table.
        forms: For some columns, by index, a function from a value to its text.
    """
    table = Table(
        title=cell(title) if title else None,
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for index, column in enumerate(columns):
        numeric = index in forms or any(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(
            Text(column),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=index == 0,
        )
    for row in rows:
        texts = [
            forms[index](value) if index in forms and value is not None else value
            for index, value in enumerate(row)
        ]
        table.add_row(*map(cell, texts))
    _stdout().print(table)


def section(title: str, table: Table | None = None) -> None:
    """Print a heading on stdout, and below it a table without lines, as wide as the terminal."""
    console = _stdout()
    console.print()
    console.print(cell(title), style="bold", soft_wrap=True)
    if table is not None:
        console.print(Padding(table, (0, 0, 0, 2), expand=False))


def grid(*justify: JustifyMethod) -> Table:
    """Return an empty table without lines, whose columns are justified as given."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    for each in justify:
        table.add_column(justify=each, overflow="fold")
    return table


def _stdout() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def flat_figures(results: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield figure, key and value of each single value in the results of `evaluate`."""
    for figure, values in results.items():
        nested = {f"{figure} on {k}": v for k, v in values.items() if isinstance(v, dict)}
        yield from flat_figures(nested)
        for key, value in values.items():
            if not isinstance(value, (dict, list)):
                yield figure, key, value


def note(message: str) -> None:
    """Print a message for people on stderr."""
    stderr.print(message, markup=False, soft_wrap=True)


def fail(message: str) -> int:
    """Print an error on stderr and return the exit code for it."""
    stderr.print("[bold red]error:[/]", end=" ")
    stderr.print(message, markup=False, soft_wrap=True)
    return 1


def cell(value: Any) -> Text:
    """Return a value as the text of a table's cell, without control characters."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else said(value)
    if isinstance(value, float):
        text = f"{value:.4f}"
    return Text(_CONTROL.sub("", text))


def said(value: Any) -> str:
    """Return a value of a configuration in words: no brackets, quotes or underscores."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {said(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        has_parts = any(isinstance(each, dict) for each in value)
        return (" | " if has_parts else " ").join(map(said, value))
    return str(value)


def about(name: str, data: Any) -> dict[str, Any]:
    """Return the model and the data set that figures in JSON belong to."""
    return {"name": name, "data": data.name, "sample": data.is_sample}
