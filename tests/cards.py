"""Reading of model cards, and entries that differ from registered ones, for tests."""

import json
import re

import yaml

from fmae_zoo.card import BEGIN, END
from fmae_zoo.entry import Entry
from fmae_zoo.evaluation import protocols
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import bundled
from fmae_zoo.saving import spec_toml
from fmae_zoo.spec import SPEC_FILE, ModelSpec

REPO = "me/mine"
ENTRIES = [entry for entry in bundled() if entry.pretrained]
HOSTILE = (
    f"# x {END} | cell |\n\n# Heading\n{BEGIN} <script>alert(1)</script> ![i](http://x/i.png) "
    "[link](javascript:x) `code` **bold** <!-- fmae_zoo: end --> ``` ~~~ $x$ \u202e\u0007&lt;"
)


def figures_in(manifest):
    """Yield protocol, measure, value and table of each published figure of a manifest."""
    for protocol in protocols():
        table = manifest.results
        for key in protocol.path:
            table = table.get(key, {})
        for measure in protocol.results:
            if measure.key in table:
                yield protocol, measure, table[measure.key], table


def metadata_of(text):
    return yaml.safe_load(text.split("---")[1])


def block_of(text):
    return text[text.index(BEGIN) : text.index(END)]


def section(text, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", block_of(text), re.M | re.S)[1]


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def results_rows(text):
    titles, _, *rows = rows_of(section(text, "Results"))
    return [dict(zip(titles, row, strict=True)) for row in rows]


def code_blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def changed(tmp_path, entry, spec=None, **changes):
    """Return an entry with another spec or manifest, without weights: a card reads none."""
    content = json.loads((entry.folder / MANIFEST_FILE).read_text()) | changes
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(content))
    new = ModelSpec.from_dict(entry.spec.model_dump(mode="json", exclude_none=True) | (spec or {}))
    (tmp_path / SPEC_FILE).write_text(spec_toml(new))
    return Entry.read(tmp_path)
