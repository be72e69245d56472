"""Write the sources of the documentation site to build/docs, for `zensical build`.

The guides are copied from docs/; the pages of the models, the results and the command line are
written from the registry and the commands. A link that leads nowhere is an error.
"""

import html
import os
import re
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import click
import numpy as np

import fmae_zoo
from fmae_zoo import cli
from fmae_zoo.card.body import body_of
from fmae_zoo.datasets import Dataset
from fmae_zoo.entry import Entry
from fmae_zoo.evaluation import columns
from fmae_zoo.files import write_text
from fmae_zoo.layout import CURVES_FILE
from fmae_zoo.registry import bundled, short_name
from fmae_zoo.show.pictures import tiled
from fmae_zoo.summary import summary_of

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "docs"
PICTURES = ROOT / "build" / "pictures"
PAGES = {
    "registry/RESULTS.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/hub.md": "benchmarks/hub.md",
    "benchmarks/results/speed.md": "benchmarks/speed.md",
}
"""Files outside docs/ that become pages, and where."""

IN_GALLERY = ("mse", "linear_probe", "frechet")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)


def entries() -> list[Entry]:
    """Return the bundled autoencoders with weights, by name."""
    return [each for each in bundled() if each.pretrained and not each.is_classifier]


def draw(entry: Entry, data: Dataset) -> Path:
    """Draw an image of each class, its reconstruction, and draws of the default sampler.

    Returns:
        Path of the PNG; a picture of the same weights is kept.
    """
    name = short_name(entry)
    digests = sorted(file.sha256 for file in entry.manifest.files.values())
    path = PICTURES / f"{name}-{sha256(''.join(digests).encode()).hexdigest()[:12]}.png"
    if path.is_file():
        return path
    firsts = [np.flatnonzero(data.labels[1] == each)[0] for each in range(data.num_classes)]
    images, labels = data.test_images[firsts], data.labels[1][firsts]
    model = entry.build(pretrained=True)
    told = None if entry.spec.classes is None else labels
    rows = [images[..., None] / 255.0, model.reconstruct(images, label=told)]
    if entry.manifest.sampler or entry.spec.latent.has_prior:
        rows.append(model.generate(len(images), seed=0, label=told))
    PICTURES.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiled(rows, alt="").png)
    return path


def gallery(found: list[Entry], folder: str) -> str:
    """Return the HTML of a grid with a card for each entry; pages are in `folder`."""
    cards = []
    for entry in found:
        row, name = summary_of(entry), short_name(entry)
        figures = [
            f"{columns()[key].column} {columns()[key].shown(row[key])}"
            for key in IN_GALLERY
            if row[key] is not None
        ]
        cards.append(
            f'<a href="{folder}{name}.html"><img src="{folder}{name}.png" alt="Test images, their '
            f'reconstructions and draws of {name}"><strong>{name}</strong>'
            f'<p class="figures">{row["latent"]:,} values · {" · ".join(figures)}</p>'
            f"<p>{html.escape(entry.spec.summary)}</p></a>"
        )
    return '<div class="gallery">\n' + "\n".join(cards) + "\n</div>"


def model_page(entry: Entry) -> str:
    """Return the page of an entry: the text of its card, with the picture and the loss."""
    name = short_name(entry)
    pictures = [CURVES_FILE] if (entry.folder / CURVES_FILE).is_file() else []
    text = body_of(entry.spec, entry.manifest, None, pictures)
    text = text.replace(f"({CURVES_FILE})", f"({name}-{CURVES_FILE})")
    head, rest = text.split("\n## Use", 1)
    rows = "Test images, their reconstructions, and new images"
    return f"{head}\n![{rows}]({name}.png){{ .pixels }}\n\n## Use{rest}"


def command_page() -> str:
    """Return the page of the command line: the help of every command."""
    parts = ["# Command line", "`fmae --help` lists the commands."]
    with click.Context(cli.cli, info_name="fmae") as parent:
        for name, (_, words) in cli.COMMANDS.items():
            command = cli.cli.get_command(parent, name)
            assert command is not None
            with click.Context(
                command, info_name=name, parent=parent, max_content_width=80, terminal_width=80
            ) as context:
                parts += [f"## fmae {name}", words, f"```text\n{command.get_help(context)}\n```"]
    return "\n\n".join(parts) + "\n"


def with_formulas(text: str) -> str:
    """Return Markdown with `$...$` and `$$...$$`, outside code, as MathML."""
    from latex2mathml.converter import convert

    parts = _CODE.split(text)
    for place in range(0, len(parts), 2):
        shown = re.sub(
            r"\$\$(.+?)\$\$",
            lambda found: convert(found[1].strip(), display="block"),
            parts[place],
            flags=re.S,
        )
        parts[place] = re.sub(r"\$([^$\n]+)\$", lambda found: convert(found[1]), shown)
    return "".join(parts)


def with_links(text: str, source: Path, target: Path) -> str:
    """Return the text of a page with its links as they are on the site.

    Links to files that are no pages lose their address.

    Raises:
        SystemExit: A link leads to no file.
    """

    def moved(found: re.Match[str]) -> str:
        mark, words, address, anchor = found.groups()
        if ":" in address:
            return found[0]
        file = Path(os.path.normpath(source.parent / address))
        if not file.exists():
            raise SystemExit(f"{source.relative_to(ROOT)}: no file {address}")
        path = place_of(file)
        if path is None:
            return words
        return f"{mark}[{words}]({os.path.relpath(path, target.parent)}{anchor or ''})"

    parts = re.split(r"(^```.*?^```)", text, flags=re.M | re.S)
    parts[::2] = [_LINK.sub(moved, part) for part in parts[::2]]
    return "".join(parts)


def place_of(file: Path) -> Path | None:
    """Return where on the site a file of the project is, and copy it there if it is no page."""
    name = file.relative_to(ROOT).as_posix()
    if name in PAGES:
        return SITE / PAGES[name]
    if name.startswith("docs/"):
        return SITE / name.removeprefix("docs/")
    page = SITE / "models" / f"{file.name}.md"
    if file.is_dir() and page.is_file():
        return page
    if file.suffix not in (".png", ".gif", ".csv"):
        return None
    target = SITE / "files" / name.replace("/", "-")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    return target


def main() -> None:
    """Write all sources of the site."""
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", SITE)
    data = fmae_zoo.load_data()
    found = entries()
    models = SITE / "models"
    models.mkdir()
    for done, entry in enumerate(found, 1):
        name = short_name(entry)
        print(f"{done} of {len(found)}: {name}", file=sys.stderr)
        shutil.copyfile(draw(entry, data), models / f"{name}.png")
        if (entry.folder / CURVES_FILE).is_file():
            shutil.copyfile(entry.folder / CURVES_FILE, models / f"{name}-{CURVES_FILE}")
        write_text(models / f"{name}.md", model_page(entry))
    write_text(models / "index.md", f"# Models\n\n{gallery(found, '')}\n")
    write_text(SITE / "reference" / "cli.md", command_page())
    sources = [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in PAGES)]
    for source in sources:
        target = place_of(source)
        assert target is not None
        text = with_links(source.read_text(encoding="utf-8"), source, target)
        text = text.replace("<!-- gallery -->", f"## The zoo\n\n{gallery(found, 'models/')}")
        text = re.sub(r"<!-- picture: (\S+) -->", r"![\1](models/\1.png){ .pixels }", text)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, with_formulas(text))


if __name__ == "__main__":
    main()
