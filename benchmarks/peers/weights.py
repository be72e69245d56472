"""First weights of the handwritten networks, under the keys that the zoo's files have."""

import math

import numpy as np

from benchmarks.shape import IMAGE_SIZE
from fmae_zoo.spec import ModelSpec

MOMENTUM = 0.9
"""Part of BatchNorm's old running statistics that is kept in a step."""

EPSILON = 1e-3
"""What BatchNorm adds to the variance."""

LEARNING_RATE = 1e-3

ADAM_EPSILON = 1e-7
"""Keras' own."""


def is_trainable(key: str) -> bool:
    """Return whether a key is of a weight, and not of a running statistic."""
    return not key.endswith((".moving_mean", ".moving_variance"))


def count(weights: dict[str, np.ndarray]) -> int:
    """Return the number of trainable values."""
    return sum(value.size for key, value in weights.items() if is_trainable(key))


def initial_weights(spec: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights of a network, as its `spec` asks for them.

    Raises:
        ValueError: the network is one that the handwritten loops do not have.
    """
    weights = _Weights(seed)
    if spec.network.type == "dense":
        _add_dense(weights, spec)
    else:
        _add_conv(weights, spec)
    return weights.tensors


class _Weights:
    def __init__(self, seed: int) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self._random = np.random.default_rng(seed)

    def kernel(self, name: str, shape: tuple[int, ...], he: bool = False) -> None:
        """Add a He normal kernel, for a ReLU to follow, or a Glorot uniform one."""
        taps = math.prod(shape[:-2])
        inputs, outputs = taps * shape[-2], taps * shape[-1]
        if he:
            values = self._random.normal(0.0, math.sqrt(2.0 / inputs), shape)
        else:
            limit = math.sqrt(6.0 / (inputs + outputs))
            values = self._random.uniform(-limit, limit, shape)
        self.tensors[f"{name}.kernel"] = values.astype(np.float32)

    def bias(self, name: str, size: int) -> None:
        self.tensors[f"{name}.bias"] = np.zeros(size, np.float32)

    def dense(self, name: str, inputs: int, outputs: int, he: bool = False) -> None:
        self.kernel(name, (inputs, outputs), he)
        self.bias(name, outputs)

    def batch_norm(self, name: str, channels: int) -> None:
        for variable, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0)):
            self.tensors[f"{name}.{variable}"] = np.full(channels, value, np.float32)
        self.tensors[f"{name}.moving_variance"] = np.ones(channels, np.float32)

    def convs(self, name: str, channels: int, filters: tuple[int, ...]) -> int:
        """Add convolutions with BatchNorm; return the channels of the last."""
        for position, width in enumerate(filters, 1):
            self.kernel(f"{name}_conv{position}", (3, 3, channels, width), he=True)
            self.batch_norm(f"{name}_conv{position}_bn", width)
            channels = width
        return channels

    def latent(self, spec: ModelSpec) -> None:
        """Add what lies between features and code."""
        features = spec.network.features_size(spec.shape)
        if spec.latent.type != "spatial":
            self.dense("latent", features, spec.latent.size)
        if spec.latent.type == "gaussian":
            self.dense("latent_log_variance", features, spec.latent.size)


def _add_dense(weights: _Weights, spec: ModelSpec) -> None:
    network = spec.network
    if network.batch_norm:
        raise ValueError(f"{spec.name}: the handwritten dense networks have no BatchNorm")
    size = IMAGE_SIZE
    for number, width in enumerate(network.units, 1):
        weights.dense(f"encoder{number}_dense", size, width, he=True)
        size = width
    weights.latent(spec)
    size = spec.latent.size
    for number, width in enumerate(reversed(network.units), 1):
        weights.dense(f"decoder{number}_dense", size, width, he=True)
        size = width
    weights.dense("logits_dense", size, IMAGE_SIZE)


def _add_conv(weights: _Weights, spec: ModelSpec) -> None:
    network = spec.network
    channels = 1
    for number, stage in enumerate(network.encoder, 1):
        channels = weights.convs(f"stage{number}", channels, stage.filters)
    weights.latent(spec)
    size = math.prod(network.base)
    if spec.latent.size != size:
        weights.kernel("base_dense", (spec.latent.size, size))
        weights.batch_norm("base_bn", network.base[2])
    channels = network.base[2]
    for number, stage in enumerate(network.decoder, 1):
        channels = weights.convs(f"up{number}", channels, stage.filters)
    weights.kernel("logits_conv", (3, 3, channels, 1))
    weights.bias("logits_conv", 1)
    if network.shortcut:
        weights.dense("shortcut_dense", spec.latent.size, IMAGE_SIZE)
