"""Which entries of the registry the tests are of: all where a test is cheap, else few.

What a component promises is tested on small models, in `test_nothing_lost.py` and
`test_stability.py`: an entry has to show that its weights and files are whole.
"""

from fmae_zoo import registry
from fmae_zoo.entry import Entry

BUNDLED = registry.bundled()
TRAINED = [entry for entry in BUNDLED if entry.pretrained]


FEW = [entry for entry in TRAINED if entry.spec.name in ("conv-vae-bn", "dense-vae", "vit-mae")]
"""A small one of each kind of network that is trained by gradient steps."""

MEASURED = ("dense-ae", "dense-vae", "conv-ae-bn.fmnist-classifier")
"""A deterministic one, a variational one and a classifier: their figures are found again."""


def names(entries: list[Entry]) -> list[str]:
    return [registry.short_name(entry) for entry in entries]
