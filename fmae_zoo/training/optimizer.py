"""Optimizer and learning-rate schedule of a recipe."""

from typing import Any, Self

import keras
from keras import ops

from fmae_zoo.internals import ConvMuon
from fmae_zoo.recipe import Recipe
from fmae_zoo.types import LearningRate, Optimizer, Tensor


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Restarted(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule `first` for a number of steps, then `second` from its beginning."""

    def __init__(self, first: Any, steps: int, second: Any) -> None:
        self.first, self.steps, self.second = first, steps, second

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate at a step."""
        later = ops.maximum(step - self.steps, 0)
        return ops.where(step < self.steps, self.first(step), self.second(later))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        serialize = keras.optimizers.schedules.serialize
        return {
            "first": serialize(self.first),
            "steps": self.steps,
            "second": serialize(self.second),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the schedule from the dictionary of `get_config`."""
        first, second = (
            keras.optimizers.schedules.deserialize(config[name]) for name in ("first", "second")
        )
        return cls(first, config["steps"], second)


def make_schedule(recipe: Recipe, steps_per_epoch: int) -> LearningRate:
    """Return the recipe's learning rate, a number or a schedule over all epochs."""
    restart = recipe.restart
    if restart is not None and restart.epoch >= recipe.epochs:
        restart = None
    total = (restart.epoch if restart else recipe.epochs) * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total - 1)
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine" or warmup:
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else rate,
            decay_steps=total - warmup,
            alpha=0.0 if recipe.schedule == "cosine" else 1.0,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if restart:
        rest = recipe.epochs * steps_per_epoch - total
        again = keras.optimizers.schedules.CosineDecay(restart.learning_rate, rest)
        rate = Restarted(rate, total, again)
    return rate


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> Optimizer:
    """Return the recipe's optimizer with its schedule over all epochs.

    For `none` it is SGD with a learning rate of 0, so an epoch only measures the loss.
    """
    if recipe.optimizer == "none":
        return keras.optimizers.SGD(0.0)
    rate = make_schedule(recipe, steps_per_epoch)
    options: dict[str, Any] = {"learning_rate": rate, "global_clipnorm": recipe.clip_norm}
    if recipe.momentum:
        options["momentum"] = recipe.momentum
    # The default weight decay of AdamW and Muon is not zero, so it is always set.
    if recipe.weight_decay or recipe.optimizer in ("adamw", "muon"):
        options["weight_decay"] = recipe.weight_decay
    if recipe.optimizer == "muon":
        options["adam_weight_decay"] = recipe.weight_decay
    return {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
        "muon": ConvMuon,
    }[recipe.optimizer](**options)
