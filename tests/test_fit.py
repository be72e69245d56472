from importlib import import_module

import keras
import numpy as np
import pytest
from keras import layers, ops

from fmae_zoo.accelerate import evaluate, fit, loop, plain_keras
from fmae_zoo.inference import predicted

IMAGES = np.random.default_rng(0).random((21, 8, 8, 1)).astype("float32")
LABELS = np.arange(21) % 3
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(1e-2, epsilon=1e-4),
    "adamw": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1, epsilon=1e-4),
    "amsgrad": lambda: keras.optimizers.Adam(1e-2, amsgrad=True, epsilon=1e-4),
    "scheduled": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(1e-2, 10), epsilon=1e-3, clipnorm=0.1
    ),
    "accumulated": lambda: keras.optimizers.Adam(1e-2, epsilon=1e-4, gradient_accumulation_steps=2),
    "averaged": lambda: keras.optimizers.AdamW(1e-2, epsilon=1e-4, use_ema=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(1e-3),
}


def classifier(optimizer="adam", dtype="float32", **options):
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(4, 3, padding="same", use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.AveragePooling2D(2),
                layers.Conv2D(4, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(6, use_bias=False),
                layers.BatchNormalization(momentum=0.8),
                layers.Reshape((3, 2)),
                layers.Flatten(),
                layers.Dense(3, activation="softmax", dtype="float32"),
            ]
        )
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile(
        OPTIMIZERS[optimizer](),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **options,
    )
    return model


def trained(function, optimizer="adam", dtype="float32", **options):
    model = classifier(optimizer, dtype)
    settings = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    settings["validation_data"] = (IMAGES[:9], LABELS[:9])
    history = function(model, IMAGES, LABELS, **{**settings, **options})
    return model, history.history


@pytest.fixture
def own_loop(monkeypatch):
    """Count the epochs of the loop, so that a test knows that it ran."""
    seen = []
    own = loop._fit
    monkeypatch.setattr(
        loop, "_fit", lambda *args, **options: (seen.append(1), own(*args, **options))[1]
    )
    return seen


# JAX has no update of its own: one optimizer tells as much as all, and each takes a minute there.
TESTED = ["adamw"] if keras.backend.backend() == "jax" else list(OPTIMIZERS)


@pytest.mark.parametrize("optimizer", TESTED)
def test_fit_gives_the_weights_and_the_history_of_keras(optimizer, own_loop):
    plain, plain_history = trained(keras.Model.fit, optimizer)
    fast, fast_history = trained(fit, optimizer)
    assert own_loop
    for one, other in zip(plain.get_weights(), fast.get_weights()):
        np.testing.assert_allclose(one, other, atol=2e-4)
    assert plain_history.keys() == fast_history.keys()
    for name, values in plain_history.items():
        np.testing.assert_allclose(values, fast_history[name], atol=2e-3, err_msg=name)


def test_fit_in_bfloat16_follows_keras():
    _, plain = trained(keras.Model.fit, dtype="mixed_bfloat16")
    _, fast = trained(fit, dtype="mixed_bfloat16")
    np.testing.assert_allclose(plain["loss"], fast["loss"], rtol=0.05)


def test_evaluate_gives_the_figures_of_keras():
    model = classifier()
    plain = keras.Model.evaluate(model, IMAGES, LABELS, batch_size=8, verbose=0)
    np.testing.assert_allclose(
        plain, evaluate(model, IMAGES, LABELS, batch_size=8, verbose=0), rtol=1e-4
    )
    named = evaluate(model, IMAGES, LABELS, batch_size=8, verbose=0, return_dict=True)
    np.testing.assert_allclose(sorted(plain), sorted(named.values()), rtol=1e-4)


class Diary(keras.callbacks.Callback):
    """Writes down what is called, and what a callback sees of the weights."""

    def __init__(self):
        super().__init__()
        self.lines, self.kernels = [], []

    def on_train_begin(self, logs=None):
        self.lines.append("train")

    def on_epoch_begin(self, epoch, logs=None):
        self.lines.append(f"epoch {epoch}")

    def on_train_batch_end(self, batch, logs=None):
        self.lines.append(f"batch {batch} of {self.params['steps']}: {sorted(logs)}")
        self.kernels.append(ops.convert_to_numpy(self.model.layers[0].kernel.value).copy())

    def on_test_batch_end(self, batch, logs=None):
        self.lines.append(f"test {batch}")

    def on_epoch_end(self, epoch, logs=None):
        self.lines.append(f"end {epoch} {sorted(logs)}")

    def on_train_end(self, logs=None):
        self.lines.append(f"trained {sorted(logs)}")


