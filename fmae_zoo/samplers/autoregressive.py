"""A density of discrete codes: the index of each group, given those of earlier groups."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fmae_zoo.samplers.base import Sampler
from fmae_zoo.weights import halved

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer

EMBEDDING = 16
"""Number of values in the embedding of an index."""

UNITS = 256
"""Units of a hidden layer, divided among the groups; a group gets at most 64."""

EPOCHS = 40
PATIENCE = 3
"""Epochs without improvement on held-out codes before training stops."""

BATCH = 500
RATE = 2e-3
HELD_OUT = 0.1
"""Fraction of the codes held out for early stopping."""

MAX_KINDS, MAX_GROUPS = 1024, 64
"""Maximum number of codes per group, and of groups, that the sampler can model."""


@dataclass(frozen=True)
class Autoregressive(Sampler):
    """A masked network: `p(i) = product of p(i_g | i_1 ... i_(g-1))` over the groups of a code.

    Embeddings of the indices pass through two hidden layers. Each hidden unit belongs to one group
    and depends only on the indices of earlier groups; a softmax layer predicts a group's index from
    its units. Training minimises the cross-entropy, and stops when that of held-out codes no longer
    falls. Groups are drawn one after the other. After training, the embedding, the kernels and
    `bias_3` are rounded to float16, and stored as float16 to halve the file.

    Source: Germain et al. 2015, MADE: Masked Autoencoder for Distribution Estimation,
    arXiv 1502.03509; as a prior of discrete codes, van den Oord et al. 2017, arXiv 1711.00937.

    Attributes:
        alphabet: Values of a group for each index, `(kinds, size / groups)`.
        embedding: Embedding of each index, `(kinds, values)`.
        kernel_1: Kernel from the embeddings of all groups to the hidden units, group by group.
        bias_1: Bias of the first hidden layer.
        kernel_2: Kernel between the hidden layers.
        bias_2: Bias of the second hidden layer.
        kernel_3: Kernel from a group's units to the logits of its index, `(groups, units, kinds)`.
        bias_3: Bias of the logits, `(groups, kinds)`.
    """

    name: ClassVar[str] = "autoregressive"

    alphabet: np.ndarray
    embedding: np.ndarray
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
        """Train the network on codes of a discrete latent; return None for other latents.

        Also return None for more than 64 groups, or more than 1,024 possible codes of a group.
        """
        from sklearn.metrics import pairwise_distances_argmin

        if not 0 < latent.kinds <= MAX_KINDS:
            return None
        alphabet = latent.code_of(np.arange(latent.kinds)[:, None])
        values = alphabet.shape[1]
        if codes.shape[1] > MAX_GROUPS * values:
            return None
        nearest = pairwise_distances_argmin(codes.reshape(-1, values), alphabet)
        index = nearest.reshape(len(codes), -1).astype(np.int32)
        trained = cls(alphabet, *_trained(index, latent.kinds, seed, advance))
        return cls.of(trained.tensors(), codes.shape[1])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all arrays by name; the network's embedding, kernels and `bias_3` are float16."""
        return {**halved(super().tensors()), "alphabet": self.alphabet}

    def codes(
        self, count: int, rng: np.random.Generator, labels: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw codes: float32 `(count, size)`; `labels` are ignored."""
        codes: np.ndarray = self.alphabet[self.indices(count, rng)].reshape(count, -1)
        return codes

    def indices(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the indices of all groups: integers `(count, groups)`."""
        groups, units, kinds = self.kernel_3.shape
        wide = self.embedding.shape[1]
        index = np.zeros((count, groups), dtype=np.int64)
        before = np.tile(self.bias_1, (count, 1))
        hidden = np.zeros_like(before)
        for group in range(groups):
            own, read = slice(group * units, (group + 1) * units), slice((group + 1) * units)
            hidden[:, own] = np.maximum(before[:, own], 0.0)
            last = np.maximum(hidden[:, read] @ self.kernel_2[read, own] + self.bias_2[own], 0.0)
            logits = (last @ self.kernel_3[group] + self.bias_3[group]).astype(np.float64)
            shares = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
            wanted = rng.random((count, 1)) * shares[:, -1:]
            index[:, group] = np.minimum((shares <= wanted).sum(axis=1), kinds - 1)
            from_here = self.kernel_1[group * wide : (group + 1) * wide]
            before += self.embedding[index[:, group]] @ from_here
        return index

    def shapes(self, size: int) -> dict[str, tuple[int, ...]]:
        """Return the expected shapes, given the sizes of alphabet, embedding and hidden layers."""
        kinds, wide = (*self.embedding.shape, 0, 0)[:2]
        values = self.alphabet.size // max(kinds, 1)
        groups = size // max(values, 1)
        units = self.bias_1.size // max(groups, 1)
        hidden = groups * units
        return {
            "alphabet": (kinds, values),
            "embedding": (kinds, wide),
            "kernel_1": (groups * wide, hidden),
            "bias_1": (hidden,),
            "kernel_2": (hidden, hidden),
            "bias_2": (hidden,),
            "kernel_3": (groups, units, kinds),
            "bias_3": (groups, kinds),
        }

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], size: int) -> Self:
        """Return the sampler made from `tensors`, as `Sampler.of`."""
        made = super().of(tensors, size)
        if size % made.alphabet.shape[1]:
            raise ValueError(f"groups of {made.alphabet.shape[1]} values in a code of {size}")
        return made


