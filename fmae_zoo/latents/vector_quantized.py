"""Codes composed of vectors from a learned codebook."""

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from fmae_zoo.component import Width
from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.latents.deterministic import projected
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer

EPSILON = 1e-5
"""Number added to the use of each vector, to avoid division by zero."""


class VectorQuantizedLatent(LatentComponent):
    """`size` values in groups of `dimension`; each group becomes the nearest codebook vector.

    The gradient ignores this choice (straight-through). Each codebook vector is the moving average
    of the groups assigned to it. A vector with fewer than `revive_below` groups per step is
    replaced by a random group of the batch.

    Source: van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv 1711.00937,
    with the moving averages of its appendix; Dhariwal et al. 2020, Jukebox, arXiv 2005.00341, for
    the replaced vectors.

    Attributes:
        dimension: Number of values in a vector; `size` is a multiple of it.
        vectors: Number of vectors in the codebook.
        decay: Share of the moving averages that each step keeps.
        revive_below: Use, in groups per step, below which a vector is replaced.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "commitment", "index"})

    fixed_layers: ClassVar[frozenset[str]] = frozenset({"codebook"})

    of_batches: ClassVar[bool] = True

    type: Literal["vector_quantized"]
    dimension: Width = 8
    vectors: int = Field(default=256, ge=2, le=65_536)
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    revive_below: float = Field(default=0.01, ge=0.0, le=1e6)

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        if self.size % self.dimension:
            raise ValueError(f"size: {self.size} is no multiple of dimension, {self.dimension}")
        return self

    @property
    def kinds(self) -> int:
        """Number of possible codes of a group, one for each vector."""
        return self.vectors

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size)}`, the values before quantisation."""
        return {"mean": projected(features, self.size, "latent", seeds)}

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the codebook `(vectors, dimension)` and its moving averages."""
        import keras

        layer.codebook = keras.layers.Embedding(
            self.vectors,
            self.dimension,
            embeddings_initializer=seeds.glorot_uniform(),
            trainable=False,
            name="codebook",
            dtype="float32",
        )
        layer.codebook.build()
        layer.named = keras.layers.Identity(name="code", dtype="float32")
        options = {"initializer": "ones", "trainable": False}
        layer.use = layer.add_weight(shape=(self.vectors,), name="use", **options)
        total = (self.vectors, self.dimension)
        layer.total = layer.add_weight(shape=total, name="total", **options)
        layer.total.assign(keras.ops.copy(layer.codebook.embeddings.value))

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the nearest vectors, `(n, size)`."""
        from keras import ops

        groups = self._groups(parameters["mean"])
        chosen = layer.codebook(self._nearest(groups, layer))
        straight = groups + ops.stop_gradient(chosen - groups)
        return layer.named(ops.reshape(straight, (-1, self.size)))

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return the code; in training also update the codebook.

        `commitment` is the squared distance of an image's groups from their vectors, `(n,)`;
        `index` holds the numbers of the vectors, `(n, size / dimension)`.
        """
        from keras import ops

        groups = self._groups(parameters["mean"])
        index = self._nearest(groups, layer)
        chosen = ops.stop_gradient(layer.codebook(index))
        commitment = ops.sum(ops.square(groups - chosen), axis=(1, 2))
        if training:
            self._move(layer, ops.stop_gradient(groups), index)
        straight = groups + ops.stop_gradient(chosen - groups)
        code = ops.repeat(ops.reshape(straight, (-1, 1, self.size)), samples, axis=1)
        nothing = ops.zeros_like(code[..., 0])
        extra = {**parameters, "commitment": commitment, "index": index}
        return Draw(code, nothing, nothing[:, 0], extra)

    def nearest(self, codes: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the nearest vectors of the codebook, `(n, size)`."""
        return self.code({"mean": codes}, layer)

    def code_of(self, index: np.ndarray, layer: "LatentLayer") -> np.ndarray:
        """Return the codebook vectors for indices `(n, groups)`."""
        from keras import ops

        vectors = ops.convert_to_numpy(layer.codebook.embeddings)
        return np.reshape(vectors[index], (len(index), -1))

    def _groups(self, mean: Tensor) -> Tensor:
        from keras import ops

        return ops.reshape(mean, (-1, self.size // self.dimension, self.dimension))

    def _nearest(self, groups: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the number of the vector nearest to each group: `(n, groups)`."""
        from keras import ops

        # Read through its layer, so that the encoder's graph contains the codebook.
        numbers = ops.cast(ops.zeros_like(groups[:1, :1, 0]), "int32")
        vectors = layer.codebook(numbers + np.arange(self.vectors, dtype="int32"))
        squares = ops.sum(ops.square(vectors), axis=-1)
        products = ops.matmul(groups, ops.transpose(vectors, (0, 2, 1)))
        return ops.argmin(squares - 2.0 * products, axis=-1)

    def _move(self, layer: "LatentLayer", groups: Tensor, index: Tensor) -> None:
        from keras import ops

        flat = ops.reshape(groups, (-1, self.dimension))
        chosen = ops.one_hot(ops.reshape(index, (-1,)), self.vectors, dtype="float32")
        use = self.decay * layer.use + (1.0 - self.decay) * ops.sum(chosen, axis=0)
        sums = ops.matmul(ops.transpose(chosen), flat)
        total = self.decay * layer.total + (1.0 - self.decay) * sums
        count = ops.shape(flat)[0]
        shuffled = ops.argsort(layer.noise((count,)))
        some = ops.take(flat, ops.take(shuffled, ops.arange(self.vectors) % count), axis=0)
        dead = ops.cast(use < self.revive_below, "float32")
        use = dead + (1.0 - dead) * use
        total = dead[:, None] * some + (1.0 - dead[:, None]) * total
        layer.use.assign(use)
        layer.total.assign(total)
        layer.codebook.embeddings.assign(total / (use + EPSILON)[:, None])
