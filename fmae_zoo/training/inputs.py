"""Checks of the data given to `fit` and `evaluate`, batch by batch for every kind of source."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import keras
from keras import tree

from fmae_zoo.errors import ArgumentError
from fmae_zoo.images import to_numpy
from fmae_zoo.types import Batches

Check: TypeAlias = Callable[[Any, Any], None]
"""Function that raises an error for NumPy inputs and targets that a model cannot take."""


@contextmanager
def checked(check: Check, x: Any, y: Any = None) -> Iterator[Any]:
    """Check arrays and tensors at once; yield a source that checks the batches of anything else.

    The original error of a check leaves the block, even if the framework that reads the data wraps
    it in an error of its own.

    Args:
        check: Function called with the inputs and the targets (or None), once for arrays and
            tensors, else for each batch.
        x: Arrays, tensors, a `tf.data.Dataset`, a `DataLoader` of torch, a `PyDataset`, a
            generator, or another source that Keras takes, which is not checked.
        y: Targets, if x is not a source of batches.

    Yields:
        The source to train on instead of x.

    Raises:
        ArgumentError: x is None.
    """
    failed: list[BaseException] = []
    # Emptied at the end, because TensorFlow keeps the functions it calls until the process ends.
    held = [check]

    def check_batch(batch: Any) -> None:
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(batch)
        try:
            held[0](_as_arrays(inputs), _as_arrays(targets))
        except Exception as error:
            failed.append(error)
            raise

    try:
        yield _checked_source(x, y, check_batch)
    except Exception as error:
        if failed and error is not failed[0]:
            raise failed[0] from None
        raise
    finally:
        held.clear()


def _as_arrays(parts: Any) -> Any:
    return None if parts is None else tree.map_structure(to_numpy, parts)


def _checked_source(x: Batches, y: Any, check: Callable[[Any], None]) -> Batches:
    if x is None:
        raise ArgumentError("Expected images, or a source of batches of them; received None")
    if isinstance(x, keras.utils.PyDataset):
        if not x.use_multiprocessing:
            return _CheckedDataset(x, check)
        check(x[0])  # Other processes make the other batches, where the check cannot run.
        return x
    if _is_of(x, "torch.utils.data", "DataLoader"):
        return _checked_loader(x, check)
    if _is_of(x, "tensorflow.data", "Dataset"):
        return _checked_tensorflow(x, check)
    if hasattr(x, "__next__"):
        return (_passed(batch, check) for batch in x)
    if hasattr(x, "shape") or isinstance(x, list | tuple | dict):
        check((x, y))
    return x


def _is_of(value: Any, module: str, name: str) -> bool:
    """Return whether a value is of a framework's class, without importing the framework."""
    import sys

    top, _, inner = module.partition(".")
    found: Any = sys.modules.get(top)
    for part in [*inner.split("."), name]:
        found = getattr(found, part, None)
    return isinstance(found, type) and isinstance(value, found)


def _passed(batch: Any, check: Callable[[Any], None]) -> Any:
    check(batch)
    return batch


def _checked_loader(loader: Batches, check: Callable[[Any], None]) -> Batches:
    """Return a copy of a loader that checks batches in this process, not in its workers."""

    class Checked(type(loader)):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return (_passed(batch, check) for batch in super().__iter__())

    copied = copy.copy(loader)
    copied.__class__ = Checked
    return copied


def _checked_tensorflow(dataset: Batches, check: Callable[[Any], None]) -> Batches:
    import tensorflow as tf

    def mapped(*batch: Any) -> Any:
        def checked_arrays(*arrays: Any) -> None:
            check(tree.pack_sequence_as(batch, list(arrays)))

        done = tf.numpy_function(checked_arrays, tree.flatten(batch), [])
        with tf.control_dependencies([done]):
            same = tree.map_structure(tf.identity, batch)
        return same if len(batch) > 1 else same[0]

    return dataset.map(mapped)


class _CheckedDataset(keras.utils.PyDataset):
    """A `PyDataset` that checks each batch of another one."""

    def __init__(self, dataset: Any, check: Callable[[Any], None]) -> None:
        names = ("workers", "use_multiprocessing", "max_queue_size")
        super().__init__(**{name: getattr(dataset, name) for name in names})
        self._dataset, self._check = dataset, check

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if they never end."""
        return self._dataset.num_batches

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return _passed(self._dataset[index], self._check)

    def on_epoch_begin(self) -> None:
        """Call `on_epoch_begin` of the other data set."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Call `on_epoch_end` of the other data set."""
        self._dataset.on_epoch_end()
