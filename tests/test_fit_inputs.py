"""Sources of batches: each is checked as arrays are, and trained on with the same result."""

import keras
import numpy as np
import pytest
from keras import ops

from fmae_zoo import Autoencoder
from fmae_zoo.errors import ArgumentError, FmaeError, ImagesError
from tests.conftest import run_python
from tests.fits import BACKEND, IMAGES, assert_same, autoencoder, taken, value_of

# What is checked and taken is the same; that steps compile is tested in test_fit.py.
pytestmark = pytest.mark.usefixtures("eager")

FLOATS = (IMAGES[:20] / 255.0).astype("float32")
SIZE = 8


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays, self.ended = arrays, 0

    def __len__(self):
        return -(-len(self.arrays[0]) // SIZE)

    def __getitem__(self, index):
        rows = slice(index * SIZE, (index + 1) * SIZE)
        parts = tuple(array[rows] for array in self.arrays)
        return parts if len(parts) > 1 else parts[0]

    def on_epoch_end(self):
        self.ended += 1


def generator(*arrays):
    data = Batches(*arrays)
    batches = (data[index] for index in range(len(data)))
    return (batch if len(arrays) > 1 else (batch,) for batch in batches)


def tensorflow_dataset(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(SIZE)


def data_loader(*arrays):
    import torch
    from torch.utils import data

    tensors = data.TensorDataset(*map(torch.from_numpy, arrays))
    return data.DataLoader(tensors, batch_size=SIZE)


SOURCES = {"dataset of Keras": Batches, "generator": generator}
if BACKEND == "tensorflow":
    SOURCES["dataset of TensorFlow"] = tensorflow_dataset
if BACKEND == "torch":
    SOURCES["loader"] = data_loader
WHOLE = {
    "array": lambda *arrays: arrays,
    "tensor": lambda *arrays: tuple(map(ops.convert_to_tensor, arrays)),
}


def unchanged(model, before):
    return all(np.array_equal(one, other) for one, other in zip(before, model.get_weights()))


@pytest.mark.parametrize("name", [*SOURCES, *WHOLE])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_floats_in_0_to_255_are_refused_wherever_they_come_from(name, method):
    model = autoencoder()
    before = model.get_weights()
    wrong = 255.0 * FLOATS
    x = SOURCES[name](wrong, wrong) if name in SOURCES else WHOLE[name](wrong)[0]
    with pytest.raises(ImagesError, match="Divide by 255"):
        getattr(model, method)(x, verbose=0)
    assert unchanged(model, before)


@pytest.mark.parametrize("name", [*SOURCES, *WHOLE])
def test_pairs_of_image_and_label_are_refused(name):
    model = autoencoder()
    before, labels = model.get_weights(), np.arange(20) % 10
    data = [SOURCES[name](FLOATS, labels)] if name in SOURCES else WHOLE[name](FLOATS, labels)
    with pytest.raises(ImagesError, match="as labels have"):
        model.fit(*data, verbose=0)
    assert unchanged(model, before)


@pytest.mark.parametrize("name", [*SOURCES, "tensor"])
@pytest.mark.parametrize("kind", ["alone", "pairs"])
def test_images_are_trained_on_as_arrays_are(name, kind):
    if (name, kind) == ("loader", "alone"):
        pytest.skip("a loader of a TensorDataset gives lists of one tensor")
    arrays = (FLOATS,) if kind == "alone" else (FLOATS, FLOATS[::-1].copy())
    # One epoch: after a source that ends, Keras' optimizers on TensorFlow have counted one more.
    options = {"epochs": 1, "verbose": 0, "shuffle": False}
    expected = taken(Autoencoder.fit, autoencoder(), *arrays, **options)
    model = autoencoder()
    if name == "tensor":
        model.fit(*WHOLE[name](*arrays), batch_size=SIZE, **options)
    else:
        model.fit(SOURCES[name](*arrays), **options)
    found = {f"weight {i}": w for i, w in enumerate(model.get_weights())}
    assert_same({k: v for k, v in expected.items() if k.startswith("weight")}, found)
    assert int(value_of(model.steps)) == 3


def test_a_dataset_of_keras_is_told_of_the_ends_of_epochs_and_keeps_its_length():
    told = []
    for function in (keras.Model.fit, Autoencoder.fit):
        data, model = Batches(FLOATS), autoencoder()
        function(model, data, epochs=2, verbose=0)
        told.append(data.ended)
        assert int(value_of(model.steps)) == 6
    assert told[0] == told[1]


def test_a_bad_batch_late_in_a_source_is_refused_too():
    late = FLOATS.copy()
    late[-1] = 255.0
    for source in SOURCES.values():
        model = autoencoder()
        with pytest.raises(ImagesError, match="255"):
            model.fit(source(late, late), verbose=0)
        assert all(np.isfinite(weight).all() for weight in model.get_weights())
        model.fit(FLOATS, verbose=0)


def test_validation_data_is_checked_and_may_be_a_source():
    model = autoencoder()
    with pytest.raises(ImagesError):
        model.fit(FLOATS, validation_data=(255.0 * FLOATS, FLOATS * 255.0), verbose=0)
    history = model.fit(FLOATS, validation_data=Batches(FLOATS, FLOATS), verbose=0).history
    expected = model.evaluate(FLOATS, FLOATS, verbose=0, return_dict=True)["loss"]
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-4)


def test_an_error_of_the_source_stays_what_it_was_and_no_check_hides_it():
    def breaks():
        yield FLOATS[:8]
        raise RuntimeError("the disk is gone")

    model = autoencoder()
    with pytest.raises(Exception, match="the disk is gone") as error:
        model.fit(breaks(), verbose=0)
    assert not isinstance(error.value, FmaeError)
    model.fit(FLOATS, verbose=0)


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_a_single_batch_is_checked_and_taken(method):
    model = autoencoder()
    with pytest.raises(ImagesError, match="Divide by 255"):
        getattr(model, method)(255.0 * FLOATS)
    found = getattr(model, method)(FLOATS[:8], return_dict=True)
    assert np.isfinite(found["loss"])


def test_weights_of_classes_are_refused():
    with pytest.raises(ArgumentError, match="class_weight is for classifiers"):
        autoencoder().fit(FLOATS, class_weight={0: 1.0}, verbose=0)


def test_the_last_images_are_validated_on_where_a_share_is_asked_for():
    model = autoencoder()
    history = model.fit(FLOATS, validation_split=0.3, batch_size=7, shuffle=False, verbose=0)
    other = autoencoder()
    options = {"validation_data": (FLOATS[14:], None), "batch_size": 7, "shuffle": False}
    expected = other.fit(FLOATS[:14], **options, verbose=0)
    assert_same(expected.history, history.history)
    assert int(value_of(model.steps)) == 2


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a strategy of TensorFlow's")
def test_two_replicas_take_the_step_of_one():
    code = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.fits import IMAGES, autoencoder, sgd
import keras
def trained(model):
    for layer in model.encoder.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.regularizer = keras.regularizers.L2(10.0)
    history = model.fit(IMAGES[:32], batch_size=16, epochs=2, shuffle=False, verbose=0)
    return history.history["loss"], model.get_weights()
one = trained(autoencoder())
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = autoencoder()
assert model.distribute_strategy.num_replicas_in_sync == 2
two = trained(model)
np.testing.assert_allclose(one[0], two[0], rtol=1e-3)
for a, b in zip(one[1], two[1]):
    np.testing.assert_allclose(a, b, atol=1e-5)
"""
    done = run_python(code, backend="tensorflow")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_validates_is_checked_beside_any_other(name):
    for train in (FLOATS, SOURCES[name](FLOATS)):
        with pytest.raises(ImagesError, match=r"\[0, 1\]"):
            autoencoder().fit(train, verbose=0, validation_data=SOURCES[name](FLOATS * 255.0))


def test_weights_of_samples_count_in_validation_without_a_target():
    weights = np.zeros(len(FLOATS), "float32")
    for train in (FLOATS, ops.convert_to_tensor(FLOATS)):
        history = autoencoder().fit(train, verbose=0, validation_data=(FLOATS, None, weights))
        assert history.history["val_loss"] == [0.0]


@pytest.mark.parametrize("share", [1.0, 0.99])
def test_a_share_that_leaves_nothing_is_an_error_that_says_so(share):
    with pytest.raises(ValueError, match="split"):
        autoencoder().fit(FLOATS[:1], verbose=0, validation_split=share)


@pytest.mark.parametrize("nothing", [None, list(FLOATS)])
def test_what_is_no_array_and_no_source_is_refused(nothing):
    with pytest.raises(FmaeError, match="Expected"):
        autoencoder().fit(nothing, verbose=0)


@pytest.mark.skipif(BACKEND != "torch", reason="loaders of torch")
def test_a_loader_whose_workers_start_anew_is_taken():
    import torch
    from torch.utils import data

    loader = data.DataLoader(
        data.TensorDataset(torch.from_numpy(FLOATS), torch.from_numpy(FLOATS)),
        batch_size=SIZE,
        num_workers=1,
        multiprocessing_context="forkserver",
    )
    assert np.isfinite(autoencoder().fit(loader, verbose=0).history["loss"]).all()
