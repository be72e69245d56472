"""Models and commands on data other than Fashion-MNIST: tags, names of classes, no labels."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import fmae_zoo
from fmae_zoo import plots, registry
from fmae_zoo.datasets import CLASS_NAMES, TABLE, Dataset, loading
from fmae_zoo.errors import DataError
from fmae_zoo.manifest import MANIFEST_FILE, Manifest, TrainingRecord
from fmae_zoo.saving import spec_toml
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def kmnist(few):
    """What stands for KMNIST: its name and classes, other images."""
    return replace(few, listed="kmnist", class_names=TABLE["kmnist"].classes, is_sample=False)


@pytest.fixture
def bare(few):
    """Images without labels."""
    return Dataset(few.train_images, None, few.test_images, None, "photos")


@pytest.fixture
def spec_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "spec.toml").write_text(spec_toml(tiny_spec()))
    return tmp_path / "mine"


@pytest.fixture
def pictures(few, tmp_path):
    """A folder of pictures of two classes with names of their own."""
    for split in ("train", "test"):
        images, labels = getattr(few, f"{split}_images"), getattr(few, f"{split}_labels")
        for number, (pixels, label) in enumerate(zip(images, labels)):
            folder = tmp_path / "My Photos" / split / ("cat" if label < 5 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "My Photos"


def test_a_model_of_other_data_has_its_tag_and_the_names_of_its_classes(kmnist, tmp_path):
    history = fmae_zoo.train(tiny_spec(), data=kmnist, epochs=1, output=tmp_path / "run")
    assert history.model.spec.full_name == "tiny-ae.kmnist"
    entry = registry.find_entry(tmp_path / "run")
    assert (entry.spec.tag, entry.manifest.tag) == ("kmnist", "kmnist")
    training = entry.manifest.training
    assert (training.data_name, training.data_source) == ("kmnist", "KMNIST")
    assert training.class_names == TABLE["kmnist"].classes
    again = fmae_zoo.train(tiny_spec(), data=kmnist, epochs=1, output=tmp_path / "run", resume=True)
    assert again.record == history.record
    fmae_zoo.register(tmp_path / "run")
    assert "tiny-ae.kmnist" in fmae_zoo.list_models()


def test_a_tag_that_the_spec_says_stays_and_the_default_data_has_none(few, kmnist):
    own = tiny_spec(tag="mine")
    assert fmae_zoo.train(own, data=kmnist, epochs=1).model.spec.tag == "mine"
    assert fmae_zoo.train(tiny_spec(), data=few, epochs=1).model.spec.tag == "fmnist"


def test_manifests_of_before_there_was_a_table_are_rewritten_as_they_were(tmp_path):
    for entry in registry.bundled():
        entry.manifest.write(tmp_path)
        written, stored = (each / MANIFEST_FILE for each in (tmp_path, entry.folder))
        assert written.read_bytes() == stored.read_bytes(), entry.spec.name


def test_what_a_manifest_says_of_the_data_is_read_back(tmp_path):
    record = TrainingRecord(
        seed=0,
        epochs=1,
        best_epoch=1,
        seconds=1.0,
        data_digest="0",
        data_name="kmnist",
        class_names=("o", "ki"),
        environment={},
    )
    manifest = Manifest(name="a", tag="kmnist", licence="MIT", training=record)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest


def test_without_labels_a_model_trains_and_reconstructs(bare, tmp_path):
    history = fmae_zoo.train(tiny_spec(), data=bare, epochs=1, output=tmp_path / "run")
    assert history.record.class_names is None
    assert set(fmae_zoo.evaluate(history.model, data=bare)) == {"reconstruction"}
    for figure in ("knn", "linear_probe", "frozen_head", "fine_tuned"):
        with pytest.raises(DataError, match="photos has no labels"):
            fmae_zoo.evaluate(history.model, figure, data=bare)


def test_pictures_go_the_whole_way_with_their_own_names(
    fmae, spec_folder, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr("fmae_zoo.samplers.two_stage.EPOCHS", 1)
    run = tmp_path / "run"
    code, _, err = fmae("train", spec_folder, "--data", pictures, "--epochs", 1, "-o", run)
    assert code == 0, err
    source = f"local:{run}"
    assert registry.find_entry(source).spec.full_name == "tiny-ae.my-photos"

    code, _, err = fmae("evaluate", source, "--figure", "knn")
    assert code == 1
    assert "name it with --data" in " ".join(err.split())
    code, out, err = fmae("evaluate", source, "--data", pictures, "--figure", "knn", "--write")
    assert code == 0, err

    code, out, err = fmae(
        "classify", source, "--data", pictures, "--epochs", 1, "-o", tmp_path / "clf"
    )
    assert code == 0, err
    assert "cat" in out
    assert fmae_zoo.load(tmp_path / "clf").labels == ("cat", "dog")

    code, _, err = fmae("samplers", source, "--data", pictures, "--write")
    assert code == 0, err
    assert "sampler" in fmae("generate", source, "-n", 4, "-o", run / "a.png")[1]
    assert fmae("reconstruct", source, "--data", pictures, "-o", run / "b.png")[0] == 0
    code, out, err = fmae("embed", source, "--data", pictures, "-o", run / "c.npz", "--json")
    assert code == 0, err
    data = fmae_zoo.load_data(pictures)
    with np.load(run / "c.npz") as saved:
        assert saved["names"][[0, -1]].tolist() == [
            "train[0]",
            f"test[{len(data.test_images) - 1}]",
        ]
        expected = fmae_zoo.load(source).encode(data.train_images[:5])
        np.testing.assert_allclose(saved["codes"][:5], expected, atol=1e-5)


def test_ten_classes_of_other_data_are_no_clothes(fmae, few, spec_folder, tmp_path):
    path = tmp_path / "ten.npz"
    arrays = {f"{kind}_{what}": getattr(few, f"{kind}_{what}") for kind in ("train", "test")
              for what in ("images", "labels")}  # fmt: skip
    np.savez(path, **arrays)
    run = tmp_path / "run"
    assert fmae("train", spec_folder, "--data", path, "--epochs", 1, "-o", run)[0] == 0
    code, out, err = fmae(
        "classify", f"local:{run}", "--data", path, "--epochs", 1, "-o", tmp_path / "clf"
    )
    assert code == 0, err
    assert not any(name in out for name in CLASS_NAMES)
    assert fmae_zoo.load(tmp_path / "clf").labels is None


def test_a_command_without_data_takes_what_the_model_was_trained_on(
    fmae, kmnist, tmp_path, monkeypatch
):
    fmae_zoo.train(tiny_spec(), data=kmnist, epochs=1, output=tmp_path / "run")
    asked = []
    monkeypatch.setattr(fmae_zoo, "load_data", lambda name=None: asked.append(name) or kmnist)
    code, out, err = fmae("evaluate", f"local:{tmp_path / 'run'}", "--figure", "knn", "--json")
    assert code == 0, err
    assert asked == ["kmnist"]
    assert json.loads(out)["data"] == "KMNIST"


def test_labels_that_are_wanted_and_missing_are_said_to_be(fmae, bare, spec_folder, tmp_path):
    np.savez(tmp_path / "photos.npz", train_images=bare.train_images, test_images=bare.test_images)
    options = ["--data", tmp_path / "photos.npz"]
    run = f"local:{tmp_path / 'run'}"
    assert fmae("train", spec_folder, *options, "--epochs", 1, "-o", tmp_path / "run")[0] == 0
    code, out, err = fmae("evaluate", run, *options, "--json")
    assert code == 0, err
    assert set(json.loads(out)["figures"]) == {"reconstruction"}
    for words in (("classify", run), ("evaluate", run, "--figure", "knn")):
        code, _, err = fmae(*words, *options)
        assert code == 1
        assert "has no labels" in " ".join(err.split())


@pytest.mark.parametrize("command", ["embed", "reconstruct"])
def test_files_or_a_data_set_not_both(fmae, command, tmp_path, spec_folder):
    output = tmp_path / ("a.npz" if command == "embed" else "a.png")
    assert fmae(command, "dense-ae", "-o", output)[0] == 2
    assert fmae(command, "dense-ae", spec_folder, "--data", "mnist", "-o", output)[0] == 2


def test_names_on_a_map_do_not_cover_one_another():
    rng = np.random.default_rng(0)
    for count in (1, 2, 10, 40):
        left, bottom = rng.uniform(0, 300, (2, count))
        boxes = np.stack([left, bottom, left + 60, bottom + 15], axis=1)
        boxes[:, [1, 3]] += plots._apart(boxes)[:, None]
        for one in range(count):
            for other in range(one):
                a, b = boxes[one], boxes[other]
                apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 0.1 or b[3] <= a[1] + 0.1
                assert apart
    far = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 50.0, 10.0, 60.0]])
    assert not plots._apart(far).any()


def test_a_spec_that_names_its_data_is_trained_and_measured_on_them(kmnist, few, monkeypatch):
    asked = []
    monkeypatch.setattr(loading, "load_data", lambda name=None: asked.append(name) or kmnist)
    spec = tiny_spec(data="kmnist", recipe={"epochs": 1})
    history = fmae_zoo.train(spec)
    assert history.model.spec.full_name == "tiny-ae.kmnist"
    assert history.record.data_name == "kmnist"
    fmae_zoo.evaluate(history.model, ["knn"])
    assert asked == ["kmnist", "kmnist"]
    with pytest.raises(DataError, match="'photos' is the name of no listed data set"):
        fmae_zoo.train(tiny_spec(data="photos"))


def test_a_tag_that_the_data_gave_changes_with_them_and_one_of_a_persons_stays(kmnist, few, bare):
    first = fmae_zoo.train(tiny_spec(recipe={"epochs": 1}), data=kmnist).model.spec
    again = fmae_zoo.train(first, data=bare).model.spec
    assert (again.full_name, again.data) == ("tiny-ae.photos", "photos")
    back = fmae_zoo.train(first, data=few).model.spec
    assert (back.full_name, back.data) == ("tiny-ae.fmnist", "fashion-mnist")
    mine = fmae_zoo.train(tiny_spec(tag="mine", recipe={"epochs": 1}), data=kmnist).model.spec
    assert (mine.full_name, mine.data) == ("tiny-ae.mine", "kmnist")


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist", "fmnist"])
def test_a_file_of_ones_own_is_not_the_data_set_whose_name_it_has(few, tmp_path, name):
    np.savez(tmp_path / f"{name}.npz", train_images=few.train_images, train_labels=few.train_labels)
    data = fmae_zoo.load_data(tmp_path / f"{name}.npz")
    assert data.tag == f"my-{name}"
    spec = fmae_zoo.train(tiny_spec(recipe={"epochs": 1}), data=data).model.spec
    assert spec.full_name == f"tiny-ae.my-{name}"
    assert not spec.takes_fashion_mnist


def test_verify_says_that_the_data_are_others(kmnist, few, tmp_path):
    fmae_zoo.train(tiny_spec(recipe={"epochs": 1}), data=kmnist, output=tmp_path / "run")
    other = replace(few, train_images=few.train_images[::-1].copy())
    last = fmae_zoo.verify(tmp_path / "run", data=other)[-1]
    assert "not those that it was trained on" in last.detail


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"train_labels": np.zeros(4, "uint8")}, "labels of shape (4,)"),
        ({"train_labels": np.uint8(1)}, "labels of shape ()"),
        ({"train_labels": np.arange(12) * 10**9}, "labels from 0 to 11,000,000,000"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", train_images=np.zeros((12, 8, 8), "uint8"), **arrays)
    with pytest.raises(DataError) as error:
        fmae_zoo.load_data(tmp_path / "a.npz")
    assert words in str(error.value)


def test_a_folder_of_test_pictures_alone_is_refused(pictures):
    shutil.rmtree(pictures / "train")
    with pytest.raises(DataError, match="no training images; found test"):
        fmae_zoo.load_data(pictures)
