"""The entries that are measured, and the specs that all contestants build them from."""

from fmae_zoo import registry
from fmae_zoo.spec import ModelSpec

ENTRIES = ("conv-ae-bn", "conv-ae-bn-spatial", "conv-vae-bn", "dense-ae", "dense-vae")


def benchmark_spec(entry: str) -> ModelSpec:
    """Return the spec of a registered name, its objective one that every contestant computes.

    That is the squared error, or with a Gaussian latent the entry's ELBO without warm-up.
    """
    spec = registry.find_spec(entry)
    objective = {"type": "squared_error"}
    if spec.latent.type == "gaussian":
        objective = spec.objective.model_dump(mode="json") | {"kl_warmup_steps": 0}
    return ModelSpec.from_dict(spec.model_dump(mode="json") | {"objective": objective})
