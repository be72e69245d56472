"""`Classifier.fit` takes what `keras.Model.fit` takes."""

import keras
import numpy as np
import pytest

from fmae_zoo import Autoencoder, Classifier
from fmae_zoo.errors import ArgumentError, FmaeError, TrainingError
from fmae_zoo.layers import plain_keras
from tests.conftest import TINY_CONV, tiny_spec
from tests.fits import IMAGES, adam

pytestmark = pytest.mark.usefixtures("eager")

COUNT = 40
PICTURES, LABELS = IMAGES[:COUNT], np.arange(COUNT) % 3


def classifier(trainable=False, network=None, **options):
    spec = tiny_spec(**({"network": network} if network else {}))
    return Classifier(Autoencoder(spec, seed=3).encoder, 3, trainable, dropout=0.0, **options)


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.models, self.batches, self.logs = set(), [], []

    def on_train_batch_end(self, batch, logs=None):
        self.models.add(id(self.model))
        self.batches.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.models.add(id(self.model))
        self.logs.append(sorted(logs))


@pytest.mark.parametrize("trainable", [False, True])
def test_callbacks_see_the_classifier_and_each_batch(trainable):
    model, seen = classifier(trainable), Seen()
    options = {"epochs": 2, "batch_size": 8, "callbacks": [seen], "validation_split": 0.25}
    history = model.fit(PICTURES, LABELS, **options)
    assert isinstance(history, keras.callbacks.History)
    assert seen.models == {id(model)}
    assert seen.batches == [0, 1, 2, 3] * 2
    assert (
        seen.logs[0] == sorted(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    )
    assert [len(values) for values in history.history.values()] == [2] * 4


@pytest.mark.parametrize("trainable", [False, True])
def test_a_callback_stops_the_training_by_the_classifier(trainable):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model = classifier(trainable)
    assert model.fit(PICTURES, LABELS, epochs=5, callbacks=Stop()).epoch == [0]
    assert model.fit(PICTURES, LABELS, epochs=2).epoch == [0, 1]


def test_a_checkpoint_is_one_of_the_classifier(tmp_path):
    model = classifier()
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", save_weights_only=True)
    model.fit(PICTURES, LABELS, epochs=1, callbacks=[keep])
    other = classifier(seed=9)
    assert not np.allclose(other.predict(PICTURES), model.predict(PICTURES))
    other.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_allclose(other.predict(PICTURES), model.predict(PICTURES), atol=1e-6)


def trained(fit, **options):
    model = classifier()
    model.compile(adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    options = {"epochs": 2, "batch_size": 8, "shuffle": False} | options
    history = fit(model, PICTURES, LABELS, **options).history
    return history["loss"], model.head.get_weights()


def assert_equal(one, other):
    np.testing.assert_allclose(one[0], other[0], rtol=1e-3)
    for first, second in zip(one[1], other[1]):
        np.testing.assert_allclose(first, second, atol=5e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_weight": {0: 0.0, 1: 2.0, 2: 1.0}},
        {"sample_weight": np.linspace(0.0, 2.0, COUNT).astype("float32")},
        {"validation_data": (PICTURES[:8], LABELS[:8])},
    ],
)
def test_a_compiled_classifier_is_trained_as_by_keras(options):
    def keras_fit(model, pictures, labels, **rest):
        if "validation_data" in rest:
            rest["validation_data"] = (PICTURES[:8] / np.float32(255.0), LABELS[:8])
        with plain_keras():
            return keras.Model.fit(model, pictures / np.float32(255.0), labels, verbose=0, **rest)

    assert_equal(trained(keras_fit, **options), trained(Classifier.fit, **options))


def test_weights_of_classes_and_of_samples_are_multiplied():
    of_class = np.array([0.5, 2.0, 1.0], "float32")
    weight = np.linspace(0.0, 2.0, COUNT).astype("float32")
    both = {"class_weight": dict(enumerate(of_class)), "sample_weight": weight}
    product = {"sample_weight": weight * of_class[LABELS]}
    assert_equal(trained(Classifier.fit, **both), trained(Classifier.fit, **product))


def test_samples_without_weight_teach_nothing():
    model = classifier()
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    before = model.head.get_weights()
    model.fit(PICTURES, LABELS, sample_weight=np.zeros(COUNT, "float32"), epochs=1)
    after = model.head.get_weights()
    for name, one, other in zip([v.path for v in model.head.weights], before, after):
        assert "moving" in name or np.array_equal(one, other), name


def test_a_compiled_loss_may_take_labels_of_another_form():
    model = classifier()
    model.compile(adam(), "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    history = model.fit(PICTURES, np.eye(3, dtype="float32")[LABELS], epochs=1).history
    assert np.shape(history["f1_score"][0]) == (3,)


def test_a_compiled_classifier_keeps_its_optimizer_and_refuses_the_recipe():
    model = classifier()
    optimizer = adam()
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(PICTURES, LABELS, epochs=1)
    assert model.optimizer is optimizer
    with pytest.raises(ArgumentError, match="learning_rate: of the recipe"):
        model.fit(PICTURES, LABELS, epochs=1, learning_rate=0.1)


def test_the_last_images_are_validated_on():
    def history(**options):
        return classifier().fit(*data, epochs=2, batch_size=8, shuffle=False, **options).history

    data = (PICTURES, LABELS)
    split = history(validation_split=0.25)
    data = (PICTURES[:30], LABELS[:30])
    given = history(validation_data=(PICTURES[30:], LABELS[30:]))
    assert {k: pytest.approx(v, rel=1e-3) for k, v in given.items()} == split


def test_a_frozen_encoder_stays_and_a_trained_one_moves():
    for trainable in (False, True):
        model = classifier(trainable, TINY_CONV)
        before = model.codes(PICTURES)
        model.fit(PICTURES, LABELS, epochs=1)
        assert np.array_equal(before, model.codes(PICTURES)) is not trainable


@pytest.mark.parametrize("trainable", [False, True])
def test_a_loss_that_is_not_finite_leaves_the_weights_from_before(trainable):
    model = classifier(trainable)
    before = model.get_weights()
    with pytest.raises(TrainingError, match="learning rate"):
        model.fit(PICTURES, LABELS, epochs=3, learning_rate=1e30)
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


CLASSES = "sparse_categorical_crossentropy"


@pytest.mark.parametrize("trainable", [False, True])
def test_a_callback_knows_the_direction_of_the_classifiers_metrics(trainable):
    stop = keras.callbacks.EarlyStopping("val_accuracy", patience=1)
    options = {"epochs": 3, "callbacks": [stop], "validation_split": 0.25}
    assert classifier(trainable).fit(PICTURES, LABELS, **options).epoch[0] == 0


@pytest.mark.parametrize("trainable", [False, True])
def test_the_optimizer_that_callbacks_see_is_the_one_that_trains(trainable):
    model = classifier(trainable)
    model.compile("adam", CLASSES)
    still = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    before = [weight.copy() for weight in model.head.get_layer("hidden").get_weights()]
    model.fit(PICTURES, LABELS, epochs=1, batch_size=8, callbacks=[still])
    for one, other in zip(before, model.head.get_layer("hidden").get_weights()):
        np.testing.assert_array_equal(one, other)
    assert int(model.optimizer.iterations) == 5


@pytest.mark.parametrize(
    "options", [{"validation_freq": 2}, {"steps_per_epoch": 2}, {"initial_epoch": 1}]
)
def test_a_frozen_classifier_takes_what_only_keras_own_loop_knows(options):
    history = classifier().fit(
        PICTURES, LABELS, epochs=2, batch_size=8, validation_data=(PICTURES, LABELS), **options
    )
    assert np.isfinite(history.history["val_loss"]).all()


def test_a_subclass_is_asked_while_its_encoder_is_frozen():
    class Asked(Classifier):
        def call(self, images, training=False):
            asked.append(1)
            return super().call(images, training=training)

    asked = []
    Asked(Autoencoder(tiny_spec()).encoder, 3).fit(PICTURES, LABELS, epochs=1)
    assert asked


def test_a_callback_may_evaluate_on_images_between_epochs():
    class Check(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append(self.model.evaluate(PICTURES, LABELS, verbose=0, return_dict=True))

    found, model = [], classifier()
    history = model.fit(
        PICTURES, LABELS, epochs=2, validation_data=(PICTURES, LABELS), callbacks=[Check()]
    )
    for each, expected in zip(found, history.history["val_loss"]):
        assert each["loss"] == pytest.approx(expected, rel=1e-4)


def test_a_callback_may_call_the_model_on_images_while_the_head_alone_is_trained():
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            images = PICTURES[:4] / np.float32(255.0)
            seen.append(self.model(images).shape)
            seen.append(np.shape(self.model.test_on_batch(images, LABELS[:4])))

    seen = []
    classifier().fit(PICTURES, LABELS, epochs=2, callbacks=[Look()])
    assert seen[0] == seen[2]
    assert len(seen) == 4


class Pairs(keras.utils.PyDataset):
    def __init__(self, images, labels):
        super().__init__()
        self.pairs = images, labels

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return tuple(part[index * 10 : (index + 1) * 10] for part in self.pairs)


def test_a_data_set_trains_and_another_validates():
    history = classifier().fit(
        Pairs(PICTURES, LABELS), validation_data=Pairs(PICTURES, LABELS), epochs=2
    )
    assert len(history.history["val_accuracy"]) == 2
    with pytest.raises(FmaeError, match=r"\[0, 1\]"):
        classifier().fit(Pairs(PICTURES * 255.0, LABELS), epochs=1)
    with pytest.raises(FmaeError, match="integer labels"):
        classifier().fit(Pairs(PICTURES, np.eye(3)[LABELS]), epochs=1)


@pytest.mark.parametrize(
    "options",
    [
        {"y": LABELS},
        {"sample_weight": np.zeros(COUNT)},
        {"class_weight": {0: 2.0}},
        {"batch_size": 4},
        {"validation_split": 0.5},
    ],
)
def test_what_a_data_set_gives_itself_is_refused_beside_it(options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        classifier().fit(Pairs(PICTURES, LABELS), epochs=1, **options)


def test_a_single_batch_is_checked():
    model = classifier(trainable=True)
    model.compile("sgd", CLASSES)
    for method in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(FmaeError, match=r"\[0, 1\]"):
            method(np.asarray(PICTURES, "float32") * 255.0, LABELS)


def test_the_cause_of_a_loss_that_is_not_finite_is_not_made_up():
    model = classifier(trainable=True)
    model.compile(keras.optimizers.SGD(1e30), CLASSES)
    with pytest.raises(TrainingError) as error:
        model.fit(PICTURES, LABELS, epochs=3)
    assert "0.001" not in str(error.value)
