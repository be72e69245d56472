"""Models whose decoder is told the class of an image."""

import keras
import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.errors import ArgumentError, DataError, ImagesError, SpecError
from tests.conftest import TINY_CONV, run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

GAUSSIAN = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}


def conditional(**changes):
    return Autoencoder(tiny_spec(**{"classes": 10, **GAUSSIAN, **changes}), seed=1)


def batch(few, count=64):
    images = few.train_images[:count, ..., None] / np.float32(255)
    return {"image": images, "label": few.train_labels[:count].astype("int32")}


@pytest.mark.parametrize("network", [{"type": "dense", "units": [8]}, TINY_CONV], ids=str)
def test_the_decoder_reads_the_class_and_the_encoder_does_not(network, few):
    model, images = conditional(network=network), few.train_images[:3]
    codes = model.encode(images)
    as_three, as_four = (model.decode(codes, label=label) for label in (3, 4))
    assert not np.allclose(as_three, as_four, atol=1e-4)
    each = model.decode(codes, label=[3, 4, 3])
    np.testing.assert_allclose(each[[0, 2]], as_three[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(each[1], as_four[1], atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(images, label=[3, 4, 3]), each, atol=1e-6)


def test_what_is_trained_on_is_what_is_decoded(few):
    model, inputs = conditional(), batch(few, 8)
    outputs = model(inputs)
    codes = ops.convert_to_numpy(outputs["mean"])
    decoded = model.decode(codes, label=inputs["label"])
    logits = ops.convert_to_numpy(outputs["logits"])
    np.testing.assert_allclose(decoded, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_every_code_of_an_image_is_decoded_with_its_class(few):
    model = conditional(objective={"type": "iwae", "samples": 3})
    inputs = batch(few, 4)
    outputs = model(inputs, training=True)
    codes = ops.convert_to_numpy(outputs["code"])
    logits = ops.convert_to_numpy(outputs["logits"])
    for image in range(4):
        decoded = model.decode(codes[image], label=int(inputs["label"][image]))
        np.testing.assert_allclose(decoded, 1 / (1 + np.exp(-logits[image])), atol=1e-5)


def test_fit_learns_what_the_label_says(compiled):
    """Where images say nothing of the target, the class is what it is made of."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2, (10, 28, 28, 1)).astype("float32")
    labels = (np.arange(200) % 10).astype("int32")
    images = rng.random((200, 28, 28, 1), dtype="float32")
    inputs = {"image": images, "label": labels}
    model = conditional(
        latent={"type": "deterministic", "size": 4}, objective={"type": "squared_error"}
    )
    model.compile(keras.optimizers.Adam(0.005))
    model.fit(inputs, patterns[labels], epochs=60, batch_size=20, shuffle=False, verbose=0)
    code = model.encode(images[:1])
    found = [
        int(np.abs(patterns - model.decode(code, label=k)).mean((1, 2, 3)).argmin())
        for k in range(10)
    ]
    assert found == list(range(10))


def test_every_source_of_batches_is_taken(few):
    inputs = batch(few)
    model = conditional()
    model.compile("adam")
    weights = np.linspace(0.5, 1.5, 64).astype("float32")
    for given in (
        {"x": inputs, "sample_weight": weights},
        {"x": inputs, "validation_split": 0.25},
        {"x": inputs, "y": inputs["image"], "validation_data": (inputs, None)},
    ):
        history = model.fit(**given, batch_size=16, verbose=0).history
        assert np.isfinite(history["loss"]).all()
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(inputs).batch(16)
    one = model.evaluate(dataset, verbose=0, return_dict=True)
    other = model.evaluate(inputs, batch_size=16, verbose=0, return_dict=True)
    assert one["reconstruction"] == pytest.approx(other["reconstruction"], rel=1e-4)
    assert model.train_on_batch({k: v[:8] for k, v in inputs.items()}) is not None
    assert model.predict(inputs, verbose=0)["logits"].shape == (64, 28, 28, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda inputs: inputs["image"], "'image' and 'label'"),
        (lambda inputs: inputs | {"label": inputs["label"] + 5}, "labels in 0..9"),
        (lambda inputs: inputs | {"label": inputs["label"][:9]}, "64 labels"),
        (lambda inputs: inputs | {"label": inputs["label"] / 2.0}, "integer labels"),
        (lambda inputs: inputs | {"label": np.eye(10)[inputs["label"]]}, r"labels \(n,\)"),
        (lambda inputs: inputs | {"mask": inputs["label"]}, "received image, label, mask"),
        (lambda inputs: inputs | {"label": inputs["label"].tolist()}, "received a list"),
    ],
    ids=["none", "too-large", "too-few", "floats", "one-hot", "another", "list"],
)
def test_wrong_labels_are_refused(few, given, message):
    model = conditional()
    model.compile("adam")
    with pytest.raises(ArgumentError, match=message):
        model.fit(given(batch(few)), verbose=0)


def test_a_label_is_asked_for_where_it_is_told_and_refused_where_not(few):
    images = few.train_images[:3]
    plain, told = Autoencoder(tiny_spec(**GAUSSIAN)), conditional()
    with pytest.raises(ArgumentError, match=r"expected label=.* in 0\.\.9"):
        told.reconstruct(images)
    with pytest.raises(ArgumentError, match="expected no label"):
        plain.reconstruct(images, label=3)
    with pytest.raises(ArgumentError, match="expected no label"):
        plain.generate(2, label=3)
    plain.compile("adam")
    with pytest.raises(ArgumentError, match="Expected images alone; received image, label"):
        plain.fit(batch(few), verbose=0)
    for wrong in (10, -1, 1.5, [0, 1], "coat"):
        with pytest.raises(ArgumentError):
            told.decode(np.zeros((3, 4), "float32"), label=wrong)
    with pytest.raises(ImagesError, match="array of labels"):
        told.decode(np.zeros((3, 4), "float32"), label=[[1], [2, 3]])
    assert told.decode(np.zeros((0, 4), "float32"), label=2).shape == (0, 28, 28, 1)


def test_labels_of_goldens_are_checked_and_may_be_one_hot(few, tmp_path):
    images, labels = few.test_images[:8], few.test_labels[:8]
    for wrong in (labels / 2.0, labels[:3], labels + 5):
        with pytest.raises(ArgumentError, match="labels"):
            fmae_zoo.save(conditional(), tmp_path / "wrong", images=images, labels=wrong)
    one_hot = np.eye(10)[labels]
    folder = fmae_zoo.save(conditional(), tmp_path / "right", images=images, labels=one_hot)
    assert all(check.passed is not False for check in fmae_zoo.verify(f"local:{folder}"))


def test_figures_of_classes_that_the_decoder_does_not_know_are_refused(few):
    for figure in ("reconstruction", "elbo"):
        with pytest.raises(DataError, match="a label of 9; the spec has 5 classes"):
            fmae_zoo.evaluate(conditional(classes=5), figure, data=few)


def test_images_of_a_class_are_generated(few):
    model = conditional()
    assert model.generate(5, label=3).shape == (5, 28, 28, 1)
    np.testing.assert_array_equal(model.generate(6, seed=2), model.generate(6, seed=2))
    noise = np.random.default_rng(2).standard_normal((6, 4)).astype("float32")
    expected = model.decode(noise, label=[0, 1, 2, 3, 4, 5])
    np.testing.assert_allclose(model.generate(6, 2, label=np.arange(6)), expected, atol=1e-6)
    fmae_zoo.fit_samplers(model, few, names=["gmm"])
    for told in ({}, {"label": 1}):
        assert model.generate(4, sampler="gmm", **told).shape == (4, 28, 28, 1)


def test_a_run_trains_with_the_labels_and_its_figures_use_them(few, tmp_path):
    spec = tiny_spec(classes=10, **GAUSSIAN)
    history = fmae_zoo.train(spec, data=few, epochs=2, output=tmp_path / "run")
    model = history.model
    figures = fmae_zoo.evaluate(model, ["reconstruction", "elbo"], data=few)
    images = few.test_images[..., None] / np.float32(255)
    decoded = model.reconstruct(images, label=few.test_labels)
    assert figures["reconstruction"]["mse"] == pytest.approx(
        float(np.square(images - decoded).mean()), rel=1e-5
    )
    assert np.isfinite(figures["elbo"]["elbo"])
    again = fmae_zoo.load(f"local:{tmp_path / 'run'}")
    np.testing.assert_allclose(again.reconstruct(images, label=few.test_labels), decoded, atol=1e-6)


def test_data_without_labels_or_with_more_classes_are_refused(few):
    from dataclasses import replace

    bare = replace(few, train_labels=None, test_labels=None, class_names=None, source="photos")
    with pytest.raises((DataError, SpecError), match="no labels"):
        fmae_zoo.train(tiny_spec(classes=10), data=bare, epochs=1)
    with pytest.raises(DataError, match="a label of 9; the spec has 5 classes"):
        fmae_zoo.train(tiny_spec(classes=5), data=few, epochs=1)


def test_the_classes_follow_the_data(few):
    from dataclasses import replace

    two = replace(
        few,
        train_labels=few.train_labels % 2,
        test_labels=few.test_labels % 2,
        class_names=("even", "odd"),
        source="halves",
        listed=None,
    )
    history = fmae_zoo.train(tiny_spec(classes=10), data=two, epochs=1)
    assert history.model.spec.classes == 2
    assert history.model.spec.full_name == "tiny-ae.halves"


def test_the_commands_take_the_name_of_a_class(few, tmp_path, fmae):
    spec = tiny_spec(classes=10, **GAUSSIAN)
    fmae_zoo.train(spec, data=few, epochs=1, output=tmp_path / "run")
    source = f"local:{tmp_path / 'run'}"
    prior = ("generate", source, "--sampler", "prior", "-n", 4, "-o", tmp_path / "new.png")
    assert fmae(*prior, "--label", "Sneaker")[0] == 0
    assert fmae(*prior, "--label", "7")[0] == 0
    code, _, error = fmae(*prior, "--label", "sock")
    assert code != 0
    assert "'sock'; expected a number in 0..9, or one of T-shirt/top" in error
    np.save(tmp_path / "images.npy", few.test_images[:3])
    pairs = ("reconstruct", source, tmp_path / "images.npy", "-o", tmp_path / "pairs.png")
    code, _, error = fmae(*pairs)
    assert code != 0
    assert "label" in error
    assert fmae(*pairs, "--label", "Coat")[0] == 0
    plain = tmp_path / "plain"
    fmae_zoo.save(Autoencoder(tiny_spec()), plain)
    code, _, error = fmae("generate", f"local:{plain}", "--label", "1", "-o", tmp_path / "x.png")
    assert code != 0
    assert "is told no class" in error


def test_the_hub_has_a_card_and_pictures_of_it(hub, few, tmp_path):
    model = conditional()
    fmae_zoo.push(model, "me/told", token="hf_writer")
    folder = fmae_zoo.pull("hf://me/told", tmp_path / "pulled")
    card = (folder / "README.md").read_text()
    assert "ae.reconstruct(images, label=labels)" in card
    assert "ae.generate(16, label=0)" in card
    assert (folder / "reconstructions.png").stat().st_size > 1000
    assert all(check.passed is not False for check in fmae_zoo.verify(f"local:{folder}"))


def test_an_exported_model_asks_for_the_label(tmp_path, few):
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch exports by ONNX, which is an extra")
    model, inputs = conditional(objective={"type": "squared_error"}), batch(few, 2)
    expected = ops.convert_to_numpy(model(inputs)["logits"])
    model.export(tmp_path / "model")
    np.savez(tmp_path / "in.npz", **inputs, expected=expected)
    done = run_python(
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "arrays = np.load(sys.argv[2])\n"
        "out = model.serve({'image': arrays['image'], 'label': arrays['label']})['logits']\n"
        "np.testing.assert_allclose(out, arrays['expected'], atol=1e-4)\n",
        str(tmp_path / "model"),
        str(tmp_path / "in.npz"),
    )
    assert done.returncode == 0, done.stderr