def test_callbacks_are_called_as_keras_calls_them_and_see_the_weights_move():
    diaries = []
    for function in (keras.Model.fit, fit):
        diary = Diary()
        trained(function, callbacks=[diary])
        diaries.append(diary)
    assert diaries[0].lines == diaries[1].lines
    for one, other in zip(diaries[0].kernels, diaries[1].kernels):
        np.testing.assert_allclose(one, other, atol=2e-4)
    assert not np.array_equal(diaries[1].kernels[0], diaries[1].kernels[-1])


def test_a_callback_sees_each_step_of_a_dense_network_too():
    class Warmup(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            batches.append(batch)
            self.model.optimizer.learning_rate.assign(1e-3 * (batch + 1))

    weights, batches = [], []
    for function in (keras.Model.fit, fit):
        keras.utils.set_random_seed(0)
        dense = compiled(keras.Sequential([keras.Input((4,)), layers.Dense(2)]))
        inputs = np.random.default_rng(0).random((24, 4)).astype("float32")
        options = {"batch_size": 2, "shuffle": False, "verbose": 0, "callbacks": [Warmup()]}
        function(dense, inputs, inputs[:, :2], **options)
        weights.append(dense.get_weights()[0])
    assert batches == [*range(12), *range(12)]
    np.testing.assert_allclose(*weights, atol=1e-5)


def test_a_model_with_a_training_function_of_its_own_is_left_to_keras(own_loop):
    class Own(keras.Sequential):
        def make_train_function(self, force=False):
            made.append(force)
            return super().make_train_function(force)

    made = []
    fit(compiled(Own([keras.Input((4,)), layers.Dense(2)])), np.ones((4, 4)), np.ones((4, 2)))
    assert made
    assert not own_loop


def test_a_callback_stops_the_training():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    _, history = trained(fit, callbacks=[Stop()], epochs=5)
    assert len(history["loss"]) == 1


def test_an_error_in_a_callback_leaves_a_model_that_trains_on():
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise RuntimeError("broken")

    model = classifier()
    with pytest.raises(RuntimeError, match="broken"):
        fit(model, IMAGES, LABELS, batch_size=8, verbose=0, callbacks=[Break()])
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    fit(model, IMAGES, LABELS, batch_size=8, verbose=0)


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_image_is_trained_on_once_an_epoch(shuffle):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    # The gradient of the sum of squares at zero is known, and the same in any order.
    model.compile(keras.optimizers.SGD(1e-6), loss="mse")
    model.set_weights([np.zeros((1, 1), "float32")])
    x = np.arange(1, 13, dtype="float32")[:, None]
    fit(model, x, x, batch_size=4, shuffle=shuffle, verbose=0)
    expected = 1e-6 * 2 * np.sum(x**2) / 4
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=2e-3)


