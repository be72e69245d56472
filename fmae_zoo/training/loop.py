"""The epochs of a run: each is trained, validated and checkpointed, so the run can resume."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fmae_zoo.augmentation import epoch_of, held_out_binarised, masked, patch_mask
from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.datasets import Dataset
from fmae_zoo.errors import DataError, TrainingError
from fmae_zoo.files import write_text
from fmae_zoo.images import as_images
from fmae_zoo.interrupts import deferred_interrupts
from fmae_zoo.layout import CURVES_FILE, HISTORY_FILE
from fmae_zoo.manifest import MANIFEST_FILE, TrainingRecord, environment
from fmae_zoo.objectives.base import Annotations
from fmae_zoo.precision import resolve
from fmae_zoo.saving import check_folder_for, save
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.checkpoint import (
    CHECKPOINT_FILE,
    Progress,
    alone_in,
    history_csv,
    read_best,
    read_checkpoint,
    read_progress,
    weights_of,
    write_best,
    write_checkpoint,
    writing,
)
from fmae_zoo.training.devices import Devices
from fmae_zoo.training.history import History, golden_images
from fmae_zoo.training.optimizer import make_optimizer
from fmae_zoo.training.state import value_of
from fmae_zoo.training.trainable import Trainable
from fmae_zoo.training.watch import Relay, Watch, listeners_of, listening
from fmae_zoo.weights import assign_tensors, is_finite, tensors_of

VALIDATION_MASKS = 1_000_003
"""Used instead of the epoch to seed the masks of validation images, the same in every epoch."""


class Run:
    """One training run: its data, epochs and checkpoints.

    Args:
        spec: Spec of the model.
        seed: Seed of the weights, the order, the augmentation and the noise.
        data: Data set to train and validate on.
        folder: Folder of the checkpoints and the trained model, or None to write nothing.
        progress: Function that reports progress (see `train`), or None.
        callbacks: Keras' callbacks, which see the run as one training.
        devices: Devices to train on; one by default.
    """

    def __init__(
        self,
        spec: ModelSpec,
        seed: int,
        data: Dataset,
        folder: Path | None,
        progress: Any,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        devices: Devices | None = None,
    ) -> None:
        self.spec, self.recipe, self.seed, self.data = spec, spec.recipe, seed, data
        self.folder, self.reporter, self.callbacks = folder, progress, callbacks
        self.devices = devices or Devices()
        fit, validation = data.split
        self.images, self.validation = data.train_images[fit], data.train_images[validation]
        self.fingerprint = {
            "spec": spec.model_dump(mode="json"),
            "seed": seed,
            "data": data.digest,
            "backend": keras.backend.backend(),
        }
        self.precision = resolve(self.recipe.precision)
        self.environment = environment() | {"precision": self.precision}
        if self.devices.count > 1:
            # The last digits depend on the number of devices, and so does a resumed run.
            self.fingerprint["devices"] = self.devices.count
            self.environment["devices"] = str(self.devices.count)
        self.known: Annotations = {}
        self.annotations: Annotations = {}
        self.check_interrupt: Callable[[], None] = lambda: None

    def __call__(self, resume: bool) -> History:
        """Train to the end, from the folder's checkpoint if `resume` is True."""
        with alone_in(self.folder, resume):
            annotate = self.spec.objective.annotations
            self.known, of_others = (self._known(rows) for rows in self.data.split)
            self.annotations, others = annotate(self.known, of_others, self.seed)
            held_out = as_images(self.validation, self.spec.shape)
            if self.recipe.binarise:
                [held_out] = held_out_binarised(held_out)
            validation = {"image": held_out, **others}
            inputs = validation["image"]
            if self.spec.objective.reads_mask:
                assert self.recipe.mask is not None
                rng = np.random.default_rng([self.seed, VALIDATION_MASKS])
                mask = patch_mask(len(inputs), self.spec.shape, self.recipe.mask, rng)
                validation["mask"] = mask
                inputs = masked(inputs, mask, self.spec.network.hidden)
            inputs = self._told(inputs, of_others)
            with deferred_interrupts() as check:
                self.check_interrupt = check
                return self._train(resume, (inputs, validation))

    def _known(self, rows: np.ndarray) -> Annotations:
        """Return images and, if there are any, labels of the training images with these indices."""
        labels = self.data.train_labels
        known = {"image": self.data.train_images[rows]}
        return known if labels is None else known | {"label": labels[rows].astype(np.int32)}

    def _told(self, images: np.ndarray, known: Annotations, order: Any = slice(None)) -> Any:
        """Return the inputs of the model: images, with labels if the decoder is conditional.

        Raises:
            DataError: The data have no labels, or a label of a class that the decoder does not
                know.
        """
        classes = self.spec.classes
        if classes is None:
            return images
        if "label" not in known:
            raise DataError(f"{self.data.source}: no labels, and the decoder is told the class")
        labels = known["label"][order]
        if len(labels) and labels.max() >= classes:
            raise DataError(
                f"{self.data.source}: a label of {labels.max()}; the spec has {classes} classes"
            )
        return {"image": images, "label": labels}

    def _train(self, resume: bool, validation: tuple[Any, Annotations]) -> History:
        with self.devices.used(self.spec, self.seed, self.data):
            model = self._compiled_model()
            progress = Progress(self.fingerprint)
            best: dict[str, np.ndarray] = {}
            if self.folder is not None:
                progress = self._open_folder(model, progress, resume)
                if progress.best_epoch:
                    best = read_best(self.folder)
            progress, best = self.devices.begin(model, progress, best)
            before = progress.epoch
            steps = math.ceil(len(self.images) / self.recipe.batch_size)
            listeners = listeners_of(self.callbacks, model, self.recipe.epochs, steps)
            with listening(listeners):
                best = self._epochs(model, progress, validation, best, listeners)
        return self._finish(best, progress, is_new=progress.epoch > before)

    def _epochs(
        self,
        model: Autoencoder,
        progress: Progress,
        validation: tuple[Any, Annotations],
        best: dict[str, np.ndarray],
        listeners: keras.callbacks.CallbackList,
    ) -> dict[str, np.ndarray]:
        """Train until the run is finished or a callback stops it; return the best weights."""
        is_stopped = False
        while not self._finished(progress) and not is_stopped:
            self.check_interrupt()
            listeners.on_epoch_begin(progress.epoch)
            self.devices.agree(model)
            row = self._epoch(model, progress, validation, Relay(listeners))
            weights = tensors_of(weights_of(model))
            # A ReLU can turn NaN into zero, so a finite loss does not prove finite weights.
            if not all(is_finite(each) for each in weights.values()):
                raise self._not_finite("weights", int(value_of(model.steps)), progress)
            progress.epoch += 1
            progress.rows.append(row)
            # With a critic the loss does not measure the model's quality, so keep the last epoch.
            improved = model.critic is not None or row["val_loss"] < progress.best_loss
            if improved:
                progress.best_loss, progress.best_epoch = row["val_loss"], progress.epoch
                best = weights
            self._keep(model, progress, best if improved else None)
            logs = {name: value for name, value in row.items() if name != "epoch"}
            listeners.on_epoch_end(progress.epoch - 1, logs)
            is_stopped = model.stop_training
        return best

    def _keep(
        self, model: Autoencoder, progress: Progress, best: dict[str, np.ndarray] | None
    ) -> None:
        if self.folder is None:
            return
        with writing(self.folder, kept=progress.epoch - 1):
            if best is not None:
                write_best(self.folder, best)
            write_checkpoint(self.folder, model, progress)
        self._write_history(progress)

    def _write_history(self, progress: Progress) -> None:
        assert self.folder is not None
        with writing(self.folder, kept=progress.epoch):
            write_text(self.folder / HISTORY_FILE, history_csv(progress.rows))

    def _compiled_model(self) -> Autoencoder:
        model = self.devices.model(self.spec, self.seed, self.precision)
        model.latent.prepare(self.images, self.seed)
        # Without drawn codes the validation loss is no bound, and favours a too wide posterior.
        model.latent.always_draws = "log_ratio" in self.spec.latent.gives
        steps = math.ceil(len(self.images) / self.recipe.batch_size)
        model.compile(optimizer=make_optimizer(self.recipe, steps))
        model.optimizer.build(model.trainable_variables)
        return model

    def _open_folder(self, model: Autoencoder, progress: Progress, resume: bool) -> Progress:
        assert self.folder is not None
        started = (self.folder / CHECKPOINT_FILE).exists()
        if resume and started:
            progress = read_checkpoint(self.folder, model, self.fingerprint)
            # The run may have stopped after writing the checkpoint, before writing the history.
            self._write_history(progress)
            return progress
        if started and read_progress(self.folder).epoch:
            raise TrainingError(
                f"{self.folder}: there is a checkpoint of a run here. Resume it "
                "(resume=True, or --resume), or choose another output folder."
            )
        check_folder_for(self.spec, self.folder)
        with writing(self.folder, kept=-1):
            write_checkpoint(self.folder, model, progress)
        return progress

    def _finished(self, progress: Progress) -> bool:
        waited = progress.epoch - progress.best_epoch
        stopped = self.recipe.patience is not None and waited >= self.recipe.patience
        return progress.epoch >= self.recipe.epochs or (stopped and progress.epoch > 0)

    def _epoch(
        self,
        model: Autoencoder,
        progress: Progress,
        validation: tuple[Any, Annotations],
        relay: Relay,
    ) -> dict[str, float]:
        rng = np.random.default_rng([self.seed, progress.epoch])
        order = rng.permutation(len(self.images))
        hidden = self.spec.network.hidden
        inputs, targets, mask = epoch_of(
            self.images[order], self.recipe, rng, progress.epoch, hidden
        )
        annotations = {name: values[order] for name, values in self.annotations.items()}
        if self.spec.objective.reads_mask:
            assert mask is not None
            annotations["mask"] = mask
        watch = Watch(
            model, self.check_interrupt, self.reporter, progress.epoch, self.recipe.epochs
        )
        began = time.perf_counter()
        if self.spec.objective.solves is not None:
            self.spec.objective.solve(model, targets, rng)
        # Trainable.fit skips the checks of Autoencoding.fit: these images are already checked.
        size = self.recipe.batch_size
        arrays = (self._told(inputs, self.known, order), {"image": targets, **annotations})
        logs = Trainable.fit(
            model,
            *self.devices.share(arrays, size),
            batch_size=size // self.devices.processes,
            shuffle=False,
            verbose=0,
            callbacks=[watch, relay],
        ).history
        bad = int(value_of(model.first_bad_step))
        if bad >= 0:
            raise self._not_finite("loss", bad, progress)
        if not self.spec.objective.of_batches:
            size = 500 - 500 % self.devices.count
        checks = Trainable.evaluate(
            model,
            *self.devices.share(validation, size),
            batch_size=size // self.devices.processes,
            verbose=0,
            return_dict=True,
            callbacks=[relay],
        )
        seconds = time.perf_counter() - began
        progress.seconds += seconds
        row = {"epoch": progress.epoch + 1.0}
        row |= {name: float(values[-1]) for name, values in logs.items()}
        row |= {f"val_{name}": float(value) for name, value in checks.items()}
        rate = keras.ops.convert_to_numpy(model.optimizer.learning_rate)
        row |= {"learning_rate": float(rate), "seconds": round(seconds, 2)}
        row = self.devices.mean(row)
        if not math.isfinite(row["val_loss"]):
            raise self._not_finite("validation loss", int(value_of(model.steps)), progress)
        return row

    def _not_finite(self, what: str, step: int, progress: Progress) -> TrainingError:
        if self.precision == "mixed_float16":
            cause = "an overflow of float16: train with precision mixed_bfloat16 or float32"
        else:
            restart = self.recipe.restart
            again = restart is not None and progress.epoch >= restart.epoch
            rate = restart.learning_rate if restart and again else self.recipe.learning_rate
            cause = (
                f"a learning rate of {rate:g} that is too high: "
                "try a tenth of it, or clip_norm = 1.0"
            )
        kept = "No epoch had been finished."
        if self.folder is not None and progress.epoch:
            kept = f"The checkpoint of epoch {progress.epoch} is kept in {self.folder}."
        return TrainingError(
            f"The {what} became NaN or infinite at step {step} (epoch {progress.epoch + 1}). "
            f"The likely cause is {cause}. {kept}"
        )

    def _finish(self, best: dict[str, np.ndarray], progress: Progress, is_new: bool) -> History:
        model = Autoencoder(self.spec, seed=self.seed, dtype="float32")
        assign_tensors(weights_of(model), best, "best weights")
        record = TrainingRecord(
            seed=self.seed,
            epochs=progress.epoch,
            best_epoch=progress.best_epoch,
            seconds=round(progress.seconds, 1),
            data_digest=self.data.digest,
            data_source=self.data.name,
            data_name=self.data.tag,
            class_names=self.data.class_names,
            environment=self.environment,
        )
        history = History(model, progress.rows, record, self.folder)
        if self.folder is None:
            return history
        check_folder_for(self.spec, self.folder)
        # A run that was already finished keeps the figures and samplers in its folder.
        if is_new or not (self.folder / MANIFEST_FILE).is_file():
            from fmae_zoo.plots import plot_curves

            with writing(self.folder, kept=progress.epoch):
                plot_curves(
                    progress.rows,
                    self.folder / CURVES_FILE,
                    title=self.spec.name,
                    label=self.spec.objective.loss_label,
                    kept=progress.best_epoch,
                )
                images, labels = golden_images(self.spec, self.data)
                save(model, self.folder, training=record, images=images, labels=labels)
        return history
