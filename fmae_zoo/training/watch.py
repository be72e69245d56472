"""Callbacks of a run, which Keras trains epoch by epoch."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

CHECK_EVERY = 50
"""Steps between checks of the loss; each check waits for the device."""


class Watch(keras.callbacks.Callback):
    """Callback that reports progress, and stops the epoch soon after the loss is not finite.

    `check_interrupt` raises a waiting interrupt; `reporter` is the `progress` of `train`, or None.
    """

    async_safe = True

    def __init__(
        self,
        model: Any,
        check_interrupt: Callable[[], None],
        reporter: Any,
        epoch: int,
        epochs: int,
    ) -> None:
        super().__init__()
        self.check_interrupt = check_interrupt
        self.trained, self.reporter = model, reporter
        self.epoch, self.epochs = epoch, epochs
        self.next_check = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Raise an interrupt if one has arrived."""
        # Not in `on_train_batch_end`, which Keras may call in another thread.
        self.check_interrupt()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check and report the loss every `CHECK_EVERY` steps."""
        if batch < self.next_check:
            return
        self.next_check = batch + CHECK_EVERY
        loss = float(keras.ops.convert_to_numpy((logs or {}).get("loss", 0.0)))
        if not math.isfinite(loss):
            self.trained.stop_training = True
        if self.reporter is not None:
            self.reporter(self.epoch, self.epochs, batch, self.params["steps"], loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Report the loss of the epoch."""
        if self.reporter is not None:
            steps = self.params["steps"]
            self.reporter(self.epoch, self.epochs, steps, steps, float((logs or {})["loss"]))


class Relay(keras.callbacks.Callback):
    """Callback that tells a user's callbacks about the batches of every epoch of a run.

    Keras' `fit` is called once for each epoch, so the run itself tells them when the training and
    its epochs begin and end.
    """

    async_safe = True

    def __init__(self, listeners: keras.callbacks.CallbackList) -> None:
        super().__init__()
        for event in ("train_batch", "test_batch", "test"):
            for moment in ("begin", "end"):
                name = f"on_{event}_{moment}"
                setattr(self, name, getattr(listeners, name))


def listeners_of(
    callbacks: Sequence[keras.callbacks.Callback], model: Any, epochs: int, steps: int
) -> keras.callbacks.CallbackList:
    """Return a user's callbacks as Keras calls them, for a model that is trained by a run."""
    return keras.callbacks.CallbackList(
        callbacks, model=model, epochs=epochs, steps=steps, verbose=0
    )


@contextmanager
def listening(listeners: keras.callbacks.CallbackList) -> Iterator[None]:
    """Tell a user's callbacks when a training begins and ends, also if it ends by an error."""
    listeners.on_train_begin()
    try:
        yield
    finally:
        listeners.on_train_end()
