"""Floating-point operations of an entry's convolution and dense layers, computed from its spec.

BatchNorm, activations, pooling and the optimizer are not counted. Padding at the edges of a map
counts like the middle. A multiply-add is two operations.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

from benchmarks.shape import IMAGE_SIZE, SIDE
from fmae_zoo.networks.conv import ConvNetwork
from fmae_zoo.networks.dense import DenseNetwork
from fmae_zoo.spec import ModelSpec

KERNEL_PIXELS = 9


def flops_per_image(spec: ModelSpec, task: str) -> int:
    """Return the number of operations of a task for one image.

    Args:
        spec: Spec of the entry.
        task: `encode`, `reconstruct`, or `train`. Training counts the forward pass and twice as
            much for the backward pass, without the gradient of the image, which is not needed.
    """
    encoder, decoder = list(_encoder(spec)), list(_decoder(spec))
    features = spec.network.features_size(spec.shape)
    mean = spec.latent.size * features if spec.latent.type != "spatial" else 0
    if task == "encode":
        return 2 * (sum(encoder) + mean)
    if task == "reconstruct":
        return 2 * (sum(encoder) + mean + sum(decoder))
    latent = 2 * mean if spec.latent.type == "gaussian" else mean
    return 2 * (3 * (sum(encoder) + latent + sum(decoder)) - encoder[0])


def _encoder(spec: ModelSpec) -> Iterator[int]:
    """Yield the multiply-adds of each layer between image and features."""
    network = spec.network
    if isinstance(network, DenseNetwork):
        yield from _dense(IMAGE_SIZE, *network.units)
        return
    side, width = SIDE, 1
    for stage in network.encoder:
        yield from _convolutions(side * side, width, *stage.filters)
        side, width = side >> (stage.pool != "none"), stage.filters[-1]


def _decoder(spec: ModelSpec) -> Iterator[int]:
    """Yield the multiply-adds of each layer between code and logits."""
    network, size = spec.network, spec.latent.size
    if isinstance(network, DenseNetwork):
        yield from _dense(size, *reversed(network.units), IMAGE_SIZE)
    else:
        yield from _conv_decoder(network, size)


def _conv_decoder(network: ConvNetwork, size: int) -> Iterator[int]:
    base = math.prod(network.base)
    if size != base:
        yield size * base
    pixels, width = network.base[0] * network.base[1], network.base[2]
    for stage in network.decoder:
        pixels *= 4 if stage.upsample else 1
        yield from _convolutions(pixels, width, *stage.filters)
        width = (width, *stage.filters)[-1]
    yield from _convolutions(pixels, width, 1)
    if network.shortcut:
        yield size * IMAGE_SIZE


def _dense(*widths: int) -> Iterator[int]:
    return (one * other for one, other in pairwise(widths))


def _convolutions(pixels: int, *widths: int) -> Iterator[int]:
    return (pixels * KERNEL_PIXELS * one * other for one, other in pairwise(widths))
