"""The networks and their loop written by hand in PyTorch."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.case import Case
from benchmarks.entries import benchmark_spec
from benchmarks.peers.torch_network import Network
from benchmarks.peers.weights import ADAM_EPSILON, LEARNING_RATE, count, initial_weights
from benchmarks.shape import IMAGE_SIZE, SIDE
from fmae_zoo.spec import ModelSpec


def _loss_of(spec: ModelSpec, pixels: Tensor, logits: Tensor) -> Tensor:
    """Return what the objective says of the logits, summed over pixels and images."""
    objective = spec.objective
    if objective.type == "squared_error":
        return F.mse_loss(torch.sigmoid(logits), pixels, reduction="sum")
    if objective.likelihood == "bernoulli":
        return F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
    error = F.mse_loss(torch.sigmoid(logits), pixels, reduction="sum")
    constant = 0.5 * IMAGE_SIZE * math.log(2.0 * math.pi * objective.sigma**2)
    return error / (2.0 * objective.sigma**2) + len(pixels) * constant


class TorchLoop:
    """A plain loop over a resident uint8 tensor, with fused Adam."""

    def __init__(self, case: Case) -> None:
        self._spec = benchmark_spec(case.entry)
        self._batch_size = case.batch_size
        # Else the moments of weights without gradients decay to numbers that take long.
        torch.set_flush_denormal(True)
        self._device = torch.device("cuda" if case.device == "gpu" else "cpu")
        self._mixed = case.precision == "mixed_bfloat16"
        weights = initial_weights(self._spec)
        self.parameters = count(weights)
        network = Network(self._spec)
        network.assign(weights)
        self._network = network.to(self._device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(
            self._network.parameters(), LEARNING_RATE, eps=ADAM_EPSILON, fused=True
        )

    def assign(self, weights: dict[str, np.ndarray]) -> None:
        """Take weights under the zoo's keys."""
        self._network.assign(weights)

    def train(self, images: np.ndarray) -> float:
        """Train one epoch; return its mean loss."""
        self._network.train()
        data = torch.from_numpy(images).to(self._device)
        total = torch.zeros((), device=self._device)
        for raw in data.split(self._batch_size):
            batch = _as_batch(raw)
            with self._autocast():
                loss = self._loss(batch)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            total += loss.detach() * len(raw)
        return total.item() / len(images)

    def _loss(self, batch: Tensor) -> Tensor:
        mean, log_variance = self._network.posterior(batch)
        code, kl = mean, 0.0
        if log_variance is not None:
            code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum()
            kl = self._spec.objective.beta * kl
        pixels = batch.flatten(1)
        return (_loss_of(self._spec, pixels, self._network.decode(code)) + kl) / len(batch)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes."""
        return self._predict(images, self._network.encode)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return the reconstructions."""
        decode, encode = self._network.decode, self._network.encode
        pixels = self._predict(images, lambda batch: torch.sigmoid(decode(encode(batch))))
        return pixels.reshape(-1, SIDE, SIDE, 1)

    def _predict(self, images: np.ndarray, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        self._network.eval()
        data = torch.from_numpy(images).to(self._device)
        with torch.inference_mode(), self._autocast():
            outputs = [function(_as_batch(raw)) for raw in data.split(self._batch_size)]
            return torch.cat(outputs).cpu().numpy()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed)


def _as_batch(raw: Tensor) -> Tensor:
    # A view of a last axis, and not an axis put in, for strides that torch takes for channels-last.
    return raw.float().div_(255.0).unsqueeze(-1).permute(0, 3, 1, 2)
