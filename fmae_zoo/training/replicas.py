"""Training on PyTorch by several processes: one process for each device, with a replica there.

The process that calls `train` is number 0; it starts the others, which run this module.
"""

import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.datasets import Dataset
from fmae_zoo.errors import FmaeError, TrainingError
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.checkpoint import Progress, state_of
from fmae_zoo.training.devices import Best, Devices, synchronise
from fmae_zoo.types import Tensor

POLL = 0.05
"""Seconds between checks whether all processes have begun."""

LONGEST_WAIT = 10
"""Minutes that a process waits for the others: longer than one writes a checkpoint."""


class _Loss(torch.nn.Module):
    """The loss of a model as a module, which `DistributedDataParallel` takes."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Any) -> Tensor:
        return Autoencoder.compute_loss(self.model, *arguments)


class Replica(Autoencoder):
    """An autoencoder whose gradients and loss in training are the means over all processes."""

    def distribute(self) -> None:
        """Let the processes exchange their gradients in every step from now on."""
        # Every step uses the same weights; the first one finds those that have no gradient.
        loss = DistributedDataParallel(_Loss(self), static_graph=True)
        # A method rather than the module, which would be part of itself.
        self.distributed_loss = loss.__call__

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss as `Autoencoder` does; in training its mean over all processes."""
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        loss = self.distributed_loss(x, y, y_pred, sample_weight, training)
        mean = loss.detach().clone()
        distributed.all_reduce(mean)
        # The mean's value with the own gradient: gradients are averaged only once.
        return loss + (mean / distributed.get_world_size() - loss.detach())


class Replicas(Devices):
    """Processes that exchange gradients by `torch.distributed`: NCCL on GPUs, else Gloo.

    Args:
        count, rank, processes: As for `Devices`.
        folder: Folder in which the processes meet; process 0 makes it.
    """

    def __init__(self, count: int, rank: int, processes: int, folder: Path | None = None) -> None:
        super().__init__(count, rank, processes)
        self.folder = folder

    @contextmanager
    def used(self, spec: ModelSpec, seed: int, data: Dataset) -> Iterator[None]:
        """Join the group of processes in the block; process 0 starts the others first."""
        with ExitStack() as stack:
            folder, others = self.folder, []
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fmae-")))
                task = {"spec": spec.model_dump(mode="json"), "seed": seed, "data": data}
                (folder / "task").write_bytes(pickle.dumps(task | {"count": self.count}))
                others = stack.enter_context(_started(folder, range(1, self.count)))
            stack.enter_context(warnings.catch_warnings())
            # Gradients of kernels in torch's channels-last layout are copied, as it should be.
            warnings.filterwarnings("ignore", "Grad strides do not match")
            try:
                with _joined(folder, self.rank, self.count):
                    yield
            except FmaeError:
                raise
            except RuntimeError as error:
                # A process that fails ends the exchange with the others, but not with its reason.
                time.sleep(1.0)
                if (reason := _reason(folder, others)) is None:
                    raise
                raise reason from error

    def model(self, spec: ModelSpec, seed: int, dtype: str) -> Autoencoder:
        """Return a new replica."""
        model = Replica(spec, seed=seed, dtype=dtype)
        synchronise(model, lambda: (self.rank, self.count))
        return model

    def begin(self, model: Autoencoder, progress: Progress, best: Best) -> tuple[Progress, Best]:
        """Give all processes the model, progress and best weights of process 0."""
        self.agree(model)
        common: list[Any] = [progress, best]
        distributed.broadcast_object_list(common, 0)
        assert isinstance(model, Replica)
        model.distribute()
        return common[0], common[1]

    def agree(self, model: Autoencoder) -> None:
        """Give all processes the state of process 0, which callbacks may have changed."""
        for variable in state_of(model).values():
            distributed.broadcast(variable.value.detach(), 0)

    def mean(self, row: dict[str, float]) -> dict[str, float]:
        """Return the means of figures over the processes."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        values = torch.tensor(list(row.values()), dtype=torch.float64, device=device)
        distributed.all_reduce(values)
        return dict(zip(row, (values / self.count).tolist()))


@contextmanager
def _started(folder: Path, ranks: range) -> Iterator[list[Any]]:
    """Start the other processes, wait until all have begun, and end them after the block."""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    others = []
    try:
        for rank in ranks:
            with (folder / f"log{rank}").open("wb") as log:
                words = [sys.executable, "-m", __name__, str(folder), str(rank)]
                # In sessions of their own, an interrupt of the terminal reaches only process 0.
                quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
                process = subprocess.Popen(words, env=environment, start_new_session=True, **quiet)
            others.append(process)
        while not all((folder / f"begun{rank}").exists() for rank in ranks):
            if (error := _reason(folder, others)) is not None:
                raise error
            time.sleep(POLL)
        yield others
    finally:
        for process in others:
            process.terminate()
            process.wait()


def _reason(folder: Path, others: list[Any]) -> TrainingError | None:
    """Return the error of a process that has failed, or None."""
    for rank, process in enumerate(others, start=1):
        if process.poll():
            lines = (folder / f"log{rank}").read_text(errors="replace").strip().split("\n")
            return TrainingError(f"Process {rank} of the training failed: {lines[-1]}")
    return None


@contextmanager
def _joined(folder: Path, rank: int, count: int) -> Iterator[None]:
    """Join the group of processes in the block; they share the cores of the CPU."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(rank)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(max(1, threads // count))
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method=f"file://{folder}/meeting",
            rank=rank,
            world_size=count,
            timeout=timedelta(minutes=LONGEST_WAIT),
        )
        try:
            yield
        finally:
            distributed.destroy_process_group()
    finally:
        torch.set_num_threads(threads)


def main(folder: Path, rank: int) -> None:
    """Train as a process that is not the first: nothing is written or reported."""
    from fmae_zoo.training.loop import Run

    task = pickle.loads((folder / "task").read_bytes())
    spec = ModelSpec.from_dict(task["spec"])
    count = task["count"]
    (folder / f"begun{rank}").touch()
    devices = Replicas(count, rank, count, folder)
    Run(spec, task["seed"], task["data"], None, None, devices=devices)(resume=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