def _trained(
    index: np.ndarray, kinds: int, seed: int, advance: Callable[[int, int], None]
) -> list[np.ndarray]:
    """Train on indices `(n, groups)`; return the arrays in the order of `NETWORK`."""
    import keras
    from keras import layers, ops

    from fmae_zoo.layers.initial import Seeds

    groups = index.shape[1]
    units = min(64, UNITS // groups)
    seeds = Seeds(seed)
    group = np.arange(groups)
    earlier = np.repeat(group, EMBEDDING)[:, None] < np.repeat(group, units)
    up_to = np.repeat(group, units)[:, None] <= np.repeat(group, units)

    def masked(mask: np.ndarray) -> Any:
        kept = mask.astype("float32")
        return layers.Dense(
            groups * units,
            "relu",
            kernel_initializer=seeds.he_normal(),
            kernel_constraint=lambda kernel: ops.multiply(kernel, kept),
            dtype="float32",
        )

    made = [
        layers.Embedding(kinds, EMBEDDING, seeds.normal(1.0), dtype="float32"),
        masked(earlier),
        masked(up_to),
        layers.EinsumDense(
            "ngu,guk->ngk",
            (groups, kinds),
            bias_axes="gk",
            kernel_initializer=seeds.normal(),
            dtype="float32",
        ),
    ]
    given = keras.Input((groups,), dtype="int32")
    embedded = layers.Flatten(dtype="float32")(made[0](given))
    hidden = made[2](made[1](embedded))
    logits = made[3](layers.Reshape((groups, units), dtype="float32")(hidden))
    for layer in made[1:3]:
        # Keras applies the constraint only after a step, so the first step needs it here.
        layer.kernel.assign(layer.kernel_constraint(layer.kernel))
    model = keras.Model(given, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss=loss)

    mixed = np.random.default_rng(seed).permutation(index)
    held_out = max(1, int(HELD_OUT * len(mixed)))
    tested, learned = mixed[:held_out], mixed[held_out:]
    batch = max(1, min(BATCH, len(learned) // 10))
    learned = learned[: len(learned) - len(learned) % batch]
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    bar = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: advance(epoch + 1, EPOCHS)
    )
    model.fit(
        learned,
        learned,
        validation_data=(tested, tested),
        batch_size=batch,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[stop, bar],
    )
    return [np.array(ops.convert_to_numpy(each)) for layer in made for each in layer.weights]
