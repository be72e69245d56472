"""The devices of a run: one, or several that each compute a part of every batch.

Several devices compute what one does: the loss, the gradients, the noise, and the statistics of
BatchNorm are those of the whole batch. `docs/DEVICES.md` says how, and what is not supported.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras
import numpy as np
from keras import tree

from fmae_zoo._backend import is_on_cpu
from fmae_zoo.arguments import check_integer
from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.datasets import Dataset
from fmae_zoo.errors import ArgumentError
from fmae_zoo.layers import BatchNormalization
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.checkpoint import Progress

Best = dict[str, np.ndarray]
"""Weights of the best epoch by name."""


class Devices:
    """The devices of a run. This class is for a single one; each backend has a subclass.

    Args:
        count: Number of devices.
        rank: Number of this process among those of the run. Process 0 writes the files.
        processes: Number of processes that run the same training, each on its images.
    """

    def __init__(self, count: int = 1, rank: int = 0, processes: int = 1) -> None:
        self.count, self.rank, self.processes = count, rank, processes

    @contextmanager
    def used(self, spec: ModelSpec, seed: int, data: Dataset) -> Iterator[None]:
        """Compute on these devices in the block, in which the model is built and trained."""
        yield

    def model(self, spec: ModelSpec, seed: int, dtype: str) -> Autoencoder:
        """Return a new model for the devices."""
        return Autoencoder(spec, seed=seed, dtype=dtype)

    def begin(self, model: Autoencoder, progress: Progress, best: Best) -> tuple[Progress, Best]:
        """Give all processes the model, progress and best weights of process 0."""
        return progress, best

    def share(self, arrays: Any, batch_size: int) -> Any:
        """Return this process's part of each batch of arrays `(n, ...)`, in a nested structure."""
        if self.processes == 1:
            return arrays
        rows = np.arange(len(tree.flatten(arrays)[0]))
        batches = np.split(rows, range(batch_size, len(rows), batch_size))
        own = np.concatenate([np.split(batch, self.processes)[self.rank] for batch in batches])
        return tree.map_structure(lambda array: array[own], arrays)

    def agree(self, model: Autoencoder) -> None:
        """Before each epoch, give all processes what callbacks have changed in process 0."""

    def mean(self, row: dict[str, float]) -> dict[str, float]:
        """Return the means of figures over the processes."""
        return row


class JaxDevices(Devices):
    """Devices of JAX, in one process or, by `keras.distribution.initialize`, in several.

    A step is one program for the whole batch, which XLA divides.
    """

    @contextmanager
    def used(self, spec: ModelSpec, seed: int, data: Dataset) -> Iterator[None]:
        """Replicate variables and divide batches in the block."""
        devices = keras.distribution.list_devices()[: self.count]
        with keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope():
            yield


class TensorFlowDevices(Devices):
    """Devices of TensorFlow, by `tf.distribute.MirroredStrategy`."""

    @contextmanager
    def used(self, spec: ModelSpec, seed: int, data: Dataset) -> Iterator[None]:
        """Mirror variables and divide batches in the block."""
        import tensorflow as tf

        names = [device.name for device in _tensorflow_devices()[: self.count]]
        # TensorFlow's default mixes up the sums of several BatchNorms, which have other shapes.
        sums = tf.distribute.ReductionToOneDevice()
        with tf.distribute.MirroredStrategy(names, cross_device_ops=sums).scope():
            yield

    def model(self, spec: ModelSpec, seed: int, dtype: str) -> Autoencoder:
        """Return a new model whose replicas share statistics and noise."""
        import tensorflow as tf

        def replica() -> tuple[Any, int]:
            context = tf.distribute.get_replica_context()
            # Outside a step there is none, for example while Keras builds the model.
            return (context.replica_id_in_sync_group, self.count) if context else (0, 1)

        model = super().model(spec, seed, dtype)
        synchronise(model, replica)
        return model


def synchronise(model: Autoencoder, replica: Any) -> None:
    """Let replicas of a model share the statistics of BatchNorm and the noise of a batch.

    Args:
        model: Model that is one of the replicas, or stands for them all.
        replica: Function that returns the number of the replica, and of all.
    """
    model.latent.replica = replica
    for part in (model.posterior, model.decoder, model.critic):
        for layer in getattr(part, "layers", ()):
            if isinstance(layer, BatchNormalization):
                layer.synchronized = True


