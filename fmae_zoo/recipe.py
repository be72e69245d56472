"""How a model is trained: everything but the seed and the data."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from fmae_zoo.component import Component
from fmae_zoo.precision import Precision


class PatchMask(Component):
    """Blanks square patches of some of the input images; the target stays whole.

    Source: Vincent et al., "Extracting and Composing Robust Features with Denoising
    Autoencoders", ICML 2008, with patches as in He et al. 2021, arXiv 2111.06377.

    Attributes:
        patch: side of a patch in pixels; at the right and lower edges patches may be cut off.
        probability: of each patch to be blanked, in an image that is masked at all.
        images: share of the images that is masked.
        until: share of the epochs after which images stay whole, so that a code made
            separable by masks is then polished for exact reconstruction.
    """

    patch: int = Field(default=4, ge=1, le=1024)
    probability: float = Field(gt=0.0, lt=1.0)
    images: float = Field(default=1.0, gt=0.0, le=1.0)
    until: float = Field(default=1.0, gt=0.0, le=1.0)


class Noise(Component):
    """Noise in all input images, anew in every epoch; the target stays clean.

    `gaussian` adds normal noise, and cuts the sum off at 0 and 1; `masking` makes pixels black;
    `salt_pepper` makes pixels black or white, with the same probability.

    Source: Vincent et al. 2010, "Stacked Denoising Autoencoders: Learning Useful Representations
    in a Deep Network with a Local Denoising Criterion", JMLR 11.

    Attributes:
        type: of the noise.
        amount: its standard deviation, where a pixel is in [0, 1], of `gaussian`; of the others
            the probability of a pixel, with all of its channels, to be changed.
    """

    type: Literal["gaussian", "salt_pepper", "masking"]
    amount: float = Field(gt=0.0, le=1.0)


class Restart(Component):
    """The cosine schedule begins again, from another rate, and ends with the last epoch.

    Source: Loshchilov and Hutter 2016, SGDR, arXiv 1608.03983.

    Attributes:
        epoch: finished epochs after which it begins again; not at all in a run of no more epochs.
        learning_rate: that it begins from.
    """

    epoch: PositiveInt = Field(le=100_000)
    learning_rate: PositiveFloat = Field(le=1e38)


class Recipe(Component):
    """The training recipe of a spec.

    Attributes:
        optimizer: the Keras optimizer of that name. `muon` (Jordan 2024; Liu et al. 2025,
            arXiv 2502.16982) orthogonalises the updates of dense and convolution kernels and
            gives every other variable Adam's. `none` takes no steps: the objective itself finds the
            weights, anew in each epoch.
        momentum: of `rmsprop` and `sgd`.
        learning_rate: at its highest, up to a restart, which has its own.
        schedule: `constant`, or `cosine` down to zero over all epochs.
        restart: of the cosine schedule.
        warmup_epochs: linear rise of the learning rate from zero.
        weight_decay: decoupled, of every optimizer; none by default.
        clip_norm: gradients are scaled so that their global norm is at most this.
        patience: epochs without a better validation loss before training stops.
        precision: Keras dtype policy for training, or `auto`, which asks the machine;
            evaluation is always in float32.
        augment: mirror half of the images, anew in every epoch.
        binarise: draw each pixel from a Bernoulli of its intensity, anew in every epoch
            (Salakhutdinov and Murray 2008): for a Bernoulli likelihood.
        mask: patches blanked at the input.
        noise: at the input, below the patches.
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
