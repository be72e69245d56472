"""Which entries of the registry the tests are of: all where a test is cheap, else few.

What a component promises is tested on small models, in `test_nothing_lost.py` and
`test_stability.py`: an entry has to show that its weights and files are whole.
"""

from fmae_zoo import registry
from fmae_zoo.entry import Entry

BUNDLED = registry.bundled()
TRAINED = [entry for entry in BUNDLED if entry.pretrained]


def few() -> list[Entry]:
    """Return the smallest entry of each kind of network that is trained by gradient steps."""
    found: dict[str, Entry] = {}
    for entry in sorted(TRAINED, key=lambda entry: sum(entry.manifest.parameters.values())):
        if entry.spec.recipe.optimizer != "none":
            found.setdefault(entry.spec.network.type, entry)
    return list(found.values())


FEW = few()

MEASURED = ("dense-ae", "dense-vae", "conv-ae-bn.fmnist-classifier")
"""A deterministic one, a variational one and a classifier: their figures are found again."""


def names(entries: list[Entry]) -> list[str]:
    return [registry.short_name(entry) for entry in entries]
