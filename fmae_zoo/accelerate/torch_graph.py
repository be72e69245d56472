"""PyTorch: the training step of a dense network as one list of torch's operations.

Keras and autograd take longer to find out what such a step has to do than torch takes to do it.
Here a step is watched once, by the tracer of `torch.compile`, and what it did to tensors, backward
pass and metrics included, is done again for each batch. No compiler is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fmae_zoo.accelerate.calls import draws, is_convolutional, is_on_cpu
from fmae_zoo.latents.sampling import GaussianSampling

PLAIN_STEPS = 8
"""Taken before one is watched, which takes as long as a hundred steps become shorter by."""


class Graph:
    """The step of a model for batches of one shape, as long as its variables are the same."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._samplers = [
            each for each in model._flatten_layers() if type(each) is GaussianSampling
        ]
        self._held = _held(model)
        self._shapes: list[Any] = []
        self._plain_steps: float = PLAIN_STEPS
        self._operations: Any = None

    @property
    def fits(self) -> bool:
        """Whether the model's variables still are those that the graph works on."""
        now = _held(self._model)
        return len(now) == len(self._held) and all(
            one is other and trains == trained
            for (one, trains), (other, trained) in zip(now, self._held)
        )

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Take a step; the first as Keras does, the next one watched, all others from the graph."""
        if self._operations is None and self._plain_steps == 0:
            self._watch(batch)
        if self._operations is None:
            self._plain_steps -= 1
            with self._noise_noted() as self._shapes:
                return dict(self._model.train_step(batch))
        noises = [layer.noise(shape) for layer, shape in zip(self._samplers, self._shapes)]
        with torch.no_grad():
            logs, gradients = self._operations(batch, noises)
            self._model.optimizer.apply(gradients, self._variables)
        return dict(logs)

    def _watch(self, batch: Any) -> None:
        """Make the graph of a step that is taken back; none where this torch cannot."""

        def step(batch: Any, noises: list[Any]) -> Any:
            with self._noise_given(noises), _update_left_out(self._model.optimizer) as asked:
                logs = self._model.train_step(batch)
            gradients, self._variables = asked[0]
            return logs, gradients

        before = [value.detach().clone() for value, _ in self._held]
        try:
            # An interface that torch does not promise to keep.
            from torch.fx.experimental.proxy_tensor import make_fx

            noises = [torch.zeros(shape) for shape in self._shapes]
            self._operations = _simplified(make_fx(step)(batch, noises))
        except Exception:
            self._plain_steps = float("inf")
        finally:
            self._model.zero_grad()
            with torch.no_grad():
                for (value, _), old in zip(self._held, before):
                    value.copy_(old)

    @contextmanager
    def _noise_noted(self) -> Iterator[list[Any]]:
        """Note the shape of each sampler's noise."""
        shapes: list[Any] = []

        def noted(layer: Any) -> Any:
            def noise(shape: Any) -> Any:
                shapes.append(shape)
                return type(layer).noise(layer, shape)

            return noise

        with _replaced([(layer, "noise", noted(layer)) for layer in self._samplers]):
            yield shapes

    @contextmanager
    def _noise_given(self, noises: list[Any]) -> Iterator[None]:
        """Let the samplers take what was drawn for them."""
        given = [
            (layer, "noise", lambda shape, noise=noise: noise)
            for layer, noise in zip(self._samplers, noises)
        ]
        with _replaced(given):
            yield


def can_be_traced(model: Any) -> bool:
    """Whether a training step does the same to every batch of a shape, and is worth a graph."""
    others = [each for each in model._flatten_layers() if type(each) is not GaussianSampling]
    # A subclass may do anything in Python, which a graph would not repeat.
    known = "is_traceable" in type(model).__dict__
    return known and is_on_cpu() and not is_convolutional(model) and not any(map(draws, others))


def _held(model: Any) -> list[tuple[Any, bool]]:
    variables = [*model.variables, *model.metrics_variables]
    return [(variable._value, variable.trainable) for variable in variables]


@contextmanager
def _update_left_out(optimizer: Any) -> Iterator[list[Any]]:
    """Give the gradients and the variables that an optimizer is asked to update."""
    asked: list[Any] = []

    def apply(gradients: Any, variables: Any) -> None:
        asked.append((list(gradients), list(variables)))

    with _replaced([(optimizer, "apply", apply)]):
        yield asked


@contextmanager
def _replaced(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    for owner, name, function in changes:
        owner.__dict__[name] = function
    try:
        yield
    finally:
        for owner, name, _ in changes:
            owner.__dict__.pop(name, None)


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
