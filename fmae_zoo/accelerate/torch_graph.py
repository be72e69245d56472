"""PyTorch: the training step of a dense network as one list of torch's operations.

Keras and autograd take longer to find out what such a step has to do than torch takes to do it.
Here a step is watched once, by the tracer behind `torch.compile`'s autograd, and what it did to
tensors, backward pass and metrics included, is done again for each batch, by TorchScript's
interpreter; only the optimizer's update stays a call. No compiler is needed.
"""

import itertools
import logging
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from keras import tree

from fmae_zoo.accelerate.calls import is_steady, replaced
from fmae_zoo.accelerate.torch_adam import apply_of, is_plain_adam
from fmae_zoo.latents.sampling import GaussianSampling

PLAIN_STEPS = 8
"""Taken before one is watched, which takes as long as a hundred steps become shorter by."""

INTERPRETED_AT_MOST = 100
"""Graphs of a process that TorchScript takes, which never frees the 2 MiB that it needs for each.

Those after them are called from Python: their models then train a tenth slower.
"""

_log = logging.getLogger(__name__)

_one_at_a_time = threading.Lock()
"""The tracer changes what all threads share."""

_counter = itertools.count()


class Graph:
    """The step of a model for batches of one kind, as long as the model stays as it is.

    Args:
        model: compiled.
        structure: of the batches, with any leaves.
    """

    def __init__(self, model: Any, structure: Any) -> None:
        self._model, self._structure = model, structure
        self._state, self._settings = _state(model), _settings(model)
        self._noise: Noise | None = None
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

    @property
    def is_made(self) -> bool:
        """Whether steps are taken from the graph, and not by Keras."""
        return self._operations is not None

    def __call__(self, tensors: list[Any]) -> dict[str, Any]:
        """Take a step: the first ones as Keras does, and all others from the graph."""
        if not self.is_made and self._plain_steps == 0:
            self._watch(tensors)
        if not self.is_made:
            self._plain_steps -= 1
            with self._noise_by(self._noted):
                return dict(self._model.train_step(self._batch_of(tensors)))
        drawn = [] if self._noise is None else [self._noise()]
        with torch.no_grad():
            found = self._operations(*tensors, *drawn)
            self._apply(found[len(self._names) :])
        return dict(zip(self._names, found))

    def _batch_of(self, tensors: Sequence[Any]) -> Any:
        return tree.pack_sequence_as(self._structure, list(tensors))

    def _noise_by(self, function: Callable[[Any], Any]) -> AbstractContextManager[None]:
        """Let the layer that samples, if there is one, have its noise from a function."""
        sampling = self._model.sampling
        return replaced([] if sampling is None else [(sampling, "noise", function)])

    def _noted(self, shape: Any) -> Any:
        sampling = self._model.sampling
        drawn = GaussianSampling.noise(sampling, shape)
        self._noise = Noise(sampling.seed_generator, drawn)
        return drawn

    def _watch(self, tensors: list[Any]) -> None:
        """Make the graph of a step that is taken back; none where this torch cannot."""
        asked: list[Any] = []

        def step(*inputs: Any) -> tuple[Any, ...]:
            """Return the logs and the gradients; the noise is the last input."""
            no_update = [(self._model.optimizer, "apply", lambda *args: asked.extend(args))]
            with self._noise_by(lambda shape: inputs[-1]), replaced(no_update):
                logs = self._model.train_step(self._batch_of(inputs[: len(tensors)]))
            self._names = list(logs)
            return (*logs.values(), *asked[0])

        before = [value.detach().clone() for value, _ in self._state]
        inputs = tensors if self._noise is None else [*tensors, torch.zeros_like(self._noise.like)]
        try:
            # An interface that torch does not promise to keep.
            from torch.fx.experimental.proxy_tensor import make_fx

            with _one_at_a_time:
                operations = _interpreted(_simplified(make_fx(step)(*inputs)), inputs)
            self._apply = apply_of(self._model.optimizer, *asked)
            self._operations = operations
        except Exception as error:
            self._plain_steps = float("inf")
            _log.info("Steps are taken one by one: torch cannot trace one: %s", error)
        finally:
            self._model.zero_grad()
            with torch.no_grad():
                for (value, _), old in zip(self._state, before):
                    value.copy_(old)


class Noise:
    """The draws of `keras.random.normal`, without the time that Keras takes around each.

    Args:
        seed_generator: of Keras, that is moved on as by Keras.
        like: a draw of Keras', whose shape, dtype and device the others have.
    """

    def __init__(self, seed_generator: Any, like: Any) -> None:
        self.like = like
        self._state = seed_generator.state
        self._generator = torch.Generator(like.device)

    def __call__(self) -> Any:
        """Return the next draw."""
        state = self._state._value
        seed, count = state.tolist()
        state[1] += 1
        self._generator.manual_seed((seed + count) & 0xFFFFFFFF)
        like, generator = self.like, self._generator
        kind = {"dtype": like.dtype, "device": like.device}
        return torch.normal(0.0, 1.0, like.shape, generator=generator, **kind)


def can_be_traced(model: Any) -> bool:
    """Whether a training step does the same to every batch of a shape, and is worth a graph."""
    # A metric may be anything in Python, which a graph would not repeat.
    return is_steady(model) and model._compile_metrics is None


def _state(model: Any) -> list[tuple[Any, bool]]:
    """Return the tensors that a step works on, the optimizer's too, and whether each is trained."""
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return [(variable._value, variable.trainable) for variable in variables]


def _settings(model: Any) -> list[Any]:
    """Return what else a graph takes from a model, as far as people change it."""
    # Not the layers' configs: to make them, Keras imports TensorFlow where there is one.
    names = ("compute_dtype", "activation", "momentum", "epsilon", "negative_slope", "max_value")
    found = [getattr(each, name, None) for each in model._flatten_layers() for name in names]
    return [model.optimizer.loss_scale_factor, is_plain_adam(model.optimizer), *found]


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


def _interpreted(module: Any, inputs: list[Any]) -> Any:
    """Return a graph's module for TorchScript's interpreter: Python takes longer for each call.

    Its optimizer is off: it computes `addmm` in two operations, which rounds otherwise than a step
    of Keras does, and a run that is resumed begins with those.
    """
    if next(_counter) >= INTERPRETED_AT_MOST:
        return module
    with warnings.catch_warnings(), torch.no_grad():
        # TorchScript is no longer developed.
        warnings.simplefilter("ignore")
        try:
            traced = torch.jit.trace(module, inputs, check_trace=False)
        except Exception:
            return module

    def interpreted(*tensors: Any) -> Any:
        with torch.jit.optimized_execution(False):
            return traced(*tensors)

    return interpreted
