import copy

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo.arguments import MAX_SEED
from fmae_zoo.classifier import Classifier
from fmae_zoo.errors import ArgumentError, FmaeError, ImagesError, TrainingError, UnknownModelError
from fmae_zoo.training.classification import SmoothedCrossEntropy
from tests.conftest import TINY_CONV, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def encoder():
    return fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV)).encoder


def test_a_frozen_encoder_stays_and_the_head_learns(encoder, few):
    before = encoder.get_weights()
    classifier = Classifier(encoder, num_classes=10)
    codes = classifier.codes(few.test_images)
    losses = classifier.fit(
        few.train_images, few.train_labels, epochs=5, learning_rate=1e-2
    ).history["loss"]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(codes, classifier.codes(few.test_images))
    assert all(np.array_equal(a, b) for a, b in zip(before, encoder.get_weights()))


def test_a_trainable_encoder_moves_and_the_autoencoders_does_not(encoder, few):
    before = encoder.get_weights()
    classifier = Classifier(encoder, num_classes=10, trainable=True)
    codes = classifier.codes(few.test_images)
    classifier.fit(few.train_images, few.train_labels, epochs=1, augment=True)
    assert not np.array_equal(codes, classifier.codes(few.test_images))
    assert all(np.array_equal(a, b) for a, b in zip(before, encoder.get_weights()))


def test_unfreezing_keeps_what_was_learnt(encoder, few):
    frozen = Classifier(encoder, 10, layer="features")
    frozen.fit(few.train_images, few.train_labels, epochs=2)
    tuned = frozen.unfreeze()
    np.testing.assert_allclose(
        tuned.predict(few.test_images), frozen.predict(few.test_images), atol=1e-6
    )
    losses = tuned.fit(few.train_images, few.train_labels, epochs=2).history["loss"]
    assert losses[-1] < losses[0]


def test_one_hot_and_integer_labels_are_the_same(encoder, few):
    def trained(labels):
        classifier = Classifier(encoder, 10)
        classifier.fit(few.train_images, labels, epochs=1)
        return classifier.predict(few.test_images)

    one_hot = np.eye(10)[few.train_labels]
    np.testing.assert_array_equal(trained(few.train_labels), trained(one_hot))


@pytest.mark.parametrize("classes", [2, 3, 25])
def test_any_number_of_classes(encoder, few, classes):
    classifier = Classifier(encoder, classes)
    labels = few.train_labels % classes
    classifier.fit(few.train_images, labels, epochs=1)
    report = classifier.report(few.test_images, few.test_labels % classes)
    assert classifier.predict(few.test_images).shape == (len(few.test_images), classes)
    assert np.shape(report["confusion"]) == (classes, classes)
    with pytest.raises(FmaeError, match="num_classes is 1; expected an integer, 2 or more"):
        Classifier(encoder, 1)


