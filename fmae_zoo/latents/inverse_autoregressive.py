"""A Gaussian posterior transformed by autoregressive networks."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fmae_zoo.component import Width
from fmae_zoo.latents.base import Draw
from fmae_zoo.latents.deterministic import flattened, projected
from fmae_zoo.latents.gaussian import gaussian_parameters
from fmae_zoo.latents.sampled import SampledLatent
from fmae_zoo.types import Layer, Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer

OPEN_GATE = 2.0
"""Number added to `s`, so that flows start near the identity (Kingma et al. 2016, section 4)."""


class InverseAutoregressiveLatent(SampledLatent):
    """Gaussian values transformed by flows `z' = sigmoid(s) z + (1 - sigmoid(s)) m`.

    `m` and `s` of a value depend on the values before it, in an order that each flow reverses, and
    on a context computed from the image. A flow subtracts the sum of `log sigmoid(s)` from
    `log q`. The prior is standard normal. `encode` returns the transformed mean of the Gaussian.

    Source: Kingma et al. 2016, Improving Variational Inference with Inverse Autoregressive Flow,
    arXiv 1606.04934; Germain et al. 2015, MADE, arXiv 1502.03509, for the masks.

    Attributes:
        flows: Number of flows.
        units: Width of the hidden layer of each flow.
        context: Number of context values that each flow reads.
    """

    type: Literal["inverse_autoregressive"]
    flows: int = Field(default=2, ge=1, le=64)
    units: Width = 128
    context: Width = 64

    @property
    def noise_size(self) -> int:
        """Number of noise values per code: `size`, as the prior's codes are the noise itself."""
        return self.size

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `mean` and `log_variance` of the Gaussian, and to the `context`."""
        features = flattened(features)
        context = projected(features, self.context, "latent_context", seeds, activation="relu")
        return {**gaussian_parameters(features, self.size, seeds), "context": context}

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the kernels of each flow's two layers, and the dense layers of the context.

        A kernel is the table of an `Embedding`, so that plain Keras keeps it as a layer of the
        encoder's graph, where it is multiplied by a mask.
        """
        from keras import layers

        from fmae_zoo.layers import family

        def kernel(rows: int, columns: int, name: str) -> Tensor:
            initial = seeds.glorot_uniform()
            made = layers.Embedding(rows, columns, initial, name=name, dtype="float32")
            made.build()
            return made

        def of_context(units: int, name: str) -> Tensor:
            initial = seeds.glorot_uniform()
            made = family().Dense(units, kernel_initializer=initial, name=name, dtype="float32")
            made.build((None, self.context))
            return made

        layer.flows = {}
        for flow in self._flows():
            sizes = {"hidden": (self.size, self.units), "output": (self.units, 2 * self.size)}
            for part, (rows, columns) in sizes.items():
                name = f"{flow}_{part}"
                layer.flows[name] = kernel(rows, columns, name)
                layer.flows[f"{name}_context"] = of_context(columns, f"{name}_context")

    def _flows(self) -> list[str]:
        return [f"flow{number}" for number in range(1, self.flows + 1)]

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the transformed mean of the Gaussian, `(n, size)`."""
        code, _ = self.transformed(parameters["mean"][:, None], parameters["context"], layer)
        return code[:, 0]

    def at(self, parameters: dict[str, Tensor], layer: "LatentLayer", noise: Tensor) -> Draw:
        """Return the transformed draws `mean + exp(log_variance / 2) * noise`."""
        from keras import ops

        mean, log_variance = parameters["mean"][:, None], parameters["log_variance"][:, None]
        start = mean + ops.exp(0.5 * log_variance) * noise
        code, log_determinant = self.transformed(start, parameters["context"], layer)
        # The terms log(2 pi) / 2 of the two densities cancel.
        change = ops.square(code) - ops.square(noise) - log_variance
        log_ratio = 0.5 * ops.sum(change, axis=-1) - log_determinant
        extra = {"mean": parameters["mean"]}
        return Draw(code, log_ratio, ops.mean(log_ratio, axis=1), extra)

    def transformed(
        self, code: Tensor, context: Tensor, layer: "LatentLayer"
    ) -> tuple[Tensor, Tensor]:
        """Return codes after all flows, and the log-determinant of the transformation.

        Args:
            code: Codes before the flows, `(n, K, size)`.
            context: Context of each image, `(n, context)`.
            layer: Layer that owns the networks.

        Returns:
            Codes `(n, K, size)`, and `log |det d code' / d code|` of each in nats, `(n, K)`.
        """
        from keras import ops

        log_determinant = ops.zeros_like(code[..., 0])
        for flow in self._flows():
            mean, gate = self._step(flow, code, context, layer)
            share = ops.sigmoid(gate)
            code = ops.flip(share * code + (1.0 - share) * mean, axis=-1)
            log_determinant = log_determinant - ops.sum(ops.softplus(-gate), axis=-1)
        return code, log_determinant

    def _step(
        self, flow: str, code: Tensor, context: Tensor, layer: "LatentLayer"
    ) -> tuple[Tensor, Tensor]:
        """Return `m` and `s`, each `(n, K, size)`; a value's depend on the values before it."""
        import numpy as np
        from keras import ops

        def dense(part: str, inputs: Tensor, needs: Tensor, allows: Tensor) -> Layer:
            kernel = _masked(layer.flows[f"{flow}_{part}"], inputs, needs, allows)
            of_context = layer.flows[f"{flow}_{part}_context"](context)
            return ops.matmul(inputs, kernel) + ops.expand_dims(of_context, 1)

        places = np.arange(1, self.size + 1, dtype="int32")
        # A hidden unit may read this many values, the first ones.
        reads = (np.arange(self.units) % max(1, self.size - 1) + 1).astype("int32")
        hidden = ops.relu(dense("hidden", code, places, reads))
        output = dense("output", hidden, reads + 1, np.tile(places, 2))
        return output[..., : self.size], output[..., self.size :] + OPEN_GATE


def _masked(rows: Tensor, code: Tensor, needs: Tensor, allows: Tensor) -> Tensor:
    """Return a kernel that is 0 where the column's `allows` is below the row's `needs`.

    The rows are looked up by a tensor of the graph, so that the encoder's graph has the layer.
    """
    import numpy as np
    from keras import ops

    nothing = ops.cast(ops.zeros_like(code[:1, :1, 0]), "int32")
    kernel = rows(nothing + np.arange(len(needs), dtype="int32"))
    mask = ops.greater_equal(allows, ops.expand_dims(nothing + needs, -1))
    return ops.sum(kernel * ops.cast(mask, "float32"), axis=0)
