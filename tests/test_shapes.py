import keras
import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

import fmae_zoo
from fmae_zoo import Autoencoder, Classifier, plots
from fmae_zoo.augmentation import augmented, epoch_of
from fmae_zoo.card.body import body_of
from fmae_zoo.datasets import Dataset
from fmae_zoo.entry import Entry
from fmae_zoo.errors import FmaeError, ImagesError, SpecError
from fmae_zoo.evaluation.head import HEAD, results_of, train_by
from fmae_zoo.evaluation.reconstruction import mean_ssim
from fmae_zoo.evaluation.record import record_results
from fmae_zoo.hub.contents import stage
from fmae_zoo.images import ImageFiles, array_shape
from fmae_zoo.objectives.clustered_squared_error import gradient_histograms
from fmae_zoo.recipe import PatchMask, Recipe
from fmae_zoo.spec import ModelSpec
from tests.conftest import TINY_CONV, spec_dict, tiny_spec
from tests.entries import BUNDLED, FEW

pytestmark = pytest.mark.usefixtures("eager")

BACKEND = keras.backend.backend()
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (32, 24, 3), (64, 64, 1)]
CONV = {key: value for key, value in TINY_CONV.items() if key != "base"}
DENSE = {"type": "dense", "units": [16]}


def random_images(shape, count=24):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *array_shape(shape)), dtype=np.uint8)


def halves(images, labels, source):
    """A data set whose training and test images take turns."""
    return Dataset(images[::2], labels[::2], images[1::2], labels[1::2], source)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    bunch = datasets.load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return halves(images, bunch.target, "digits")


@pytest.fixture(scope="module")
def photos() -> Dataset:
    """Patches of a photograph of a palace and of one of a flower, 32x32, in colour."""
    patches, labels = [], []
    for label, name in enumerate(("china.jpg", "flower.jpg")):
        picture = datasets.load_sample_image(name)
        for top in range(0, picture.shape[0] - 31, 32):
            for left in range(0, picture.shape[1] - 31, 32):
                patches.append(picture[top : top + 32, left : left + 32])
                labels.append(label)
    order = np.random.default_rng(0).permutation(len(labels))
    return halves(np.stack(patches)[order], np.array(labels)[order], "photos")