def test_the_report_is_true(encoder, few):
    classifier = Classifier(encoder, 10)
    report = classifier.report(few.test_images, few.test_labels)
    probabilities = classifier.predict(few.test_images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    predicted = probabilities.argmax(axis=1)
    confusion = np.array(report["confusion"])
    assert report["accuracy"] == pytest.approx((predicted == few.test_labels).mean())
    assert confusion.sum() == len(predicted)
    assert np.trace(confusion) / confusion.sum() == pytest.approx(report["accuracy"])
    for c in range(10):
        hits = ((predicted == c) & (few.test_labels == c)).sum()
        assert report["recall"][c] == pytest.approx(hits / (few.test_labels == c).sum())
        assert report["precision"][c] == pytest.approx(hits / max((predicted == c).sum(), 1))
    loss = -np.log(probabilities[np.arange(len(predicted)), few.test_labels]).mean()
    assert report["loss"] == pytest.approx(loss, rel=1e-4)


def test_the_best_epoch_on_validation_is_kept(encoder, few):
    classifier = Classifier(encoder, 10)
    held_out = (few.test_images, few.test_labels)
    history = classifier.fit(
        few.train_images, few.train_labels, validation_data=held_out, epochs=6, learning_rate=0.1
    ).history
    best = max(history["val_accuracy"])
    assert classifier.report(*held_out)["accuracy"] == pytest.approx(best)


def test_wrong_input_is_explained(encoder, few):
    classifier = Classifier(encoder, 10)
    images, labels = few.train_images, few.train_labels
    for wrong, words in (
        (labels[:-1], r"received shape \(229,\)"),
        (np.eye(4)[labels % 4], r"received shape \(230, 4\)"),
        (labels + 5, r"0\.\.9; received 5\.\.14"),
        (labels.astype(float), "dtype float64"),
        ([[1], [1, 2]], "array of labels"),
    ):
        with pytest.raises(ValueError, match=words):
            classifier.fit(images, wrong)
    with pytest.raises(ImagesError):
        classifier.fit(images[:, :20], labels)
    with pytest.raises(ValueError, match="trainable"):
        classifier.fit(images, labels, augment=True)


def test_it_serialises_and_returns(encoder, few, tmp_path):
    classifier = Classifier(encoder, 10, layer="features")
    classifier.fit(few.train_images, few.train_labels, epochs=1)
    classifier.save(tmp_path / "classifier.keras")
    returned = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_allclose(
        returned.predict(few.test_images), classifier.predict(few.test_images), atol=1e-6
    )


def test_a_configuration_serves_twice(encoder, images):
    classifier = Classifier(encoder, 10, layer="features", labels=LABELS)
    config = classifier.get_config()
    before = copy.deepcopy(config)
    for _ in range(2):
        again = Classifier.from_config(config)
        assert config == before
        assert again.get_config() == before
        assert again.predict(images).shape == (len(images), 10)


@pytest.mark.parametrize("labels", [LABELS, list(LABELS), None])
def test_labels_go_with_the_classifier(encoder, tmp_path, labels):
    classifier = Classifier(encoder, 10, labels=labels)
    expected = None if labels is None else LABELS
    classifier.save(tmp_path / "classifier.keras")
    returned = keras.saving.load_model(tmp_path / "classifier.keras")
    for each in (classifier, classifier.unfreeze(), classifier.in_float32(), returned):
        assert each.labels == expected
        assert each.spec == tiny_spec(network=TINY_CONV)


def test_low_precision_is_for_training_only(encoder, few):
    classifier = Classifier(encoder, 10, trainable=True, precision="mixed_bfloat16")
    classifier.fit(few.train_images, few.train_labels, epochs=1)
    exact = classifier.in_float32()
    assert exact.encoder.layers[1].compute_dtype == "float32"
    np.testing.assert_allclose(
        exact.predict(few.test_images), classifier.predict(few.test_images), atol=0.1
    )


def test_an_unknown_layer_is_an_error_that_lists_the_layers(encoder):
    with pytest.raises(UnknownModelError, match=r"no layer 'nosuch'; it has: .*features"):
        Classifier(encoder, 10, layer="nosuch")


def test_label_smoothing_is_that_of_one_hot_labels():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), 50).astype("float32")
    labels = np.arange(50) % 10
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)(
        np.eye(10, dtype="float32")[labels], probabilities
    )
    loss = keras.losses.deserialize(keras.losses.serialize(SmoothedCrossEntropy(0.1)))
    found = loss(labels, probabilities)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected), rtol=1e-4
    )


def test_a_last_batch_of_one_image_trains(encoder, few):
    classifier = Classifier(encoder, 10)
    losses = classifier.fit(
        few.train_images[:9], few.train_labels[:9], epochs=1, batch_size=8
    ).history["loss"]
    assert np.isfinite(losses[0])


def test_no_images_are_no_crash(encoder, few):
    classifier = Classifier(encoder, 10)
    assert classifier.predict(few.test_images[:0]).shape == (0, 10)
    for act in (classifier.fit, classifier.report):
        with pytest.raises(ArgumentError, match="no images"):
            act(few.test_images[:0], few.test_labels[:0])


