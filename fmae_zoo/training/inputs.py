"""What `fit` and `evaluate` are given, checked batch by batch wherever it comes from."""

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
"""Raises an error for inputs and targets, NumPy's, that a model does not take."""


@contextmanager
def checked(check: Check, x: Any, y: Any = None) -> Iterator[Any]:
    """Check arrays and tensors at once, and give what checks the batches of anything else.

    The error of a check leaves the block as it is, also where a framework that reads the data
    turned it into one of its own.

    Args:
        check: called with the inputs and the targets, or None, of all or of each batch.
        x: arrays, tensors, a `tf.data.Dataset`, a `DataLoader` of torch, a `PyDataset`, a
            generator, or what else Keras takes, which is not looked into.
        y: the targets, where x is no source of batches.

    Yields:
        What to train on in the place of x.
    """
    failed: list[BaseException] = []
    # Emptied at the end: TensorFlow keeps functions that it calls until the process ends.
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
        check(x[0])  # The others are made in processes that the check cannot go to.
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
    """Whether a value is of a class of a framework, which is not imported for that."""
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
    """Return a copy whose batches are checked where they arrive: not in its workers."""

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
    """The batches of another `PyDataset`, each checked."""

    def __init__(self, dataset: Any, check: Callable[[Any], None]) -> None:
        names = ("workers", "use_multiprocessing", "max_queue_size")
        super().__init__(**{name: getattr(dataset, name) for name in names})
        self._dataset, self._check = dataset, check

    @property
    def num_batches(self) -> int | None:
        """Number of batches, None where they do not end."""
        return self._dataset.num_batches

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return _passed(self._dataset[index], self._check)

    def on_epoch_begin(self) -> None:
        """Tell the data set."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the data set."""
        self._dataset.on_epoch_end()
