"""The measured entries, and the specs from which all contestants build them."""

from fmae_zoo import registry
from fmae_zoo.spec import ModelSpec

ENTRIES = ("conv-ae-bn", "conv-ae-bn-spatial", "conv-vae-bn", "dense-ae", "dense-vae")


def benchmark_spec(entry: str) -> ModelSpec:
    """Return the spec of an entry with an objective that every contestant can compute.

    This is the squared error; with a Gaussian latent, the entry's ELBO without KL warm-up.
    """
    spec = registry.find_spec(entry)
    objective = {"type": "squared_error"}
    if spec.latent.type == "gaussian":
        objective = spec.objective.model_dump(mode="json") | {"kl_warmup_steps": 0}
    return ModelSpec.from_dict(spec.model_dump(mode="json") | {"objective": objective})