def devices_of(count: int, spec: ModelSpec, data: Dataset, resume: bool = False) -> Devices:
    """Return this many devices of the backend, on which a model can be trained as on one.

    Without a GPU the devices are parts of the CPU. TensorFlow and JAX can divide it only if they
    have not computed anything before; on PyTorch there are as many as the CPU has cores.

    Args:
        count: Number of devices, over all processes.
        spec: Spec of the model.
        data: Data set to train and validate on.
        resume: Whether a run is to be resumed.

    Raises:
        ArgumentError: There are fewer devices; they do not divide a batch into equal parts; a part
            of the spec computes something from a whole batch, which the backend cannot divide; or
            JAX's processes are to resume a run.
    """
    check_integer("devices", count, 1)
    count = int(count)
    if count == 1:
        return Devices()
    _check_parts(count, spec, data)
    backend = keras.backend.backend()
    present = {"jax": _jax_count, "tensorflow": _tensorflow_count, "torch": _torch_count}
    there = present[backend](count)
    if there < count:
        hint = {
            "torch": ": one for each core of the CPU",
            "tensorflow": "; TensorFlow divides a CPU only before it first computes in a process",
            "jax": "; JAX divides a CPU only before it first computes in a process",
        }
        raise ArgumentError(
            f"devices is {count}; {backend} has {there} here{hint[backend] if is_on_cpu() else ''}"
        )
    if backend == "tensorflow":
        return TensorFlowDevices(count)
    if backend == "torch":
        from fmae_zoo.training.replicas import Replicas

        return Replicas(count, 0, count)
    import jax

    if (processes := jax.process_count()) == 1:
        return JaxDevices(count)
    if count != jax.device_count():
        raise ArgumentError(
            f"devices is {count}; expected {jax.device_count()}, all devices of the {processes} "
            "processes of jax.distributed"
        )
    if resume:
        raise ArgumentError(
            "A run of several JAX processes cannot be resumed; expected one process"
        )
    return JaxDevices(count, jax.process_index(), processes)


def _check_parts(count: int, spec: ModelSpec, data: Dataset) -> None:
    """Check that devices can each compute an equal part of every batch."""
    fit, validation = data.split
    sizes = {
        "the batch size": spec.recipe.batch_size,
        "the number of training images": len(fit),
        "the number of validation images": len(validation),
    }
    uneven = [f"{name} ({size})" for name, size in sizes.items() if size % count]
    if uneven:
        raise ArgumentError(f"devices is {count}; expected a divisor of {' and of '.join(uneven)}")
    if spec.objective.solves is not None:
        raise ArgumentError(f"{spec.objective.type} takes no gradient steps: expected devices=1")
    if spec.recipe.clip_norm is not None and keras.backend.backend() == "tensorflow":
        raise ArgumentError(
            "TensorFlow clips the gradients of each device, not those of the batch: expected one "
            f"device, clip_norm=None, or another backend; clip_norm is {spec.recipe.clip_norm:g}"
        )
    whole = [part.type for part in (spec.objective, spec.latent) if part.of_batches]
    if whole and keras.backend.backend() != "jax":
        raise ArgumentError(
            f"{whole[0]} is computed from a whole batch, which {keras.backend.backend()} divides "
            f"among the {count} devices: expected one device, or the backend jax"
        )


def _jax_count(count: int) -> int:
    import jax

    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ and not jax.distributed.is_initialized():
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise ArgumentError(f"The variables KERAS_DISTRIBUTION_...: {error}") from error
    elif jax.config.jax_num_cpu_devices < count:
        # It raises if JAX has computed already; then there are as many devices as there are.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)
    return int(keras.distribution.get_device_count())


def _tensorflow_count(count: int) -> int:
    import tensorflow as tf

    [cpu] = tf.config.list_physical_devices("CPU")
    if not tf.config.list_physical_devices("GPU"):
        # It raises if TensorFlow has computed already, as above.
        with suppress(RuntimeError):
            parts = [tf.config.LogicalDeviceConfiguration()] * count
            tf.config.set_logical_device_configuration(cpu, parts)
    return len(_tensorflow_devices())


def _tensorflow_devices() -> list[Any]:
    import tensorflow as tf

    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def _torch_count(count: int) -> int:
    import torch

    return torch.cuda.device_count() or os.cpu_count() or 1
