"""The optimizer and the learning-rate schedule of a recipe."""

from typing import Any

import keras
from keras import ops

from fmae_zoo.recipe import Recipe


class ConvMuon(keras.optimizers.Muon):
    """Muon that orthogonalises the updates of convolution kernels too, as Jordan 2024 does.

    Keras' own gives them Adam's. A kernel `(height, width, inputs, outputs)` is a matrix of
    `height * width * inputs` rows; one with a single input or output channel keeps Adam's.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) == 4:
            return min(variable.shape[2:]) == 1
        return super()._should_use_adamw(variable)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """Return the update's orthogonal part, of the update's shape."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x: Any) -> Any:
        """Return the update scaled by its size as a matrix, as Liu et al. 2025 do."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().lr_adjust(matrix), x.shape)


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> Any:
    """Return the recipe's optimizer with its schedule laid out over all epochs."""
    total = recipe.epochs * steps_per_epoch
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
    options: dict[str, Any] = {"learning_rate": rate, "global_clipnorm": recipe.clip_norm}
    if recipe.momentum:
        options["momentum"] = recipe.momentum
    # The defaults of AdamW and Muon are not zero; the others take none, or a number.
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
