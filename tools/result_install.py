"""The table in docs/guides/backends.md on what an installation takes: registry/install.json."""

import json
from pathlib import Path

from fmae_zoo.card.markup import table

MEASURED = Path(__file__).parent.parent / "registry" / "install.json"


def install_table() -> str:
    """Return the table as Markdown, and the largest packages in a sentence."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    titles = ["package", "version", "own, MB", "backend, MB", "all else, MB", "packages"]
    rows = [
        [
            f"`{name}`",
            row["version"],
            *(f"{row[key]:,.0f}" for key in ("own", "backend", "rest")),
            str(row["packages"]),
        ]
        for name, row in found.items()
    ]
    largest = found["fmae-zoo[jax]"]["largest"]
    words = ", ".join(f"{name} {megabytes:,.0f}" for name, megabytes in largest.items())
    about = f"The largest of all else, with JAX, in MB: {words}."
    return f"{table(titles, rows, right=range(2, len(titles)))}\n\n{about}"
