"""What is saved by Keras' own means is read by them, in a process that knows little."""

import keras
import numpy as np
import pytest

from fmae_zoo import Autoencoder, Classifier
from tests.conftest import TINY_CONV, run_python, tiny_spec
from tests.fits import BACKEND, IMAGES, adam, autoencoder

FLOATS = (IMAGES[:10] / 255.0).astype("float32")

READ = """
import sys
{imports}
import numpy as np
arrays = np.load(f"{{sys.argv[1]}}/arrays.npz")
for kind, inputs in {{"decoder": "codes", "classifier": "images", "autoencoder": "images"}}.items():
    model = keras.saving.load_model(f"{{sys.argv[1]}}/{{kind}}.keras")
    answer = getattr(model, "encode" if kind == "autoencoder" else "predict")
    np.testing.assert_allclose(answer(arrays[inputs]), arrays[kind], atol=1e-5)
print("read")
"""


@pytest.fixture(scope="module")
def pair():
    """A small convolutional autoencoder and a classifier on its encoder."""
    model = Autoencoder(tiny_spec(network=TINY_CONV), seed=3)
    return model, Classifier(model.encoder, 3)


@pytest.mark.once
@pytest.mark.parametrize("imports", ["import fmae_zoo, keras", "import keras, fmae_zoo"])
def test_files_are_read_by_a_process_that_imports_the_package_and_keras(pair, tmp_path, imports):
    model, classifier = pair
    codes = model.encode(FLOATS)
    outputs = {
        "autoencoder": codes,
        "decoder": model.decoder.predict(codes, verbose=0),
        "classifier": classifier.predict(FLOATS),
    }
    saved = {"autoencoder": model, "decoder": model.decoder, "classifier": classifier}
    for kind, each in saved.items():
        each.save(tmp_path / f"{kind}.keras")
    np.savez(tmp_path / "arrays.npz", images=FLOATS, codes=codes, **outputs)
    done = run_python(READ.format(imports=imports), str(tmp_path), backend=BACKEND)
    assert "read" in done.stdout, done.stderr[-2000:]


@pytest.mark.once
def test_the_package_alone_imports_neither_keras_nor_a_backend():
    code = """
import sys, fmae_zoo
heavy = {"keras", "torch", "tensorflow", "jax"} & set(sys.modules)
assert not heavy, heavy
fmae_zoo.list_models()
heavy = {"keras", "torch", "tensorflow", "jax"} & set(sys.modules)
assert not heavy, heavy
"""
    done = run_python(code, backend=BACKEND)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(BACKEND != "torch", reason="JAX and TensorFlow have Keras' own")
def test_training_on_torch_imports_no_other_framework():
    code = """
import sys
from tests.fits import IMAGES, autoencoder
before = {"tensorflow", "jax"} & set(sys.modules)
autoencoder().fit(IMAGES, batch_size=8, verbose=0)
assert not ({"tensorflow", "jax"} & set(sys.modules)) - before
"""
    done = run_python(code, backend="torch")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("asked", [None, False])
def test_a_compiled_model_comes_back_compiled_and_trains_on(tmp_path, asked):
    model = Autoencoder(tiny_spec(), seed=3)
    model.compile(adam(), metrics=["mae"], **({} if asked is None else {"jit_compile": asked}))
    model.fit(IMAGES, batch_size=8, epochs=1, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.compiled
    assert again.get_compile_config()["jit_compile"] == ("auto" if asked is None else asked)
    assert int(keras.ops.convert_to_numpy(again.optimizer.iterations)) == 21
    options = {"batch_size": 8, "verbose": 0, "return_dict": True}
    expected = model.evaluate(IMAGES, **options)
    assert again.evaluate(IMAGES, **options) == pytest.approx(expected, rel=1e-4)
    losses = [
        each.fit(IMAGES, batch_size=8, shuffle=False, verbose=0).history["loss"][0]
        for each in (model, again)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.once
def test_a_model_that_one_backend_compiled_is_read_by_another(tmp_path):
    other = "torch" if BACKEND != "torch" else "jax"
    model = autoencoder()
    model.fit(IMAGES, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "arrays.npz", images=IMAGES, codes=model.encode(IMAGES))
    code = """
import sys, keras, fmae_zoo, numpy as np
model = keras.saving.load_model(f"{sys.argv[1]}/model.keras")
arrays = np.load(f"{sys.argv[1]}/arrays.npz")
np.testing.assert_allclose(model.encode(arrays["images"]), arrays["codes"], atol=1e-4)
assert model.compiled
assert np.isfinite(model.fit(arrays["images"], verbose=0).history["loss"]).all()
print("read")
"""
    done = run_python(code, str(tmp_path), backend=other)
    assert "read" in done.stdout, done.stderr[-2000:]


def test_a_classifier_that_was_compiled_comes_back_so_and_one_by_its_recipe_does_not(tmp_path):
    labels = np.arange(len(IMAGES)) % 3
    for own in (True, False):
        classifier = Classifier(Autoencoder(tiny_spec(), seed=3).encoder, 3)
        if own:
            classifier.compile(adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
        classifier.fit(IMAGES, labels, epochs=1)
        classifier.save(tmp_path / "classifier.keras")
        again = keras.saving.load_model(tmp_path / "classifier.keras")
        assert again.compiled is own
        np.testing.assert_allclose(again.predict(IMAGES), classifier.predict(IMAGES), atol=1e-6)
        again.fit(IMAGES, labels, epochs=1)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a SavedModel is TensorFlow's")
def test_an_export_answers_as_the_models_do(pair, tmp_path):
    import tensorflow as tf

    model, classifier = pair
    model.export(tmp_path / "autoencoder", verbose=False)
    classifier.export(tmp_path / "classifier", verbose=False)
    read = tf.saved_model.load(tmp_path / "autoencoder")
    found = read.serve(tf.constant(FLOATS))
    np.testing.assert_allclose(found["mean"], model.encode(FLOATS), atol=1e-5)
    image = 1.0 / (1.0 + np.exp(-found["logits"].numpy()))
    np.testing.assert_allclose(image, model.reconstruct(FLOATS), atol=1e-5)
    other = tf.saved_model.load(tmp_path / "classifier")
    found = other.serve(tf.constant(FLOATS))
    np.testing.assert_allclose(found, classifier.predict(FLOATS), atol=1e-5)


@pytest.mark.once
def test_who_looks_for_keras_first_finds_the_classes_too(tmp_path):
    autoencoder().save(tmp_path / "model.keras")
    code = f"""
import fmae_zoo, importlib.util
assert importlib.util.find_spec("keras")
import keras
print(type(keras.saving.load_model({str(tmp_path / "model.keras")!r})).__name__)
"""
    done = run_python(code, backend=keras.backend.backend())
    assert "Autoencoder" in done.stdout, done.stderr
