"""`fmae_zoo.sklearn.Encoder` beside scikit-learn's own transformers."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import fmae_zoo
from fmae_zoo.datasets import load_sample
from fmae_zoo.errors import ImagesError
from fmae_zoo.sklearn import Encoder

SOURCE = "pca"

PIXELS = "the check's data has other columns than the 784 pixels of an image"
CHECKS_WITH_OTHER_COLUMNS = (
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_readonly_memmap_input",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
)


class PaddedEncoder(Encoder):
    """Takes columns of any number and range, so that scikit-learn's own data are images."""

    def _images(self, X, reset):
        rows = super()._rows(X, reset)
        pixels = np.zeros((len(rows), 784), np.float32)
        pixels[:, : rows.shape[1]] = 1 - 1 / (1 + np.abs(rows))
        return pixels.reshape(-1, 28, 28, 1)


@parametrize_with_checks(
    [Encoder(SOURCE)],
    expected_failed_checks=lambda _: dict.fromkeys(CHECKS_WITH_OTHER_COLUMNS, PIXELS),
)
def test_scikit_learns_checks_hold(estimator, check):
    check(estimator)


@parametrize_with_checks([PaddedEncoder(SOURCE)])
def test_scikit_learns_checks_hold_with_columns_of_any_number(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    sample = load_sample()
    return sample.train_images, sample.labels[0]


@pytest.fixture(scope="module")
def rows(data):
    return data[0].reshape(len(data[0]), -1)


@pytest.mark.parametrize("source", [SOURCE, "conv-vae-bn", "dense-ae.fmnist"])
def test_codes_are_those_of_the_model(source, data, rows):
    expected = fmae_zoo.load(source, pretrained=True).encode(data[0])
    for images in (data[0], rows, rows / 255.0, data[0][..., None], rows.astype("int64")):
        codes = Encoder(source).fit_transform(images)
        np.testing.assert_allclose(codes, expected, atol=1e-5)


@pytest.mark.once
def test_pipeline_and_grid_search_in_processes(data, rows):
    search = GridSearchCV(
        make_pipeline(Encoder(SOURCE), LogisticRegression(max_iter=200)),
        {"encoder__source": [SOURCE, "dense-ae"], "logisticregression__C": [0.1]},
        cv=2,
        n_jobs=2,
    )
    search.fit(rows, data[1])
    assert search.best_score_ > 0.5
    assert set(search.cv_results_["param_encoder__source"]) == {SOURCE, "dense-ae"}


def test_columns_are_named_as_asked(rows):
    encoder = Encoder(SOURCE).set_output(transform="pandas")
    codes = encoder.fit_transform(pd.DataFrame(rows, columns=[f"p{i}" for i in range(784)]))
    assert list(codes.columns[:2]) == ["encoder0", "encoder1"]
    assert codes.shape == (len(rows), 32)


def test_a_pickle_holds_a_name_and_a_digest(rows):
    encoder = Encoder("conv-ae-bn").fit(rows)
    codes = encoder.transform(rows[:4])
    written = pickle.dumps(encoder)
    assert len(written) < 1000
    np.testing.assert_array_equal(pickle.loads(written).transform(rows[:4]), codes)
    assert not hasattr(clone(encoder), "digest_")


def test_other_weights_than_the_fitted_are_refused(rows):
    encoder = Encoder(SOURCE).fit(rows)
    encoder.digest_ = "0" * 64
    with pytest.raises(fmae_zoo.DigestError, match="not the one that was fitted"):
        encoder.transform(rows)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda rows: rows[:, :-1], "n_features = 783; expected 784"),
        (lambda rows: rows.astype(float), "[0, 1]"),
        (lambda rows: np.full(rows.shape, np.nan), "NaN"),
        (lambda rows: rows - 1.0, "Negative values"),
        (lambda rows: rows.reshape(-1, 14, 56), "received shape"),
        (lambda rows: rows.astype(int) * 2, "received values in [0, 510]"),
        (lambda rows: rows[:0].reshape(0, 28, 28), "0 sample"),
    ],
)
def test_what_are_no_images_is_refused(wrong, message, rows):
    with pytest.raises(ValueError, match=re.escape(message)):
        Encoder(SOURCE).fit(wrong(rows))


def test_a_source_without_an_encoder_is_refused(rows):
    with pytest.raises(fmae_zoo.UnknownModelError, match="pca"):
        Encoder("pcaa").fit(rows)
    with pytest.raises(fmae_zoo.ArgumentError, match="is a classifier"):
        Encoder("conv-ae-bn.fmnist-classifier").fit(rows)


@pytest.mark.once
def test_one_image_needs_an_axis_more(data):
    with pytest.raises(ImagesError, match=re.escape("One image needs a batch axis: X[None]")):
        Encoder(SOURCE).fit(data[0][0])
    assert Encoder(SOURCE).fit_transform(data[0][0][None]).shape == (1, 32)
