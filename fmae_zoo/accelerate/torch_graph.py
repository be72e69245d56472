"""PyTorch: the training step of a dense network as one list of torch's operations.

Keras and autograd take longer to find out what such a step has to do than torch takes to do it.
Here a step is watched once, by the tracer behind `torch.compile`'s autograd, and what it did to
tensors, backward pass and metrics included, is done again for each batch; only the optimizer's
update stays a call. No compiler is needed.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from fmae_zoo.accelerate.calls import is_steady, replaced
from fmae_zoo.latents.sampling import GaussianSampling

PLAIN_STEPS = 8
"""Taken before one is watched, which takes as long as a hundred steps become shorter by."""

_one_at_a_time = threading.Lock()
"""The tracer changes what all threads share."""


class Graph:
    """The step of a model for batches of one shape, as long as the model stays as it is."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._state, self._settings = _state(model), _settings(model)
        self._shape: Any = None
        self._plain_steps: float = PLAIN_STEPS
        self._operations: Any = None

    @property
    def fits(self) -> bool:
        """Whether the model has the variables and the settings that the graph was made for."""
        now = _state(self._model)
        same = len(now) == len(self._state) and all(
            one is other and trains == trained
            for (one, trains), (other, trained) in zip(now, self._state)
        )
        return same and _settings(self._model) == self._settings

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Take a step: the first ones as Keras does, and all others from the graph."""
        if self._operations is None and self._plain_steps == 0:
            self._watch(batch)
        if self._operations is None:
            self._plain_steps -= 1
            with self._noise_by(self._noted):
                return dict(self._model.train_step(batch))
        noise = None if self._shape is None else self._model.sampling.noise(self._shape)
        with torch.no_grad():
            logs, gradients = self._operations(batch, noise)
            self._model.optimizer.apply(gradients, self._variables)
        return dict(logs)

    def _noise_by(self, function: Callable[[Any], Any]) -> AbstractContextManager[None]:
        """Let the layer that samples, if there is one, have its noise from a function."""
        sampling = self._model.sampling
        return replaced([] if sampling is None else [(sampling, "noise", function)])

    def _noted(self, shape: Any) -> Any:
        self._shape = shape
        return GaussianSampling.noise(self._model.sampling, shape)

    def _watch(self, batch: Any) -> None:
        """Make the graph of a step that is taken back; none where this torch cannot."""

        def step(batch: Any, noise: Any) -> Any:
            asked: list[Any] = []
            no_update = [(self._model.optimizer, "apply", lambda *args: asked.extend(args))]
            with self._noise_by(lambda shape: noise), replaced(no_update):
                logs = self._model.train_step(batch)
            gradients, self._variables = asked
            return logs, list(gradients)

        before = [value.detach().clone() for value, _ in self._state]
        try:
            # An interface that torch does not promise to keep.
            from torch.fx.experimental.proxy_tensor import make_fx

            noise = None if self._shape is None else torch.zeros(self._shape)
            with _one_at_a_time:
                self._operations = _simplified(make_fx(step)(batch, noise))
        except Exception:
            self._plain_steps = float("inf")
        finally:
            self._model.zero_grad()
            with torch.no_grad():
                for (value, _), old in zip(self._state, before):
                    value.copy_(old)


def can_be_traced(model: Any) -> bool:
    """Whether a training step does the same to every batch of a shape, and is worth a graph."""
    # A metric may be anything in Python, which a graph would not repeat.
    return is_steady(model) and model._compile_metrics is None


def _state(model: Any) -> list[tuple[Any, bool]]:
    """Return the tensors that a graph works on, and whether each is trained."""
    variables = [*model.variables, *model.metrics_variables]
    return [(variable._value, variable.trainable) for variable in variables]


def _settings(model: Any) -> list[Any]:
    """Return what else a graph takes from a model, as far as people change it."""
    # Not the layers' configs: to make them, Keras imports TensorFlow where there is one.
    names = ("compute_dtype", "activation", "momentum", "epsilon", "negative_slope", "max_value")
    found = [getattr(each, name, None) for each in model._flatten_layers() for name in names]
    return [model.optimizer.loss_scale_factor, *found]


def _simplified(module: Any) -> Any:
    """Return a graph's module without what has no effect."""
    graph, aten = module.graph, torch.ops.aten
    for node in list(graph.nodes):
        if node.target is aten.detach.default:
            node.replace_all_uses_with(node.args[0])
        elif node.target is aten.t.default and node.args[0].target is aten.t.default:
            node.replace_all_uses_with(node.args[0].args[0])
    graph.eliminate_dead_code(_has_effect)
    module.recompile()
    return module


def _has_effect(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op in ("placeholder", "output") or (schema is not None and schema.is_mutable)