@pytest.mark.parametrize(
    ("network", "shape"),
    [(CONV, (8, 8, 1)), (CONV, (32, 24, 3)), (DENSE, (32, 24, 3)), (DENSE, (64, 64, 1))],
    ids=str,
)
def test_models_take_images_of_any_shape(tmp_path, shape, network):
    images, labels = random_images(shape), np.arange(24) // 2 % 2
    data = halves(images, labels, "noise")
    model = Autoencoder(tiny_spec(shape=shape, network=network))
    model.compile("adam")
    history = model.fit(images.reshape(-1, *shape), batch_size=8, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert model.encode(images).shape == (24, 4)
    pictures = model.reconstruct(images)
    assert pictures.shape == (24, *shape)
    assert 0.0 <= pictures.min() <= pictures.max() <= 1.0
    found = fmae_zoo.evaluate(model, ["reconstruction", "linear_probe"], data=data)
    scaled = data.test_images.reshape(-1, *shape) / 255.0
    expected = np.mean((scaled - model.reconstruct(data.test_images)) ** 2)
    assert found["reconstruction"]["mse"] == pytest.approx(expected, rel=1e-4)
    assert found["reconstruction"]["ssim"] <= 1.0

    folder = fmae_zoo.save(model, tmp_path / "ae")
    loaded = fmae_zoo.load(f"local:{folder}")
    assert loaded.spec.shape == shape
    np.testing.assert_array_equal(loaded.reconstruct(images), pictures)

    classifier = Classifier(model.encoder, 2, hidden=4)
    classifier.fit(images, labels, epochs=1, validation_data=(images, labels))
    probabilities = classifier.predict(images)
    functional = classifier.as_functional()
    outputs = functional.predict(images.reshape(-1, *shape) / np.float32(255), verbose=0)
    np.testing.assert_allclose(outputs, probabilities, atol=1e-5)
    fmae_zoo.save(classifier, tmp_path / "classifier", images=images)
    same = fmae_zoo.load(f"local:{tmp_path / 'classifier'}").predict(images)
    np.testing.assert_allclose(same, probabilities, atol=1e-6)
    for saved in ("ae", "classifier"):
        checks = fmae_zoo.verify(f"local:{tmp_path / saved}", data=data)
        assert not [check for check in checks if check.passed is False]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_another_shape_are_refused(shape):
    model = Autoencoder(tiny_spec(shape=shape, network=DENSE))
    model.compile("sgd")
    classifier = Classifier(model.encoder, 2, hidden=4)
    height, width, channels = shape
    expected = f"(n, {height}, {width}, {channels})"
    other = (height + 4, width, channels)
    first = (channels, height, width)
    for received, hint in [
        ((2, *other), ""),
        ((2, height, width, 4 - channels), ""),
        (shape, "images[None]"),
        ((2, *first), "transpose(0, 2, 3, 1)" if channels == 3 else ""),
    ]:
        images = np.zeros(received, np.uint8)
        for call in (model.encode, model.fit, classifier.predict):
            with pytest.raises(ImagesError) as error:
                call(images)
            for word in (expected, str(received), hint):
                assert word in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [30, 32, 1]}, ["height 30", "pools 2 times", "multiples of 4: 28 or 32"]),
        ({"shape": [32, 6, 3]}, ["width 6", "multiples of 4: 4 or 8"]),
        ({"shape": [3, 32, 3]}, ["shape.0", "4", "received 3"]),
        ({"shape": [32, 32, 2]}, ["shape.2", "1 or 3", "received 2"]),
        ({"shape": [32, 32]}, ["shape"]),
        ({"shape": [1024, 1024, 3]}, ["3,145,728 values", "2,000,000"]),
        ({"network": CONV | {"base": [7, 7, 4]}, "shape": [32, 32, 1]}, ["28 x 28", "32 x 32"]),
        (
            {
                "network": CONV | {"encoder": [{"filters": [4], "pool": "max"}] * 4},
                "shape": [8] * 2 + [1],
            },
            ["height 8", "multiples of 4, 16 at least: 16"],
        ),
        (
            {"shape": [8, 8, 1], "recipe": {"mask": {"patch": 9, "probability": 0.5}}},
            ["9", "8 x 8"],
        ),
        ({"data": "/home/me/pictures"}, ["data", "pattern"]),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_with_those_that_do(changes, words):
    with pytest.raises(SpecError) as error:
        ModelSpec.from_dict(spec_dict(network=CONV) | changes)
    for word in words:
        assert word in str(error.value)


def test_a_base_that_is_left_out_is_the_image_halved():
    spec = tiny_spec(network=CONV | {"base": [7, 7, 4]})
    free = tiny_spec(network=CONV)
    sizes = [[w.shape for w in Autoencoder(each).get_weights()] for each in (spec, free)]
    assert sizes[0] == sizes[1]
    assert spec.digest != free.digest


def test_data_and_shape_of_fashion_mnist_change_no_digest():
    spec = tiny_spec()
    assert spec.digest == tiny_spec(data="fashion-mnist", shape=[28, 28, 1]).digest
    assert spec.digest != tiny_spec(shape=[32, 32, 1]).digest


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 24, 3), (32, 32, 3)], ids=str)
def test_every_entry_can_be_built_for_other_data(shape):
    for entry in BUNDLED:
        spec = entry.spec.for_data("Some Data", shape, classes=entry.spec.classes)
        assert spec.full_name == f"{entry.spec.name}.some-data"
        assert (spec.data, spec.shape, spec.recipe) == ("some-data", shape, entry.spec.recipe)
        again = spec.for_data("fashion-mnist", (28, 28, 1), classes=entry.spec.classes)
        assert again.network == entry.spec.network
        assert "784" not in spec.summary
        if entry in FEW or shape == (32, 32, 3):
            model = Autoencoder(spec)
            assert model.encoder.input_shape == model.decoder.output_shape == (None, *shape)
            assert model.encoder.output_shape == (None, spec.latent.size)


