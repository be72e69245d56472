"""Calls of a model's parts inside a loss, without side effects on weights or statistics."""

from typing import TYPE_CHECKING, Any

from fmae_zoo.objectives.base import Batch
from fmae_zoo.types import Model, Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder


def constants(variables: Any) -> list[Tensor]:
    """Return the values of variables as tensors that pass no gradient."""
    from keras import ops

    return [ops.stop_gradient(ops.convert_to_tensor(each)) for each in variables]


def call_fixed(part: Model, inputs: Tensor) -> Tensor:
    """Return the outputs of a Keras model in inference; gradients reach only the inputs."""
    weights = (constants(part.trainable_variables), constants(part.non_trainable_variables))
    outputs, _ = part.stateless_call(*weights, inputs, training=False)
    return outputs


def call_again(part: Model, inputs: Tensor) -> Tensor:
    """Return the outputs of a Keras model in training, without changing its statistics.

    BatchNorm normalises by the given batch; the moving statistics stay as the model's own call in
    the same step left them. Gradients reach the weights and the inputs.
    """
    from keras import ops

    weights = [ops.convert_to_tensor(each) for each in part.trainable_variables]
    fixed = constants(part.non_trainable_variables)
    outputs, _ = part.stateless_call(weights, fixed, inputs, training=True)
    return outputs


def decode_again(model: "Autoencoder", codes: Tensor, batch: Batch) -> Tensor:
    """Return images decoded by `call_again`: float32 in [0, 1], `(2 n, height, width, channels)`.

    Args:
        model: Model whose decoder is called.
        codes: Two codes per image of the batch, `(2 n, size)`: all first codes, then all second.
        batch: Batch of n images; its labels are passed to the decoder if the spec has classes.
    """
    from keras import ops

    read = codes
    if model.spec.classes is not None:
        read = {"code": codes, "label": ops.concatenate([batch["label"], batch["label"]])}
    return ops.sigmoid(ops.cast(call_again(model.decoder, read), "float32"))
