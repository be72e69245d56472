"""`from_pretrained`, `save_pretrained` and `push_to_hub`, as users of Hugging Face know them."""

import numpy as np
import pytest
from huggingface_hub import HfApi

import fmae_zoo
from fmae_zoo import Autoencoder, Classifier
from fmae_zoo.errors import ArgumentError, RepoNotFoundError, UnknownModelError
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

TOKEN = "hf_writer"


@pytest.fixture
def model():
    return Autoencoder(tiny_spec(), seed=3)


@pytest.fixture
def classifier(model):
    return Classifier(model.encoder, 3)


def test_a_folder_gives_the_model_back(model, images, tmp_path, monkeypatch):
    assert model.save_pretrained(tmp_path / "group" / "mine") == tmp_path / "group" / "mine"
    monkeypatch.chdir(tmp_path)
    for source in (tmp_path / "group" / "mine", "group/mine", "local:group/mine"):
        same = Autoencoder.from_pretrained(source)
        np.testing.assert_array_equal(same.encode(images), model.encode(images))


def test_the_hub_gives_the_model_back(model, images, hub, monkeypatch):
    options = {"private": True, "token": TOKEN}
    pushed = model.push_to_hub("me/mine", commit_message="The first", **options)
    commits = HfApi(endpoint=hub.url, token=TOKEN).list_repo_commits("me/mine")
    assert (commits[0].title, commits[0].commit_id) == ("The first", pushed.commit)
    with pytest.raises(RepoNotFoundError, match="private"):
        Autoencoder.from_pretrained("me/mine")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for options in ({}, {"revision": pushed.commit}, {"revision": "main", "precision": "float32"}):
        same = Autoencoder.from_pretrained("me/mine", **options)
        np.testing.assert_array_equal(same.encode(images), model.encode(images))


def test_a_classifier_goes_the_same_way(classifier, images, tmp_path):
    classifier.save_pretrained(tmp_path / "mine")
    same = Classifier.from_pretrained(tmp_path / "mine", precision="float32")
    np.testing.assert_array_equal(same.predict(images), classifier.predict(images))


def test_a_name_of_the_zoo_has_its_weights(images):
    same = fmae_zoo.load("dense-vae", pretrained=True)
    model = Autoencoder.from_pretrained("dense-vae")
    np.testing.assert_array_equal(model.encode(images), same.encode(images))


def test_a_model_of_the_other_class_is_refused(model, classifier, tmp_path):
    model.save_pretrained(tmp_path / "autoencoder")
    classifier.save_pretrained(tmp_path / "classifier")
    with pytest.raises(ArgumentError, match=r"class Autoencoder: load it with Autoencoder\.from"):
        Classifier.from_pretrained(tmp_path / "autoencoder")
    with pytest.raises(ArgumentError, match=r"load it with Classifier\.from_pretrained"):
        Autoencoder.from_pretrained(tmp_path / "classifier")


def test_what_is_not_there_is_said_as_load_says_it(hub, tmp_path):
    with pytest.raises(RepoNotFoundError, match="me/nothing"):
        Autoencoder.from_pretrained("me/nothing")
    with pytest.raises(UnknownModelError, match="Did you mean"):
        Autoencoder.from_pretrained("dense-vea")
    with pytest.raises(UnknownModelError):
        Autoencoder.from_pretrained(tmp_path / "nothing")
    for source in ("./nothing", "~/nothing", "/nothing"):
        with pytest.raises(UnknownModelError, match="folder"):
            Autoencoder.from_pretrained(source)
    with pytest.raises(TypeError, match="part"):
        Autoencoder.from_pretrained("dense-vae", part="encoder")


def test_a_folder_that_holds_no_model_hides_no_name(tmp_path, monkeypatch):
    (tmp_path / "dense-vae").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Autoencoder.from_pretrained("dense-vae").spec.name == "dense-vae"


def test_a_classifier_goes_to_the_hub_and_back(classifier, images, hub):
    classifier.push_to_hub("me/classifier", token=TOKEN, tag="v1")
    same = Classifier.from_pretrained("me/classifier", revision="v1")
    np.testing.assert_array_equal(same.predict(images), classifier.predict(images))
