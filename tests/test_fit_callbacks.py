"""What callbacks, hooks of torch and other threads see of a model in training."""

import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.fits import (
    BACKEND,
    IMAGES,
    LABELS,
    MAPS,
    Graph,
    Net,
    X,
    Y,
    autoencoder,
    convolutional,
    small,
    value_of,
)

ON_TORCH = pytest.mark.skipif(BACKEND != "torch", reason="of torch's modules")
ALL = {"batch_size": 8, "shuffle": False, "verbose": 0}


def both(model):
    """Give the two ways to fit a model."""
    return (lambda *data, **options: keras.Model.fit(model, *data, **options)), model.fit


class Diary(keras.callbacks.Callback):
    """Writes down what is called, and what a callback sees of the weights."""

    def __init__(self):
        super().__init__()
        self.lines, self.kernels = [], []

    def on_train_begin(self, logs=None):
        self.lines.append("train")

    def on_epoch_begin(self, epoch, logs=None):
        self.lines.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.lines.append(f"begin {batch}")

    def on_train_batch_end(self, batch, logs=None):
        self.lines.append(f"batch {batch} of {self.params['steps']}: {sorted(logs)}")
        self.kernels.append(self.model.get_weights()[0])

    def on_test_begin(self, logs=None):
        self.lines.append("test")

    def on_test_batch_end(self, batch, logs=None):
        self.lines.append(f"test {batch}: {sorted(logs)}")

    def on_test_end(self, logs=None):
        self.lines.append(f"tested {sorted(logs)}")

    def on_epoch_end(self, epoch, logs=None):
        self.lines.append(f"end {epoch} {sorted(logs)}")

    def on_train_end(self, logs=None):
        self.lines.append(f"trained {sorted(logs)}")


def test_callbacks_are_called_as_keras_calls_them_and_see_the_weights_move():
    diaries = []
    for way in (0, 1):
        diary, model = Diary(), convolutional()
        options = {"callbacks": [diary], "epochs": 2, "validation_data": (MAPS[:9], LABELS[:9])}
        both(model)[way](MAPS, LABELS, **ALL, **options)
        diaries.append(diary)
    assert diaries[0].lines == diaries[1].lines
    for one, other in zip(diaries[0].kernels, diaries[1].kernels):
        np.testing.assert_allclose(one, other, atol=2e-3)
    assert not np.array_equal(diaries[1].kernels[0], diaries[1].kernels[-1])


def test_a_callback_sets_the_rate_of_each_step_of_a_short_network():
    class Warmup(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            batches.append(batch)
            self.model.optimizer.learning_rate.assign(1e-4 * (batch + 1))

    weights, batches = [], []
    for way in (0, 1):
        model = autoencoder()
        both(model)[way](IMAGES, **ALL, callbacks=[Warmup()])
        weights.append(model.get_weights()[0])
    assert batches == [*range(21), *range(21)]
    np.testing.assert_allclose(*weights, atol=1e-4)


class AsyncSafe(keras.callbacks.Callback):
    async_safe = True

    def __init__(self, seen):
        super().__init__()
        self.on_train_batch_end = lambda batch, logs=None: seen.append(batch)


class Bar(keras.callbacks.ProgbarLogger):
    def __init__(self, seen):
        super().__init__()
        self.batches = seen

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)


class OldName(keras.callbacks.Callback):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def on_batch_end(self, batch, logs=None):
        self.seen.append(batch)


def made_of_functions(seen):
    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))


@pytest.mark.parametrize("kind", [AsyncSafe, Bar, OldName, made_of_functions])
def test_a_callback_of_any_kind_sees_each_batch(kind):
    seen = []
    autoencoder().fit(IMAGES, **ALL, callbacks=[kind(seen)])
    # Keras calls those that are safe for it in threads, which may overtake one another.
    assert sorted(seen) == list(range(21))
    assert seen == sorted(seen) or kind is AsyncSafe


