"""`python -m fmae_zoo.sweeping` trains and measures one trial of a sweep, in its own process."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from fmae_zoo._backend import require_backend
from fmae_zoo.cli.output import fail
from fmae_zoo.errors import FmaeError


@click.command()
@click.argument("source", type=Path)
@click.option("--seed", type=int, required=True)
@click.option("--output", "-o", type=Path, required=True)
@click.option("--resume", is_flag=True)
@click.option("--data", "data_file", type=Path, required=True)
@click.option("--objective", required=True)
@click.option("--parent", type=int)
def main(source: Path, data_file: Path, objective: str, parent: int | None, **options: Any) -> None:
    """Train the spec in the folder SOURCE, and write the value of the objective to the output.

    It ends with the process PARENT, which runs the sweep, if that is given.
    """
    require_backend()
    from fmae_zoo.sweeping.trial import read_data, run

    def watch(*_: Any) -> None:
        if parent is not None and os.getppid() != parent:
            sys.exit("The sweep has ended. The same command goes on with this trial.")

    watch()
    run(source, data=read_data(data_file), objective=objective, progress=watch, **options)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except (FmaeError, OSError) as error:
        sys.exit(fail(str(error)))
