"""The networks in PyTorch, as its own layers."""

import math
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.weights import EPSILON, MOMENTUM
from benchmarks.shape import IMAGE_SIZE
from fmae_zoo.spec import ModelSpec

_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""The zoo's names of variables to those of torch."""


class Network(nn.Module):
    """An autoencoder; its layers have the zoo's names.

    Images are `(n, 1, 28, 28)` in channels-last memory, so that a map is flattened to a
    vector of height, width and channels without a copy.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        dense = spec.network.type == "dense"
        self.features = _dense_encoder(spec) if dense else _conv_encoder(spec)
        self.decoder = _dense_decoder(spec) if dense else _conv_decoder(spec)
        sizes = spec.network.features_size(spec.shape), spec.latent.size
        self.latent = Float32() if spec.latent.type == "spatial" else Linear32(*sizes)
        gaussian = spec.latent.type == "gaussian"
        self.latent_log_variance = Linear32(*sizes) if gaussian else None
        shortcut = not dense and spec.network.shortcut
        self.shortcut_dense = Linear32(spec.latent.size, IMAGE_SIZE) if shortcut else None

    def encode(self, images: Tensor) -> Tensor:
        """Return latent means."""
        return self.latent(self.features(images))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return latent means, and log-variances where there are any."""
        features = self.features(images)
        if self.latent_log_variance is None:
            return self.latent(features), None
        return self.latent(features), 10.0 * torch.tanh(self.latent_log_variance(features))

    def decode(self, code: Tensor) -> Tensor:
        """Return float32 logits `(n, 784)`."""
        logits = self.decoder(code).flatten(1).float()
        return logits if self.shortcut_dense is None else logits + self.shortcut_dense(code)

    @torch.no_grad()
    def assign(self, weights: dict[str, np.ndarray]) -> None:
        """Take weights under the zoo's keys."""
        layers = {name.rpartition(".")[2]: module for name, module in self.named_modules()}
        for key, value in weights.items():
            layer, _, variable = key.partition(".")
            if variable == "kernel":
                value = np.moveaxis(value, (-1, -2), (0, 1))
            target = getattr(layers[layer], _NAMES[variable])
            target.copy_(torch.from_numpy(np.array(value)))


class Linear32(nn.Linear):
    """A dense layer in float32, whatever is around it."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Float32(nn.Module):
    """A cast."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return x.float()


class ToVector(nn.Module):
    """A map's values in the order height, width, channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return x.permute(0, 2, 3, 1).flatten(1)


class ToMap(nn.Module):
    """A map of such a vector, in channels-last memory."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return x.unflatten(1, self.shape).permute(0, 3, 1, 2)


def _hidden(name: str, inputs: int, widths: tuple[int, ...]) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in enumerate(widths, 1):
        layers[f"{name}{number}_dense"] = nn.Linear(inputs, width)
        layers[f"{name}{number}_relu"] = nn.ReLU(inplace=True)
        inputs = width
    return layers


def _dense_encoder(spec: ModelSpec) -> nn.Module:
    hidden = _hidden("encoder", IMAGE_SIZE, spec.network.units)
    return nn.Sequential(OrderedDict(pixels=nn.Flatten(), **hidden))


def _dense_decoder(spec: ModelSpec) -> nn.Module:
    layers = _hidden("decoder", spec.latent.size, spec.network.units[::-1])
    layers["logits_dense"] = Linear32(spec.network.units[0], IMAGE_SIZE)
    return nn.Sequential(layers)


def _convs(name: str, channels: int, filters: tuple[int, ...]) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for position, width in enumerate(filters, 1):
        conv = f"{name}_conv{position}"
        layers[conv] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers[f"{conv}_bn"] = nn.BatchNorm2d(width, EPSILON, 1.0 - MOMENTUM)
        layers[f"{conv}_relu"] = nn.ReLU(inplace=True)
        channels = width
    return layers


def _conv_encoder(spec: ModelSpec) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 1
    for number, stage in enumerate(spec.network.encoder, 1):
        layers |= _convs(f"stage{number}", channels, stage.filters)
        if stage.pool != "none":
            pool = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}[stage.pool]
            layers[f"stage{number}_pool"] = pool(2)
        channels = stage.filters[-1]
    layers["flat_features"] = ToVector()
    return nn.Sequential(layers)


def _conv_decoder(spec: ModelSpec) -> nn.Module:
    base = spec.network.base
    layers: OrderedDict[str, nn.Module] = OrderedDict(base=ToMap(base))
    if spec.latent.size != math.prod(base):
        projection = nn.Linear(spec.latent.size, math.prod(base), bias=False)
        layers = OrderedDict(base_dense=projection, **layers)
        layers["base_bn"] = nn.BatchNorm2d(base[2], EPSILON, 1.0 - MOMENTUM)
        layers["base_relu"] = nn.ReLU(inplace=True)
    channels = base[2]
    for number, stage in enumerate(spec.network.decoder, 1):
        if stage.upsample:
            layers[f"up{number}"] = nn.Upsample(scale_factor=2)
        layers |= _convs(f"up{number}", channels, stage.filters)
        channels = stage.filters[-1] if stage.filters else channels
    layers["logits_conv"] = nn.Conv2d(channels, 1, 3, padding=1)
    return nn.Sequential(layers)
