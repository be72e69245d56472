"""The table of docs/guides/figures.md on what an installation takes, from registry/install.json."""

import json
from pathlib import Path

from fmae_zoo.card.markup import table

MEASURED = Path(__file__).parent.parent / "registry" / "install.json"


def install_table() -> str:
    """Return the table as Markdown."""
    titles = ["package", "version", "own, MB", "backend, MB", "all else, MB", "packages"]
    rows = [
        [
            f"`{name}`",
            row["version"],
            *(f"{row[key]:,.0f}" for key in ("own", "backend", "rest")),
            str(row["packages"]),
        ]
        for name, row in json.loads(MEASURED.read_text(encoding="utf-8")).items()
    ]
    return table(titles, rows, right=range(2, len(titles)))
