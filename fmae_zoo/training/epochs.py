"""Arrays that `fit` and `evaluate` read batch by batch, made anew for each epoch."""

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from fmae_zoo.layers.plain import is_plain
from fmae_zoo.types import Batches, Model


class Epochs(keras.utils.PyDataset):
    """Batches of arrays that are made anew for each epoch, shuffled or augmented for example.

    Args:
        make: Function from the number of an epoch to the arrays `(x, y, sample_weight)`; the last
            ones may be left out.
        batch_size: Number of images in a step.
        shuffle: Whether each epoch has another order, drawn from NumPy's global generator.
    """

    def __init__(
        self, make: Callable[[int], tuple[Any, ...]], batch_size: int, shuffle: bool = False
    ) -> None:
        super().__init__()
        self.make, self.batch_size, self.shuffle = make, batch_size, shuffle
        self._begin(0)

    def _begin(self, epoch: int) -> None:
        self.epoch, self._arrays = epoch, self.make(epoch)
        self._count = len(tree.flatten(self._arrays[0])[0])
        self._order = np.random.permutation(self._count) if self.shuffle else None

    def __len__(self) -> int:
        return -(-self._count // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        start = index * self.batch_size
        rows: Any = slice(start, start + self.batch_size)
        if self._order is not None:
            rows = self._order[rows]
        return tuple(tree.map_structure(lambda array: array[rows], part) for part in self._arrays)

    def on_epoch_end(self) -> None:
        """Make the arrays of the next epoch."""
        self._begin(self.epoch + 1)

    def as_tensorflow(self) -> Any:
        """Return a `tf.data.Dataset` of the same batches that reads with a single thread.

        The caller must keep this object alive while the data set is in use. TensorFlow keeps the
        generator function until the process ends, so the function holds only a weak reference.
        """
        import tensorflow as tf

        def batches() -> Iterator[tuple[Any, ...]]:
            epochs = held()
            assert epochs is not None
            if next(rounds):
                epochs.on_epoch_end()
            yield from (epochs[index] for index in range(len(epochs)))

        held, rounds = weakref.ref(self), itertools.count()
        signature = tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), self._arrays
        )
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 1
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        counted = dataset.apply(tf.data.experimental.assert_cardinality(len(self)))
        return counted.with_options(options)


def readable(model: Any, x: Any, y: Any, options: dict[str, Any], shuffle: Any) -> tuple[Any, Any]:
    """Return x and y in the form that Keras reads fastest.

    On TensorFlow, arrays become `Epochs`, and `batch_size`, `sample_weight` and `shuffle` move from
    the options into them. The threads of Keras' own pipeline take a quarter of the time of a small
    step. All other data stay as they are.
    """
    size = options.get("batch_size")
    size = 32 if size is None else size
    data = (x, y, options.get("sample_weight"))
    # Only from arrays can Keras split off a part or take part of an epoch: leave these to Keras.
    own = options.get("validation_split") or options.get("steps_per_epoch") is not None
    own = own or options.get("steps") is not None or options.get("_use_cached_eval_dataset")
    ours = _is_read_by_tensorflow(model) and isinstance(shuffle, bool) and not own
    if not ours or not _are_arrays(data, size):
        return x, y
    for name in ("batch_size", "sample_weight", "shuffle"):
        options.pop(name, None)
    if options.get("validation_data") is not None:
        options["validation_batch_size"] = options.get("validation_batch_size") or size
    arrays = _trimmed(data)
    return Epochs(lambda epoch: arrays, size, shuffle), None


def for_keras(model: Model, source: Batches) -> Batches:
    """Return the form of a source for Keras' `fit` and `evaluate`; keep the source alive."""
    if isinstance(source, Epochs) and _is_read_by_tensorflow(model):
        return source.as_tensorflow()
    return source


def _is_read_by_tensorflow(model: Any) -> bool:
    if keras.backend.backend() != "tensorflow" or is_plain():
        return False
    import tensorflow as tf

    default = model.distribute_strategy is tf.distribute.get_strategy()
    return default and not tf.distribute.has_strategy()


def _are_arrays(data: tuple[Any, Any, Any], batch_size: Any) -> bool:
    """Return whether x, y and weights are numeric arrays of the same length, which is not 0."""
    if data[1] is None and data[2] is not None:
        return False
    arrays = tree.flatten([each for each in data if each is not None])
    whole = isinstance(batch_size, int | np.integer) and batch_size > 0
    plain = isinstance(data[0], np.ndarray | dict) and all(
        isinstance(array, np.ndarray) and array.ndim and array.dtype.kind in "biuf"
        for array in arrays
    )
    if not (whole and plain):
        return False
    lengths = {len(array) for array in arrays}
    return len(lengths) == 1 and lengths != {0}


def _trimmed(data: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """Return the parts that are not None, with floats converted to Keras' float type."""

    def with_floats(array: np.ndarray) -> np.ndarray:
        floats = np.issubdtype(array.dtype, np.floating)
        return array.astype(keras.config.floatx(), copy=False) if floats else array

    given = [part for part in data if part is not None]
    return tuple(tree.map_structure(with_floats, part) for part in given)