def test_a_callback_of_tests_sees_each_batch_of_the_validation():
    class Checks(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(batch)

    seen = []
    autoencoder().fit(IMAGES, **ALL, callbacks=[Checks()], validation_data=(IMAGES, IMAGES))
    assert seen == list(range(21))


def test_a_single_callback_and_a_list_of_keras_are_taken():
    for wrap in (lambda each: each, lambda each: keras.callbacks.CallbackList([each])):
        seen, model = [], small()
        callbacks = made_of_functions(seen)
        if wrap(callbacks) is not callbacks:
            callbacks = keras.callbacks.CallbackList(
                [callbacks], add_history=True, model=model, epochs=1, steps=3
            )
        history = model.fit(X, Y, **ALL, callbacks=callbacks)
        # Keras calls what is `async_safe` in threads, in any order.
        assert sorted(seen) == [0, 1, 2]
        assert list(history.history) == ["loss"]


@pytest.mark.parametrize("when", ["on_train_batch_end", "on_epoch_end"])
def test_a_callback_stops_the_training(when):
    class Stop(keras.callbacks.Callback):
        pass

    def stop(self, number, logs=None):
        ends.append(number)
        self.model.stop_training = True

    setattr(Stop, when, stop)
    ends = []
    history = small().fit(X, Y, **ALL, epochs=5, callbacks=[Stop()])
    assert len(history.history["loss"]) == 1
    assert ends == [0]


def test_early_stopping_gives_the_best_weights_back():
    stop = keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    model = small(optimizer=lambda: keras.optimizers.SGD(1e3))
    history = model.fit(X, Y, **ALL, epochs=9, callbacks=[stop])
    assert len(history.history["loss"]) < 9
    assert np.isfinite(model.get_weights()[0]).all()


def test_an_error_in_a_callback_leaves_a_model_that_trains_on():
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise RuntimeError("broken")

    model = convolutional()
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(MAPS, LABELS, **ALL, callbacks=[Break()])
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    model.fit(MAPS, LABELS, **ALL)


def test_an_interrupt_keeps_the_steps_that_were_taken():
    class Interrupt(keras.callbacks.Callback):
        takes_groups = True

        def on_train_batch_begin(self, batch, logs=None):
            if batch >= 16:
                raise KeyboardInterrupt

    model = autoencoder()
    with pytest.raises(KeyboardInterrupt):
        model.fit(IMAGES, **ALL, callbacks=[Interrupt()])
    assert int(value_of(model.steps)) == int(value_of(model.optimizer.iterations)) == 16


def test_a_run_that_was_stopped_is_gone_on_with(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def callbacks():
        return [keras.callbacks.BackupAndRestore(tmp_path / "backup")]

    with pytest.raises(KeyboardInterrupt):
        small().fit(X, Y, **ALL, epochs=4, callbacks=[*callbacks(), Stop()])
    history = small().fit(X, Y, **ALL, epochs=4, callbacks=callbacks())
    assert history.epoch == [2, 3]


def test_the_step_of_a_loss_that_is_not_finite_is_found():
    model = autoencoder()
    images = IMAGES.astype("float32") / 255.0
    images[8 * 11] = np.nan
    model.fit(images, **ALL)
    assert int(value_of(model.first_bad_step)) == 11


@ON_TORCH
def test_a_forward_hook_is_called_once_a_batch():
    calls, model = [], small()
    model.layers[0].register_forward_hook(lambda *args: calls.append(1))
    counts = []
    for way in both(model):
        way(X, Y, **ALL, epochs=2)
        counts.append(len(calls))
        calls.clear()
    assert counts[1] == 2 * 3
    # Keras' own once looks at the shapes.
    assert counts[0] >= counts[1]


@ON_TORCH
def test_a_constraint_that_is_set_between_two_fits_holds():
    model = small()
    model.fit(X, Y, **ALL)
    model.layers[0].kernel.constraint = keras.constraints.MaxNorm(0.1)
    model.fit(X, Y, **ALL)
    assert np.linalg.norm(model.get_weights()[0], axis=0).max() <= 0.1 + 1e-5


@ON_TORCH
def test_a_setting_of_a_layer_that_changes_between_two_fits_holds():
    model = autoencoder(network={"type": "dense", "units": [8, 6], "batch_norm": True})
    model.fit(IMAGES, **ALL)
    norm = model.encoder.get_layer("encoder1_bn")
    norm.momentum = 1.0
    before = value_of(norm.moving_mean)
    model.fit(IMAGES, **ALL)
    np.testing.assert_allclose(value_of(norm.moving_mean), before, atol=1e-6)


@ON_TORCH
def test_modules_are_in_the_mode_of_the_step():
    class Noted(Graph):
        def call(self, inputs, training=None, mask=None):
            modes.append(self.training)
            return super().call(inputs, training=training)

    modes, image = [], keras.Input((4,))
    model = Noted(image, keras.layers.Dense(2)(image))
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=21, epochs=2, validation_data=(X, Y), verbose=0)
    assert modes[-4:] == [True, False, True, False]
    assert not model.training


def test_a_model_in_training_gives_another_thread_codes_or_a_clear_error():
    model, found, going = autoencoder(), [], threading.Event()
    model.encode(IMAGES[:8])

    def encode():
        while not going.is_set():
            try:
                found.append(np.isfinite(model.encode(IMAGES[:8])).all())
            except BaseException as error:
                found.append(error)

    thread = threading.Thread(target=encode)
    thread.start()
    try:
        for _ in range(3):
            model.fit(IMAGES, batch_size=8, epochs=3, verbose=0)
    finally:
        going.set()
        thread.join()
    assert found
    errors = {str(each) for each in found if each is not np.True_}
    if BACKEND == "jax":  # Keras empties the variables of a model that it trains.
        errors = {each for each in errors if "is being trained" not in each}
    assert not errors


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch):
    from fmae_zoo import memory

    asked = []
    library = SimpleNamespace(mallopt=lambda *option: asked.append(option))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    memory.keep_freed_memory.__wrapped__()
    assert asked == [(-3, 32 << 20), (-1, 1 << 30)]
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    memory.keep_freed_memory.__wrapped__()
    del library.mallopt
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    memory.keep_freed_memory.__wrapped__()
    assert len(asked) == 2


def test_the_bar_of_keras_is_shown_if_asked_for(capsys):
    small().fit(X, Y, batch_size=8, verbose=2)
    assert "loss" in capsys.readouterr().out
    small().fit(X, Y, batch_size=8, verbose=0)
    assert not capsys.readouterr().out


def test_a_net_that_was_never_compiled_says_so():
    with pytest.raises(ValueError, match="compile"):
        Net([keras.Input((4,)), keras.layers.Dense(2)]).fit(X, Y, verbose=0)