def test_a_shape_that_an_entry_cannot_take_is_refused_before_the_training():
    data = halves(random_images((30, 30, 1)), np.arange(24) // 2 % 2, "odd")
    with pytest.raises(SpecError, match=r"conv-ae-bn for odd: .*height 30.*28 or 32"):
        fmae_zoo.train("conv-ae-bn", data=data)


def test_a_tag_of_ones_own_is_kept(photos):
    spec = tiny_spec(tag="mine", recipe={"epochs": 1})
    trained = fmae_zoo.train(spec, data=photos).model.spec
    assert (trained.tag, trained.data, trained.shape) == ("mine", "photos", (32, 32, 3))


def circle(spec, data, folder):
    """Train, evaluate, save, load, verify, classify and stage; return model, figures, accuracy."""
    history = fmae_zoo.train(spec, data=data, output=folder / "ae")
    model = history.model
    assert model.spec.shape == data.shape
    assert model.spec.full_name == f"{spec.name}.{data.source}"
    figures = fmae_zoo.evaluate(model, ["reconstruction", "linear_probe", "knn"], data=data)
    record_results(folder / "ae", figures, data)
    loaded = fmae_zoo.load(f"local:{folder / 'ae'}")
    np.testing.assert_array_equal(loaded.encode(data.test_images), model.encode(data.test_images))

    classifier = Classifier(model.encoder, data.num_classes)
    trained = train_by(HEAD.lasting(20), classifier, data, seed=0)
    report = trained.classifier.report(data.test_images, data.test_labels)
    fmae_zoo.save(trained.classifier, folder / "classifier", images=data.test_images)
    record_results(folder / "classifier", results_of(trained, report), data)
    for name in ("ae", "classifier"):
        checks = fmae_zoo.verify(f"local:{folder / name}", data=data)
        assert {check.passed for check in checks} == {True}
        assert any("reconstruction" in check.name or "accuracy" in check.name for check in checks)
        staged = folder / f"staged-{name}"
        staged.mkdir()
        stage(folder / name, staged)
        entry = Entry.read(staged)
        if name == "ae":
            body = body_of(entry.spec, entry.manifest, "me/it", ["reconstructions.png"])
            pixels = np.asarray(Image.open(staged / "reconstructions.png").convert("RGB"))
            coloured = np.ptp(pixels.astype(int), axis=2).max() > 50
            assert coloured == (data.shape[2] == 3)
        else:
            body = body_of(entry.spec, entry.manifest, "me/it", head=entry.head)
        height, width, channels = data.shape
        assert f"{height}x{width} {'grey' if channels == 1 else 'colour'} images" in body
        assert "28, 28" not in body
        assert "Fashion" not in body
    return history, figures, report["accuracy"]


def mse_of_the_mean(data):
    mean = (data.train_images / 255.0).mean(axis=0)
    return np.mean((data.test_images / 255.0 - mean) ** 2)


def test_the_whole_circle_on_grey_digits_of_eight_by_eight(compiled, tmp_path, digits):
    network = {**TINY_CONV, "encoder": [{"filters": [16], "pool": "max"}] * 2}
    latent = {"type": "deterministic", "size": 16}
    recipe = {"epochs": 12, "batch_size": 32, "learning_rate": 3e-3}
    spec = tiny_spec(network=network, latent=latent, recipe=recipe)
    history, figures, accuracy = circle(spec, digits, tmp_path)
    assert history.rows[-1]["val_loss"] < 0.5 * history.rows[0]["val_loss"]
    assert figures["reconstruction"]["mse"] < 0.5 * mse_of_the_mean(digits)
    assert figures["knn"]["accuracy"] > 0.85
    assert accuracy > 0.8


def test_the_whole_circle_on_colour_photographs(compiled, tmp_path, photos):
    recipe = {"epochs": 8, "batch_size": 16, "learning_rate": 3e-3, "augment": True}
    latent = {"type": "deterministic", "size": 16}
    objective = {"type": "clustered_squared_error", "clusters": 4}
    spec = tiny_spec(network=TINY_CONV, latent=latent, objective=objective, recipe=recipe)
    history, figures, accuracy = circle(spec, photos, tmp_path)
    assert history.rows[-1]["val_reconstruction"] < 0.7 * history.rows[0]["val_reconstruction"]
    assert figures["reconstruction"]["mse"] < 0.35 * mse_of_the_mean(photos)
    assert accuracy > 0.65


def test_a_variational_model_of_colour_sums_over_channels(photos):
    objective = {"type": "elbo", "likelihood": "gaussian", "sigma": 0.5}
    latent = {"type": "gaussian", "size": 4}
    spec = tiny_spec(network=CONV, latent=latent, objective=objective, shape=photos.shape)
    model = Autoencoder(spec)
    figures = fmae_zoo.evaluate(model, "elbo", data=photos)["elbo"]
    constant = 0.5 * 32 * 32 * 3 * np.log(2 * np.pi * 0.25)
    assert figures["reconstruction"] > constant
    assert model.generate(3).shape == (3, 32, 32, 3)
    fmae_zoo.fit_samplers(model, photos, names=["gmm"])
    assert model.generate(3, sampler="gmm").shape == (3, 32, 32, 3)


@pytest.mark.parametrize("shape", [*SHAPES, (5, 9, 3)], ids=str)
def test_what_is_done_with_images_suits_their_shape(tmp_path, shape):
    _height, _width, channels = shape
    images = random_images(shape, 40)
    floats = images.reshape(-1, *shape) / np.float32(255)
    for convolutional in (True, False):
        changed = augmented(floats, np.random.default_rng(0), convolutional)
        assert changed.shape == floats.shape
        assert not np.array_equal(changed, floats)
        assert 0.0 <= changed.min() <= changed.max() <= 1.0
    recipe = Recipe(augment=True, mask=PatchMask(patch=4, probability=0.5))
    inputs, targets, mask = epoch_of(images, recipe, np.random.default_rng(0))
    assert inputs.shape == targets.shape == floats.shape
    np.testing.assert_array_equal(inputs, targets * (1 - mask[..., None]))
    blank = (inputs == 0) & (targets != 0)
    assert blank.any()
    np.testing.assert_array_equal(inputs[~blank], targets[~blank])
    # A patch is blank in all of its channels, or in none.
    assert (
        (inputs[:, :4, :4] == 0).all(axis=(1, 2, 3)) | (inputs[:, 0, 0] != 0).any(axis=-1)
    ).all()
    assert mean_ssim(floats, floats) == pytest.approx(1.0)
    assert mean_ssim(floats, 1 - floats) < 0.0
    assert np.isfinite(gradient_histograms(images)).all()
    for pictures in (images, floats):
        plots.plot_grid(pictures[:5], tmp_path / "grid.png", "title")
        plots.plot_reconstructions(pictures[:5], floats[:5], tmp_path / "pairs.png", "title")
        for name in ("grid.png", "pairs.png"):
            drawn = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
            assert (np.ptp(drawn, axis=2).max() > 50) == (channels == 3)


def test_files_are_read_in_the_models_shape(tmp_path, fmae, photos):
    spec = tiny_spec(network=CONV, shape=(32, 24, 3), tag="mine")
    fmae_zoo.save(Autoencoder(spec), tmp_path / "ae")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture = datasets.load_sample_image("flower.jpg")
    Image.fromarray(picture).save(pictures / "colour.png")
    Image.fromarray(picture[..., 0]).save(pictures / "grey.png")
    np.save(pictures / "some.npy", random_images((32, 24, 3), 3))
    np.save(pictures / "others.npy", random_images((28, 28, 1), 3))
    source = ImageFiles([pictures], spec.shape)
    found = {
        name.rsplit("/", 1)[-1]: image
        for names, batch in source
        for name, image in zip(names, batch)
    }
    assert {image.shape for image in found.values()} == {(32, 24, 3)}
    assert np.ptp(found["grey.png"].astype(int), axis=2).max() == 0
    assert np.ptp(found["colour.png"].astype(int), axis=2).max() > 50
    assert [name.rsplit("/", 1)[-1] for name in source.unreadable] == ["others.npy"]
    assert "(n, 32, 24, 3)" in next(iter(source.unreadable.values()))

    model = f"local:{tmp_path / 'ae'}"
    code, _, error = fmae("embed", model, pictures, "-o", tmp_path / "codes.npz")
    assert code == 0, error
    assert np.load(tmp_path / "codes.npz")["codes"].shape == (5, 4)
    code, _, error = fmae("reconstruct", model, pictures, "-o", tmp_path / "pairs.png")
    assert code == 0, error


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a SavedModel is TensorFlow's")
def test_a_model_is_exported_for_its_own_shape(tmp_path):
    import tensorflow as tf

    model = Autoencoder(tiny_spec(network=DENSE, shape=(32, 24, 3)))
    model.export(tmp_path / "exported", verbose=False)
    images = tf.zeros((2, 32, 24, 3))
    read = tf.saved_model.load(tmp_path / "exported")
    outputs = read.serve(images)
    assert outputs["logits"].shape == (2, 32, 24, 3)


def test_a_classifier_refuses_an_encoder_of_no_images():
    codes = keras.Input((4,))
    with pytest.raises(FmaeError, match="Functional encoder of images"):
        Classifier(keras.Model(codes, keras.layers.Dense(2)(codes)), 2)
