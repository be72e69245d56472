"""A second variational autoencoder, trained on the codes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fmae_zoo.samplers.base import Sampler
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer

WIDTH = 256
"""Units of each hidden layer."""

EPOCHS = 50
BATCH = 1000
"""Maximum batch; with fewer than 50,000 codes a fiftieth of them, but at least 100."""

RATE = 2e-3
"""Initial learning rate of Adam; it decays to 0 along a cosine."""

START = 6.0
"""Subtracted from the log-variances of posteriors, so that they start at about -4."""

MAX_WIDTH = 1024
"""Maximum number of values in a code."""

FLOOR = 1e-3
"""Added to the noise variance in the loss, as a fraction of the variance of the codes."""


@dataclass(frozen=True)
class TwoStage(Sampler):
    """A variational autoencoder of the codes, with as many latent values as a code has.

    The codes of the first model do not follow its prior; the second model only has to learn their
    distribution. It models standardised codes y: `p(u)` is standard normal, and `p(y|u)` is normal
    around the decoder's output for u, with one learned variance. A draw decodes a random u and adds
    noise of that variance.

    If the first model is variational, its posterior means are used as codes, because `encode`
    returns them and they are reconstructed best; the paper draws from the posterior instead. The
    variance in the loss is the optimal one for each batch, its mean squared error (Rybkin et al.
    2021, Simple and Effective VAE Training with Calibrated Decoders, arXiv 2006.13202).

    Source: Dai and Wipf 2019, Diagnosing and Enhancing VAE Models, arXiv 1903.05789; as there, the
    last layer also reads u itself.

    Attributes:
        mean: Mean of the codes, `(size,)`.
        scale: Standard deviations of the codes, `(size,)`.
        noise: Standard deviation of standardised codes around the decoder's output, `(1,)`.
        kernel_1: Kernel of the decoder from `size` values to hidden units.
        bias_1: Bias of the first hidden layer.
        kernel_2: Kernel between the hidden layers.
        bias_2: Bias of the second hidden layer.
        kernel_3: Kernel from hidden units and u to `size` values.
        bias_3: Bias of the output.
    """

    name: ClassVar[str] = "two-stage"

    mean: np.ndarray
    scale: np.ndarray
    noise: np.ndarray
    kernel_1: np.ndarray
    bias_1: np.ndarray
    kernel_2: np.ndarray
    bias_2: np.ndarray
    kernel_3: np.ndarray
    bias_3: np.ndarray

    @classmethod
    def fit(
        cls,
        codes: np.ndarray,
        latent: "LatentLayer",
        seed: int = 0,
        labels: np.ndarray | None = None,
        advance: Callable[[int, int], None] = lambda done, count: None,
    ) -> Self | None:
        """Train on all codes; return None if they are discrete or have more than 1,024 values."""
        size = codes.shape[1]
        if latent.kinds or size > MAX_WIDTH:
            return None
        rng = np.random.default_rng(seed)
        mean = codes.mean(axis=0)
        # Values that are the same in all codes must not cause a division by zero.
        scale = np.maximum(codes.std(axis=0), 1e-6)
        standard = (rng.permutation(codes) - mean) / scale
        means, log_variances, layers = _trained(standard, seed, advance)
        exact = cls(mean, scale, np.zeros(1, np.float32), *layers)
        noise = rng.standard_normal(means.shape).astype(np.float32)
        errors = standard - exact.decoded(means + np.exp(0.5 * log_variances) * noise)
        return replace(exact, noise=np.sqrt(np.mean(np.square(errors), keepdims=True)[0]))

    def decoded(self, noise: np.ndarray) -> np.ndarray:
        """Return the standardised codes `(n, size)` decoded from latent values u `(n, size)`."""
        hidden = np.maximum(noise @ self.kernel_1 + self.bias_1, 0.0)
        hidden = np.maximum(hidden @ self.kernel_2 + self.bias_2, 0.0)
        codes: np.ndarray = np.concatenate([hidden, noise], axis=1) @ self.kernel_3 + self.bias_3
        return codes

    def codes(
        self, count: int, rng: np.random.Generator, labels: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw codes: float32 `(count, size)`; `labels` are ignored."""
        latent, around = rng.standard_normal((2, count, len(self.mean))).astype(np.float32)
        codes: np.ndarray = self.mean + self.scale * (self.decoded(latent) + self.noise * around)
        return codes

    def shapes(self, size: int) -> dict[str, tuple[int, ...]]:
        """Return the expected shapes, given the numbers of hidden units."""
        first, second = self.bias_1.size, self.bias_2.size
        return {
            "mean": (size,),
            "scale": (size,),
            "noise": (1,),
            "kernel_1": (size, first),
            "bias_1": (first,),
            "kernel_2": (first, second),
            "bias_2": (second,),
            "kernel_3": (second + size, size),
            "bias_3": (size,),
        }


def _trained(
    codes: np.ndarray, seed: int, advance: Callable[[int, int], None]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Train on standardised codes `(n, size)`.

    Returns:
        Means and log-variances of the posteriors, `(n, size)`; kernels and biases of the decoder.
    """
    import keras
    from keras import ops

    from fmae_zoo.latents.gaussian import bounded
    from fmae_zoo.layers.initial import Seeds

    count, size = codes.shape
    seeds = Seeds(seed)

    def mlp(inputs: Any, units: int) -> tuple[Any, list[Any]]:
        layers = [
            keras.layers.Dense(width, kind, kernel_initializer=initial, dtype="float32")
            for width, kind, initial in (
                (WIDTH, "relu", seeds.he_normal()),
                (WIDTH, "relu", seeds.he_normal()),
                (units, "linear", seeds.glorot_uniform()),
            )
        ]
        hidden = layers[1](layers[0](inputs))
        return layers[2](ops.concatenate([hidden, inputs], axis=-1)), layers

    code = keras.Input((size,), name="code")
    posterior, _ = mlp(code, 2 * size)
    # Narrow at first, so that the decoder uses all values before some collapse to noise.
    mean, log_variance = posterior[:, :size], bounded(posterior[:, size:] - START)
    noise = keras.layers.GaussianNoise(1.0, seed=seed, dtype="float32")(ops.zeros_like(mean))
    decoded, layers = mlp(mean + ops.exp(0.5 * log_variance) * noise, size)
    model = keras.Model(code, ops.concatenate([decoded, mean, log_variance], axis=-1))

    def negative_elbo(target: Tensor, outputs: Tensor) -> Tensor:
        decoded, mean, log_variance = ops.split(outputs, 3, axis=-1)
        error = ops.mean(ops.square(target - decoded))
        kl = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance, axis=-1)
        return 0.5 * size * ops.log(error + FLOOR) + ops.mean(kl)

    batch = min(count, max(100, min(BATCH, count // 50)))
    whole = count - count % batch
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * whole // batch)
    model.compile(keras.optimizers.Adam(rate), loss=negative_elbo)
    bar = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: advance(epoch + 1, EPOCHS)
    )
    options = {"batch_size": batch, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    model.fit(codes[:whole], codes[:whole], callbacks=[bar], **options)
    outputs = model.predict(codes, batch_size=batch, verbose=0)
    weights = [np.array(ops.convert_to_numpy(each)) for layer in layers for each in layer.weights]
    return outputs[:, size : 2 * size], outputs[:, 2 * size :], weights
