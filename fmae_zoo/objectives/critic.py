"""Critics: networks that learn to distinguish two kinds of codes."""

from typing import TYPE_CHECKING

from fmae_zoo.types import Initializer, Layer, Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


def dense_critic(
    size: int, units: tuple[int, ...], seeds: "Seeds", activation: str = "relu"
) -> Tensor:
    """Return a Keras model of dense layers, from codes `(n, size)` to logits `(n, 1)`.

    Args:
        size: Number of values in a code.
        units: Widths of the hidden layers.
        seeds: Seeds of the weights.
        activation: Activation of the hidden layers.
    """
    import keras

    from fmae_zoo.layers import family

    def dense(width: int, name: str, activation: str, initial: Initializer) -> Layer:
        return family().Dense(
            width, activation, kernel_initializer=initial, name=name, dtype="float32"
        )

    hidden = [
        dense(width, f"hidden{number}", activation, seeds.he_normal())
        for number, width in enumerate(units, 1)
    ]
    logits = dense(1, "logits", "linear", seeds.glorot_uniform())
    code = keras.Input((size,), name="code")
    return keras.Sequential([code, *hidden, logits], name="critic")
