"""Calls of a model's parts, inside a loss, that leave alone what they must not move."""

from typing import TYPE_CHECKING, Any

from fmae_zoo.objectives.base import Batch
from fmae_zoo.types import Model, Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder


def constants(variables: Any) -> list[Tensor]:
    """Return the values of variables, through which no gradient passes."""
    from keras import ops

    return [ops.stop_gradient(ops.convert_to_tensor(each)) for each in variables]


def call_fixed(part: Model, inputs: Tensor) -> Tensor:
    """Return what a Keras model gives in inference; the gradient reaches the inputs alone."""
    weights = (constants(part.trainable_variables), constants(part.non_trainable_variables))
    outputs, _ = part.stateless_call(*weights, inputs, training=False)
    return outputs


def call_again(part: Model, inputs: Tensor) -> Tensor:
    """Return what a Keras model gives in training, without moving its statistics.

    BatchNorm normalises by the batch that is given; the moving statistics stay as the model's own
    call in the same step left them. The gradient reaches weights and inputs.
    """
    from keras import ops

    weights = [ops.convert_to_tensor(each) for each in part.trainable_variables]
    fixed = constants(part.non_trainable_variables)
    outputs, _ = part.stateless_call(weights, fixed, inputs, training=True)
    return outputs


def decode_again(model: "Autoencoder", codes: Tensor, batch: Batch) -> Tensor:
    """Return the images of codes, by `call_again`, in [0, 1].

    They are float32 `(2 n, height, width, channels)`.

    Args:
        model: whose decoder is called.
        codes: `(2 n, size)`, two for each image of the batch: all first ones, then all second ones.
        batch: of n images, whose labels the decoder is told if it is told any.
    """
    from keras import ops

    read = codes
    if model.spec.classes is not None:
        read = {"code": codes, "label": ops.concatenate([batch["label"], batch["label"]])}
    return ops.sigmoid(ops.cast(call_again(model.decoder, read), "float32"))
