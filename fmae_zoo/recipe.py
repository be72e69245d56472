"""Training recipe of a model: everything except the seed and the data."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from fmae_zoo.component import Component
from fmae_zoo.precision import Precision


class PatchMask(Component):
    """Masking of square patches in some input images; the target stays whole.

    Source: Vincent et al., "Extracting and Composing Robust Features with Denoising
    Autoencoders", ICML 2008, with patches as in He et al. 2021, arXiv 2111.06377.

    Attributes:
        patch: Side of a patch in pixels; patches at the right and lower edges may be cut off.
        probability: Probability that a patch of a masked image is hidden.
        images: Share of the images that are masked.
        until: Share of the epochs with masks. In the epochs after it images stay whole, so that a
            code made separable by masks is then trained for exact reconstruction.
    """

    patch: int = Field(default=4, ge=1, le=1024)
    probability: float = Field(gt=0.0, lt=1.0)
    images: float = Field(default=1.0, gt=0.0, le=1.0)
    until: float = Field(default=1.0, gt=0.0, le=1.0)


class Noise(Component):
    """Noise in all input images, drawn again in every epoch; the target stays clean.

    `gaussian` adds normal noise and clips the sum to [0, 1]. `masking` makes pixels black.
    `salt_pepper` makes pixels black or white with equal probability.

    Source: Vincent et al. 2010, "Stacked Denoising Autoencoders: Learning Useful Representations
    in a Deep Network with a Local Denoising Criterion", JMLR 11.

    Attributes:
        type: Type of the noise.
        amount: For `gaussian`, the standard deviation for pixels in [0, 1]; for the others, the
            probability that a pixel is changed, in all of its channels.
    """

    type: Literal["gaussian", "salt_pepper", "masking"]
    amount: float = Field(gt=0.0, le=1.0)


class Restart(Component):
    """Restart of the cosine schedule from another learning rate, down to zero in the last epoch.

    Source: Loshchilov and Hutter 2016, SGDR, arXiv 1608.03983.

    Attributes:
        epoch: Number of finished epochs before the restart; a run of no more epochs has none.
        learning_rate: Learning rate after the restart.
    """

    epoch: PositiveInt = Field(le=100_000)
    learning_rate: PositiveFloat = Field(le=1e38)


class Recipe(Component):
    """Training recipe of a spec.

    Attributes:
        optimizer: Name of the Keras optimizer. `muon` (Jordan 2024; Liu et al. 2025,
            arXiv 2502.16982) orthogonalises the updates of dense and convolution kernels and uses
            Adam for every other variable. `none` takes no gradient steps: the objective itself
            computes the weights, again in each epoch.
        learning_rate: Highest learning rate before a restart, which has its own.
        momentum: Momentum of `rmsprop` and `sgd`.
        schedule: `constant`, or `cosine` down to zero over all epochs.
        restart: Restart of the cosine schedule, or None.
        warmup_epochs: Number of epochs in which the learning rate rises linearly from zero.
        weight_decay: Decoupled weight decay, for every optimizer.
        clip_norm: Largest global norm of the gradients, which are scaled down to it; or None.
        batch_size: Number of images in a step.
        epochs: Number of passes over the training images.
        patience: Number of epochs without a better validation loss before training stops, or
            None.
        precision: Keras dtype policy for training, or `auto` to choose one for this machine;
            evaluation is always in float32.
        augment: Whether each image is mirrored with probability 0.5, again in every epoch.
        binarise: Whether each pixel is drawn from a Bernoulli distribution of its intensity, again
            in every epoch, for a Bernoulli likelihood (Salakhutdinov and Murray 2008).
        mask: Patches hidden in the input, or None.
        noise: Noise in the input, added before the patches are hidden, or None.
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd", "muon", "none"] = "adam"
    learning_rate: PositiveFloat = Field(default=1e-3, le=1e38)
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    schedule: Literal["constant", "cosine"] = "cosine"
    restart: Restart | None = None
    warmup_epochs: float = Field(default=0.0, ge=0.0, le=100_000.0)
    weight_decay: float = Field(default=0.0, ge=0.0, le=1e3)
    clip_norm: PositiveFloat | None = Field(default=None, le=1e9)
    batch_size: PositiveInt = Field(default=128, le=65_536)
    epochs: PositiveInt = Field(default=20, le=100_000)
    patience: PositiveInt | None = None
    precision: Precision = "float32"
    augment: bool = False
    binarise: bool = False
    mask: PatchMask | None = None
    noise: Noise | None = None

    @model_validator(mode="after")
    def _momentum_has_an_optimizer(self) -> Self:
        if self.momentum and self.optimizer not in ("rmsprop", "sgd"):
            raise ValueError(f"momentum: {self.optimizer} has none; expected rmsprop or sgd")
        return self

    @model_validator(mode="after")
    def _restart_is_within_a_cosine(self) -> Self:
        if self.restart and self.schedule != "cosine":
            raise ValueError(
                "restart: only a cosine schedule can begin again: take restart away too"
            )
        return self