def test_rows_that_are_not_one_hot_are_refused(encoder, few):
    rows = np.random.default_rng(0).random((len(few.train_labels), 10))
    for wrong in (rows, np.zeros_like(rows), np.full_like(rows, np.nan)):
        with pytest.raises(ArgumentError, match="one-hot"):
            Classifier(encoder, 10).fit(few.train_images, wrong)


def test_an_autoencoder_is_no_encoder(few):
    with pytest.raises(ArgumentError, match=r"ae\.encoder"):
        Classifier(fmae_zoo.Autoencoder(tiny_spec()), 10)


def test_the_users_keras_settings_change_no_probability(encoder, few):
    expected = Classifier(encoder, 10, layer="features").predict(few.test_images)
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_image_data_format("channels_first")
    try:
        classifier = Classifier(encoder, 10, layer="features")
        assert {layer.compute_dtype for layer in classifier.head.layers} == {"float32"}
        np.testing.assert_array_equal(classifier.predict(few.test_images), expected)
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])


def test_calling_and_evaluating_agree_with_predicting(encoder, few):
    classifier = Classifier(encoder, 10)
    classifier.fit(few.train_images, few.train_labels, epochs=1)
    called = keras.ops.convert_to_numpy(classifier(few.test_images[..., None]))
    np.testing.assert_allclose(called, classifier.predict(few.test_images), atol=1e-5)
    report = classifier.report(few.test_images, few.test_labels)
    for labels in (few.test_labels, np.eye(10)[few.test_labels]):
        found = classifier.evaluate(few.test_images, labels, verbose=0)
        assert found == pytest.approx([report["loss"], report["accuracy"]], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_weights(encoder, few):
    classifier = Classifier(encoder, 10)
    before = classifier.predict(few.test_images)
    with pytest.raises(TrainingError, match="learning rate of 1e\\+25"):
        classifier.fit(few.train_images, few.train_labels, epochs=3, learning_rate=1e25)
    np.testing.assert_array_equal(classifier.predict(few.test_images), before)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_classes": "10"},
        {"num_classes": 2.5},
        {"hidden": 0},
        {"dropout": 2},
        {"dropout": "a"},
        {"precision": "foo"},
        {"seed": -1},
        {"labels": ("a",)},
        {"labels": "abcdefghij"},
        {"labels": 10},
        {"labels": ["a"] * 10},
        {"labels": list(range(10))},
        {"labels": ["", *"abcdefghi"]},
        {"labels": ["two\nlines", *"abcdefghi"]},
        {"labels": ["a" * 65, *"bcdefghij"]},
    ],
)
def test_arguments_out_of_range_are_refused(encoder, arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        Classifier(encoder, **{"num_classes": 10, **arguments})


@pytest.mark.parametrize("seed", [958083057, 726765523, MAX_SEED])
def test_any_seed_makes_a_classifier(encoder, seed):
    assert Classifier(encoder, 10, seed=seed).predict(np.zeros((2, 28, 28))).shape == (2, 10)


def test_fit_refuses_what_it_cannot_use(encoder, few):
    classifier = Classifier(encoder, 10)
    for arguments in (
        {"batch_size": 0},
        {"epochs": -1},
        {"label_smoothing": 1.0},
        {"label_smoothing": "a"},
        {"learning_rate": -1.0},
        {"learning_rate": "a"},
        {"weight_decay": -1.0},
        {"weight_decay": float("nan")},
        {"seed": -1},
        {"seed": 1.5},
        {"validation_data": (few.test_images,)},
        {"validation_data": 5},
        {"validation_data": (few.test_images[:0], few.test_labels[:0])},
    ):
        with pytest.raises(ArgumentError):
            classifier.fit(few.train_images, few.train_labels, **arguments)
    model = fmae_zoo.Autoencoder(tiny_spec())
    for part in (model.decoder, model):
        with pytest.raises(ArgumentError, match="encoder of images"):
            Classifier(part, 10)
