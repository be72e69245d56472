"""pythae's own trainer (Chadebec et al. 2022, arXiv 2206.08309), on the same dense networks."""

import logging
import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.case import Case
from benchmarks.entries import benchmark_spec
from benchmarks.peers.torch_network import Network
from benchmarks.peers.weights import LEARNING_RATE, count, initial_weights
from benchmarks.shape import SIDE

try:
    from pythae.data.datasets import BaseDataset
    from pythae.models import AE, VAE, AEConfig, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import ProgressBarCallback
except ImportError as error:
    raise ImportError(f"This contestant needs pythae: pip install pythae ({error})") from error

logging.getLogger("pythae.trainers.base_trainer.base_trainer").setLevel(logging.ERROR)


class _Encoder(BaseEncoder):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.features, self.latent = network.features, network.latent
        self.latent_log_variance = network.latent_log_variance

    def forward(self, x: Tensor) -> Any:
        mean, log_variance = Network.posterior(self, x)
        if log_variance is None:
            return ModelOutput(embedding=mean)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class _Decoder(BaseDecoder):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor) -> Any:
        pixels = torch.sigmoid(self.decoder(z))
        return ModelOutput(reconstruction=pixels.unflatten(1, (1, SIDE, SIDE)))


class PythaeLoop:
    """`BaseTrainer.train_step`, which is one epoch, with the trainer's own settings.

    Without automatic mixed precision, which pythae has for GPUs in float16 only.

    Raises:
        ValueError: pythae does not compute what the case asks for.
    """

    def __init__(self, case: Case) -> None:
        spec = benchmark_spec(case.entry)
        if spec.network.type != "dense" or case.precision != "float32":
            raise ValueError("pythae is measured on dense entries in float32 only")
        self._batch_size = case.batch_size
        self._on_cpu = case.device == "cpu"
        weights = initial_weights(spec)
        self.parameters = count(weights)
        network = Network(spec)
        network.assign(weights)
        sizes = {"input_dim": (1, SIDE, SIDE), "latent_dim": spec.latent.size}
        if spec.latent.type == "gaussian":
            model, config = VAE, VAEConfig(**sizes, reconstruction_loss="bce")
        else:
            model, config = AE, AEConfig(**sizes)
        self._model = model(config, encoder=_Encoder(network), decoder=_Decoder(network.decoder))
        self._folder = tempfile.TemporaryDirectory()
        self._trainers: dict[int, tuple[np.ndarray, BaseTrainer]] = {}
        self._epoch = 0

    def train(self, images: np.ndarray) -> float:
        """Train one epoch; return its mean loss. Data met for the first time is prepared."""
        if id(images) not in self._trainers:
            # The images are kept, so that no others get their identity.
            self._trainers[id(images)] = images, self._prepared(images)
        self._epoch += 1
        return float(self._trainers[id(images)][1].train_step(self._epoch))

    def _prepared(self, images: np.ndarray) -> BaseTrainer:
        config = BaseTrainerConfig(
            output_dir=self._folder.name,
            per_device_train_batch_size=self._batch_size,
            learning_rate=LEARNING_RATE,
            no_cuda=self._on_cpu,
        )
        dataset = BaseDataset(_as_floats(images), torch.zeros(len(images)))
        trainer = BaseTrainer(self._model, dataset, training_config=config)
        trainer.prepare_training()
        handler = trainer.callback_handler
        handler.callbacks = [
            each for each in handler.callbacks if not isinstance(each, ProgressBarCallback)
        ]
        return trainer

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes."""
        return self._predict(images, decode=False)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return the reconstructions."""
        return self._predict(images, decode=True).reshape(-1, SIDE, SIDE, 1)

    @torch.no_grad()
    def _predict(self, images: np.ndarray, decode: bool) -> np.ndarray:
        self._model.eval()
        device = next(self._model.parameters()).device
        outputs = []
        for batch in _as_floats(images).split(self._batch_size):
            output = self._model.encoder(batch.to(device)).embedding
            if decode:
                output = self._model.decoder(output).reconstruction
            outputs.append(output)
        return torch.cat(outputs).cpu().numpy()


def _as_floats(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).float().div_(255.0).unsqueeze(1)
