"""Callbacks that send the losses of a run to the trackers that people use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from fmae_zoo.errors import ArgumentError
from fmae_zoo.extras import needed
from fmae_zoo.layout import LOGS_FOLDER
from fmae_zoo.spec import ModelSpec

PROJECT = "fmae_zoo"


def tracker(
    name: str, spec: ModelSpec, folder: str | Path, seed: int = 0
) -> keras.callbacks.Callback:
    """Return a callback for `train(callbacks=[...])` that sends each epoch's losses to a tracker.

    wandb, trackio and MLflow get a run named after the model and the seed, with the spec as its
    configuration. Where it goes is set as always with them: `wandb login`, `WANDB_MODE=offline`,
    `MLFLOW_TRACKING_URI`.

    Args:
        name: `tensorboard`, `wandb`, `trackio` or `mlflow`.
        spec: Spec of the model.
        folder: Output folder of the run; TensorBoard's files are in its folder `logs`.
        seed: Seed of the run.

    Raises:
        ArgumentError: There is no such tracker, or its package is not installed.
    """
    makers: dict[str, Callable[..., keras.callbacks.Callback]] = {
        "tensorboard": _tensorboard,
        "wandb": _wandb,
        "trackio": _wandb,
        "mlflow": _mlflow,
    }
    if name not in makers:
        raise ArgumentError(f"tracker is {name!r}; expected one of {', '.join(makers)}")
    config = spec.model_dump(mode="json", exclude_none=True) | {"seed": seed}
    return makers[name](needed(name, name), f"{spec.full_name}-seed{seed}", config, Path(folder))


def _tensorboard(
    module: Any, title: str, config: dict[str, Any], folder: Path
) -> keras.callbacks.Callback:
    needed("tensorflow", "tensorflow")  # Keras' callback writes with it, on every backend.
    return keras.callbacks.TensorBoard(str(folder / LOGS_FOLDER), write_graph=False)


def _wandb(
    module: Any, title: str, config: dict[str, Any], folder: Path
) -> keras.callbacks.Callback:
    def begin(logs: Any = None) -> None:
        module.init(project=PROJECT, name=title, config=config)

    return keras.callbacks.LambdaCallback(
        on_train_begin=begin,
        on_epoch_end=lambda epoch, logs: module.log(logs, step=epoch + 1),
        on_train_end=lambda logs: module.finish(),
    )


def _mlflow(
    module: Any, title: str, config: dict[str, Any], folder: Path
) -> keras.callbacks.Callback:
    def begin(logs: Any = None) -> None:
        module.set_experiment(PROJECT)
        module.start_run(run_name=title)
        module.log_params({key: str(value)[:500] for key, value in config.items()})

    return keras.callbacks.LambdaCallback(
        on_train_begin=begin,
        on_epoch_end=lambda epoch, logs: module.log_metrics(logs, step=epoch + 1),
        on_train_end=lambda logs: module.end_run(),
    )