def test_a_model_that_is_compiled_again_trains_with_its_new_optimizer():
    model = classifier()
    fit(model, IMAGES, LABELS, batch_size=8, verbose=0)
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
    fit(model, IMAGES, LABELS, batch_size=8, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_what_the_loop_does_not_know_is_left_to_keras(own_loop):
    weights = np.ones(21, "float32")
    trained(fit, sample_weight=weights)
    trained(fit, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
    trained(fit, steps_per_epoch=1, epochs=1)
    trained(fit, validation_data=None, validation_split=0.3)
    with plain_keras():
        trained(fit)
    eager = classifier(run_eagerly=True)
    fit(eager, IMAGES, LABELS, batch_size=8, verbose=0)
    assert not own_loop
    trained(fit)
    assert own_loop


def test_the_optimizer_and_the_layers_are_as_they_were_afterwards():
    model, _ = trained(fit)
    names = {"call", "update_step", "_parallel_update_step"}
    for owner in (model, model.optimizer, *model._flatten_layers()):
        assert not names & owner.__dict__.keys()


def test_integers_are_handed_on_as_they_are():
    model = keras.Sequential(
        [keras.Input((4,), dtype="uint8"), layers.Rescaling(1 / 255), layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    pixels = np.full((6, 4), 255, np.uint8)
    history = fit(model, pixels, np.zeros((6, 2)), batch_size=4, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_arrays_that_are_read_only_or_run_backwards_are_taken(own_loop):
    model = classifier()
    read_only, backwards = IMAGES.copy(), LABELS[::-1]
    read_only.flags.writeable = False
    history = fit(model, read_only, backwards, batch_size=8, verbose=0)
    assert own_loop
    assert np.isfinite(history.history["loss"]).all()


def test_a_penalty_on_a_layers_outputs_is_kept():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, activity_regularizer=keras.regularizers.L2(1.0))]
    )
    model.compile("sgd", "mse")
    x = np.ones((8, 4), "float32")
    outputs = model.predict(x, verbose=0)
    expected = np.mean((outputs - 1.0) ** 2) + np.mean(np.sum(outputs**2, axis=1))
    found = evaluate(model, x, np.ones((8, 2), "float32"), batch_size=8, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def compiled(model, loss="mse", **options):
    model.compile(keras.optimizers.SGD(1e-2), loss=loss, **options)
    return model


def assert_as_keras(model, x, y, atol=1e-5):
    """Compare a fit of two epochs, and what it leaves, with Keras' own."""
    start, found = model.get_weights(), []
    for function in (keras.Model.fit, fit):
        model.set_weights(start)
        history = function(model, x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        found.append([*history.history["loss"], *model.get_weights()])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=atol)


def test_a_metric_of_several_values_is_kept_as_it_is():
    y = keras.utils.to_categorical(LABELS, 3)
    model = classifier()
    model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    history = fit(model, IMAGES, y, batch_size=8, verbose=0, validation_data=(IMAGES, y))
    assert np.shape(history.history["val_f1_score"][0]) == (3,)
    assert evaluate(model, IMAGES, y, verbose=0, return_dict=True)["f1_score"].shape == (3,)


def test_a_run_that_was_stopped_is_gone_on_with(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def callbacks():
        return [keras.callbacks.BackupAndRestore(tmp_path / "backup")]

    options = {"batch_size": 8, "epochs": 4, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        fit(classifier(), IMAGES, LABELS, callbacks=[*callbacks(), Stop()], **options)
    history = fit(classifier(), IMAGES, LABELS, callbacks=callbacks(), **options)
    assert history.epoch == [2, 3]


def test_weights_that_were_set_survive_a_fit_that_fails_at_once():
    model = classifier()
    fit(model, IMAGES, LABELS, batch_size=8, verbose=0)
    sevens = [np.full_like(weight, 7.0) for weight in model.get_weights()]
    model.set_weights(sevens)
    with pytest.raises(Exception):  # noqa: B017, PT011 (each backend has its own)
        fit(model, IMAGES, np.zeros((21, 5, 5), "float32"), batch_size=8, verbose=0)
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(ops.convert_to_numpy(variable.value), 7.0)
    fit(model, IMAGES, LABELS, batch_size=8, verbose=0)


def test_an_output_that_a_relu_reads_too_is_not_overwritten():
    inputs = keras.Input((4,))
    normed = layers.BatchNormalization()(inputs)
    model = compiled(keras.Model(inputs, {"b": normed, "r": layers.ReLU()(normed)}))
    x = np.random.default_rng(1).standard_normal((8, 4)).astype("float32")
    assert_as_keras(model, x, {"b": x, "r": x})


def test_a_functional_model_with_a_call_of_its_own_keeps_it():
    class Doubled(keras.Model):
        def call(self, inputs, training=None, mask=None):
            return 2.0 * super().call(inputs, training=training)

    inputs = keras.Input((4,))
    model = compiled(Doubled(inputs, layers.Dense(2)(inputs)))
    x = np.ones((8, 4), "float32")
    assert_as_keras(model, x, np.ones((8, 2), "float32"))
    np.testing.assert_allclose(predicted(model, x, 8), ops.convert_to_numpy(model(x)), atol=1e-6)


def test_constants_and_integers_in_a_graph_are_as_keras_has_them():
    inputs = keras.Input(batch_shape=(4, 1, 2))
    ids = ops.cast(inputs, "int32")
    flat = layers.Flatten(dtype="mixed_bfloat16")(ids)
    found = layers.Embedding(3000, 3)(flat)
    pooled = layers.GlobalAveragePooling1D()(found)
    joined = ops.concatenate([pooled, ops.ones((4, 1))], axis=-1)
    model = compiled(keras.Model(inputs, layers.Dense(1)(joined)))
    x = np.array([[[1001, 2003]]] * 8, "float32")
    assert_as_keras(model, x, np.ones((8, 1), "float32"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_batch_norm_of_other_precisions_trains(dtype):
    if keras.backend.backend() == "jax" and dtype == "float64":
        pytest.skip("JAX has no float64 unless it is asked for")
    model = compiled(keras.Sequential([keras.Input((4,)), layers.BatchNormalization(dtype=dtype)]))
    history = fit(model, np.ones((8, 4)), np.zeros((8, 4)), batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="modules of torch alone have a mode")
def test_modules_of_torch_are_in_the_mode_of_the_step():
    modes = []

    class Noted(keras.Model):
        def call(self, inputs, training=None, mask=None):
            modes.append(self.training)
            return super().call(inputs, training=training)

    inputs = keras.Input((4,))
    model = compiled(Noted(inputs, layers.Dense(1)(inputs)))
    x, y = np.ones((4, 4), "float32"), np.ones((4, 1), "float32")
    fit(model, x, y, batch_size=4, epochs=2, validation_data=(x, y), verbose=0)
    # Before the first step Keras looks at the shapes.
    assert modes[-4:] == [True, False, True, False]
    assert not model.training


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow moves each batch")
@pytest.mark.parametrize(("room", "moved"), [(1 << 30, True), (100, False)])
def test_arrays_are_moved_to_an_accelerator_where_they_are_few(monkeypatch, room, moved):
    steps = import_module(f"fmae_zoo.accelerate.on_{keras.backend.backend()}")
    monkeypatch.setattr("fmae_zoo.accelerate.calls.RESIDENT_BYTES", room)
    monkeypatch.setattr(steps, "is_on_cpu", lambda: False)
    model = classifier()
    arrays = np.zeros((64, 8, 8, 1), np.float32), np.zeros((64,), np.int32)
    model._symbolic_build(data_batch=arrays)
    held = steps.Steps(model, arrays, training=True)._arrays
    assert isinstance(held[0], np.ndarray) is not moved


def test_what_is_trained_may_change_between_two_calls_of_evaluate(own_loop):
    """The state has as many arrays then, of other shapes."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.Dense(2)])
    model.compile("sgd", "mse")
    inputs, found = np.ones((6, 4), "float32"), []
    for frozen in (0, 1):
        for number, layer in enumerate(model.layers):
            layer.trainable = number != frozen
        found.append(evaluate(model, inputs, np.zeros((6, 2)), batch_size=3, verbose=0))
    assert found[0] == pytest.approx(found[1])


def test_a_batch_size_may_be_an_integer_of_numpy(own_loop):
    trained(fit, batch_size=np.int64(8), epochs=1)
    assert own_loop


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="compiled here on JAX alone")
def test_a_step_is_compiled_once_for_each_kind_of_batch(monkeypatch):
    from fmae_zoo.accelerate import on_jax

    given_back = []
    monkeypatch.setattr(on_jax, "give_freed_memory_back", lambda: given_back.append(1))
    model = classifier()
    # 16 images are two batches of 8; 20 are two, and one of 4.
    fit(model, IMAGES[:16], LABELS[:16], batch_size=8, epochs=2, verbose=0)
    assert len(given_back) == 1
    fit(model, IMAGES[:20], LABELS[:20], batch_size=8, epochs=2, verbose=0)
    assert len(given_back) == 2
    fit(model, IMAGES[:16].astype("uint8"), LABELS[:16], batch_size=8, verbose=0)
    assert len(given_back) == 3


def test_freed_memory_is_kept_and_given_back_where_the_c_library_can(monkeypatch):
    from fmae_zoo.accelerate import memory

    asked = []
    functions = {
        "mallopt": lambda *option: asked.append(option),
        "malloc_trim": lambda padding: asked.append(padding),
    }
    monkeypatch.setattr(memory, "_function", functions.get)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    memory.keep_freed_memory.__wrapped__()
    memory.give_freed_memory_back()
    assert asked == [(-3, 32 << 20), (-1, 1 << 30), 0]
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    memory.keep_freed_memory.__wrapped__()
    monkeypatch.setattr(memory, "_function", lambda name: None)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    memory.keep_freed_memory.__wrapped__()
    memory.give_freed_memory_back()
    assert len(asked) == 3
