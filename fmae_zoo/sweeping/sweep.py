"""`sweep`: train a model with many values of its spec, and find the best by validation."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from fmae_zoo.arguments import check_folder, check_integer, check_seed
from fmae_zoo.datasets import Dataset, check_dataset, load_named
from fmae_zoo.errors import ArgumentError, TrainingError
from fmae_zoo.extras import needed
from fmae_zoo.files import SAVING, write_text
from fmae_zoo.registry import find_spec
from fmae_zoo.saving import spec_toml
from fmae_zoo.spec import SPEC_FILE, ModelSpec
from fmae_zoo.sweeping.criterion import CRITERIA
from fmae_zoo.sweeping.running import Running
from fmae_zoo.sweeping.space import Space
from fmae_zoo.sweeping.trial import write_data
from fmae_zoo.training.checkpoint import alone_in
from fmae_zoo.training.many import Launch, launch_here, run_each
from fmae_zoo.training.run import for_data, with_recipe

SAMPLERS = ("tpe", "random", "grid")
UNPRUNED = 5
"""Number of trials that finish before any is pruned."""

STUDY_FILE = "study.journal"
LOSS_KEYS = ("objective", "recipe.binarise", "recipe.mask", "latent.free_bits")
"""Beginnings of the keys that change what the loss is, so that losses cannot be compared."""


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    Attributes:
        folder: Folder of the sweep.
        objective: Name of the objective.
        trials: A row for each trial: `trial`, `state` (`complete`, `pruned` or `fail`), `value`,
            the swept keys, `epochs`, `seconds`, and `message` if it failed.
        best: Row of the best trial.
        best_folder: Folder with the spec of the best trial, to be trained or registered.
        best_run: Folder with the trained model of the best trial.
        plots: Pictures of the values of all trials and of the importance of each key.
    """

    folder: Path
    objective: str
    trials: list[dict[str, Any]]
    best: dict[str, Any]
    best_folder: Path
    best_run: Path
    plots: list[Path]

    @property
    def best_value(self) -> float:
        """The value of the objective of the best trial."""
        return float(self.best["value"])


def sweep(
    source: str | Path | ModelSpec,
    space: Mapping[str, str | Sequence[Any]],
    *,
    output: str | Path,
    objective: str = "linear_probe",
    trials: int | None = None,
    sampler: Any = "tpe",
    epochs: int | None = None,
    jobs: int = 1,
    seed: int = 0,
    prune: bool | None = None,
    name: str | None = None,
    data: Dataset | None = None,
    progress: Callable[[dict[str, Any]], None] = lambda row: None,
    launch: Launch = launch_here,
) -> SweepResult:
    """Train a model with many values of its spec, and find the best by its validation images.

    The same call goes on where a stopped sweep was: trials that were running resume from their
    checkpoints. A trial that fails is recorded, and the others go on.

    Args:
        source: Registered name, folder with a spec.toml, or spec.
        space: Values of each swept key: a list, or text as in `fmae sweep --set`: `16,32,64`,
            `1e-4:1e-2`, `log:1e-4:1e-2` or `int:8:64`. `{"latent.size": [16, 32]}` for example.
        output: Folder of the sweep: trials, study, table, pictures, and the best spec.
        objective: What trials are compared by, on validation images: `linear_probe` or `knn`
            (accuracy), `mse`, or `loss`.
        trials: Number of trials, with those of earlier calls; by default 30, and for a grid all
            combinations.
        sampler: `tpe`, `random`, `grid`, or a sampler of Optuna.
        epochs: Epochs of each trial; by default those of the spec, which the best spec keeps.
        jobs: Number of processes that train at the same time; 0 trains in this process, where a
            trial starts sooner, but all of the sweep ends if a framework crashes.
        seed: Seed of every training and of the sampler.
        prune: Whether a trial stops if its validation loss is above the median of the others after
            as many epochs. By default yes, unless a swept key changes what the loss is.
        name: Name of the best spec; by default that of the source with `-best`.
        data: Data set; by default the one that the spec names.
        progress: Function called with the row of each trial that has ended.
        launch: Function that starts the process of a trial. `cluster.jobs.RayJobs` starts it on the
            machines of a Ray cluster.

    Returns:
        The `SweepResult`.

    Raises:
        UnknownModelError: There is no such name or folder.
        SpecError: A key does not exist, or the spec refuses a value.
        ArgumentError: Optuna is not installed; an argument is out of range; a grid has a range;
            or the folder holds another sweep.
        DataError: The data have no labels and the objective needs them, or no source has them.
        TrainingError: No trial finished, or another process sweeps in the folder.
    """
    optuna = needed("optuna", "sweep")
    check_seed(seed)
    check_dataset(data)
    check_integer("jobs", jobs, 0)
    if trials is not None:
        check_integer("trials", trials, 1)
    folder = check_folder("output", output)
    if objective not in CRITERIA:
        raise ArgumentError(f"objective is {objective!r}; expected one of {', '.join(CRITERIA)}")
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        raise ArgumentError(f"sampler is {sampler!r}; expected one of {', '.join(SAMPLERS)}")
    spec = find_spec(source)
    spec = _renamed(spec, name or f"{spec.name}-best")
    short = with_recipe(spec, {"epochs": epochs}) if epochs is not None else spec
    given = Space.parse(short, space)  # Refuses a wrong value before the data are read.
    if sampler == "grid":
        next(given.grid())
    data = data or load_named(spec.data)
    if CRITERIA[objective].is_probe:
        _ = data.labels
    swept = Space.parse(for_data(short, data), space)
    is_other_loss = any(axis.key.startswith(LOSS_KEYS) for axis in swept.axes)
    if objective == "loss" and is_other_loss:
        raise ArgumentError("A swept key changes what the loss is: choose another objective")
    prune = not is_other_loss if prune is None else prune
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with alone_in(folder, resume=False), TemporaryDirectory("", SAVING, folder) as temporary:
            storage = _storage(optuna, folder)
            study = _study(optuna, storage, CRITERIA[objective].direction, prune)
            _check_same(study, folder, swept, objective, seed, sampler, data)
            running = Running(
                optuna, storage, study, swept, folder, objective, seed, data, jobs == 0, progress
            )
            words: list[str] = []
            if jobs:
                data_file = Path(temporary, "data.pickle")
                write_data(data_file, data)
                words = ["--data", str(data_file), "--objective", objective]
                if launch is launch_here:
                    words += ["--parent", str(os.getpid())]
            begun = running.trials(trials, sampler)
            run_each(begun, max(jobs, 1), words, running.look, launch)
            best = Space(for_data(spec, data), swept.axes)
            return _result(running, best, folder, objective, seed)
    finally:
        optuna.logging.set_verbosity(level)


def _renamed(spec: ModelSpec, name: str) -> ModelSpec:
    content = spec.model_dump(mode="json", exclude_none=True) | {"name": name}
    return ModelSpec.from_dict(content, source=f"{spec.name} as {name!r}")


def _storage(optuna: Any, folder: Path) -> Any:
    path = str(folder / STUDY_FILE)
    journal = optuna.storages.journal
    # The lock by a link would need a permission on Windows; `alone_in` keeps others away.
    file = journal.JournalFileBackend(path, lock_obj=journal.JournalFileOpenLock(path))
    return optuna.storages.JournalStorage(file)


def _study(optuna: Any, storage: Any, direction: str, prune: bool) -> Any:
    pruners = optuna.pruners
    return optuna.create_study(
        storage=storage,
        pruner=pruners.MedianPruner(UNPRUNED) if prune else pruners.NopPruner(),
        study_name="sweep",
        direction=direction,
        load_if_exists=True,
    )


def _check_same(
    study: Any, folder: Path, space: Space, objective: str, seed: int, sampler: Any, data: Dataset
) -> None:
    """Raise unless the study is new, or was begun with the same arguments."""
    named = {
        "spec": space.base.model_dump(mode="json"),
        "space": [asdict(axis) for axis in space.axes],
        "objective": objective,
        "seed": int(seed),
        "sampler": sampler if isinstance(sampler, str) else type(sampler).__name__,
        "data": data.digest,
        "backend": keras.backend.backend(),
    }
    now = json.loads(json.dumps(named))
    before = study.user_attrs.get("sweep")
    if before is None:
        study.set_user_attr("sweep", now)
    elif before != now:
        others = ", ".join(key for key in now if before.get(key) != now[key])
        raise ArgumentError(f"{folder}: there is a sweep here with another {others}")


def _result(running: Running, space: Space, folder: Path, objective: str, seed: int) -> SweepResult:
    """Write the best spec and the pictures of a sweep whose trials have ended."""
    from fmae_zoo.sweeping.plots import plot_importance, plot_parallel

    rows = running.rows()
    complete = [row for row in rows if row["state"] == "complete"]
    if not complete:
        last = next((row["message"] for row in reversed(rows) if row["message"]), "pruned")
        raise TrainingError(f"{folder}: no trial has finished. The last one: {last}")
    best = rows[running.study.best_trial.number]
    labels = {axis.key: dict(zip(map(str, axis.labels), axis.choices)) for axis in space.axes}
    values = {key: own.get(str(best[key]), best[key]) for key, own in labels.items()}
    write_text(folder / "best" / SPEC_FILE, spec_toml(space.spec(values)))
    criterion = CRITERIA[objective]
    plots = [plot_parallel(rows, space.axes, best, folder / "parallel.png", criterion.title)]
    varied = [axis.key for axis in space.axes if len(axis.choices) != 1]
    if len(complete) > 1 and varied:
        importance = running.optuna.importance
        evaluator = importance.FanovaImportanceEvaluator(seed=int(seed))
        shares = importance.get_param_importances(running.study, evaluator=evaluator, params=varied)
        path = folder / "importance.png"
        plots.append(plot_importance(shares, len(complete), path, criterion.title))
    run = folder / "trials" / f"{best['trial']:04d}"
    return SweepResult(folder, objective, rows, best, folder / "best", run, plots)
